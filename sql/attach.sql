\a \t
-- apikey_attach_projects and apikey_detach_projects: the registry follows a table of the application.
CREATE FUNCTION h_registry() RETURNS TABLE (project text, organization text, environments text) LANGUAGE sql AS $$
	SELECT p.project, p.organization, string_agg(e.environment, ' ' ORDER BY e.environment)
	FROM apikey_project p LEFT JOIN apikey_environment e USING (project, organization)
	WHERE p.organization LIKE 'h\_%' GROUP BY 1, 2 ORDER BY 1
$$;
CREATE FUNCTION h_triggers(relation regclass) RETURNS TABLE (name name, enabled "char", definition text) LANGUAGE sql AS $$
	SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal ORDER BY 1
$$;

-- what is there is registered; then each change
CREATE TABLE h_project (id text PRIMARY KEY, organization text, note text);
INSERT INTO h_project VALUES ('h_web', 'h_acme'), ('h_shop', 'h_acme'), ('h_mars', 'h_globex'), ('h_none', NULL);
SELECT apikey_attach_projects('h_project', 'id', 'organization');
SELECT * FROM h_registry();
SELECT * FROM h_triggers('h_project');
INSERT INTO h_project VALUES ('h_new', 'h_acme'), ('h_null', NULL);
DELETE FROM h_project WHERE id = 'h_shop';
SELECT * FROM h_registry();
UPDATE h_project SET id = 'h_renamed' WHERE id = 'h_new';
UPDATE h_project SET organization = 'h_acme' WHERE id = 'h_null';
UPDATE h_project SET organization = NULL WHERE id = 'h_mars';
SELECT * FROM h_registry();
-- nulls
CREATE TABLE h_nullable (id text UNIQUE, organization text);
SELECT apikey_attach_projects('h_nullable', 'id', 'organization', '{live}');
INSERT INTO h_nullable VALUES (NULL, 'h_acme'), (NULL, 'h_acme'), (NULL, NULL), ('h_n', 'h_acme');
UPDATE h_nullable SET id = 'h_id' WHERE id IS NULL AND organization IS NULL;
UPDATE h_nullable SET organization = 'h_acme' WHERE id = 'h_id';
UPDATE h_nullable SET id = NULL WHERE id = 'h_n';
SELECT * FROM h_registry() WHERE environments ~ 'live';
DELETE FROM h_nullable;
SELECT count(*) FROM h_registry() WHERE environments ~ 'live';
DROP TABLE h_nullable;

-- deleting a project ends all access in the same transaction, and a rollback gives it back
SELECT key_id, key FROM apikey_create('h_acme', 'h', '[
	{"project": "h_web", "environment": "production", "level": "write"},
	{"project": "h_renamed", "environment": "*", "level": "read"},
	{"project": "*", "environment": "development", "level": "read"}]') \gset
CREATE FUNCTION h_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(project || '/' || environment, ' ' ORDER BY project, environment)
	FROM unnest('{h_web,h_renamed,h_mars,h_new}'::text[]) project, unnest('{production,development}'::text[]) environment
	WHERE apikey_authorize(key, project, environment, 'read')
$$;
SELECT h_look(:'key');
BEGIN;
DELETE FROM h_project WHERE id = 'h_web';
SELECT h_look(:'key');
SAVEPOINT s;
DELETE FROM h_project;
SELECT h_look(:'key');
ROLLBACK TO s;
SELECT h_look(:'key');
ROLLBACK;
SELECT h_look(:'key');
BEGIN;
TRUNCATE h_project;
SELECT h_look(:'key');
SELECT * FROM h_registry();
ROLLBACK;
SELECT h_look(:'key');
-- grants are not carried along: neither to another organization and back, nor to another id and back
UPDATE h_project SET organization = 'h_globex' WHERE id = 'h_web';
SELECT h_look(:'key');
UPDATE h_project SET organization = 'h_acme' WHERE id = 'h_web';
SELECT h_look(:'key') AS nothing_came_back;
UPDATE h_project SET id = 'h_new' WHERE id = 'h_renamed';
SELECT h_look(:'key');
UPDATE h_project SET id = 'h_renamed' WHERE id = 'h_new';
SELECT h_look(:'key') AS nothing_came_back;
-- not even by being deleted and inserted in one statement
SELECT apikey_grant(:'key_id', 'h_web', 'production', 'write');
SELECT h_look(:'key');
WITH gone AS (DELETE FROM h_project WHERE id = 'h_web' RETURNING *) INSERT INTO h_project SELECT * FROM gone;
SELECT h_look(:'key');
-- what changes neither column changes nothing
SELECT apikey_grant(:'key_id', 'h_web', 'production', 'write');
SELECT flushes AS flushes FROM apikey_cache_stats() \gset
UPDATE h_project SET note = 'noted', id = id, organization = organization;
INSERT INTO h_project VALUES ('h_web', 'h_globex') ON CONFLICT (id) DO UPDATE SET note = 'again';
INSERT INTO h_project VALUES ('h_web', 'h_globex') ON CONFLICT DO NOTHING;
SELECT flushes = :flushes AS nothing_flushed FROM apikey_cache_stats();
SELECT h_look(:'key');
INSERT INTO h_project VALUES ('h_web', 'h_globex'), ('h_upsert', 'h_globex') ON CONFLICT (id) DO UPDATE SET organization = excluded.organization;
SELECT h_look(:'key');
SELECT * FROM h_registry();
COPY h_project (id, organization) FROM stdin;
h_copied	h_acme
h_null_again	\N
\.
MERGE INTO h_project p USING (VALUES ('h_copied'), ('h_merged')) AS v (id) ON p.id = v.id
WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'h_acme');
SELECT project FROM h_registry() WHERE project IN ('h_copied', 'h_merged');

-- ids that move along many rows, past other organizations' too
CREATE TABLE h_number (id int PRIMARY KEY, organization text);
INSERT INTO h_number SELECT i, CASE i % 2 WHEN 0 THEN 'h_even' ELSE 'h_odd' END FROM generate_series(1, 5) i;
SELECT apikey_attach_projects('h_number', 'id', 'organization', '{live}');
UPDATE h_number SET id = id - 1;
SELECT project, organization FROM h_registry() WHERE environments ~ 'live';
SELECT attempt('UPDATE h_number SET id = id + 1');
UPDATE h_number SET id = id + 100;
UPDATE h_number SET id = id - 99;
SELECT project, organization FROM h_registry() WHERE environments ~ 'live';
TRUNCATE h_number;
INSERT INTO h_number SELECT i, 'h_many' FROM generate_series(1, 2500) i;
SELECT count(*), count(DISTINCT project) FROM apikey_environment WHERE organization = 'h_many';
SELECT apikey_detach_projects('h_number');
DELETE FROM apikey_project WHERE organization = 'h_many' AND project::int > 1000;
SELECT apikey_attach_projects('h_number', 'id', 'organization', '{live,test}');
SELECT count(*), count(DISTINCT project) FROM apikey_environment WHERE organization = 'h_many';
TRUNCATE h_number;
SELECT count(*) FROM apikey_environment WHERE organization = 'h_many';

-- triggers of the application that change the rows again before ours fires
CREATE FUNCTION h_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CASE TG_OP
		WHEN 'INSERT' THEN UPDATE h_number SET id = id + 1000 WHERE id = new.id AND id < 1000;
		WHEN 'UPDATE' THEN UPDATE h_number SET organization = 'h_odd' WHERE id = new.id AND organization = 'h_even';
		WHEN 'DELETE' THEN INSERT INTO h_number VALUES (old.id, old.organization);
	END CASE;
	RETURN NULL;
END $$;
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON h_number FOR EACH ROW EXECUTE FUNCTION h_again();
INSERT INTO h_number VALUES (1, 'h_odd'), (2, 'h_even');
SELECT * FROM h_number ORDER BY 1;
SELECT project, organization FROM h_registry() WHERE environments ~ 'live';
SELECT key_id AS number_id, key AS number FROM apikey_create('h_odd', 'n', '[{"project": 1001, "environment": "live", "level": "read"}]') \gset
UPDATE h_number SET organization = 'h_even' WHERE id = 1001;
SELECT * FROM h_number ORDER BY 1;
SELECT project, organization FROM h_registry() WHERE environments ~ 'live';
SELECT apikey_authorize(:'number', '1001', 'live', 'read') AS away_and_back;
SELECT apikey_grant(:'number_id', '1001', 'live', 'read');
SELECT apikey_authorize(:'number', '1001', 'live', 'read');
DELETE FROM h_number WHERE id = 1001;
SELECT project, organization FROM h_registry() WHERE environments ~ 'live';
SELECT apikey_authorize(:'number', '1001', 'live', 'read') AS deleted_and_inserted;
ALTER TABLE h_number DISABLE TRIGGER a;
DELETE FROM h_number;
SELECT count(*) FROM h_registry() WHERE environments ~ 'live';
-- a foreign key that cascades
CREATE TABLE h_organization (id text PRIMARY KEY);
INSERT INTO h_organization VALUES ('h_one'), ('h_two');
INSERT INTO h_number VALUES (1, 'h_one'), (2, 'h_two');
ALTER TABLE h_number ADD FOREIGN KEY (organization) REFERENCES h_organization ON UPDATE CASCADE ON DELETE CASCADE;
UPDATE h_organization SET id = 'h_uno' WHERE id = 'h_one';
DELETE FROM h_organization WHERE id = 'h_two';
SELECT project, organization FROM h_registry() WHERE environments ~ 'live';
DELETE FROM h_organization;
SELECT count(*) FROM h_registry() WHERE environments ~ 'live';
DROP TABLE h_number, h_organization;

-- another organization has it: the statement of the application fails
SELECT apikey_add_project('h_globex', 'h_taken');
SELECT attempt($$INSERT INTO h_project VALUES ('h_ok', 'h_acme'), ('h_taken', 'h_acme')$$);
SELECT attempt($$UPDATE h_project SET id = 'h_taken' WHERE id = 'h_merged'$$);
SELECT id FROM h_project WHERE id IN ('h_ok', 'h_taken', 'h_merged');
INSERT INTO h_project VALUES ('h_taken', 'h_globex');
CREATE TABLE h_other (id text PRIMARY KEY, organization text);
INSERT INTO h_other VALUES ('h_fine', 'h_acme'), ('h_web', 'h_acme');
SELECT attempt($$SELECT apikey_attach_projects('h_other', 'id', 'organization')$$);
SELECT count(*) FROM h_triggers('h_other');
SELECT count(*) FROM apikey_project WHERE project = 'h_fine';
-- names that cannot be; beside a null anything goes
SELECT command, attempt(command) FROM unnest(array[
	$$INSERT INTO h_project VALUES ('', 'h_acme')$$,
	$$INSERT INTO h_project VALUES ('*', 'h_acme')$$,
	$$INSERT INTO h_project VALUES ('h_x', '')$$,
	$$INSERT INTO h_project VALUES ('h_x', '*')$$,
	$$INSERT INTO h_project VALUES (repeat('x', 513), 'h_acme')$$,
	$$INSERT INTO h_project VALUES ('h_x', repeat('x', 100000000))$$,
	$$UPDATE h_project SET id = '*' WHERE id = 'h_web'$$,
	$$UPDATE h_project SET organization = '' WHERE id = 'h_web'$$,
	$$UPDATE h_project SET organization = '*' WHERE id = 'h_web'$$,
	$$INSERT INTO h_project VALUES (repeat('p', 512), 'h_acme')$$,
	$$DELETE FROM h_project WHERE length(id) = 512$$,
	$$INSERT INTO h_project VALUES ('*', NULL), ('', NULL), (repeat('x', 513), NULL)$$,
	$$DELETE FROM h_project WHERE organization IS NULL$$]) command;
SELECT attempt($$INSERT INTO h_project VALUES ('*', NULL)$$), attempt($$UPDATE h_project SET organization = 'h_acme' WHERE id = '*'$$);
DELETE FROM h_project WHERE id = '*';

-- columns of other types
CREATE TYPE h_enum AS ENUM ('h_red', 'h_green');
CREATE DOMAIN h_domain AS varchar(20) CHECK (value <> 'h_bad');
CREATE TABLE h_uuid (organization uuid, key uuid PRIMARY KEY);
CREATE TABLE h_enums (id h_enum PRIMARY KEY, organization h_domain);
CREATE TABLE h_big (id bigint, organization smallint, UNIQUE (id) INCLUDE (organization));
CREATE TABLE h_varchar (id varchar(30) COLLATE "C" UNIQUE, gone int, organization h_domain);
ALTER TABLE h_varchar DROP COLUMN gone;
INSERT INTO h_uuid VALUES ('5F0C7A2E-7C58-4C8E-9F5B-2B1D1C0A9E77', '0B0E7B8E-25F4-4D5C-8A1D-1D2F6D6A3F11');
INSERT INTO h_enums VALUES ('h_red', 'h_acme');
INSERT INTO h_varchar VALUES ('h_name1', 'h_acme');
SELECT apikey_attach_projects('h_uuid', 'key', 'organization', '{typed}'), apikey_attach_projects('h_enums', 'id', 'organization', '{typed}'),
	apikey_attach_projects('h_big', 'id', 'organization', '{typed}'), apikey_attach_projects('h_varchar', 'id', 'organization', '{typed}');
INSERT INTO h_enums VALUES ('h_green', 'h_acme');
INSERT INTO h_big VALUES (9876543210, -7);
INSERT INTO h_varchar VALUES ('h_name2', 'h_acme');
SELECT project, organization FROM apikey_environment WHERE environment = 'typed' ORDER BY 1;
UPDATE h_enums SET organization = 'h_globex' WHERE id = 'h_red';
UPDATE h_uuid SET key = 'b0b0b0b0-0000-0000-0000-000000000000';
UPDATE h_big SET id = -id;
DELETE FROM h_enums WHERE id = 'h_green';
DELETE FROM h_varchar WHERE id = 'h_name1';
SELECT project, organization FROM apikey_environment WHERE environment = 'typed' ORDER BY 1;
TRUNCATE h_uuid, h_enums, h_big, h_varchar;
SELECT project, organization FROM apikey_environment WHERE environment = 'typed' ORDER BY 1;
DROP TABLE h_uuid, h_enums, h_big, h_varchar;
CREATE TABLE h_wrong (n numeric UNIQUE, c char(5) UNIQUE, s name UNIQUE, d date UNIQUE, r regclass UNIQUE, a text[] UNIQUE, id text UNIQUE, organization text);
SELECT column_name, attempt(format('SELECT apikey_attach_projects(''h_wrong'', %L, ''organization'')', column_name)) FROM unnest('{n,c,s,d,r,a}'::text[]) column_name;
SELECT attempt($$SELECT apikey_attach_projects('h_wrong', 'id', 'd')$$);
DROP TABLE h_wrong;

-- attached again: other environments are added, none is taken away
SELECT apikey_attach_projects('h_project', 'id', 'organization', array['production', E'it''s \\ "staging"']);
SELECT * FROM h_registry();
SELECT * FROM h_triggers('h_project');
INSERT INTO h_project VALUES ('h_later', 'h_acme');
SELECT left(attempt('DROP EXTENSION apikey'), 5) AS depended_upon;
SELECT * FROM h_registry() WHERE project = 'h_later';
-- a column that was renamed, or dropped
ALTER TABLE h_project RENAME organization TO customer;
INSERT INTO h_project VALUES ('h_x', 'h_acme');
SELECT attempt($$UPDATE h_project SET note = ''$$), attempt($$DELETE FROM h_project$$), attempt($$TRUNCATE h_project$$);
SELECT apikey_attach_projects('h_project', 'id', 'customer');
INSERT INTO h_project VALUES ('h_x', 'h_acme');
SELECT project FROM h_registry() WHERE project = 'h_x';
ALTER TABLE h_project DROP customer;
SELECT attempt($$INSERT INTO h_project VALUES ('h_y')$$);
ALTER TABLE h_project ADD customer text;
SELECT apikey_attach_projects('h_project', 'id', 'customer', '{production}');
UPDATE h_project SET customer = 'h_acme' WHERE id = 'h_x';

-- what else can happen to an attached table
ALTER TABLE h_project DROP CONSTRAINT h_project_pkey;
SELECT attempt($$INSERT INTO h_project (id, customer) VALUES ('h_z', 'h_acme')$$);
ALTER TABLE h_project ADD PRIMARY KEY (id);
ALTER TABLE h_project SET UNLOGGED;
SELECT attempt($$INSERT INTO h_project (id, customer) VALUES ('h_z', 'h_acme')$$);
ALTER TABLE h_project SET LOGGED;
CREATE TABLE h_parent (LIKE h_project) PARTITION BY LIST (id);
ALTER TABLE h_parent ATTACH PARTITION h_project DEFAULT;
SELECT attempt($$INSERT INTO h_parent (id, customer) VALUES ('h_z', 'h_acme')$$);
ALTER TABLE h_parent DETACH PARTITION h_project;
DROP TABLE h_parent;
ALTER TABLE h_project RENAME TO "h Moved";
ALTER TRIGGER apikey_sync ON "h Moved" RENAME TO h_odd;
INSERT INTO "h Moved" (id, customer) VALUES ('h_z', 'h_acme');
SELECT count(*) FROM apikey_project WHERE project = 'h_z';
SELECT apikey_attach_projects('"h Moved"', 'id', 'customer', '{production}');
SELECT name FROM h_triggers('"h Moved"');
ALTER TRIGGER apikey_sync ON "h Moved" RENAME TO h_odd;
SELECT apikey_detach_projects('"h Moved"');
SELECT name FROM h_triggers('"h Moved"');
ALTER TABLE "h Moved" RENAME TO h_project;
-- detached: what is registered stays so
DELETE FROM h_project;
SELECT count(*) > 0 AS stays FROM h_registry();
SELECT apikey_detach_projects('h_project');
SELECT attempt($$SELECT apikey_detach_projects('h_project')$$), attempt($$SELECT apikey_detach_projects(NULL)$$), attempt($$SELECT apikey_detach_projects(0)$$);
-- a trigger of that name that somebody else made
CREATE TRIGGER apikey_sync AFTER INSERT ON h_project FOR EACH ROW EXECUTE FUNCTION h_again();
SELECT apikey_attach_projects('h_project', 'id', 'customer');
SELECT attempt($$SELECT apikey_detach_projects('h_project')$$);
DROP TRIGGER apikey_sync ON h_project;

-- what cannot be attached
CREATE VIEW h_view AS SELECT * FROM h_project;
CREATE MATERIALIZED VIEW h_matview AS SELECT * FROM h_project;
CREATE TABLE h_partitioned (id text PRIMARY KEY, customer text) PARTITION BY LIST (id);
CREATE TABLE h_partition PARTITION OF h_partitioned DEFAULT;
CREATE TEMP TABLE h_temporary (id text PRIMARY KEY, customer text);
CREATE UNLOGGED TABLE h_unlogged (id text PRIMARY KEY, customer text);
CREATE TABLE h_index (id text, customer text);
SELECT relation, attempt(format('SELECT apikey_attach_projects(%L, ''id'', ''customer'')', relation))
FROM unnest('{h_view,h_matview,h_partitioned,h_partition,h_temporary,h_unlogged,h_project_pkey,h_none,pg_class}'::text[]) relation;
SELECT attempt($$SELECT apikey_attach_projects(0, 'id', 'customer')$$);
SELECT call, attempt(format('SELECT apikey_attach_projects(%s)', call)) FROM unnest(array[
	$$NULL, 'id', 'customer'$$, $$'h_project', NULL, 'customer'$$, $$'h_project', 'id', NULL$$, $$'h_project', 'id', 'customer', NULL$$,
	$$'h_project', 'id', 'customer', '{}'$$, $$'h_project', 'id', 'customer', '{NULL}'$$, $$'h_project', 'id', 'customer', '{""}'$$,
	$$'h_project', 'id', 'customer', '{*}'$$, $$'h_project', 'id', 'customer', array(SELECT 'e' || i FROM generate_series(1, 1001) i)$$, $$'h_project', 'id', 'customer', array[repeat('e', 513)]$$,
	$$'h_project', 'ID', 'customer'$$, $$'h_project', 'id', 'nope'$$, $$'h_project', 'id', '........pg.dropped.2........'$$, $$'h_project', 'ctid', 'customer'$$]) call;
-- a unique index on just this column, of all rows, checked at once
SELECT apikey_attach_projects('h_index', 'id', 'customer');
CREATE FUNCTION h_try(index text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'ALTER TABLE h_index ' || index;
	result = left(attempt($a$SELECT apikey_attach_projects('h_index', 'id', 'customer')$a$), 5);
	EXECUTE 'DROP TABLE h_index; CREATE TABLE h_index (id text, customer text)';
	RETURN result;
END $$;
SELECT index, h_try(index) FROM unnest(array['ADD UNIQUE (id)', 'ADD UNIQUE (id) INCLUDE (customer)', 'ADD UNIQUE NULLS NOT DISTINCT (id)', 'ADD UNIQUE (id, customer)',
	'ADD UNIQUE (customer)', 'ADD UNIQUE (id) DEFERRABLE', 'ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED', 'ADD EXCLUDE (id WITH =)', 'ADD n int; CREATE INDEX ON h_index (id)',
	'ADD n int; CREATE UNIQUE INDEX ON h_index (id) WHERE customer IS NOT NULL', 'ADD n int; CREATE UNIQUE INDEX ON h_index (lower(id))']) index;

-- who may: who owns the table, and was given the function; and then any role that may change the table
CREATE ROLE regress_apikey_owner;
CREATE ROLE regress_apikey_app;
GRANT CREATE ON SCHEMA public TO regress_apikey_owner;
SET ROLE regress_apikey_owner;
CREATE TABLE h_owned (id text PRIMARY KEY, customer text);
INSERT INTO h_owned VALUES ('h_first', 'h_owned');
GRANT ALL ON h_owned TO regress_apikey_app;
SELECT attempt($$SELECT apikey_attach_projects('h_owned', 'id', 'customer')$$), attempt($$SELECT apikey_detach_projects('h_owned')$$);
SELECT attempt($$CREATE TRIGGER t AFTER INSERT ON h_owned FOR EACH ROW EXECUTE FUNCTION apikey_internal.sync_projects('id', 'customer', 'x')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION apikey_attach_projects(regclass, name, name, text[]), apikey_detach_projects(regclass)
TO regress_apikey_owner, regress_apikey_app;
SET ROLE regress_apikey_app;
SELECT attempt($$SELECT apikey_attach_projects('h_owned', 'id', 'customer')$$), attempt($$SELECT apikey_detach_projects('h_owned')$$);
SET ROLE regress_apikey_owner;
SELECT apikey_attach_projects('h_owned', 'id', 'customer');
SELECT current_user, attempt($$SELECT FROM apikey_project$$);
-- row-level security hides nothing from the registry
ALTER TABLE h_owned ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY h_policy ON h_owned USING (id <> 'h_hidden') WITH CHECK (true);
INSERT INTO h_owned VALUES ('h_hidden', 'h_owned');
SELECT apikey_attach_projects('h_owned', 'id', 'customer', '{hidden}');
SET ROLE regress_apikey_app;
INSERT INTO h_owned VALUES ('h_second', 'h_owned'), ('h_third', 'h_owned');
DELETE FROM h_owned WHERE id = 'h_third';
SELECT id FROM h_owned ORDER BY 1;
RESET ROLE;
SELECT * FROM h_registry() WHERE organization = 'h_owned';
SET ROLE regress_apikey_app;
TRUNCATE h_owned;
SET ROLE regress_apikey_owner;
SELECT apikey_detach_projects('h_owned');
RESET ROLE;
SELECT count(*) FROM h_registry() WHERE organization = 'h_owned';
-- the trigger function believes no other trigger, and is no function
CREATE TRIGGER h_t AFTER INSERT ON h_owned FOR EACH ROW EXECUTE FUNCTION apikey_internal.sync_projects('id', 'customer');
SELECT attempt($$INSERT INTO h_owned VALUES ('h_f', 'h_owned')$$);
DROP TRIGGER h_t ON h_owned;
CREATE TRIGGER h_t BEFORE INSERT ON h_owned FOR EACH ROW EXECUTE FUNCTION apikey_internal.sync_projects('id', 'customer', 'x');
SELECT attempt($$INSERT INTO h_owned VALUES ('h_f', 'h_owned')$$);
DROP TRIGGER h_t ON h_owned;
CREATE TRIGGER h_t AFTER INSERT ON h_owned FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.sync_projects('id', 'customer', 'x');
SELECT attempt($$INSERT INTO h_owned VALUES ('h_f', 'h_owned')$$);
DROP TRIGGER h_t ON h_owned;
CREATE TRIGGER h_t AFTER TRUNCATE ON h_owned FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.sync_projects('id', 'customer', 'x');
SELECT attempt($$TRUNCATE h_owned$$), attempt($$SELECT apikey_internal.sync_projects()$$);

-- while logical replication is applied the foreign keys sleep, the registry does not
SELECT apikey_remove_project('h_web');
INSERT INTO h_other VALUES ('h_new', 'h_acme');
SELECT apikey_attach_projects('h_other', 'id', 'organization');
SELECT apikey_grant(:'key_id', 'h_web', 'production', 'write'), apikey_grant(:'key_id', 'h_new', '*', 'write');
SELECT h_look(:'key');
SET session_replication_role = replica;
DELETE FROM h_other WHERE id = 'h_web';
SELECT h_look(:'key');
INSERT INTO h_other VALUES ('h_web', 'h_acme');
UPDATE h_other SET id = 'h_moved' WHERE id = 'h_new';
RESET session_replication_role;
SELECT h_look(:'key') AS nothing_came_back;
SELECT count(*) FROM apikey_grant WHERE project IN ('h_web', 'h_new');
SELECT * FROM h_registry() WHERE project IN ('h_web', 'h_new', 'h_moved');
-- odd names
CREATE SCHEMA "h ""s";
CREATE TABLE "h ""s"."t'x" ("I d" text PRIMARY KEY, "o""rg" text);
SELECT apikey_attach_projects('"h ""s"."t''x"', 'I d', 'o"rg', '{"e,1"}');
INSERT INTO "h ""s"."t'x" VALUES ('h_odd', 'h_acme');
SELECT * FROM h_registry() WHERE project = 'h_odd';
SELECT definition FROM h_triggers('"h ""s"."t''x"');

SET client_min_messages = warning;
DROP SCHEMA "h ""s" CASCADE;
DROP VIEW h_view;
DROP MATERIALIZED VIEW h_matview;
DROP TABLE h_project, h_other, h_partitioned, h_temporary, h_unlogged, h_index, h_owned;
DROP TYPE h_enum, h_domain;
DROP FUNCTION h_registry, h_triggers, h_look, h_again, h_try;
REVOKE ALL ON SCHEMA public FROM regress_apikey_owner;
DROP OWNED BY regress_apikey_owner, regress_apikey_app;
DROP ROLE regress_apikey_owner, regress_apikey_app;
DELETE FROM apikey_key WHERE organization LIKE 'h\_%';
DELETE FROM apikey_project WHERE organization LIKE 'h\_%';
