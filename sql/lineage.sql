\a \t
-- Rows that no foreign key would let in: a parent that is missing, is of another
-- organization, is the key itself, a circle, and a chain that is too long.
SELECT apikey_add_project('li_acme', 'li_web'), apikey_add_project('li_other', 'li_mars');
CREATE TABLE li_key (name text, n int, key_id uuid, key text);
INSERT INTO li_key SELECT name, n, k.* FROM (VALUES ('chain', 10), ('circle', 3), ('self', 1), ('orphan', 2), ('stranger', 2)) v (name, count), generate_series(1, count) n,
	apikey_create(CASE WHEN name = 'stranger' AND n = 1 THEN 'li_other' ELSE 'li_acme' END, name || ' ' || n, '[{"project": "*", "environment": "*", "level": "manage"}]',
		organization_level => 'write', max_derived => 9) k;
SELECT count(*) FROM (SELECT apikey_authorize(key, CASE WHEN name = 'stranger' AND n = 1 THEN 'li_mars' ELSE 'li_web' END, 'production', 'manage') AS yes FROM li_key) a WHERE yes;
SET session_replication_role = replica;
UPDATE apikey_key SET organization_level = NULL, expires_at = now() + interval '1 hour' WHERE key_id IN (SELECT key_id FROM li_key WHERE n > 1 OR name IN ('circle', 'self'));
UPDATE apikey_key k SET parent_id = p.key_id FROM li_key c, li_key p WHERE c.key_id = k.key_id AND p.name = c.name
	AND p.n = CASE WHEN c.name = 'circle' THEN c.n % 3 + 1 WHEN c.name = 'self' THEN 1 ELSE c.n - 1 END;
DELETE FROM apikey_key WHERE key_id = (SELECT key_id FROM li_key WHERE name = 'orphan' AND n = 1);
RESET session_replication_role;

-- four of a chain, and nothing else; a key without a parent is as it was
SELECT name, n, apikey_authorize(key, 'li_web', 'production', 'read') AS web, apikey_authorize(key, 'li_mars', 'production', 'read') AS mars,
	(SELECT count(*) FROM apikey_verify(key)) AS verified, (SELECT reason FROM apikey_explain(key, 'li_web', 'production', 'read')),
	(SELECT status FROM apikey_find_keys(key)) AS found, (SELECT status FROM apikey_keys k WHERE k.key_id = l.key_id)
FROM li_key l ORDER BY name, n;
SELECT label, level FROM apikey_who_can('li_web', 'production', 'read') ORDER BY label;
SELECT label, level FROM apikey_who_can('li_mars', 'production', 'read') ORDER BY label;
CREATE TABLE li_rows (project text, environment text);
SELECT apikey_protect('li_rows', 'project', 'environment');
SELECT name, n, (SELECT string_agg(concat(project, ' ', level), ', ') FROM apikey_reach(key_id)) FROM li_key WHERE name <> 'orphan' OR n > 1 ORDER BY name, n;
SELECT name, n, attempt(format('SELECT 1 FROM apikey_derive(%L, ''more'', lifetime => ''1 min'')', key)) FROM li_key ORDER BY name, n;

-- acting keys change what comes from a key that they might make, and no other
SELECT key AS acting FROM apikey_create('li_acme', 'acting', '[{"project": "*", "environment": "*", "level": "manage"}]', organization_level => 'write', max_derived => 9) \gset
BEGIN;
SELECT set_config('apikey.key', :'acting', true) <> '' AS acting;
SELECT name, n, regexp_replace(attempt(format('SELECT apikey_disable(%L)', key_id)), '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g') FROM li_key ORDER BY name, n;
COMMIT;

-- a COPY may bring a key before its parent, but no two of two organizations, whatever their order
COPY apikey_key (key_id, organization, prefix, label, expires_at, parent_id) FROM stdin;
00000002-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	00000001-0000-7000-8000-000000000000
00000001-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	\N
00000003-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	00000002-0000-7000-8000-000000000000
\.
SELECT left(key_id::text, 8), organization, left(parent_id::text, 8) FROM apikey_key WHERE label = 'copied' ORDER BY 1;
COPY apikey_key (key_id, organization, prefix, label, expires_at, parent_id) FROM stdin;
00000005-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	00000004-0000-7000-8000-000000000000
00000004-0000-7000-8000-000000000000	li_other	apk	copied	2099-01-01	\N
\.
COPY apikey_key (key_id, organization, prefix, label, expires_at, parent_id) FROM stdin;
00000004-0000-7000-8000-000000000000	li_other	apk	copied	2099-01-01	\N
00000005-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	00000004-0000-7000-8000-000000000000
\.
COPY apikey_key (key_id, organization, prefix, label, expires_at, parent_id) FROM stdin;
00000005-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	00000004-0000-7000-8000-000000000000
\.
COPY apikey_key (key_id, organization, prefix, label, expires_at, parent_id) FROM stdin;
00000004-0000-7000-8000-000000000000	li_other	apk	copied	2099-01-01	\N
\.
COPY apikey_key (key_id, organization, prefix, label, expires_at, parent_id) FROM stdin;
00000004-0000-7000-8000-000000000000	li_acme	apk	copied	2099-01-01	00000005-0000-7000-8000-000000000000
\.
SELECT left(key_id::text, 8), organization, left(parent_id::text, 8) FROM apikey_key WHERE label = 'copied' ORDER BY 1;
DELETE FROM apikey_key WHERE label = 'copied';

-- what is undone was not
CREATE FUNCTION li_may(VARIADIC keys text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN apikey_authorize(k, 'li_web', 'production', 'write') THEN 'yes' ELSE 'no' END, ' ') FROM unnest(keys) k
$$;
BEGIN;
SELECT key_id AS p_id, key AS p FROM apikey_create('li_acme', 'parent', '[{"project": "li_web", "environment": "*", "level": "write"}]', max_derived => 3) \gset
SELECT key_id AS c_id, key AS c FROM apikey_derive(:'p', 'child') \gset
SAVEPOINT s;
SELECT key AS g FROM apikey_derive(:'c', 'grandchild') \gset
SELECT li_may(:'p', :'c', :'g');
SELECT apikey_revoke(:'p_id');
SELECT li_may(:'p', :'c', :'g');
ROLLBACK TO s;
SELECT li_may(:'p', :'c', :'g');
SELECT apikey_grant(:'p_id', 'li_web', '*', 'read');
SELECT li_may(:'p', :'c');
ROLLBACK TO s;
SELECT li_may(:'p', :'c');
SELECT apikey_ungrant(:'c_id', '*', '*');
SELECT li_may(:'p', :'c');
ROLLBACK TO s;
SELECT apikey_delete(:'p_id');
SELECT li_may(:'p', :'c');
ROLLBACK TO s;
SELECT li_may(:'p', :'c');
ROLLBACK;
SELECT li_may(:'p', :'c', :'g');

-- deleting and revoking come to an end
SELECT name, attempt(format('SELECT apikey_revoke(%L)', key_id)) FROM li_key WHERE name = 'circle' AND n = 1;
SELECT name, attempt(format('SELECT apikey_delete(%L)', key_id)) FROM li_key WHERE n = 1 AND name <> 'orphan' OR n = 2 AND name = 'orphan' ORDER BY name;
SELECT label FROM apikey_keys WHERE key_id IN (SELECT key_id FROM li_key);
DELETE FROM apikey_grant WHERE key_id = (SELECT key_id FROM li_key WHERE name = 'orphan' AND n = 1);
DROP FUNCTION li_may;
DROP TABLE li_key, li_rows;
SELECT apikey_delete(key_id) FROM apikey_keys WHERE organization LIKE 'li\_%';
SELECT apikey_remove_project(p) FROM unnest('{li_web,li_mars}'::text[]) p;
