\a \t
-- apikey_projects and apikey_explain.
SELECT apikey_add_project('p_acme', 'p_b', '{production,staging}'), apikey_add_project('p_acme', 'p_a'),
	apikey_add_project('p_acme', 'p_B'), apikey_add_project('p_acme', 'p_é'), apikey_add_project('p_globex', 'p_mars');
CREATE TABLE p_key (name text, key_id uuid, key text);
INSERT INTO p_key SELECT name, k.* FROM (VALUES
	('none', '[]'),
	('exact', '[{"project": "p_b", "environment": "production", "level": "write"}, {"project": "p_b", "environment": "staging", "level": "read"},
		{"project": "p_a", "environment": "development", "level": "manage"}]'),
	('environments', '[{"project": "p_b", "environment": "*", "level": "read"}, {"project": "p_a", "environment": "*", "level": "write"}]'),
	('all', '[{"project": "*", "environment": "*", "level": "read"}]'),
	('all production', '[{"project": "*", "environment": "production", "level": "read"}, {"project": "p_b", "environment": "staging", "level": "write"}]'))
	AS t (name, grants), LATERAL apikey_create('p_acme', name, grants::jsonb) k;
INSERT INTO p_key SELECT 'disabled', * FROM apikey_create('p_acme', 'd', '[{"project": "*", "environment": "*", "level": "read"}]');
SELECT apikey_disable(key_id) FROM p_key WHERE name = 'disabled';
INSERT INTO p_key VALUES ('bad', NULL, 'bad'), ('null', NULL, NULL);

SELECT name, apikey_projects_of(key, 'read') AS read, apikey_projects_of(key, 'write') AS write, apikey_projects_of(key, 'manage') AS manage
FROM p_key;
SELECT name, environment, apikey_projects_of(key, 'read', environment) AS read, apikey_projects_of(key, 'write', environment) AS write
FROM p_key, unnest('{production,staging,development,none,*,NULL}'::text[]) environment
WHERE name IN ('exact', 'environments', 'all', 'all production') ORDER BY 1, 2;
-- a null is never "any", nor "the session's"
BEGIN;
SELECT count(*) FROM p_key, apikey_login(key) WHERE name = 'all';
SELECT apikey_projects('read'), apikey_projects('read', 'staging'), apikey_projects(NULL), apikey_projects('read', NULL::text),
	apikey_projects(NULL, 'staging'), apikey_projects('read', NULL::uuid), apikey_projects_of(NULL, 'read');
CREATE TYPE p_stage AS ENUM ('staging');
SELECT apikey_projects('read', 'staging'::p_stage), apikey_projects('read', 1), apikey_projects_of(key, 'read', 'staging'::p_stage) FROM p_key WHERE name = 'exact';
ROLLBACK;
-- the projects are those where apikey_authorize says yes
SELECT count(*) AS cells, count(*) FILTER (WHERE project = ANY (apikey_projects_of(key, verb, environment))) AS yes,
	count(*) FILTER (WHERE (project = ANY (apikey_projects_of(key, verb, environment))) <> apikey_authorize(key, project, environment, verb)) AS different
FROM p_key, (SELECT project FROM apikey_project) p, unnest('{production,staging,development}'::text[]) environment,
	unnest('{read,write,manage}'::text[]) verb;

-- the session's are those of its key
SELECT count(*) AS lists, count(*) FILTER (WHERE there <> apikey_projects_of(key, verb, environment)
	OR anywhere <> apikey_projects_of(key, verb)) AS different, count(DISTINCT there) AS kinds
FROM (SELECT key, verb, environment, apikey_projects(verb, environment) AS there, apikey_projects(verb) AS anywhere
	FROM (SELECT *, length(set_config('apikey.key', coalesce(key, ''), true)) AS set FROM p_key OFFSET 0) k,
		LATERAL unnest(CASE WHEN set >= 0 THEN '{production,staging,development}'::text[] END) environment,
		LATERAL unnest(CASE WHEN set >= 0 THEN '{read,write,manage}'::text[] END) verb OFFSET 0) t;
-- methods and commands are verbs; any other is an error, whoever asks
SELECT string_agg(concat(verb, '=', apikey_projects_of(key, verb)), ' ' ORDER BY n)
FROM p_key, unnest('{GET,head,Options,SELECT,POST,put,PATCH,insert,UPDATE,delete}'::text[]) WITH ORDINALITY AS v (verb, n) WHERE name = 'exact';
SELECT call, attempt('SELECT ' || call) FROM (VALUES ($$apikey_projects('own')$$), ($$apikey_projects('')$$), ($$apikey_projects('read', 'none')$$),
	($$apikey_projects('own', 'production')$$), ($$apikey_projects_of('bad', 'own')$$), ($$apikey_projects_of(NULL, 'own', 'production')$$)) AS t (call);
SELECT cardinality(apikey_projects_of(key, NULL)) AS verb, cardinality(apikey_projects_of(key, 'read', NULL::text)) AS environment,
	cardinality(apikey_projects_of(NULL, 'read', 'production')) AS key, cardinality(apikey_projects_of(key, NULL, NULL::text)) AS both
FROM p_key WHERE name = 'all';
-- other types of environments
CREATE TYPE p_stage AS ENUM ('development', 'staging', 'unused');
CREATE DOMAIN p_name AS text;
SELECT stage, apikey_projects_of(key, 'read', stage) AS enum, apikey_projects_of(key, 'read', stage::text::varchar(20)) AS "varchar",
	apikey_projects_of(key, 'read', stage::text::name) AS name, apikey_projects_of(key, 'read', stage::text::p_name) AS domain
FROM p_key, unnest(enum_range(NULL::p_stage)) stage WHERE name = 'all';
-- as the registry changes, so does the list, and keys that die have none
BEGIN;
SELECT apikey_remove_project('p_é'), apikey_remove_environment('p_a', 'development'), apikey_add_project('p_acme', 'p_c', '{staging}'),
	apikey_add_project('p_globex', 'p_é');
SELECT name, apikey_projects_of(key, 'read') AS read, apikey_projects_of(key, 'read', 'staging') AS staging, apikey_projects_of(key, 'write') AS write
FROM p_key WHERE name IN ('exact', 'environments', 'all');
SAVEPOINT s;
SELECT apikey_remove_environment('p_b', 'production'), apikey_remove_environment('p_b', 'staging');
SELECT name, apikey_projects_of(key, 'read') AS without_p_b FROM p_key WHERE name IN ('exact', 'environments', 'all');
ROLLBACK TO s;
UPDATE apikey_key SET expires_at = now() WHERE key_id = (SELECT key_id FROM p_key WHERE name = 'all');
SELECT apikey_revoke(key_id) FROM p_key WHERE name = 'exact';
SELECT apikey_ungrant(key_id, 'p_b', '*') FROM p_key WHERE name = 'environments';
SELECT name, apikey_projects_of(key, 'read') AS read, apikey_projects_of(key, 'read', 'production') AS production
FROM p_key WHERE name IN ('exact', 'environments', 'all');
ROLLBACK;
SELECT name, apikey_projects_of(key, 'read') AS read FROM p_key WHERE name IN ('exact', 'environments', 'all');

-- apikey_explain tells the rule, and decides the same
SELECT name, project, environment, verb, e.* FROM p_key,
	(VALUES ('p_b', 'production', 'write'), ('p_b', 'staging', 'write'), ('p_a', 'production', 'read'), ('p_mars', 'production', 'read'),
		('p_none', 'production', 'read'), ('p_b', 'none', 'read'), (NULL, 'production', 'read'), ('p_b', 'production', NULL)) AS t (project, environment, verb),
	LATERAL apikey_explain(key, project, environment, verb) e
WHERE name IN ('exact', 'disabled', 'bad') ORDER BY 1, 2, 3, 4;
SELECT count(*) AS cells, count(*) FILTER (WHERE allowed) AS allowed,
	count(*) FILTER (WHERE allowed <> apikey_authorize(key, project, environment, verb) OR allowed IS NULL) AS different
FROM p_key, (SELECT project FROM apikey_project UNION VALUES ('none'), (NULL), ('*'), ('')) p,
	unnest('{production,staging,none,NULL,*}'::text[]) environment, unnest('{read,write,manage,NULL}'::text[]) verb,
	LATERAL apikey_explain(key, project, environment, verb);

-- a client by Unix socket is in no network
SELECT key FROM apikey_create('p_acme', 'networks', '[{"project": "p_a", "environment": "*", "level": "read"}]',
	allowed_networks => '{0.0.0.0/0,::/0}') \gset
SELECT inet_client_addr() IS NOT NULL = apikey_authorize(:'key', 'p_a', 'production', 'read') AS right_verdict,
	CASE WHEN inet_client_addr() IS NULL THEN (apikey_explain(:'key', 'p_a', 'production', 'read')).reason ELSE 'address is not in the key''s networks' END AS reason;

DROP TABLE p_key;
DROP TYPE p_stage;
DROP DOMAIN p_name;
DELETE FROM apikey_key WHERE organization LIKE 'p\_%';
DELETE FROM apikey_project WHERE organization LIKE 'p\_%';
