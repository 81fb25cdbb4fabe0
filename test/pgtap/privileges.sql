-- Who may do what.
BEGIN;
SELECT no_plan();
SELECT apikey_add_project('acme', 'web');
CREATE TEMP TABLE token AS SELECT * FROM apikey_create('acme', 'k', '[{"project": "web", "environment": "*", "level": "write"}]');
CREATE TEMP TABLE ended AS SELECT * FROM apikey_create('acme', 'ended', '[{"project": "web", "environment": "*", "level": "write"}]');
SELECT apikey_set_budget(key_id, 10) FROM token;
GRANT SELECT ON token, ended TO PUBLIC;
CREATE ROLE nobody_special;
CREATE ROLE key_maker;
GRANT EXECUTE ON FUNCTION apikey_create, apikey_revoke TO key_maker;

-- a role without any privilege: everything that needs a key, nothing else
SET ROLE nobody_special;
SELECT ok(apikey_authorize(key, 'web', 'production', 'write'), 'decides') FROM token;
SELECT results_eq('SELECT organization FROM token, apikey_login(key)', $$VALUES ('acme')$$, 'logs in');
SELECT ok(apikey_authorize('web', 'production', 'write'), 'acts with the key of the session');
SELECT is(apikey_spend(key, 2), 8::bigint, 'spends what the key has') FROM token;
SELECT is(apikey_spend(), 7::bigint, 'and by the key of the session');
SELECT throws_ok('SELECT apikey_spend(''x'', 1)', '28000', NULL, 'nothing without a key');
SELECT throws_ok('UPDATE apikey_budget SET remaining = budget', '42501', NULL, 'gives nothing back');
SELECT results_eq('SELECT label FROM apikey_whoami()', $$VALUES ('k')$$, 'who am I');
SELECT lives_ok('SELECT apikey_cache_stats()', 'its own cache');
SELECT results_eq('SELECT f.key_id, organization, status FROM token t, apikey_find_keys(t.key) f', $$SELECT key_id, 'acme', 'active' FROM token$$, 'finds a key that it has');
SELECT results_eq($$SELECT organization, status FROM token t, apikey_find_keys(overlay(t.key PLACING 'apk_00' FROM 1 FOR 6)) f$$,
	$$VALUES (NULL::text, 'malformed')$$, 'learns nothing of one that it has not');
SELECT is(apikey_pattern('acme'), 'acme_[0-9A-Za-z]{71}', 'tells what they look like');
SELECT throws_ok('SELECT * FROM ' || relname, '42501', NULL, 'may not read ' || relname)
FROM pg_class WHERE relname LIKE 'apikey\_%' AND relkind IN ('r', 'v');
SELECT throws_ok(call, '42501', NULL, 'may not call ' || call) FROM unnest(array[
	$$SELECT apikey_add_project('acme', 'x')$$, $$SELECT apikey_add_environment('web', 'x')$$, $$SELECT apikey_rename_project('web', 'x')$$,
	$$SELECT apikey_remove_project('web')$$, $$SELECT apikey_publish()$$, $$SELECT apikey_suspend('acme')$$, $$SELECT apikey_suspend('acme', 'x')$$, $$SELECT apikey_resume('acme')$$,
	$$SELECT apikey_quarantine('a', 'b')$$, $$SELECT apikey_lift_quarantine()$$,
	$$SELECT apikey_attach_projects('token', 'key', 'key')$$, $$SELECT apikey_detach_projects('token')$$,
	$$SELECT apikey_remove_environment('web', 'production')$$,
	$$SELECT apikey_create('acme', 'x')$$,
	$$SELECT apikey_grant(gen_random_uuid(), 'web', '*', 'read')$$,
	$$SELECT apikey_ungrant(gen_random_uuid(), 'web', '*')$$,
	$$SELECT apikey_set_organization_level(gen_random_uuid(), 'read')$$, $$SELECT apikey_disable(gen_random_uuid())$$,
	$$SELECT apikey_enable(gen_random_uuid())$$, $$SELECT apikey_revoke(gen_random_uuid())$$,
	$$SELECT apikey_delete(gen_random_uuid())$$, $$SELECT apikey_reach(gen_random_uuid())$$,
	$$SELECT apikey_who_can('web', 'production', 'read')$$,
	$$SELECT apikey_rotate(gen_random_uuid())$$, $$SELECT apikey_rotate(gen_random_uuid(), '1 day')$$,
	$$SELECT apikey_cancel_rotation(gen_random_uuid())$$, $$SELECT apikey_finish_rotation(gen_random_uuid())$$, $$SELECT apikey_update(gen_random_uuid(), label => 'x')$$,
	$$SELECT apikey_import('acme', 'x', 'sha256', repeat('0', 64))$$,
	$$SELECT apikey_check_import('sha256', repeat('0', 64), 'x')$$,
	$$SELECT apikey_purge_events(now())$$, $$SELECT apikey_set_budget(gen_random_uuid(), 5)$$, $$SELECT apikey_set_budget(gen_random_uuid(), NULL)$$,
	$$SELECT apikey_internal.last_used(key_id) FROM token$$, $$SELECT apikey_internal.last_used_from(key_id) FROM token$$, $$SELECT apikey_internal.usage_of(key_id) FROM token$$,
	$$SELECT apikey_internal.usage_hours_of(key_id) FROM token$$, $$SELECT apikey_internal.guesses()$$, $$SELECT apikey_internal.counters()$$,
	$$SELECT apikey_usage_stats()$$, $$SELECT apikey_unused('1 day')$$, $$SELECT apikey_internal.replicas()$$, $$SELECT apikey_internal.followers('0/0', '[]')$$,
	$$CALL apikey_revoke_everywhere(gen_random_uuid())$$, $$CALL apikey_disable_everywhere(gen_random_uuid())$$,
	$$CALL apikey_ungrant_everywhere(gen_random_uuid(), 'web', '*')$$, $$CALL apikey_suspend_everywhere('acme')$$, $$CALL apikey_wait_everywhere()$$,
	$$CALL apikey_subscribe('x')$$, $$CALL apikey_unsubscribe()$$, $$SELECT apikey_set_max_staleness('x', NULL)$$, $$SELECT apikey_internal.refuses_all()$$,
	$$SELECT apikey_report_leak(key) FROM token$$, $$SELECT apikey_report_leak('x', 'y')$$, $$SELECT apikey_scanner_alert('[]')$$]) call;
SELECT throws_ok('CREATE TRIGGER t AFTER INSERT ON token FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed()', '42501', NULL, 'nor use the trigger');
SELECT throws_ok('CREATE TRIGGER t BEFORE UPDATE ON token FOR EACH ROW EXECUTE FUNCTION apikey_internal.keep()', '42501', NULL, 'nor the one of the history');
CREATE TEMP TABLE mine (id text PRIMARY KEY, organization text);
SELECT throws_ok($$CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION apikey_internal.sync_projects('id', 'organization', 'production')$$,
	'42501', NULL, 'nor that of attached tables, on a table of its own');
SELECT throws_ok('SET apikey.client_address = ''10.0.0.1''', '42501', NULL, 'may not say where the client is');
-- who holds a key may end it
SELECT throws_ok('SELECT apikey_revoke_self(''x'')', '28000', NULL, 'ends no key that it has not');
SELECT lives_ok('SELECT apikey_revoke_self(key) FROM ended', 'ends the key that it has');
SELECT ok(NOT apikey_authorize(key, 'web', 'production', 'read'), 'which is the end of it') FROM ended;
RESET ROLE;
-- what follows is done by roles, not by the key of the session
SET LOCAL apikey.key = '';
SELECT throws_ok('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $f$ SELECT apikey_internal.changed() $f$', NULL, NULL, 'the trigger is no function');

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

-- a role that may renew keys: their secrets, not what they may do
CREATE ROLE key_renewer;
GRANT EXECUTE ON FUNCTION apikey_rotate, apikey_cancel_rotation, apikey_finish_rotation TO key_renewer;
CREATE TEMP TABLE renewed AS SELECT * FROM apikey_create('acme', 'renewed', '[{"project": "web", "environment": "*", "level": "read"}]');
CREATE TEMP TABLE finished AS SELECT * FROM apikey_create('acme', 'finished', '[{"project": "web", "environment": "*", "level": "read"}]');
GRANT SELECT ON renewed, finished TO key_renewer;
SET ROLE key_renewer;
SELECT lives_ok($$CREATE TEMP TABLE newest AS SELECT r.* FROM renewed k, apikey_rotate(k.key_id, '1 hour') r$$, 'rotates a key');
SELECT ok(apikey_authorize(o.key, 'web', 'production', 'read') AND apikey_authorize(n.key, 'web', 'production', 'read'), 'both work') FROM renewed o, newest n;
SELECT lives_ok('SELECT apikey_cancel_rotation(key_id) FROM renewed', 'undoes it');
SELECT ok(apikey_authorize(o.key, 'web', 'production', 'read') AND NOT apikey_authorize(n.key, 'web', 'production', 'read'), 'the old one works') FROM renewed o, newest n;
SELECT lives_ok($$SELECT f.* FROM finished k, apikey_rotate(k.key_id, '1 hour') r, apikey_finish_rotation(r.key_id) f$$, 'ends an overlap');
SELECT ok(NOT apikey_authorize(key, 'web', 'production', 'read'), 'the old one does not work') FROM finished;
SELECT throws_ok('SELECT apikey_update(key_id, remove => ''{expires_at}'') FROM renewed', '42501', NULL, 'may not update it');
SELECT throws_ok('SELECT * FROM apikey_secret', '42501', NULL, 'not the secrets');
RESET ROLE;

-- a role that may update keys
CREATE ROLE key_keeper;
GRANT EXECUTE ON FUNCTION apikey_update TO key_keeper;
GRANT SELECT ON renewed TO key_keeper;
SET ROLE key_keeper;
SELECT lives_ok('SELECT apikey_update(key_id, label => ''relabelled'') FROM renewed', 'updates a key');
SELECT results_eq('SELECT label FROM renewed, apikey_verify(key)', $$VALUES ('relabelled')$$, 'which shows');
SELECT throws_ok('SELECT apikey_rotate(key_id) FROM renewed', '42501', NULL, 'may not rotate it');
RESET ROLE;

-- a role that sells budgets
CREATE ROLE seller;
GRANT EXECUTE ON FUNCTION apikey_set_budget TO seller;
GRANT SELECT ON apikey_budgets TO seller;
SET ROLE seller;
SELECT lives_ok('SELECT apikey_set_budget(key_id, 50, ''1 day'') FROM token', 'sets a budget');
SELECT results_eq('SELECT organization = ''acme'', budget, remaining, refills_at > refilled_at FROM apikey_budgets', $$VALUES (true, 50::bigint, 50::bigint, true)$$, 'sees budgets');
SELECT throws_ok('SELECT * FROM apikey_budget', '42501', NULL, 'not the table');
SELECT throws_ok('SELECT apikey_disable(key_id) FROM token', '42501', NULL, 'does nothing else to a key');
RESET ROLE;

-- a role that may stop keys and nothing else reaches the procedure, which wants no transaction around it
CREATE ROLE stopper;
GRANT EXECUTE ON PROCEDURE apikey_revoke_everywhere TO stopper;
SET ROLE stopper;
SELECT throws_ok('CALL apikey_revoke_everywhere(gen_random_uuid())', '25001', NULL, 'may call it');
SELECT throws_ok('SELECT apikey_revoke(gen_random_uuid())', '42501', NULL, 'not what it calls');
RESET ROLE;

-- a role that watches who follows
CREATE ROLE watcher;
GRANT SELECT ON apikey_replicas TO watcher;
SET ROLE watcher;
SELECT lives_ok('SELECT * FROM apikey_replicas', 'reads the view');
SELECT throws_ok('SELECT * FROM apikey_internal.replicas()', '42501', NULL, 'not the function behind it');
RESET ROLE;

-- a role that reads the history
CREATE ROLE auditor;
GRANT SELECT ON apikey_events TO auditor;
SET ROLE auditor;
SELECT is((SELECT string_agg(action, ' ' ORDER BY at) FROM apikey_events WHERE role = 'key_renewer'), 'rotate cancel_rotation rotate finish_rotation', 'sees who did what');
SELECT throws_ok('SELECT * FROM apikey_event', '42501', NULL, 'not the table');
SELECT throws_ok('DELETE FROM apikey_events', '55000', NULL, 'changes nothing');
SELECT throws_ok('SELECT apikey_purge_events(now())', '42501', NULL, 'removes nothing');
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

-- a role that may attach tables, but only its own
CREATE TABLE others (id text PRIMARY KEY, organization text);
CREATE TABLE owned (id text PRIMARY KEY, organization text);
ALTER TABLE owned OWNER TO key_maker;
GRANT ALL ON owned, others TO nobody_special, key_maker;
GRANT EXECUTE ON FUNCTION apikey_attach_projects, apikey_detach_projects TO key_maker;
SET ROLE key_maker;
SELECT throws_ok($$SELECT apikey_attach_projects('others', 'id', 'organization')$$, '42501', NULL, 'not a table of another');
SELECT throws_ok($$SELECT apikey_detach_projects('others')$$, '42501', NULL, 'nor detaches one');
SELECT lives_ok($$SELECT apikey_attach_projects('owned', 'id', 'organization')$$, 'attaches its own table');
SELECT is(current_user::text, 'key_maker', 'and is who it was');
SELECT throws_ok('SELECT * FROM apikey_project', '42501', NULL, 'not the registry');
SET ROLE nobody_special;
SELECT lives_ok($$INSERT INTO owned VALUES ('attached', 'acme'), ('gone', 'acme')$$, 'a role without privileges inserts a project');
SELECT lives_ok($$DELETE FROM owned WHERE id = 'gone'$$, 'and deletes one');
RESET ROLE;
SELECT is(string_agg(project, ' ' ORDER BY project), 'attached web', 'the registry follows') FROM apikey_project;
SET ROLE key_maker;
SELECT lives_ok($$SELECT apikey_detach_projects('owned')$$, 'detaches it');
RESET ROLE;

-- a role that may look at the views sees no more than they show
GRANT SELECT ON apikey_keys, apikey_grants TO nobody_special;
SET ROLE nobody_special;
SELECT results_eq('SELECT count(*) FROM apikey_keys WHERE key ~ ''^apk_.{22}…$''', 'VALUES (7::bigint)', 'masked keys');
RESET ROLE;


-- who may only ask about keys needs no table
GRANT EXECUTE ON FUNCTION apikey_who_can, apikey_reach TO nobody_special;
REVOKE SELECT ON apikey_keys, apikey_grants FROM nobody_special;
SET ROLE nobody_special;
SELECT results_eq('SELECT label, level::text FROM apikey_who_can(''web'', ''production'', ''write'')', $$VALUES ('k', 'write')$$, 'who may do it');
SELECT lives_ok('SELECT * FROM token, apikey_reach(key_id)', 'what a key opens');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
