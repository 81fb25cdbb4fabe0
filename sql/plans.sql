\a \t
-- Policies and queries by index: what the planner makes of apikey_authorize.
SELECT count(apikey_add_project('v_acme', 'v' || i)) FROM generate_series(0, 49) i;
SELECT count(apikey_add_project('v_acme', i::text)) FROM generate_series(-5, 5) i;
SELECT count(apikey_add_project('v_acme', '00000000-0000-4000-8000-00000000000' || i)) FROM generate_series(0, 9) i;
-- names that are no canonical value of a type
SELECT count(apikey_add_project('v_acme', n)) FROM unnest(array['007', '+3', ' 3', '3 ', '0x10', '-0', '1e3', '40000', '3000000000', '99999999999999999999',
	'-9223372036854775808', '9223372036854775807', '-9223372036854775809', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc999c0b4ef8bb6d6bb9bd380a12',
	'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a145', 'high', 'High', 'hi"gh', 'ä'] ||
	array[repeat('9', 512), repeat('a', 63), repeat('a', 64)]) n;
SELECT apikey_add_project('v_globex', 'v_other'), apikey_add_project('v_acme', 'v_staging', '{staging}');
CREATE TYPE v_mood AS ENUM ('low', 'high', 'v7', 'none');
CREATE DOMAIN v_id AS uuid;
SELECT key AS some, key_id AS some_id FROM apikey_create('v_acme', 'some', '[{"project": "v3", "environment": "production", "level": "write"},
	{"project": "v7", "environment": "*", "level": "read"}, {"project": "3", "environment": "production", "level": "manage"},
	{"project": "high", "environment": "production", "level": "read"}, {"project": "v_staging", "environment": "*", "level": "read"},
	{"project": "00000000-0000-4000-8000-000000000003", "environment": "development", "level": "read"}]') \gset
SELECT key AS all FROM apikey_create('v_acme', 'all', '[{"project": "*", "environment": "production", "level": "write"}]') \gset
SELECT key AS none FROM apikey_create('v_acme', 'none') \gset

-- lists of environments, and lists as other types
SELECT apikey_internal.environments_of(NULL::text, :'some', 'read'), apikey_internal.environments_of(NULL::text, :'some', 'write'), apikey_internal.environments_of(NULL::text, :'all', 'read');
SELECT apikey_internal.environments_of(NULL::text, :'some', 'read', 'v7'), apikey_internal.environments_of(NULL::text, :'some', 'read', 3), apikey_internal.environments_of(NULL::text, :'some', 'read', 'v_other'),
	apikey_internal.environments_of(NULL::text, :'all', 'read', 'v_staging'), apikey_internal.environments_of(NULL::text, :'all', 'manage', 'v7');
SELECT apikey_internal.environments_of(NULL::text, NULL, 'read'), apikey_internal.environments_of(NULL::text, :'all', NULL), apikey_internal.environments_of(NULL::text, :'all', 'read', NULL::text), apikey_internal.environments_of(NULL::text, 'junk', 'read');
SELECT apikey_internal.environments_of(NULL::text, :'some', 'look');
SELECT apikey_internal.projects_of(NULL::int, :'all', 'read'), apikey_internal.projects_of(NULL::smallint, :'all', 'read', 'production');
SELECT apikey_internal.projects_of(NULL::bigint, :'all', 'read'), apikey_internal.projects_of(0, :'some', 'read');
SELECT cardinality(apikey_internal.projects_of(NULL::uuid, :'all', 'read')), apikey_internal.projects_of(NULL::uuid, :'some', 'read', 'development');
SELECT apikey_internal.projects_of(NULL::v_mood, :'all', 'read'), apikey_internal.projects_of(NULL::v_mood, :'some', 'read', 'development');
SELECT apikey_internal.projects_of(''::varchar, :'some', 'write'), apikey_internal.projects_of(''::text, :'some', 'write', 'production'::varchar);
SELECT apikey_internal.environments_of(NULL::text, :'some', 'read'), apikey_internal.environments_of(NULL::varchar, :'some', 'read', 'v3');
SELECT apikey_internal.projects_of(NULL::int, NULL, 'read'), apikey_internal.projects_of(NULL::int, :'all', NULL), apikey_internal.projects_of(NULL::int, :'all', 'read', NULL::text);
SELECT pg_typeof(apikey_internal.projects_of(NULL::int, 'junk', 'read')), pg_typeof(apikey_internal.projects_of(NULL::v_mood, 'junk', 'read'));
SELECT apikey_internal.projects_of(NULL::numeric, :'all', 'read');
SELECT apikey_internal.projects_of(NULL::v_id, :'all', 'read');
SELECT apikey_internal.projects_of(NULL, :'all', 'read');
BEGIN;
SET LOCAL apikey.key = :'some';
SELECT apikey_internal.environments(NULL::text, 'read'), apikey_internal.environments(NULL::text, 'write', 'v3'), apikey_internal.environments(NULL::text, 'read', 3),
	apikey_internal.projects(0, 'read'), apikey_internal.projects(NULL::uuid, 'read', 'development'), apikey_internal.environments(''::text, 'read'), apikey_internal.environments(''::varchar, 'read', 'v7');
-- what is remembered follows changes, undone ones too
SAVEPOINT s;
SELECT as_application(format('apikey_add_project(''v_acme'', ''v_new''), apikey_grant(%L, ''v_new'', ''*'', ''read'')', :'some_id'));
SELECT apikey_projects('read');
ROLLBACK TO s;
SELECT apikey_projects('read');
SELECT as_application(format('apikey_ungrant(%L, ''v7'', ''*''), apikey_remove_project(''high'')', :'some_id'));
SELECT apikey_projects('read'), apikey_internal.environments(NULL::text, 'read');
ROLLBACK TO s;
SELECT apikey_projects('read');
-- a change of the registry alone
SET LOCAL apikey.key = :'all';
CREATE TEMP TABLE v_before AS SELECT apikey_projects('read') AS p, apikey_projects('read', 'staging') AS s, apikey_internal.environments(NULL::text, 'read') AS e;
SELECT as_application($$apikey_add_project('v_acme', 'v_new')$$);
SELECT apikey_projects('read') = (SELECT array_agg(n ORDER BY n COLLATE "C") FROM unnest(p || 'v_new'::text) n) AS more FROM v_before;
SELECT as_application($$apikey_remove_project('v_new')$$);
SELECT apikey_projects('read') = p AS as_before FROM v_before;
SELECT as_application($$apikey_remove_environment('v7', 'production')$$);
SELECT apikey_projects('read') = array_remove(p, 'v7') AS less FROM v_before;
ROLLBACK TO s;
SELECT apikey_projects('read', 'production') @> '{v7}' AS again;
-- what a loop remembers, while keys come and go
SET LOCAL apikey.key = '';
CREATE FUNCTION pg_temp.answers(VARIADIC keys text[]) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
	key text;
	answers boolean[];
BEGIN
	FOREACH key IN ARRAY keys LOOP
		PERFORM set_config('apikey.key', key, true);
		answers = answers || apikey_authorize('v3', 'production', 'read');
	END LOOP;
	RETURN answers;
END $$;
SELECT pg_temp.answers(:'some', :'none', '', :'all', 'junk', :'some');
CREATE FUNCTION pg_temp.changes(id uuid) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
	answers boolean[];
BEGIN
	FOR i IN 1 .. 6 LOOP
		answers = answers || apikey_authorize('v7', 'production', 'read');
		IF i = 1 THEN DELETE FROM apikey_grant WHERE key_id = id AND project = 'v7'; END IF;
		IF i = 2 THEN INSERT INTO apikey_grant VALUES (id, 'read', 'v7', 'production', 'v_acme'); END IF;
		IF i = 3 THEN DELETE FROM apikey_environment WHERE project = 'v7' AND environment = 'production'; END IF;
		IF i = 4 THEN INSERT INTO apikey_environment VALUES ('v7', 'production', 'v_acme'); INSERT INTO apikey_grant VALUES (id, 'read', 'v7', '*', 'v_acme'); END IF;
		IF i = 5 THEN UPDATE apikey_key SET disabled_at = now() WHERE key_id = id; END IF;
	END LOOP;
	RETURN answers;
END $$;
SELECT pg_temp.changes(:'some_id');
ROLLBACK TO s;
COMMIT;
SELECT apikey_projects('read');

-- a table, and the shape of a plan: what reads it, by which condition
CREATE TABLE v_doc (id int PRIMARY KEY, project text, environment text, verb text, n int, u uuid, d v_id, m v_mood, v varchar(20), i8 int8, i2 int2, c text COLLATE "C", j jsonb);
INSERT INTO v_doc SELECT i, 'v' || i % 50, CASE WHEN i % 4 < 2 THEN 'production' ELSE 'development' END, CASE WHEN i % 3 = 0 THEN 'write' ELSE 'read' END,
	i % 11 - 5, ('00000000-0000-4000-8000-00000000000' || i % 10)::uuid, ('00000000-0000-4000-8000-00000000000' || i % 10)::uuid,
	CASE i % 50 WHEN 0 THEN 'high' WHEN 1 THEN 'v7' ELSE 'low' END::v_mood, 'v' || i % 50, i % 11 - 5, i % 11 - 5, 'v' || i % 50,
	jsonb_build_object('project', 'v' || i % 50) FROM generate_series(1, 5000) i;
CREATE FUNCTION v_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ '(Scan|Nested Loop|Gather|Sort|Join)|Index Cond|Recheck|Filter|Result' THEN RETURN NEXT line; END IF;
	END LOOP;
END $$;
-- Rows by this condition: the same by index and without?  And the plan by index,
-- with one of the kinds of scans switched off.
CREATE FUNCTION v_check(condition text, off text DEFAULT 'enable_bitmapscan') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	kinds text[] = '{enable_indexscan,enable_indexonlyscan,enable_bitmapscan}';
	by_index int[];
	by_row int[];
	plan text;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config(off, 'off', true);
	EXECUTE 'SELECT array_agg(id ORDER BY id) FROM v_doc WHERE ' || condition INTO by_index;
	-- what an InitPlan returns is shown in one way or another
	plan = (SELECT regexp_replace(string_agg(trim(p), '; ' ORDER BY trim(p) COLLATE "C"), '\$\d+|\(InitPlan \w+\)\.col\d+', 'PARAMETER') FROM v_plan('SELECT * FROM v_doc WHERE ' || condition) p WHERE p ~ 'Index Cond|Filter|Seq');
	PERFORM set_config('enable_seqscan', 'on', true), set_config(kind, 'off', true) FROM unnest(kinds) kind;
	EXECUTE 'SELECT array_agg(id ORDER BY id) FROM v_doc WHERE ' || condition INTO by_row;
	PERFORM set_config(kind, 'on', true) FROM unnest(kinds) kind;
	RETURN format('%s rows, %s: %s', coalesce(cardinality(by_index), 0), CASE WHEN by_index IS NOT DISTINCT FROM by_row THEN 'the same' ELSE 'NOT THE SAME' END, plan);
END $$;
SET apikey.key = :'some';
SET max_parallel_workers_per_gather = 0;

-- types of the project column
CREATE INDEX v_text ON v_doc (project);
CREATE INDEX v_varchar ON v_doc (v);
CREATE INDEX v_c ON v_doc (c);
CREATE INDEX v_int4 ON v_doc (n);
CREATE INDEX v_int8 ON v_doc (i8);
CREATE INDEX v_int2 ON v_doc (i2);
CREATE INDEX v_uuid ON v_doc (u);
CREATE INDEX v_domain ON v_doc (d);
CREATE INDEX v_enum ON v_doc (m);
CREATE INDEX v_expression ON v_doc ((j ->> 'project'));
VACUUM ANALYZE v_doc;
SELECT v_check(format('apikey_authorize(%s, ''production'', ''read'')', c)) FROM unnest('{project,v,c,n,i8,i2,m,(j ->> ''project'')}'::text[]) c;
SELECT v_check(format('apikey_authorize(%s, ''development'', ''read'')', c)) FROM unnest('{u,d}'::text[]) c;
SELECT v_check(format('apikey_authorize(%s, environment, ''read'')', c)) FROM unnest('{project,v,c,n,i8,i2,u,d,m,(j ->> ''project'')}'::text[]) c;
-- by a key that is given
SELECT replace(v_check(format('apikey_authorize(%L, %s, %s, ''read'')', :'some', p, e)), :'some', 'KEY') FROM unnest('{project,u}'::text[]) p, unnest('{environment,''production''}'::text[]) e;
SELECT v_check('apikey_authorize(NULL, project, environment, ''read'')'), v_check('apikey_authorize(''junk'', project, ''production'', ''read'')');
SELECT v_check(format('apikey_authorize((SELECT %L), project, environment, ''read'')', :'all')) ~ 'rows, the same: .*Index Cond';
-- verbs: of any kind, of a column, null, none
SELECT v_check(format('apikey_authorize(project, ''production'', %s)', v)) FROM unnest('{''GET'',''DELETE'',lower(''WRITE''),verb,"NULL",(SELECT ''post'')}'::text[]) v;
SELECT v_check('apikey_authorize(project, ''production'', ''look'')');
SELECT v_check('apikey_authorize(project, environment, verb)'), v_check('apikey_authorize(project, NULL, ''read'')'), v_check('apikey_authorize(project, current_setting(''v.e'', true), ''read'')');
-- expressions that are no column, values that change
SELECT v_check('apikey_authorize(project || '''', environment, ''read'')'), v_check('apikey_authorize(n::text, environment, ''read'')');
SELECT regexp_replace(v_check('apikey_authorize(project, CASE WHEN random() < 2 THEN ''production'' END, ''read'')'), '\(CASE.*END\)', 'CASE') AS volatile;
-- by another key
SET apikey.key = :'all';
SELECT v_check('apikey_authorize(project, environment, ''read'')'), v_check('apikey_authorize(n, ''production'', ''write'')'), v_check('apikey_authorize(project, ''staging'', ''read'')');
SET apikey.key = :'none';
SELECT v_check('apikey_authorize(project, environment, ''read'')'), v_check('apikey_authorize(n, ''production'', ''write'')');
SET apikey.key = '';
SELECT v_check('apikey_authorize(project, environment, ''read'')'), v_check('apikey_authorize(n, ''production'', ''write'')');
SET apikey.key = :'some';

-- what changes while the rows of one scan are decided
BEGIN;
SELECT string_agg(CASE WHEN yes THEN 'y' ELSE 'n' END, '' ORDER BY i) AS another_key FROM (
	SELECT i, CASE WHEN i = 3 THEN set_config('apikey.key', '', true) WHEN i = 5 THEN set_config('apikey.key', :'all', true) END,
		apikey_authorize('v7', CASE WHEN i > 0 THEN 'production' END, 'read') AS yes
	FROM generate_series(1, 6) i) t;
SAVEPOINT s;
SET LOCAL apikey.key = :'some';
CREATE FUNCTION pg_temp.change(i int, id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF i = 3 THEN DELETE FROM apikey_grant WHERE key_id = id AND project = 'v7'; END IF;
	IF i = 5 THEN INSERT INTO apikey_grant VALUES (id, 'read', 'v7', 'production', 'v_acme'); END IF;
	IF i = 7 THEN DELETE FROM apikey_environment WHERE project = 'v7' AND environment = 'production'; END IF;
	IF i = 9 THEN INSERT INTO apikey_environment VALUES ('v7', 'production', 'v_acme'); INSERT INTO apikey_grant VALUES (id, 'read', 'v7', '*', 'v_acme'); END IF;
	IF i = 11 THEN UPDATE apikey_key SET revoked_at = now() WHERE key_id = id; END IF;
	RETURN true;
END $$;
SELECT string_agg(CASE WHEN yes THEN 'y' ELSE 'n' END, '' ORDER BY i) AS another_grant FROM (
	SELECT i, pg_temp.change(i, :'some_id'), apikey_authorize('v7', CASE WHEN i > 0 THEN 'production' END, 'read') AS yes
	FROM generate_series(1, 12) i) t;
ROLLBACK TO s;
-- the session's key is forgotten for those of the rows
SET LOCAL apikey.cache_size = '64kB';
SET LOCAL apikey.key = '';
CREATE TEMP TABLE v_many AS SELECT i, k.key FROM generate_series(1, 600) i,
	apikey_create('v_acme', 'many ' || i, '[{"project": "v8", "environment": "production", "level": "read"}]') k;
SET LOCAL apikey.key = :'all';
COMMIT;
BEGIN;
SET LOCAL apikey.cache_size = '64kB';
SET LOCAL apikey.key = :'all';
SELECT count(*), count(*) FILTER (WHERE apikey_authorize(key, 'v8', 'production', 'read')) AS by_key,
	count(*) FILTER (WHERE apikey_authorize(CASE i % 2 WHEN 0 THEN 'v3' ELSE 'v7' END, 'production', 'read')) AS by_session,
	(SELECT evictions > 300 FROM apikey_cache_stats()) AS evicted FROM v_many;
SELECT count(*) FILTER (WHERE apikey_authorize(CASE i % 2 WHEN 0 THEN 'v3' ELSE 'v7' END, 'production', 'read') AND apikey_authorize(key, 'v8', 'production', 'read')) AS both FROM v_many;
COMMIT;
DROP TABLE v_many;
SET apikey.key = :'some';

-- what already fixes the column needs no list
SELECT v_check('project = ''v3'' AND apikey_authorize(project, environment, ''read'')'), v_check('''v3'' = project AND apikey_authorize(project, ''production'', ''read'')'),
	v_check('project > ''v3'' AND apikey_authorize(project, ''production'', ''read'')');
-- of several questions one makes the condition, the one that asks for most
SELECT v_check('apikey_authorize(project, environment, ''read'') AND apikey_authorize(project, environment, ''write'') AND apikey_authorize(project, ''production'', ''read'')');
-- alternatives
SELECT v_check('id = 7 OR apikey_authorize(project, ''production'', ''write'')', 'enable_indexscan'), v_check('apikey_authorize(n, environment, ''write'') OR apikey_authorize(project, ''production'', ''write'')', 'enable_indexscan');
SELECT v_check('NOT apikey_authorize(project, environment, ''read'')') ~ 'the same: Seq', v_check('apikey_authorize(project, environment, ''read'') IS NULL') ~ 'the same: Seq';

-- kinds of indexes
DROP INDEX v_text, v_varchar, v_c, v_int4, v_int8, v_int2, v_uuid, v_domain, v_enum, v_expression;
CREATE FUNCTION v_with(index text, condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'CREATE INDEX v_index ON v_doc ' || index;
	result = v_check(condition, CASE WHEN index ~ 'hash|brin' THEN 'enable_indexscan' ELSE 'enable_bitmapscan' END);
	DROP INDEX v_index;
	RETURN index || ' -- ' || result;
END $$;
SELECT v_with(i, 'apikey_authorize(project, ''production'', ''read'')') FROM unnest(array['(project)', '(project DESC)', '(project, environment)', '(project text_pattern_ops)',
	'(project COLLATE "C")', 'USING hash (project)', 'USING brin (project)', '(project) INCLUDE (id)', '(project) WHERE id > 0', '(project) WHERE project IS NOT NULL', '(environment)']) i;
-- before PostgreSQL 17 a list for a later column is of no use here
SELECT v_with(i, 'apikey_authorize(project, ''production'', ''read'')') ~ 'rows, the same:' FROM unnest(array['(environment, project)', '(id, project)']) i;
SELECT v_with(i, 'apikey_authorize(u, environment, ''read'')') FROM unnest(array['(u)', '(environment)', 'USING hash (u)', 'USING hash (environment)', 'USING brin (u)', 'USING brin (environment)']) i;
SELECT v_with('(environment)', 'apikey_authorize(''v7'', environment, ''read'')'), v_with('(environment)', 'apikey_authorize(3, environment, ''read'')');
SELECT v_with(i, 'environment = ''production'' AND apikey_authorize(project, environment, ''read'')') FROM unnest(array['(project)', '(project) WHERE environment = ''production''']) i;
-- a list for a later column keeps the order only if the columns before are fixed
CREATE INDEX v_order ON v_doc (environment, project, id);
SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off;
SELECT count(*), bool_and(ordered) FROM (SELECT (environment, project, id) >= lag((environment, project, id)) OVER () IS NOT false AS ordered
	FROM (SELECT * FROM v_doc WHERE apikey_authorize(project, 'production', 'read') ORDER BY environment, project, id) t) t;
SELECT * FROM v_plan('SELECT project, id FROM v_doc WHERE environment = ''production'' AND apikey_authorize(project, ''production'', ''read'') ORDER BY project, id');
SELECT count(*), bool_and(ordered) FROM (SELECT (project, id) >= lag((project, id)) OVER () IS NOT false AS ordered
	FROM (SELECT project, id FROM v_doc WHERE environment = 'production' AND apikey_authorize(project, 'production', 'read') ORDER BY project, id) t) t;
RESET enable_seqscan; RESET enable_sort; RESET enable_bitmapscan;
-- no parallel scan of an index by a list: the processes could have different ones
CREATE FUNCTION v_parallel_index(condition text) RETURNS boolean LANGUAGE sql AS
	$$ SELECT count(*) > 0 FROM v_plan('SELECT * FROM v_doc WHERE ' || condition) p WHERE p ~ 'Parallel Index' $$;
CREATE INDEX v_parallel ON v_doc (project);
ALTER TABLE v_doc SET (parallel_workers = 2);
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_index_scan_size = 0; SET min_parallel_table_scan_size = 0;
SET enable_seqscan = off; SET enable_bitmapscan = off;
SET apikey.key = :'all';
SELECT v_parallel_index('environment = ANY (array[''production'', ''development''])') AS known, v_parallel_index('apikey_authorize(project, environment, ''read'')') AS list,
	v_parallel_index('apikey_authorize(project, ''production'', ''read'')') AS exact;
SET enable_bitmapscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off;
SELECT count(*) > 0 AS parallel_bitmap FROM v_plan('SELECT * FROM v_doc WHERE apikey_authorize(project, ''production'', ''read'')') p WHERE p ~ 'Parallel Bitmap Heap Scan';
SELECT count(*) FROM v_doc WHERE apikey_authorize(project, 'production', 'read');
SET apikey.key = :'some';
RESET max_parallel_workers_per_gather; RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_index_scan_size; RESET min_parallel_table_scan_size;
RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_indexscan; RESET enable_indexonlyscan;
SET max_parallel_workers_per_gather = 0;
DROP INDEX v_parallel;
-- an unusual equality: more rows than are meant are looked at
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') THEN
		CREATE COLLATION v_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	ELSE
		CREATE COLLATION v_insensitive FROM "C";
	END IF;
END $$;
CREATE TABLE v_case (id int, project text COLLATE v_insensitive, environment text);
INSERT INTO v_case SELECT i, CASE WHEN i % 2 = 0 THEN 'v3' ELSE 'V3' END, 'production' FROM generate_series(1, 10) i;
CREATE INDEX ON v_case (project);
SET enable_seqscan = off;
SELECT array_agg(id ORDER BY id) FROM v_case WHERE apikey_authorize(project, 'production', 'read');
RESET enable_seqscan;

-- joins: a list inside, an argument from the other side
CREATE INDEX v_text ON v_doc (project);
CREATE TABLE v_stage (name text);
INSERT INTO v_stage VALUES ('production'), ('development'), ('none');
ANALYZE v_stage;
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT * FROM v_plan('SELECT FROM v_stage s JOIN v_doc d ON apikey_authorize(d.project, s.name, ''read'')');
SELECT s.name, count(*) FROM v_stage s JOIN v_doc d ON apikey_authorize(d.project, s.name, 'read') GROUP BY 1 ORDER BY 1;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material; RESET enable_seqscan; RESET enable_bitmapscan;
SELECT s.name, count(*) FROM v_stage s JOIN v_doc d ON apikey_authorize(d.project || '', s.name, 'read') GROUP BY 1 ORDER BY 1;

-- a plan serves whatever key is there when it runs, and holds none
PREPARE v_count(text, text) AS SELECT count(*) FROM v_doc WHERE apikey_authorize(project, $1, $2);
SET plan_cache_mode = force_generic_plan;
SELECT * FROM v_plan('EXECUTE v_count(''production'', ''read'')');
EXECUTE v_count('production', 'read');
SET apikey.key = :'all';
EXECUTE v_count('production', 'read');
EXECUTE v_count('development', 'read');
EXECUTE v_count('production', 'manage');
EXECUTE v_count(NULL, 'read');
EXECUTE v_count('production', NULL);
EXECUTE v_count('production', 'look');
SET apikey.key = '';
EXECUTE v_count('production', 'read');
SET apikey.key = :'some';
EXECUTE v_count('production', 'read');
DEALLOCATE v_count;
RESET plan_cache_mode;

-- who may not call the lists gets his rows without them
CREATE ROLE regress_apikey_plans;
GRANT SELECT ON v_doc TO regress_apikey_plans;
GRANT CREATE ON SCHEMA public TO regress_apikey_plans;
SET ROLE regress_apikey_plans;
SELECT v_check('apikey_authorize(project, ''production'', ''read'')');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION apikey_projects(text, text) FROM PUBLIC;
SET ROLE regress_apikey_plans;
SELECT v_check('apikey_authorize(project, ''production'', ''read'')');
RESET ROLE;
GRANT EXECUTE ON FUNCTION apikey_projects(text, text) TO PUBLIC;

-- estimates: of a key that is known, of none
CREATE FUNCTION v_rows(condition text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM v_doc WHERE ' || condition INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END $$;
CREATE FUNCTION v_near(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	actual int;
	estimate int = v_rows(condition);
BEGIN
	EXECUTE 'SELECT count(*) FROM v_doc WHERE ' || condition INTO actual;
	RETURN CASE WHEN estimate BETWEEN actual / 2 AND greatest(actual * 2, 10) THEN 'near' ELSE format('%s instead of %s', estimate, actual) END;
END $$;
SELECT v_near('apikey_authorize(project, environment, ''read'')'), v_near('apikey_authorize(project, ''production'', ''read'')'), v_near('apikey_authorize(project, environment, ''manage'')'),
	v_near('apikey_authorize(n, environment, ''read'')'), v_near('apikey_authorize(u, environment, ''read'')'), v_near('apikey_authorize(m, ''production'', ''read'')'),
	v_near('apikey_authorize(''v7'', environment, ''read'')');
-- a row that may be written may be read: the second call lets no other row through, and takes none away
SELECT v_near('apikey_authorize(project, environment, ''write'') AND apikey_authorize(project, environment, ''read'')'),
	v_near('apikey_authorize(project, environment, ''read'') AND apikey_authorize(project, environment, ''read'')'),
	v_near('apikey_authorize(project, environment, ''read'') AND apikey_authorize(project, environment, ''manage'') AND apikey_authorize(project, environment, ''write'')');
SET apikey.key = :'all';
SELECT v_near('apikey_authorize(project, environment, ''read'')'), v_near('apikey_authorize(project, ''production'', ''read'')'), v_near('apikey_authorize(project, ''development'', ''read'')'),
	v_rows('apikey_authorize(id, ''production'', ''read'')') < 500 AS few, v_near('apikey_authorize(n, environment, ''read'')');
SET apikey.key = '';
-- without a key a plan is made for the next one
SELECT v_rows('apikey_authorize(project, environment, ''read'')') BETWEEN 500 AND 1500 AS ten_of_fifty;
SELECT v_near(format('apikey_authorize(%L, project, environment, ''read'')', :'some'));

-- the plan is the one for the key: all of the table, or few rows of it
CREATE INDEX v_estimate ON v_doc (project);
ANALYZE v_doc;
SET apikey.key = :'all';
SELECT count(*) FILTER (WHERE p ~ 'Seq Scan') > 0 AS all_of_the_table FROM v_plan('SELECT * FROM v_doc WHERE apikey_authorize(project, ''production'', ''read'')') p;
SET apikey.key = :'some';
SELECT count(*) FILTER (WHERE p ~ 'Index Cond: .project = ANY') > 0 AS by_index FROM v_plan('SELECT * FROM v_doc WHERE apikey_authorize(project, ''production'', ''read'')') p;
-- planning makes no list of all projects
SET apikey.key = '';
SELECT key AS fresh FROM apikey_create('v_acme', 'fresh', '[{"project": "*", "environment": "*", "level": "read"}]') \gset
SET apikey.key = :'fresh';
SELECT count(*) > 0 AS planned FROM v_plan('SELECT * FROM v_doc WHERE apikey_authorize(project, environment, ''read'')');
SELECT bytes AS planned_bytes FROM apikey_cache_stats() \gset
SELECT count(*) > 0 AS planned FROM v_plan('SELECT * FROM v_doc WHERE id = 5 AND apikey_authorize(project, environment, ''read'')');
SELECT bytes = :planned_bytes AS no_more, cardinality(apikey_projects('read')) > 50 AS listed FROM apikey_cache_stats();
SELECT bytes > :planned_bytes + 500 AS more FROM apikey_cache_stats();
DROP INDEX v_estimate;
-- a list costs as much as it has elements: with one project the plan is that of the project as a literal
CREATE TABLE v_ten AS SELECT i AS id, 'v' || i % 10 AS project, 'production' AS environment, repeat('x', 64) AS body FROM generate_series(1, 2000) i;
CREATE INDEX ON v_ten (project, id, body);
ANALYZE v_ten;
SET apikey.key = '';
SELECT key AS single FROM apikey_create('v_acme', 'single', '[{"project": "v7", "environment": "production", "level": "read"}]') \gset
SET apikey.key = :'single';
SELECT condition, (SELECT count(*) FROM v_plan('SELECT * FROM v_ten WHERE ' || condition) p WHERE p ~ 'Index Cond') AS by_index
FROM unnest(array['project = ''v7'' AND environment = ''production''', 'apikey_authorize(project, environment, ''read'')', 'apikey_authorize(project, ''production'', ''read'')']) condition;
DROP TABLE v_ten;

-- why so few rows, why so slow?
SET apikey.key = :'some';
CREATE TABLE v_why (id int, "Project" uuid, environment text);
INSERT INTO v_why SELECT id, u, environment FROM v_doc;
\x on
SELECT * FROM apikey_explain_rls('v_why');
SET client_min_messages = error;
SELECT apikey_protect('v_why', 'Project', 'environment');
RESET client_min_messages;
SELECT * FROM apikey_explain_rls('v_why', :'some');
CREATE INDEX ON v_why ("Project", environment);
ANALYZE v_why;
SELECT * FROM apikey_explain_rls('v_why', :'some');
SELECT * FROM apikey_explain_rls('v_why', :'none');
SELECT * FROM apikey_explain_rls('v_why', 'junk');
SELECT * FROM apikey_explain_rls('v_why', NULL);
GRANT SELECT ON v_why TO regress_apikey_plans;
SET ROLE regress_apikey_plans;
SELECT * FROM apikey_explain_rls('v_why');
SELECT * FROM apikey_explain_rls('v_why', :'all');
\x off
SELECT current_setting('apikey.key') = left(:'some', 26) || '…' AS as_before;
SELECT visible_rows FROM apikey_explain_rls('v_why');
RESET ROLE;
CREATE POLICY v_open ON v_why USING (id < 100);
CREATE POLICY v_strict ON v_why AS RESTRICTIVE USING (id > 10);
SELECT visible_rows, advice FROM apikey_explain_rls('v_why');
GRANT SELECT ON v_why TO regress_apikey_plans;
SET ROLE regress_apikey_plans;
SELECT visible_rows, advice FROM apikey_explain_rls('v_why');
-- nobody's code runs with the rights of who asks
CREATE FUNCTION v_trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run by %', current_user; END $$;
CREATE TABLE v_theirs AS SELECT 'v3' AS project, 'production' AS environment;
ALTER TABLE v_theirs ENABLE ROW LEVEL SECURITY;
CREATE POLICY v_trap ON v_theirs USING (v_trap() OR apikey_authorize(project, environment, 'read'));
RESET ROLE;
SELECT visible_rows, plan, advice FROM apikey_explain_rls('v_theirs');
DROP POLICY v_trap ON v_theirs;
SELECT visible_rows, advice FROM apikey_explain_rls('v_theirs');
-- it is read as its owner, who is subject to his policies if they are forced
CREATE POLICY v_owner ON v_theirs USING (current_user = 'regress_apikey_plans' AND apikey_authorize(project, environment, 'read'));
SELECT visible_rows, advice FROM apikey_explain_rls('v_theirs');
ALTER TABLE v_theirs FORCE ROW LEVEL SECURITY;
SELECT visible_rows, plan, advice FROM apikey_explain_rls('v_theirs');
SELECT visible_rows, advice FROM apikey_explain_rls('v_theirs', :'none');
-- and all that the policies call is undone or refused: roles, settings, temporary objects
CREATE FUNCTION v_tried() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', 'nowhere', false), set_config('apikey.key', 'stolen', false), set_config('work_mem', '77kB', false);
	RAISE NOTICE 'as %: %, %', current_user, public.attempt('RESET ROLE'), public.attempt('CREATE TEMP TABLE v_temporary ()');
	RETURN true;
END $$;
ALTER FUNCTION v_tried() OWNER TO regress_apikey_plans;
ALTER POLICY v_owner ON v_theirs USING (v_tried());
SELECT visible_rows FROM apikey_explain_rls('v_theirs', :'none');
SELECT visible_rows, current_setting('transaction_read_only') AS read_only FROM apikey_explain_rls('v_theirs');
SELECT current_user = session_user AS same_role, current_setting('search_path') AS search_path, current_setting('apikey.key') = left(:'some', 26) || '…' AS same_key,
	current_setting('work_mem') <> '77kB' AS same_setting;
-- nothing can be written meanwhile, and afterwards as before, even where an error ended it
CREATE FUNCTION v_fails() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'read-only: %', current_setting('transaction_read_only'); END $$;
ALTER FUNCTION v_fails() OWNER TO regress_apikey_plans;
ALTER POLICY v_owner ON v_theirs USING (v_fails());
BEGIN;
SELECT attempt('SELECT apikey_explain_rls(''v_theirs'')'), attempt('CREATE TABLE v_written ()') AS written;
SET TRANSACTION READ ONLY;
SELECT attempt('SELECT apikey_explain_rls(''v_theirs'')'), attempt('CREATE TABLE v_more ()') AS read_only;
ROLLBACK;
ALTER POLICY v_owner ON v_theirs USING (v_tried());
ALTER TABLE v_theirs NO FORCE ROW LEVEL SECURITY;
-- whoever is not subject to policies sees no more than he may read
CREATE ROLE regress_apikey_bypass BYPASSRLS;
CREATE SCHEMA v_schema AUTHORIZATION regress_apikey_plans;
CREATE TABLE v_schema.v_doc (project text, environment text, secret text);
ALTER TABLE v_schema.v_doc OWNER TO regress_apikey_plans;
SELECT 'v_schema.v_doc'::regclass::oid AS v_oid \gset
SET ROLE regress_apikey_bypass;
SELECT attempt(format('SELECT apikey_explain_rls(%s)', :v_oid)) AS no_schema;
SET ROLE regress_apikey_plans;
GRANT USAGE ON SCHEMA v_schema TO regress_apikey_bypass;
SET ROLE regress_apikey_bypass;
SELECT attempt(format('SELECT apikey_explain_rls(%s)', :v_oid)) AS no_table;
SET ROLE regress_apikey_plans;
GRANT SELECT (project, environment) ON v_schema.v_doc TO regress_apikey_bypass;
SET ROLE regress_apikey_bypass;
SELECT attempt(format('SELECT apikey_explain_rls(%s)', :v_oid)) AS two_columns;
SET ROLE regress_apikey_plans;
GRANT SELECT (secret) ON v_schema.v_doc TO regress_apikey_bypass;
SET ROLE regress_apikey_bypass;
SELECT attempt(format('SELECT apikey_explain_rls(%s)', :v_oid)) AS all_columns;
SET ROLE regress_apikey_plans;
REVOKE ALL ON v_schema.v_doc FROM regress_apikey_bypass;
GRANT SELECT ON v_schema.v_doc TO regress_apikey_bypass;
SET ROLE regress_apikey_bypass;
SELECT attempt(format('SELECT apikey_explain_rls(%s)', :v_oid)) AS the_table;
RESET ROLE;
DROP SCHEMA v_schema CASCADE;
DROP ROLE regress_apikey_bypass;
SELECT apikey_explain_rls('v_missing');
SELECT apikey_explain_rls(0), apikey_explain_rls(0, 'x');
SELECT apikey_explain_rls(NULL);
SELECT apikey_explain_rls('apikey_keys');
SET ROLE regress_apikey_plans;
SELECT apikey_explain_rls('v_stage');
RESET ROLE;

RESET apikey.key;
REVOKE CREATE ON SCHEMA public FROM regress_apikey_plans;
DROP TABLE v_doc, v_case, v_stage, v_why, v_theirs;
DROP COLLATION v_insensitive;
DROP FUNCTION v_parallel_index, v_plan, v_check, v_with, v_rows, v_near, v_trap, v_tried, v_fails;
DROP DOMAIN v_id;
DROP TYPE v_mood;
DROP ROLE regress_apikey_plans;
DELETE FROM apikey_key WHERE organization LIKE 'v\_%';
DELETE FROM apikey_project WHERE organization LIKE 'v\_%';
