\a \t
-- The trigger functions believe nobody who puts them on a table of his own; and what
-- they keep: a revoked key stays revoked, whatever SQL does.
SELECT apikey_add_project('z_acme', 'z_web');
SELECT key_id, key FROM apikey_create('z_acme', 'one', '[{"project": "z_web", "environment": "production", "level": "write"}]') \gset
SELECT apikey_set_budget(:'key_id', 100);
CREATE ROLE regress_apikey_trigger;
-- more than anybody is to have
GRANT USAGE ON SCHEMA apikey_internal TO regress_apikey_trigger;
GRANT EXECUTE ON FUNCTION apikey_internal.changed, apikey_internal.keep, apikey_internal.sync_projects TO regress_apikey_trigger;
GRANT CREATE ON SCHEMA public TO regress_apikey_trigger;
SELECT coalesce(max(at), '-infinity') AS mark FROM apikey_events \gset

-- Puts a trigger there, runs a command, takes the trigger away again.
CREATE FUNCTION z_fire(relation text, at text, function text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('CREATE TRIGGER a_z %s EXECUTE FUNCTION %s', replace(at, ' ON ', format(' ON %s ', relation)), function);
	result = attempt(command);
	EXECUTE format('DROP TRIGGER a_z ON %s', relation);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN 'not made: ' || SQLSTATE || ' ' || SQLERRM;
END $$;
-- every function at every event of a table of somebody's own
CREATE FUNCTION z_own() RETURNS TABLE (function text, result text, count bigint) LANGUAGE sql AS $$
	SELECT f, z_fire('z_own', t || ' ' || e || ' ON FOR EACH ' || r, f, c), count(*)
	FROM unnest(array['apikey_internal.changed()', 'apikey_internal.keep()', 'apikey_internal.sync_projects()', $a$apikey_internal.sync_projects('name', 'organization')$a$]) f,
		unnest(array['BEFORE', 'AFTER']) t, unnest(array['ROW', 'STATEMENT']) r,
		(VALUES ('INSERT', 'INSERT INTO z_own VALUES (42)'), ('UPDATE', 'UPDATE z_own SET organization = 43'),
			('DELETE', 'DELETE FROM z_own'), ('TRUNCATE', 'TRUNCATE z_own')) v (e, c)
	WHERE r = 'STATEMENT' OR e <> 'TRUNCATE'
	GROUP BY 1, 2
	UNION ALL
	SELECT f, z_fire('z_own', x, f, 'INSERT INTO z_own VALUES (42)'), count(*)
	FROM unnest(array[$a$apikey_internal.sync_projects('name', 'organization', 'x')$a$]) f,
		unnest(array['AFTER INSERT ON FOR EACH ROW', 'BEFORE INSERT OR UPDATE OR DELETE ON FOR EACH ROW',
			'AFTER INSERT OR UPDATE OR DELETE ON FOR EACH STATEMENT', 'AFTER INSERT OR UPDATE OF name OR DELETE ON FOR EACH ROW',
			'AFTER INSERT OR UPDATE ON FOR EACH ROW', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON FOR EACH STATEMENT']) x
	GROUP BY 1, 2 ORDER BY 1, 2
$$;
CREATE TABLE z_own (organization bigint, name text, key_id int, at int, revoked_at int);
INSERT INTO z_own VALUES (1);
SELECT * FROM z_own();
DROP TABLE z_own;
SET ROLE regress_apikey_trigger;
CREATE TABLE z_own (organization bigint, name text, key_id int, at int, revoked_at int);
INSERT INTO z_own VALUES (1);
SELECT * FROM z_own();
-- one that has all the names and types
CREATE TABLE z_mine (key_id uuid, organization text COLLATE "C", revoked_at timestamptz, at timestamptz);
SELECT z_fire('z_mine', 'AFTER INSERT ON FOR EACH ROW', 'apikey_internal.changed()', format('INSERT INTO z_mine VALUES (%L, %L)', :'key_id', 'z_acme'));
CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON z_mine FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION apikey_internal.changed();
SELECT attempt($$INSERT INTO z_mine VALUES (NULL)$$);
CREATE TABLE z_child (LIKE z_mine);
CREATE VIEW z_view AS SELECT * FROM z_mine;
CREATE TRIGGER t INSTEAD OF INSERT ON z_view FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
SELECT attempt($$INSERT INTO z_view VALUES (NULL)$$);
SET client_min_messages = warning;
CREATE CONSTRAINT TRIGGER c AFTER INSERT ON z_child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
BEGIN;
INSERT INTO z_child VALUES (NULL);
COMMIT;
RESET ROLE;

-- tables of ours where they have no business, and not as the script makes them
INSERT INTO apikey_use VALUES (:'key_id', 1, 1);
SELECT o.*, z_fire(o.relation, o.at, o.function, replace(o.command, 'ID', :'key_id')) FROM (VALUES
	('apikey_event', 'AFTER INSERT ON FOR EACH ROW', 'apikey_internal.changed()', 'SELECT apikey_disable($$ID$$)'),
	('apikey_event', 'BEFORE INSERT ON FOR EACH ROW', 'apikey_internal.keep()', 'INSERT INTO apikey_event SELECT now(), key_id, $$x$$, key_id, NULL, $$x$$, NULL, NULL, NULL, $${}$$ FROM apikey_key WHERE key_id = $$ID$$'),
	('apikey_event', 'BEFORE UPDATE ON FOR EACH STATEMENT', 'apikey_internal.keep()', 'UPDATE apikey_event SET role = $$x$$'),
	('apikey_event', 'BEFORE TRUNCATE ON FOR EACH STATEMENT', 'apikey_internal.changed()', 'TRUNCATE apikey_event'),
	('apikey_use', 'AFTER UPDATE ON FOR EACH ROW', 'apikey_internal.changed()', 'UPDATE apikey_use SET uses = 0'),
	('apikey_use', 'BEFORE UPDATE ON FOR EACH ROW', 'apikey_internal.keep()', 'UPDATE apikey_use SET uses = 0'),
	('apikey_use_hour', 'AFTER TRUNCATE ON FOR EACH STATEMENT', 'apikey_internal.changed()', 'TRUNCATE apikey_use_hour'),
	('apikey_key', 'BEFORE UPDATE ON FOR EACH ROW', 'apikey_internal.changed()', 'SELECT apikey_disable($$ID$$)'),
	('apikey_key', 'AFTER UPDATE ON FOR EACH STATEMENT', 'apikey_internal.changed()', 'SELECT apikey_disable($$ID$$)'),
	('apikey_key', 'BEFORE TRUNCATE ON FOR EACH STATEMENT', 'apikey_internal.changed()', 'TRUNCATE apikey_key CASCADE'),
	('apikey_key', 'AFTER UPDATE ON FOR EACH ROW', 'apikey_internal.keep()', 'SELECT apikey_disable($$ID$$)'),
	('apikey_key', 'BEFORE DELETE ON FOR EACH ROW', 'apikey_internal.keep()', 'SELECT apikey_delete($$ID$$)'),
	('apikey_key', 'BEFORE UPDATE ON FOR EACH STATEMENT', 'apikey_internal.keep()', 'SELECT apikey_disable($$ID$$)'),
	('apikey_grant', 'BEFORE UPDATE ON FOR EACH ROW', 'apikey_internal.keep()', 'UPDATE apikey_grant SET level = $$read$$ WHERE key_id = $$ID$$'),
	('apikey_project', 'AFTER INSERT OR UPDATE OR DELETE ON FOR EACH ROW', 'apikey_internal.sync_projects($$project$$, $$organization$$, $$x$$)', 'SELECT apikey_add_project($$z_acme$$, $$z_new$$)'))
	o (relation, at, function, command);
SELECT attempt($$SELECT apikey_attach_projects('apikey_project', 'project', 'organization')$$);
DELETE FROM apikey_use WHERE key_id = :'key_id';
-- no functions, no event triggers
SELECT attempt('SELECT ' || f || '()') FROM unnest(array['apikey_internal.changed', 'apikey_internal.keep', 'apikey_internal.sync_projects']) f;
SELECT attempt(format('CREATE EVENT TRIGGER z ON ddl_command_end EXECUTE FUNCTION %s()', f)) FROM unnest(array['apikey_internal.changed', 'apikey_internal.keep', 'apikey_internal.sync_projects']) f;
SELECT attempt(format('CREATE FUNCTION z_%s() RETURNS %s LANGUAGE c AS %L, %L', r, r, probin, 'apikey_changed')) FROM pg_proc, unnest(array['int', 'event_trigger']) r
WHERE oid = 'apikey_internal.changed'::regproc;
SELECT attempt('SELECT z_int()');
CREATE EVENT TRIGGER z ON ddl_command_end EXECUTE FUNCTION z_event_trigger();
SELECT attempt('CREATE TABLE z_none ()');
DROP EVENT TRIGGER z;
DROP FUNCTION z_int, z_event_trigger;
-- none of it has left an event
SELECT action, detail FROM apikey_events WHERE at > :'mark' ORDER BY at;

-- a column that was dropped and made again as something else is not read as what it was
DROP VIEW z_view;
DROP TABLE z_mine, z_child;
CREATE FUNCTION z_members() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	member record;
BEGIN
	-- views, and functions whose bodies name columns: CASCADE would take the extension with them
	FOR member IN SELECT o.type, o.identity FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
		WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'apikey')
		AND (o.type = 'view' OR d.objid IN (SELECT oid FROM pg_proc WHERE prosqlbody IS NOT NULL))
	LOOP
		EXECUTE format('ALTER EXTENSION apikey DROP %s %s', member.type, member.identity);
	END LOOP;
END $$;
BEGIN;
SELECT z_members();
ALTER TABLE apikey_grant DROP COLUMN organization CASCADE, ADD COLUMN organization bigint NOT NULL DEFAULT 7;
SELECT attempt($$UPDATE apikey_grant SET level = 'read'$$);
ROLLBACK;
BEGIN;
SELECT z_members();
ALTER TABLE apikey_key DROP COLUMN revoked_at CASCADE, ADD COLUMN revoked_at int DEFAULT 7;
SELECT attempt($$UPDATE apikey_key SET label = 'x'$$);
ALTER TABLE apikey_key DROP COLUMN revoked_at;
SELECT attempt($$UPDATE apikey_key SET label = 'x'$$);
ROLLBACK;
BEGIN;
SELECT z_members();
ALTER TABLE apikey_event DROP COLUMN at CASCADE, ADD COLUMN at int NOT NULL DEFAULT 7;
SELECT attempt('DELETE FROM apikey_event');
ROLLBACK;
BEGIN;
SELECT z_members();
ALTER TABLE apikey_key ADD COLUMN first int DEFAULT 1;
ALTER TABLE apikey_key DROP COLUMN created_by CASCADE;
UPDATE apikey_key SET label = 'shifted', first = 2 WHERE key_id = :'key_id';
SELECT key_id = :'key_id' AS this, organization, detail FROM apikey_event ORDER BY at DESC LIMIT 1;
ROLLBACK;

-- Revoked is final. In every way that a row can be changed:
CREATE TABLE z_id (key_id uuid PRIMARY KEY);
INSERT INTO z_id VALUES (:'key_id');
CREATE FUNCTION z_look() RETURNS TABLE (revoked boolean, label text) LANGUAGE sql AS $$
	SELECT revoked_at IS NOT NULL, label FROM apikey_key WHERE key_id = (SELECT key_id FROM z_id)
$$;
CREATE VIEW z_keys AS SELECT * FROM apikey_key;
CREATE FUNCTION z_try(commands text[]) RETURNS TABLE (command text, result text) LANGUAGE sql AS $$
	SELECT c, replace(attempt(replace(c, 'ID', key_id::text)), key_id::text, '<id>') FROM z_id, unnest(commands) c
$$;
SELECT apikey_revoke(:'key_id');
CREATE FUNCTION z_all() RETURNS TABLE (command text, result text) LANGUAGE sql AS $all$
	SELECT * FROM z_try(array['UPDATE apikey_key SET revoked_at = NULL',
	'UPDATE apikey_key SET revoked_at = $$infinity$$ WHERE revoked_at IS NOT NULL',
	'UPDATE apikey_key SET revoked_at = revoked_at - interval $$1 us$$ WHERE key_id = $$ID$$',
	'UPDATE apikey_key SET key_id = gen_random_uuid() WHERE key_id = $$ID$$',
	'UPDATE ONLY apikey_key SET (label, revoked_at) = ($$x$$, NULL)',
	'UPDATE apikey_keys SET revoked_at = NULL WHERE key_id = $$ID$$',
	'UPDATE z_keys SET revoked_at = NULL WHERE key_id = $$ID$$',
	'INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES ($$ID$$, $$z_acme$$, $$apk$$, $$x$$) ON CONFLICT (key_id) DO UPDATE SET revoked_at = excluded.revoked_at',
	'INSERT INTO z_keys (key_id, organization, prefix, label, created_at, metadata) VALUES ($$ID$$, $$z_acme$$, $$apk$$, $$x$$, now(), $${}$$) ON CONFLICT (key_id) DO UPDATE SET revoked_at = NULL',
	'MERGE INTO apikey_key k USING z_id z ON z.key_id = k.key_id WHEN MATCHED THEN UPDATE SET revoked_at = NULL',
	'WITH back AS (UPDATE apikey_key SET revoked_at = NULL WHERE key_id = $$ID$$ RETURNING 1) SELECT count(*) FROM back',
	'SELECT apikey_enable($$ID$$)', 'SELECT apikey_grant($$ID$$, $$z_web$$, $$*$$, $$read$$)'])
$all$;
SELECT * FROM z_all();
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT * FROM z_all();
DECLARE c CURSOR FOR SELECT * FROM apikey_key WHERE key_id = :'key_id' FOR UPDATE;
MOVE 1 FROM c;
SELECT attempt('UPDATE apikey_key SET revoked_at = NULL WHERE CURRENT OF c');
COMMIT;
-- also by a trigger that fires after ours, or before
CREATE FUNCTION z_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.revoked_at = NULL; RETURN NEW; END $$;
CREATE TRIGGER z_back BEFORE UPDATE ON apikey_key FOR EACH ROW EXECUTE FUNCTION z_back();
SELECT * FROM z_try(array['UPDATE apikey_key SET label = $$x$$ WHERE key_id = $$ID$$']);
ALTER TRIGGER z_back ON apikey_key RENAME TO a_z_back;
SELECT * FROM z_try(array['UPDATE apikey_key SET label = $$x$$ WHERE key_id = $$ID$$']);
DROP TRIGGER a_z_back ON apikey_key;
SELECT * FROM z_look();
-- the rest of it can be changed, and opens nothing
SELECT * FROM z_try(array['UPDATE apikey_key SET label = $$two$$, disabled_at = now(), revoked_at = revoked_at WHERE key_id = $$ID$$',
	'INSERT INTO apikey_grant VALUES ($$ID$$, $$manage$$, NULL, $$*$$, $$z_acme$$)']);
SELECT * FROM z_look();
SELECT apikey_authorize(:'key', 'z_web', 'production', 'read');
-- a key that is not revoked can be, and a revocation be rolled back
SELECT key_id AS other_id FROM apikey_create('z_acme', 'other') \gset
UPDATE z_id SET key_id = :'other_id';
BEGIN;
UPDATE apikey_key SET revoked_at = now() WHERE key_id = :'other_id';
SAVEPOINT s;
UPDATE apikey_key SET revoked_at = NULL WHERE key_id = :'other_id';
ROLLBACK TO SAVEPOINT s;
SELECT * FROM z_look();
ROLLBACK;
SELECT * FROM z_look();
-- short of ALTER TABLE
BEGIN;
ALTER TABLE apikey_key DISABLE TRIGGER apikey_keep;
SELECT attempt('UPDATE apikey_key SET revoked_at = NULL');
ALTER TABLE apikey_key DISABLE TRIGGER apikey_changed;
UPDATE apikey_key SET revoked_at = NULL WHERE key_id = :'key_id';
SELECT apikey_authorize(:'key', 'z_web', 'production', 'read'), disabled_at IS NOT NULL AS disabled FROM apikey_key WHERE key_id = :'key_id';
ROLLBACK;

DROP VIEW z_keys;
DROP TABLE z_own, z_id;
DROP FUNCTION z_fire, z_own, z_members, z_look, z_try, z_all, z_back;
REVOKE ALL ON FUNCTION apikey_internal.changed, apikey_internal.keep, apikey_internal.sync_projects FROM regress_apikey_trigger;
REVOKE USAGE ON SCHEMA apikey_internal FROM regress_apikey_trigger;
REVOKE CREATE ON SCHEMA public FROM regress_apikey_trigger;
DROP ROLE regress_apikey_trigger;
DELETE FROM apikey_key WHERE organization LIKE 'z\_%';
DELETE FROM apikey_project WHERE organization LIKE 'z\_%';
