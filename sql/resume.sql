-- A merge of projects whose rows come in turns goes on where it is, and reads nothing twice:
-- rows that are equal in the first column of the order, null, or after a column that is fixed.
SELECT count(apikey_add_project('rs_acme', 'rs' || i)) FROM generate_series(0, 3) i;
SELECT key FROM apikey_create('rs_acme', 'three', '[{"project": "rs1", "environment": "*", "level": "read"}, {"project": "rs2", "environment": "*", "level": "read"}, {"project": "rs3", "environment": "*", "level": "read"}]') \gset
CREATE ROLE regress_apikey_resume;
CREATE TABLE rs_doc (id int NOT NULL, project text NOT NULL, environment text NOT NULL, status text NOT NULL, equal int NOT NULL, few int, at int);
INSERT INTO rs_doc SELECT i, 'rs' || CASE WHEN i BETWEEN 201 AND 1000 OR i BETWEEN 20001 AND 20800 THEN 0 ELSE i % 4 END, 'production', CASE WHEN i % 5 = 0 THEN 'done' ELSE 'open' END, 7, CASE WHEN i % 3 > 0 THEN i / 5000 END, CASE WHEN i < 20000 THEN i END
FROM generate_series(1, 21000) i;
-- a constraint that was never checked says nothing about nulls; before PostgreSQL 18 there is none
DO $$
BEGIN
	IF current_setting('server_version_num')::int >= 180000 THEN
		EXECUTE 'ALTER TABLE rs_doc ADD CONSTRAINT rs_at NOT NULL at NOT VALID';
	END IF;
END $$;
SELECT format('CREATE INDEX rs_%s ON rs_doc (project, %s)', row_number() OVER (), columns) FROM unnest('{"equal, id","equal DESC, id DESC","equal, id DESC","status, equal, id",
	"few, id","few NULLS FIRST, id","few DESC, id","at","at DESC","status, at","equal, few, id"}'::text[]) columns \gexec
VACUUM ANALYZE rs_doc;
SELECT apikey_protect('rs_doc', 'project', 'environment');
GRANT SELECT ON rs_doc TO regress_apikey_resume;
-- what a query returns and, if it is of a key, what it reads for that: rows in their order, and index entries
CREATE FUNCTION rs_rows(query text, OUT rows text, OUT n int, OUT entries int) LANGUAGE plpgsql AS $$
DECLARE
	before int = (SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = 'rs_doc'::regclass);
BEGIN
	EXECUTE format('SELECT count(*), concat_ws('' '', md5(string_agg(t::text, '','')), min(t.*::text)) FROM (%s OFFSET 0) t', query) INTO n, rows;
	entries = (SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = 'rs_doc'::regclass) - before;
END $$;
CREATE TABLE rs_query AS SELECT row_number() OVER () AS n, condition, "order", CASE WHEN "order" ~ '^at' THEN 'at' ELSE 'rs_doc' END AS columns FROM (VALUES
	('true', 'equal, id'), ('true', 'equal DESC, id DESC'), ('true', 'equal, id DESC'), ('true', 'equal DESC, id'), ('equal >= 7', 'equal, id'), ('equal <= 7', 'equal DESC, id DESC'),
	('(equal, id) > (7, 100)', 'equal, id'), ('equal > 6', 'equal, id DESC'),
	('status = ''open''', 'equal, id'), ('status = ''open''', 'equal DESC, id DESC'), ('status = ''open''', 'at'), ('status = ''open'' AND at > 100', 'at'),
	('true', 'few, id'), ('true', 'few DESC, id DESC'), ('true', 'few NULLS FIRST, id'), ('true', 'few DESC NULLS LAST, id DESC'), ('true', 'few DESC, id'), ('true', 'few, id DESC'),
	('few >= 1', 'few, id'), ('few IS NULL', 'id'), ('few IS NOT NULL', 'few DESC, id DESC'), ('true', 'equal, few, id'),
	('at < 20000', 'at'), ('at < 20000', 'at DESC'), ('at > 3000', 'at DESC')) v (condition, "order");
GRANT SELECT ON rs_query TO regress_apikey_resume;
SET apikey.key = :'key';
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET enable_incremental_sort = off;
SET max_parallel_workers_per_gather = 0;
SET ROLE regress_apikey_resume;
CREATE TEMP TABLE rs_result AS SELECT q.n AS query, r.* FROM rs_query q,
	LATERAL rs_rows(format('SELECT %s FROM rs_doc WHERE %s ORDER BY %s', columns, condition, "order")) r;
RESET ROLE;
-- the same from where a walk of all rows has come to
CREATE INDEX rs_walk1 ON rs_doc (equal, id);
CREATE INDEX rs_walk2 ON rs_doc (few, id);
CREATE INDEX rs_walk3 ON rs_doc (at);
CREATE INDEX rs_walk4 ON rs_doc (few DESC, id);
SET ROLE regress_apikey_resume;
CREATE TEMP TABLE rs_walked AS SELECT q.n AS query, r.* FROM rs_query q,
	LATERAL rs_rows(format('SELECT %s FROM rs_doc WHERE %s ORDER BY %s', columns, condition, "order")) r;
RESET ROLE;
RESET enable_sort;
SELECT condition, "order", r.n, r.entries < r.n * 1.1 AS once, r.rows = s.rows AS same, w.rows = s.rows AS walked
FROM rs_result r JOIN rs_walked w USING (query) JOIN rs_query q ON q.n = query,
	LATERAL rs_rows(format('SELECT %s FROM rs_doc WHERE project IN (''rs1'', ''rs2'', ''rs3'') AND %s ORDER BY %s', columns, condition, "order")) s ORDER BY query;
RESET enable_seqscan;
RESET enable_bitmapscan;
RESET enable_incremental_sort;
RESET max_parallel_workers_per_gather;
RESET apikey.key;
DROP TABLE rs_doc, rs_query, rs_result, rs_walked;
DROP FUNCTION rs_rows;
DROP ROLE regress_apikey_resume;
DELETE FROM apikey_key WHERE organization LIKE 'rs\_%';
DELETE FROM apikey_project WHERE organization LIKE 'rs\_%';
