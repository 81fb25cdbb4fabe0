-- What the measurements of row-level security use: psql's variables "rows" and
-- "projects" tell how much of it.
SET client_min_messages = warning;
CREATE EXTENSION apikey CASCADE;
CREATE FUNCTION floor4(text, text, text, text) RETURNS boolean STABLE PARALLEL SAFE LANGUAGE C AS 'bench_floor', 'floor4';
SELECT count(apikey_add_project('acme', 'p' || i)) FROM generate_series(0, :projects - 1) i;

\ir measure.sql

-- The rows: those of a project are all over the table.
SELECT setseed(0.5);
CREATE UNLOGGED TABLE doc (id int PRIMARY KEY, project text NOT NULL, environment text NOT NULL, body text);
INSERT INTO doc SELECT i, 'p' || floor(random() * :projects), CASE WHEN random() < 0.5 THEN 'production' ELSE 'development' END,
	repeat(md5(i::text), 2) FROM generate_series(1, :rows) i;
CREATE INDEX ON doc (project, environment);
CREATE UNLOGGED TABLE item (id int PRIMARY KEY, order_id int NOT NULL, project text NOT NULL, environment text NOT NULL, amount int);
INSERT INTO item SELECT row_number() OVER (), id, project, environment, id % 100 FROM (SELECT * FROM doc ORDER BY random()) t;
CREATE INDEX ON item (order_id);
CREATE INDEX ON item (project, environment);
CREATE UNLOGGED TABLE bare AS SELECT * FROM doc;
CREATE TABLE change (LIKE doc INCLUDING ALL) WITH (fillfactor = 80, autovacuum_enabled = off);
INSERT INTO change SELECT * FROM doc WHERE id <= 100000 OR project = 'p0';

-- The keys, with a grant of the level "write" on each of two environments, in the
-- extension and in the tables made by hand; among 10,000 others with one grant.
\ir hand.sql
CREATE TABLE token AS SELECT i AS n, 'p' || i % :projects AS project, k.key FROM generate_series(1, 10000) i,
	apikey_create('acme', 'key ' || i, jsonb_build_array(jsonb_build_object('project', 'p' || i % :projects, 'environment', 'production', 'level', 'write'))) k;
\ir hand-keys.sql
CREATE TABLE keys AS SELECT name, projects, k.key
FROM (VALUES ('one', 1), ('ten', 10), ('all', :projects)) v (name, n)
	CROSS JOIN LATERAL (SELECT array_agg('p' || i * (:projects / n) ORDER BY i) FROM generate_series(0, n - 1) i) p (projects)
	CROSS JOIN LATERAL apikey_create('acme', name, (SELECT jsonb_agg(jsonb_build_object('project', project, 'environment', environment, 'level', 'write'))
		FROM unnest(projects) project, unnest('{production,development}'::text[]) environment)) k;
INSERT INTO keys SELECT 'star', projects, k.key FROM keys, apikey_create('acme', 'star',
	'[{"project": "*", "environment": "production", "level": "write"}, {"project": "*", "environment": "development", "level": "write"}]') k
	WHERE name = 'all';
INSERT INTO api_keys (digest) SELECT sha256(convert_to(key, 'UTF8')) FROM keys;
INSERT INTO api_key_grants SELECT a.id, project, environment, 2 FROM keys k JOIN api_keys a ON a.digest = sha256(convert_to(k.key, 'UTF8')),
	unnest(k.projects) project, unnest('{production,development}'::text[]) environment;

-- The contenders: a policy holds for its role only.  "unprotected" is subject to none.
-- The function is in plpgsql, which keeps the plan of the query: one in SQL is planned
-- at each use, and takes 0.1 ms more.
CREATE FUNCTION hand_projects(level int) RETURNS text[] STABLE LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT array_agg(DISTINCT g.project) FROM api_keys k JOIN api_key_grants g ON g.key_id = k.id
		WHERE k.digest = sha256(convert_to(current_setting('app.key'), 'UTF8')) AND NOT k.disabled AND (k.expires_at IS NULL OR k.expires_at > now())
		AND g.level >= $1);
END $$;
DO $do$
DECLARE
	hand text = $$FROM api_keys k JOIN api_key_grants g ON g.key_id = k.id
		WHERE k.digest = sha256(convert_to(current_setting('app.key'), 'UTF8')) AND NOT k.disabled AND (k.expires_at IS NULL OR k.expires_at > now())
		AND g.level >= %2$s$$;
	policy record;
	protected text;
BEGIN
	FOREACH protected IN ARRAY '{doc,item,bare,change}'::text[] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', protected);
		-- %1$s is the table, %2$s the level, %3$s its name
		FOR policy IN VALUES
			('by_projects', 'project = ANY ((SELECT hand_projects(%2$s))::text[])'),
			('by_in', '(project, environment) IN (SELECT g.project, g.environment ' || hand || ')'),
			('by_exists', 'EXISTS (SELECT ' || hand || ' AND g.project = %1$s.project AND g.environment = %1$s.environment)'),
			('by_sql', $$hand_sql(current_setting('app.key'), project, environment, %2$s)$$),
			('by_plpgsql', $$hand_plpgsql(current_setting('app.key'), project, environment, %2$s)$$),
			('ours_constant', $$apikey_authorize(project, 'production', '%3$s')$$),
			('ours_column', $$apikey_authorize(project, environment, '%3$s')$$) LOOP
			EXECUTE format('CREATE POLICY %I ON %I FOR SELECT TO %1$I USING (%3$s)', policy.column1, protected,
				format(policy.column2, protected, 1, 'read'));
			EXECUTE format('CREATE POLICY %I ON %I FOR UPDATE TO %I USING (%s)', policy.column1 || '_update', protected, policy.column1,
				format(policy.column2, protected, 2, 'write'));
		END LOOP;
	END LOOP;
END $do$;

-- Rows of a key: 1,000 to be looked up by their id, 100 to be changed.  A function
-- for each role and key keeps the plan of its query.
CREATE TABLE point AS SELECT name, projects, ids FROM keys CROSS JOIN LATERAL
	(SELECT array_agg(id) AS ids FROM (SELECT id FROM doc WHERE project = ANY (projects) ORDER BY random() LIMIT 1000) t) i
	WHERE name <> 'star';
CREATE TABLE changed AS SELECT name, ids FROM keys CROSS JOIN LATERAL
	(SELECT array_agg(id) AS ids FROM (SELECT id FROM change WHERE project = ANY (projects) ORDER BY random() LIMIT 100) t) i
	WHERE name <> 'star';
SELECT format($f$CREATE FUNCTION point_%s_%s() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	wanted int;
BEGIN
	FOREACH wanted IN ARRAY (SELECT ids FROM point WHERE name = %2$L) LOOP
		PERFORM * FROM doc WHERE id = wanted%3$s;
	END LOOP;
END $$$f$, role, name, CASE WHEN role = 'unprotected' THEN format(' AND project = ANY (%L)', projects) END)
FROM point, unnest('{unprotected,by_projects,by_in,by_exists,ours_constant,ours_column}'::text[]) role \gexec

-- What both sides know the key by: the settings of the session.
CREATE FUNCTION use_key(key_name text) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('apikey.key', key, false) FROM keys WHERE name = key_name;
	-- nobody wrote "all projects" by hand
	SELECT set_config('app.key', key, false) FROM keys WHERE name = CASE key_name WHEN 'star' THEN 'all' ELSE key_name END;
$$;

-- A key of 5,000 projects, one by one, and one of as many by "*".
SELECT count(apikey_add_project('many', 'm' || i)) FROM generate_series(1, 5000) i;
CREATE TABLE many AS SELECT 'one by one' AS name, k.key FROM apikey_create('many', 'many',
	(SELECT jsonb_agg(jsonb_build_object('project', 'm' || i, 'environment', 'production', 'level', 'write')) FROM generate_series(1, 5000) i)) k;
INSERT INTO many SELECT 'by *', k.key FROM apikey_create('many', 'star', '[{"project": "*", "environment": "*", "level": "write"}]') k;
INSERT INTO api_keys (digest) SELECT sha256(convert_to(key, 'UTF8')) FROM many WHERE name = 'one by one';
INSERT INTO api_key_grants SELECT a.id, 'm' || i, 'production', 2 FROM many m JOIN api_keys a ON a.digest = sha256(convert_to(m.key, 'UTF8')), generate_series(1, 5000) i;
-- microseconds of the first list after a decision, of a list that is remembered
-- (median), and of one by hand
CREATE FUNCTION time_lists(key_name text, OUT first float8, OUT again float8, OUT hand float8) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz;
	times float8[];
BEGIN
	PERFORM set_config('apikey.key', key, true), set_config('app.key', key, true) FROM many WHERE name = key_name;
	PERFORM apikey_authorize('m1', 'production', 'read'), apikey_projects_of('', 'read'), hand_projects(3);
	FOR i IN 1 .. 20 LOOP
		started = clock_timestamp();
		PERFORM apikey_projects('read');
		times = times || extract(epoch FROM clock_timestamp() - started)::float8 * 1000000;
	END LOOP;
	first = times[1];
	again = (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(times) t);
	PERFORM hand_projects(1);
	started = clock_timestamp();
	PERFORM hand_projects(1);
	hand = extract(epoch FROM clock_timestamp() - started) * 1000000;
END $$;

-- A table that knows only the customer, and a key of one of 100.
CREATE UNLOGGED TABLE invoice (id int PRIMARY KEY, organization text NOT NULL, created_at timestamptz NOT NULL, body text);
INSERT INTO invoice SELECT i, 'c' || floor(random() * 100), '2026-01-01'::timestamptz + i * interval '1 s', repeat(md5(i::text), 2)
FROM generate_series(1, 200000) i;
CREATE INDEX ON invoice (organization, created_at);
CREATE UNLOGGED TABLE bare_invoice AS SELECT * FROM invoice;
INSERT INTO keys SELECT 'customer', '{}', k.key FROM apikey_create('c7', 'customer', organization_level => 'write') k;
ALTER TABLE invoice ENABLE ROW LEVEL SECURITY;
ALTER TABLE bare_invoice ENABLE ROW LEVEL SECURITY;
CREATE POLICY ours_organization ON invoice FOR SELECT TO ours_organization USING (apikey_authorize_organization(organization, 'read'));
CREATE POLICY ours_organization ON bare_invoice FOR SELECT TO ours_organization USING (apikey_authorize_organization(organization, 'read'));
CREATE POLICY by_row ON invoice FOR SELECT TO by_row USING (apikey_authorize_organization(organization, 'read') IS TRUE);

GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
VACUUM ANALYZE;
CHECKPOINT;
