\a \t
-- What a session forgets when something changes, and what it keeps.

SELECT apikey_add_project('fo_acme', 'fo_web'), apikey_add_project('fo_acme', 'fo_shop'),
	apikey_add_project('fo_globex', 'fo_moon');
CREATE TABLE fo_key (name text, key_id uuid, key text);

-- The part of a key, and of an organization: written again here.
CREATE FUNCTION fo_part(id uuid) RETURNS int LANGUAGE sql AS $$
	SELECT mod(uuid_hash(id)::bigint & 4294967295, 128)::int $$;
CREATE FUNCTION fo_part(name text) RETURNS int LANGUAGE sql AS $$
	SELECT mod(hashtext(name COLLATE "C")::bigint & 4294967295, 128)::int $$;

-- A key, one of another organization, and a chain of two that are derived; all in different parts
DO $$
DECLARE
	everything jsonb = '[{"project": "*", "environment": "*", "level": "write"}]';
BEGIN
	LOOP
		INSERT INTO fo_key
			SELECT 'root', k.* FROM apikey_create('fo_acme', 'root', everything, organization_level => 'read', max_derived => 5) k
			UNION ALL SELECT 'globex', k.* FROM apikey_create('fo_globex', 'globex', everything) k;
		INSERT INTO fo_key SELECT 'middle', d.* FROM fo_key, apikey_derive(key, 'middle', everything) d WHERE name = 'root';
		INSERT INTO fo_key SELECT 'child', d.* FROM fo_key, apikey_derive(key, 'child') d WHERE name = 'middle';
		EXIT WHEN (SELECT count(DISTINCT fo_part(key_id)) = 4 FROM fo_key);
		PERFORM apikey_delete(key_id) FROM fo_key WHERE name IN ('root', 'globex');
		DELETE FROM fo_key;
	END LOOP;
END $$;
-- For each of them a key in the same part, and one in none of these, by the name '-'
CREATE TABLE fo_near AS SELECT v.name, (SELECT id FROM (SELECT gen_random_uuid() FROM generate_series(1, 20000)) AS r (id)
		WHERE (SELECT bool_and((fo_part(id) = fo_part(k.key_id)) = (k.name = v.name)) FROM fo_key k) LIMIT 1) AS key_id
	FROM (VALUES ('root'), ('middle'), ('child'), ('-')) AS v (name);
SELECT count(key_id) FROM fo_near;
INSERT INTO apikey_key (key_id, organization, prefix, label) SELECT key_id, 'fo_globex', 'apk', 'near ' || name FROM fo_near;
INSERT INTO apikey_grant (key_id, level, environment, organization) SELECT key_id, 'read', '*', 'fo_globex' FROM fo_near;
CREATE FUNCTION fo_id(of text) RETURNS uuid LANGUAGE sql AS $$ SELECT key_id FROM fo_key WHERE name = $1 $$;
CREATE FUNCTION fo_near(of text) RETURNS uuid LANGUAGE sql AS $$ SELECT key_id FROM fo_near WHERE name = $1 $$;
-- Likewise organizations
CREATE FUNCTION fo_organization(near text) RETURNS text LANGUAGE sql AS $$
	SELECT min(name) FROM (SELECT 'fo_' || i FROM generate_series(1, 20000) i) o (name)
	WHERE (fo_part(name) = fo_part('fo_acme')) = (near = 'fo_acme') AND fo_part(name) <> fo_part('fo_globex') $$;
SELECT fo_part('fo_acme') <> fo_part('fo_globex') AS apart;

-- What the child may do after a change, and what it took to know: was a key verified by
-- the tables, and how often were grants (of all three) and the registry looked at?
CREATE FUNCTION fo_after(change text, who text DEFAULT 'child', project text DEFAULT 'fo_web', OUT may boolean, OUT verified bigint, OUT grants bigint, OUT registry bigint)
LANGUAGE plpgsql AS $$
DECLARE
	the text = (SELECT key FROM fo_key WHERE name = who);
BEGIN
	PERFORM apikey_authorize(the, project, 'production', 'write');
	EXECUTE change;
	verified = (SELECT builds FROM apikey_cache_stats());
	grants = pg_stat_get_xact_numscans('apikey_grant_key'::regclass);
	registry = pg_stat_get_xact_numscans('apikey_environment_pkey'::regclass);
	may = apikey_authorize(the, project, 'production', 'write');
	verified = (SELECT builds FROM apikey_cache_stats()) - verified;
	grants = pg_stat_get_xact_numscans('apikey_grant_key'::regclass) - grants;
	registry = pg_stat_get_xact_numscans('apikey_environment_pkey'::regclass) - registry;
END $$;

-- nothing changed; then only what has nothing to do with it
SELECT * FROM fo_after('');
SELECT * FROM fo_after('SELECT apikey_disable(fo_near($$-$$))');
SELECT * FROM fo_after('SELECT apikey_disable(fo_id($$globex$$)), apikey_enable(fo_id($$globex$$))');
SELECT * FROM fo_after('SELECT apikey_ungrant(fo_near($$-$$), $$*$$, $$*$$)');
SELECT * FROM fo_after('SELECT apikey_create($$fo_acme$$, $$new$$, $$[{"project": "*", "environment": "*", "level": "write"}]$$)');
SELECT * FROM fo_after('SELECT apikey_add_project(fo_organization($$-$$), $$fo_new$$)');
SELECT * FROM fo_after('SELECT apikey_suspend($$fo_globex$$), apikey_resume($$fo_globex$$)');
-- a project of its own organization: the registry is asked again, the key stays
SELECT * FROM fo_after('SELECT apikey_add_project($$fo_acme$$, $$fo_more$$)');
SELECT * FROM fo_after('SELECT apikey_remove_project($$fo_more$$)');
SELECT * FROM fo_after('SELECT apikey_add_project(fo_organization($$fo_acme$$), $$fo_near$$)');

-- what is in the same part: the key is verified again, but grants are read only if they are in it
SELECT * FROM fo_after('SELECT apikey_disable(fo_near($$child$$))');
SELECT * FROM fo_after('SELECT apikey_disable(fo_near($$middle$$))');
SELECT * FROM fo_after('SELECT apikey_disable(fo_near($$root$$))');
SELECT * FROM fo_after('SELECT apikey_ungrant(fo_near($$child$$), $$*$$, $$*$$)');
SELECT * FROM fo_after('SELECT apikey_ungrant(fo_near($$middle$$), $$*$$, $$*$$)');
SELECT * FROM fo_after('SELECT apikey_ungrant(fo_near($$root$$), $$*$$, $$*$$)');
SELECT * FROM fo_after('INSERT INTO apikey_suspension VALUES (fo_organization($$fo_acme$$), now())');

-- what is about it: its own, what it is derived from, all of them
SELECT * FROM fo_after('UPDATE apikey_key SET label = $$renamed$$ WHERE key_id = fo_id($$child$$)');
SELECT * FROM fo_after('SELECT apikey_update(fo_id($$root$$), label => $$renamed$$)');
SELECT * FROM fo_after('SELECT apikey_disable(fo_id($$child$$))');
SELECT * FROM fo_after('SELECT apikey_enable(fo_id($$child$$))');
SELECT * FROM fo_after('SELECT apikey_disable(fo_id($$middle$$))');
SELECT * FROM fo_after('SELECT apikey_enable(fo_id($$middle$$))');
SELECT * FROM fo_after('SELECT apikey_disable(fo_id($$root$$))');
SELECT * FROM fo_after('SELECT apikey_enable(fo_id($$root$$))');
SELECT * FROM fo_after('UPDATE apikey_grant SET level = $$read$$ WHERE key_id = fo_id($$child$$)');
SELECT * FROM fo_after('UPDATE apikey_grant SET level = $$write$$ WHERE key_id = fo_id($$child$$)');
SELECT * FROM fo_after('UPDATE apikey_grant SET level = $$read$$ WHERE key_id = fo_id($$middle$$)');
SELECT * FROM fo_after('UPDATE apikey_grant SET level = $$write$$ WHERE key_id = fo_id($$middle$$)');
SELECT * FROM fo_after('SELECT apikey_grant(fo_id($$root$$), $$*$$, $$*$$, $$read$$)');
SELECT * FROM fo_after('SELECT apikey_grant(fo_id($$root$$), $$*$$, $$*$$, $$write$$)');
SELECT * FROM fo_after('SELECT apikey_suspend($$fo_acme$$)');
SELECT * FROM fo_after('SELECT apikey_resume($$fo_acme$$)');
SELECT * FROM fo_after('SELECT apikey_remove_project($$fo_web$$)');
SELECT * FROM fo_after('SELECT apikey_add_project($$fo_acme$$, $$fo_web$$)');
BEGIN;
SELECT * FROM fo_after('TRUNCATE apikey_suspension');
SELECT * FROM fo_after('TRUNCATE apikey_grant');
ROLLBACK;
SELECT * FROM fo_after('');

-- SQL that moves a row from one to another: both are told
SELECT * FROM fo_after('UPDATE apikey_grant SET key_id = fo_near($$-$$), organization = $$fo_globex$$ WHERE key_id = fo_id($$child$$)');
SELECT * FROM fo_after('UPDATE apikey_grant SET key_id = fo_id($$child$$), organization = $$fo_acme$$ WHERE key_id = fo_near($$-$$)');
INSERT INTO apikey_suspension VALUES (fo_organization('-'), now());
SELECT * FROM fo_after('UPDATE apikey_suspension SET organization = $$fo_acme$$ WHERE organization = fo_organization($$-$$)');
SELECT * FROM fo_after('UPDATE apikey_suspension SET organization = fo_organization($$-$$) WHERE organization = $$fo_acme$$');
SELECT * FROM fo_after('UPDATE apikey_key SET key_id = gen_random_uuid() WHERE key_id = fo_near($$child$$)');
SET session_replication_role = replica;
SELECT * FROM fo_after('UPDATE apikey_environment SET organization = $$fo_globex$$ WHERE project = $$fo_web$$');
SELECT * FROM fo_after('UPDATE apikey_environment SET organization = $$fo_acme$$ WHERE project = $$fo_web$$');
SELECT * FROM fo_after('UPDATE apikey_environment SET organization = $$fo_globex$$ WHERE project = $$fo_web$$', 'globex');
SELECT * FROM fo_after('UPDATE apikey_environment SET organization = $$fo_acme$$ WHERE project = $$fo_web$$', 'globex');
RESET session_replication_role;

-- a list of projects rests on the same
CREATE FUNCTION fo_listed(change text, OUT projects text[], OUT registry bigint) LANGUAGE plpgsql AS $$
DECLARE
	the text = (SELECT key FROM fo_key WHERE name = 'child');
BEGIN
	PERFORM apikey_projects_of(the, 'write');
	EXECUTE change;
	registry = pg_stat_get_xact_numscans('apikey_environment_organization_idx'::regclass);
	projects = apikey_projects_of(the, 'write');
	registry = pg_stat_get_xact_numscans('apikey_environment_organization_idx'::regclass) - registry;
END $$;
SELECT * FROM fo_listed('');
SELECT * FROM fo_listed('SELECT apikey_add_project($$fo_globex$$, $$fo_mars$$)');
SELECT * FROM fo_listed('SELECT apikey_disable(fo_near($$-$$)), apikey_enable(fo_near($$-$$))');
SELECT * FROM fo_listed('SELECT apikey_enable(fo_near($$root$$))');
SELECT * FROM fo_listed('SELECT apikey_add_project($$fo_acme$$, $$fo_more$$)');
SELECT * FROM fo_listed('UPDATE apikey_grant SET level = $$read$$ WHERE key_id = fo_id($$middle$$)');
SELECT * FROM fo_listed('UPDATE apikey_grant SET level = $$write$$ WHERE key_id = fo_id($$middle$$)');
SELECT * FROM fo_after('SELECT apikey_revoke(fo_id($$root$$))');
DELETE FROM apikey_suspension WHERE organization ~ '^fo_';
DELETE FROM apikey_key WHERE organization ~ '^fo_';
DELETE FROM apikey_project WHERE organization ~ '^fo_';
