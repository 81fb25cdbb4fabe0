-- What people write by hand: a digest, a lookup, a join
CREATE TABLE api_keys (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest bytea NOT NULL,
	disabled boolean NOT NULL DEFAULT false, expires_at timestamptz);
CREATE TABLE api_key_grants (key_id bigint NOT NULL, project text NOT NULL, environment text NOT NULL, level int NOT NULL);
CREATE FUNCTION hand_sql(key text, project text, environment text, level int) RETURNS boolean STABLE LANGUAGE sql AS $$
	SELECT EXISTS (SELECT FROM api_keys k JOIN api_key_grants g ON g.key_id = k.id
		WHERE k.digest = sha256(convert_to($1, 'UTF8')) AND NOT k.disabled AND (k.expires_at IS NULL OR k.expires_at > now())
		AND g.project = $2 AND g.environment = $3 AND g.level >= $4)
$$;
CREATE FUNCTION hand_plpgsql(key text, project text, environment text, level int) RETURNS boolean STABLE LANGUAGE plpgsql AS $$
BEGIN
	RETURN EXISTS (SELECT FROM api_keys k JOIN api_key_grants g ON g.key_id = k.id
		WHERE k.digest = sha256(convert_to($1, 'UTF8')) AND NOT k.disabled AND (k.expires_at IS NULL OR k.expires_at > now())
		AND g.project = $2 AND g.environment = $3 AND g.level >= $4);
END $$;
