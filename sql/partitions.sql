\a \t
-- Partitions by project: those without a project of the key are not read.
SELECT count(apikey_add_project('n_acme', 'n' || i)) FROM generate_series(0, 39) i;
SELECT count(apikey_add_project('n_acme', i::text)) FROM generate_series(0, 9) i;
SELECT count(apikey_add_project('n_acme', '00000000-0000-4000-8000-00000000000' || i)) FROM generate_series(0, 9) i;
SELECT apikey_add_project('n_acme', 'n_staging', '{staging}');
CREATE TABLE n_key (name text PRIMARY KEY, key_id uuid, key text);
INSERT INTO n_key SELECT name, k.* FROM (VALUES
	('one', '{"project": "n7", "environment": "production", "level": "manage"}'),
	('two', '{"project": "n3", "environment": "production", "level": "write"}, {"project": "n21", "environment": "*", "level": "read"}'),
	('typed', '{"project": "3", "environment": "*", "level": "read"}, {"project": "00000000-0000-4000-8000-000000000003", "environment": "*", "level": "read"}'),
	('staging', '{"project": "n_staging", "environment": "*", "level": "manage"}'),
	('all', '{"project": "*", "environment": "*", "level": "manage"}'),
	('none', NULL)) t (name, grants),
	LATERAL apikey_create('n_acme', name, CASE WHEN grants IS NOT NULL THEN ('[' || grants || ']')::jsonb ELSE '[]' END) k;
SELECT key AS one FROM n_key WHERE name = 'one' \gset
SELECT key AS two FROM n_key WHERE name = 'two' \gset
SELECT key AS all FROM n_key WHERE name = 'all' \gset
SELECT key AS none FROM n_key WHERE name = 'none' \gset
CREATE ROLE regress_apikey_parts;
GRANT SELECT ON n_key TO regress_apikey_parts;
-- which partitions a query scans, without the "n_" of their names, and how many were left out
CREATE FUNCTION n_read(query text, key text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	IF key IS NOT NULL THEN
		PERFORM set_config('apikey.key', key, false);
	END IF;
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN (SELECT concat(string_agg(substr(n->>'Relation Name', 3), ' ' ORDER BY n->>'Relation Name' COLLATE "C") FILTER (WHERE n->>'Node Type' ~ 'Scan'),
			' -' || nullif(sum((n->>'Subplans Removed')::int), 0))
		FROM jsonb_path_query(plan, 'strict $.** ? (exists (@."Node Type"))') n);
END $$;
-- a plan; PostgreSQL 19 says more of a Result
CREATE FUNCTION n_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line !~ 'Replaces:' THEN
			RETURN NEXT line;
		END IF;
	END LOOP;
END $$;
SET max_parallel_workers_per_gather = 0;

CREATE TABLE n_list (id int, project text, environment text, body text) PARTITION BY LIST (project);
CREATE TABLE n_list_a PARTITION OF n_list FOR VALUES IN ('n1', 'n7', 'n9');
CREATE TABLE n_list_b PARTITION OF n_list FOR VALUES IN ('n3', NULL);
CREATE TABLE n_list_c PARTITION OF n_list FOR VALUES IN ('n5');
CREATE TABLE n_list_d PARTITION OF n_list DEFAULT;
INSERT INTO n_list SELECT row_number() OVER (ORDER BY p, e), p, e, 'x' FROM unnest('{n1,n3,n5,n7,n9,n21,n_staging,other}'::text[] || ARRAY[NULL]) p,
	unnest('{production,development}'::text[]) e;
CREATE INDEX ON n_list (project, environment);
\set VERBOSITY terse
SELECT apikey_protect('n_list', 'project', 'environment');
\set VERBOSITY default
GRANT ALL ON n_list TO regress_apikey_parts;

-- what is read: by key, by level, by what else the query says; not the partition for null
SET ROLE regress_apikey_parts;
SELECT name, n_read('SELECT * FROM n_list', key) AS "select", n_read('SELECT * FROM n_list ORDER BY project') AS ordered, n_read('UPDATE n_list SET body = body') AS "update",
	n_read('DELETE FROM n_list') AS "delete", n_read('SELECT * FROM n_list FOR UPDATE') AS locked
FROM n_key WHERE name <> 'typed' ORDER BY name COLLATE "C";
SET apikey.key = '';
SELECT n_read('SELECT * FROM n_list'), n_read('UPDATE n_list SET body = body');
SET apikey.key = :'two';
SELECT n_read('SELECT * FROM n_list WHERE environment = ''development'''), n_read('SELECT * FROM n_list WHERE project = ''n3'''),
	n_read('SELECT * FROM n_list WHERE project = ''n7'''), n_read('SELECT * FROM n_list WHERE project = current_user'),
	n_read('SELECT * FROM n_list WHERE project = ANY (apikey_projects(''read''))'),
	n_read('SELECT * FROM n_list a JOIN n_list b USING (id)'), n_read('SELECT count(*) FROM n_list'), n_read('SELECT max(project) FROM n_list');
-- a call in the query, with the key or without; a verb that is known later; an environment that is
RESET ROLE;
SELECT n_read('SELECT * FROM n_list'), n_read('SELECT * FROM n_list WHERE apikey_authorize(project, environment, ''write'')'),
	n_read('SELECT * FROM n_list WHERE apikey_authorize(project, ''development'', ''read'')'), n_read('SELECT * FROM n_list WHERE apikey_authorize(project, lower(user), ''read'')'),
	n_read(format('SELECT * FROM n_list WHERE apikey_authorize(%L, project, environment, ''read'')', :'one')),
	n_read(format('SELECT * FROM n_list WHERE apikey_authorize(%L, project, environment, ''read'') AND apikey_authorize(project, environment, ''read'')', :'all')),
	n_read(format('SELECT * FROM n_list WHERE apikey_authorize(%L, project, environment, ''read'') OR id = 0', :'one')),
	n_read(format('SELECT * FROM n_key k, LATERAL (SELECT * FROM n_list WHERE apikey_authorize(k.key, project, environment, ''read'')) l', :'one')),
	n_read('SELECT * FROM n_list WHERE apikey_authorize(project, environment, lower(''WRITE''))'), n_read('SELECT * FROM n_list WHERE apikey_authorize(body, environment, ''write'')');
SELECT count(*) FROM n_key k, LATERAL (SELECT * FROM n_list WHERE apikey_authorize(k.key, project, environment, 'read')) l;
SELECT * FROM n_list WHERE apikey_authorize(project, environment, 'look');
SET ROLE regress_apikey_parts;

-- the same plan for one key after another; a grant, a revocation, a key that the transaction made
SET plan_cache_mode = force_generic_plan;
PREPARE n_all AS SELECT id, project FROM n_list ORDER BY id;
PREPARE n_mine (int) AS UPDATE n_list SET body = 'y' WHERE id > $1;
SET apikey.key = :'all';
SELECT n_read('EXECUTE n_all'), n_read('EXECUTE n_mine (0)');
SET apikey.key = :'one';
SELECT n_read('EXECUTE n_all'), n_read('EXECUTE n_mine (0)');
EXECUTE n_all;
SET apikey.key = :'two';
SELECT n_read('EXECUTE n_all'), n_read('EXECUTE n_mine (0)');
EXECUTE n_all;
SET apikey.key = '';
EXECUTE n_all;
RESET apikey.key;
BEGIN;
RESET ROLE;
SELECT apikey_grant(key_id, 'n5', 'production', 'read') FROM n_key WHERE name = 'one';
SET LOCAL ROLE regress_apikey_parts;
SET LOCAL apikey.key = :'one';
SELECT n_read('EXECUTE n_all');
EXECUTE n_all;
RESET ROLE;
SET LOCAL apikey.key = '';
SELECT apikey_revoke(key_id) FROM n_key WHERE name = 'one';
SET LOCAL apikey.key = :'one';
SET LOCAL ROLE regress_apikey_parts;
SELECT n_read('EXECUTE n_all');
ROLLBACK;
BEGIN;
RESET ROLE;
SELECT key AS fresh FROM apikey_create('n_acme', 'fresh', '[{"project": "n5", "environment": "*", "level": "read"}]') \gset
SET LOCAL ROLE regress_apikey_parts;
SET LOCAL apikey.key = :'fresh';
EXECUTE n_all;
ROLLBACK;
-- a partition that is attached later, and one that goes
RESET ROLE;
CREATE TABLE n_late (LIKE n_list);
INSERT INTO n_late VALUES (100, 'n22', 'production'), (101, 'n23', 'production');
ALTER TABLE n_list ATTACH PARTITION n_late FOR VALUES IN ('n22', 'n23');
SET ROLE regress_apikey_parts;
SET apikey.key = :'one';
SELECT n_read('EXECUTE n_all');
SET apikey.key = :'all';
SELECT n_read('EXECUTE n_all');
RESET ROLE;
ALTER TABLE n_list DETACH PARTITION n_list_c;
SET ROLE regress_apikey_parts;
SELECT n_read('EXECUTE n_all');
RESET ROLE;
ALTER TABLE n_list ATTACH PARTITION n_list_c FOR VALUES IN ('n5');
-- a cursor has the partitions of the key it was opened with; rows are decided by the key of the moment
BEGIN;
SET LOCAL ROLE regress_apikey_parts;
SET LOCAL apikey.key = :'two';
DECLARE c CURSOR FOR SELECT id, project FROM n_list ORDER BY id;
SET LOCAL apikey.key = :'one';
FETCH ALL FROM c;
ROLLBACK;

-- rows that are changed: as without pruning
SET ROLE regress_apikey_parts;
SET apikey.key = :'two';
UPDATE n_list SET body = 'z' RETURNING id, project, environment;
DELETE FROM n_list RETURNING id;
SELECT attempt('UPDATE n_list SET project = ''n7'' WHERE project = ''n3''');
SET apikey.key = :'one';
DELETE FROM n_list RETURNING id, project, environment;
RESET ROLE;
\set VERBOSITY terse
SELECT apikey_protect('n_list', 'project', 'environment', strict => true);
\set VERBOSITY default
SET ROLE regress_apikey_parts;
SET apikey.key = :'two';
SELECT n_read('SELECT * FROM n_list'), n_read('UPDATE n_list SET body = body'), n_read('DELETE FROM n_list');
SELECT attempt('UPDATE n_list SET body = body WHERE project = ''n3'' AND environment = ''production'''), attempt('UPDATE n_list SET body = body'), attempt('DELETE FROM n_list'),
	attempt('UPDATE n_list SET body = body WHERE project = ''n9''');
SET apikey.key = '';
SELECT attempt('SELECT FROM n_list');

-- every way to partition, and type: the rows are those without pruning, of no more partitions than have any
RESET ROLE;
CREATE TYPE n_feeling AS ENUM ('n1', 'n3', 'n7', 'n21');
CREATE DOMAIN n_name AS varchar CHECK (value <> '');
CREATE TABLE n_layout (name text, n int GENERATED ALWAYS AS IDENTITY);
CREATE FUNCTION n_make(name text, type text, by text, VARIADIC parts text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	part text;
	names text = CASE WHEN type LIKE 'int%' THEN '{0,1,2,3,4,5,6,7,8,9,77}' WHEN type = 'uuid' THEN '{00000000-0000-4000-8000-000000000001,00000000-0000-4000-8000-000000000003,00000000-0000-4000-8000-000000000099}'
		WHEN type = 'n_feeling' THEN '{n1,n3,n7,n21}' ELSE '{n1,n3,n5,n7,n9,n11,n13,n21,n_staging,other}' END;
BEGIN
	EXECUTE format('CREATE TABLE n_%s (id int, day int, project %s, environment text) PARTITION BY %s', name, type, by);
	FOREACH part IN ARRAY parts LOOP
		EXECUTE format(replace(part, '@', 'n_' || name));
	END LOOP;
	EXECUTE format('INSERT INTO n_%s SELECT row_number() OVER (), d, p::%s, e FROM unnest(%L::text[]) p, unnest(''{production,development,staging}''::text[]) e, generate_series(1, 4) d', name, type, names);
	EXECUTE format('CREATE INDEX ON n_%s (project, id)', name);
	PERFORM apikey_protect(format('n_%s', name), 'project', 'environment');
	EXECUTE format('GRANT SELECT, UPDATE, DELETE ON n_%s TO regress_apikey_parts', name);
	INSERT INTO n_layout VALUES (name);
END $$;
CREATE FUNCTION n_modulus(count int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('CREATE TABLE @_%s PARTITION OF @ FOR VALUES WITH (MODULUS %s, REMAINDER %1$s)', i, count), ';') FROM generate_series(0, count - 1) i
$$;
SET client_min_messages = error;
SELECT n_make('hash', 'text', 'HASH (project)', n_modulus(8));
SELECT n_make('int2', 'int2', 'HASH (project)', n_modulus(4)), n_make('int4', 'int4', 'LIST (project)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (1, 2, 3)', 'CREATE TABLE @_2 PARTITION OF @ DEFAULT');
SELECT n_make('int8', 'int8', 'RANGE (project)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES FROM (MINVALUE) TO (3)', 'CREATE TABLE @_2 PARTITION OF @ FOR VALUES FROM (3) TO (5)', 'CREATE TABLE @_3 PARTITION OF @ DEFAULT');
SELECT n_make('uuid', 'uuid', 'HASH (project)', n_modulus(4)), n_make('mood', 'n_feeling', 'LIST (project)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (''n7'', ''n1'')', 'CREATE TABLE @_2 PARTITION OF @ DEFAULT');
SELECT n_make('mood_hash', 'n_feeling', 'HASH (project)', n_modulus(4)), n_make('varchar', 'varchar(50)', 'HASH (project)', n_modulus(4)), n_make('domain', 'n_name', 'HASH (project)', n_modulus(4));
SELECT n_make('pattern', 'text', 'LIST (project text_pattern_ops)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (''n7'', ''n1'')', 'CREATE TABLE @_2 PARTITION OF @ DEFAULT');
SELECT n_make('range', 'text', 'RANGE (project)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES FROM (MINVALUE) TO (''n3'')', 'CREATE TABLE @_2 PARTITION OF @ FOR VALUES FROM (''n3'') TO (''n7'')',
	'CREATE TABLE @_3 PARTITION OF @ FOR VALUES FROM (''n7'') TO (MAXVALUE)');
SELECT n_make('pairs', 'text', 'RANGE (project, day)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES FROM (MINVALUE, MINVALUE) TO (''n3'', 2)', 'CREATE TABLE @_2 PARTITION OF @ FOR VALUES FROM (''n3'', 2) TO (''n3'', 3)',
	'CREATE TABLE @_3 PARTITION OF @ FOR VALUES FROM (''n3'', 3) TO (''n7'', 3)', 'CREATE TABLE @_4 PARTITION OF @ DEFAULT');
-- days, and in each of them projects: by the same hash; by other lists and other columns
SELECT n_make('days', 'text', 'RANGE (day)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES FROM (MINVALUE) TO (2) PARTITION BY HASH (project)', replace(n_modulus(4), '@', '@_1'),
	'CREATE TABLE @_2 PARTITION OF @ FOR VALUES FROM (2) TO (4) PARTITION BY HASH (project)', replace(n_modulus(4), '@', '@_2'), 'CREATE TABLE @_3 PARTITION OF @ DEFAULT');
SELECT n_make('odd', 'text', 'LIST (day)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (1) PARTITION BY LIST (project)',
	'CREATE TABLE @_1_1 PARTITION OF @_1 FOR VALUES IN (''n1'', ''n3'')', 'CREATE TABLE @_1_2 PARTITION OF @_1 DEFAULT',
	'CREATE TABLE @_2 (project text, dropped int, environment text, day int, id int) PARTITION BY LIST (project)', 'ALTER TABLE @_2 DROP dropped', 'ALTER TABLE @ ATTACH PARTITION @_2 FOR VALUES IN (2)',
	'CREATE TABLE @_2_1 PARTITION OF @_2 FOR VALUES IN (''n3'', ''n7'')', 'CREATE TABLE @_2_2 PARTITION OF @_2 FOR VALUES IN (''n21'')', 'CREATE TABLE @_2_3 PARTITION OF @_2 DEFAULT PARTITION BY HASH (project)', replace(n_modulus(4), '@', '@_2_3'),
	'CREATE TABLE @_3 PARTITION OF @ DEFAULT PARTITION BY HASH (environment)', replace(n_modulus(4), '@', '@_3'));
SELECT n_make('top', 'text', 'LIST (project)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (''n7'', ''n1'') PARTITION BY RANGE (day)', 'CREATE TABLE @_1_1 PARTITION OF @_1 FOR VALUES FROM (1) TO (3)', 'CREATE TABLE @_1_2 PARTITION OF @_1 DEFAULT',
	'CREATE TABLE @_2 PARTITION OF @ DEFAULT PARTITION BY RANGE (project)', 'CREATE TABLE @_2_1 PARTITION OF @_2 FOR VALUES FROM (''n2'') TO (''n4'')', 'CREATE TABLE @_2_2 PARTITION OF @_2 DEFAULT');
-- not by the project alone: all are read
SELECT n_make('two', 'text', 'HASH (project, environment)', n_modulus(4)), n_make('lower', 'text', 'HASH (lower(project))', n_modulus(4)), n_make('day', 'text', 'LIST (day)', 'CREATE TABLE @_1 PARTITION OF @ FOR VALUES IN (1)', 'CREATE TABLE @_2 PARTITION OF @ DEFAULT');
RESET client_min_messages;
SELECT name, (SELECT count(*) FROM pg_partition_tree(format('n_%s', name)) WHERE isleaf) AS partitions FROM n_layout ORDER BY n;
-- the rows of a query with a key, and the partitions that it reads; more than have rows of the key are said, too (an enum is hashed by its OID)
CREATE FUNCTION n_compare(layout text, key text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	pruned bigint;
	rows bigint;
	holding bigint;
	read bigint;
BEGIN
	PERFORM set_config('apikey.key', key, false);
	query = format(query, layout);
	EXECUTE query;
	GET DIAGNOSTICS pruned = ROW_COUNT;
	SELECT count(*) FILTER (WHERE part <> '') INTO read FROM regexp_split_to_table(regexp_replace(n_read(query), ' ?-.*', ''), ' ') part;
	SET LOCAL enable_partition_pruning = off;
	EXECUTE query;
	GET DIAGNOSTICS rows = ROW_COUNT;
	EXECUTE format('SELECT count(DISTINCT tableoid) FROM n_%s', layout) INTO holding;
	RESET enable_partition_pruning;
	RETURN concat(pruned, '/' || CASE WHEN layout <> 'mood_hash' THEN read END, CASE WHEN rows <> pruned THEN ' WRONG, ' || rows END, CASE WHEN read > holding AND layout <> 'mood_hash' THEN ' of ' || holding END);
END $$;
GRANT SELECT ON n_layout TO regress_apikey_parts;
SET ROLE regress_apikey_parts;
DISCARD PLANS;
SELECT l.name AS layout, string_agg(concat_ws(' ', k.name, n_compare(l.name, k.key, 'SELECT * FROM n_%s ORDER BY id')), ', ' ORDER BY k.name COLLATE "C") AS "rows/partitions" FROM n_layout l, n_key k GROUP BY l.n, 1 ORDER BY l.n;
SELECT l.name AS layout, string_agg(concat_ws(' ', k.name, n_compare(l.name, k.key, 'UPDATE n_%s SET id = id')), ', ' ORDER BY k.name COLLATE "C") AS "rows/partitions" FROM n_layout l, n_key k GROUP BY l.n, 1 ORDER BY l.n;

-- below Gather too: all processes read what the leader found
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;
SET apikey.key = :'two';
EXPLAIN (COSTS OFF) SELECT count(*) FROM n_hash;
SELECT count(*), n_read('SELECT count(*) FROM n_hash') FROM n_hash;
SELECT count(*), n_read('SELECT * FROM n_pairs WHERE day = 3 ORDER BY id') FROM n_pairs WHERE day = 3;
SELECT count(*), n_read('SELECT count(*) FROM n_hash a JOIN n_days b USING (project)') FROM n_hash a JOIN n_days b USING (project);
SELECT l.name AS layout, string_agg(concat_ws(' ', k.name, n_compare(l.name, k.key, 'SELECT * FROM n_%s')), ', ' ORDER BY k.name COLLATE "C") AS "rows/partitions" FROM n_layout l, n_key k WHERE k.name = 'two' OR l.name = 'days' GROUP BY l.n, 1 ORDER BY l.n;
SET apikey.key = :'two';
SET parallel_leader_participation = off;
SELECT count(*) FROM n_hash;
SET enable_parallel_append = off;
SELECT count(*) FROM n_hash;
SET apikey.key = '';
SELECT n_plan('SELECT count(*) FROM n_hash');
SELECT count(*) FROM n_hash;
RESET parallel_leader_participation; RESET enable_parallel_append; RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_indexonlyscan;
SET max_parallel_workers_per_gather = 0;
-- by more than the project, where the query fixes the rest; by what a parameter says
SET apikey.key = :'two';
SELECT n_read('SELECT * FROM n_two WHERE environment = ''production'''), n_read('SELECT * FROM n_two WHERE environment = lower(''PRODUCTION'') AND project = current_setting(''apikey.prefix'')');
PREPARE n_fixed (text, int) AS SELECT count(*) FROM n_two WHERE environment = $1 AND day > $2;
EXECUTE n_fixed ('production', 2);
SELECT n_read('EXECUTE n_fixed (''production'', 2)'), n_read('EXECUTE n_fixed (NULL, 2)');
-- by what a join finds, too
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;
SET apikey.key = :'two';
SELECT count(*) FROM unnest('{n3,n7,n21}'::text[]) p JOIN n_hash h ON h.project = p;
SELECT count(*) FROM unnest('{n3,n7,n21}'::text[]) p JOIN n_pairs h ON h.project = p AND h.day = 3;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_seqscan;
-- joined and grouped partition by partition
SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on;
SELECT count(*) FROM n_hash a JOIN n_hash b USING (project, id);
SELECT project, count(*) FROM n_hash GROUP BY project ORDER BY project;
SELECT a.project, count(*), count(b.id) FROM n_days a LEFT JOIN n_days b ON b.day = a.day AND b.project = a.project AND b.id = a.id AND b.day < 3 GROUP BY a.project ORDER BY a.project;
RESET enable_partitionwise_join; RESET enable_partitionwise_aggregate;

-- a partition that remains alone is read without what would put several together
EXPLAIN (COSTS OFF) SELECT id FROM n_pattern ORDER BY id LIMIT 2;
EXPLAIN (COSTS OFF) SELECT FROM n_pattern;
SET apikey.key = :'one';
SELECT id, project FROM n_pattern ORDER BY project DESC, id LIMIT 2;
SELECT count(*), max(id) FROM n_pattern;
SELECT array(SELECT id FROM n_pattern ORDER BY id LIMIT 2), (SELECT count(*) FROM n_hash h WHERE h.id = p.id) FROM n_pattern p ORDER BY id LIMIT 2;
(SELECT id, project FROM n_pattern ORDER BY id LIMIT 1) UNION ALL SELECT id, project FROM n_hash WHERE day = 1 ORDER BY id;
-- in a subquery for each row, and on both sides
SELECT k.name, l.count FROM (VALUES ('n7'), ('n3')) k (name) CROSS JOIN LATERAL (SELECT count(*) FROM n_hash h WHERE h.project = k.name OR h.id = 0) l;
SELECT count(*) FROM n_hash h LEFT JOIN n_days d ON d.project = h.project AND d.id = h.id;
-- WHERE CURRENT OF, and backwards
BEGIN;
SET LOCAL apikey.key = :'two';
DECLARE c SCROLL CURSOR FOR SELECT id, project, environment FROM n_pattern;
FETCH ALL FROM c;
FETCH BACKWARD 2 FROM c;
UPDATE n_pattern SET day = day WHERE CURRENT OF c RETURNING id;
DECLARE l CURSOR FOR SELECT id, project FROM n_pattern WHERE project = 'n3' ORDER BY id FOR UPDATE;
FETCH FROM l;
UPDATE n_pattern SET day = day WHERE CURRENT OF l RETURNING id;
ROLLBACK;
-- a row that moves to a partition that is not read
SET apikey.key = :'two';
BEGIN;
PREPARE n_move (int, int) AS UPDATE n_days SET day = $2 WHERE day = $1 AND environment = 'production' RETURNING id, day, tableoid::regclass;
SELECT n_read('EXECUTE n_move (2, 1)');
EXECUTE n_move (2, 1);
EXECUTE n_move (1, 4);
ROLLBACK;
-- nothing is left for a cursor that can go back
BEGIN;
SET LOCAL apikey.key = '';
DECLARE n_none CURSOR FOR SELECT id, project FROM n_pattern;
FETCH 2 FROM n_none;
FETCH BACKWARD 2 FROM n_none;
DECLARE n_some CURSOR FOR SELECT id FROM n_pattern UNION ALL SELECT x FROM unnest('{1,2}'::int[]) x;
FETCH ALL FROM n_some;
FETCH BACKWARD ALL FROM n_some;
ROLLBACK;
-- a key that is set within a statement: its rows of the partitions that were found for the key at the start
BEGIN;
SET LOCAL apikey.key = :'one';
SELECT set_config('apikey.key', :'all', true) <> '' AS set, (SELECT count(*) FROM n_pattern) AS rows;
SELECT count(*) FILTER (WHERE project IN ('n1', 'n7')) AS there, count(*) FROM n_pattern;
ROLLBACK;

-- by organization the condition is an equality, which prunes by itself
RESET ROLE;
CREATE TABLE n_org (id int, organization text) PARTITION BY HASH (organization);
CREATE TABLE n_org_0 PARTITION OF n_org FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE n_org_1 PARTITION OF n_org FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST (organization);
CREATE TABLE n_org_1_1 PARTITION OF n_org_1 FOR VALUES IN ('n_acme', 'n_1', 'n_2', 'n_3');
CREATE TABLE n_org_1_2 PARTITION OF n_org_1 DEFAULT;
INSERT INTO n_org SELECT i, CASE i WHEN 0 THEN 'n_acme' ELSE 'n_' || i END FROM generate_series(0, 20) i;
\set VERBOSITY terse
SELECT apikey_protect_organization('n_org', 'organization');
\set VERBOSITY default
GRANT SELECT, UPDATE, DELETE ON n_org TO regress_apikey_parts;
RESET apikey.key;
SELECT key AS org FROM apikey_create('n_acme', 'org', organization_level => 'write') \gset
SET ROLE regress_apikey_parts;
SET apikey.key = :'org';
PREPARE n_org AS SELECT * FROM n_org ORDER BY id;
EXECUTE n_org;
SELECT regexp_replace(n_read('EXECUTE n_org'), '^.* ', ''), regexp_replace(n_read('UPDATE n_org SET id = id'), '^.* ', ''), regexp_replace(n_read('DELETE FROM n_org'), '^.* ', '');
SET apikey.key = :'one';
SELECT n_read('EXECUTE n_org');
-- below Gather too
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SET apikey.key = :'org';
EXPLAIN (COSTS OFF) SELECT count(*) FROM n_org;
SELECT count(*), n_read('SELECT count(*) FROM n_org') FROM n_org;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
SET max_parallel_workers_per_gather = 0;

-- what stands for a list in plans is never called
RESET ROLE;
SELECT attempt('SELECT apikey_internal.any_of(apikey_projects(''read''))');

-- the plan by which a session loads the library
\c -
SET ROLE regress_apikey_parts;
SELECT set_config('apikey.key', key, false) IS NOT NULL AS set FROM n_key WHERE name = 'two';
PREPARE n_first AS SELECT id, project FROM n_pattern;
EXPLAIN (COSTS OFF) EXECUTE n_first;
SELECT count(*) FROM n_pattern;
RESET ROLE;

RESET apikey.key;
DROP TABLE n_key, n_list, n_layout, n_org;
DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relname ~ '^n_' AND relkind = 'p' AND NOT relispartition LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$;
DROP TYPE n_feeling;
DROP DOMAIN n_name;
DROP FUNCTION n_read, n_plan, n_make, n_modulus, n_compare;
DROP ROLE regress_apikey_parts;
DELETE FROM apikey_key WHERE organization = 'n_acme';
DELETE FROM apikey_project WHERE organization = 'n_acme';
