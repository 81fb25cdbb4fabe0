-- Who may do what.
BEGIN;
SELECT no_plan();
SELECT apikey_add_project('acme', 'web');
CREATE TEMP TABLE token AS SELECT * FROM apikey_create('acme', 'k', '[{"project": "web", "environment": "*", "level": "write"}]');
GRANT SELECT ON token TO PUBLIC;
CREATE ROLE nobody_special;
CREATE ROLE key_maker;
GRANT EXECUTE ON FUNCTION apikey_create(text, text, jsonb, apikey_level, timestamptz, text, cidr[], jsonb, text),
	apikey_revoke(uuid) TO key_maker;

-- a role without any privilege: everything that needs a key, nothing else
SET ROLE nobody_special;
SELECT ok(apikey_authorize(key, 'web', 'production', 'write'), 'decides') FROM token;
SELECT results_eq('SELECT organization FROM token, apikey_login(key)', $$VALUES ('acme')$$, 'logs in');
SELECT ok(apikey_authorize('web', 'production', 'write'), 'acts with the key of the session');
SELECT results_eq('SELECT label FROM apikey_whoami()', $$VALUES ('k')$$, 'who am I');
SELECT lives_ok('SELECT apikey_cache_stats()', 'its own cache');
SELECT results_eq('SELECT f.key_id, organization, status FROM token t, apikey_find(t.key) f', $$SELECT key_id, 'acme', 'active' FROM token$$, 'finds a key that it has');
SELECT results_eq($$SELECT organization, status FROM token t, apikey_find(overlay(t.key PLACING 'apk_00' FROM 1 FOR 6)) f$$,
	$$VALUES (NULL::text, 'malformed')$$, 'learns nothing of one that it has not');
SELECT is(apikey_pattern('acme'), 'acme_[0-9A-Za-z]{71}', 'tells what they look like');
SELECT throws_ok('SELECT * FROM ' || relname, '42501', NULL, 'may not read ' || relname)
FROM pg_class WHERE relname LIKE 'apikey\_%' AND relkind IN ('r', 'v');
SELECT throws_ok(call, '42501', NULL, 'may not call ' || call) FROM unnest(array[
	$$SELECT apikey_add_project('acme', 'x')$$, $$SELECT apikey_add_project('acme'::text, 1)$$, $$SELECT apikey_add_project(1, 2)$$,
	$$SELECT apikey_remove_project('web')$$, $$SELECT apikey_remove_project(1)$$,
	$$SELECT apikey_remove_environment('web', 'production')$$, $$SELECT apikey_remove_environment(1, 2)$$,
	$$SELECT apikey_create('acme', 'x')$$, $$SELECT apikey_create(1, 'x')$$,
	$$SELECT apikey_grant(gen_random_uuid(), 'web', '*', 'read')$$, $$SELECT apikey_grant(gen_random_uuid(), 1, 2, 'read')$$,
	$$SELECT apikey_ungrant(gen_random_uuid(), 'web', '*')$$, $$SELECT apikey_ungrant(gen_random_uuid(), 1, 2)$$,
	$$SELECT apikey_set_organization_level(gen_random_uuid(), 'read')$$, $$SELECT apikey_disable(gen_random_uuid())$$,
	$$SELECT apikey_enable(gen_random_uuid())$$, $$SELECT apikey_revoke(gen_random_uuid())$$,
	$$SELECT apikey_delete(gen_random_uuid())$$,
	$$SELECT apikey_report_leak(key) FROM token$$, $$SELECT apikey_report_leak('x', 'y')$$, $$SELECT apikey_scanner_alert('[]')$$]) call;
SELECT throws_ok('CREATE TRIGGER t AFTER INSERT ON token FOR EACH ROW EXECUTE FUNCTION apikey_changed()', '42501', NULL, 'nor use the trigger');
RESET ROLE;
SELECT throws_ok('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $f$ SELECT apikey_changed() $f$', NULL, NULL, 'the trigger is no function');

-- a role that may make and revoke keys, and cannot look at the tables
SET ROLE key_maker;
SET apikey.key = '';
SELECT lives_ok($$CREATE TEMP TABLE made AS SELECT * FROM apikey_create('acme', 'made', '[{"project": "web", "environment": "*", "level": "read"}]')$$, 'makes a key');
SELECT ok(apikey_authorize(key, 'web', 'production', 'read'), 'which works') FROM made;
SELECT lives_ok('SELECT apikey_revoke(key_id) FROM made', 'revokes it');
SELECT ok(NOT apikey_authorize(key, 'web', 'production', 'read'), 'which works as well') FROM made;
SELECT throws_ok('SELECT apikey_enable(key_id) FROM made', '42501', NULL, 'no more than that');
SELECT throws_ok('SELECT * FROM apikey_key', '42501', NULL, 'not the tables');
SELECT throws_ok('SELECT * FROM apikey_keys', '42501', NULL, 'not the views');
RESET ROLE;

-- a role that may report leaks: of keys that it has, no more
CREATE ROLE reporter;
GRANT EXECUTE ON FUNCTION apikey_report_leak, apikey_scanner_alert TO reporter;
CREATE TEMP TABLE leaked AS SELECT k.* FROM generate_series(1, 2) i, apikey_create('acme', 'leaked ' || i) k;
GRANT SELECT ON leaked TO reporter;
SET ROLE reporter;
SELECT results_eq('SELECT status FROM (SELECT key FROM leaked LIMIT 1) l, apikey_report_leak(l.key)', $$VALUES ('revoked')$$, 'reports');
SELECT results_eq($$SELECT apikey_scanner_alert(jsonb_build_array(jsonb_build_object('token', key, 'type', 't'))) -> 0 ->> 'label' FROM leaked LIMIT 1$$,
	$$VALUES ('true_positive')$$, 'passes on an alert');
SELECT throws_ok('SELECT apikey_revoke(key_id) FROM leaked', '42501', NULL, 'may not revoke by id');
SELECT throws_ok('SELECT * FROM apikey_keys', '42501', NULL, 'sees no others');
RESET ROLE;

-- a role that may look at the views sees no more than they show
GRANT SELECT ON apikey_keys, apikey_grants TO nobody_special;
SET ROLE nobody_special;
SELECT results_eq('SELECT count(*) FROM apikey_keys WHERE key ~ ''^apk_.{22}…$''', 'VALUES (4::bigint)', 'masked keys');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
