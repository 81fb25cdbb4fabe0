\a \t
-- Keys that issue keys: a session with a key manages what it holds itself, in its
-- organization, and no more.
SELECT apikey_add_project('z_acme', 'z_web'), apikey_add_project('z_acme', 'z_shop'), apikey_add_project('z_other', 'z_mars');
CREATE TABLE z_key (name text PRIMARY KEY, key_id uuid, key text);
CREATE FUNCTION z_id(which text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT key_id FROM z_key WHERE name = which $$;
CREATE FUNCTION z_text(which text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT key FROM z_key WHERE name = which $$;
CREATE FUNCTION z_named(message text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	k record;
BEGIN
	FOR k IN SELECT name, key_id FROM z_key WHERE key_id IS NOT NULL LOOP
		message = replace(message, k.key_id::text, '<' || k.name || '>');
	END LOOP;
	RETURN message;
END $$;
-- call a function in a session with this key (a name, else the text; null for none);
-- all that it did is undone
CREATE FUNCTION z_try(acting text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	PERFORM set_config('apikey.key', coalesce(z_text(acting), acting, ''), true);
	EXECUTE 'SELECT ' || call;
	PERFORM set_config('apikey.key', '', true);
	RAISE EXCEPTION 'done' USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN OTHERS THEN
	PERFORM set_config('apikey.key', '', true);
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	IF SQLSTATE = 'ZZZZZ' THEN
		RETURN 'done';
	END IF;
	RETURN z_named(concat_ws(' | ', SQLSTATE, nullif(message, 'permission denied by API key'), nullif(detail, '')));
END $$;
-- create as this key, and keep it
CREATE FUNCTION z_make(acting text, name text, grants jsonb, level apikey_level DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
	allowed_networks cidr[] DEFAULT NULL, created_by text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', z_text(acting), true);
	INSERT INTO z_key SELECT z_make.name, c.* FROM apikey_create('z_acme', z_make.name, z_make.grants, z_make.level, z_make.expires_at, z_make.created_by,
		z_make.allowed_networks) c;
	PERFORM set_config('apikey.key', '', true);
END $$;
SELECT '[{"project": "*", "environment": "*", "level": "manage"}]' AS all \gset
INSERT INTO z_key SELECT n, c.* FROM (VALUES
	('boss', 'write'::apikey_level, :'all'::jsonb, NULL::timestamptz, NULL::cidr[]),
	('lead', 'write', '[{"project": "z_web", "environment": "*", "level": "write"}, {"project": "z_shop", "environment": "production", "level": "manage"}]', NULL, NULL),
	('singles', 'write', '[{"project": "z_web", "environment": "production", "level": "manage"}, {"project": "z_web", "environment": "development", "level": "manage"},
		{"project": "z_shop", "environment": "production", "level": "manage"}, {"project": "z_shop", "environment": "development", "level": "manage"}]', NULL, NULL),
	('halves', 'write', '[{"project": "z_web", "environment": "*", "level": "read"}, {"project": "*", "environment": "production", "level": "write"},
		{"project": "z_web", "environment": "development", "level": "manage"}]', NULL, NULL),
	('empty', 'write', '[]', NULL, NULL),
	('timed', 'write', :'all', '2090-01-01', NULL),
	('netted', 'write', :'all', NULL, '{10.0.0.0/8,2001:db8::/32}'),
	('reader', 'read', :'all', NULL, NULL), ('plain', NULL, :'all', NULL, NULL),
	('disabled', 'write', :'all', NULL, NULL), ('revoked', 'write', :'all', NULL, NULL), ('expired', 'write', :'all', NULL, NULL),
	('elsewhere', 'write', :'all', NULL, '{192.0.2.0/24}'),
	('weak', NULL, '[{"project": "z_web", "environment": "production", "level": "read"}]', NULL, NULL), ('nothing', NULL, '[]', NULL, NULL)) k (n, level, grants, expires, networks),
	apikey_create('z_acme', n, grants, level, expires, allowed_networks => networks) c;
INSERT INTO z_key SELECT 'other', c.* FROM apikey_create('z_other', 'other', :'all', 'write') c;
-- each has a second secret, the one before a rotation
UPDATE z_key SET key = (SELECT r.key FROM apikey_rotate(key_id, '10 years') r);
SELECT apikey_disable(z_id('disabled')), apikey_revoke(z_id('revoked'));
UPDATE apikey_key SET expires_at = now() WHERE key_id = z_id('expired');
SET apikey.client_address = '10.1.2.3';

-- who may act at all: every call, on a key that is less than all of them
CREATE TABLE z_call (n serial, call text);
INSERT INTO z_call (call) VALUES ($$apikey_create('z_acme', 'new')$$), ($$apikey_import('z_acme', 'new', 'sha256', repeat('1', 64))$$),
	($$apikey_grant(ID, 'z_web', 'production', 'read')$$), ($$apikey_ungrant(ID, 'z_web', 'production')$$),
	($$apikey_set_organization_level(ID, 'read')$$), ($$apikey_set_organization_level(ID, NULL)$$),
	($$apikey_update(ID)$$), ($$apikey_update(ID, label => 'new', metadata => '{"a": 1}')$$),
	($$apikey_rotate(ID)$$), ($$apikey_rotate(ID, '1 h')$$), ($$apikey_cancel_rotation(ID)$$), ($$apikey_finish_rotation(ID)$$),
	($$apikey_disable(ID)$$), ($$apikey_enable(ID)$$), ($$apikey_revoke(ID)$$), ($$apikey_delete(ID)$$);
SELECT call, z_try(NULL, replace(call, 'ID', $$z_id('weak')$$)) AS the_application FROM z_call ORDER BY n;
SELECT name, z_try(name, replace(call, 'ID', $$z_id('weak')$$)) AS result, count(*) AS calls
FROM z_key, z_call GROUP BY 1, 2 ORDER BY 1, 2;
-- what is not a key is not the application
SELECT what, string_agg(DISTINCT z_try(k, replace(call, 'ID', $$z_id('weak')$$)), ', ') AS result FROM z_call, (VALUES
	('garbage', 'garbage'), ('a space', ' '), ('spaces around', ' ' || z_text('boss') || ' '), ('a newline', E'\n'),
	('masked', (SELECT key FROM apikey_keys WHERE key_id = z_id('boss'))), ('its id', z_id('boss')::text), ('upper case', upper(z_text('boss'))),
	('two', z_text('boss') || ',' || z_text('lead')), ('cut off', left(z_text('boss'), -1)), ('no key', 'NULL'), ('quotes', ''''''),
	('another secret', token('apk', z_id('boss'), substr(z_text('lead'), 27, 43)))) t (what, k) GROUP BY 1 ORDER BY 1;
-- 28000 tells no reason, and nothing of who may act depends on the key that is acted on
SELECT name, string_agg(DISTINCT z_try(name, replace(call, 'ID', x)), ', ') AS result
FROM z_key, z_call, unnest(array[$$z_id('boss')$$, $$z_id('other')$$, 'gen_random_uuid()']) x
WHERE name IN ('disabled', 'revoked', 'expired', 'elsewhere') AND call NOT LIKE '%ungrant%' GROUP BY 1 ORDER BY 1;

-- keys of another organization, and none: both do not exist
SELECT x AS key_id, regexp_replace(z_try('boss', replace(call, 'ID', x)), '[0-9a-f-]{36}', '<none>') AS result, count(*)
FROM z_call, unnest(array[$$z_id('other')$$, 'gen_random_uuid()']) x WHERE call LIKE '%ID%' GROUP BY 1, 2 ORDER BY 1, 2;
CREATE DOMAIN z_domain AS text;
SELECT organization, z_try('boss', format('apikey_create(%s, $$new$$)', organization)) AS create,
	z_try('boss', format('apikey_import(%s, $$new$$, $$sha256$$, repeat($$1$$, 64))', organization)) AS import
FROM unnest(array['$$z_acme$$', '$$z_other$$', '$$Z_ACME$$', '$$ z_acme$$', '$$z_acme $$', '$$z_acme$$::name', '$$z_acme$$::char(8)', '$$z_other$$::name',
	'$$z_other$$::z_domain', 'NULL', 'NULL::text', '$$$$', '$$*$$']) organization;

-- what is more than the acting key is not touched, whatever is to be done with it
SELECT a.name AS acting, t.name AS target, string_agg(DISTINCT z_try(a.name, replace(call, 'ID', format('z_id(%L)', t.name))), E'\n') AS result
FROM z_key a, z_key t, z_call WHERE a.name IN ('boss', 'lead', 'singles', 'halves', 'empty', 'timed', 'netted') AND t.name NOT IN ('other', 'revoked', 'weak')
	AND call LIKE '%ID%' AND call NOT LIKE '%grant%' GROUP BY 1, 2 ORDER BY 1, 2;
-- an ended key can be taken away from, and deleted, by who holds as much
SELECT call, z_try('boss', replace(call, 'ID', $$z_id('revoked')$$)) AS boss, z_try('lead', replace(call, 'ID', $$z_id('revoked')$$)) AS lead
FROM z_call WHERE call LIKE '%ID%' ORDER BY n;

-- the highest level that each may give, where; the same by apikey_create, apikey_import and apikey_grant, and to itself
SELECT a.name, p.project, p.environment, max(l.level) FILTER (WHERE g.by_create = 'done') AS highest, count(*) FILTER (WHERE g.by_create <> g.by_import OR
	g.by_create <> g.by_grant OR g.by_create <> g.to_self) AS differ
FROM z_key a, (VALUES (1, 'z_web', 'production'), (2, 'z_web', 'development'), (3, 'z_web', '*'), (4, 'z_shop', 'production'), (5, 'z_shop', 'development'),
	(6, 'z_shop', '*'), (7, '*', 'production'), (8, '*', 'development'), (9, '*', '*')) p (n, project, environment),
	unnest(enum_range(NULL::apikey_level)) l (level),
	LATERAL (SELECT jsonb_build_array(jsonb_build_object('project', p.project, 'environment', p.environment, 'level', l.level)) AS list) x,
	LATERAL (SELECT z_try(a.name, format('apikey_create(''z_acme'', ''new'', %L)', list)) AS by_create,
		z_try(a.name, format('apikey_import(''z_acme'', ''new'', ''sha256'', repeat(''1'', 64), NULL, %L)', list)) AS by_import,
		z_try(a.name, format('apikey_grant(z_id(''nothing''), %L, %L, %L)', p.project, p.environment, l.level)) AS by_grant,
		z_try(a.name, format('apikey_grant(z_id(%L), %L, %L, %L)', a.name, p.project, p.environment, l.level)) AS to_self) g
WHERE a.name IN ('boss', 'lead', 'singles', 'halves', 'empty') GROUP BY a.name, p.n, p.project, p.environment ORDER BY a.name, p.n;
-- and never what is not registered for the organization
SELECT z_try('boss', format('apikey_grant(z_id(''weak''), %s, %s, ''read'')', p, e)) AS result, p AS project, e AS environment
FROM (VALUES ('$$z_mars$$', '$$production$$'), ('$$z_none$$', '$$*$$'), ('$$Z_WEB$$', '$$production$$'), ('$$z_web $$', '$$production$$'),
	('$$z_web$$::name', '$$production$$::name'), ('$$z_web$$::char(8)', '$$production$$::char(12)'),
	('$$**$$', '$$*$$'), ('NULL::text', '$$*$$'), ('$$*$$', 'NULL::text'), ('$$$$', '$$*$$'), ('$$*$$', '$$staging$$')) t (p, e);
SELECT z_try('lead', format('apikey_grant(z_id(''weak''), %s, %s, ''manage'')', p, e)) AS result, p AS project, e AS environment
FROM (VALUES ('$$z_web$$::name', '$$production$$::name'), ('$$z_web$$::varchar', '$$production$$::varchar')) t (p, e);
-- one grant too much, and none is given
SELECT z_try('lead', format('apikey_create(''z_acme'', ''new'', %L)', '[{"project": "z_web", "environment": "*", "level": "read"},
	{"project": "z_web", "environment": "production", "level": "write"}, {"project": "z_shop", "environment": "development", "level": "read"}]'));

-- organization level
SELECT level, z_try('boss', format('apikey_create(''z_acme'', ''new'', ''[]'', %L)', level)) AS create,
	z_try('boss', format('apikey_set_organization_level(z_id(''weak''), %L)', level)) AS set
FROM unnest(array['read', 'write', 'manage', NULL]) level;

-- expiry: never later than the own one, whatever way it is said
SELECT t AS expires_at, z_try('timed', format('apikey_create(''z_acme'', ''new'', expires_at => %L)', t)) AS create,
	z_try('timed', format('apikey_import(''z_acme'', ''new'', ''sha256'', repeat(''1'', 64), expires_at => %L)', t)) AS import,
	z_try('timed', format('apikey_update(z_id(''timed''), expires_at => %L)', t)) AS self
FROM unnest(array['2089-12-31', '2090-01-01', '2090-01-01 00:00:00.000001', 'infinity', '-infinity', '2001-01-01', NULL]) t;
SELECT z_try('timed', $$apikey_update(z_id('weak'), 'x')$$) AS lives_longer;
-- by apikey_update, too, grants and level are within what the key holds, and what it takes away are
SELECT acting, target, change, z_try(acting, format('apikey_update(z_id(%L), %s)', target, change)) FROM unnest('{lead,reader,empty,boss}'::text[]) acting, unnest('{weak,boss,nothing}'::text[]) target,
	unnest(ARRAY['grants => ''[]''', 'grants => ''[{"project": "z_web", "environment": "*", "level": "write"}]''', 'grants => ''[{"project": "z_web", "environment": "production", "level": "manage"}]''',
		'grants => ''[{"project": "z_mars", "environment": "*", "level": "read"}]''', 'organization_level => ''write''', 'remove => ''{organization_level}''']) change ORDER BY acting, target, change COLLATE "C";
SELECT z_try('lead', $$apikey_update(z_id('lead'), grants => '[]', remove => '{organization_level}')$$) AS itself;
SELECT z_make('timed', 'timed 1', '[]'), z_make('timed', 'timed 2', '[]', NULL, '2080-01-01'), z_make('timed', 'timed 3', :'all', 'write');
SELECT label, expires_at, organization_level FROM apikey_keys WHERE label LIKE 'timed _' ORDER BY 1;
SELECT t AS expires_at, z_try('timed', format('apikey_update(z_id(''timed 2''), expires_at => %L)', t)) AS update
FROM unnest(array['2090-01-01', '2090-01-02', NULL]) t;
SELECT z_try('timed 2', $$apikey_create('z_acme', 'x')$$), z_try('timed 3', $$apikey_update(z_id('timed 1'), 'x')$$);
SELECT z_try('timed', $$apikey_rotate(z_id('timed 2'), '100 years')$$);

-- networks: each within one of the own
SELECT w AS allowed_networks, z_try('netted', format('apikey_create(''z_acme'', ''new'', allowed_networks => %L)', w)) AS create,
	z_try('netted', format('apikey_import(''z_acme'', ''new'', ''sha256'', repeat(''1'', 64), allowed_networks => %L)', w)) AS import,
	z_try('netted', format('apikey_update(z_id(''netted''), allowed_networks => %L)', w)) AS self
FROM unnest(array['{10.0.0.0/8}', '{10.1.2.3/32,2001:db8:1::/48}', '{10.0.0.0/7}', '{10.0.0.0/8,11.0.0.0/8}', '{0.0.0.0/0}', '{::/0}', '{2001:db8::/31}',
	'{::ffff:10.0.0.0/104}', '{{10.0.0.0/8},{11.0.0.0/8}}', '{{10.0.0.0/9},{10.128.0.0/9}}', '{}', '{NULL}', '{10.0.0.0/8,NULL}', NULL]) w;
SELECT z_try('netted', $$apikey_update(z_id('weak'), 'x')$$) AS is_wider;
SELECT z_make('netted', 'netted 1', '[]'), z_make('netted', 'netted 2', '[]', NULL, NULL, '{10.1.0.0/16}'), z_make('boss', 'boss 1', '[]');
SELECT label, allowed_networks FROM apikey_keys WHERE label ~ '^(netted|boss) .$' ORDER BY 1;
SELECT z_try('netted', $$apikey_update(z_id('netted 2'), allowed_networks => '{10.0.0.0/8}')$$), z_try('netted', $$apikey_update(z_id('netted 2'), remove => '{allowed_networks}')$$);
-- the key acts from within its networks only
BEGIN;
SET LOCAL apikey.client_address = '11.1.2.3';
SELECT z_try('netted', $$apikey_create('z_acme', 'x')$$), z_try('boss', $$apikey_create('z_acme', 'x')$$);
COMMIT;

-- who created it: the key, whoever else is named; nobody can say otherwise later
SELECT z_make('boss', 'child', '[]', created_by => 'ada'), z_make('boss', 'heir', :'all', 'write');
SELECT label, z_named(created_by) AS created_by FROM apikey_keys WHERE label IN ('child', 'heir') ORDER BY 1;
SELECT detail ->> 'created_by' AS named, z_named(acting_key::text) AS acting FROM apikey_events WHERE key_id = z_id('child');
SELECT what, z_try('boss', format('apikey_update(z_id(''child''), %s)', what)) FROM unnest(array['created_by => ''ada''', 'created_by => NULL', 'created_by => ''''', 'remove => ''{created_by}''']) what;
SELECT z_make('heir', 'grandchild', '[]');
SELECT z_named(created_by) AS created_by FROM apikey_keys WHERE label = 'grandchild';

-- what it takes away from itself is gone, at once and for what it tries next
CREATE FUNCTION z_then(acting text, VARIADIC calls text[]) RETURNS TABLE (call text, result text) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		FOREACH call IN ARRAY calls LOOP
			PERFORM set_config('apikey.key', z_text(acting), true);
			result = z_named(split_part(attempt('SELECT ' || call), ' | ', 1));
			PERFORM set_config('apikey.key', '', true);
			RETURN NEXT;
		END LOOP;
		RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
		NULL;
	END;
END $$;
SELECT * FROM z_then('lead', $$apikey_ungrant(z_id('lead'), 'z_shop', 'production')$$, $$apikey_grant(z_id('lead'), 'z_shop', 'production', 'manage')$$,
	$$apikey_grant(z_id('lead'), 'z_web', '*', 'read')$$, $$apikey_grant(z_id('lead'), 'z_web', '*', 'write')$$, $$apikey_grant(z_id('weak'), 'z_web', 'production', 'write')$$);
SELECT * FROM z_then('lead', $$apikey_set_organization_level(z_id('lead'), 'read')$$, $$apikey_set_organization_level(z_id('lead'), 'write')$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_disable(z_id('boss'))$$, $$apikey_enable(z_id('boss'))$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_revoke(z_id('boss'))$$, $$apikey_enable(z_id('boss'))$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_delete(z_id('boss'))$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_update(z_id('boss'), expires_at => '2050-01-01')$$, $$apikey_update(z_id('boss'), expires_at => '2050-01-02')$$,
	$$apikey_update(z_id('boss'), remove => '{expires_at}')$$, $$apikey_update(z_id('weak'), 'x')$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_update(z_id('boss'), allowed_networks => '{10.1.0.0/16}')$$, $$apikey_update(z_id('boss'), remove => '{allowed_networks}')$$,
	$$apikey_create('z_acme', 'x')$$, $$apikey_update(z_id('boss'), allowed_networks => '{192.0.2.0/24}')$$, $$apikey_update(z_id('boss'), allowed_networks => '{10.1.2.3}')$$);
SELECT * FROM z_then('boss', $$apikey_rotate(z_id('boss'))$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_rotate(z_id('boss'), '1 h')$$, $$apikey_create('z_acme', 'x')$$, $$apikey_cancel_rotation(z_id('boss'))$$, $$apikey_create('z_acme', 'x')$$);
SELECT * FROM z_then('boss', $$apikey_revoke_self(z_text('boss'))$$, $$apikey_create('z_acme', 'x')$$);
-- another one takes it away, or the application gives it: the next call goes by that
SELECT * FROM z_then('lead', $$as_application('apikey_grant(z_id(''lead''), ''*'', ''*'', ''manage'')')$$, $$apikey_grant(z_id('weak'), '*', '*', 'manage')$$);
BEGIN;
SELECT count(*) FROM apikey_login(z_text('lead'));
SAVEPOINT s;
SELECT as_application('apikey_grant(z_id(''lead''), ''*'', ''*'', ''manage'')');
SELECT attempt($$SELECT apikey_grant(z_id('weak'), '*', '*', 'manage')$$);
ROLLBACK TO SAVEPOINT s;
SELECT attempt($$SELECT apikey_grant(z_id('weak'), '*', '*', 'manage')$$);
SELECT as_application('apikey_disable(z_id(''lead''))');
SAVEPOINT s;
SELECT attempt($$SELECT apikey_enable(z_id('lead'))$$);
SELECT as_application('apikey_enable(z_id(''lead''))');
SELECT attempt($$SELECT apikey_grant(z_id('weak'), 'z_web', 'production', 'write')$$);
ROLLBACK TO SAVEPOINT s;
SELECT attempt($$SELECT apikey_grant(z_id('weak'), 'z_web', 'production', 'write')$$);
ROLLBACK;
-- within one statement, too
BEGIN;
SELECT count(*) FROM apikey_login(z_text('boss'));
SELECT attempt($$SELECT apikey_revoke(z_id('boss')), count(key) FROM apikey_create('z_acme', 'x')$$) AS made_before,
	attempt($$SELECT apikey_revoke(k), apikey_disable(z_id('weak')) FROM (SELECT z_id('boss') AS k OFFSET 0) x$$) AS revoked_before;
ROLLBACK;

-- who is logged in: the last one, and after a savepoint the one before
BEGIN;
SELECT label FROM apikey_login(z_text('boss'));
SELECT label FROM apikey_login(z_text('empty'));
SELECT attempt($$SELECT apikey_grant(z_id('weak'), 'z_web', 'production', 'manage')$$);
SAVEPOINT s;
SELECT label FROM apikey_login(z_text('boss'));
SELECT attempt($$SELECT apikey_grant(z_id('weak'), 'z_web', 'production', 'manage')$$);
ROLLBACK TO SAVEPOINT s;
SELECT attempt($$SELECT apikey_grant(z_id('weak'), 'z_web', 'production', 'write')$$);
SELECT attempt($$SELECT apikey_login('rubbish')$$);
SELECT attempt($$SELECT apikey_grant(z_id('weak'), 'z_web', 'production', 'write')$$) AS still_the_one_before;
ROLLBACK;
SET apikey.key = 'rubbish';
SELECT attempt($$SELECT apikey_create('z_acme', 'x')$$), attempt($$SELECT apikey_revoke(gen_random_uuid())$$);
BEGIN;
SELECT label FROM apikey_login(z_text('boss'));
SELECT attempt($$SELECT apikey_create('z_acme', 'x')$$);
ROLLBACK;
SELECT attempt($$SELECT apikey_create('z_acme', 'x')$$);
-- a request without a key is the application
BEGIN;
SELECT set_config('request.headers', '{"x-api-key": "rubbish"}', true);
SELECT attempt('SELECT apikey_pre_request()'), attempt($$SELECT apikey_create('z_acme', 'x')$$);
SELECT set_config('request.headers', '{"x-api-key": ""}', true);
SELECT attempt('SELECT apikey_pre_request()'), attempt($$SELECT apikey_create('z_acme', 'x')$$);
ROLLBACK;
RESET apikey.key;
-- a function of the application's that runs without the key is the application
SELECT z_try('empty', $$as_application('apikey_grant(z_id(''weak''), ''*'', ''*'', ''manage'')')$$);

-- whoever holds a key may end it: any of its secrets, in any state, whoever else is logged in, with no privilege
INSERT INTO z_key SELECT 'old', key_id, key FROM apikey_create('z_acme', 'old') c;
INSERT INTO z_key SELECT 'old rotated', NULL, key FROM apikey_rotate(z_id('old'), '1 h');
INSERT INTO z_key VALUES ('import', apikey_import('z_acme', 'import', 'sha256', encode(sha256('z_import'), 'hex')), 'z_import');
CREATE FUNCTION z_end(key text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL ROLE regress_apikey_bearer;
	PERFORM apikey_revoke_self(key);
	RESET ROLE;
	RETURN (SELECT string_agg(label, ' ') FROM apikey_keys WHERE revoked_at = now());
END $$;
CREATE ROLE regress_apikey_bearer;
CREATE FUNCTION z_ended(key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	result = z_end(key);
	RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN result;
WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM);
END $$;
SELECT name, z_ended(key) FROM z_key WHERE name IN ('weak', 'disabled', 'expired', 'elsewhere', 'revoked', 'other', 'old', 'old rotated', 'import', 'boss') ORDER BY 1;
SELECT what, z_ended(k) FROM (VALUES ('masked', (SELECT key FROM apikey_keys WHERE key_id = z_id('boss'))), ('null', NULL), ('empty', ''), ('its id', z_id('boss')::text),
	('another secret', token('apk', z_id('boss'), substr(z_text('lead'), 27, 43))), ('a space', z_text('boss') || ' '), ('long', repeat('x', 100000))) t (what, k);
SELECT z_try('empty', format('z_end(%L)', z_text('boss'))) AS somebody_else_is_logged_in, z_try('rubbish', format('z_end(%L)', z_text('boss'))) AS rubbish_is;
BEGIN;
SELECT apikey_delete(z_id('old'));
SELECT z_ended(z_text('old'));
ROLLBACK;
BEGIN;
SELECT z_end(z_text('old'));
SELECT attempt($$SELECT apikey_rotate(z_id('old'))$$) LIKE '55000%' AS over;
ROLLBACK;

-- nothing of all this was kept but what was meant to be
-- the registry is the application's: no key registers, removes or hears of any name, be it its own, another's or nobody's
SET apikey.client_address = '10.1.2.3';
CREATE TABLE z_project (id text PRIMARY KEY, organization text);
CREATE TABLE z_attached (id text PRIMARY KEY, organization text);
SELECT apikey_attach_projects('z_attached', 'id', 'organization');
CREATE TABLE z_registry AS SELECT call, n FROM unnest(array['apikey_add_project(''z_acme'', PROJECT)', 'apikey_add_project(''z_acme'', PROJECT, ''{staging}'')',
	'apikey_add_project(''z_other'', PROJECT)', 'apikey_add_project(''z_acme''::varchar, PROJECT::varchar)', 'apikey_add_environment(PROJECT, ''x'')', 'apikey_rename_project(PROJECT, ''x'')',
	'apikey_remove_project(PROJECT)', 'apikey_remove_project(PROJECT::varchar)', 'apikey_remove_environment(PROJECT, ''production'')',
	'apikey_remove_environment(PROJECT::varchar, ''production''::varchar)', 'apikey_attach_projects(''z_project'', ''id'', ''organization'')',
	'apikey_detach_projects(''z_attached'')', 'apikey_attach_projects(NULL, NULL, NULL)', 'apikey_detach_projects(NULL)', 'apikey_add_project(NULL, NULL)', 'apikey_add_project(''*'', ''*'')', 'apikey_remove_project(NULL::text)',
	'apikey_remove_environment(PROJECT, ''*'')']) WITH ORDINALITY AS t (call, n);
SELECT call, project, z_try(NULL, replace(call, 'PROJECT', project)) AS the_application FROM z_registry, unnest(array['''z_web''', '''z_mars''', '''z_none''']) project
WHERE call LIKE '%PROJECT%' OR project = '''z_web''' ORDER BY n, 2;
SELECT acting, z_try(acting, replace(call, 'PROJECT', project)) AS result, count(*) FROM z_registry, unnest(array['''z_web''', '''z_mars''', '''z_none''']) project,
	unnest('{boss,lead,singles,empty,plain,reader,weak,other,disabled,revoked,expired,elsewhere,rubbish," "}'::text[]) WITH ORDINALITY AS a (acting, i)
GROUP BY 1, 2, i ORDER BY i;
-- what a key is told about a project that it may not give: the same of another's and of none
SELECT acting, project, environment, replace(z_try(acting, format('apikey_grant(z_id(''weak''), %L, %L, ''read'')', project, environment)), project, '...') AS by_grant,
	replace(z_try(acting, format('apikey_create(''z_acme'', ''new'', %L)', format('[{"project": "%s", "environment": "%s", "level": "read"}]', project, environment))), project, '...') AS by_create,
	replace(z_try(acting, format('apikey_ungrant(z_id(''weak''), %L, %L)', project, environment)), project, '...') AS by_ungrant
FROM unnest('{boss,lead}'::text[]) acting, unnest('{z_mars,z_none}'::text[]) project, unnest('{production,*,none}'::text[]) environment ORDER BY 1, 3, 2;
DROP TABLE z_registry, z_attached;
-- but the application's own table is kept in step, whoever is logged in
SELECT apikey_attach_projects('z_project', 'id', 'organization');
BEGIN;
SELECT count(*) FROM apikey_login(z_text('weak'));
INSERT INTO z_project VALUES ('z_mine', 'z_acme');
SELECT action, organization, detail, acting_key = z_id('weak') AS weak FROM apikey_event WHERE at >= now() ORDER BY at;
DELETE FROM z_project;
SELECT count(*) FROM apikey_project WHERE project = 'z_mine';
-- who may put rows there is told of an id that is taken
SELECT attempt($$INSERT INTO z_project VALUES ('z_mars', 'z_acme')$$);
ROLLBACK;
DROP TABLE z_project;
RESET apikey.client_address;
SELECT string_agg(label, ', ' ORDER BY label COLLATE "C") FROM apikey_keys WHERE organization LIKE 'z\_%';
SELECT count(*) FROM apikey_grants WHERE key_id = z_id('weak');
DROP TABLE z_key, z_call;
DROP FUNCTION z_id, z_text, z_named, z_try, z_make, z_then, z_end, z_ended;
DROP DOMAIN z_domain;
DROP ROLE regress_apikey_bearer;
DELETE FROM apikey_key WHERE organization LIKE 'z\_%';
DELETE FROM apikey_project WHERE organization LIKE 'z\_%';
