-- The keys in "token", with a grant each, in the tables made by hand.
INSERT INTO api_keys (digest) SELECT sha256(convert_to(key, 'UTF8')) FROM token ORDER BY n;
CREATE UNIQUE INDEX ON api_keys (digest);
INSERT INTO api_key_grants SELECT row_number() OVER (ORDER BY n), project, 'production', 2 FROM token;
CREATE INDEX ON api_key_grants (key_id, project, environment);
