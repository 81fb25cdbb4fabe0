-- What the catalogs say of the extension.
BEGIN;
SELECT no_plan();

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'apikey';
CREATE TEMP VIEW function AS
SELECT p.*, p.oid::regprocedure::text AS signature FROM pg_proc p JOIN member m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass;
CREATE TEMP VIEW relation AS
SELECT c.* FROM pg_class c JOIN member m ON m.objid = c.oid AND m.classid = 'pg_class'::regclass;

-- Functions: what they are and who may call them
CREATE TEMP TABLE expected (signature text, result text, volatility text, parallel text, definer boolean, open boolean);
INSERT INTO expected SELECT s, 'void', 'volatile', 'unsafe', true, false FROM unnest(array[
	'apikey_add_project(text,text,text[])', 'apikey_remove_project(text)', 'apikey_rename_project(text,text)',
	'apikey_add_environment(text,text)', 'apikey_remove_environment(text,text)',
	'apikey_grant(uuid,text,text,apikey_level)', 'apikey_ungrant(uuid,text,text)',
	'apikey_set_budget(uuid,bigint,interval)', 'apikey_set_max_staleness(text,interval)', 'apikey_set_organization_level(uuid,apikey_level)', 'apikey_disable(uuid,text)', 'apikey_enable(uuid)',
	'apikey_publish(text,text[])', 'apikey_suspend(text,text)', 'apikey_resume(text)', 'apikey_quarantine(text,text,text,timestamp with time zone)', 'apikey_lift_quarantine()', 'apikey_revoke(uuid,text)', 'apikey_delete(uuid)', 'apikey_cancel_rotation(uuid)', 'apikey_finish_rotation(uuid)',
	'apikey_update(uuid,text,timestamp with time zone,text,cidr[],jsonb,text,integer,apikey_level,jsonb,text[])']) s;
INSERT INTO expected SELECT s, 'TABLE(key_id uuid, key text)', 'volatile', 'unsafe', true, false FROM unnest(array[
	'apikey_create(text,text,jsonb,apikey_level,timestamp with time zone,text,cidr[],jsonb,text,text,integer)', 'apikey_rotate(uuid,interval)']) s;
INSERT INTO expected SELECT s, 'TABLE(key_id uuid, key text)', 'volatile', 'unsafe', true, true FROM unnest(array[
	'apikey_derive(text,text,jsonb,interval,jsonb)', 'apikey_derive(text,jsonb,jsonb,interval)']) s;
INSERT INTO expected VALUES ('apikey_import(text,text,text,text,text,jsonb,apikey_level,timestamp with time zone,text,cidr[],jsonb,text,text,integer,timestamp with time zone,text,text)',
	'uuid', 'volatile', 'unsafe', true, false), ('apikey_check_import(text,text,text,text,text,text)', 'record', 'stable', 'safe', false, false);
-- procedures, which commit, return what is INOUT
INSERT INTO expected SELECT s, NULL, 'volatile', 'unsafe', false, false FROM unnest(array[
	'apikey_revoke_everywhere(uuid,interval,text,boolean,jsonb)', 'apikey_disable_everywhere(uuid,interval,text,boolean,jsonb)',
	'apikey_ungrant_everywhere(uuid,text,text,interval,boolean,jsonb)', 'apikey_suspend_everywhere(text,interval,text,boolean,jsonb)',
	'apikey_wait_everywhere(interval,boolean,jsonb)', 'apikey_subscribe(text,text,interval,text)', 'apikey_unsubscribe(text)']) s;
-- where two identifiers are asked about, each may be text or anything else
INSERT INTO expected SELECT replace(format(s, p, e), 'any', '"any"'), r, 'stable', 'safe', false, true
	FROM (VALUES ('apikey_authorize(%s,%s,text)', 'boolean'), ('apikey_authorize(text,%s,%s,text)', 'boolean'),
		('apikey_require(%s,%s,text)', 'boolean'), ('apikey_require(text,%s,%s,text)', 'boolean'),
		('apikey_explain(%s,%s,text)', 'record'), ('apikey_explain(text,%s,%s,text)', 'record')) f (s, r), unnest('{text,any}'::text[]) p, unnest('{text,any}'::text[]) e;
INSERT INTO expected SELECT replace(format(s, n), 'any', '"any"'), r, 'stable', 'safe', false, true
	FROM (VALUES ('apikey_authorize_organization(%s,text)', 'boolean'), ('apikey_authorize_organization(text,%s,text)', 'boolean'),
		('apikey_projects(text,%s)', 'text[]'), ('apikey_projects_of(text,text,%s)', 'text[]')) f (s, r), unnest('{text,any}'::text[]) n;
INSERT INTO expected SELECT s, 'text[]', 'stable', 'safe', false, true FROM unnest(array['apikey_projects(text)', 'apikey_projects_of(text,text)']) s;
INSERT INTO expected SELECT format(s, l), 'anyarray', 'stable', 'safe', false, true FROM unnest(array[
	'apikey_internal.%s(anyelement,text)', 'apikey_internal.%s(anyelement,text,"any")',
	'apikey_internal.%s_of(anyelement,text,text)', 'apikey_internal.%s_of(anyelement,text,text,"any")']) s, unnest(array['projects', 'environments']) l;
INSERT INTO expected SELECT s, 'TABLE(key_state text, projects text[], visible_rows bigint, indexed boolean, plan text, advice text)', 'volatile', 'unsafe', false, true
	FROM unnest(array['apikey_explain_rls(regclass)', 'apikey_explain_rls(regclass,text)']) s;
INSERT INTO expected SELECT s, 'TABLE(relation regclass, alias text, scan text, why_not text, advice text)', 'volatile', 'unsafe', false, true
	FROM unnest(array['apikey_explain_query(text)', 'apikey_explain_query(text,text)']) s;
INSERT INTO expected
SELECT s, 'TABLE(key_id uuid, organization text, organization_level text, label text, expires_at timestamp with time zone, created_at timestamp with time zone, created_by text, metadata jsonb)',
	v, p, false, true FROM (VALUES ('apikey_verify(text)', 'volatile', 'restricted'), ('apikey_login(text)', 'volatile', 'unsafe'),
	('apikey_whoami()', 'stable', 'safe')) AS t (s, v, p);
INSERT INTO expected SELECT s, 'TABLE("position" integer, key text, key_id uuid, organization text, status text)', v, p, d, o
	FROM (VALUES ('apikey_find_keys(text,boolean)', 'stable', 'safe', false, true), ('apikey_report_leak(text,text)', 'volatile', 'unsafe', true, false)) AS t (s, v, p, d, o);
INSERT INTO expected VALUES
	('apikey_spend(text,bigint)', 'bigint', 'volatile', 'unsafe', true, true),
	('apikey_spend(bigint)', 'bigint', 'volatile', 'unsafe', true, true),
	('apikey_who_can(text,text,text)', 'TABLE(key_id uuid, organization text, label text, key text, level apikey_level)', 'stable', 'unsafe', true, false),
	('apikey_internal.refuses_all()', 'boolean', 'stable', 'safe', false, true),
	('apikey_key_id()', 'uuid', 'stable', 'safe', false, true),
	('apikey_logout()', 'void', 'volatile', 'unsafe', false, true),
	('apikey_internal.budget_period(timestamp with time zone,interval,timestamp with time zone)', 'record', 'immutable', 'safe', false, true),
	('apikey_revoke_self(text)', 'void', 'volatile', 'unsafe', true, true),
	('apikey_purge_derived(timestamp with time zone)', 'bigint', 'volatile', 'unsafe', true, false),
	('apikey_purge_events(timestamp with time zone)', 'bigint', 'volatile', 'unsafe', true, false),
	('apikey_pattern(text)', 'text', 'stable', 'safe', false, true),
	('apikey_scanner_alert(jsonb)', 'jsonb', 'volatile', 'unsafe', true, false),
	('apikey_reach(uuid)', 'TABLE(relation regclass, project text, environment text, level apikey_level, commands text[])', 'stable', 'unsafe', true, false),
	('apikey_pre_request()', 'void', 'volatile', 'unsafe', false, true),
	('apikey_protect(regclass,name,name,boolean,boolean)', 'void', 'volatile', 'unsafe', false, true),
	('apikey_protect_organization(regclass,name,boolean,boolean)', 'void', 'volatile', 'unsafe', false, true),
	('apikey_unprotect(regclass)', 'void', 'volatile', 'unsafe', false, true),
	('apikey_attach_projects(regclass,name,name,text[])', 'void', 'volatile', 'unsafe', false, false),
	('apikey_detach_projects(regclass)', 'void', 'volatile', 'unsafe', false, false),
	('apikey_internal.sync_projects()', 'trigger', 'volatile', 'unsafe', true, false),
	('apikey_internal.policy_columns(oid)', 'record', 'stable', 'unsafe', false, true),
	('apikey_internal.judged(oid)', 'boolean', 'stable', 'safe', false, true),
	('apikey_internal.judged_support(internal)', 'internal', 'immutable', 'safe', false, false),
	-- who attaches a partition needs it
	('apikey_internal.judge()', 'trigger', 'volatile', 'unsafe', false, true),
	('apikey_internal.require_library(text)', 'void', 'volatile', 'unsafe', false, false),
	('apikey_internal.sees(text)', 'boolean', 'stable', 'restricted', false, true),
	('apikey_internal.seen(boolean)', 'text', 'stable', 'restricted', false, true),
	('apikey_internal.told(text,uuid)', 'boolean', 'stable', 'restricted', false, true),
	('apikey_internal.sees_support(internal)', 'internal', 'immutable', 'safe', false, false),
	('apikey_internal.masked(text,uuid)', 'text', 'immutable', 'safe', false, true),
	('apikey_internal.trigger_arguments(bytea)', 'text[]', 'immutable', 'safe', false, true),
	('apikey_internal.rate_limit_text(integer,interval,integer)', 'text', 'immutable', 'safe', false, true),
	('apikey_cache_stats()', 'record', 'volatile', 'restricted', false, true),
	('apikey_rate_limit(text)', 'TABLE(rate_limit text, remaining bigint, retry_after double precision)', 'stable', 'safe', false, true),
	('apikey_internal.last_used(uuid)', 'timestamp with time zone', 'stable', 'safe', false, true),
	('apikey_internal.last_used_from(uuid)', 'inet', 'stable', 'safe', false, true),
	('apikey_internal.usage_of(uuid)', 'record', 'stable', 'safe', false, true),
	('apikey_internal.usage_hours_of(uuid)', 'TABLE(hour timestamp with time zone, uses bigint, refusals bigint)', 'stable', 'safe', false, true),
	('apikey_internal.guesses()', 'TABLE(address inet, refusals bigint, over_limit bigint, first_at timestamp with time zone, last_at timestamp with time zone)',
		'volatile', 'safe', false, true),
	('apikey_internal.counters()', 'TABLE(counter text, reason text, total bigint)', 'volatile', 'safe', false, true),
	('apikey_usage_stats()', 'record', 'volatile', 'safe', false, false),
	('apikey_unused(interval)', 'TABLE(key_id uuid, organization text, label text, key text, created_at timestamp with time zone, last_used_at timestamp with time zone, last_used_from inet)',
		'stable', 'unsafe', true, false),
	('apikey_internal.derived_status(uuid)', 'text', 'stable', 'safe', true, true),
	('apikey_internal.derived_grants(uuid)', 'TABLE(project text, environment text, level apikey_level)', 'stable', 'unsafe', false, true),
	('apikey_internal.check_key(uuid,boolean)', 'void', 'stable', 'safe', false, true),
	('apikey_internal.level_of(text)', 'apikey_level', 'stable', 'safe', false, true),
	('apikey_internal.idle_since(interval)', 'timestamp with time zone', 'stable', 'safe', false, true),
	('apikey_internal.synchronous_names()', 'text[]', 'stable', 'safe', false, true),
	('apikey_internal.replicas()', 'TABLE(name text, kind text, state text, synchronous boolean, applied pg_lsn, lag_bytes bigint, lag interval, reported_at timestamp with time zone, retained_bytes bigint, slot name, address inet)',
		'volatile', 'unsafe', true, true),
	('apikey_internal.followers(pg_lsn,jsonb)', 'record', 'volatile', 'unsafe', true, false),
	('apikey_internal.any_of(anyarray)', 'anyelement', 'stable', 'safe', false, true),
	('apikey_internal.unknown()', 'record', 'stable', 'safe', false, true),
	('apikey_internal.organization(anyelement,text)', 'anyelement', 'stable', 'safe', false, true),
	('apikey_internal.organization(anyelement,text,record)', 'anyelement', 'stable', 'safe', false, true),
	('apikey_internal.organization_of(anyelement,text,text)', 'anyelement', 'stable', 'safe', false, true),
	('apikey_internal.organization_of(anyelement,text,text,record)', 'anyelement', 'stable', 'safe', false, true),
	('apikey_internal.organization_support(internal)', 'internal', 'immutable', 'safe', false, false),
	('apikey_internal.authorize("any","any",text)', 'boolean', 'stable', 'safe', false, true),
	('apikey_internal.support(internal)', 'internal', 'immutable', 'safe', false, false),
	('apikey_internal.changed()', 'trigger', 'volatile', 'unsafe', false, false),
	('apikey_internal.keep()', 'trigger', 'volatile', 'unsafe', false, false);

SELECT bag_eq($$SELECT signature, pg_get_function_result(oid),
		CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS v,
		CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS p,
		prosecdef, EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
	FROM function$$, 'SELECT * FROM expected', 'every function is what it should be, and no other exists');
SELECT bag_eq($$SELECT proname::text FROM function WHERE prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')$$,
	'{apikey_reach,apikey_who_can,apikey_unused,derived_status,replicas,followers}'::text[], 'all in C, but what looks at keys, and at who follows');
SELECT is_empty($$SELECT signature FROM function WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql') AND prosqlbody IS NULL$$,
	'what SQL functions name is bound once and for all');
SELECT is_empty($$SELECT signature, pg_describe_object(refclassid, refobjid, 0) FROM function f JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid
	WHERE refclassid = 'pg_constraint'::regclass$$, 'and is no constraint, which users may replace');
SELECT is_empty($$SELECT signature FROM function WHERE prosecdef AND proconfig IS DISTINCT FROM '{"search_path=pg_catalog, pg_temp"}'$$,
	'SECURITY DEFINER goes with a pinned search_path');
SELECT is_empty($$SELECT signature FROM function WHERE provolatile = 's' AND proparallel = 's' AND (prosecdef OR proconfig IS NOT NULL) AND proname <> 'derived_status'$$,
	'deciding functions have neither');
SELECT results_eq($$SELECT signature FROM function WHERE proleakproof$$, array['apikey_internal.authorize("any","any",text)'],
	'none is leakproof, but what refuses to be called in any other form');
SELECT is_empty($$SELECT signature FROM function WHERE proisstrict AND pronamespace <> 'apikey_internal'::regnamespace$$,
	'a null argument is decided by us');
SELECT bag_eq($$SELECT signature FROM function WHERE prosupport = 'apikey_internal.support'::regproc$$, $$SELECT signature FROM expected WHERE signature ~ '^(apikey_|apikey_internal\.)authorize\('$$,
	'the planner is told about apikey_authorize');
SELECT bag_eq($$SELECT signature FROM function WHERE prosupport = 'apikey_internal.organization_support'::regproc$$,
	$$SELECT signature FROM expected WHERE signature LIKE 'apikey\_authorize\_organization(%'$$, 'and about apikey_authorize_organization');
SELECT is_empty($$SELECT signature, prorows FROM function WHERE proretset AND prorows <> CASE WHEN proname ~ '^(apikey_(reach|who_can|unused)|usage_hours_of|guesses|counters|derived_grants|replicas)$' THEN 100 ELSE 1 END$$,
	'sets are of one row, but for lists');
SELECT is_empty($$SELECT signature FROM function WHERE prorettype = 'bytea'::regtype OR proallargtypes::oid[] @> array['bytea'::regtype::oid]$$,
	'none returns bytes');

SELECT is_empty($$SELECT proname, count(*) FROM function f WHERE NOT EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
	GROUP BY proname HAVING count(*) > 1$$, 'GRANT EXECUTE ON FUNCTION takes the name alone of each that PUBLIC may not call');

-- The schema of what nobody calls by name
SELECT schema_owner_is('apikey_internal', current_user::name);
SELECT is_empty($$SELECT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'apikey_internal' AND a.grantee <> n.nspowner$$, 'nobody may look into it');
SELECT is_empty($$SELECT pg_describe_object(classid, objid, 0) FROM (SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'apikey_internal'::regnamespace
	UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = 'apikey_internal'::regnamespace) o (classid, objid) WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = o.classid AND m.objid = o.objid)$$,
	'all in it is of the extension');
SELECT is_empty($$SELECT pg_describe_object('pg_proc'::regclass, oid, 0) FROM function WHERE pronamespace <> 'apikey_internal'::regnamespace AND proname !~ '^apikey_'
	UNION ALL SELECT relname FROM relation WHERE relnamespace <> 'apikey_internal'::regnamespace AND relname !~ '^apikey_'$$, 'all else begins with apikey_');

-- Relations
SELECT bag_eq($$SELECT relname::text, relkind::text FROM relation WHERE relkind IN ('r', 'v', 'S', 'm', 'p', 'f')$$,
	$$VALUES ('apikey_project', 'r'), ('apikey_environment', 'r'), ('apikey_suspension', 'r'), ('apikey_key', 'r'), ('apikey_secret', 'r'), ('apikey_grant', 'r'),
	('apikey_budget', 'r'), ('apikey_budgets', 'v'), ('apikey_derivation', 'r'), ('apikey_heartbeat', 'r'), ('apikey_subscription', 'r'),
	('apikey_event', 'r'), ('apikey_use', 'r'), ('apikey_use_hour', 'r'),
	('apikey_registry', 'v'), ('protected', 'v'), ('apikey_attached', 'v'), ('apikey_keys', 'v'), ('apikey_grants', 'v'), ('apikey_events', 'v'), ('apikey_usage', 'v'), ('apikey_usage_hours', 'v'), ('apikey_guesses', 'v'), ('apikey_counters', 'v'),
	('apikey_protected', 'v'), ('apikey_replicas', 'v'), ('apikey_subscriptions', 'v')$$, 'tables and views, and no sequence');
SELECT is_empty($$SELECT relname FROM relation WHERE relkind = 'v' AND relname ~ '^apikey_'
	AND (reloptions IS DISTINCT FROM array['security_barrier=true'] OR pg_get_viewdef(oid) !~ 'apikey_internal\.sees\(')$$,
	'each view asks what the session may see, before anybody else looks at a row');
SELECT is_empty($$SELECT relname, pg_relation_is_updatable(oid, true) FROM relation WHERE relkind = 'v' AND pg_relation_is_updatable(oid, true) <> 0$$,
	'none is a way to write, whoever has which privileges on it');
SELECT results_eq($$SELECT signature FROM function WHERE prosupport = 'apikey_internal.sees_support'::regproc$$, array['apikey_internal.sees(text)'], 'of that alone the planner is told');
SELECT bag_eq($$SELECT c::text FROM (SELECT unnest(extconfig)::regclass c FROM pg_extension WHERE extname = 'apikey') t$$,
	$$VALUES ('apikey_project'), ('apikey_environment'), ('apikey_suspension'), ('apikey_key'), ('apikey_secret'), ('apikey_grant'), ('apikey_budget'), ('apikey_derivation'), ('apikey_heartbeat'), ('apikey_event'), ('apikey_use'), ('apikey_use_hour'), ('apikey_subscription')$$, 'pg_dump carries the tables with data');
SELECT is_empty($$SELECT relname FROM relation r, aclexplode(r.relacl) a WHERE a.grantee <> relowner$$,
	'nobody but the owner has a privilege on any of them');
SELECT is_empty($$SELECT relname, attname, atttypid::regtype FROM relation r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0
	WHERE relkind = 'r' AND atttypid >= 16384 AND atttypid <> 'apikey_level'::regtype$$, 'columns of built-in types or apikey_level');
SELECT is_empty($$SELECT relname, attname FROM relation r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0
	WHERE relkind = 'v' AND (atttypid = 'bytea'::regtype OR attname ~ 'salt|verifier|secret|hash|scheme')
	AND attname <> 'old_secret_used_at'$$, 'views show no hash');
SELECT is_empty($$SELECT r.relname FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
	JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refobjid IN ('apikey_key'::regclass, 'apikey_secret'::regclass)
	JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
	WHERE attname IN ('salt', 'verifier', 'lookup') OR attname = 'scheme' AND r.relname <> 'apikey_keys'$$,
	'nor are they made from one; apikey_keys asks whether there is a scheme');
SELECT enum_has_labels('apikey_level'::name, '{read,write,manage}'::name[], 'levels in order');
SELECT is_empty($$SELECT classid::regclass, objid FROM member WHERE pg_describe_object(classid, objid, 0) !~ '\yapikey'$$,
	'every object begins with apikey');
SELECT is_empty($$SELECT pg_describe_object(classid, objid, 0) FROM member
	WHERE classid <> 'pg_type'::regclass AND obj_description(objid, classid::regclass::name) IS NULL$$,
	'every object has a comment');
SELECT is(obj_description('apikey_level'::regtype, 'pg_type') IS NOT NULL, true, 'the type, too');

-- A plan that is made while the tables are empty is kept while they grow: it must
-- find a key by its id
CREATE FUNCTION indexes(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	found text = '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || replace(query, 'ID', '''00000000-0000-0000-0000-000000000000''') LOOP
		found = found || coalesce(substring(line FROM 'Index.* Scan (?:using|on) (\w+)'), '');
	END LOOP;
	RETURN found;
END $$;
CREATE FUNCTION other_plans() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT query || ': ' || found FROM unnest(array[
		'SELECT FROM apikey_key WHERE key_id = ID FOR NO KEY UPDATE',
		'SELECT FROM ONLY apikey_key WHERE key_id = ID AND organization = ''acme'' FOR KEY SHARE',
		'UPDATE apikey_key SET disabled_at = now() WHERE key_id = ID AND (disabled_at IS NULL OR disabled_reason IS DISTINCT FROM coalesce(''x'', disabled_reason))',
		'UPDATE apikey_key SET revoked_at = now() WHERE key_id = ID AND (revoked_at IS NULL OR revoked_reason IS DISTINCT FROM coalesce(''x'', revoked_reason))',
		'DELETE FROM apikey_key WHERE key_id = ID',
		'DELETE FROM apikey_grant WHERE key_id = ID AND project IS NOT DISTINCT FROM ''web'' AND environment = ''production''',
		'DELETE FROM ONLY apikey_grant WHERE key_id = ID AND organization = ''acme''']) query, indexes(query) AS found
	WHERE found !~ CASE WHEN query ~ 'apikey_grant' THEN '^apikey_grant_key$'
		WHEN query ~ 'organization' THEN '^apikey_key_(pkey|organization_key)$' ELSE '^apikey_key_pkey$' END
$$;
SET LOCAL enable_seqscan = off;
SELECT is_empty('SELECT other_plans()', 'plans of empty tables');
ANALYZE apikey_key, apikey_grant;
SELECT is_empty('SELECT other_plans()', 'that are known to be empty');
SELECT apikey_add_project('acme', 'web');
SELECT key_id FROM apikey_create('acme', 'k', '[{"project": "web", "environment": "production", "level": "read"}]') \gset
ANALYZE apikey_key, apikey_grant;
SELECT is_empty('SELECT other_plans()', 'of one key');
SELECT apikey_disable(:'key_id');
ANALYZE apikey_key, apikey_grant;
SELECT is_empty('SELECT other_plans()', 'that is disabled');
SELECT count(*) FROM generate_series(1, 5), apikey_create('acme', 'k', '[{"project": "web", "environment": "production", "level": "read"}]');
ANALYZE apikey_key, apikey_grant;
SELECT is_empty('SELECT other_plans()', 'of a few');
RESET enable_seqscan;

-- Triggers fire under logical replication as well
SELECT bag_eq($$SELECT t.tgrelid::regclass::text, t.tgname::text, t.tgenabled::text, (t.tgtype & 1) = 1,
		array_to_string(array[CASE WHEN t.tgtype & 4 > 0 THEN 'insert' END, CASE WHEN t.tgtype & 8 > 0 THEN 'delete' END,
			CASE WHEN t.tgtype & 16 > 0 THEN 'update' END, CASE WHEN t.tgtype & 32 > 0 THEN 'truncate' END], ' ')
	FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT tgisinternal$$,
	$$VALUES ('apikey_key', 'apikey_changed', 'A', true, 'insert delete update'),
	('apikey_secret', 'apikey_changed', 'A', true, 'insert delete update'),
	('apikey_grant', 'apikey_changed', 'A', true, 'insert delete update'),
	('apikey_budget', 'apikey_changed', 'A', true, 'insert delete update'), ('apikey_budget', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_derivation', 'apikey_changed', 'A', true, 'insert delete update'), ('apikey_derivation', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_heartbeat', 'apikey_changed', 'A', true, 'insert delete update'), ('apikey_heartbeat', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_subscription', 'apikey_changed', 'A', true, 'insert delete update'), ('apikey_subscription', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_project', 'apikey_changed', 'A', true, 'insert delete update'),
	('apikey_environment', 'apikey_changed', 'A', true, 'insert delete update'),
	('apikey_suspension', 'apikey_changed', 'A', true, 'insert delete update'),
	('apikey_key', 'apikey_keep', 'A', true, 'update'),
	('apikey_key', 'apikey_truncated', 'A', false, 'truncate'), ('apikey_secret', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_grant', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_project', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_environment', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_suspension', 'apikey_truncated', 'A', false, 'truncate'),
	('apikey_event', 'apikey_keep', 'A', true, 'delete update'), ('apikey_event', 'apikey_keep_all', 'A', false, 'truncate')$$, 'triggers');
SELECT is_empty($$SELECT t.tgname FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
	WHERE NOT tgisinternal AND (t.tgtype & 2 > 0) <> (t.tgname LIKE 'apikey\_keep%')$$, 'what refuses a change fires before it');

-- Indexes
SELECT bag_eq($$SELECT indrelid::regclass::text, indexrelid::regclass::text, indisunique, indisprimary,
		regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') FROM pg_index i JOIN relation r ON r.oid = indrelid$$, $$VALUES
	('apikey_project', 'apikey_project_pkey', true, true, 'btree (project)'),
	('apikey_project', 'apikey_project_organization_key', true, false, 'btree (organization, project)'),
	('apikey_environment', 'apikey_environment_pkey', true, true, 'btree (project, environment, organization)'),
	('apikey_environment', 'apikey_environment_organization_idx', false, false, 'btree (organization, project, environment)'),
	('apikey_suspension', 'apikey_suspension_pkey', true, true, 'btree (organization)'),
	('apikey_key', 'apikey_key_pkey', true, true, 'btree (key_id)'),
	('apikey_key', 'apikey_key_organization_key', true, false, 'btree (organization, key_id)'),
	('apikey_key', 'apikey_key_ended_idx', false, false, 'btree (key_id) WHERE ((revoked_at IS NOT NULL) OR (disabled_at IS NOT NULL))'),
	('apikey_key', 'apikey_key_expires_idx', false, false, 'btree (expires_at, key_id) WHERE (expires_at IS NOT NULL)'),
	('apikey_key', 'apikey_key_parent_idx', false, false, 'btree (parent_id, expires_at) WHERE (parent_id IS NOT NULL)'),
	('apikey_derivation', 'apikey_derivation_pkey', true, true, 'btree (key_id)'),
	('apikey_subscription', 'apikey_subscription_pkey', true, true, 'btree (name)'),
	('apikey_secret', 'apikey_secret_pkey', true, true, 'btree (key_id)'),
	('apikey_secret', 'apikey_secret_organization_key', true, false, 'btree (organization, key_id)'),
	('apikey_secret', 'apikey_secret_lookup_key', true, false, 'btree (lookup)'),
	('apikey_secret', 'apikey_secret_rule_idx', false, false, 'btree (lookup_rule)'),
	('apikey_grant', 'apikey_grant_key', true, false, 'btree (key_id, project, environment) INCLUDE (level) NULLS NOT DISTINCT'),
	('apikey_grant', 'apikey_grant_project_idx', false, false, 'btree (project, environment, organization)'),
	('apikey_budget', 'apikey_budget_pkey', true, true, 'btree (key_id)'), ('apikey_budget', 'apikey_budget_organization_idx', false, false, 'btree (organization, key_id)'),
	('apikey_heartbeat', 'apikey_heartbeat_pkey', true, true, 'btree (one)'),
	('apikey_event', 'apikey_event_pkey', true, true, 'btree (event_id)'),
	('apikey_event', 'apikey_event_at_idx', false, false, 'btree (at)'),
	('apikey_use', 'apikey_use_pkey', true, true, 'btree (key_id)'),
	('apikey_use_hour', 'apikey_use_hour_pkey', true, true, 'btree (key_id, hour)'),
	('apikey_use_hour', 'apikey_use_hour_idx', false, false, 'btree (hour)'),
	('apikey_event', 'apikey_event_key_idx', false, false, 'btree (key_id NULLS FIRST, event_id)')$$, 'indexes');
SELECT bag_eq($$SELECT relname::text, relreplident::text, (SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = r.oid AND indisreplident) FROM relation r WHERE relkind = 'r' AND relreplident <> 'd'$$,
	$$VALUES ('apikey_project', 'i', 'apikey_project_organization_key'), ('apikey_key', 'i', 'apikey_key_organization_key'), ('apikey_secret', 'i', 'apikey_secret_organization_key'), ('apikey_grant', 'f', NULL)$$,
	'the organization is in the identity of what is published');
SELECT is_empty('SELECT indexrelid::regclass FROM pg_index i JOIN relation r ON r.oid = indrelid WHERE NOT indisvalid OR NOT indimmediate', 'which are valid and immediate');
SELECT bag_eq($$SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
	WHERE contype = 'f' AND conrelid IN (SELECT oid FROM relation)$$, $$VALUES
	('apikey_secret', 'FOREIGN KEY (key_id, organization) REFERENCES apikey_key(key_id, organization) ON DELETE CASCADE'),
	('apikey_budget', 'FOREIGN KEY (key_id, organization) REFERENCES apikey_key(key_id, organization) ON DELETE CASCADE'),
	('apikey_derivation', 'FOREIGN KEY (key_id) REFERENCES apikey_key(key_id) ON DELETE CASCADE'),
	('apikey_key', 'FOREIGN KEY (parent_id, organization) REFERENCES apikey_key(key_id, organization) ON DELETE CASCADE'),
	('apikey_environment', 'FOREIGN KEY (project, organization) REFERENCES apikey_project(project, organization) ON DELETE CASCADE'),
	('apikey_grant', 'FOREIGN KEY (key_id, organization) REFERENCES apikey_key(key_id, organization) ON DELETE CASCADE'),
	('apikey_grant', 'FOREIGN KEY (project, environment, organization) REFERENCES apikey_environment(project, environment, organization) ON DELETE CASCADE')$$,
	'foreign keys carry the organization');
SELECT is_empty($$SELECT conname FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relation) AND (condeferrable OR NOT convalidated)$$,
	'and cannot be put off');
SELECT bag_eq($$SELECT t.tgrelid::regclass::text, t.tgfoid::regproc::text, count(*) FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
	WHERE t.tgisinternal AND t.tgenabled = 'D' GROUP BY 1, 2$$, $$VALUES ('apikey_environment', '"RI_FKey_check_ins"', 1::bigint),
	('apikey_secret', '"RI_FKey_check_ins"', 1), ('apikey_grant', '"RI_FKey_check_ins"', 2), ('apikey_budget', '"RI_FKey_check_ins"', 1),
	('apikey_key', '"RI_FKey_check_ins"', 1), ('apikey_derivation', '"RI_FKey_check_ins"', 1)$$,
	'apikey_changed checks new rows in their place');
SELECT is_empty($$SELECT t.tgname FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
	WHERE t.tgisinternal AND t.tgenabled <> CASE WHEN t.tgfoid = '"RI_FKey_check_ins"'::regproc THEN 'D' ELSE 'O' END$$, 'PostgreSQL all else');

-- The control file
SELECT ok(NOT extrelocatable AND extversion = '1.0', 'version, not relocatable') FROM pg_extension WHERE extname = 'apikey';
SELECT ok(superuser AND NOT trusted AND schema IS NULL AND requires = '{pgcrypto}', 'needs pgcrypto and a superuser, names no schema')
FROM pg_available_extension_versions WHERE name = 'apikey' AND version = '1.0';

SELECT * FROM finish();
ROLLBACK;
