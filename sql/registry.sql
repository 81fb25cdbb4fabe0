\a \t
-- Organizations, projects and environments.
SELECT apikey_add_project('r_acme', 'r_web');
SELECT apikey_add_project('r_acme', 'r_shop', '{production,staging}');
SELECT apikey_add_project('r_globex', 'r_mars');
SELECT project, environment, organization FROM apikey_environment
WHERE project LIKE 'r\_%' ORDER BY 1, 2;

-- one's own project again: what is missing is added
SELECT apikey_add_project('r_acme', 'r_web', '{production,preview}');
SELECT string_agg(environment, ' ' ORDER BY environment) FROM apikey_environment
WHERE project = 'r_web';

-- another's: refused, without a word whose it is
SELECT attempt($$SELECT apikey_add_project('r_globex', 'r_web')$$);
SELECT attempt($$SELECT apikey_add_project('r_globex', 'r_web', '{secret}')$$);
SELECT count(*) FROM apikey_environment WHERE environment = 'secret';

-- names and arguments that make no sense
SELECT call, attempt('SELECT ' || call) FROM (VALUES
	($$apikey_add_project('', 'r_x')$$),
	($$apikey_add_project('r_acme', '')$$),
	($$apikey_add_project('r_acme', '*')$$),
	($$apikey_add_project(NULL, 'r_x')$$),
	($$apikey_add_project('r_acme', NULL)$$),
	($$apikey_add_project('r_acme', 'r_x', NULL)$$),
	($$apikey_add_project('r_acme', 'r_x', '{}')$$),
	($$apikey_add_project('r_acme', 'r_x', '{NULL}')$$),
	($$apikey_add_project('r_acme', 'r_x', '{""}')$$),
	($$apikey_add_project('r_acme', 'r_x', '{*}')$$),
	($$apikey_add_project('r_acme', repeat('x', 513))$$),
	($$apikey_add_project('r_acme', repeat('x', 100000000))$$),
	($$apikey_add_project('r_acme', 'r_x', array[repeat('x', 513)])$$),
	($$apikey_remove_project('r_none')$$),
	($$apikey_remove_project(NULL::text)$$),
	($$apikey_remove_environment('r_web', 'none')$$),
	($$apikey_remove_environment('r_web', '*')$$)) AS t (call);
SELECT count(*) FROM apikey_project WHERE project = 'r_x';
-- '*' is the name of nothing, however it is written
CREATE TYPE r_star AS ENUM ('*');
SELECT call, attempt('SELECT ' || call) FROM (VALUES
	($$apikey_add_project('*', 'r_x')$$),
	($$apikey_add_project('*', 'r_x', '{live}')$$),
	($$apikey_create('*', 'star')$$),
	($$apikey_import('*', 'star', 'sha256', repeat('1', 64))$$),
	($$apikey_remove_project('*')$$),
	($$apikey_remove_environment('*', 'production')$$)) AS t (call);
SELECT attempt($$INSERT INTO apikey_project VALUES ('r_x', '*')$$), attempt($$UPDATE apikey_project SET organization = '*' WHERE project = 'r_mars'$$);
SELECT count(*) FROM apikey_keys WHERE label = 'star';
SELECT key AS star FROM apikey_create('r_acme', 'star', organization_level => 'write') \gset
SELECT apikey_authorize_organization(:'star', '*', 'read') AS all, apikey_authorize_organization(:'star', '*'::r_star, 'read') AS all,
	apikey_authorize_organization(:'star', 'r_acme', 'read') AS own;
DELETE FROM apikey_key WHERE label = 'star';
DROP TYPE r_star;

-- 512 bytes are well, and so is any character
SELECT attempt($$SELECT apikey_add_project(repeat('o', 512), repeat('p', 512), array[repeat('e', 512)])$$);
SELECT attempt($$SELECT apikey_create(repeat('o', 512), 'long', jsonb_build_array(jsonb_build_object(
	'project', repeat('p', 512), 'environment', repeat('e', 512), 'level', 'read')))$$);
SELECT attempt($$SELECT apikey_remove_project(repeat('p', 512))$$);
SELECT attempt($$DELETE FROM apikey_key WHERE label = 'long'$$);

-- identifiers of other types: whoever registers them casts them, who asks need not
CREATE TYPE r_stage AS ENUM ('live', 'test');
SELECT apikey_add_project(1::text, 42::text, '{live}');
SELECT apikey_add_project('0b0e7b8e-25f4-4d5c-8a1d-1d2f6d6a3f11'::uuid::text,
	'5F0C7A2E-7C58-4C8E-9F5B-2B1D1C0A9E77'::uuid::text, '{live}');
SELECT apikey_add_project('r_acme', 43::text), apikey_add_project('r_acme'::varchar, '43'::varchar);
SELECT apikey_remove_project('43');
\set VERBOSITY terse
SELECT apikey_add_project('r_acme', 43);
SELECT apikey_create('5F0C7A2E-7C58-4C8E-9F5B-2B1D1C0A9E77'::uuid, 'x');
\set VERBOSITY default
SELECT project, organization FROM apikey_project WHERE project IN ('42', '5f0c7a2e-7c58-4c8e-9f5b-2b1d1c0a9e77')
ORDER BY 1;
SELECT key AS key42, key_id AS id42 FROM apikey_create('1', 'int',
	'[{"project": 42, "environment": "live", "level": "read"}]') \gset
SELECT apikey_authorize(:'key42', 42, 'live'::r_stage, 'read') AS int,
	apikey_authorize(:'key42', 42::bigint, 'live'::r_stage, 'read') AS bigint,
	apikey_authorize(:'key42', 42::smallint, 'test'::r_stage, 'read') AS other_environment,
	apikey_authorize(:'key42', 43, 'live'::r_stage, 'read') AS other_project,
	apikey_authorize(:'key42', '42', 'live', 'read') AS literals,
	apikey_authorize(:'key42', '42'::varchar, 'live'::r_stage, 'read') AS mixed,
	apikey_authorize(:'key42', '42', 'live'::r_stage, 'read') AS literal_first,
	apikey_authorize(:'key42', 42, 'live', 'read') AS literal_second,
	apikey_authorize_organization(:'key42', 1, 'read') AS organization;
SELECT apikey_grant(:'id42', '42', 'live', 'write');
SELECT apikey_authorize(:'key42', 42, 'live'::r_stage, 'write');
SELECT apikey_ungrant(:'id42', '42', 'live');
SELECT apikey_authorize(:'key42', 42, 'live'::r_stage, 'read');
SELECT apikey_delete(:'id42');
SELECT apikey_remove_environment('42', 'live');
SELECT apikey_remove_project('42'), apikey_remove_project('5f0c7a2e-7c58-4c8e-9f5b-2b1d1c0a9e77');

-- removing a project ends every grant on it, for good
SELECT key, key_id FROM apikey_create('r_acme', 'all of it', '[
	{"project": "r_web", "environment": "production", "level": "write"},
	{"project": "r_shop", "environment": "*", "level": "read"},
	{"project": "*", "environment": "staging", "level": "read"}]') \gset
CREATE FUNCTION r_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(project || '/' || environment, ' ' ORDER BY project, environment)
	FROM (VALUES ('r_web', 'production'), ('r_shop', 'production'), ('r_shop', 'staging')) AS t (project, environment)
	WHERE apikey_authorize(key, project, environment, 'read')
$$;
SELECT r_look(:'key');
SELECT apikey_remove_environment('r_shop', 'staging');
SELECT r_look(:'key');
SELECT apikey_add_project('r_acme', 'r_shop', '{staging}');
SELECT r_look(:'key') AS wildcards_cover_it_again;
SELECT apikey_remove_project('r_web');
SELECT r_look(:'key');
SELECT apikey_add_project('r_acme', 'r_web');
SELECT r_look(:'key') AS nothing_came_back;
SELECT apikey_grant(:'key_id', 'r_web', 'production', 'read');
SELECT apikey_remove_project('r_web');
SELECT apikey_add_project('r_globex', 'r_web');
SELECT r_look(:'key') AS another_organization_has_it;
SELECT attempt(format($$SELECT apikey_grant(%L, 'r_web', 'production', 'read')$$, :'key_id'));
SELECT attempt(format($$SELECT apikey_grant(%L, 'r_none', 'production', 'read')$$, :'key_id'));
SELECT attempt(format($$SELECT apikey_grant(%L, 'r_shop', 'none', 'read')$$, :'key_id'));
SELECT attempt(format($$SELECT apikey_grant(%L, '*', 'preview', 'read')$$, :'key_id'));

DELETE FROM apikey_key WHERE organization LIKE 'r\_%';
DELETE FROM apikey_project WHERE organization LIKE 'r\_%';
DROP FUNCTION r_look;
DROP TYPE r_stage;

-- a key where a name belongs is not repeated
SELECT key_id, key FROM apikey_create('r_acme', 'misplaced') \gset
CREATE FUNCTION r_says(call text, key text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN strpos(attempt(replace(call, 'KEY', key)), right(key, 30)) > 0 THEN 'the key' ELSE regexp_replace(attempt(replace(call, 'KEY', key)), '[0-9A-Za-z]{22}_{49}', '...', 'g') END
$$;
SELECT r_says(call, :'key') FROM unnest(array[
	$$SELECT apikey_remove_project('KEY')$$, $$SELECT apikey_remove_environment('KEY', 'KEY')$$,
	format($$SELECT apikey_grant(%L, 'KEY', 'production', 'read')$$, :'key_id'),
	format($$SELECT apikey_ungrant(%L, 'KEY', 'KEY')$$, :'key_id'),
	$$SELECT apikey_create('KEY', 'x', '[{"project": "KEY", "environment": "KEY", "level": "read"}]')$$,
	$$SELECT apikey_create('a', 'x', '[{"project": "p", "environment": "e", "level": "read", "KEY": 1}]')$$,
	$$SELECT apikey_create('a', 'x', '[{"project": "p", "environment": "e", "level": "KEY"}]')$$,
	$$SELECT apikey_authorize('KEY', 'p', 'e', 'KEY')$$, $$SELECT apikey_create('a', 'x', prefix => 'KEY')$$,
	$$SELECT apikey_import('a', 'x', 'KEY', 'KEY')$$, $$SELECT apikey_create('a', 'x', rate_limit => 'KEY')$$]) call;
SELECT apikey_delete(:'key_id');
DROP FUNCTION r_says;
