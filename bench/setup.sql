-- What the measurements use: the extension, and what people write by hand.
CREATE EXTENSION apikey CASCADE;
SELECT count(apikey_add_project('org' || i, 'p' || i)) FROM generate_series(0, 999) i;
SELECT count(apikey_add_project('big', 'q' || i)) FROM generate_series(0, 999) i;

CREATE FUNCTION floor4(text, text, text, text) RETURNS boolean STABLE PARALLEL SAFE LANGUAGE C AS 'bench_floor', 'floor4';

-- milliseconds that each of the queries takes, in turn, :rounds times; medians
CREATE FUNCTION measure(rounds int, VARIADIC queries text[]) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz;
	result float8[];
BEGIN
	CREATE TEMP TABLE IF NOT EXISTS took (query int, ms float8);
	TRUNCATE took;
	FOR round IN 0 .. rounds LOOP
		FOR i IN 1 .. cardinality(queries) LOOP
			started = clock_timestamp();
			EXECUTE queries[i];
			-- the first round only warms up
			INSERT INTO took SELECT i, extract(epoch FROM clock_timestamp() - started) * 1000 WHERE round > 0;
		END LOOP;
	END LOOP;
	SELECT array_agg(median ORDER BY query) INTO result
	FROM (SELECT query, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS median FROM took GROUP BY query) t;
	RETURN result;
END $$;

CREATE UNLOGGED TABLE token (n int, project text, key text);

\ir hand.sql

-- a million rows: all on one pair; on a thousand projects in two environments; with uuids
CREATE TABLE same AS SELECT 'q0'::text AS project, 'production'::text AS environment FROM generate_series(1, 1000000);
SELECT setseed(0.5);
CREATE TABLE mixed AS SELECT 'q' || floor(random() * 1000) AS project,
	CASE WHEN random() < 0.5 THEN 'production' ELSE 'development' END AS environment FROM generate_series(1, 1000000);
CREATE TABLE project_uuid AS SELECT i, gen_random_uuid() AS project FROM generate_series(0, 9) i;
SELECT count(apikey_add_project('big', project::text)) FROM project_uuid;
CREATE TABLE uuids AS SELECT project, 'production'::text AS environment FROM project_uuid, generate_series(1, 1000000) WHERE i = 0;
CREATE TABLE unrelated (id int PRIMARY KEY, level int);
INSERT INTO unrelated SELECT i, 0 FROM generate_series(1, 100) i;
VACUUM ANALYZE;
