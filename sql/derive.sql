\a \t
-- Derived keys: never more than what they come from, and gone with it.
SELECT apikey_add_project('de_acme', p) FROM unnest('{de_web,de_app,de_ops}'::text[]) p;
SELECT apikey_add_project('de_other', 'de_secret');
CREATE FUNCTION de_attempt(command text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(attempt(command), '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g')
$$;
-- levels on the pairs of two projects and two environments, of which one letter each
CREATE FUNCTION de_may(key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg((SELECT coalesce(max(left(v, 1)), '-') FROM unnest('{read,write,manage}'::text[]) WITH ORDINALITY u (v, n)
			WHERE n = (SELECT count(*) FROM unnest('{read,write,manage}'::text[]) w WHERE apikey_authorize(de_may.key, p, e, w))), '' ORDER BY p, e DESC)
	FROM unnest('{de_app,de_ops,de_web}'::text[]) p, unnest('{production,development}'::text[]) e
$$;
CREATE FUNCTION de_derive(key text, grants jsonb DEFAULT NULL, lifetime interval DEFAULT '1 hour', OUT key_id uuid, OUT new text) RETURNS record LANGUAGE sql AS $$
	SELECT * FROM apikey_derive(de_derive.key, 'derived', grants, lifetime)
$$;

-- none, unless somebody says how many
SELECT key_id, key FROM apikey_create('de_acme', 'parent', '[{"project": "de_web", "environment": "*", "level": "write"}, {"project": "*", "environment": "development", "level": "manage"}]', created_by => 'alice') \gset
SELECT de_attempt(format('SELECT apikey_derive(%L, %L)', :'key', 'child'));
SELECT status, max_derived, parent_id FROM apikey_keys WHERE key_id = :'key_id';
SELECT apikey_update(:'key_id', max_derived => 5);
SELECT max_derived FROM apikey_keys WHERE key_id = :'key_id';
SELECT de_may(:'key');

-- without grants, all that the parent has
SELECT key_id AS all_id, new AS all FROM de_derive(:'key') \gset
SELECT de_may(:'all');
-- with grants, what both have
SELECT key_id AS read_id, new AS read FROM de_derive(:'key', '[{"project": "*", "environment": "*", "level": "read"}]') \gset
SELECT de_may(:'read');
SELECT new AS prod FROM de_derive(:'key', '[{"project": "*", "environment": "production", "level": "manage"}]') \gset
SELECT de_may(:'prod');
SELECT new AS pair FROM de_derive(:'key', '[{"project": "de_web", "environment": "production", "level": "manage"}, {"project": "de_ops", "environment": "*", "level": "write"}]') \gset
SELECT de_may(:'pair');
SELECT new AS none FROM de_derive(:'key', '[]') \gset
SELECT de_may(:'none');
-- no more than five, but one that is revoked or has expired makes room
SELECT de_attempt(format('SELECT de_derive(%L)', :'key'));
SELECT apikey_revoke_self(:'none');
SELECT new AS none FROM de_derive(:'key', '[]') \gset
SELECT de_attempt(format('SELECT de_derive(%L)', :'key'));
UPDATE apikey_key SET expires_at = now() - interval '1 s' WHERE key_id = :'read_id';
SELECT key_id AS read_id, new AS read FROM de_derive(:'key', '[{"project": "*", "environment": "*", "level": "read"}]') \gset
SELECT de_attempt(format('SELECT de_derive(%L)', :'key'));
-- those further down count too
SELECT de_attempt(format('SELECT de_derive(%L)', :'all'));
SELECT de_attempt(format('SELECT apikey_update(%L, max_derived => 5)', :'all_id'));
SELECT apikey_update(:'key_id', max_derived => 50);
-- counted within one statement
SELECT de_attempt(format('SELECT count(de_derive(%L)) FROM generate_series(1, 46)', :'key'));
SELECT count(de_derive(:'key')) FROM generate_series(1, 45);
SELECT de_attempt(format('SELECT de_derive(%L)', :'key'));
SELECT apikey_update(:'key_id', max_derived => 1000);

-- rows
SELECT k.status, k.label, k.organization_level, k.parent_id = p.key_id AS of_parent, k.created_by = p.key_id::text AS by_parent,
	date_trunc('minute', k.expires_at - k.created_at) AS lifetime, k.key ~ '^apk_' AS shown, k.rate_limit, k.max_derived, k.metadata
FROM apikey_keys k, apikey_keys p WHERE k.key_id = :'all_id' AND p.key_id = :'key_id';
SELECT project, environment, level FROM apikey_grants WHERE key_id = :'all_id';
SELECT action, acting_key = :'key_id' AS by_parent, detail - 'expires_at' - 'parent_id', detail ->> 'parent_id' = :'key_id' AS parent FROM apikey_events WHERE key_id = :'read_id';
SELECT key_id = :'all_id' AS same, organization, organization_level, label FROM apikey_verify(:'all');
SELECT reason FROM apikey_explain(:'read', 'de_web', 'production', 'write');
SELECT reason FROM apikey_explain(:'all', 'de_app', 'production', 'read');

-- what the parent loses, and gets
SELECT apikey_grant(:'key_id', 'de_web', '*', 'read');
SELECT de_may(:'key'), de_may(:'all'), de_may(:'read'), de_may(:'pair');
SELECT apikey_ungrant(:'key_id', 'de_web', '*');
SELECT de_may(:'key'), de_may(:'all'), de_may(:'read'), de_may(:'pair');
SELECT apikey_grant(:'key_id', 'de_ops', '*', 'manage');
SELECT de_may(:'key'), de_may(:'all'), de_may(:'read'), de_may(:'pair');
SELECT apikey_grant(:'key_id', 'de_web', '*', 'write');

-- a chain of four, and no fifth
SELECT key_id AS d1_id, new AS d1 FROM de_derive(:'key', '[{"project": "*", "environment": "*", "level": "manage"}]') \gset
SELECT key_id AS d2_id, new AS d2 FROM de_derive(:'d1', '[{"project": "*", "environment": "*", "level": "write"}]') \gset
SELECT key_id AS d3_id, new AS d3 FROM de_derive(:'d2', '[{"project": "*", "environment": "development", "level": "manage"}, {"project": "de_web", "environment": "*", "level": "manage"}]') \gset
SELECT key_id AS d4_id, new AS d4 FROM de_derive(:'d3', '[{"project": "*", "environment": "*", "level": "manage"}]') \gset
SELECT de_attempt(format('SELECT de_derive(%L)', :'d4'));
SELECT de_may(:'d1'), de_may(:'d2'), de_may(:'d3'), de_may(:'d4');
SELECT apikey_revoke(:'d2_id');
SELECT de_may(:'d1'), de_may(:'d2'), de_may(:'d3'), de_may(:'d4');
SELECT label, status, key_id = :'d2_id' AS itself FROM apikey_keys WHERE key_id IN (:'d1_id', :'d2_id', :'d3_id', :'d4_id') ORDER BY key_id;
SELECT reason FROM unnest(ARRAY[:'d2', :'d3', :'d4']) k, apikey_explain(k, 'de_web', 'production', 'read');
SELECT status FROM apikey_find_keys(:'d4');
SELECT de_attempt(format('SELECT de_derive(%L)', :'d3'));

-- in whatever state the parent is
SELECT key_id AS p_id, key AS p FROM apikey_create('de_acme', 'parent 2', '[{"project": "de_web", "environment": "*", "level": "write"}]', organization_level => 'write', max_derived => 9) \gset
SELECT key_id AS c_id, new AS c FROM de_derive(:'p') \gset
SELECT key_id AS g_id, new AS g FROM de_derive(:'c') \gset
CREATE FUNCTION de_state(key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', de_may(de_state.key), (SELECT reason FROM apikey_explain(de_state.key, 'de_web', 'production', 'read')), f.status, k.status)
	FROM apikey_find_keys(de_state.key) f JOIN apikey_keys k ON k.key_id = f.key_id
$$;
SELECT de_state(:'g');
SELECT apikey_disable(:'p_id');
SELECT de_state(:'g');
SELECT apikey_disable(:'c_id');
SELECT apikey_enable(:'p_id');
SELECT de_state(:'g');
SELECT apikey_enable(:'c_id');
SELECT de_state(:'g');
SELECT apikey_update(:'p_id', allowed_networks => '{192.0.2.0/24}');
SELECT de_state(:'g');
SELECT apikey_update(:'p_id', remove => '{allowed_networks}');
UPDATE apikey_key SET expires_at = now() - interval '1 s' WHERE key_id = :'p_id';
SELECT de_state(:'g');
SELECT apikey_update(:'p_id', remove => '{expires_at}');
SELECT de_state(:'g');
-- a rotation leaves it
SELECT key AS p FROM apikey_rotate(:'p_id') \gset
SELECT de_state(:'g');
-- the organization is not its business, nor are other keys
SELECT apikey_authorize_organization(:'p', 'de_acme', 'write'), apikey_authorize_organization(:'c', 'de_acme', 'read');
BEGIN;
SET LOCAL apikey.key = :'c';
SELECT de_attempt('SELECT apikey_create(''de_acme'', ''dx'')');
SELECT de_attempt(format('SELECT apikey_rotate(%L)', :'c_id'));
SELECT de_attempt(format('SELECT apikey_revoke(%L)', :'g_id'));
SELECT de_attempt('SELECT apikey_purge_derived(now())');
COMMIT;
-- nor can others change what it is
SELECT de_attempt(format('SELECT apikey_%s', replace(call, 'ID', quote_literal(:'c_id')))) FROM unnest(ARRAY['rotate(ID)', 'cancel_rotation(ID)', 'update(ID, ''other'')',
	'grant(ID, ''de_app'', ''*'', ''read'')', 'set_organization_level(ID, ''read'')', 'set_budget(ID, 5)']) call;
SELECT apikey_ungrant(:'c_id', '*', '*');
SELECT de_state(:'g');
SELECT split_part(de_attempt(format('UPDATE apikey_key SET organization_level = ''read'' WHERE key_id = %L', :'c_id')), ' | Fail', 1);
SELECT split_part(de_attempt(format('UPDATE apikey_key SET rate_count = 1, rate_interval = ''1 s'', rate_burst = 1 WHERE key_id = %L', :'c_id')), ' | Fail', 1);
SELECT split_part(de_attempt(format('UPDATE apikey_key SET expires_at = NULL WHERE key_id = %L', :'c_id')), ' | Fail', 1);
SELECT de_attempt(format('UPDATE apikey_key SET parent_id = gen_random_uuid() WHERE key_id = %L', :'c_id'));
-- revoked and deleted with it
SELECT new AS c FROM de_derive(:'p') \gset
SELECT new AS g FROM de_derive(:'c') \gset
SELECT apikey_revoke(:'p_id');
SELECT de_state(:'c'), de_state(:'g');
SELECT apikey_delete(:'p_id');
SELECT count(*) FROM apikey_keys WHERE label = 'derived' AND parent_id NOT IN (SELECT key_id FROM apikey_keys);
SELECT status FROM apikey_find_keys(:'c' || ' ' || :'g');

-- the session's key
BEGIN;
SELECT de_attempt('SELECT apikey_derive(label => ''dx'')');
SELECT set_config('apikey.key', :'key', true) <> '';
SELECT key AS s FROM apikey_derive(label => 'by session', grants => '[{"project": "de_web", "environment": "production", "level": "read"}]', lifetime => '1 day', metadata => '{"job": 7}') \gset
COMMIT;
SELECT de_may(:'s');
SELECT label, metadata, date_trunc('minute', expires_at - created_at) AS lifetime FROM apikey_keys WHERE key_id = (SELECT key_id FROM apikey_verify(:'s'));

-- arguments
SELECT a, de_attempt(format('SELECT apikey_derive(%L, %s)', :'key', a)) FROM unnest(ARRAY['NULL', ''' ''', '''dx'', ''{}''', '''dx'', ''[{"project": "de_web"}]''',
	'''dx'', ''[{"project": "nowhere", "environment": "production", "level": "read"}]''', '''dx'', ''[{"project": "de_secret", "environment": "production", "level": "read"}]''',
	'''dx'', lifetime => NULL', '''dx'', lifetime => ''0.9 s''', '''dx'', lifetime => ''1 s''', '''dx'', lifetime => ''30 days''', '''dx'', lifetime => ''30 days 1 s''', '''dx'', lifetime => ''-1 h''',
	'''dx'', lifetime => ''300000 years''', '''dx'', metadata => ''[]''', '''dx'', metadata => ''{"a": 1}''', '''dx'', metadata => NULL']) a;
-- what ends in a second is not counted below, however long that takes
DELETE FROM apikey_key WHERE label = 'dx' AND expires_at < now() + interval '1 min';
-- where the clocks are set back in ten days, and where they are set forward
SELECT set_config('timezone', format('AAA0BBB,J%s,J%s', (doy + 200) % 365 + 1, (doy + 10) % 365 + 1), false) <> '' FROM (SELECT extract(doy FROM now() AT TIME ZONE 'UTC')::int) d (doy);
SELECT lifetime, de_attempt(format('SELECT apikey_derive(%L, ''dx'', lifetime => %L)', :'key', lifetime)) FROM unnest('{30 days,720 h,721 h,30 days 1 s,722 h}'::text[]) lifetime;
SELECT set_config('timezone', format('AAA0BBB,J%s,J%s', (doy + 10) % 365 + 1, (doy + 200) % 365 + 1), false) <> '' FROM (SELECT extract(doy FROM now() AT TIME ZONE 'UTC')::int) d (doy);
SELECT lifetime, de_attempt(format('SELECT apikey_derive(%L, ''dx'', lifetime => %L)', :'key', lifetime)) FROM unnest('{30 days,720 h,721 h,30 days 1 s,722 h}'::text[]) lifetime;
RESET timezone;
SELECT de_attempt(format('SELECT apikey_derive(%L, ''dx'', (SELECT jsonb_agg(jsonb_build_object(''project'', i, ''environment'', ''*'', ''level'', ''read'')) FROM generate_series(1, %s) i))', :'key', n)) FROM unnest('{1001}'::int[]) n;
SELECT de_attempt(format('SELECT apikey_derive(%L, repeat(''x'', %s))', :'key', n)) FROM unnest('{10000,10001}'::int[]) n;
SELECT de_attempt(format('SELECT apikey_derive(%L, ''dx'', metadata => jsonb_build_object(''a'', repeat(''x'', %s)))', :'key', n)) FROM unnest('{9000,10000}'::int[]) n;
SELECT de_attempt(format('SELECT apikey_derive(%s, ''dx'')', a)) FROM unnest(ARRAY['NULL', '''''', '''nonsense''', quote_literal(overlay(:'key' PLACING '0000' FROM 40))]) a;
SELECT m, de_attempt(format('SELECT apikey_update(%L, max_derived => %s)', :'key_id', m)) FROM unnest('{-1,1000001}'::int[]) m;
SELECT m, de_attempt(format('SELECT apikey_create(''de_acme'', ''dx'', max_derived => %s)', m)) FROM unnest('{-1,1000001,0,7,NULL::int}'::text[]) m;
SELECT apikey_update(:'key_id', max_derived => 0);
SELECT de_attempt(format('SELECT de_derive(%L)', :'key'));
SELECT apikey_update(:'key_id', max_derived => 100);
SELECT apikey_update(:'key_id', remove => '{max_derived}');
SELECT max_derived FROM apikey_keys WHERE key_id = :'key_id';
SELECT detail FROM apikey_events WHERE key_id = :'key_id' AND action = 'update' ORDER BY at DESC LIMIT 2;
BEGIN READ ONLY;
SELECT de_attempt(format('SELECT de_derive(%L)', :'key'));
COMMIT;
-- no longer than its parent, and apikey_verify says so
SELECT key AS p FROM apikey_create('de_acme', 'short', expires_at => now() + interval '10 min', max_derived => 1) \gset
SELECT key_id AS c_id, new AS c FROM de_derive(:'p') \gset
SELECT k.expires_at = p.expires_at FROM apikey_keys k JOIN apikey_keys p ON p.key_id = k.parent_id WHERE k.key_id = :'c_id';
SELECT apikey_update(parent_id, expires_at => expires_at - interval '1 min') FROM apikey_keys WHERE key_id = :'c_id';
SELECT k.expires_at - v.expires_at FROM apikey_keys k, apikey_verify(:'c') v WHERE k.key_id = :'c_id';

-- a budget is one for all
SELECT key_id AS p_id, key AS p FROM apikey_create('de_acme', 'payer', max_derived => 5) \gset
SELECT apikey_set_budget(:'p_id', 10);
SELECT new AS c FROM de_derive(:'p') \gset
SELECT new AS g FROM de_derive(:'c') \gset
SELECT apikey_spend(:'g', 3), apikey_spend(:'c', 2), apikey_spend(:'p', 1);
SELECT de_attempt(format('SELECT apikey_spend(%L, 5)', :'g'));

-- a delegate gives no more than it has
SELECT key AS delegate FROM apikey_create('de_acme', 'delegate', '[{"project": "de_web", "environment": "*", "level": "write"}]', organization_level => 'write', max_derived => 3) \gset
SELECT key_id AS web_id, key AS web FROM apikey_create('de_acme', 'web', '[{"project": "de_web", "environment": "*", "level": "read"}]', max_derived => 3) \gset
SELECT key_id AS web_c_id, new AS web_c FROM de_derive(:'web') \gset
SELECT key_id AS app_id, key AS app FROM apikey_create('de_acme', 'app', '[{"project": "de_app", "environment": "*", "level": "read"}]', max_derived => 3) \gset
SELECT key_id AS app_c_id FROM de_derive(:'app') \gset
BEGIN;
SET LOCAL apikey.key = :'delegate';
SELECT m, de_attempt(format('SELECT apikey_create(''de_acme'', ''dx'', max_derived => %s)', m)) FROM unnest('{3,4}'::int[]) m;
SELECT de_attempt(format('SELECT apikey_disable(%L)', k)) FROM unnest(ARRAY[:'web_c_id', :'app_c_id']) k;
COMMIT;
SELECT de_state(:'web_c');

-- looking
SELECT label, level, key_id = :'web_id' AS parent FROM apikey_who_can('de_web', 'production', 'read') WHERE key_id IN (:'web_id', :'web_c_id');
SELECT apikey_enable(:'web_c_id');
SELECT label, level FROM apikey_who_can('de_web', 'production', 'read') WHERE key_id IN (:'web_id', :'web_c_id');
SELECT label, level FROM apikey_who_can('de_web', 'production', 'write') WHERE key_id IN (:'web_id', :'web_c_id');
SELECT apikey_grant(:'web_id', 'de_web', '*', 'manage');
SELECT label, level FROM apikey_who_can('de_web', 'production', 'write') WHERE key_id IN (:'web_id', :'web_c_id');
SELECT apikey_disable(:'web_id');
SELECT label, level FROM apikey_who_can('de_web', 'production', 'read') WHERE key_id IN (:'web_id', :'web_c_id');
SELECT apikey_enable(:'web_id');
CREATE TABLE de_rows (project text, environment text);
SELECT apikey_protect('de_rows', 'project', 'environment');
SELECT relation, project, environment, level FROM apikey_reach(:'web_c_id');
SELECT apikey_projects_of(:'web_c', 'read'), apikey_projects_of(:'web_c', 'read', 'production');

-- leaks: the key itself goes, not its parent
SELECT status FROM apikey_report_leak('see ' || :'web_c', 'test');
SELECT de_may(:'web'), de_may(:'web_c');

-- purging
SELECT de_attempt('SELECT apikey_purge_derived(NULL)');
SELECT count(*) FROM apikey_keys WHERE parent_id IS NOT NULL AND status = 'expired' AND expires_at <= now();
SELECT apikey_purge_derived('infinity');
SELECT count(*) FROM apikey_keys WHERE parent_id IS NOT NULL AND status = 'expired' AND expires_at <= now();
SELECT apikey_purge_derived(now());
SELECT detail - 'before' FROM apikey_events WHERE action = 'purge_derived';
SELECT count(*) FROM apikey_grants WHERE key_id NOT IN (SELECT key_id FROM apikey_keys);
DROP TABLE de_rows;
DROP FUNCTION de_attempt, de_may, de_derive, de_state;
SELECT apikey_remove_project(p) FROM unnest('{de_web,de_app,de_ops,de_secret}'::text[]) p;
