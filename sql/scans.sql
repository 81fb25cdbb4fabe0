\a \t
-- apikey_explain_query: how a query reads its tables, why not by an ordered scan, and what would help.
SELECT count(apikey_add_project('sc_acme', 'sc' || i)) FROM generate_series(0, 39) i;
SELECT count(apikey_add_project('sc_acme', i::text)) FROM generate_series(0, 39) i;
CREATE TABLE sc_key (name text PRIMARY KEY, key text, key_id uuid);
INSERT INTO sc_key SELECT name, key, key_id FROM (VALUES
	('one', '[{"project": "sc3", "environment": "production", "level": "write"}, {"project": "3", "environment": "*", "level": "write"}]'::jsonb),
	('all', '[{"project": "*", "environment": "*", "level": "write"}]')) t (name, grants), apikey_create('sc_acme', name, grants, organization_level => 'write');
SELECT key AS one FROM sc_key WHERE name = 'one' \gset
SELECT key AS all FROM sc_key WHERE name = 'all' \gset
CREATE ROLE regress_apikey_scans;
GRANT USAGE, CREATE ON SCHEMA public TO regress_apikey_scans;
SET client_min_messages = error;
SET max_parallel_workers_per_gather = 0;
SET jit = off;

CREATE TYPE sc_stage AS ENUM ('production', 'staging');
CREATE TABLE sc_docs (id int PRIMARY KEY, project text NOT NULL, environment text NOT NULL, kind int NOT NULL, created_at timestamptz NOT NULL, title text, "Size" numeric,
	number int, stage sc_stage, note text COLLATE "C");
INSERT INTO sc_docs SELECT i, 'sc' || i / 100 % 40, 'production', i % 2, timestamptz '2026-01-01' + i * interval '1 min', md5(i::text), i, i / 100 % 40, 'production', i
	FROM generate_series(1, 4000) i;
CREATE INDEX sc_by_project ON sc_docs (project, environment);
CREATE TABLE sc_kinds (kind int, name text);
INSERT INTO sc_kinds VALUES (0, 'zero'), (1, 'one');
VACUUM ANALYZE sc_docs, sc_kinds;
SELECT apikey_protect('sc_docs', 'project', 'environment', force => true);
ALTER TABLE sc_docs OWNER TO regress_apikey_scans;
GRANT SELECT ON sc_kinds TO regress_apikey_scans;
SET search_path = public;

GRANT SELECT ON sc_key TO regress_apikey_scans;
CREATE FUNCTION sc_ask(query text, name text DEFAULT 'one') RETURNS SETOF text LANGUAGE sql AS
$$ SELECT concat_ws(' | ', e.alias, e.scan, e.why_not, e.advice) FROM apikey_explain_query(query, (SELECT key FROM sc_key k WHERE k.name = $2)) e $$;
-- What is advised is done, and undone; what is said before and after.
CREATE FUNCTION sc_follow(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	told record;
BEGIN
	SELECT * INTO told FROM apikey_explain_query(query, (SELECT key FROM sc_key WHERE sc_key.name = 'one')) WHERE advice IS NOT NULL;
	RETURN NEXT concat_ws(' | ', told.scan, told.why_not, told.advice);
	EXECUTE regexp_replace(told.advice, '^CREATE INDEX', 'CREATE INDEX sc_advised');
	RETURN QUERY SELECT '-> ' || a FROM sc_ask(query) a WHERE a !~ 'sc_kinds';
	DROP INDEX sc_advised;
END $$;

-- not for those to whom no policies apply
SELECT apikey_explain_query('SELECT * FROM sc_docs', :'one');
SET ROLE regress_apikey_scans;
-- every column of the answer, with the session's key
SELECT set_config('apikey.key', :'one', false) <> '' AS done;
SELECT * FROM apikey_explain_query('SELECT * FROM sc_docs d ORDER BY created_at DESC LIMIT 10');
RESET apikey.key;

-- what is advised helps: directions, nulls, expressions, collations, more columns, and what is known by the query
SET enable_sort = off;
SET enable_incremental_sort = off;
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at DESC LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at DESC, id DESC LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at, id DESC LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at DESC, id LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at DESC NULLS LAST LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at NULLS FIRST, id LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY "Size", lower(title), kind + id LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY title COLLATE "C", note LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY title::varchar, stage DESC LIMIT 10');
SELECT sc_follow('SELECT * FROM sc_docs WHERE kind = 1 AND (created_at, id) < (now(), 7) ORDER BY kind, created_at DESC, id DESC LIMIT $1');
SELECT sc_follow('SELECT max(created_at) FROM sc_docs');
SELECT sc_follow('SELECT d.id, k.name FROM sc_docs d, LATERAL (SELECT name FROM sc_kinds WHERE kind = d.kind OFFSET 0) k ORDER BY created_at DESC LIMIT 5');
SELECT sc_follow('SELECT * FROM sc_docs ORDER BY created_at LIMIT 10 FOR UPDATE');
RESET enable_sort;
RESET enable_incremental_sort;
-- not an order that is none of a table, or that no index can have
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY created_at::date LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY title USING ~<~ LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY random() LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY ctid LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY (SELECT kind) LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs d JOIN sc_kinds k USING (kind) ORDER BY k.name LIMIT 10');

-- why not
CREATE INDEX sc_page ON sc_docs (project, created_at, id);
CREATE INDEX sc_time ON sc_docs (created_at, id);
CREATE INDEX sc_kind ON sc_docs (kind, project, "Size");
\set page 'SELECT * FROM sc_docs ORDER BY created_at DESC LIMIT 10'
SELECT sc_ask(:'page');
SELECT sc_ask(:'page', 'all');
SELECT sc_ask('SELECT * FROM sc_docs LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs');
SELECT sc_ask('SELECT * FROM sc_docs', 'all');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY created_at', 'all');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY title', 'all');
SELECT sc_ask('SELECT count(*), kind FROM sc_docs GROUP BY kind', 'all');
SELECT sc_ask('SELECT * FROM sc_docs WHERE id = $1');
SELECT sc_ask('SELECT * FROM sc_docs ORDER BY "Size" LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs WHERE kind = 1 ORDER BY "Size" LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs WHERE project = ''sc3'' ORDER BY created_at LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs WHERE random() < 2 ORDER BY created_at LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs TABLESAMPLE bernoulli (10) ORDER BY created_at LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_docs WHERE ctid = ''(0,1)''');
SET apikey.enable_ordered_scan = off;
SELECT sc_ask(:'page');
RESET apikey.enable_ordered_scan;
SET enable_indexscan = off;
SELECT sc_ask(:'page');
RESET enable_indexscan;
SELECT sc_ask('UPDATE sc_docs SET title = NULL WHERE kind = 1');
SELECT sc_ask('DELETE FROM sc_docs USING sc_kinds k WHERE k.kind = sc_docs.kind');
SELECT sc_ask('INSERT INTO sc_docs (id, project, environment, kind, created_at) SELECT id + 10000, project, environment, kind, created_at FROM sc_docs ORDER BY created_at LIMIT 3');
SELECT sc_ask('WITH gone AS (DELETE FROM sc_docs WHERE id = 1 RETURNING *), kept AS MATERIALIZED (SELECT * FROM sc_docs) SELECT * FROM gone, kept');
SELECT sc_ask('SELECT (SELECT max(created_at) FROM sc_docs a), b.id FROM sc_docs b WHERE b.id < 3 UNION ALL SELECT NULL, id FROM sc_docs c');
SELECT sc_ask('SELECT 1');
SELECT sc_ask('SELECT k.name FROM sc_kinds k LEFT JOIN sc_docs d ON d.id = k.kind');

-- a bad key, and none
SELECT * FROM apikey_explain_query(:'page', 'rubbish');
SELECT * FROM apikey_explain_query(:'page', NULL);
SELECT * FROM apikey_explain_query(:'page');

-- policies: another one by OR, a restrictive one, none that apply, one before an enum, by organization
CREATE POLICY sc_first ON sc_docs USING (id = 1);
SELECT sc_ask(:'page');
DROP POLICY sc_first ON sc_docs;
CREATE POLICY sc_not ON sc_docs AS RESTRICTIVE USING (id <> 1);
SELECT sc_ask(:'page');
DROP POLICY sc_not ON sc_docs;
ALTER TABLE sc_docs NO FORCE ROW LEVEL SECURITY;
SELECT sc_ask(:'page');
SELECT sc_ask('SELECT * FROM sc_docs WHERE apikey_authorize(project, environment, ''read'') ORDER BY created_at LIMIT 10');
ALTER TABLE sc_docs FORCE ROW LEVEL SECURITY;
CREATE TABLE sc_staged (id int, project text, stage sc_stage, at date);
CREATE INDEX ON sc_staged (project, at);
INSERT INTO sc_staged SELECT id, project, stage, created_at FROM sc_docs;
ANALYZE sc_staged;
SELECT apikey_protect('sc_staged', 'project', 'stage', force => true);
SELECT sc_ask('SELECT * FROM sc_staged ORDER BY at LIMIT 10');
CREATE POLICY sc_not ON sc_staged AS RESTRICTIVE USING (id <> 1);
SELECT sc_ask('SELECT * FROM sc_staged ORDER BY at LIMIT 10');
CREATE TABLE sc_customers (id int, organization text, at timestamptz);
CREATE INDEX ON sc_customers (organization, at);
INSERT INTO sc_customers SELECT id, 'sc_acme', created_at FROM sc_docs;
ANALYZE sc_customers;
SELECT apikey_protect_organization('sc_customers', 'organization', force => true);
SELECT sc_ask('SELECT * FROM sc_customers ORDER BY at LIMIT 10');

DROP POLICY sc_not ON sc_staged;
SET enable_sort = off;
SELECT sc_ask('SELECT * FROM sc_staged ORDER BY at LIMIT 10');
SELECT sc_ask('SELECT * FROM sc_customers ORDER BY at LIMIT 10');

-- numbers; a project that is no column, or of a type that is none
CREATE TABLE sc_numbers AS SELECT id, number AS project, 'production' AS environment, created_at, jsonb_build_object('project', project) AS data FROM sc_docs;
ANALYZE sc_numbers;
SELECT apikey_protect('sc_numbers', 'project', 'environment', force => true);
SELECT sc_follow('SELECT * FROM sc_numbers ORDER BY created_at LIMIT 10');
SET enable_seqscan = off;
SELECT sc_follow('SELECT * FROM sc_numbers');
RESET enable_seqscan;
DROP TABLE sc_numbers;
CREATE TABLE sc_numbers AS SELECT id, created_at, jsonb_build_object('project', project) AS data, number::numeric FROM sc_docs;
ALTER TABLE sc_numbers ENABLE ROW LEVEL SECURITY;
ALTER TABLE sc_numbers FORCE ROW LEVEL SECURITY;
CREATE POLICY sc_by_data ON sc_numbers USING (apikey_authorize(data->>'project', 'production', 'read'));
SELECT sc_follow('SELECT * FROM sc_numbers ORDER BY created_at LIMIT 10');
DROP POLICY sc_by_data ON sc_numbers;
CREATE POLICY sc_by_data ON sc_numbers USING (apikey_authorize(number, 'production'::text, 'read'));
SELECT sc_ask('SELECT * FROM sc_numbers ORDER BY created_at LIMIT 10');
CREATE INDEX ON sc_numbers (number, created_at);
SELECT sc_ask('SELECT * FROM sc_numbers ORDER BY created_at LIMIT 10');

-- partitions that are read alike are told of once; views; branches of UNION ALL; a choice
CREATE TABLE sc_parts (id int, project text, environment text, created_at timestamptz) PARTITION BY RANGE (id);
CREATE TABLE sc_parts_1 PARTITION OF sc_parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE sc_parts_2 (created_at timestamptz, environment text, project text, id int);
ALTER TABLE sc_parts ATTACH PARTITION sc_parts_2 FOR VALUES FROM (1000) TO (9000);
INSERT INTO sc_parts SELECT id, project, environment, created_at FROM sc_docs;
ANALYZE sc_parts;
SELECT apikey_protect('sc_parts', 'project', 'environment', force => true);
SELECT sc_follow('SELECT * FROM sc_parts ORDER BY created_at, id LIMIT 10');
CREATE INDEX ON sc_parts_2 (project, created_at);
SELECT sc_ask('SELECT * FROM sc_parts ORDER BY created_at LIMIT 10');
RESET enable_sort;
CREATE VIEW sc_view AS SELECT id, title AS name, created_at AS at, "Size" AS large FROM sc_docs;
SELECT sc_ask('SELECT * FROM sc_view v ORDER BY at DESC LIMIT 10');
SET enable_sort = off;
SELECT sc_follow('SELECT * FROM sc_view v ORDER BY large, at DESC LIMIT 10');
SELECT sc_follow('SELECT * FROM (SELECT created_at AS at, title FROM sc_docs UNION ALL SELECT created_at, title FROM sc_docs) u ORDER BY title, at LIMIT 5');
RESET enable_sort;
SET cpu_tuple_cost = 1;
SELECT sc_ask('SELECT * FROM sc_docs', 'all');
RESET cpu_tuple_cost;

-- one statement that can be planned, and no other
SELECT apikey_explain_query(NULL::text);
SELECT apikey_explain_query('');
SELECT apikey_explain_query('SELECT 1; DELETE FROM sc_docs');
SELECT apikey_explain_query('EXPLAIN ANALYZE DELETE FROM sc_docs');
SELECT apikey_explain_query('CREATE TABLE sc_made AS SELECT 1');
SELECT apikey_explain_query('SELECT * INTO sc_made FROM sc_docs');
SELECT apikey_explain_query('DECLARE c CURSOR FOR SELECT * FROM sc_docs');
SELECT apikey_explain_query('SELECT * FROM sc_docs WHERE $1');
SELECT apikey_explain_query('SELECT $1 IS NULL');
SELECT apikey_explain_query('SELECT * FROM sc_docs WHER id = 1');
SELECT apikey_explain_query('SELECT * FROM sc_docs WHERE missing');
SELECT apikey_explain_query('SELECT 1 / 0 FROM sc_docs');
-- a key in the query is the one that it is planned for, not what is left of it in messages
CREATE TABLE sc_free AS SELECT 'sc' || i % 40 AS project, 'production' AS environment, i FROM generate_series(1, 40000) i;
CREATE INDEX ON sc_free (project);
ANALYZE sc_free;
SELECT name, n, scan FROM sc_key, unnest(array[key, left(key, 26) || 'x']) WITH ORDINALITY p (part, n),
	apikey_explain_query(format('SELECT * FROM sc_free WHERE apikey_authorize(%L, project, environment, ''read'')', part)) ORDER BY name, n;
DROP TABLE sc_free;
-- not without the rights that the query would take
SELECT apikey_explain_query('SELECT label FROM apikey_keys');
SELECT apikey_explain_query('UPDATE sc_kinds SET name = NULL');
SELECT apikey_explain_query('SELECT key_id FROM apikey_key');

-- nothing is executed, and what planning calls can change nothing
CREATE TABLE sc_trace (what text);
CREATE FUNCTION sc_volatile() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'executed'; END $$;
CREATE FUNCTION sc_do(command text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE command; END $$;
CREATE FUNCTION sc_does(command text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM sc_do(command); RETURN 1; END $$;
CREATE FUNCTION sc_sets() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM set_config('apikey.key', 'mine', false), set_config('sc.set', 'mine', false); RETURN 1; END $$;
CREATE FUNCTION sc_asks() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN (SELECT count(*) FROM sc_docs) * (SELECT count(*) FROM apikey_explain_query('SELECT * FROM sc_docs a, sc_docs b')); END $$;
SELECT sc_ask('SELECT sc_volatile() FROM sc_docs WHERE sc_volatile() = 1');
SELECT sc_ask('SELECT sc_does(''INSERT INTO sc_trace VALUES (1)'')');
SELECT sc_ask('SELECT sc_does(''SET ROLE regress_apikey_scans'')');
SELECT sc_ask('SELECT sc_does(''CREATE TEMP TABLE sc_made (i int)'')');
SELECT sc_ask('SELECT sc_does(''SET transaction_read_only = off'')');
SELECT sc_ask('SELECT sc_does(''SELECT'')');
SELECT set_config('apikey.key', :'all', false) <> '' AS done, set_config('sc.set', 'before', false);
SELECT sc_ask('SELECT sc_sets() FROM sc_kinds');
SELECT apikey_key_id() = key_id AS same_key, current_setting('sc.set'), current_setting('transaction_read_only') FROM sc_key WHERE name = 'all';
SELECT sc_ask('SELECT sc_asks() FROM sc_kinds');
RESET apikey.key;
INSERT INTO sc_trace VALUES ('still');
SELECT * FROM sc_trace;

-- names are the caller's
RESET ROLE;
CREATE SCHEMA sc_mine AUTHORIZATION regress_apikey_scans;
SET ROLE regress_apikey_scans;
CREATE TABLE sc_mine.sc_kinds (kind int);
SET search_path = sc_mine, public;
SELECT relation, alias, advice FROM apikey_explain_query('SELECT * FROM sc_kinds', NULL);
SELECT relation::text FROM apikey_explain_query('SELECT * FROM sc_kinds, public.sc_kinds AS p', NULL);
RESET ROLE;
SET search_path = public;

DROP SCHEMA sc_mine CASCADE;
DROP VIEW sc_view;
DROP TABLE sc_docs, sc_kinds, sc_key, sc_staged, sc_customers, sc_numbers, sc_parts, sc_trace;
DROP FUNCTION sc_ask, sc_follow, sc_volatile, sc_do, sc_does, sc_sets, sc_asks;
DROP TYPE sc_stage;
REVOKE ALL ON SCHEMA public FROM regress_apikey_scans;
DROP ROLE regress_apikey_scans;
DELETE FROM apikey_key WHERE organization LIKE 'sc\_%';
DELETE FROM apikey_project WHERE organization LIKE 'sc\_%';
RESET search_path;
RESET max_parallel_workers_per_gather;
RESET jit;
RESET client_min_messages;
