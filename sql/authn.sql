\a \t
-- Everything that is not a good key is refused in one way, by every function.
SELECT apikey_add_project('a_acme', 'a_web');
SELECT key_id, key FROM apikey_create('a_acme', 'good', '[{"project": "*", "environment": "*", "level": "manage"}]',
	organization_level => 'write') \gset
SELECT key_id AS other_id, key AS other FROM apikey_create('a_acme', 'other') \gset
SELECT key_id AS gone_id, key AS gone FROM apikey_create('a_acme', 'gone') \gset
SELECT apikey_delete(:'gone_id');
SELECT substr(:'key', 5, 22) AS id, substr(:'key', 27, 43) AS secret, substr(:'key', 70, 6) AS crc \gset

CREATE TABLE a_bad (n serial, what text, key text);
INSERT INTO a_bad (what, key) VALUES
	('null', NULL), ('empty', ''), ('word', 'hello'), ('its id', :'key_id'), ('masked', substr(:'key', 1, 26) || '…'),
	('without secret', substr(:'key', 1, 26)),
	('unknown', token('apk', gen_random_uuid(), :'secret')), ('deleted', :'gone'),
	('secret of another', token('apk', :'key_id', substr(:'other', 27, 43))),
	('secret of zeroes', token('apk', :'key_id', repeat('0', 43))),
	('last bit of the secret', token('apk', :'key_id', left(:'secret', 42) || CASE right(:'secret', 1) WHEN '0' THEN '1' ELSE '0' END)),
	('checksum', left(:'key', 74) || CASE right(:'key', 1) WHEN '0' THEN '1' ELSE '0' END),
	('another prefix, right checksum', token('apx', :'key_id', :'secret')),
	('longer prefix, right checksum', token('apk_apk', :'key_id', :'secret')),
	('prefix in capitals', token('APK', :'key_id', :'secret')),
	('no prefix', substr(:'key', 4)),
	('truncated', left(:'key', 74)), ('extended', :'key' || '0'), ('space after', :'key' || ' '),
	('space before', ' ' || :'key'), ('newline after', :'key' || E'\n'), ('twice', :'key' || :'key'),
	('other character', left(:'key', 30) || '-' || substr(:'key', 32)),
	('id over 128 bits', 'apk_' || repeat('z', 22) || :'secret' || base62(crc32('apk_' || repeat('z', 22) || :'secret'), 6)),
	('secret over 256 bits', 'apk_' || :'id' || repeat('z', 43) || base62(crc32('apk_' || :'id' || repeat('z', 43)), 6)),
	('checksum over 32 bits', left(:'key', 69) || 'zzzzzz'),
	('control characters', E'\x01\x02' || substr(:'key', 3)),
	('four bytes each', repeat('𝟙', 75)),
	('a megabyte', repeat('a', 1048576)), ('a megabyte that begins well', :'key' || repeat('0', 1048576)),
	('a long prefix', token(repeat('a', 32), gen_random_uuid(), :'secret')),
	('too long a prefix', token(repeat('a', 33), :'key_id', :'secret')),
	('wildcard', '%'), ('injection', $$' OR true --$$);
-- stored, then toasted and compressed
INSERT INTO a_bad (what, key) SELECT 'toasted', repeat(md5('x'), 100000);

-- a good one in a row so wide that part of it is stored elsewhere
CREATE FUNCTION a_wide(key text, OUT columns bigint, OUT stored_elsewhere boolean, OUT good int) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE (SELECT format('CREATE TEMP TABLE wide (%s)', string_agg(format('k%s text', i), ', ')) FROM generate_series(1, 40) i);
	EXECUTE (SELECT string_agg(format('ALTER TABLE wide ALTER k%s SET STORAGE EXTERNAL', i), '; ') FROM generate_series(1, 40) i);
	EXECUTE (SELECT format('INSERT INTO wide SELECT %s', string_agg('$1', ', ')) FROM generate_series(1, 40) i) USING key;
	columns = 40;
	stored_elsewhere = (SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE oid = 'wide'::regclass);
	EXECUTE (SELECT format('SELECT %s FROM wide', string_agg(format('apikey_authorize(k%s, ''a_web'', ''production'', ''read'')::int', i), ' + '))
		FROM generate_series(1, 40) i) INTO good;
	DROP TABLE wide;
END $$;
SELECT * FROM a_wide(:'key');
DROP FUNCTION a_wide;

CREATE FUNCTION a_state(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION a_all(k text) RETURNS TABLE (authorized boolean, typed boolean, organization boolean, explained text,
	verified bigint, projects text[], projects_in text[], login text, login_state text) LANGUAGE sql AS $$
	SELECT apikey_authorize(k, 'a_web', 'production', 'read'),
		apikey_authorize(k, 'a_web'::varchar, 'production'::name, 'read'),
		apikey_authorize_organization(k, 'a_acme', 'read'),
		(apikey_explain(k, 'a_web', 'production', 'read')).reason,
		(SELECT count(*) FROM apikey_verify(k)),
		apikey_projects_of(k, 'read'), apikey_projects_of(k, 'read', 'production'),
		a_state(format('SELECT apikey_login(%L)', k)),
		left(current_setting('apikey.key'), 4)
$$;
SELECT * FROM a_all(:'key');
RESET apikey.key;
SELECT count(*), t::text FROM a_bad, a_all(key) t GROUP BY 2;
SELECT what FROM a_bad, a_all(key) t WHERE t IS DISTINCT FROM (SELECT t FROM a_all(NULL) t);

-- the same in the session's key
CREATE FUNCTION a_session(k text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', coalesce(k, ''), true);
	RETURN concat_ws(' ', apikey_authorize('a_web', 'production', 'read'), apikey_authorize_organization('a_acme', 'read'),
		apikey_projects('read'), apikey_projects('read', 'production'), (SELECT count(*) FROM apikey_whoami()),
		a_state($s$SELECT apikey_require('a_web', 'production', 'read')$s$));
END $$;
SELECT a_session(:'key');
SELECT count(*), a_session(key) FROM a_bad GROUP BY 2;

-- nothing that is stored authorizes, in any writing
CREATE TABLE a_stored AS
SELECT v FROM apikey_key k, LATERAL (VALUES (salt), (verifier), (salt || verifier), (verifier || salt),
	(convert_to(k::text, 'UTF8'))) AS b (bytes),
	LATERAL (VALUES (encode(bytes, 'hex')), (encode(bytes, 'base64')), (encode(bytes, 'escape')), (bytes::text),
		(base62(bytes, 43)), (token('apk', key_id, base62(substr(bytes, 1, 32), 43))),
		(token('apk', key_id, left(encode(bytes, 'hex') || repeat('0', 43), 43)))) AS e (v)
WHERE organization = 'a_acme';
SELECT count(*) > 60 AS many, count(*) FILTER (WHERE (apikey_explain(v, 'a_web', 'production', 'read')).reason <> 'invalid key') AS accepted
FROM a_stored;

-- a stored hash that makes no sense is a no, not an error
UPDATE apikey_key SET verifier = '' WHERE key_id = :'key_id';
SELECT (apikey_explain(:'key', 'a_web', 'production', 'read')).reason;
UPDATE apikey_key SET verifier = decode(repeat('00', 32), 'hex'), salt = 'short' WHERE key_id = :'key_id';
SELECT (apikey_explain(:'key', 'a_web', 'production', 'read')).reason;
UPDATE apikey_key SET salt = decode(repeat('00', 16), 'hex'), scheme = 'plain' WHERE key_id = :'key_id';
SELECT (apikey_explain(:'key', 'a_web', 'production', 'read')).reason;

-- two keys of the same secret would have different hashes: the salts differ
SELECT count(*) = count(DISTINCT salt) AS salts, count(*) = count(DISTINCT verifier) AS verifiers FROM apikey_key WHERE scheme IS NOT NULL;

DROP FUNCTION a_all, a_session, a_state;
DROP TABLE a_bad, a_stored;
DELETE FROM apikey_key WHERE organization LIKE 'a\_%';
DELETE FROM apikey_project WHERE organization LIKE 'a\_%';
