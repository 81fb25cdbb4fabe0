\a \t
-- Row-level security by apikey_protect, as the application's role sees it.
SELECT apikey_add_project('q_acme', 'q_web'), apikey_add_project('q_acme', 'q_shop'), apikey_add_project('q_globex', 'q_mars');
CREATE ROLE regress_apikey_app;
CREATE TABLE q_doc (id int PRIMARY KEY, project text, environment text, body text);
INSERT INTO q_doc SELECT row_number() OVER (ORDER BY p, e), p, e, p || ' ' || e
FROM unnest('{q_web,q_shop,q_mars,q_none}'::text[]) p, unnest('{production,development}'::text[]) e;
INSERT INTO q_doc VALUES (9, NULL, 'production', 'null'), (10, 'q_web', NULL, 'null'), (11, '*', '*', 'stars');
CREATE INDEX ON q_doc (project, environment);
SELECT apikey_protect('q_doc', 'project', 'environment');
GRANT ALL ON q_doc TO regress_apikey_app;
CREATE TABLE q_key (level text, key_id uuid, key text);
INSERT INTO q_key SELECT l, k.* FROM unnest('{read,write,manage}'::text[]) l,
	LATERAL apikey_create('q_acme', l, jsonb_build_array(
		jsonb_build_object('project', 'q_web', 'environment', 'production', 'level', l),
		jsonb_build_object('project', 'q_shop', 'environment', '*', 'level', 'read'))) k;
SELECT key AS read FROM q_key WHERE level = 'read' \gset
SELECT key AS write FROM q_key WHERE level = 'write' \gset
SELECT key AS manage, key_id AS manage_id FROM q_key WHERE level = 'manage' \gset
-- run a command, tell how many rows it touched
CREATE FUNCTION q_rows(command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE command;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;
SET ROLE regress_apikey_app;

-- without a key there is nothing
SELECT * FROM q_doc;
INSERT INTO q_doc VALUES (20, 'q_web', 'production');
SELECT q_rows('UPDATE q_doc SET body = ''x''') AS updated, q_rows('DELETE FROM q_doc') AS deleted,
	q_rows('SELECT FROM q_doc FOR UPDATE') AS locked, q_rows('TABLE q_doc') AS seen;

-- read
BEGIN;
SET LOCAL apikey.key = :'read';
SELECT * FROM q_doc ORDER BY id;
SELECT q_rows('UPDATE q_doc SET body = ''x''') AS updated, q_rows('DELETE FROM q_doc') AS deleted,
	q_rows('SELECT FROM q_doc FOR SHARE') AS locked, q_rows('TABLE q_doc') AS seen;
INSERT INTO q_doc VALUES (20, 'q_web', 'production');
ROLLBACK;

-- write: what is inserted, the old row and the new one
BEGIN;
SET LOCAL apikey.key = :'write';
INSERT INTO q_doc VALUES (20, 'q_web', 'production', 'new') RETURNING id, body;
UPDATE q_doc SET body = body || '!' RETURNING id, body;
SELECT q_rows('UPDATE q_doc SET body = body') AS updated, q_rows('DELETE FROM q_doc') AS deleted,
	q_rows('SELECT FROM q_doc FOR UPDATE') AS locked, q_rows('TABLE q_doc') AS seen;
SAVEPOINT s;
INSERT INTO q_doc VALUES (21, 'q_shop', 'production', 'read only there');
ROLLBACK TO s;
UPDATE q_doc SET project = 'q_shop' WHERE id = 20;
ROLLBACK TO s;
UPDATE q_doc SET environment = NULL WHERE id = 20;
ROLLBACK TO s;
SELECT q_rows('UPDATE q_doc SET body = ''not seen'' WHERE project = ''q_mars''') AS updated,
	q_rows('WITH u AS (UPDATE q_doc SET body = ''x'' WHERE id = 1 RETURNING 1) SELECT FROM u') AS in_with,
	q_rows('UPDATE q_doc d SET body = ''x'' FROM q_doc e WHERE e.project = ''q_shop'' AND d.id = e.id') AS by_a_join;
INSERT INTO q_doc VALUES (20, 'q_web', 'production', 'conflict') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING body;
SELECT q_rows('INSERT INTO q_doc VALUES (20, ''q_web'', ''production'', ''x'') ON CONFLICT DO NOTHING') AS inserted;
-- the row that the update would make is checked, too
INSERT INTO q_doc VALUES (20, 'q_web', 'production', 'x') ON CONFLICT (id) DO UPDATE SET project = 'q_shop';
ROLLBACK TO s;
INSERT INTO q_doc VALUES (5, 'q_web', 'production', 'x') ON CONFLICT (id) DO UPDATE SET project = 'q_web', environment = 'production';
ROLLBACK TO s;
-- a conflict with a row that the key does not see is an error, not an update
INSERT INTO q_doc SELECT 1, 'q_web', 'production', 'x' ON CONFLICT (id) DO UPDATE SET body = excluded.body;
ROLLBACK TO s;
MERGE INTO q_doc d USING (VALUES (20, 'merged'), (30, 'inserted')) AS v (id, body) ON d.id = v.id
	WHEN MATCHED THEN UPDATE SET body = v.body
	WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'q_web', 'production', v.body);
SELECT id, body FROM q_doc WHERE project = 'q_web' ORDER BY id;
MERGE INTO q_doc d USING (VALUES (20)) AS v (id) ON d.id = v.id WHEN MATCHED THEN DELETE;
ROLLBACK TO s;
COPY q_doc (id, body) TO stdout;
ROLLBACK;

-- manage
BEGIN;
SET LOCAL apikey.key = :'manage';
DELETE FROM q_doc RETURNING id, project;
SELECT q_rows('MERGE INTO q_doc d USING (VALUES (1), (5)) AS v (id) ON d.id = v.id AND d.project = ''q_mars'' WHEN MATCHED THEN DELETE') AS merged;
MERGE INTO q_doc d USING (VALUES (5)) AS v (id) ON d.id = v.id WHEN MATCHED THEN DELETE;
ROLLBACK;
SET ROLE NONE;
SELECT id, project, environment, body FROM q_doc ORDER BY id;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'manage';
COPY (SELECT project, environment FROM q_doc ORDER BY id) TO stdout;
SELECT (SELECT count(*) FROM (SELECT FROM q_doc UNION ALL SELECT FROM q_doc) t) AS twice, EXISTS (SELECT FROM q_doc WHERE id = 1) AS mars,
	(SELECT max(id) FROM q_doc) AS max, (SELECT count(*) FROM generate_series(1, 11) i, LATERAL (SELECT FROM q_doc d WHERE d.id = i) t) AS by_key,
	(SELECT count(*) FROM generate_series(1, 11) i WHERE NOT EXISTS (SELECT FROM q_doc d WHERE d.id = i)) AS absent;
COMMIT;

-- views: with the rights of who asks, or of their owner
RESET ROLE;
CREATE VIEW q_invoker WITH (security_invoker) AS SELECT * FROM q_doc;
CREATE VIEW q_definer AS SELECT * FROM q_doc;
GRANT SELECT ON q_invoker, q_definer TO regress_apikey_app;
SELECT count(*) AS the_owner_bypasses FROM q_doc;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'read';
SELECT count(*) AS invoker FROM q_invoker;
SELECT count(*) AS definer FROM q_definer;
COMMIT;
RESET ROLE;
ALTER VIEW q_definer OWNER TO regress_apikey_app;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'read';
SELECT count(*) AS definer FROM q_definer;
-- a join of two protected tables, aggregates, a function that leaks
SELECT count(*) FROM q_doc a JOIN q_doc b USING (project);
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'seen %', $1; RETURN true; END $$;
SELECT count(*) FROM q_doc WHERE pg_temp.leak(body);
ROLLBACK;
RESET ROLE;

-- partitions and other types of columns: the same rows whatever the plan
CREATE TYPE q_stage AS ENUM ('production', 'development');
CREATE DOMAIN q_domain AS text CHECK (value <> '');
SELECT apikey_add_project('q_acme', '1001'), apikey_add_project('q_acme', '1002'), apikey_add_project('q_acme', '11111111-1111-1111-1111-111111111111');
SELECT apikey_grant(:'manage_id', '1001', 'production', 'write'),
	apikey_grant(:'manage_id', '11111111-1111-1111-1111-111111111111', 'production', 'read');
CREATE FUNCTION q_plans(query text) RETURNS TABLE (plan text, result text) LANGUAGE plpgsql AS $$
DECLARE
	setting text;
BEGIN
	FOREACH setting IN ARRAY '{enable_seqscan,enable_indexscan,enable_bitmapscan,enable_indexonlyscan}'::text[] LOOP
		PERFORM set_config(setting, 'off', true);
	END LOOP;
	FOREACH setting IN ARRAY '{enable_seqscan,enable_indexscan,enable_bitmapscan}'::text[] LOOP
		PERFORM set_config(setting, 'on', true);
		plan = setting;
		EXECUTE query INTO result;
		RETURN NEXT;
		PERFORM set_config(setting, 'off', true);
	END LOOP;
	RESET enable_seqscan; RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_indexonlyscan;
END $$;
GRANT EXECUTE ON FUNCTION q_plans TO regress_apikey_app;
SET client_min_messages = error;
DO $$
DECLARE
	kind text;
BEGIN
	FOREACH kind IN ARRAY '{text,varchar,name,q_domain,int4,int8,int2,uuid,numeric}'::text[] LOOP
		EXECUTE format('CREATE TABLE q_%s (project %s, environment %s)', kind, kind,
			CASE WHEN kind IN ('int4', 'uuid') THEN 'q_stage' ELSE 'varchar(20)' END);
		EXECUTE format('INSERT INTO q_%s SELECT p::%s, e::%s FROM unnest(%L::text[]) p, unnest(%L::text[]) e, generate_series(1, 50)',
			kind, kind, CASE WHEN kind IN ('int4', 'uuid') THEN 'q_stage' ELSE 'varchar(20)' END,
			CASE WHEN kind LIKE 'int%' OR kind = 'numeric' THEN '{1001,1002,7}' WHEN kind = 'uuid' THEN '{11111111-1111-1111-1111-111111111111,22222222-2222-2222-2222-222222222222}'
				ELSE '{q_web,q_shop,q_mars}' END, '{production,development}');
		EXECUTE format('CREATE INDEX ON q_%s (project)', kind);
		EXECUTE format('GRANT SELECT ON q_%s TO regress_apikey_app', kind);
		-- apikey_protect takes not all that apikey_authorize takes
		IF kind IN ('name', 'numeric') THEN
			EXECUTE format('ALTER TABLE q_%s ENABLE ROW LEVEL SECURITY', kind);
			EXECUTE format('CREATE POLICY by_hand ON q_%s USING (apikey_authorize(project, environment, ''read''))', kind);
		ELSE
			PERFORM apikey_protect(format('q_%s', kind), 'project', 'environment');
		END IF;
	END LOOP;
	CREATE TABLE q_parts (project text, environment text) PARTITION BY LIST (environment);
	CREATE TABLE q_parts_p PARTITION OF q_parts FOR VALUES IN ('production');
	CREATE TABLE q_parts_d PARTITION OF q_parts DEFAULT;
	INSERT INTO q_parts SELECT project, environment FROM q_text;
	GRANT SELECT ON q_parts TO regress_apikey_app;
	PERFORM apikey_protect('q_parts', 'project', 'environment');
END $$;
RESET client_min_messages;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'manage';
SELECT kind, p.* FROM unnest('{text,varchar,name,q_domain,int4,int8,int2,uuid,numeric,parts}'::text[]) WITH ORDINALITY AS k (kind, n),
	LATERAL q_plans(format('SELECT string_agg(s, '' '') FROM (SELECT concat(left(project::text, 8), ''/'', environment, ''='', count(*)) s FROM q_%s GROUP BY project, environment ORDER BY project::text COLLATE "C", environment::text COLLATE "C") t', kind)) p
ORDER BY n, 2;
SELECT apikey_projects('read');
COMMIT;
-- an enum that somebody casts to text in a way of his own: its values are what the cast says, by whatever index
RESET ROLE;
CREATE TYPE q_mood AS ENUM ('red', 'green');
CREATE FUNCTION q_cast(q_mood) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CASE $1::name WHEN 'red' THEN 'q_web' ELSE 'q_mars' END $$;
CREATE CAST (q_mood AS text) WITH FUNCTION q_cast(q_mood) AS IMPLICIT;
CREATE TABLE q_cast (project q_mood, environment text);
INSERT INTO q_cast SELECT p, e FROM unnest(enum_range(NULL::q_mood)) p, unnest('{production,development}'::text[]) e, generate_series(1, 50);
ALTER TABLE q_cast ENABLE ROW LEVEL SECURITY;
\set VERBOSITY terse
CREATE POLICY by_hand ON q_cast USING (apikey_authorize(project, environment, 'read'));
\set VERBOSITY default
CREATE POLICY by_hand ON q_cast USING (apikey_authorize(project::text, environment, 'read'));
GRANT SELECT ON q_cast TO regress_apikey_app;
CREATE FUNCTION q_cast_plans(index text) RETURNS TABLE (plan text, result text, by_list bigint) LANGUAGE plpgsql AS $$
DECLARE
	query text = 'SELECT string_agg(s, '' '') FROM (SELECT concat(project::name, ''/'', environment, ''='', count(*)) s FROM q_cast GROUP BY project, environment ORDER BY 1) t';
	line text;
BEGIN
	EXECUTE index;
	ANALYZE q_cast;
	SET LOCAL ROLE regress_apikey_app;
	SET LOCAL enable_seqscan = off;
	by_list = 0;
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		by_list = by_list + (line ~ 'ANY \(apikey_')::int;
	END LOOP;
	RETURN QUERY SELECT p.plan, p.result, by_list FROM q_plans(query) p;
	RESET ROLE;
	DROP INDEX IF EXISTS q_cast_index;
END $$;
BEGIN;
SET LOCAL apikey.key = :'manage';
SELECT index, p.* FROM unnest('{ON q_cast (project),ON q_cast (q_cast(project)),ON q_cast USING hash (q_cast(project)),"ON q_cast (environment, project)"}'::text[])
	WITH ORDINALITY AS t (index, n), LATERAL q_cast_plans('CREATE INDEX q_cast_index ' || index) p ORDER BY n, 2;
ROLLBACK;
DROP TABLE q_cast;
DROP CAST (q_mood AS text);
DROP FUNCTION q_cast, q_cast_plans;
DROP TYPE q_mood;
SET ROLE regress_apikey_app;

-- parallel workers have the key, too
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SET enable_indexonlyscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off;
BEGIN;
SET LOCAL apikey.key = :'read';
EXPLAIN (COSTS OFF) SELECT count(*) FROM q_text;
SELECT count(*) FROM q_text;
SET LOCAL parallel_leader_participation = off;
SELECT count(*) FROM q_text;
SELECT count(*) FROM q_int4;
SELECT set_config(name, 'on', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT label FROM apikey_whoami();
SELECT apikey_authorize('q_web', 'production', 'read'), apikey_projects('read');
COMMIT;
-- a key that the transaction made itself
RESET ROLE;
BEGIN;
SELECT key AS fresh FROM apikey_create('q_acme', 'fresh', '[{"project": "q_shop", "environment": "*", "level": "read"}]') \gset
SET LOCAL parallel_leader_participation = off;
SET LOCAL ROLE regress_apikey_app;
SET LOCAL apikey.key = :'fresh';
SELECT count(*) FROM q_text;
ROLLBACK;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
RESET enable_indexonlyscan; RESET enable_indexscan; RESET enable_bitmapscan;

-- EXPLAIN ANALYZE runs as the query does
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'read';
CREATE FUNCTION pg_temp.actual_rows(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ 'actual' THEN RETURN NEXT substring(line FROM 'rows=\d+'); RETURN; END IF;
	END LOOP;
END $$;
SELECT pg_temp.actual_rows('SELECT * FROM q_text');
ROLLBACK;
-- a prepared statement serves one key after another
SET plan_cache_mode = force_generic_plan;
PREPARE q_count AS SELECT count(*) FROM q_doc;
BEGIN; SET LOCAL apikey.key = :'read'; EXECUTE q_count; SET LOCAL apikey.key = ''; EXECUTE q_count; SET LOCAL apikey.key = :'manage'; EXECUTE q_count; COMMIT;
EXECUTE q_count;
DEALLOCATE q_count;
RESET plan_cache_mode;
-- a revoke in the middle of a cursor
RESET ROLE;
BEGIN;
SET LOCAL apikey.key = :'manage';
SET LOCAL ROLE regress_apikey_app;
DECLARE q_rows CURSOR FOR SELECT id FROM q_doc ORDER BY id;
FETCH 1 FROM q_rows;
SET LOCAL ROLE NONE;
SELECT as_application(format('apikey_revoke(%L)', :'manage_id'));
SET LOCAL ROLE regress_apikey_app;
SELECT count(*) FROM q_doc;
ROLLBACK;

RESET ROLE;
-- a cursor that is still running loses the key at its next row, as does one whose key was taken away
BEGIN;
SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL apikey.key = :'manage';
SET LOCAL ROLE regress_apikey_app;
DECLARE q_rows CURSOR FOR SELECT id FROM q_doc;
FETCH 1 FROM q_rows;
SAVEPOINT s;
SET LOCAL apikey.key = '';
FETCH 1 FROM q_rows;
ROLLBACK;
BEGIN;
SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL apikey.key = :'manage';
SET LOCAL ROLE regress_apikey_app;
DECLARE q_rows CURSOR FOR SELECT id FROM q_doc;
FETCH 1 FROM q_rows;
SET LOCAL ROLE NONE;
SELECT as_application(format('apikey_ungrant(%L, ''q_shop'', ''*'')', :'manage_id'));
SET LOCAL ROLE regress_apikey_app;
FETCH ALL FROM q_rows;
ROLLBACK;

-- partitions by themselves are closed; what goes from one to another is checked as anywhere
GRANT INSERT, UPDATE, DELETE ON q_parts TO regress_apikey_app;
SET ROLE regress_apikey_app;
SELECT attempt('SELECT FROM q_parts_p'), attempt('INSERT INTO q_parts_d VALUES (''q_web'', ''development'')');
BEGIN;
SET LOCAL apikey.key = :'write';
SELECT q_rows('INSERT INTO q_parts VALUES (''q_web'', ''production'')') AS inserted, q_rows('UPDATE q_parts SET project = project') AS updated,
	q_rows('DELETE FROM q_parts') AS deleted, q_rows('SELECT FROM q_parts') AS seen;
SELECT attempt('INSERT INTO q_parts VALUES (''q_web'', ''development'')'), attempt('UPDATE q_parts SET environment = ''development''');
-- two protected tables in one query, and one filled from the other
SELECT d.project, d.environment, count(*) FROM q_doc d JOIN q_parts p USING (project, environment) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM q_doc d LEFT JOIN q_int4 i ON true WHERE i.project IS NULL;
SELECT attempt('INSERT INTO q_parts SELECT project, environment FROM q_doc'),
	attempt('INSERT INTO q_parts SELECT project, environment FROM q_doc WHERE project = ''q_web''');
COMMIT;
-- it cannot be switched off, and a bad key is no error, but none
SET row_security = off;
SELECT count(*) FROM q_doc;
RESET row_security;
BEGIN;
SET LOCAL apikey.key = 'junk';
SELECT count(*) FROM q_doc;
COMMIT;
RESET ROLE;

-- the owner, with force and without; a function with the owner's rights
GRANT CREATE ON SCHEMA public TO regress_apikey_app;
SET ROLE regress_apikey_app;
CREATE TABLE q_own AS SELECT i AS id, CASE WHEN i % 2 = 0 THEN 'q_web' ELSE 'q_mars' END AS project, 'production' AS environment FROM generate_series(1, 10) i;
CREATE INDEX ON q_own (project);
SELECT apikey_protect('q_own', 'project', 'environment');
CREATE FUNCTION q_definer_count() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM q_own';
SELECT count(*), q_definer_count() FROM q_own;
SELECT apikey_protect('q_own', 'project', 'environment', force => true);
SELECT count(*), q_definer_count() FROM q_own;
BEGIN;
SET LOCAL apikey.key = :'write';
SELECT count(*), q_definer_count() FROM q_own;
SELECT q_rows('UPDATE q_own SET id = -id') AS updated, q_rows('DELETE FROM q_own') AS deleted;
COMMIT;
SELECT apikey_unprotect('q_own');
SELECT count(*), count(*) FILTER (WHERE id < 0) AS changed FROM q_own;
DROP FUNCTION q_definer_count;
DROP TABLE q_own;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM regress_apikey_app;

DROP VIEW q_invoker, q_definer;
DROP TABLE q_doc, q_key, q_text, q_varchar, q_name, q_q_domain, q_int4, q_int8, q_int2, q_uuid, q_numeric, q_parts;
DROP FUNCTION q_plans, q_rows;
DROP TYPE q_stage;
DROP DOMAIN q_domain;
DROP ROLE regress_apikey_app;
DELETE FROM apikey_key WHERE organization LIKE 'q\_%';
DELETE FROM apikey_project WHERE organization LIKE 'q\_%';
