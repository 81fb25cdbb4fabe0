\a \t
-- The life of a key: what changes it, and what ends it.
SELECT apikey_add_project('f_acme', 'f_web');
SELECT key_id, key FROM apikey_create('f_acme', 'one') \gset
SELECT key_id AS other_id, key AS other FROM apikey_create('f_acme', 'two', '[{"project": "f_web", "environment": "*", "level": "read"}]') \gset
CREATE FUNCTION f_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN apikey_authorize(key, 'f_web', 'production', 'read') THEN 'read' END,
		CASE WHEN apikey_authorize(key, 'f_web', 'production', 'write') THEN 'write' END,
		CASE WHEN apikey_authorize(key, 'f_web', 'production', 'manage') THEN 'manage' END,
		CASE WHEN apikey_authorize_organization(key, 'f_acme', 'read') THEN 'org-read' END,
		CASE WHEN apikey_authorize_organization(key, 'f_acme', 'write') THEN 'org-write' END,
		'(' || (apikey_explain(key, 'f_web', 'production', 'read')).reason || ')')
$$;
SELECT f_look(:'key');

-- grants come, change and go
SELECT apikey_grant(:'key_id', 'f_web', 'production', 'write');
SELECT f_look(:'key');
SELECT apikey_grant(:'key_id', 'f_web', 'production', 'manage');
SELECT f_look(:'key');
SELECT apikey_grant(:'key_id', 'f_web', 'production', 'read');
SELECT f_look(:'key');
SELECT apikey_grant(:'key_id', '*', '*', 'write');
SELECT f_look(:'key');
SELECT apikey_ungrant(:'key_id', 'f_web', 'production');
SELECT f_look(:'key');
SELECT attempt(format($$SELECT apikey_ungrant(%L, 'f_web', 'production')$$, :'key_id'));
SELECT attempt(format($$SELECT apikey_ungrant(%L, '*', 'production')$$, :'key_id'));
SELECT apikey_ungrant(:'key_id', '*', '*');
SELECT f_look(:'key');
SELECT apikey_set_organization_level(:'key_id', 'write');
SELECT f_look(:'key');
SELECT apikey_set_organization_level(:'key_id', 'read');
SELECT f_look(:'key');
SELECT attempt(format($$SELECT apikey_set_organization_level(%L, 'manage')$$, :'key_id'));
SELECT apikey_set_organization_level(:'key_id', NULL);
SELECT f_look(:'key');

-- disabled and back, as often as one likes
SELECT apikey_grant(:'key_id', 'f_web', '*', 'write');
SELECT apikey_disable(:'key_id');
SELECT apikey_disable(:'key_id');
SELECT f_look(:'key');
SELECT status, disabled_at IS NOT NULL AS disabled FROM apikey_keys WHERE key_id = :'key_id';
SELECT apikey_grant(:'key_id', 'f_web', 'development', 'read');
SELECT apikey_enable(:'key_id');
SELECT apikey_enable(:'key_id');
SELECT f_look(:'key');
SELECT status, disabled_at IS NOT NULL AS disabled FROM apikey_keys WHERE key_id = :'key_id';

-- revoked for ever
SELECT apikey_revoke(:'key_id');
SELECT revoked_at AS first_time FROM apikey_keys WHERE key_id = :'key_id' \gset
SELECT apikey_revoke(:'key_id');
SELECT status, revoked_at = :'first_time' AS first_time FROM apikey_keys WHERE key_id = :'key_id';
SELECT f_look(:'key');
SELECT call, replace(attempt('SELECT ' || replace(call, 'ID', quote_literal(:'key_id'))), :'key_id', 'ID') FROM (VALUES
	($$apikey_enable(ID)$$), ($$apikey_disable(ID)$$), ($$apikey_grant(ID, 'f_web', 'production', 'read')$$),
	($$apikey_set_organization_level(ID, 'read')$$)) AS t (call);
SELECT apikey_ungrant(:'key_id', 'f_web', 'development');
SELECT f_look(:'other') AS the_other_key_is_well;

-- a revoked key is deleted with what is left of its grants
SELECT project, environment, level FROM apikey_grants WHERE key_id = :'key_id' ORDER BY 1, 2;
SELECT apikey_delete(:'key_id');
SELECT f_look(:'key'), (SELECT count(*) FROM apikey_keys WHERE key_id = :'key_id') AS keys,
	(SELECT count(*) FROM apikey_grants WHERE key_id = :'key_id') AS grants;

-- keys that are not there
SELECT call, attempt('SELECT ' || call) FROM (VALUES
	($$apikey_grant('00000000-0000-0000-0000-000000000000', 'f_web', 'production', 'read')$$),
	($$apikey_ungrant('00000000-0000-0000-0000-000000000000', 'f_web', 'production')$$),
	($$apikey_set_organization_level('00000000-0000-0000-0000-000000000000', 'read')$$),
	($$apikey_disable('00000000-0000-0000-0000-000000000000')$$),
	($$apikey_enable('00000000-0000-0000-0000-000000000000')$$),
	($$apikey_revoke('00000000-0000-0000-0000-000000000000')$$),
	($$apikey_delete('00000000-0000-0000-0000-000000000000')$$),
	($$apikey_revoke(NULL)$$), ($$apikey_delete(NULL)$$), ($$apikey_disable(NULL)$$),
	($$apikey_enable(NULL)$$), ($$apikey_set_organization_level(NULL, 'read')$$),
	($$apikey_grant(NULL, 'f_web', 'production', 'read')$$), ($$apikey_ungrant(NULL, 'f_web', 'production')$$)) AS t (call);
SELECT call, attempt('SELECT ' || replace(call, 'ID', quote_literal(:'other_id'))) FROM (VALUES
	($$apikey_grant(ID, NULL::text, 'production', 'read')$$), ($$apikey_grant(ID, 'f_web', NULL::text, 'read')$$),
	($$apikey_grant(ID, 'f_web', 'production', NULL)$$), ($$apikey_grant(ID, '', 'production', 'read')$$),
	($$apikey_grant(ID, 'f_web', '', 'read')$$), ($$apikey_ungrant(ID, NULL::text, 'production')$$),
	($$apikey_ungrant(ID, 'f_web', NULL::text)$$), ($$apikey_ungrant(ID, 'f_web', 'production')$$), ($$apikey_ungrant(ID, '*', '*')$$),
	($$apikey_ungrant(ID, 'f_none', '*')$$), ($$apikey_grant(ID, 'f_none', 'production', 'read')$$), ($$apikey_grant(ID, 'f_web', 'staging', 'read')$$),
	($$apikey_grant(ID, '*', 'staging', 'read')$$), ($$apikey_grant(ID, 'f_none', '*', 'read')$$)) AS t (call);
SELECT project, environment, level FROM apikey_grants WHERE key_id = :'other_id' ORDER BY 1, 2;

-- expired from the first statement that begins at that time
SELECT key_id, key FROM apikey_create('f_acme', 'short', '[{"project": "f_web", "environment": "*", "level": "read"}]',
	expires_at => clock_timestamp() + '1.5 s') \gset
SELECT f_look(:'key');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT f_look(:'key');
SELECT pg_sleep(1.6);
SELECT f_look(:'key');
COMMIT;
SELECT status, (SELECT count(*) FROM apikey_verify(:'key')) AS verified FROM apikey_keys WHERE key_id = :'key_id';

-- an expired key can be changed and revoked, which does not bring it back
SELECT apikey_grant(:'key_id', 'f_web', 'production', 'write');
SELECT apikey_disable(:'key_id');
SELECT apikey_enable(:'key_id');
SELECT f_look(:'key');
SELECT apikey_revoke(:'key_id');
SELECT f_look(:'key');

-- which status is shown
SELECT key_id FROM apikey_create('f_acme', 'status') \gset
SELECT apikey_disable(:'key_id');
UPDATE apikey_key SET expires_at = now() WHERE key_id = :'key_id';
SELECT status FROM apikey_keys WHERE key_id = :'key_id';
SELECT apikey_revoke(:'key_id');
SELECT status FROM apikey_keys WHERE key_id = :'key_id';

-- very many at once
CREATE TEMP TABLE f_many AS SELECT k.* FROM generate_series(1, 1000) i, apikey_create('f_acme', 'many ' || i,
	'[{"project": "f_web", "environment": "*", "level": "read"}]') k;
SELECT count(*) FILTER (WHERE apikey_authorize(key, 'f_web', 'production', 'read')) FROM f_many;
SELECT count(apikey_disable(key_id)) FROM f_many;
SELECT count(*) FILTER (WHERE apikey_authorize(key, 'f_web', 'production', 'read')) FROM f_many;
SELECT count(apikey_enable(key_id)) FROM f_many;
SELECT count(apikey_revoke(key_id)) BETWEEN 1 AND 999 AS some FROM f_many WHERE right(key_id::text, 1) < '8';
SELECT count(*) FILTER (WHERE apikey_authorize(key, 'f_web', 'production', 'read') <> (right(key_id::text, 1) >= '8')) AS wrong FROM f_many;
SELECT count(apikey_revoke(key_id)) FROM f_many;
SELECT count(*) FILTER (WHERE apikey_authorize(key, 'f_web', 'production', 'read')) FROM f_many;
SELECT status, count(*) FROM apikey_keys WHERE key_id IN (SELECT key_id FROM f_many) GROUP BY 1;
SELECT count(apikey_delete(key_id)) FROM f_many;
SELECT count(*) FROM apikey_grants WHERE key_id IN (SELECT key_id FROM f_many);

-- grants that every snapshot sees are read from the index alone, until they change
SELECT key_id, key FROM apikey_create('f_acme', 'settled', '[{"project": "f_web", "environment": "production", "level": "write"},
	{"project": "*", "environment": "development", "level": "read"}]') \gset
VACUUM apikey_grant;
SELECT f_look(:'key');
SELECT apikey_grant(:'key_id', 'f_web', 'production', 'read');
SELECT f_look(:'key');
SELECT apikey_ungrant(:'key_id', '*', 'development');
SELECT f_look(:'key');
VACUUM apikey_grant;
SELECT f_look(:'key');
BEGIN;
SELECT apikey_grant(:'key_id', 'f_web', 'production', 'manage');
SELECT f_look(:'key');
ROLLBACK;
SELECT f_look(:'key');
SELECT apikey_delete(:'key_id');
SELECT f_look(:'key');

DROP FUNCTION f_look;
DROP TABLE f_many;
DELETE FROM apikey_key WHERE organization LIKE 'f\_%';
DELETE FROM apikey_project WHERE organization LIKE 'f\_%';
