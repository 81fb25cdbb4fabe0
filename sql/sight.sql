\a \t
-- What a session's key sees of keys: views, and functions that look, go by it.
SELECT apikey_add_project('si_acme', 'si_web'), apikey_add_project('si_acme', 'si_shop'), apikey_add_project('si_globex', 'si_mars'),
	apikey_add_project('si_initech', 'si_old');
SELECT '[{"project": "*", "environment": "*", "level": "manage"}]' AS all \gset
CREATE TABLE si_key (name text PRIMARY KEY, key_id uuid, key text);
INSERT INTO si_key SELECT n, c.* FROM (VALUES ('boss', 'si_acme', 'write'::apikey_level), ('reader', 'si_acme', 'read'), ('plain', 'si_acme', NULL), ('expired', 'si_acme', 'write'),
		('disabled', 'si_acme', 'write'), ('revoked', 'si_acme', 'write'), ('elsewhere', 'si_acme', 'write'), ('other', 'si_globex', 'write'), ('another', 'si_globex', 'read'), ('suspended', 'si_initech', 'write')) k (n, organization, level),
	apikey_create(organization, n, :'all', level, max_derived => 5, metadata => jsonb_build_object('of', organization),
		allowed_networks => CASE n WHEN 'elsewhere' THEN '{192.0.2.0/24}'::cidr[] END) c;
CREATE FUNCTION si_id(which text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT key_id FROM si_key WHERE name = which $$;
CREATE FUNCTION si_text(which text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT coalesce((SELECT key FROM si_key WHERE name = which), which) $$;
INSERT INTO si_key SELECT 'derived', c.* FROM apikey_derive(si_text('boss'), 'derived') c;
INSERT INTO si_key VALUES ('rubbish', NULL, 'rubbish'), ('wrong secret', NULL, token('apk', si_id('boss'), repeat('x', 43)));
UPDATE apikey_key SET expires_at = now() WHERE key_id = si_id('expired');
SELECT apikey_set_budget(si_id('reader'), 111111), apikey_set_budget(si_id('other'), 222222), apikey_set_budget(si_id('suspended'), 222222);
SET apikey.application_user = 'clerk of ours';
SET apikey.client_address = '198.51.100.7';
SELECT apikey_disable(si_id('disabled'), 'a secret of ours'), apikey_revoke(si_id('revoked'), 'a secret of ours'), apikey_suspend('si_initech', 'a secret of ours');
RESET apikey.client_address;
CREATE TABLE si_doc (organization text, project text, environment text);
CREATE TABLE si_bill (organization text);
SET client_min_messages = error;
SELECT apikey_protect('si_doc', 'project', 'environment'), apikey_protect_organization('si_bill', 'organization');
RESET client_min_messages;
CREATE TABLE si_project (id text PRIMARY KEY, organization text);
SELECT apikey_attach_projects('si_project', 'id', 'organization');

-- the role of an application that shows a customer its keys
CREATE ROLE regress_apikey_portal;
CREATE TABLE si_view AS SELECT relname AS name, relname IN (SELECT relname FROM pg_attribute WHERE attrelid = c.oid AND attname = 'organization') AND relname <> 'apikey_protected' AS of_organization,
	relname IN ('apikey_counters', 'apikey_guesses', 'apikey_usage', 'apikey_usage_hours') AS counted
FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey' AND e.extnamespace = c.relnamespace
WHERE relkind = 'v';
SELECT format('GRANT SELECT ON %s TO regress_apikey_portal', string_agg(name, ', ' ORDER BY name)) FROM si_view \gexec
GRANT SELECT ON si_key, si_view, si_doc TO regress_apikey_portal;
GRANT EXECUTE ON FUNCTION apikey_who_can, apikey_reach, apikey_unused, apikey_usage_stats, apikey_report_leak, apikey_update, apikey_disable, apikey_set_organization_level TO regress_apikey_portal;
-- whose rows it is shown, of those that are looked at here
CREATE FUNCTION si_shown(view text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE CASE WHEN (SELECT of_organization FROM si_view WHERE name = view)
		THEN format($q$SELECT string_agg(o || ' ' || n, ', ' ORDER BY o) FROM (SELECT coalesce(organization, 'none') o, count(*) n FROM %I
			WHERE organization LIKE 'si\_%%' GROUP BY 1) s$q$, view)
		ELSE format('SELECT CASE WHEN EXISTS (TABLE %I) THEN $q$some$q$ END', view) END INTO result;
	RETURN result;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RETURN 'not preloaded';
END $$;
-- the same of views one after the other, with a key, whatever the plan of who asks
CREATE FUNCTION si_show_each(key text, counted boolean) RETURNS TABLE (name text, shown text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', key, false);
	RETURN QUERY SELECT v.name::text, si_shown(v.name) FROM si_view v WHERE v.counted = si_show_each.counted;
END $$;
CREATE FUNCTION si_run() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	label text;
BEGIN
	EXECUTE 'EXECUTE si_plan' INTO result;
	FOR label IN EXECUTE 'EXECUTE si_page(''ffffffff-ffff-ffff-ffff-ffffffffffff'')' LOOP
		result = concat_ws('; ', result, label);
	END LOOP;
	RETURN result;
END $$;
SELECT name, reloptions FROM si_view JOIN pg_class ON oid = name::regclass ORDER BY 1;
SET ROLE regress_apikey_portal;
SELECT name, si_shown(name) FROM si_view WHERE name NOT IN ('apikey_replicas', 'apikey_subscriptions') AND NOT counted ORDER BY name;
SELECT k.name AS key, string_agg(concat_ws(': ', v.name, shown), '; ' ORDER BY v.name) AS shown FROM si_key k, si_show_each(key, false) v GROUP BY 1 ORDER BY 1;
-- what is counted, where the server is preloaded: nothing that is not of the key's organization
SELECT k.name AS key, v.name, shown FROM si_key k, si_show_each(key, true) v
WHERE NOT coalesce(shown, '') ~ CASE WHEN v.name LIKE '%usage%' AND k.name IN ('boss', 'reader') THEN '^(not preloaded|si_acme \d+)?$'
	WHEN v.name LIKE '%usage%' AND k.name IN ('other', 'another') THEN '^(not preloaded|si_globex \d+)?$' ELSE '^(not preloaded)?$' END;
RESET apikey.key;
-- however the key came
BEGIN;
SELECT organization FROM apikey_login(si_text('other'));
SELECT si_shown('apikey_keys');
SELECT apikey_logout();
SELECT si_shown('apikey_keys');
COMMIT;
SELECT key AS boss FROM si_key WHERE name = 'boss' \gset
SET apikey.key = :'boss';
SELECT si_shown('apikey_grants');
RESET apikey.key;
SELECT si_shown('apikey_grants');

-- a key that ends in the transaction, and one that does not after all
BEGIN;
SELECT label FROM apikey_login(:'boss');
SELECT si_shown('apikey_keys');
DECLARE si_cursor CURSOR FOR SELECT label FROM apikey_keys ORDER BY key_id;
SAVEPOINT s;
SELECT apikey_revoke_self(:'boss');
SELECT si_shown('apikey_keys') IS NULL AS nothing;
ROLLBACK TO s;
SELECT si_shown('apikey_keys');
SELECT apikey_set_organization_level(si_id('boss'), NULL);
SELECT si_shown('apikey_keys') IS NULL AS nothing;
ROLLBACK;
-- an open snapshot is no way back
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT label FROM apikey_login(si_text('boss'));
SELECT count(*) > 0 AS some FROM apikey_keys;
SELECT apikey_revoke_self(si_text('boss'));
SELECT count(*) FROM apikey_keys;
ROLLBACK;

-- a plan that is kept serves whoever comes, with a key or without
SET plan_cache_mode = force_generic_plan;
PREPARE si_plan AS SELECT string_agg(DISTINCT organization, ', ' ORDER BY organization) FROM apikey_keys WHERE organization LIKE 'si\_%';
PREPARE si_page(uuid) AS SELECT label FROM apikey_keys WHERE key_id < $1 AND organization LIKE 'si\_%' ORDER BY key_id DESC LIMIT 3;
SELECT n, set_config('apikey.key', coalesce(si_text(n), ''), false) <> '' AS key, si_run() FROM unnest('{NULL,boss,other,plain,NULL,reader}'::text[]) WITH ORDINALITY t (n, o) ORDER BY o;
RESET apikey.key;
DISCARD PLANS;
SELECT n, set_config('apikey.key', coalesce(si_text(n), ''), false) <> '' AS key, si_run() FROM unnest('{boss,NULL,other}'::text[]) WITH ORDINALITY t (n, o) ORDER BY o;
RESET ALL;
DEALLOCATE ALL;

-- nothing is written through a view, with whatever privileges
RESET ROLE;
SELECT format('GRANT ALL ON %s TO regress_apikey_portal', string_agg(name, ', ')) FROM si_view \gexec
CREATE FUNCTION si_write(view text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT left(attempt(format(command, view, (SELECT attname FROM pg_attribute WHERE attrelid = view::regclass AND attnum = 1))), 5), ' ')
	FROM unnest('{INSERT INTO %s DEFAULT VALUES,UPDATE %s SET %s = NULL,DELETE FROM %s}'::text[]) command
$$;
-- before PostgreSQL 17 there is no MERGE into a view
CREATE FUNCTION si_merge(view text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(attempt(format('MERGE INTO %s USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE', view)), '^(0A000|55000) .*', 'refused')
$$;
SELECT who, si_write(name), si_merge(name), count(*) = (SELECT count(*) FROM si_view) AS "all"
FROM unnest('{postgres,regress_apikey_portal}'::text[]) who, LATERAL set_config('role', CASE who WHEN 'postgres' THEN 'none' ELSE who END, false) AS set,
	LATERAL (SELECT name FROM si_view WHERE set <> '') v GROUP BY 1, 2, 3 ORDER BY 1;
SELECT si_write(name), si_merge(name) FROM si_view, set_config('apikey.key', :'boss', false) GROUP BY 1, 2;
RESET apikey.key;
RESET ROLE;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA public FROM regress_apikey_portal;

-- Functions of the caller that leak, and are as cheap as can be, are asked about no row
-- of others, wherever they stand in a query, whatever the planner may do.
RESET ROLE;
CREATE FUNCTION si_leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	IF position(value IN current_setting('si.leaked')) = 0 THEN
		IF position(value IN current_setting('si.leaked')) = 0 THEN
		PERFORM set_config('si.leaked', current_setting('si.leaked') || ' ' || value, false);
	END IF;
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION si_equal(a text, b text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	RETURN si_leak(a || ' ' || b);
END $$;
GRANT CREATE ON SCHEMA public TO regress_apikey_portal;
SET ROLE regress_apikey_portal;
CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = si_equal, RESTRICT = eqsel, JOIN = eqjoinsel);
RESET ROLE;
-- statistics have everybody's values
INSERT INTO apikey_key (key_id, organization, prefix, label) SELECT gen_random_uuid(), 'si_globex', 'apk', 'of si_globex' FROM generate_series(1, 500);
ANALYZE apikey_key, apikey_project, apikey_grant, apikey_budget, apikey_event, apikey_suspension;
CREATE FUNCTION si_attack(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	leaked text;
BEGIN
	PERFORM set_config('si.leaked', '', false);
	PERFORM attempt(query);
	leaked = current_setting('si.leaked');
	RETURN concat_ws(', ', CASE WHEN leaked ~ 'si_acme|si_web|111111' THEN 'own' END,
		CASE WHEN leaked ~ 'si_globex|si_initech|si_mars|si_old|222222' OR EXISTS (SELECT FROM si_key WHERE name IN ('other', 'suspended') AND leaked ~ key_id::text) THEN 'OTHERS' END,
		CASE WHEN leaked ~ 'of ours|198\.51' THEN 'STAFF' END);
END $$;
CREATE TABLE si_attack AS SELECT v.name || '.' || attname AS column, v.name, quote_ident(attname) AS attname, n, replace(replace(q, 'VIEW', v.name), 'COLUMN', format('%I::text', attname)) AS query
FROM si_view v JOIN pg_attribute a ON attrelid = v.name::regclass AND attnum > 0 AND attname NOT IN ('key_id', 'event_id', 'at', 'created_at') AND atttypid <> 'timestamptz'::regtype AND v.name NOT IN ('apikey_replicas', 'apikey_subscriptions')
		AND (v.name <> 'apikey_events' OR attname IN ('organization', 'application_user', 'address', 'detail')),
	(VALUES (1, 'SELECT count(*) FROM VIEW WHERE si_leak(COLUMN)'),
	(2, 'SELECT count(*) FROM VIEW WHERE COLUMN === ''x'''),
	(3, 'SELECT count(*) FROM (SELECT 1) o LEFT JOIN VIEW ON si_leak(COLUMN)'),
	(4, 'SELECT count(*) FROM (SELECT * FROM VIEW OFFSET 0) v WHERE EXISTS (SELECT FROM VIEW w WHERE w.COLUMN = v.COLUMN AND si_leak(w.COLUMN))'),
	(5, 'SELECT count(*) FROM VIEW v JOIN LATERAL (SELECT si_leak(v.COLUMN) AS ok) l ON l.ok'),
	(6, 'WITH v AS NOT MATERIALIZED (TABLE VIEW) SELECT count(*) FROM v a JOIN v b ON a.COLUMN === b.COLUMN'),
	(7, 'SELECT COLUMN FROM VIEW WHERE si_leak(COLUMN) UNION ALL SELECT COLUMN FROM VIEW WHERE si_leak(COLUMN) ORDER BY 1 LIMIT 1'),
	(8, 'EXPLAIN SELECT count(*) FROM VIEW WHERE COLUMN === ''x'''),
	(9, 'SELECT count(*) FROM VIEW WHERE CASE WHEN si_leak(COLUMN) THEN 1 / 0 > 0 END')) q (n, q);
SELECT count(*) > 200 AS many FROM si_attack;
GRANT SELECT ON si_attack TO regress_apikey_portal;
SET ROLE regress_apikey_portal;
SELECT s.setting, k AS key, string_agg(DISTINCT leaked, '; ' ORDER BY leaked) AS leaked
FROM (VALUES ('', 'boss'), ('', 'plain'), ('enable_seqscan', 'boss')) s (setting, k),
	LATERAL (SELECT set_config('apikey.key', si_text(k), false), CASE WHEN setting <> '' THEN set_config(setting, '0', false) ELSE '' END OFFSET 0) set,
	LATERAL (SELECT query, si_attack(query) AS leaked FROM si_attack WHERE set IS NOT NULL) a
GROUP BY 1, 2 ORDER BY 1, 2;
RESET ALL;
RESET ROLE;
-- the attacks do work where there is no barrier
CREATE VIEW si_open AS SELECT label, organization FROM apikey_key k WHERE apikey_internal.sees(k.organization);
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT set_config('apikey.key', si_text('boss'), false) <> '' AS key;
SELECT si_attack('SELECT count(*) FROM si_open WHERE si_leak(organization)'), si_attack('EXPLAIN SELECT count(*) FROM si_open WHERE organization === ''x''');
RESET ALL;
DROP VIEW si_open;
DELETE FROM apikey_key WHERE label = 'of si_globex';

-- what the service's staff wrote, and who they are
SET apikey.application_user = 'clerk of ours';
SET apikey.client_address = '198.51.100.7';
SELECT count(*) FROM apikey_report_leak(si_text('wrong secret'));
INSERT INTO si_key SELECT 'leaked', c.* FROM apikey_create('si_acme', 'leaked') c;
SET apikey.client_address = '203.0.113.9';
SELECT set_config('apikey.key', si_text('other'), false) <> '' AS key;
SELECT key_id, organization, status FROM apikey_report_leak(si_text('leaked'), 'a page');
RESET apikey.key;
SET apikey.client_address = '203.0.113.5';
SET apikey.application_user = 'Ada';
BEGIN;
SELECT label FROM apikey_login(si_text('boss'));
SELECT apikey_disable(si_id('reader'), 'a secret of theirs');
COMMIT;
SET ROLE regress_apikey_portal;
CREATE FUNCTION si_events() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', action, l.name, 'by ' || coalesce(a.name, acting_key::text), role IS NOT NULL, application_user, host(address), detail)
	FROM apikey_events e LEFT JOIN si_key l USING (key_id) LEFT JOIN si_key a ON a.key_id = acting_key
	WHERE e.organization = 'si_acme' AND action IN ('disable', 'revoke', 'report_leak') ORDER BY event_id
$$;
SELECT si_events();
SELECT set_config('apikey.key', si_text('boss'), false) <> '' AS key;
SELECT si_events();
SELECT label, status, disabled_reason, revoked_reason FROM apikey_keys WHERE organization = 'si_acme' AND label IN ('disabled', 'revoked', 'reader') ORDER BY 1;
SELECT DISTINCT suspended_at, suspended_reason FROM apikey_registry;
SELECT reason FROM apikey_explain(si_text('revoked'), 'si_web', 'production', 'read');
RESET apikey.key;
SELECT label, status, disabled_reason, revoked_reason FROM apikey_keys WHERE organization = 'si_acme' AND label IN ('disabled', 'revoked', 'reader') ORDER BY 1;
SELECT suspended_reason FROM apikey_registry WHERE organization = 'si_initech';
SELECT reason FROM apikey_explain(si_text('revoked'), 'si_web', 'production', 'read');
SELECT key_state FROM apikey_explain_rls('si_doc', si_text('revoked'));
-- of a key that acted and was deleted nobody can tell whose it was
RESET ROLE;
BEGIN;
SELECT apikey_delete(si_id('boss'));
SELECT set_config('apikey.key', si_text('elsewhere'), true) <> '' AS key, set_config('apikey.client_address', '192.0.2.1', true);
SELECT si_events();
ROLLBACK;

-- functions that look
SELECT apikey_enable(si_id('reader'));
SET ROLE regress_apikey_portal;
CREATE FUNCTION si_looks(name text) RETURNS TABLE (who text, reach text, reach_other text, finds text, stats text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', coalesce(si_text(name), ''), false);
	who = (SELECT string_agg(label, ' ' ORDER BY label) FROM (SELECT label FROM apikey_who_can('si_web', 'production', 'read')
		UNION ALL SELECT label FROM apikey_who_can('si_mars', 'production', 'read')) w);
	reach = (SELECT replace(attempt(format('SELECT * FROM apikey_reach(%L)', si_id('boss'))), si_id('boss')::text, 'ID'));
	reach_other = (SELECT replace(attempt(format('SELECT * FROM apikey_reach(%L)', si_id('other'))), si_id('other')::text, 'ID'));
	finds = (SELECT string_agg(concat_ws('/', organization, status, (key_id IS NULL)::text), ' ' ORDER BY "position")
		FROM apikey_find_keys(concat_ws(' ', si_text('boss'), si_text('other'), si_text('revoked'), token('apk', si_id('other'), repeat('x', 43)), si_text('other') || 'x', left(si_text('other'), -1) || '!')));
	stats = regexp_replace(attempt('SELECT apikey_usage_stats()'), '^(done|55000 .*preloaded.*)$', 'done, if preloaded');
	RETURN NEXT;
END $$;
SELECT name, l.* FROM unnest('{NULL,boss,reader,plain,other,revoked,rubbish}'::text[]) WITH ORDINALITY n (name, o), si_looks(name) l ORDER BY o;
-- what is open to PUBLIC tells each bearer of its key, though the views may show nothing of it
RESET apikey.key;
RESET ROLE;
SELECT apikey_set_budget(si_id('plain'), 10);
SET ROLE regress_apikey_portal;
CREATE FUNCTION si_told(name text) RETURNS TABLE (who text, projects text[], reason text, remains bigint, status text, view bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', si_text(name), false);
	RETURN QUERY SELECT w.label, apikey_projects('read'), (apikey_explain('si_web', 'production', 'write')).reason, apikey_spend(),
		(SELECT f.status FROM apikey_find_keys(si_text(name)) f), (SELECT b.remaining FROM apikey_budgets b WHERE b.key_id = w.key_id) FROM apikey_whoami() w;
END $$;
SELECT name, t.* FROM unnest('{boss,reader,plain,derived}'::text[]) WITH ORDINALITY n (name, o), si_told(name) t ORDER BY o;
RESET apikey.key;
SELECT relation, project, environment, commands FROM apikey_reach(si_id('boss'));
SELECT set_config('apikey.key', si_text('boss'), false) <> '' AS key;
SELECT relation, project, environment, commands FROM apikey_reach(si_id('boss'));
RESET apikey.key;
-- a key of another system that is all of a text is no row at all, as any other text
RESET ROLE;
SELECT apikey_import('si_globex', 'imported', 'sha256', encode(sha256('i pass'), 'hex')) IS NOT NULL AS imported;
SELECT organization, status FROM apikey_find_keys('i pass');
SELECT set_config('apikey.key', si_text('boss'), false) <> '' AS key;
SELECT organization, status FROM apikey_find_keys('i pass');
RESET ALL;

REVOKE CREATE ON SCHEMA public FROM regress_apikey_portal;
DROP OWNED BY regress_apikey_portal;
DROP ROLE regress_apikey_portal;
SELECT apikey_unprotect('si_doc'), apikey_unprotect('si_bill'), apikey_detach_projects('si_project');
SELECT apikey_resume('si_initech');
DROP TABLE si_key, si_view, si_attack, si_doc, si_bill, si_project;
DROP FUNCTION si_id, si_text, si_shown, si_show_each, si_run, si_write, si_merge, si_equal, si_leak, si_attack;
DELETE FROM apikey_key WHERE organization LIKE 'si\_%';
DELETE FROM apikey_project WHERE organization LIKE 'si\_%';
