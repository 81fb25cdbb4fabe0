\a \t
-- Another environment, another name: apikey_add_environment and apikey_rename_project; and what
-- the registry has, apikey_registry.
SELECT apikey_add_project('n_acme', 'n_web'), apikey_add_project('n_acme', 'n_shop', '{production}'), apikey_add_project('n_globex', 'n_mars', '{staging,live}');
SELECT * FROM apikey_registry WHERE organization LIKE 'n\_%' ORDER BY project;
SELECT key_id, key FROM apikey_create('n_acme', 'n', '[
	{"project": "n_web", "environment": "production", "level": "write"},
	{"project": "n_shop", "environment": "*", "level": "manage"},
	{"project": "*", "environment": "development", "level": "read"}]') \gset
SELECT key AS foreign FROM apikey_create('n_globex', 'n', '[{"project": "n_mars", "environment": "*", "level": "manage"}]') \gset
CREATE FUNCTION n_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(project || '/' || environment, ' ' ORDER BY project, environment)
	FROM unnest('{n_web,n_shop,n_new,n_mars}'::text[]) project, unnest('{production,development,staging}'::text[]) environment
	WHERE apikey_authorize(key, project, environment, 'read')
$$;
CREATE FUNCTION n_registry() RETURNS TABLE (project text, organization text, environments text) LANGUAGE sql AS $$
	SELECT project, organization, array_to_string(environments, ' ') FROM apikey_registry WHERE organization LIKE 'n\_%' ORDER BY 1
$$;
CREATE FUNCTION n_grants() RETURNS TABLE (label text, project text, environment text, level apikey_level) LANGUAGE sql AS $$
	SELECT k.label, g.project, g.environment, g.level FROM apikey_grants g JOIN apikey_key k USING (key_id)
	WHERE g.organization LIKE 'n\_%' ORDER BY 1, 2, 3
$$;
SELECT now() AS mark \gset
CREATE FUNCTION n_events(since timestamptz) RETURNS TABLE (action text, organization text, detail jsonb) LANGUAGE sql AS $$
	SELECT action, organization, detail FROM apikey_events WHERE at > since ORDER BY at
$$;

-- an environment: '*' covers it at once, where the key is remembered too
SELECT n_look(:'key');
SELECT apikey_add_environment('n_shop', 'staging');
SELECT n_look(:'key');
SELECT apikey_add_environment('n_shop', 'development'), apikey_add_environment('n_shop', 'development'), apikey_add_environment('n_shop', 'production');
SELECT n_look(:'key'), n_look(:'foreign') AS foreign;
SELECT * FROM n_registry();
SELECT * FROM n_events(:'mark');
SELECT apikey_grant(:'key_id', 'n_web', 'production', 'write');
BEGIN;
SELECT apikey_add_environment('n_web', 'staging'), apikey_grant(:'key_id', 'n_web', 'staging', 'read');
SELECT n_look(:'key');
ROLLBACK;
SELECT n_look(:'key');

-- arguments that make no sense
CREATE FUNCTION n_calls() RETURNS TABLE (call text, result text) LANGUAGE sql AS $f$
	SELECT call, attempt('SELECT ' || call) FROM unnest(array[
		$$apikey_add_environment('n_none', 'staging')$$, $$apikey_add_environment('*', 'staging')$$,
		$$apikey_add_environment('n_web', '*')$$, $$apikey_add_environment('n_web', '')$$,
		$$apikey_add_environment('n_web', repeat('x', 513))$$, $$apikey_add_environment(repeat('x', 513), 'x')$$,
		$$apikey_add_environment(NULL, 'x')$$, $$apikey_add_environment('n_web', NULL)$$,
		$$apikey_rename_project('n_none', 'n_new')$$, $$apikey_rename_project('n_none', 'n_none')$$, $$apikey_rename_project('n_none', 'n_web')$$,
		$$apikey_rename_project('n_web', 'n_shop')$$, $$apikey_rename_project('n_web', 'n_mars')$$, $$apikey_rename_project('n_web', 'n_web')$$,
		$$apikey_rename_project('*', 'n_new')$$, $$apikey_rename_project('n_web', '*')$$,
		$$apikey_rename_project('n_web', '')$$, $$apikey_rename_project('', 'n_new')$$,
		$$apikey_rename_project('n_web', repeat('x', 513))$$, $$apikey_rename_project('n_web', repeat('x', 100000000))$$,
		$$apikey_rename_project(NULL, 'n_new')$$, $$apikey_rename_project('n_web', NULL)$$]) call
$f$;
SELECT now() AS mark \gset
SELECT * FROM n_calls();
SELECT count(*) AS events FROM n_events(:'mark');
-- with a key in the session, whatever the arguments
SET apikey.key = :'key';
SELECT result, count(*) FROM n_calls() GROUP BY 1;
SET apikey.key = 'no key';
SELECT result, count(*) FROM n_calls() GROUP BY 1;
RESET apikey.key;
SELECT * FROM n_registry();

-- a name: grants go along, and there is one event
SELECT apikey_authorize(:'key', 'n_web', 'production', 'write') AS old, apikey_authorize(:'key', 'n_new', 'production', 'write') AS new;
SELECT now() AS mark \gset
SELECT apikey_rename_project('n_web', 'n_new');
SELECT apikey_authorize(:'key', 'n_web', 'production', 'write') AS old, apikey_authorize(:'key', 'n_new', 'production', 'write') AS new,
	apikey_authorize(:'key', 'n_new', 'production', 'manage') AS higher;
SELECT n_look(:'key'), apikey_projects_of(:'key', 'read') AS projects;
SELECT * FROM n_registry();
SELECT * FROM n_grants();
SELECT * FROM n_events(:'mark');
-- undone
BEGIN;
SELECT apikey_rename_project('n_shop', 'n_web');
SELECT n_look(:'key');
SAVEPOINT s;
SELECT apikey_rename_project('n_web', 'n_later');
SELECT n_look(:'key');
ROLLBACK TO s;
SELECT n_look(:'key');
ROLLBACK;
SELECT n_look(:'key');
-- two that change places, in one transaction; in one statement each sees the one before
BEGIN;
SELECT apikey_rename_project('n_new', 'n_aside'), apikey_rename_project('n_shop', 'n_new'), apikey_rename_project('n_aside', 'n_shop');
COMMIT;
SELECT n_look(:'key');
SELECT apikey_rename_project('n_new', 'n_aside'), apikey_rename_project('n_shop', 'n_new'), apikey_rename_project('n_aside', 'n_shop');
SELECT * FROM n_grants();
-- the old name is free, for anybody, and opens nothing
SELECT apikey_add_project('n_globex', 'n_web');
SELECT n_look(:'key'), n_look(:'foreign') AS foreign;
SELECT attempt($$SELECT apikey_rename_project('n_new', 'n_web')$$);
SELECT apikey_remove_project('n_web');
-- 512 bytes are well
SELECT apikey_rename_project('n_new', repeat('p', 512));
SELECT apikey_authorize(:'key', repeat('p', 512), 'production', 'write');
SELECT apikey_rename_project(repeat('p', 512), 'n_web');
-- of many keys, and of one that is made in the same transaction
BEGIN;
SELECT count(key) FROM generate_series(1, 500) i, apikey_create('n_acme', 'many ' || i, '[{"project": "n_web", "environment": "development", "level": "read"}]');
SELECT key AS fresh FROM apikey_create('n_acme', 'fresh', '[{"project": "n_web", "environment": "*", "level": "read"}]') \gset
SELECT n_look(:'fresh');
SELECT now() AS mark \gset
SELECT apikey_rename_project('n_web', 'n_new');
SELECT n_look(:'fresh');
SELECT count(*) FROM apikey_grants WHERE project = 'n_new' AND environment = 'development';
SELECT count(*) FROM n_events(:'mark') WHERE action NOT IN ('create');
COMMIT;
SELECT n_look(:'fresh');
SELECT apikey_rename_project('n_new', 'n_web');
DELETE FROM apikey_key WHERE label LIKE 'many %' OR label = 'fresh';

-- columns of somebody else's, and foreign keys to our tables
ALTER TABLE apikey_project ADD note text, ADD made timestamptz DEFAULT clock_timestamp();
ALTER TABLE apikey_environment ADD note text;
ALTER TABLE apikey_grant ADD note text, ADD n int GENERATED BY DEFAULT AS IDENTITY;
UPDATE apikey_project SET note = 'noted' WHERE project = 'n_web';
UPDATE apikey_environment SET note = 'noted ' || environment WHERE project = 'n_web';
UPDATE apikey_grant SET note = 'noted' WHERE project = 'n_web';
CREATE TABLE n_kept AS SELECT p.note, p.made, g.note AS grant_note, g.n FROM apikey_project p JOIN apikey_grant g USING (project) WHERE project = 'n_web';
CREATE TABLE n_bill (project text REFERENCES apikey_project ON UPDATE CASCADE);
INSERT INTO n_bill VALUES ('n_web');
SELECT apikey_rename_project('n_web', 'n_new');
SELECT * FROM n_bill;
SELECT count(*) FROM (SELECT p.note, p.made, g.note, g.n FROM apikey_project p JOIN apikey_grant g USING (project) WHERE project = 'n_new' INTERSECT TABLE n_kept) t;
SELECT environment, note FROM apikey_environment WHERE project = 'n_new' ORDER BY 1;
CREATE TABLE n_other (project text REFERENCES apikey_project);
INSERT INTO n_other VALUES ('n_new');
SELECT attempt($$SELECT apikey_rename_project('n_new', 'n_web')$$);
SELECT n_look(:'key');
DROP TABLE n_bill, n_other, n_kept;
SELECT apikey_rename_project('n_new', 'n_web');
ALTER TABLE apikey_project DROP note, DROP made;
ALTER TABLE apikey_environment DROP note;
ALTER TABLE apikey_grant DROP note, DROP n;

-- triggers of theirs fire when all is done, once a statement, and see what has moved
CREATE TABLE n_fired (what text, old text, new text, count bigint);
CREATE FUNCTION n_fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.n_fired SELECT TG_TABLE_NAME, (SELECT min(project) FROM old_rows), (SELECT min(project) FROM new_rows),
		(SELECT count(*) FROM public.apikey_grant WHERE project = 'n_new');
	RETURN NULL;
END $$;
CREATE TRIGGER n_fire AFTER UPDATE ON apikey_project REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION n_fire();
CREATE TRIGGER n_fire AFTER UPDATE ON apikey_environment REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION n_fire();
CREATE TRIGGER n_fire AFTER UPDATE ON apikey_grant REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION n_fire();
SELECT apikey_rename_project('n_web', 'n_new');
SELECT * FROM n_fired;
DROP TRIGGER n_fire ON apikey_project;
DROP TRIGGER n_fire ON apikey_environment;
DROP TRIGGER n_fire ON apikey_grant;
SELECT apikey_rename_project('n_new', 'n_web');
DROP TABLE n_fired;
DROP FUNCTION n_fire;

-- where no foreign key fires
SET session_replication_role = replica;
SELECT apikey_rename_project('n_web', 'n_new'), apikey_add_environment('n_new', 'staging');
SELECT n_look(:'key');
SELECT * FROM n_grants();
SELECT attempt($$SELECT apikey_rename_project('n_new', 'n_mars')$$), attempt($$SELECT apikey_rename_project('n_new', 'n_shop')$$);
SELECT apikey_grant(:'key_id', 'n_new', 'staging', 'read');
SELECT n_look(:'key');
SELECT apikey_remove_environment('n_new', 'staging'), apikey_add_environment('n_new', 'staging');
SELECT n_look(:'key') AS nothing_came_back;
SELECT apikey_remove_environment('n_new', 'staging');
RESET session_replication_role;
SELECT n_look(:'key');
SELECT apikey_rename_project('n_new', 'n_web');
SELECT * FROM n_registry();

-- a trigger of somebody else's that keeps a row from being moved, or removed
CREATE FUNCTION n_keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION n_kept(call text, tables text[] DEFAULT '{apikey_project,apikey_environment,apikey_grant}') RETURNS TABLE (kept text, result text, replicated text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH kept IN ARRAY tables LOOP
		EXECUTE format('CREATE TRIGGER n_keep BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION n_keep()', kept);
		EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER n_keep', kept);
		result = attempt(call);
		SET LOCAL session_replication_role = replica;
		replicated = attempt(call);
		SET LOCAL session_replication_role = origin;
		EXECUTE format('DROP TRIGGER n_keep ON %I', kept);
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM n_kept($$SELECT apikey_rename_project('n_web', 'n_new')$$);
SELECT * FROM n_kept($$SELECT apikey_remove_project('n_web')$$);
SELECT * FROM n_kept($$SELECT apikey_remove_environment('n_web', 'production')$$, '{apikey_environment,apikey_grant}');
SELECT * FROM n_registry();
SELECT * FROM n_grants();

-- nobody but the owner of the extension, until it is granted
CREATE ROLE regress_apikey_registrar;
SET ROLE regress_apikey_registrar;
SELECT attempt($$SELECT apikey_add_environment('n_web', 'staging')$$), attempt($$SELECT apikey_rename_project('n_web', 'n_new')$$), attempt('SELECT FROM apikey_registry');
RESET ROLE;
GRANT EXECUTE ON FUNCTION apikey_add_environment, apikey_rename_project TO regress_apikey_registrar;
GRANT SELECT ON apikey_registry TO regress_apikey_registrar;
SET ROLE regress_apikey_registrar;
SELECT apikey_add_environment('n_web', 'staging'), apikey_rename_project('n_web', 'n_new');
SELECT project, environments FROM apikey_registry WHERE organization = 'n_acme' ORDER BY 1;
RESET ROLE;
DROP OWNED BY regress_apikey_registrar;
DROP ROLE regress_apikey_registrar;
BEGIN READ ONLY;
SELECT attempt($$SELECT apikey_rename_project('n_new', 'n_web')$$), attempt($$SELECT apikey_add_environment('n_new', 'x')$$);
ROLLBACK;

-- a project without environments
BEGIN;
ALTER TABLE apikey_environment DISABLE TRIGGER ALL;
INSERT INTO apikey_project VALUES ('n_bare', 'n_bare');
SELECT project, environments FROM apikey_registry WHERE project = 'n_bare';
SELECT apikey_rename_project('n_bare', 'n_naked'), apikey_add_environment('n_naked', 'production');
SELECT project, environments FROM apikey_registry WHERE organization = 'n_bare';
SELECT environment FROM apikey_environment WHERE project = 'n_naked' ORDER BY 1;
ROLLBACK;

DROP FUNCTION n_look, n_registry, n_grants, n_events, n_calls, n_keep, n_kept;
DELETE FROM apikey_key WHERE organization LIKE 'n\_%';
DELETE FROM apikey_project WHERE organization LIKE 'n\_%';
