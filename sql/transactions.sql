\a \t
-- What a transaction did itself counts for it at once, and is forgotten when
-- it is rolled back, however warm the cache.
SELECT apikey_add_project('x_acme', 'x_web');
SELECT key_id, key FROM apikey_create('x_acme', 'old', '[{"project": "x_web", "environment": "production", "level": "write"}]',
	organization_level => 'read') \gset
CREATE FUNCTION x_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', apikey_authorize(key, 'x_web', 'production', 'write'), apikey_authorize(key, 'x_web', 'development', 'read'),
		apikey_authorize(key, 'x_new', 'production', 'read'), apikey_authorize_organization(key, 'x_acme', 'read'),
		(apikey_explain(key, 'x_web', 'production', 'write')).reason)
$$;

-- a key made and used in one transaction
BEGIN;
SELECT key_id AS new_id, key AS new FROM apikey_create('x_acme', 'new') \gset
SELECT x_look(:'new');
SELECT apikey_grant(:'new_id', 'x_web', 'production', 'write');
SELECT x_look(:'new');
SAVEPOINT s;
SELECT apikey_grant(:'new_id', 'x_web', 'development', 'read');
SELECT x_look(:'new');
ROLLBACK TO SAVEPOINT s;
SELECT x_look(:'new');
SELECT apikey_disable(:'new_id');
SELECT x_look(:'new');
ROLLBACK;
SELECT x_look(:'new');

-- made in a savepoint that is rolled back, or released
BEGIN;
SAVEPOINT s;
SELECT key_id AS new_id, key AS new FROM apikey_create('x_acme', 'new', '[{"project": "x_web", "environment": "*", "level": "write"}]') \gset
SELECT x_look(:'new');
ROLLBACK TO SAVEPOINT s;
SELECT x_look(:'new');
SAVEPOINT s2;
SELECT key_id AS new_id, key AS new FROM apikey_create('x_acme', 'new', '[{"project": "x_web", "environment": "*", "level": "write"}]') \gset
SELECT x_look(:'new');
RELEASE SAVEPOINT s2;
SELECT x_look(:'new');
COMMIT;
SELECT x_look(:'new');

-- every change, warm before it, after it, and after its end
CREATE TEMP TABLE x_change (n serial, change text);
INSERT INTO x_change (change) VALUES
	('apikey_grant(ID, ''x_web'', ''development'', ''read'')'), ('apikey_grant(ID, ''x_web'', ''production'', ''read'')'),
	('apikey_ungrant(ID, ''x_web'', ''production'')'), ('apikey_set_organization_level(ID, NULL)'),
	('apikey_disable(ID)'), ('apikey_revoke(ID)'), ('apikey_delete(ID)'),
	('apikey_remove_project(''x_web'')'), ('apikey_remove_environment(''x_web'', ''production'')'),
	('apikey_grant(ID, ''*'', ''*'', ''read''), apikey_add_project(''x_acme'', ''x_new'')');
CREATE FUNCTION x_try(change text, id uuid, key text, OUT change_ text, OUT before text, OUT within text, OUT after text)
LANGUAGE plpgsql AS $$
BEGIN
	change_ = change;
	before = x_look(key);
	BEGIN
		EXECUTE 'SELECT ' || replace(change, 'ID', quote_literal(id));
		within = x_look(key);
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	after = CASE x_look(key) WHEN before THEN 'as before' ELSE x_look(key) END;
END $$;
SELECT t.* FROM x_change, x_try(change, :'key_id', :'key') t ORDER BY n;
SELECT x_look(:'key');

-- direct SQL on the tables
BEGIN;
UPDATE apikey_key SET disabled_at = now() WHERE key_id = :'key_id';
SELECT x_look(:'key');
UPDATE apikey_key SET disabled_at = NULL WHERE key_id = :'key_id';
SELECT x_look(:'key');
UPDATE apikey_grant SET level = 'read' WHERE key_id = :'key_id';
SELECT x_look(:'key');
SAVEPOINT s;
TRUNCATE apikey_key CASCADE;
SELECT x_look(:'key');
ROLLBACK TO SAVEPOINT s;
SELECT x_look(:'key');
TRUNCATE apikey_grant;
SELECT x_look(:'key');
ROLLBACK TO SAVEPOINT s;
SELECT x_look(:'key');
TRUNCATE apikey_environment CASCADE;
SELECT x_look(:'key');
ROLLBACK TO SAVEPOINT s;
SELECT x_look(:'key');
TRUNCATE apikey_project CASCADE;
SELECT x_look(:'key');
ROLLBACK;
SELECT x_look(:'key');
-- by a role that fires no ordinary triggers, as a subscription does
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE apikey_key SET revoked_at = now() WHERE key_id = :'key_id';
SELECT x_look(:'key');
ROLLBACK;
SELECT x_look(:'key');

-- savepoints within savepoints, undone one by one
BEGIN;
SAVEPOINT s1; SELECT apikey_grant(:'key_id', 'x_web', 'development', 'read') \gset
SELECT x_look(:'key');
SAVEPOINT s2; SELECT apikey_ungrant(:'key_id', 'x_web', 'production') \gset
SELECT x_look(:'key');
SAVEPOINT s3; SELECT apikey_set_organization_level(:'key_id', NULL) \gset
SELECT x_look(:'key');
SAVEPOINT s4; SELECT apikey_disable(:'key_id') \gset
SELECT x_look(:'key');
SAVEPOINT s5; SELECT apikey_enable(:'key_id') \gset
SELECT x_look(:'key');
SAVEPOINT s6; SELECT apikey_remove_environment('x_web', 'development') \gset
SELECT x_look(:'key');
SAVEPOINT s7; SELECT apikey_revoke(:'key_id') \gset
SELECT x_look(:'key');
SAVEPOINT s8; SELECT apikey_delete(:'key_id') \gset
SELECT x_look(:'key');
ROLLBACK TO s8; SELECT x_look(:'key') AS revoked;
ROLLBACK TO s7; SELECT x_look(:'key') AS no_development;
ROLLBACK TO s6; SELECT x_look(:'key') AS enabled;
ROLLBACK TO s5; SELECT x_look(:'key') AS disabled;
RELEASE s5;
ROLLBACK TO s4; SELECT x_look(:'key') AS no_organization;
ROLLBACK TO s3; SELECT x_look(:'key') AS no_production;
ROLLBACK TO s2; SELECT x_look(:'key') AS both;
RELEASE s2;
ROLLBACK TO s1; SELECT x_look(:'key') AS as_before;
COMMIT;
SELECT x_look(:'key') AS as_before;

-- made in a savepoint that is released, and undone with the transaction
BEGIN;
SAVEPOINT s;
SELECT key_id AS new_id, key AS new FROM apikey_create('x_acme', 'new', '[{"project": "x_web", "environment": "*", "level": "write"}]') \gset
SELECT x_look(:'new');
RELEASE SAVEPOINT s;
SELECT x_look(:'new');
SAVEPOINT s;
SELECT apikey_add_project('x_acme', 'x_new'), apikey_grant(:'new_id', 'x_new', '*', 'read');
SELECT x_look(:'new');
RELEASE SAVEPOINT s;
SELECT x_look(:'new');
ROLLBACK;
SELECT x_look(:'new');
-- undone by an error
BEGIN;
SELECT apikey_revoke(:'key_id');
SELECT x_look(:'key');
SELECT 1 / 0;
ROLLBACK;
SELECT x_look(:'key');
-- one transaction on the heels of another
BEGIN;
SELECT label FROM apikey_login(:'key');
SELECT as_application(format('apikey_disable(%L)', :'key_id'));
SELECT x_look(:'key'), (SELECT count(*) FROM apikey_whoami()) AS logged_in;
ROLLBACK AND CHAIN;
SELECT x_look(:'key'), (SELECT count(*) FROM apikey_whoami()) AS logged_in;
SELECT label FROM apikey_login(:'key');
COMMIT AND CHAIN;
SELECT (SELECT count(*) FROM apikey_whoami()) AS logged_in;
COMMIT;
BEGIN READ ONLY;
SELECT x_look(:'key'), left(attempt(format('SELECT apikey_disable(%L)', :'key_id')), 5);
COMMIT;

-- rows of the tables, by hand
BEGIN;
INSERT INTO apikey_grant (key_id, organization, project, environment, level) VALUES (:'key_id', 'x_acme', 'x_web', 'development', 'read');
SELECT x_look(:'key');
DELETE FROM apikey_grant WHERE key_id = :'key_id' AND environment = 'production';
SELECT x_look(:'key');
SAVEPOINT s;
DELETE FROM apikey_environment WHERE project = 'x_web' AND environment = 'development';
SELECT x_look(:'key');
ROLLBACK TO s;
UPDATE apikey_key SET verifier = decode(repeat('00', 32), 'hex') WHERE key_id = :'key_id';
SELECT x_look(:'key') AS another_secret;
ROLLBACK TO s;
UPDATE apikey_key SET expires_at = statement_timestamp() WHERE key_id = :'key_id';
SELECT x_look(:'key');
ROLLBACK TO s;
SELECT x_look(:'key');
DELETE FROM apikey_key WHERE key_id = :'key_id';
SELECT x_look(:'key');
ROLLBACK;
SELECT x_look(:'key');

-- inside one statement, and with plans that are kept
DO $$
DECLARE
	id uuid;
	k text;
	said text = '';
BEGIN
	SELECT key_id, key INTO id, k FROM apikey_create('x_acme', 'loop', '[{"project": "x_web", "environment": "production", "level": "read"}]');
	FOR i IN 1 .. 3 LOOP
		said = said || ' ' || apikey_authorize(k, 'x_web', 'production', 'read')::text;
		PERFORM apikey_disable(id);
		said = said || ' ' || apikey_authorize(k, 'x_web', 'production', 'read')::text;
		PERFORM apikey_enable(id);
	END LOOP;
	PERFORM apikey_ungrant(id, 'x_web', 'production');
	said = said || ' ' || apikey_authorize(k, 'x_web', 'production', 'read')::text;
	RAISE NOTICE '%', said;
	-- a key that does not exist yet is refused, and then it exists
	said = apikey_authorize(token('apk', '00000000-0000-4000-8000-000000000001', repeat('0', 43)), 'x_web', 'production', 'read')::text;
	INSERT INTO apikey_key (key_id, organization, prefix, scheme, salt, verifier, label)
	SELECT '00000000-0000-4000-8000-000000000001', 'x_acme', 'apk', 'apikey', salt, hmac(salt || decode(repeat('00', 32), 'hex'), '', 'sha256'), 'by hand'
	FROM (SELECT decode(repeat('11', 16), 'hex') AS salt) AS s;
	PERFORM apikey_grant('00000000-0000-4000-8000-000000000001', 'x_web', 'production', 'read');
	said = said || ' ' || apikey_authorize(token('apk', '00000000-0000-4000-8000-000000000001', repeat('0', 43)), 'x_web', 'production', 'read')::text;
	RAISE NOTICE '%', said;
END $$;
-- a constant key in an expression that is not planned again, in one statement
SELECT format($f$CREATE FUNCTION x_constant() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RETURN apikey_authorize(%L, 'x_web', 'production', 'write'); END$$$f$,
	:'key') AS create_function \gset
:create_function;
CREATE FUNCTION x_flip(id uuid, i int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF i % 2 = 1 THEN PERFORM apikey_disable(id); RETURN 'disabled'; END IF;
	PERFORM apikey_enable(id);
	RETURN 'enabled';
END $$;
BEGIN;
SELECT i, x_constant() AS before, x_flip(:'key_id', i), x_constant() AS after, apikey_authorize(:'key', 'x_web', 'production', 'write') AS direct
FROM generate_series(1, 5) i;
ROLLBACK;
SELECT x_constant();
DO $$
DECLARE
	id uuid = (SELECT key_id FROM apikey_keys WHERE label = 'old' AND organization = 'x_acme');
	said text = '';
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			said = concat(said, ' ', x_constant());
			PERFORM apikey_revoke(id);
			said = concat(said, x_constant());
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			said = concat(said, x_constant());
		END;
	END LOOP;
	RAISE NOTICE '%', said;
END $$;
-- the other way round: refused, made, undone, at one and the same place
DO $$
DECLARE
	k text = token('apk', '00000000-0000-4000-8000-000000000002', repeat('0', 43));
	said text = '';
BEGIN
	EXECUTE format('CREATE FUNCTION x_later() RETURNS boolean LANGUAGE plpgsql AS %L',
		format('BEGIN RETURN apikey_authorize(%L, %L, %L, %L); END', k, 'x_web', 'production', 'read'));
	FOR i IN 1 .. 3 LOOP
		BEGIN
			said = concat(said, ' ', x_later());
			INSERT INTO apikey_key (key_id, organization, prefix, scheme, salt, verifier, label)
			SELECT '00000000-0000-4000-8000-000000000002', 'x_acme', 'apk', 'apikey', salt, hmac(salt || decode(repeat('00', 32), 'hex'), '', 'sha256'), 'later'
			FROM (SELECT decode(repeat('22', 16), 'hex') AS salt) AS s;
			said = concat(said, x_later());
			PERFORM apikey_grant('00000000-0000-4000-8000-000000000002', 'x_web', '*', 'read');
			said = concat(said, x_later());
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			said = concat(said, x_later());
		END;
	END LOOP;
	RAISE NOTICE '%', said;
END $$;
-- a procedure with transactions of its own
CREATE PROCEDURE x_procedure(id uuid) LANGUAGE plpgsql AS $$
DECLARE
	said text = x_constant()::text;
BEGIN
	FOR i IN 1 .. 4 LOOP
		PERFORM CASE WHEN i % 2 = 1 THEN apikey_disable(id) ELSE apikey_enable(id) END;
		said = concat(said, ' ', x_constant());
		IF i < 3 THEN ROLLBACK; ELSE COMMIT; END IF;
		said = concat(said, x_constant());
	END LOOP;
	RAISE NOTICE '%', said;
END $$;
CALL x_procedure(:'key_id');
DROP PROCEDURE x_procedure;
DROP FUNCTION x_constant, x_later, x_flip;
SET plan_cache_mode = force_generic_plan;
PREPARE x_may AS SELECT apikey_authorize($1, 'x_web', 'production', 'write');
EXECUTE x_may(:'key');
BEGIN;
SELECT apikey_disable(:'key_id');
EXECUTE x_may(:'key');
ROLLBACK;
EXECUTE x_may(:'key');
DEALLOCATE x_may;
RESET plan_cache_mode;
-- a cursor: each fetch is a statement
BEGIN;
DECLARE x_rows CURSOR FOR SELECT i, apikey_authorize(:'key', 'x_web', 'production', 'write') FROM generate_series(1, 4) i;
FETCH 1 FROM x_rows;
SELECT apikey_revoke(:'key_id');
FETCH 1 FROM x_rows;
ROLLBACK;

DROP FUNCTION x_look, x_try;
DROP TABLE x_change;
DELETE FROM apikey_key WHERE organization LIKE 'x\_%';
DELETE FROM apikey_project WHERE organization LIKE 'x\_%';
