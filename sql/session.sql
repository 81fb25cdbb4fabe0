\a \t
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
-- by a key that is given, whoever is logged in
SELECT apikey_require(:'a', 's_web', 'production', 'POST');
SELECT what, attempt(format('SELECT apikey_require(%L, %L, %L, %L)', key, 's_web', environment, verb)) FROM (VALUES ('more', :'a', 'production', 'DELETE'), ('elsewhere', :'a', 'development', 'read'),
	('bad', 'junk', 'production', 'read'), ('disabled', :'dead', 'production', 'read'), ('none', NULL, 'production', 'read'), ('nowhere', :'a', NULL, 'read'), ('nothing', :'a', 'production', NULL),
	('unknown verb', :'a', 'production', 'own')) t (what, key, environment, verb);

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

-- a log-in that was forgotten says so, and one that is no good does not look like it
CREATE FUNCTION s_forgotten() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	RETURN NEXT (apikey_explain('s_web', 'production', 'read')).reason;
	RETURN NEXT attempt('SELECT apikey_spend(1)');
	PERFORM apikey_require('s_web', 'production', 'read');
EXCEPTION WHEN insufficient_privilege THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN NEXT concat_ws(' | ', SQLERRM, nullif(hint, ''));
END $$;
SELECT s_forgotten();
BEGIN;
SET LOCAL apikey.key = 'junk';
SELECT s_forgotten();
SET LOCAL apikey.key = :'dead';
SELECT s_forgotten();
SET LOCAL apikey.key = :'a';
SELECT * FROM apikey_explain('s_web', 'production', 'write');
SELECT * FROM apikey_explain('s_web', 'production', 'manage');
SELECT * FROM apikey_explain('s_web', 'development', 'read');
SELECT * FROM apikey_explain(NULL, 'development', 'read');
COMMIT;

-- apikey_login warns where it has no effect: the client that sent it, and nobody else
SELECT label FROM apikey_login(:'a');
SELECT (apikey_login(:'a')).label;
SELECT count(*) FROM apikey_login(:'a') l, generate_series(1, 2);
PREPARE s_in AS SELECT label FROM apikey_login($1);
EXECUTE s_in(:'a');
DEALLOCATE s_in;
CREATE FUNCTION s_work(key text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM apikey_login(key); RETURN s_look(); END $$;
SELECT s_work(:'a');
SELECT format('DO $do$ BEGIN PERFORM apikey_login(%L); END $do$', :'a') AS command \gset
:command;
SELECT label FROM apikey_login(:'a') \; SELECT s_look() AS in_one_message;
BEGIN;
SELECT label FROM apikey_login(:'a');
SAVEPOINT s;
SELECT label FROM apikey_login(:'a');
COMMIT;

-- another key in the same transaction: a notice, but not after a log-out
SELECT key AS renewed FROM apikey_rotate(:'a_id', '1 hour') \gset
BEGIN;
SELECT label FROM apikey_login(:'a');
SELECT label FROM apikey_login(:'renewed');
SELECT label FROM apikey_login(:'b');
SELECT apikey_logout();
SELECT s_look();
SELECT label FROM apikey_login(:'a');
SET LOCAL apikey.key = 'junk';
SELECT label FROM apikey_login(:'b');
SAVEPOINT s;
SELECT apikey_logout();
SELECT s_look();
ROLLBACK TO SAVEPOINT s;
SELECT s_look();
SELECT apikey_logout();
COMMIT;
SELECT set_config('apikey.key', :'a', false) <> '' AS for_the_session;
BEGIN;
SELECT apikey_logout();
SELECT s_look();
COMMIT;
SELECT s_look() AS no_longer_than_the_transaction;
RESET apikey.key;

-- apikey_key_id
CREATE TABLE s_made (id int, made_by uuid DEFAULT apikey_key_id());
INSERT INTO s_made VALUES (1);
BEGIN;
SELECT label FROM apikey_login(:'a');
INSERT INTO s_made VALUES (2);
SET LOCAL apikey.key = 'junk';
INSERT INTO s_made VALUES (3);
SET LOCAL apikey.key = :'dead';
INSERT INTO s_made VALUES (4);
SELECT apikey_logout();
INSERT INTO s_made VALUES (5);
SET LOCAL apikey.key = :'a';
INSERT INTO s_made VALUES (6);
SELECT id, made_by = :'a_id' AS by_a FROM s_made ORDER BY 1;
SELECT count(*) FROM s_made WHERE made_by = apikey_key_id();
PREPARE s_mine AS SELECT count(*), bool_and(apikey_key_id() = made_by) FROM s_made WHERE made_by IS NOT DISTINCT FROM apikey_key_id();
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE s_mine;
SELECT apikey_logout();
EXECUTE s_mine;
COMMIT;
DEALLOCATE s_mine;
DROP TABLE s_made;

DROP FUNCTION s_look, s_request, s_show, s_forgotten, s_work;
DELETE FROM apikey_key WHERE organization LIKE 's\_%';
DELETE FROM apikey_project WHERE organization LIKE 's\_%';
