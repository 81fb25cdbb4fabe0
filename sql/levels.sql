\a \t
-- Levels, verbs, and which grants match.
SELECT apikey_add_project('l_acme', 'l_web', '{production,development,staging}'),
	apikey_add_project('l_acme', 'l_shop'), apikey_add_project('l_globex', 'l_mars');

CREATE TABLE l_key (level text, key_id uuid, key text);
INSERT INTO l_key SELECT l, k.* FROM (VALUES ('read'), ('write'), ('manage')) AS t (l),
	LATERAL apikey_create('l_acme', l, jsonb_build_array(jsonb_build_object(
		'project', 'l_web', 'environment', 'production', 'level', l))) k;
INSERT INTO l_key SELECT 'none', * FROM apikey_create('l_acme', 'none');

-- every verb, in any case
SELECT verb, string_agg(level, ' ' ORDER BY level) FILTER (WHERE apikey_authorize(key, 'l_web', 'production', verb)) AS allowed,
	string_agg(level, ' ' ORDER BY level) FILTER (WHERE apikey_authorize(key, 'l_web', 'production', upper(verb))) AS upper,
	string_agg(level, ' ' ORDER BY level) FILTER (WHERE apikey_authorize(key, 'l_web', 'production', initcap(verb))) AS initcap
FROM l_key, unnest('{read,write,manage,get,head,options,post,put,patch,delete,select,insert,update}'::text[])
	WITH ORDINALITY AS v (verb, n)
GROUP BY verb, n ORDER BY n;

-- there is no other, whatever the key
SELECT verb, attempt(format($$SELECT apikey_authorize(%L, 'l_web', 'production', %L)$$, key, verb))
FROM l_key, (VALUES (''), (' read'), ('reads'), ('rea'), ('admin'), ('trace')) AS v (verb)
WHERE level = 'read';
SELECT call, attempt('SELECT ' || call) FROM (VALUES
	($$apikey_authorize(NULL, 'l_web', 'production', 'nonsense')$$),
	($$apikey_authorize('junk', 'l_web', 'production', repeat('x', 1000000))$$),
	($$apikey_authorize('l_web', 'production', 'nonsense')$$),
	($$apikey_authorize_organization('junk', 'l_acme', 'nonsense')$$),
	($$apikey_authorize_organization('l_acme', 'nonsense')$$),
	($$apikey_require('l_web', 'production', 'nonsense')$$),
	($$apikey_explain('junk', 'l_web', 'production', 'nonsense')$$),
	($$apikey_projects('nonsense')$$), ($$apikey_projects('nonsense', 'production')$$),
	($$apikey_projects_of('junk', 'nonsense')$$)) AS t (call);

-- a null, an empty name or the name '*' is a plain no
SELECT apikey_authorize(key, NULL, 'production', 'read') AS project, apikey_authorize(key, 'l_web', NULL, 'read') AS environment,
	apikey_authorize(key, 'l_web', 'production', NULL) AS verb, apikey_authorize(NULL, 'l_web', 'production', 'read') AS key,
	apikey_authorize(key, '', 'production', 'read') AS empty, apikey_authorize(key, 'l_web', '', 'read') AS empty2,
	apikey_authorize(key, '*', 'production', 'read') AS all_projects, apikey_authorize(key, 'l_web', '*', 'read') AS all_environments,
	apikey_authorize(key, NULL::uuid, NULL::int, NULL) AS typed,
	apikey_authorize_organization(key, NULL, 'read') AS organization,
	apikey_authorize_organization(key, 'l_acme', NULL) AS organization_verb
FROM l_key WHERE level = 'manage';
SELECT apikey_grant(key_id, '*', '*', 'manage') FROM l_key WHERE level = 'manage';
SELECT apikey_authorize(key, '*', 'production', 'read'), apikey_authorize(key, 'l_web', '*', 'read'),
	apikey_authorize(key, '*', '*', 'read'), apikey_authorize(key, '', '', 'read')
FROM l_key WHERE level = 'manage';

-- several grants: each environment by its own, the highest that matches
SELECT key, key_id FROM apikey_create('l_acme', 'several', '[
	{"project": "l_web", "environment": "production", "level": "read"},
	{"project": "l_web", "environment": "development", "level": "manage"},
	{"project": "l_web", "environment": "*", "level": "write"},
	{"project": "*", "environment": "production", "level": "write"}]') \gset
CREATE FUNCTION l_matrix(key text) RETURNS TABLE (project text, environment text, level text) LANGUAGE sql AS $$
	SELECT p, e, CASE WHEN apikey_authorize(key, p, e, 'manage') THEN 'manage'
		WHEN apikey_authorize(key, p, e, 'write') THEN 'write'
		WHEN apikey_authorize(key, p, e, 'read') THEN 'read' ELSE '-' END
	FROM unnest('{l_web,l_shop,l_later,l_mars}'::text[]) p, unnest('{production,development,staging}'::text[]) e
	ORDER BY 1, 2
$$;
SELECT * FROM l_matrix(:'key');
-- '*' covers what comes later, of this organization only
SELECT apikey_add_project('l_acme', 'l_later');
SELECT * FROM l_matrix(:'key') WHERE project IN ('l_later', 'l_mars');
SELECT apikey_remove_project('l_later');
SELECT apikey_add_project('l_globex', 'l_later');
SELECT * FROM l_matrix(:'key') WHERE project IN ('l_later', 'l_mars');

-- the organization and its projects are two things
SELECT key AS reader FROM apikey_create('l_acme', 'org read', organization_level => 'read') \gset
SELECT key AS writer FROM apikey_create('l_acme', 'org write', organization_level => 'write') \gset
SELECT verb, apikey_authorize_organization(:'reader', 'l_acme', verb) AS reader,
	apikey_authorize_organization(:'writer', 'l_acme', verb) AS writer,
	apikey_authorize_organization(:'writer', 'l_globex', verb) AS another,
	apikey_authorize_organization(:'key', 'l_acme', verb) AS project_grants_only,
	apikey_authorize(:'writer', 'l_web', 'production', verb) AS project
FROM unnest('{read,write,manage,GET,POST,DELETE}'::text[]) verb;

-- rows in whatever order are decided as each one alone is, some environments being remembered
CREATE TABLE l_row AS SELECT project, environment, n FROM unnest('{l_web,l_six,l_mars,NULL}'::text[]) project,
	unnest('{production,development,staging,e4,e5,e6,none,NULL}'::text[] || repeat('long', 25)) environment, generate_series(1, 12) n;
SELECT apikey_add_project('l_acme', 'l_six', '{production,development,staging,e4,e5,e6}' || ARRAY[repeat('long', 25)]);
SELECT key AS six FROM apikey_create('l_acme', 'six', '[
	{"project": "l_web", "environment": "development", "level": "write"},
	{"project": "l_six", "environment": "production", "level": "read"}, {"project": "l_six", "environment": "development", "level": "write"},
	{"project": "l_six", "environment": "e4", "level": "read"}, {"project": "l_six", "environment": "e5", "level": "write"},
	{"project": "l_six", "environment": "e6", "level": "manage"}]'::jsonb ||
	jsonb_build_object('project', 'l_six', 'environment', repeat('long', 25), 'level', 'write')) \gset
CREATE FUNCTION l_alone(key text, project text, environment text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RETURN apikey_authorize(key, project, environment, 'write');
END $$;
SELECT "order", count(*), count(*) FILTER (WHERE granted) AS granted, count(*) FILTER (WHERE granted IS DISTINCT FROM alone) AS wrong
FROM unnest('{project,environment,row}'::text[]) "order",
	LATERAL (SELECT apikey_authorize(:'six', project, environment, 'write') AS granted, l_alone(:'six', project, environment) AS alone
		FROM (SELECT * FROM l_row ORDER BY CASE "order" WHEN 'project' THEN project WHEN 'environment' THEN environment END,
			md5(concat(project, environment, n)) OFFSET 0) r) t
GROUP BY 1 ORDER BY 1;

DROP FUNCTION l_matrix, l_alone;
DROP TABLE l_key, l_row;
DELETE FROM apikey_key WHERE organization LIKE 'l\_%';
DELETE FROM apikey_project WHERE organization LIKE 'l\_%';
