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
SELECT inet_client_addr() IS NULL AS unix_socket,
	inet_client_addr() IS NOT NULL = apikey_authorize(:'key', 'p_a', 'production', 'read') AS right_verdict,
	CASE WHEN inet_client_addr() IS NULL THEN (apikey_explain(:'key', 'p_a', 'production', 'read')).reason ELSE 'address is not in the key''s networks' END AS reason;

DROP TABLE p_key;
DELETE FROM apikey_key WHERE organization LIKE 'p\_%';
DELETE FROM apikey_project WHERE organization LIKE 'p\_%';
