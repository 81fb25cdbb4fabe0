-- The key of the session.
SELECT apikey_add_project('s_acme', 's_web');
SELECT key_id AS a_id, key AS a FROM apikey_create('s_acme', 'A', '[{"project": "s_web", "environment": "production", "level": "write"}]',
	created_by => 'ann', metadata => '{"n": 1}', organization_level => 'read') \gset
SELECT key AS b FROM apikey_create('s_acme', 'B', '[{"project": "s_web", "environment": "development", "level": "read"}]') \gset
SELECT key_id AS dead_id, key AS dead FROM apikey_create('s_acme', 'dead') \gset
SELECT apikey_disable(:'dead_id');
SELECT left(:'a', -1) || CASE right(:'a', 1) WHEN '0' THEN '1' ELSE '0' END AS corrupt \gset
CREATE FUNCTION s_look() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce((SELECT label FROM apikey_whoami()), 'nobody'),
		apikey_authorize('s_web', 'production', 'write'), apikey_authorize('s_web', 'development', 'read'),
		apikey_authorize_organization('s_acme', 'read'), apikey_projects('read'))
$$;

-- for one transaction
SELECT s_look();
BEGIN;
SELECT key_id = :'a_id' AS id, organization, organization_level, label, expires_at, created_at = (SELECT created_at FROM apikey_keys k WHERE k.key_id = :'a_id') AS created_at,
	created_by, metadata FROM apikey_login(:'a');
SELECT s_look();
COMMIT;
SELECT s_look();
BEGIN;
SELECT label FROM apikey_login(:'a');
ROLLBACK;
SELECT s_look();
BEGIN;
SELECT label FROM apikey_login(:'a');
SAVEPOINT s;
SELECT label FROM apikey_login(:'b');
SELECT s_look();
ROLLBACK TO SAVEPOINT s;
SELECT s_look();
COMMIT;
-- outside a transaction block it lasts no longer than its statement
SELECT label FROM apikey_login(:'a');
SELECT s_look();
BEGIN READ ONLY;
SELECT label FROM apikey_login(:'a');
SELECT s_look();
COMMIT;

-- a bad key does not log in, and nobody is told why
\set VERBOSITY sqlstate
SELECT apikey_login('junk');
SELECT apikey_login(NULL);
SELECT apikey_login(:'dead');
\set VERBOSITY default
SELECT apikey_login(:'dead');
BEGIN;
SELECT label FROM apikey_login(:'a');
SAVEPOINT s;
SELECT apikey_login('junk');
ROLLBACK TO SAVEPOINT s;
SELECT s_look() AS who_was_there_before;
COMMIT;

-- set directly: believed no more than any other text
BEGIN;
SET LOCAL apikey.key = :'b';
SELECT s_look();
SET LOCAL apikey.key = 'junk';
SELECT s_look();
SET LOCAL apikey.key = '';
SELECT s_look();
COMMIT;

-- what is shown of it
BEGIN;
SET LOCAL apikey.key = :'a';
SELECT current_setting('apikey.key') = substr(:'a', 1, 26) || '…' AS masked,
	(SELECT concat(setting, boot_val, reset_val) FROM pg_settings WHERE name = 'apikey.key') = substr(:'a', 1, 26) || '…' AS pg_settings;
CREATE FUNCTION s_show() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	shown text;
BEGIN
	EXECUTE 'SHOW apikey.key' INTO shown;
	RETURN length(shown) = 27;
END $$;
SELECT s_show();
SET LOCAL apikey.key = 'something else';
SHOW apikey.key;
SELECT setting, reset_val FROM pg_settings WHERE name = 'apikey.key';
SET LOCAL apikey.key = :'corrupt';
SHOW apikey.key;
COMMIT;
SHOW apikey.key;

-- not from where others could read it
SELECT attempt($$ALTER ROLE CURRENT_USER SET apikey.key = 'x'$$);
SELECT attempt(format($$ALTER DATABASE %I SET apikey.key = 'x'$$, current_database()));
SELECT attempt($$CREATE FUNCTION s_leak() RETURNS void LANGUAGE sql SET apikey.key = 'x' AS ''$$);
SELECT attempt($$ALTER FUNCTION s_look() SET apikey.key = 'x'$$);
ALTER SYSTEM SET apikey.key = 'x';

-- the refusal does not repeat what it refuses, and nothing was stored
SELECT bool_or(attempt(replace(command, 'KEY', quote_literal(:'a'))) LIKE '%' || :'a' || '%') AS repeated,
	bool_or(attempt(replace(command, 'KEY', quote_literal(:'a'))) = 'done') AS accepted
FROM (VALUES ('ALTER ROLE CURRENT_USER SET apikey.key = KEY'), ('ALTER ROLE ALL SET apikey.key = KEY'),
	(format('ALTER ROLE CURRENT_USER IN DATABASE %I SET apikey.key = KEY', current_database())),
	('ALTER FUNCTION s_look() SET apikey.key = KEY'), ('CREATE PROCEDURE s_leak() LANGUAGE sql SET apikey.key = KEY AS ''''')) AS t (command);
BEGIN;
SET LOCAL apikey.key = :'a';
SELECT attempt('ALTER ROLE CURRENT_USER SET apikey.key FROM CURRENT') <> 'done' AS role_refused,
	attempt('ALTER FUNCTION s_look() SET apikey.key FROM CURRENT') <> 'done' AS function_refused;
ROLLBACK;
SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%apikey.key%';
SELECT count(*) FROM pg_proc WHERE proconfig::text LIKE '%apikey.key%' AND proname <> 'as_application';

-- set for the session, it lasts until it is reset, or the transaction that set it rolls back
SET apikey.key = :'a';
SELECT s_look();
BEGIN; SET apikey.key = :'b'; SELECT s_look(); ROLLBACK; SELECT s_look();
BEGIN; SELECT label FROM apikey_login(:'b'); SELECT s_look(); COMMIT; SELECT s_look();
RESET apikey.key;
SELECT s_look();
SET apikey.key = :'a';
RESET ALL;
SELECT s_look();
SET apikey.key = :'a';
DISCARD ALL;
SELECT s_look();
-- the session's key is verified each time: it dies within the transaction, too
SELECT key_id AS c_id, key AS c FROM apikey_create('s_acme', 'C', '[{"project": "s_web", "environment": "*", "level": "read"}]') \gset
BEGIN;
SELECT label FROM apikey_login(:'c');
SAVEPOINT s;
SELECT s_look();
SELECT as_application(format('apikey_revoke(%L)', :'c_id'));
SELECT s_look();
ROLLBACK TO SAVEPOINT s;
SELECT s_look();
UPDATE apikey_key SET expires_at = now() WHERE key_id = :'c_id';
SELECT s_look(), attempt(format('SELECT apikey_login(%L)', :'c')) AS expired;
SELECT as_application(format('apikey_revoke(%L)', :'c_id'));
SELECT attempt(format('SELECT apikey_login(%L)', :'c')) AS revoked;
SELECT as_application(format('apikey_delete(%L)', :'c_id'));
SELECT attempt(format('SELECT apikey_login(%L)', :'c')) AS deleted;
ROLLBACK;
SELECT s_look();
-- anybody may log in: to hold a key is to be its bearer
CREATE ROLE regress_apikey_bearer;
SET ROLE regress_apikey_bearer;
BEGIN;
SELECT label FROM apikey_login(:'c');
SELECT label, apikey_authorize('s_web', 'production', 'GET') FROM apikey_whoami();
COMMIT;
RESET ROLE;
DROP ROLE regress_apikey_bearer;

-- prepared statements follow the key, whatever kind of plan they have
PREPARE who AS SELECT s_look(), apikey_authorize('s_web', 'production', 'write'), apikey_authorize('s_web', 'development', 'read');
PREPARE may(text) AS SELECT apikey_authorize($1, 's_web', 'production', 'write');
SET plan_cache_mode = force_generic_plan;
BEGIN; SET LOCAL apikey.key = :'a'; EXECUTE who; SET LOCAL apikey.key = :'b'; EXECUTE who; SET LOCAL apikey.key = ''; EXECUTE who; COMMIT;
EXECUTE may(:'a'); EXECUTE may(:'b'); EXECUTE may('junk'); EXECUTE may(:'a'); EXECUTE may(NULL);
SET plan_cache_mode = force_custom_plan;
BEGIN; SET LOCAL apikey.key = :'a'; EXECUTE who; SET LOCAL apikey.key = :'b'; EXECUTE who; SET LOCAL apikey.key = ''; EXECUTE who; COMMIT;
EXECUTE may(:'a'); EXECUTE may(:'b'); EXECUTE may('junk'); EXECUTE may(:'a'); EXECUTE may(NULL);
RESET plan_cache_mode;
DEALLOCATE ALL;
-- so does one statement that changes it row by row
SELECT n, set_config('apikey.key', CASE n WHEN 1 THEN :'a' WHEN 2 THEN :'b' ELSE '' END, true) <> '' AS set,
	apikey_authorize('s_web', 'production', 'write') AS write, apikey_authorize('s_web', 'development', 'read') AS read
FROM generate_series(1, 4) n;

-- apikey_require
BEGIN;
SELECT label FROM apikey_login(:'a');
SELECT apikey_require('s_web', 'production', 'POST');
SELECT attempt($$SELECT apikey_require('s_web', 'production', 'DELETE')$$);
SELECT attempt($$SELECT apikey_require(1, 2, 'read')$$);
SELECT attempt($$SELECT apikey_require('s_web', NULL, 'read')$$);
SELECT attempt($$SELECT apikey_require('s_web', 'production', NULL)$$);
COMMIT;
SELECT attempt($$SELECT apikey_require('s_web', 'production', 'read')$$);
SELECT attempt($$SELECT apikey_require('s_web', 'production', 'own')$$);

-- apikey_pre_request, as PostgREST calls it
CREATE FUNCTION s_request(headers text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('request.headers', headers, true);
	PERFORM apikey_pre_request();
	RETURN s_look();
EXCEPTION WHEN invalid_authorization_specification THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT what, s_request(headers) FROM (VALUES
	('x-api-key', json_build_object('x-api-key', :'a')::text),
	('bearer', json_build_object('authorization', 'Bearer ' || :'b')::text),
	('bearer, lower case', json_build_object('authorization', 'bearer   ' || :'b')::text),
	('both: x-api-key wins', json_build_object('x-api-key', :'a', 'authorization', 'Bearer ' || :'b')::text),
	('both, the first one bad', json_build_object('x-api-key', 'junk', 'authorization', 'Bearer ' || :'b')::text),
	('empty x-api-key', json_build_object('x-api-key', '', 'authorization', 'Bearer ' || :'b')::text),
	('a JWT', json_build_object('authorization', 'Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln')::text),
	('basic', json_build_object('authorization', 'Basic ' || :'b')::text),
	('bearer of the form, unknown', json_build_object('authorization', 'Bearer ' || token('apk', gen_random_uuid(), repeat('0', 43)))::text),
	('bearer of the form, corrupt', json_build_object('authorization', 'Bearer ' || left(:'b', 74) || CASE right(:'b', 1) WHEN '0' THEN '1' ELSE '0' END)::text),
	('disabled', json_build_object('x-api-key', :'dead')::text),
	('not a string', '{"x-api-key": 7}'), ('none', '{"accept": "*/*"}'), ('no object', '[]'), ('empty', ''), ('null', NULL))
	AS t (what, headers);
-- a request without a key does not go on with the last one
BEGIN;
SELECT label FROM apikey_login(:'a');
SET LOCAL "request.headers" = '{}';
SELECT apikey_pre_request();
SELECT s_look();
COMMIT;
BEGIN READ ONLY;
SELECT s_request(json_build_object('x-api-key', :'a')::text);
COMMIT;

DROP FUNCTION s_look, s_request, s_show;
DELETE FROM apikey_key WHERE organization LIKE 's\_%';
DELETE FROM apikey_project WHERE organization LIKE 's\_%';
