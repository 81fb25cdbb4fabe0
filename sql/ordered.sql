\a \t
-- Rows of a key in an order: plans, and the same rows as without an ordered scan.
SET jit = off;
SELECT count(apikey_add_project('o_acme', 'o' || i)) FROM generate_series(0, 39) i;
SELECT count(apikey_add_project('o_acme', i::text)) FROM generate_series(0, 39) i;
SELECT key AS one, key_id AS one_id FROM apikey_create('o_acme', 'one', '[{"project": "o3", "environment": "*", "level": "write"},
	{"project": "3", "environment": "*", "level": "write"}]') \gset
SELECT key AS some FROM apikey_create('o_acme', 'some', (SELECT jsonb_agg(jsonb_build_object('project', p || i, 'environment', 'production', 'level', 'write'))
	FROM generate_series(0, 9) i, unnest('{o,""}'::text[]) p)) \gset
SELECT key AS all FROM apikey_create('o_acme', 'all', '[{"project": "*", "environment": "*", "level": "write"}]') \gset

-- o0 to o9 and 0 to 9 are old; equal moments, and none
CREATE TABLE o_docs (id int PRIMARY KEY, project text NOT NULL, number int NOT NULL, environment text NOT NULL, kind int NOT NULL, created_at timestamptz NOT NULL, score int, title text);
INSERT INTO o_docs SELECT i, 'o' || p, p, CASE WHEN i % 3 = 0 THEN 'staging' ELSE 'production' END, i % 2, timestamptz '2026-01-01' + i / 5 * interval '1 min',
	nullif(i % 11, 0), repeat(md5(i::text), 3) FROM (SELECT i, CASE WHEN i < 1000 THEN i % 10 ELSE 10 + i % 30 END AS p FROM generate_series(1, 6000) i) t;
CREATE INDEX o_by_moment ON o_docs (created_at, id);
CREATE INDEX o_by_project ON o_docs (project, created_at, id);
CREATE INDEX o_by_score ON o_docs (project, score DESC NULLS LAST, id);
CREATE INDEX o_by_kind ON o_docs (kind, number, created_at DESC) INCLUDE (title);
CREATE INDEX o_by_title ON o_docs (project, lower(title), (id % 100));
VACUUM ANALYZE o_docs;
SELECT apikey_protect('o_docs', 'project', 'environment');
CREATE TABLE o_numbers (LIKE o_docs INCLUDING ALL);
INSERT INTO o_numbers SELECT * FROM o_docs;
DROP INDEX o_numbers_created_at_id_idx;
CREATE INDEX ON o_numbers (number, created_at, id);
CREATE INDEX ON o_numbers (number, score DESC NULLS LAST, id);
CREATE INDEX ON o_numbers (number, lower(title), (id % 100));
VACUUM ANALYZE o_numbers;
SELECT apikey_protect('o_numbers', 'number', 'environment');
CREATE ROLE o_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON o_docs, o_numbers TO o_app;

-- What a query returns with and without an ordered scan, and whether it has one.
CREATE FUNCTION o_try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	used text = 'not used, ';
	results text[];
BEGIN
	PERFORM set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF line LIKE '%apikey ordered scan%' THEN
			used = '';
		END IF;
	END LOOP;
	FOREACH line IN ARRAY '{on,off}'::text[] LOOP
		PERFORM set_config('apikey.enable_ordered_scan', line, true);
		EXECUTE format('SELECT array_append($1, coalesce(string_agg(t::text, E''\n''), '''')) FROM (%s) t', query) INTO results USING results;
	END LOOP;
	PERFORM set_config('apikey.enable_ordered_scan', 'on', true);
	RETURN used || CASE WHEN results[1] = results[2] THEN 'same' ELSE 'OTHERS' END;
END $$;
CREATE FUNCTION o_plan(query text, options text = 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
		-- PostgreSQL 18 says more
		RETURN NEXT regexp_replace(regexp_replace(line, ' \(actual.*\)', ''), '\n *"Disabled": false,', '', 'g');
	END LOOP;
END $$;
CREATE FUNCTION o_be(key text) RETURNS text LANGUAGE sql AS $$ SELECT left(set_config('apikey.key', key, false), 0) $$;

-- plans
SELECT o_be(:'some');
SET ROLE o_app;
EXPLAIN (COSTS OFF) SELECT * FROM o_docs ORDER BY created_at DESC LIMIT 20;
EXPLAIN (COSTS OFF) SELECT * FROM o_docs ORDER BY created_at, id LIMIT 20;
EXPLAIN (COSTS OFF) SELECT * FROM o_docs WHERE (created_at, id) < ('2026-01-01 02:00', 5) AND kind = 1 ORDER BY created_at DESC, id DESC LIMIT 20;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id FROM o_numbers WHERE kind = 1 ORDER BY created_at LIMIT 20;
SELECT o_plan('SELECT id FROM o_docs ORDER BY score DESC NULLS LAST LIMIT 20', 'COSTS OFF, FORMAT JSON');
SELECT o_plan('SELECT id FROM o_docs ORDER BY created_at DESC LIMIT 20', 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
-- none of all rows, of an order that no index gives within a project, or when it is off
EXPLAIN (COSTS OFF) SELECT * FROM o_docs ORDER BY created_at;
EXPLAIN (COSTS OFF) SELECT * FROM o_docs ORDER BY environment LIMIT 20;
SET apikey.enable_ordered_scan = off;
EXPLAIN (COSTS OFF) SELECT * FROM o_docs ORDER BY created_at DESC LIMIT 20;
RESET apikey.enable_ordered_scan;
RESET ROLE;

-- rows
CREATE TABLE o_queries (n int GENERATED ALWAYS AS IDENTITY, query text);
INSERT INTO o_queries (query) SELECT format(query, t) FROM unnest('{o_docs,o_numbers}'::text[]) t, unnest(ARRAY[
	'SELECT * FROM %s ORDER BY created_at DESC, id DESC LIMIT 30',
	'SELECT * FROM %s ORDER BY created_at, id LIMIT 30 OFFSET 100',
	'SELECT created_at FROM %s ORDER BY created_at DESC LIMIT 1000',
	'SELECT * FROM %s ORDER BY created_at DESC, id DESC',
	'SELECT * FROM %s WHERE created_at > ''2026-01-01 02:00'' AND id %% 7 = 0 ORDER BY created_at, id LIMIT 40',
	'SELECT * FROM %s WHERE (created_at, id) < (''2026-01-01 02:00'', 500) ORDER BY created_at DESC, id DESC LIMIT 30',
	'SELECT * FROM %s WHERE created_at IN (''2026-01-01 02:00'', ''2026-01-01 01:00'', ''2026-01-01 12:00'') ORDER BY created_at, id',
	'SELECT score, id FROM %s ORDER BY score DESC NULLS LAST, id LIMIT 300',
	'SELECT score, id FROM %s ORDER BY score NULLS FIRST, id DESC LIMIT 300',
	'SELECT score, id FROM %s WHERE score IS NULL ORDER BY id LIMIT 50',
	'SELECT score, id FROM %s WHERE score > 5 ORDER BY score DESC NULLS LAST, id LIMIT 50',
	'SELECT created_at FROM %s WHERE kind = 1 AND number < 100 ORDER BY created_at DESC LIMIT 5',
	'SELECT lower(title), id %% 100 FROM %s ORDER BY lower(title), id %% 100 LIMIT 400',
	'SELECT lower(title), id %% 100 FROM %s ORDER BY lower(title) DESC, id %% 100 DESC LIMIT 40',
	'SELECT kind, (SELECT array_agg(id) FROM (SELECT id FROM %1$s d WHERE d.id > k.kind * 100 ORDER BY created_at, id LIMIT 9) l) FROM generate_series(0, 6) k (kind)',
	'SELECT a.id, b.id FROM (SELECT * FROM %1$s ORDER BY created_at, id LIMIT 50) a JOIN %1$s b USING (created_at) ORDER BY 1, 2',
	'SELECT min(created_at), max(created_at) FROM %s',
	'SELECT DISTINCT ON (created_at) id FROM %s ORDER BY created_at DESC, id DESC LIMIT 200']) WITH ORDINALITY q (query, n) ORDER BY t, n;
GRANT SELECT ON o_queries TO o_app;
SELECT o_be(:'one');
SET ROLE o_app;
SELECT n, o_try(query) FROM o_queries ORDER BY n;
RESET ROLE;
SELECT o_be(:'some');
SET ROLE o_app;
SELECT n, o_try(query) FROM o_queries ORDER BY n;
RESET ROLE;
SELECT o_be(:'all');
SET ROLE o_app;
SELECT n, o_try(query) FROM o_queries ORDER BY n;
RESET ROLE;
SELECT o_be('junk');
SET ROLE o_app;
SELECT o_try(query), count(*) FROM o_queries GROUP BY 1 ORDER BY 1;
RESET ROLE;

-- one plan, many keys; a key is read anew whenever the scan begins
SET plan_cache_mode = force_generic_plan;
SELECT o_be(:'all');
SET ROLE o_app;
PREPARE newest (int) AS SELECT array_agg(id) FROM (SELECT id FROM o_docs ORDER BY created_at DESC, id DESC LIMIT $1) t;
EXECUTE newest(3);
SELECT o_be(:'one');
EXECUTE newest(3);
SELECT o_be(:'some');
EXECUTE newest(3);
SELECT o_be('');
EXECUTE newest(3);
SELECT o_be(:'one');
EXECUTE newest(3);
RESET ROLE;
SELECT as_application(format('apikey_disable(%L)', :'one_id'));
SET ROLE o_app;
EXECUTE newest(3);
RESET ROLE;
SELECT as_application(format('apikey_enable(%L)', :'one_id'));
RESET plan_cache_mode;

-- cursors, backward too; read only
SELECT o_be(:'some');
SET ROLE o_app;
BEGIN READ ONLY;
DECLARE c SCROLL CURSOR FOR SELECT id FROM o_docs ORDER BY created_at DESC, id DESC;
FETCH 2 FROM c;
MOVE 100 IN c;
FETCH 2 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH LAST FROM c;
FETCH FIRST FROM c;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT array_agg(id) FROM (SELECT id FROM o_docs ORDER BY created_at, id LIMIT 5) t;
COMMIT;

-- rows made of what an index has, with and without a walk; some changed since
RESET ROLE;
CREATE INDEX o_numbers_all ON o_numbers (created_at, id, number);
UPDATE o_docs SET title = 'changed' WHERE id % 500 = 0;
UPDATE o_numbers SET score = 0 WHERE id % 500 = 0;
SELECT o_try(format('SELECT created_at, %1$s FROM o_%2$s WHERE apikey_authorize(%1$s, ''production'', ''read'') ORDER BY created_at %3$s, id %3$s LIMIT %4$s', c, t, d, l))
FROM (VALUES ('project', 'docs'), ('number', 'numbers')) v (c, t), unnest('{ASC,DESC}'::text[]) d, unnest('{20,1000}'::int[]) l;
SET ROLE o_app;

-- rows that are changed
BEGIN;
SELECT o_plan('SELECT id FROM o_docs ORDER BY created_at DESC, id DESC LIMIT 3 FOR UPDATE');
SELECT id FROM o_docs ORDER BY created_at DESC, id DESC LIMIT 3 FOR UPDATE;
UPDATE o_docs d SET title = 'seen' FROM (SELECT id FROM o_docs ORDER BY created_at DESC, id DESC LIMIT 2) n WHERE d.id = n.id RETURNING d.id, title;
DELETE FROM o_docs WHERE id IN (SELECT id FROM o_docs ORDER BY created_at DESC, id DESC LIMIT 2) RETURNING id;
SELECT id, title FROM o_docs ORDER BY created_at DESC, id DESC LIMIT 1;
SELECT n, o_try(query) FROM o_queries WHERE n < 9 ORDER BY n;
ROLLBACK;
RESET ROLE;

-- partitions
CREATE TABLE o_parts (id int NOT NULL, project text NOT NULL, environment text NOT NULL, created_at timestamptz NOT NULL) PARTITION BY RANGE (created_at);
CREATE TABLE o_parts_1 PARTITION OF o_parts FOR VALUES FROM ('2026-01-01') TO ('2026-01-01 02:00');
CREATE TABLE o_parts_2 PARTITION OF o_parts FOR VALUES FROM ('2026-01-01 02:00') TO ('2027-01-01');
CREATE TABLE o_hash (LIKE o_parts) PARTITION BY HASH (project);
CREATE TABLE o_hash_1 PARTITION OF o_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE o_hash_2 PARTITION OF o_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO o_parts SELECT id, project, environment, created_at FROM o_docs;
INSERT INTO o_hash SELECT * FROM o_parts;
CREATE INDEX ON o_parts (project, created_at, id);
CREATE INDEX ON o_hash (project, created_at, id);
VACUUM ANALYZE o_parts, o_hash;
SELECT apikey_protect('o_parts', 'project', 'environment'), apikey_protect('o_hash', 'project', 'environment');
GRANT SELECT ON o_parts, o_hash TO o_app;
SET ROLE o_app;
SELECT o_try('SELECT * FROM o_parts ORDER BY created_at DESC, id DESC LIMIT 30'), o_try('SELECT * FROM o_parts ORDER BY created_at, id LIMIT 1000'),
	o_try('SELECT * FROM o_hash ORDER BY created_at DESC, id DESC LIMIT 30'), o_try('SELECT * FROM o_hash ORDER BY created_at, id LIMIT 1000');
RESET ROLE;
DROP TABLE o_docs, o_numbers, o_queries, o_parts, o_hash;
RESET apikey.key;
DROP ROLE o_app;
DROP FUNCTION o_try, o_plan, o_be;
DELETE FROM apikey_key WHERE organization LIKE 'o\_%';
DELETE FROM apikey_project WHERE organization LIKE 'o\_%';
