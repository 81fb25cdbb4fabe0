\a \t
-- No statement stores a grant of one organization's key on another's project,
-- and none that got there all the same opens anything.
SELECT apikey_add_project('t_acme', 't_web'), apikey_add_project('t_globex', 't_mars');
SELECT key_id, key FROM apikey_create('t_acme', 'acme''s', '[
	{"project": "t_web", "environment": "production", "level": "write"},
	{"project": "*", "environment": "*", "level": "read"}]') \gset
SELECT key_id AS globex_id FROM apikey_create('t_globex', 'globex''s', '[
	{"project": "t_mars", "environment": "production", "level": "manage"}]') \gset

-- by the functions
SELECT attempt(format($$SELECT apikey_grant(%L, 't_mars', 'production', 'read')$$, :'key_id'));
SELECT attempt(format($$SELECT apikey_grant(%L, 't_mars', '*', 'read')$$, :'key_id'));
SELECT attempt($$SELECT apikey_create('t_acme', 'x', '[{"project": "t_mars", "environment": "*", "level": "read"}]')$$);

-- by SQL as the owner of the tables; the messages name rows, so only the SQLSTATE
CREATE FUNCTION state(command text) RETURNS text LANGUAGE sql AS $$ SELECT left(attempt(command), 5) $$;
SELECT state(format($$INSERT INTO apikey_grant (key_id, level, project, environment, organization)
	VALUES (%L, 'read', 't_mars', 'production', 't_acme')$$, :'key_id')) AS own_organization,
	state(format($$INSERT INTO apikey_grant (key_id, level, project, environment, organization)
	VALUES (%L, 'read', 't_mars', 'production', 't_globex')$$, :'key_id')) AS the_others,
	state(format($$INSERT INTO apikey_grant (key_id, level, project, environment, organization)
	VALUES (%L, 'read', 't_mars', '*', 't_acme')$$, :'key_id')) AS all_environments,
	state(format($$INSERT INTO apikey_grant (key_id, level, project, environment, organization)
	VALUES (%L, 'read', NULL, '*', 't_globex')$$, :'key_id')) AS all_of_the_others;
SELECT state($$UPDATE apikey_grant SET project = 't_mars' WHERE project = 't_web'$$) AS project,
	state($$UPDATE apikey_grant SET project = 't_mars', organization = 't_globex' WHERE project = 't_web'$$) AS both,
	state(format($$UPDATE apikey_grant SET key_id = %L WHERE project = 't_mars'$$, :'key_id')) AS key,
	state($$UPDATE apikey_grant SET organization = 't_globex' WHERE project IS NULL$$) AS organization,
	state($$UPDATE apikey_key SET organization = 't_globex' WHERE organization = 't_acme'$$) AS key_moves,
	state($$UPDATE apikey_project SET organization = 't_acme' WHERE project = 't_mars'$$) AS project_moves,
	state($$UPDATE apikey_environment SET organization = 't_acme' WHERE project = 't_mars'$$) AS environment_moves,
	state($$UPDATE apikey_project SET project = 't_venus' WHERE project = 't_mars'$$) AS project_renamed;
SELECT state($$INSERT INTO apikey_environment VALUES ('t_mars', 'new', 't_acme')$$) AS environment,
	state($$INSERT INTO apikey_project VALUES ('t_mars', 't_acme')$$) AS project,
	state($$INSERT INTO apikey_project VALUES ('*', 't_acme')$$) AS all_projects,
	state($$INSERT INTO apikey_project VALUES ('', 't_acme')$$) AS empty;
\set command 'COPY apikey_grant FROM PROGRAM ' '''printf "' :key_id '\\tread\\tt_mars\\tproduction\\tt_acme\\n"'''
SELECT state(:'command') AS copy;
SELECT k.organization, g.project, g.environment, g.level FROM apikey_grants g JOIN apikey_keys k USING (key_id)
WHERE k.organization LIKE 't\_%' ORDER BY 1, 2, 3;

-- all projects are those of the key's organization
SELECT apikey_authorize(:'key', 't_web', 'development', 'read') AS own,
	apikey_authorize(:'key', 't_mars', 'development', 'read') AS others,
	apikey_projects_of(:'key', 'read');

-- a superuser can switch foreign keys off; it does not help
SET session_replication_role = replica;
INSERT INTO apikey_grant (key_id, level, project, environment, organization) VALUES
	(:'key_id', 'manage', 't_mars', 'production', 't_globex'),
	(:'key_id', 'manage', 't_mars', 'development', 't_acme'),
	(:'key_id', 'manage', 't_nowhere', 'production', 't_acme'),
	(:'key_id', 'manage', 't_mars', '*', 't_globex');
RESET session_replication_role;
SELECT project, environment, apikey_authorize(:'key', project, environment, 'read'),
	(apikey_explain(:'key', project, environment, 'read')).reason
FROM (VALUES ('t_mars', 'production'), ('t_mars', 'development'), ('t_nowhere', 'production'),
	('t_web', 'production')) AS t (project, environment);
SELECT apikey_projects_of(:'key', 'read'), apikey_projects_of(:'key', 'manage');
SELECT apikey_ungrant(:'key_id', '*', '*');
SELECT apikey_projects_of(:'key', 'read'), apikey_projects_of(:'key', 'manage'),
	apikey_projects_of(:'key', 'read', 'production'), apikey_projects_of(:'key', 'read', 'development');

DROP FUNCTION state;
DELETE FROM apikey_key WHERE organization LIKE 't\_%';
DELETE FROM apikey_project WHERE organization LIKE 't\_%';
