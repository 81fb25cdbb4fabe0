\a \t
-- A plan that is kept for other keys: it chooses how to read a table when it is begun.
SELECT count(apikey_add_project('ch_acme', 'ch' || i)) FROM generate_series(0, 99) i;
SELECT count(apikey_add_project('ch_acme', i::text)) FROM generate_series(9200, 9299) i;
SELECT apikey_add_project('ch_acme', 'ch_large'), apikey_add_project('ch_small', 'ch_mine');
CREATE TABLE ch_key (name text PRIMARY KEY, key text, key_id uuid);
INSERT INTO ch_key SELECT name, key, key_id FROM (VALUES
	('one', '[{"project": "ch7", "environment": "production", "level": "manage"}, {"project": "9207", "environment": "*", "level": "manage"}]'::jsonb),
	('large', '[{"project": "ch_large", "environment": "production", "level": "manage"}]'), ('none', '[]'),
	('all', '[{"project": "*", "environment": "production", "level": "manage"}]')) t (name, grants), apikey_create('ch_acme', name, grants);
INSERT INTO ch_key SELECT 'small', key, key_id FROM apikey_create('ch_small', 'small', '[{"project": "*", "environment": "*", "level": "manage"}]');
INSERT INTO ch_key VALUES ('nothing', '');
CREATE TABLE ch_doc (id int PRIMARY KEY, project text NOT NULL, environment text NOT NULL, n int, item text);
INSERT INTO ch_doc SELECT i, CASE WHEN i % 10 < 5 THEN 'ch_large' ELSE 'ch' || i % 1000 END, CASE WHEN i % 3 = 0 THEN 'development' ELSE 'production' END, 9200 + i % 1000, repeat('x', 200) FROM generate_series(1, 20000) i;
CREATE INDEX ch_project ON ch_doc (project, environment);
CREATE INDEX ch_n ON ch_doc (n);
CREATE TABLE ch_line (doc int, k int);
INSERT INTO ch_line SELECT i, i % 7 FROM generate_series(1, 20000, 3) i;
VACUUM ANALYZE ch_doc, ch_line;
SELECT apikey_protect('ch_doc', 'project', 'environment');
CREATE ROLE regress_apikey_choice;
GRANT SELECT, UPDATE, DELETE ON ch_doc TO regress_apikey_choice;
GRANT SELECT ON ch_line, ch_key TO regress_apikey_choice;
CREATE FUNCTION ch_use(wanted text) RETURNS void LANGUAGE sql AS $$ SELECT set_config('apikey.key', key, false) FROM ch_key WHERE name = wanted $$;
CREATE FUNCTION ch_plan(query text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
		-- PostgreSQL 19 has names for them
		RETURN NEXT replace(line, 'SubPlan expr_1', 'SubPlan 1');
	END LOOP;
END $$;
-- Plan a statement with some keys, execute it with all others: are the rows those of a plan of their own?
-- And what does the plan that is kept from "all" do for each?
CREATE FUNCTION ch_rows(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM (%s) t', query) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION ch_check(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	planner text;
	reader text;
	own text;
	kept text;
BEGIN
	FOREACH planner IN ARRAY '{all,one,nothing}'::text[] LOOP
		PERFORM ch_use(planner);
		EXECUTE format('PREPARE ch_kept AS SELECT count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)), 0) AS result FROM (%s) t', query);
		PERFORM ch_plan('EXECUTE ch_kept');
		FOR reader IN SELECT name FROM ch_key ORDER BY name LOOP
			PERFORM ch_use(reader);
			own = ch_rows(query);
			DROP TABLE IF EXISTS ch_result;
			EXECUTE 'CREATE TEMP TABLE ch_result AS EXECUTE ch_kept';
			kept = (SELECT result FROM ch_result);
			IF kept IS DISTINCT FROM own THEN
				RETURN NEXT format('planned for %s, read by %s: %s instead of %s', planner, reader, kept, own);
			END IF;
			IF planner = 'all' THEN
				RETURN NEXT format('%s: %s rows, %s', reader, split_part(own, ' ', 1), (SELECT string_agg(btrim(p), '; ') FROM ch_plan('EXECUTE ch_kept') p WHERE p ~ 'choice|Scan'));
			END IF;
		END LOOP;
		DEALLOCATE ch_kept;
	END LOOP;
END $$;
CREATE FUNCTION ch_change(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	reader text;
	changed record;
	found int;
BEGIN
	PERFORM ch_use('all');
	EXECUTE 'PREPARE ch_kept AS ' || query;
	FOREACH reader IN ARRAY '{all,one,small}'::text[] LOOP
		PERFORM ch_use(reader);
		RETURN NEXT format('%s: %s', reader, (SELECT string_agg(btrim(p), '; ') FROM ch_plan('EXECUTE ch_kept') p));
		found = 0;
		BEGIN
			FOR changed IN EXECUTE 'EXECUTE ch_kept' LOOP
				found = found + 1;
			END LOOP;
			RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZZZZ';
		EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
			RETURN NEXT found;
		END;
	END LOOP;
	DEALLOCATE ch_kept;
END $$;
CREATE FUNCTION ch_sum() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sum(id) FROM ch_doc WHERE item > ''); END $$;
SET client_min_messages = warning;
-- so that a small table counts as a large one
SET seq_page_cost = 50;
SET random_page_cost = 50;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET ROLE regress_apikey_choice;
SELECT ch_check('SELECT * FROM ch_doc');
SELECT ch_check('SELECT n + 1, left(item, 3) || id, (SELECT sum(k) FROM ch_line WHERE doc = id) FROM ch_doc WHERE n % 100 = 7');
SELECT ch_check('SELECT upper(project) || environment AS p FROM ch_doc');
SELECT ch_check('SELECT * FROM ch_doc JOIN ch_line ON doc = id');
SELECT ch_check('SELECT k, d.id FROM ch_line, LATERAL (SELECT id FROM ch_doc WHERE ch_doc.id + 1 > doc ORDER BY item, id LIMIT 1) d WHERE doc % 5000 = 1');
SELECT ch_check('SELECT * FROM ch_doc a WHERE n % 10 = 7 AND NOT EXISTS (SELECT FROM ch_doc b WHERE b.n = a.n AND b.item <> a.item) FOR UPDATE');

-- what is changed
SELECT ch_change('UPDATE ch_doc SET n = n + 1 WHERE n % 2 = 1 RETURNING id');
SELECT ch_change('DELETE FROM ch_doc WHERE n % 2 = 1 RETURNING id');
SELECT ch_change('UPDATE ch_doc SET n = k FROM ch_line WHERE doc = id RETURNING id');

-- cursors: forward, backward, and where they are
SELECT ch_use('all');
PREPARE ch_cursor AS SELECT id, n FROM ch_doc;
SELECT ch_plan('EXECUTE ch_cursor');
BEGIN;
DECLARE ch_c CURSOR FOR SELECT id, n FROM ch_doc;
FETCH 2 ch_c;
FETCH BACKWARD 1 ch_c;
UPDATE ch_doc SET item = 'here' WHERE CURRENT OF ch_c RETURNING id;
ROLLBACK;
DEALLOCATE ch_cursor;

-- a function that plans once
SELECT ch_sum();
SELECT ch_use('one');
SELECT ch_sum() = (SELECT sum(id) FROM ch_doc), ch_sum();
SELECT ch_use('nothing');
SELECT ch_sum();

-- in parallel: one process reads by the index, or all read all
RESET seq_page_cost;
RESET random_page_cost;
SET cpu_tuple_cost = 1;
SET max_parallel_workers_per_gather = 2;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SELECT ch_check('SELECT n, sum(id), max(item || project) FROM ch_doc GROUP BY n');
SELECT ch_check('SELECT k, count(*), sum(n) FROM ch_doc JOIN ch_line ON doc = id GROUP BY k');
SELECT ch_check('SELECT count(*) AS n FROM ch_doc');
-- a join stays one of all rows, but gets few of them
SET enable_nestloop = off;
SELECT ch_check('SELECT k, count(*), sum(n) FROM ch_doc JOIN ch_line ON doc = id GROUP BY k');
RESET enable_nestloop;
SELECT ch_use('all');
PREPARE ch_kept AS SELECT count(item) FROM ch_doc;
SELECT ch_plan('EXECUTE ch_kept');
SELECT ch_use('one');
SELECT regexp_replace(p, ' \(actual.*', '') FROM ch_plan('EXECUTE ch_kept', 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF') p WHERE p ~ 'choice|Bitmap';
SET parallel_leader_participation = off;
EXECUTE ch_kept;
RESET parallel_leader_participation;
SET max_parallel_workers = 0;
EXECUTE ch_kept;
RESET max_parallel_workers;
DEALLOCATE ch_kept;
-- again and again
SELECT ch_use('all');
SET enable_material = off;
SET enable_memoize = off;
PREPARE ch_kept AS SELECT k, (SELECT count(*) || ' ' || sum(id) FROM ch_doc WHERE ch_doc.item > 'a' || k) FROM generate_series(1, 2) k;
SELECT ch_plan('EXECUTE ch_kept');
EXECUTE ch_kept;
SELECT ch_use('one');
EXECUTE ch_kept;
DEALLOCATE ch_kept;
RESET cpu_tuple_cost;
SET seq_page_cost = 50;
SET random_page_cost = 50;
SET max_parallel_workers_per_gather = 0;

-- numbers, partitions, behind a restrictive policy
RESET ROLE;
CREATE TABLE ch_part (id int, project int, environment text, item text) PARTITION BY RANGE (id);
CREATE TABLE ch_part1 PARTITION OF ch_part FOR VALUES FROM (1) TO (10001);
CREATE TABLE ch_part2 PARTITION OF ch_part FOR VALUES FROM (10001) TO (20001);
INSERT INTO ch_part SELECT id, n, environment, item FROM ch_doc;
CREATE INDEX ON ch_part (project);
VACUUM ANALYZE ch_part;
SELECT apikey_protect('ch_part', 'project', 'environment');
CREATE POLICY ch_visible ON ch_part AS RESTRICTIVE USING (item <> 'hidden');
GRANT SELECT ON ch_part TO regress_apikey_choice;
SET ROLE regress_apikey_choice;
SELECT ch_check('SELECT * FROM ch_part');

-- where there is nothing to choose: a small table, no index, a key that is given, a condition that is checked once
RESET ROLE;
CREATE TABLE ch_none AS TABLE ch_doc;
ANALYZE ch_none;
SELECT apikey_protect('ch_none', 'project', 'environment');
GRANT SELECT ON ch_none TO regress_apikey_choice;
SET ROLE regress_apikey_choice;
SELECT ch_use('all');
SELECT ch_plan('SELECT * FROM ch_none');
SELECT p FROM ch_plan('SELECT * FROM ch_doc WHERE now() > ''2000-01-01''') p WHERE p ~ 'choice|Scan|One-Time';
RESET seq_page_cost;
RESET random_page_cost;
SELECT ch_plan('SELECT * FROM ch_doc');
RESET ROLE;
SET seq_page_cost = 50;
SET random_page_cost = 50;
SELECT ch_plan(format('SELECT * FROM ch_doc WHERE apikey_authorize(%L, project, environment, ''read'')', key)) ~ 'choice' AS choice FROM ch_key WHERE name = 'all';

RESET apikey.key;
RESET seq_page_cost;
RESET random_page_cost;
RESET max_parallel_workers_per_gather;
RESET min_parallel_table_scan_size;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET enable_material;
RESET enable_memoize;
RESET jit;
DROP FUNCTION ch_use, ch_plan, ch_rows, ch_check, ch_change, ch_sum;
DROP TABLE ch_result, ch_doc, ch_line, ch_part, ch_none, ch_key;
DROP ROLE regress_apikey_choice;
DELETE FROM apikey_key WHERE organization IN ('ch_acme', 'ch_small');
DELETE FROM apikey_project WHERE organization IN ('ch_acme', 'ch_small');
RESET client_min_messages;
