\a \t
-- Looking at keys: who may do this, what a key opens.
SELECT apikey_add_project('l_acme', 'l_web', '{production,development}'), apikey_add_project('l_acme', 'l_shop', '{production,staging}'),
	apikey_add_project('l_acme', '7001'), apikey_add_project('l_acme', '11111111-2222-4333-8444-555555555555', '{production}'),
	apikey_add_project('l_globex', 'l_mars', '{production}'), apikey_add_project('l_globex', 'l_venus', '{development}');

-- every state with every kind of grants
CREATE TABLE l_key (state text, grants text, key_id uuid, key text);
INSERT INTO l_key SELECT state, organization || ' ' || grants, k.*
FROM (VALUES ('active'), ('expires'), ('was disabled'), ('disabled'), ('expired'), ('revoked'), ('deleted')) AS s (state),
	(VALUES ('l_acme', ''), ('l_acme', 'l_web/production/read'), ('l_acme', 'l_web/production/write'), ('l_acme', 'l_web/production/manage'),
	('l_acme', 'l_web/*/write'), ('l_acme', '*/production/write'), ('l_acme', '*/*/read'), ('l_acme', '*/*/manage'),
	('l_acme', 'l_web/production/read l_web/*/manage */production/write'), ('l_acme', 'l_web/production/manage l_web/*/write */*/read'),
	('l_acme', 'l_web/development/read l_shop/staging/manage 7001/production/write'), ('l_acme', '*/staging/manage 7001/*/read'),
	('l_acme', '11111111-2222-4333-8444-555555555555/production/write'),
	('l_globex', '*/*/manage'), ('l_globex', 'l_mars/production/read'), ('l_globex', '*/production/write')) AS g (organization, grants),
	LATERAL apikey_create(organization, state || ' ' || grants || '.',
		coalesce((SELECT jsonb_agg(jsonb_build_object('project', p[1], 'environment', p[2], 'level', p[3]))
			FROM regexp_split_to_table(grants, ' ') r, string_to_array(r, '/') p WHERE r <> ''), '[]'),
		organization_level => CASE WHEN grants = '' THEN 'write' END::apikey_level,
		expires_at => CASE state WHEN 'expires' THEN now() + interval '1 day' END) k;
UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE key_id IN (SELECT key_id FROM l_key WHERE state = 'expired');
SELECT count(apikey_disable(key_id)) AS disabled FROM l_key WHERE state ~ 'disabled';
SELECT count(apikey_enable(key_id)) AS enabled FROM l_key WHERE state = 'was disabled';
SELECT count(apikey_revoke(key_id)) AS revoked FROM l_key WHERE state = 'revoked';
SELECT count(apikey_delete(key_id)) AS deleted FROM l_key WHERE state = 'deleted';

-- what was written down of use: in apikey_keys, as long as the key is there
INSERT INTO apikey_use (key_id, uses, refusals, last_used_at, last_used_from)
SELECT key_id, 1, 0, '2020-01-01 UTC', CASE state WHEN 'active' THEN '2001:db8::1'::inet WHEN 'revoked' THEN '198.51.100.1' END
FROM l_key WHERE state IN ('active', 'revoked', 'disabled', 'deleted') AND grants = 'l_acme l_web/production/read';
SELECT l.state, k.last_used_at = '2020-01-01 UTC' AS at, k.last_used_from
FROM apikey_keys k JOIN l_key l USING (key_id) WHERE k.last_used_at IS NOT NULL ORDER BY l.state;
DELETE FROM apikey_use WHERE key_id IN (SELECT key_id FROM l_key);

-- apikey_who_can has a key if and only if apikey_authorize admits it
CREATE TABLE l_question AS SELECT * FROM
	unnest('{l_web,l_shop,7001,11111111-2222-4333-8444-555555555555,l_mars,l_venus,l_none,L_WEB,*,"",NULL}'::text[]) project,
	unnest('{production,development,staging,Production,*,"",NULL}'::text[]) environment,
	unnest('{read,write,manage,Get,POST,delete,select,INSERT,NULL}'::text[]) verb;
CREATE TABLE l_who AS SELECT q.project, q.environment, q.verb, w.* FROM l_question q, apikey_who_can(q.project, q.environment, q.verb) w;
SELECT count(*) AS answers, count(*) FILTER (WHERE yes) AS yes, count(*) FILTER (WHERE yes <> (w.key_id IS NOT NULL)) AS different
FROM l_question q CROSS JOIN l_key k CROSS JOIN LATERAL apikey_authorize(k.key, q.project, q.environment, q.verb) AS yes
	LEFT JOIN l_who w ON w.key_id = k.key_id AND (w.project, w.environment, w.verb) = (q.project, q.environment, q.verb);
SELECT state, count(*) FROM l_key JOIN l_who USING (key_id) GROUP BY 1 ORDER BY 1;
-- each once, and no other
SELECT count(*) AS rows, count(DISTINCT (project, environment, verb, key_id)) - count(*) AS twice, count(*) FILTER (WHERE k.key_id IS NULL) AS others
FROM l_who LEFT JOIN l_key k USING (key_id);
-- the level is the highest, the rest is that of the key
SELECT count(*) AS rows, count(*) FILTER (WHERE NOT apikey_authorize(k.key, project, environment, w.level::text)
		OR apikey_authorize(k.key, project, environment, CASE w.level WHEN 'read' THEN 'write' WHEN 'write' THEN 'manage' END)) AS wrong_level,
	count(*) FILTER (WHERE (w.organization, w.label, w.key) IS DISTINCT FROM (v.organization, v.label, v.key)) AS wrong_key
FROM l_who w JOIN l_key k USING (key_id) JOIN apikey_keys v USING (key_id);
SELECT label, level, key ~ '^apk_\w{22}…$' AS masked FROM apikey_who_can('l_web', 'production', 'manage') ORDER BY label COLLATE "C";

-- identifiers of other types, and parameters without one
SELECT count(*) AS number, (SELECT count(*) FROM apikey_who_can('11111111-2222-4333-8444-555555555555', 'production'::varchar, 'read')) AS uuid
FROM apikey_who_can('7001', 'production', 'read');
PREPARE l_ask AS SELECT count(*) FROM apikey_who_can($1, $2, $3);
EXECUTE l_ask ('l_web', 'production', 'read');
EXECUTE l_ask ('l_web', NULL, 'read');
DEALLOCATE l_ask;
SELECT apikey_who_can(NULL, NULL, 'read');
SELECT count(*) FROM apikey_who_can(repeat('x', 1000000), 'production', 'read');

-- a verb that does not exist is an error, whatever the rest
SELECT call, attempt('SELECT ' || call) FROM (VALUES ($$apikey_who_can('l_web', 'production', 'look')$$), ($$apikey_who_can('l_web', 'production', '')$$),
	($$apikey_who_can(NULL::text, NULL, 'look')$$), ($$apikey_who_can('l_none', 'production', repeat('x', 1000000))$$)) AS t (call);

-- networks do not count: the key may, from there
SELECT key AS away, key_id AS away_id FROM apikey_create('l_acme', 'away', '[{"project": "l_shop", "environment": "*", "level": "read"}]',
	allowed_networks => '{192.0.2.0/24}') \gset
SELECT apikey_authorize(:'away', 'l_shop', 'staging', 'read'), count(*) FROM apikey_who_can('l_shop', 'staging', 'read') WHERE key_id = :'away_id';

-- what the own transaction has done, and undone
BEGIN;
CREATE FUNCTION pg_temp.l_staging() RETURNS text LANGUAGE sql AS
	$$ SELECT concat_ws(' ', count(*), max(label) FILTER (WHERE label !~ '/')) FROM apikey_who_can('l_shop', 'staging', 'manage') $$;
SELECT pg_temp.l_staging();
SAVEPOINT s;
SELECT apikey_grant(:'away_id', '*', 'staging', 'manage');
SELECT pg_temp.l_staging();
SELECT count(apikey_disable(key_id)) FROM l_key JOIN apikey_who_can('l_shop', 'staging', 'manage') w USING (key_id);
SELECT pg_temp.l_staging();
ROLLBACK TO s;
SELECT pg_temp.l_staging();
SELECT apikey_remove_environment('l_shop', 'staging');
SELECT pg_temp.l_staging();
SELECT apikey_add_project('l_acme', 'l_shop', '{staging}');
SELECT pg_temp.l_staging();
ROLLBACK;
-- '*' covers what comes later, of its organization only
SELECT apikey_add_project('l_globex', 'l_later', '{staging}');
SELECT label, level FROM apikey_who_can('l_later', 'staging', 'read') ORDER BY label COLLATE "C";

-- apikey_reach: two tables under apikey_protect, and one that is not enabled
CREATE ROLE regress_apikey_look;
CREATE SCHEMA "l Schema";
CREATE TABLE l_doc (project text, environment text, body text);
CREATE TABLE "l Schema"."l Number" (project int, environment varchar(20), body text);
CREATE TABLE l_off (project text, environment text);
CREATE INDEX ON l_doc (project);
CREATE INDEX ON "l Schema"."l Number" (project);
CREATE INDEX ON l_off (project);
SET client_min_messages = warning;
SELECT apikey_protect('l_doc', 'project', 'environment'), apikey_protect('"l Schema"."l Number"', 'project', 'environment'),
	apikey_protect('l_off', 'project', 'environment');
RESET client_min_messages;
ALTER TABLE l_off DISABLE ROW LEVEL SECURITY;
SELECT r.* FROM l_key, apikey_reach(key_id) r WHERE state = 'active' AND grants = 'l_acme l_web/production/read l_web/*/manage */production/write';
-- whatever the state
SELECT state, count(r.*) FROM l_key LEFT JOIN LATERAL apikey_reach(key_id) r ON true WHERE state <> 'deleted' GROUP BY 1 ORDER BY 1;
-- one that has no grants reaches nothing; one that is not there is an error
SELECT r.* FROM l_key, apikey_reach(key_id) r WHERE grants = 'l_acme ' AND state = 'active';
SELECT attempt($$SELECT apikey_reach('00000000-0000-0000-0000-000000000000')$$), attempt('SELECT apikey_reach(NULL)');

-- what it says is what the key can do
GRANT USAGE ON SCHEMA "l Schema" TO regress_apikey_look;
GRANT ALL ON l_doc, "l Schema"."l Number" TO regress_apikey_look;
INSERT INTO l_doc SELECT DISTINCT project, environment, 'old' FROM l_question;
INSERT INTO "l Schema"."l Number" SELECT project, environment, 'old' FROM unnest('{7001,7002}'::int[]) project, unnest('{production,development,staging}'::text[]) environment;
CREATE FUNCTION l_count(command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	count bigint;
BEGIN
	EXECUTE command;
	GET DIAGNOSTICS count = ROW_COUNT;
	RAISE SQLSTATE 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN RETURN count;
	WHEN insufficient_privilege THEN RETURN 0;
END $$;
CREATE FUNCTION l_commands(relation regclass, project text, environment text) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_remove(ARRAY[
		CASE WHEN l_count(format('SELECT FROM %s WHERE %s', relation, place)) > 0 THEN 'SELECT' END,
		CASE WHEN l_count(format('INSERT INTO %s VALUES (%L, %L)', relation, project, environment)) > 0 THEN 'INSERT' END,
		CASE WHEN l_count(format('UPDATE %s SET body = ''new'' WHERE %s', relation, place)) > 0 THEN 'UPDATE' END,
		CASE WHEN l_count(format('DELETE FROM %s WHERE %s', relation, place)) > 0 THEN 'DELETE' END], NULL)
	FROM format('project = %L AND environment = %L', project, environment) place
$$;
CREATE TABLE l_can (state text, key_id uuid, relation regclass, project text, environment text, commands text[]);
GRANT SELECT ON l_key TO regress_apikey_look;
GRANT INSERT ON l_can TO regress_apikey_look;
SET ROLE regress_apikey_look;
DO $$
DECLARE
	k l_key;
BEGIN
	FOR k IN SELECT * FROM l_key WHERE state IN ('active', 'was disabled', 'revoked') LOOP
		PERFORM set_config('apikey.key', k.key, true);
		INSERT INTO l_can SELECT k.state, k.key_id, r, p, e, l_commands(r, p, e)
		FROM (VALUES ('l_doc'::regclass, '{l_web,l_shop,l_mars,l_none}'::text[]), ('"l Schema"."l Number"', '{7001,7002}')) AS t (r, ps),
			unnest(ps) p, unnest('{production,development,staging}'::text[]) e;
	END LOOP;
END $$;
RESET ROLE;
-- within what is registered for its organization; and once revoked, none of that
SELECT c.state, count(*), count(*) FILTER (WHERE c.commands <> '{}') AS any, count(*) FILTER (WHERE c.commands <> coalesce(s.commands, '{}')) AS different
FROM l_can c JOIN apikey_keys k USING (key_id), LATERAL (
	SELECT array_agg(command ORDER BY array_position('{SELECT,INSERT,UPDATE,DELETE}', command)) AS commands FROM (
		SELECT DISTINCT command FROM apikey_reach(c.key_id) r, unnest(r.commands) command
		WHERE r.relation = c.relation AND r.project IN (c.project, '*') AND r.environment IN (c.environment, '*')
		AND EXISTS (SELECT FROM apikey_environment e WHERE (e.organization, e.project, e.environment) = (k.organization, c.project, c.environment))) u) s
GROUP BY 1 ORDER BY 1;
SELECT relation, count(*) FILTER (WHERE commands = '{SELECT}') AS read, count(*) FILTER (WHERE cardinality(commands) = 3) AS write,
	count(*) FILTER (WHERE cardinality(commands) = 4) AS manage FROM l_can GROUP BY 1 ORDER BY 1;

-- a hostile search_path or object finds nothing to do
CREATE FUNCTION apikey_internal.masked(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'hostile' $$;
CREATE FUNCTION "l Schema".max(apikey_level) RETURNS apikey_level LANGUAGE sql AS $$ SELECT 'read'::apikey_level $$;
SET search_path = "l Schema", public, pg_catalog;
CREATE TEMP TABLE apikey_key (key_id uuid);
CREATE TEMP TABLE apikey_grants (key_id uuid);
SELECT count(*) FROM public.apikey_who_can('l_web', 'production', 'manage');
SELECT count(*) FROM public.l_key, public.apikey_reach(key_id) WHERE state = 'active';
RESET search_path;
DROP FUNCTION apikey_internal.masked(text, text);
DROP TABLE pg_temp.apikey_key, pg_temp.apikey_grants;

DROP TABLE l_key, l_question, l_who, l_can, l_doc, l_off, "l Schema"."l Number";
DROP FUNCTION l_count, l_commands, "l Schema".max;
DROP SCHEMA "l Schema";
DROP ROLE regress_apikey_look;
DELETE FROM apikey_key WHERE organization LIKE 'l\_%';
DELETE FROM apikey_project WHERE organization LIKE 'l\_%';
