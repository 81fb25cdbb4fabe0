\a \t
-- What a session's key sees of keys: views, and functions that look, go by it.
SELECT apikey_add_project('sight_acme', 'sight_web'), apikey_add_project('sight_acme', 'sight_shop'), apikey_add_project('sight_globex', 'sight_mars'),
	apikey_add_project('sight_initech', 'sight_old');
SELECT '[{"project": "*", "environment": "*", "level": "manage"}]' AS all \gset
CREATE TABLE i_key (name text PRIMARY KEY, key_id uuid, key text);
INSERT INTO i_key SELECT n, c.* FROM (VALUES ('boss', 'sight_acme', 'write'::apikey_level), ('reader', 'sight_acme', 'read'), ('plain', 'sight_acme', NULL), ('expired', 'sight_acme', 'write'),
		('disabled', 'sight_acme', 'write'), ('revoked', 'sight_acme', 'write'), ('elsewhere', 'sight_acme', 'write'), ('other', 'sight_globex', 'write'), ('another', 'sight_globex', 'read'), ('suspended', 'sight_initech', 'write')) k (n, organization, level),
	apikey_create(organization, n, :'all', level, max_derived => 5, metadata => jsonb_build_object('of', organization),
		allowed_networks => CASE n WHEN 'elsewhere' THEN '{192.0.2.0/24}'::cidr[] END) c;
CREATE FUNCTION i_id(which text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT key_id FROM i_key WHERE name = which $$;
CREATE FUNCTION i_text(which text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT coalesce((SELECT key FROM i_key WHERE name = which), which) $$;
INSERT INTO i_key SELECT 'derived', c.* FROM apikey_derive(i_text('boss'), 'derived') c;
INSERT INTO i_key VALUES ('rubbish', NULL, 'rubbish'), ('wrong secret', NULL, token('apk', i_id('boss'), repeat('x', 43)));
UPDATE apikey_key SET expires_at = now() WHERE key_id = i_id('expired');
SELECT apikey_set_budget(i_id('reader'), 111111), apikey_set_budget(i_id('other'), 222222), apikey_set_budget(i_id('suspended'), 222222);
SET apikey.application_user = 'clerk of ours';
SET apikey.client_address = '198.51.100.7';
SELECT apikey_disable(i_id('disabled'), 'a secret of ours'), apikey_revoke(i_id('revoked'), 'a secret of ours'), apikey_suspend('sight_initech', 'a secret of ours');
CREATE TABLE i_doc (organization text, project text, environment text);
CREATE TABLE i_bill (organization text);
SET client_min_messages = error;
SELECT apikey_protect('i_doc', 'project', 'environment'), apikey_protect_organization('i_bill', 'organization');
RESET client_min_messages;
CREATE TABLE i_project (id text PRIMARY KEY, organization text);
SELECT apikey_attach_projects('i_project', 'id', 'organization');

-- the role of an application that shows a customer its keys
CREATE ROLE regress_apikey_portal;
CREATE TABLE i_view AS SELECT relname AS name, relname IN (SELECT relname FROM pg_attribute WHERE attrelid = c.oid AND attname = 'organization') AND relname <> 'apikey_protected' AS of_organization
FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey' AND e.extnamespace = c.relnamespace
WHERE relkind = 'v';
SELECT format('GRANT SELECT ON %s TO regress_apikey_portal', string_agg(name, ', ')) FROM i_view \gexec
GRANT SELECT ON i_key, i_view, i_doc TO regress_apikey_portal;
GRANT EXECUTE ON FUNCTION apikey_who_can, apikey_reach, apikey_unused, apikey_usage_stats, apikey_report_leak, apikey_update, apikey_disable, apikey_set_organization_level TO regress_apikey_portal;
-- whose rows it is shown, of those that are looked at here
CREATE FUNCTION i_shown(view text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE CASE WHEN (SELECT of_organization FROM i_view WHERE name = view)
		THEN format($q$SELECT string_agg(o || ' ' || n, ', ' ORDER BY o) FROM (SELECT coalesce(organization, 'none') o, count(*) n FROM %I
			WHERE organization LIKE 'sight\_%%' GROUP BY 1) s$q$, view)
		ELSE format('SELECT CASE WHEN EXISTS (TABLE %I) THEN $q$some$q$ END', view) END INTO result;
	RETURN result;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RETURN 'not preloaded';
END $$;
CREATE FUNCTION i_run() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	label text;
BEGIN
	EXECUTE 'EXECUTE i_plan' INTO result;
	FOR label IN EXECUTE 'EXECUTE i_page(''ffffffff-ffff-ffff-ffff-ffffffffffff'')' LOOP
		result = concat_ws('; ', result, label);
	END LOOP;
	RETURN result;
END $$;
SELECT name, reloptions FROM i_view JOIN pg_class ON oid = name::regclass ORDER BY 1;
SET ROLE regress_apikey_portal;
SELECT name, i_shown(name) FROM i_view WHERE name NOT IN ('apikey_replicas', 'apikey_subscriptions') ORDER BY name;
SELECT k.name AS key, string_agg(concat_ws(': ', v.name, i_shown(v.name)), '; ' ORDER BY v.name) AS shown
FROM i_key k, LATERAL set_config('apikey.key', key, false) AS set, LATERAL (SELECT name FROM i_view WHERE set <> '') v GROUP BY 1 ORDER BY 1;
RESET apikey.key;
-- however the key came
BEGIN;
SELECT organization FROM apikey_login(i_text('other'));
SELECT i_shown('apikey_keys');
SELECT apikey_logout();
SELECT i_shown('apikey_keys');
COMMIT;
SELECT key AS boss FROM i_key WHERE name = 'boss' \gset
SET apikey.key = :'boss';
SELECT i_shown('apikey_grants');
RESET apikey.key;
SELECT i_shown('apikey_grants');

-- a key that ends in the transaction, and one that does not after all
BEGIN;
SELECT label FROM apikey_login(:'boss');
SELECT i_shown('apikey_keys');
DECLARE i_cursor CURSOR FOR SELECT label FROM apikey_keys ORDER BY key_id;
SAVEPOINT s;
SELECT apikey_revoke_self(:'boss');
SELECT i_shown('apikey_keys') IS NULL AS nothing;
ROLLBACK TO s;
SELECT i_shown('apikey_keys');
SELECT apikey_set_organization_level(i_id('boss'), NULL);
SELECT i_shown('apikey_keys') IS NULL AS nothing;
ROLLBACK;
-- an open snapshot is no way back
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT label FROM apikey_login(i_text('boss'));
SELECT count(*) > 0 AS some FROM apikey_keys;
SELECT apikey_revoke_self(i_text('boss'));
SELECT count(*) FROM apikey_keys;
ROLLBACK;

-- a plan that is kept serves whoever comes, with a key or without
SET plan_cache_mode = force_generic_plan;
PREPARE i_plan AS SELECT string_agg(DISTINCT organization, ', ' ORDER BY organization) FROM apikey_keys WHERE organization LIKE 'sight\_%';
PREPARE i_page(uuid) AS SELECT label FROM apikey_keys WHERE key_id < $1 AND organization LIKE 'sight\_%' ORDER BY key_id DESC LIMIT 3;
SELECT n, set_config('apikey.key', coalesce(i_text(n), ''), false) <> '' AS key, i_run() FROM unnest('{NULL,boss,other,plain,NULL,reader}'::text[]) WITH ORDINALITY t (n, o) ORDER BY o;
RESET apikey.key;
DISCARD PLANS;
SELECT n, set_config('apikey.key', coalesce(i_text(n), ''), false) <> '' AS key, i_run() FROM unnest('{boss,NULL,other}'::text[]) WITH ORDINALITY t (n, o) ORDER BY o;
RESET ALL;
DEALLOCATE ALL;

-- Functions of the caller that leak, and are as cheap as can be, are asked about no row
-- of others, wherever they stand in a query, whatever the planner may do.
RESET ROLE;
CREATE FUNCTION i_leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	IF position(value IN current_setting('i.leaked')) = 0 THEN
		PERFORM set_config('i.leaked', current_setting('i.leaked') || ' ' || value, false);
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION i_equal(a text, b text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	RETURN i_leak(a || ' ' || b);
END $$;
GRANT CREATE ON SCHEMA public TO regress_apikey_portal;
SET ROLE regress_apikey_portal;
CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = i_equal, RESTRICT = eqsel, JOIN = eqjoinsel);
RESET ROLE;
-- statistics have everybody's values
INSERT INTO apikey_key (key_id, organization, prefix, label) SELECT gen_random_uuid(), 'sight_globex', 'apk', 'of sight_globex' FROM generate_series(1, 500);
ANALYZE apikey_key, apikey_project, apikey_grant, apikey_budget, apikey_event, apikey_suspension;
CREATE FUNCTION i_attack(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	leaked text;
BEGIN
	PERFORM set_config('i.leaked', '', false);
	PERFORM attempt(query);
	leaked = current_setting('i.leaked');
	RETURN concat_ws(', ', CASE WHEN leaked ~ 'sight_acme|sight_web|111111' THEN 'own' END,
		CASE WHEN leaked ~ 'sight_globex|sight_initech|sight_mars|sight_old|222222' OR EXISTS (SELECT FROM i_key WHERE name IN ('other', 'suspended') AND leaked ~ key_id::text) THEN 'OTHERS' END,
		CASE WHEN leaked ~ 'of ours|198\.51' THEN 'STAFF' END);
END $$;
CREATE TABLE i_attack AS SELECT v.name || '.' || attname AS column, v.name, quote_ident(attname) AS attname, n, replace(replace(q, 'VIEW', v.name), 'COLUMN', format('%I::text', attname)) AS query
FROM i_view v JOIN pg_attribute a ON attrelid = v.name::regclass AND attnum > 0 AND attname NOT IN ('key_id', 'event_id', 'at', 'created_at') AND atttypid <> 'timestamptz'::regtype AND v.name NOT IN ('apikey_replicas', 'apikey_subscriptions')
		AND (v.name <> 'apikey_events' OR attname IN ('organization', 'application_user', 'address', 'detail')),
	(VALUES (1, 'SELECT count(*) FROM VIEW WHERE i_leak(COLUMN)'),
	(2, 'SELECT count(*) FROM VIEW WHERE COLUMN === ''x'''),
	(3, 'SELECT count(*) FROM (SELECT 1) o LEFT JOIN VIEW ON i_leak(COLUMN)'),
	(4, 'SELECT count(*) FROM (SELECT * FROM VIEW OFFSET 0) v WHERE EXISTS (SELECT FROM VIEW w WHERE w.COLUMN = v.COLUMN AND i_leak(w.COLUMN))'),
	(5, 'SELECT count(*) FROM VIEW v JOIN LATERAL (SELECT i_leak(v.COLUMN) AS ok) l ON l.ok'),
	(6, 'WITH v AS NOT MATERIALIZED (TABLE VIEW) SELECT count(*) FROM v a JOIN v b ON a.COLUMN === b.COLUMN'),
	(7, 'SELECT COLUMN FROM VIEW WHERE i_leak(COLUMN) UNION ALL SELECT COLUMN FROM VIEW WHERE i_leak(COLUMN) ORDER BY 1 LIMIT 1'),
	(8, 'EXPLAIN SELECT count(*) FROM VIEW WHERE COLUMN === ''x'''),
	(9, 'SELECT count(*) FROM VIEW WHERE CASE WHEN i_leak(COLUMN) THEN 1 / 0 > 0 END')) q (n, q);
SELECT count(*) > 200 AS many FROM i_attack;
GRANT SELECT ON i_attack TO regress_apikey_portal;
SET ROLE regress_apikey_portal;
SELECT s.setting, k AS key, string_agg(DISTINCT leaked, '; ' ORDER BY leaked) AS leaked
FROM (VALUES ('', 'boss'), ('', 'plain'), ('enable_seqscan', 'boss')) s (setting, k),
	LATERAL (SELECT set_config('apikey.key', i_text(k), false), CASE WHEN setting <> '' THEN set_config(setting, '0', false) ELSE '' END OFFSET 0) set,
	LATERAL (SELECT query, i_attack(query) AS leaked FROM i_attack WHERE set IS NOT NULL) a
GROUP BY 1, 2 ORDER BY 1, 2;
RESET ALL;
RESET ROLE;
-- the attacks do work where there is no barrier
CREATE VIEW i_open AS SELECT label, organization FROM apikey_key k WHERE apikey_internal.sees(k.organization);
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT set_config('apikey.key', i_text('boss'), false) <> '' AS key;
SELECT i_attack('SELECT count(*) FROM i_open WHERE i_leak(organization)'), i_attack('EXPLAIN SELECT count(*) FROM i_open WHERE organization === ''x''');
RESET ALL;
DROP VIEW i_open;
DELETE FROM apikey_key WHERE label = 'of sight_globex';

-- what the service's staff wrote, and who they are
SET apikey.application_user = 'clerk of ours';
SET apikey.client_address = '198.51.100.7';
SELECT count(*) FROM apikey_report_leak(i_text('wrong secret'));
INSERT INTO i_key SELECT 'leaked', c.* FROM apikey_create('sight_acme', 'leaked') c;
SET apikey.client_address = '203.0.113.9';
SELECT set_config('apikey.key', i_text('other'), false) <> '' AS key;
SELECT key_id, organization, status FROM apikey_report_leak(i_text('leaked'), 'a page');
RESET apikey.key;
SET apikey.client_address = '203.0.113.5';
SET apikey.application_user = 'Ada';
BEGIN;
SELECT label FROM apikey_login(i_text('boss'));
SELECT apikey_disable(i_id('reader'), 'a secret of theirs');
COMMIT;
SET ROLE regress_apikey_portal;
CREATE FUNCTION i_events() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', action, l.name, 'by ' || coalesce(a.name, acting_key::text), role IS NOT NULL, application_user, host(address), detail)
	FROM apikey_events e LEFT JOIN i_key l USING (key_id) LEFT JOIN i_key a ON a.key_id = acting_key
	WHERE e.organization = 'sight_acme' AND action IN ('disable', 'revoke', 'report_leak') ORDER BY event_id
$$;
SELECT i_events();
SELECT set_config('apikey.key', i_text('boss'), false) <> '' AS key;
SELECT i_events();
SELECT label, status, disabled_reason, revoked_reason FROM apikey_keys WHERE organization = 'sight_acme' AND label IN ('disabled', 'revoked', 'reader') ORDER BY 1;
SELECT DISTINCT suspended_at, suspended_reason FROM apikey_registry;
SELECT reason FROM apikey_explain(i_text('revoked'), 'sight_web', 'production', 'read');
RESET apikey.key;
SELECT label, status, disabled_reason, revoked_reason FROM apikey_keys WHERE organization = 'sight_acme' AND label IN ('disabled', 'revoked', 'reader') ORDER BY 1;
SELECT suspended_reason FROM apikey_registry WHERE organization = 'sight_initech';
SELECT reason FROM apikey_explain(i_text('revoked'), 'sight_web', 'production', 'read');
SELECT key_state FROM apikey_explain_rls('i_doc', i_text('revoked'));
-- of a key that acted and was deleted nobody can tell whose it was
RESET ROLE;
BEGIN;
SELECT apikey_delete(i_id('boss'));
SELECT set_config('apikey.key', i_text('elsewhere'), true) <> '' AS key, set_config('apikey.client_address', '192.0.2.1', true);
SELECT i_events();
ROLLBACK;

-- functions that look
SELECT apikey_enable(i_id('reader'));
SET ROLE regress_apikey_portal;
CREATE FUNCTION i_looks(name text) RETURNS TABLE (who text, reach text, reach_other text, finds text, stats text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', coalesce(i_text(name), ''), false);
	who = (SELECT string_agg(label, ' ' ORDER BY label) FROM (SELECT label FROM apikey_who_can('sight_web', 'production', 'read')
		UNION ALL SELECT label FROM apikey_who_can('sight_mars', 'production', 'read')) w);
	reach = (SELECT replace(attempt(format('SELECT * FROM apikey_reach(%L)', i_id('boss'))), i_id('boss')::text, 'ID'));
	reach_other = (SELECT replace(attempt(format('SELECT * FROM apikey_reach(%L)', i_id('other'))), i_id('other')::text, 'ID'));
	finds = (SELECT string_agg(concat_ws('/', organization, status, (key_id IS NULL)::text), ' ' ORDER BY "position")
		FROM apikey_find_keys(concat_ws(' ', i_text('boss'), i_text('other'), i_text('revoked'), token('apk', i_id('other'), repeat('x', 43)), i_text('other') || 'x', left(i_text('other'), -1) || '!')));
	stats = attempt('SELECT apikey_usage_stats()');
	RETURN NEXT;
END $$;
SELECT name, l.* FROM unnest('{NULL,boss,reader,plain,other,revoked,rubbish}'::text[]) WITH ORDINALITY n (name, o), i_looks(name) l ORDER BY o;
RESET apikey.key;
SELECT relation, project, environment, commands FROM apikey_reach(i_id('boss'));
SELECT set_config('apikey.key', i_text('boss'), false) <> '' AS key;
SELECT relation, project, environment, commands FROM apikey_reach(i_id('boss'));
RESET apikey.key;
-- a key of another system that is all of a text is no row at all, as any other text
RESET ROLE;
SELECT apikey_import('sight_globex', 'imported', 'sha256', encode(sha256('i pass'), 'hex')) IS NOT NULL AS imported;
SELECT organization, status FROM apikey_find_keys('i pass');
SELECT set_config('apikey.key', i_text('boss'), false) <> '' AS key;
SELECT organization, status FROM apikey_find_keys('i pass');
RESET ALL;

REVOKE CREATE ON SCHEMA public FROM regress_apikey_portal;
DROP OWNED BY regress_apikey_portal;
DROP ROLE regress_apikey_portal;
SELECT apikey_unprotect('i_doc'), apikey_unprotect('i_bill'), apikey_detach_projects('i_project');
SELECT apikey_resume('sight_initech');
DROP TABLE i_key, i_view, i_attack, i_doc, i_bill, i_project;
DROP FUNCTION i_id, i_text, i_shown, i_run, i_equal, i_leak, i_attack;
DELETE FROM apikey_key WHERE organization LIKE 'sight\_%';
DELETE FROM apikey_project WHERE organization LIKE 'sight\_%';
