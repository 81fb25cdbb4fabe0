\a \t
-- apikey_attached: which tables the registry follows; and renaming a project that is in one of them.
CREATE FUNCTION y_attached() RETURNS TABLE (relation regclass, id name, organization name, environments text[], enabled boolean) LANGUAGE sql AS $$
	SELECT * FROM apikey_attached WHERE relation::text ~ 'y_' ORDER BY relation::text
$$;
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'apikey_attached'::regclass AND attnum > 0 ORDER BY attnum;
CREATE TABLE y_project (id text PRIMARY KEY, organization text, note text);
CREATE SCHEMA "y_ ""s";
CREATE TABLE "y_ ""s"."t'x" ("I d" text PRIMARY KEY, "Ö""rg" text);
SELECT * FROM y_attached();
SELECT apikey_attach_projects('y_project', 'id', 'organization');
SELECT apikey_attach_projects('"y_ ""s"."t''x"', 'I d', 'Ö"rg', array['a,b', E'it''s \\ "staging"', 'ö', repeat('e', 512)]);
SELECT relation, id, organization, environments[:3], length(environments[4]) AS length, enabled FROM y_attached();
SELECT relation, environments FROM apikey_attached WHERE relation = 'y_project'::regclass;

-- enabled: both are there, and fire always
CREATE FUNCTION y_try(command text) RETURNS TABLE (relation regclass, enabled boolean) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE command;
		CREATE TEMP TABLE y_now AS SELECT * FROM apikey_attached WHERE apikey_attached.relation = 'y_project'::regclass;
		RAISE EXCEPTION USING errcode = 'YY000', message = (SELECT jsonb_agg(jsonb_build_array(y.relation, y.enabled)) FROM y_now y);
	EXCEPTION WHEN SQLSTATE 'YY000' THEN
		RETURN QUERY SELECT (r ->> 0)::regclass, (r ->> 1)::boolean FROM jsonb_array_elements(SQLERRM::jsonb) r;
	END;
END $$;
SELECT command, t.* FROM unnest(array['SELECT 1', 'ALTER TABLE y_project DISABLE TRIGGER apikey_sync', 'ALTER TABLE y_project DISABLE TRIGGER apikey_sync_truncate',
	'ALTER TABLE y_project DISABLE TRIGGER ALL', 'ALTER TABLE y_project ENABLE TRIGGER apikey_sync', 'ALTER TABLE y_project ENABLE REPLICA TRIGGER apikey_sync_truncate',
	'DROP TRIGGER apikey_sync ON y_project', 'DROP TRIGGER apikey_sync_truncate ON y_project', 'ALTER TRIGGER apikey_sync ON y_project RENAME TO y']) command, y_try(command) t;
-- a column that was renamed is one that the table has no more, until it is attached again
ALTER TABLE y_project RENAME organization TO customer;
SELECT organization, enabled FROM y_attached() WHERE relation = 'y_project'::regclass;
SELECT apikey_attach_projects('y_project', 'id', 'customer', '{production}');
SELECT organization, environments, enabled FROM y_attached() WHERE relation = 'y_project'::regclass;
SELECT apikey_detach_projects('"y_ ""s"."t''x"');
SELECT * FROM y_attached();
-- a trigger like ours, by somebody who may, is not another table; one without arguments is none
CREATE TRIGGER y_none AFTER INSERT ON y_project FOR EACH ROW EXECUTE FUNCTION apikey_internal.sync_projects();
CREATE TABLE y_other (id int);
CREATE TRIGGER y_none AFTER INSERT ON y_other FOR EACH ROW EXECUTE FUNCTION apikey_internal.sync_projects('id', 'id');
SELECT * FROM y_attached();
DROP TRIGGER y_none ON y_project;
DROP TABLE y_other;
-- what is behind it splits bytes, and only what is text
SELECT apikey_internal.trigger_arguments(''), apikey_internal.trigger_arguments('\x610000620063'), attempt($$SELECT apikey_internal.trigger_arguments('\x61ff00')$$);
-- closed
CREATE ROLE regress_apikey_looker;
SET ROLE regress_apikey_looker;
SELECT attempt('SELECT FROM apikey_attached');
RESET ROLE;
GRANT SELECT ON apikey_attached TO regress_apikey_looker;
SET ROLE regress_apikey_looker;
SELECT * FROM y_attached();
RESET ROLE;
DROP OWNED BY regress_apikey_looker;
DROP ROLE regress_apikey_looker;

-- Renaming: in the registry first, then in the table.  Then the grants are kept.
INSERT INTO y_project VALUES ('y_web', 'y_acme'), ('y_shop', 'y_acme');
SELECT key_id, key FROM apikey_create('y_acme', 'y', '[{"project": "y_web", "environment": "production", "level": "write"}, {"project": "y_shop", "environment": "*", "level": "read"}]') \gset
CREATE FUNCTION y_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(project || '/' || environment, ' ' ORDER BY project, environment)
	FROM unnest('{y_web,y_shop,y_new,y_mars}'::text[]) project, unnest('{production,staging}'::text[]) environment
	WHERE apikey_authorize(key, project, environment, 'read')
$$;
SELECT apikey_add_environment('y_shop', 'staging');
SELECT y_look(:'key');
SELECT now() AS mark \gset
BEGIN;
SELECT apikey_rename_project('y_web', 'y_new');
UPDATE y_project SET id = 'y_new' WHERE id = 'y_web';
COMMIT;
SELECT y_look(:'key');
SELECT action, detail FROM apikey_events WHERE at > :'mark' ORDER BY at;
-- the other way round the grants would end with the old name: the call fails, and with it the transaction
BEGIN;
UPDATE y_project SET id = 'y_mars' WHERE id = 'y_shop';
SELECT y_look(:'key');
SELECT apikey_rename_project('y_shop', 'y_mars');
ROLLBACK;
SELECT y_look(:'key');
-- in the registry alone: the row goes on to bear a name that is not registered
BEGIN;
SELECT apikey_rename_project('y_shop', 'y_mars');
UPDATE y_project SET note = 'unchanged' WHERE id = 'y_shop';
SELECT y_look(:'key');
SELECT project, environments FROM apikey_registry WHERE organization = 'y_acme' ORDER BY 1;
DELETE FROM y_project WHERE id = 'y_shop';
SELECT project, environments FROM apikey_registry WHERE organization = 'y_acme' ORDER BY 1;
ROLLBACK;
-- two rows that change places: project by project
BEGIN;
SELECT apikey_rename_project('y_shop', 'y_aside');
UPDATE y_project SET id = 'y_aside' WHERE id = 'y_shop';
SELECT apikey_rename_project('y_new', 'y_shop');
UPDATE y_project SET id = 'y_shop' WHERE id = 'y_new';
SELECT apikey_rename_project('y_aside', 'y_new');
UPDATE y_project SET id = 'y_new' WHERE id = 'y_aside';
SELECT y_look(:'key');
ROLLBACK;
-- not all at once: an id that leaves its row takes the project with it that has the name by then
BEGIN;
SELECT apikey_rename_project('y_shop', 'y_aside'), apikey_rename_project('y_new', 'y_shop'), apikey_rename_project('y_aside', 'y_new');
UPDATE y_project SET id = 'y_aside' WHERE id = 'y_new';
SELECT y_look(:'key');
ROLLBACK;

SELECT apikey_detach_projects('y_project');
SELECT count(*) FROM y_attached();
SET client_min_messages = warning;
DROP SCHEMA "y_ ""s" CASCADE;
DROP TABLE y_project;
DROP FUNCTION y_attached, y_try, y_look;
DELETE FROM apikey_key WHERE organization LIKE 'y\_%';
DELETE FROM apikey_project WHERE organization LIKE 'y\_%';
