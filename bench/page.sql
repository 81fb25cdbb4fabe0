-- What the measurements of a page use, the newest rows of a key.
SET client_min_messages = warning;
CREATE EXTENSION apikey CASCADE;
\ir measure.sql

-- 1,000,000 rows of 1,000 projects, in the order of time.  The rows of 100 projects
-- ("o…") are in the oldest tenth of the time, those of 100 ("n…") in the newest, those of
-- the rest ("s…") all over it.
SELECT setseed(0.5);
CREATE TABLE project AS SELECT CASE WHEN i < 100 THEN 'o' || i WHEN i < 200 THEN 'n' || i - 100 ELSE 's' || i - 200 END AS project,
	CASE WHEN i >= 100 AND i < 200 THEN 0.9 ELSE 0 END AS since, CASE WHEN i < 200 THEN 0.1 ELSE 1 END AS span
FROM generate_series(0, 999) i;
SELECT count(apikey_add_project('acme', project)) FROM project;
CREATE UNLOGGED TABLE page (id int NOT NULL, project text NOT NULL, environment text NOT NULL, created_at timestamptz NOT NULL, body text);
INSERT INTO page SELECT row_number() OVER (), project, CASE WHEN random() < 0.5 THEN 'production' ELSE 'development' END,
	timestamptz '2026-01-01' + moment * interval '100 days', repeat(md5(moment::text), 2)
FROM (SELECT project, since + span * random() AS moment FROM project, generate_series(1, 1000) ORDER BY 2) t;
ALTER TABLE page ADD PRIMARY KEY (id);
CREATE INDEX ON page (created_at, id);
CREATE INDEX ON page (project, created_at, id);

-- 64 partitions of 10 projects each, of 200 rows; by the list of their names, and by hash.
SELECT count(apikey_add_project('parts', 'p' || i)) FROM generate_series(0, 639) i;
CREATE TABLE by_list (LIKE page) PARTITION BY LIST (project);
CREATE TABLE by_hash (LIKE page) PARTITION BY HASH (project);
SELECT format('CREATE TABLE by_list_%s PARTITION OF by_list FOR VALUES IN (%s)', i,
		(SELECT string_agg(quote_literal('p' || i * 10 + j), ', ') FROM generate_series(0, 9) j)),
	format('CREATE TABLE by_hash_%s PARTITION OF by_hash FOR VALUES WITH (MODULUS 64, REMAINDER %1$s)', i)
FROM generate_series(0, 63) i \gexec
INSERT INTO by_list SELECT i, 'p' || i % 640, 'production', timestamptz '2026-01-01' + i * interval '1 min', repeat(md5(i::text), 2)
FROM generate_series(0, 127999) i;
INSERT INTO by_hash SELECT * FROM by_list;
CREATE INDEX ON by_list (project, created_at, id);
CREATE INDEX ON by_hash (project, created_at, id);

-- The keys, and the row of each after which its page in the middle begins: the 500th of
-- its newest, or of all its rows.
CREATE TABLE keys AS SELECT name, organization, projects, k.key
FROM (SELECT n || ' ' || kind AS name, 'acme' AS organization, (SELECT array_agg(letter || i * (100 / n)) FROM generate_series(0, n - 1) i) AS projects
	FROM unnest('{1,10,100}'::int[]) n, (VALUES ('old', 'o'), ('new', 'n'), ('spread', 's')) v (kind, letter)
	UNION ALL SELECT 'all', 'acme', array_agg(project) FROM project
	UNION ALL SELECT 'part', 'parts', '{p7}') t
	CROSS JOIN LATERAL apikey_create(organization, name, (SELECT jsonb_agg(jsonb_build_object('project', project, 'environment', environment, 'level', 'manage'))
		FROM unnest(projects) project, unnest('{production,development}'::text[]) environment)) k;
INSERT INTO keys SELECT 'star', 'acme', projects, k.key FROM keys, apikey_create('acme', 'star',
	'[{"project": "*", "environment": "*", "level": "manage"}]') k WHERE name = 'all';
ALTER TABLE keys ADD COLUMN "after" text;
UPDATE keys SET "after" = (SELECT format('%L, %s', created_at, id) FROM page WHERE project = ANY (projects) ORDER BY created_at DESC, id DESC OFFSET 500 LIMIT 1)
WHERE name <> 'part';

-- What all contenders know the key by: the settings of the session.  Who writes a policy
-- by hand has set the projects.
CREATE FUNCTION use_key(key_name text) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('apikey.key', key, false), set_config('app.project', projects[1], false), set_config('app.projects', projects::text, false)
	FROM keys WHERE name = key_name;
$$;

-- The contenders: a policy holds for its role only, and the first two are subject to none.
ALTER TABLE page ENABLE ROW LEVEL SECURITY;
CREATE POLICY single ON page FOR SELECT TO single USING (project = current_setting('app.project'));
CREATE POLICY by_array ON page FOR SELECT TO by_array USING (project = ANY (current_setting('app.projects')::text[]));
CREATE POLICY today ON page FOR SELECT TO today USING (apikey_authorize(project, 'production', 'read'));
CREATE POLICY ordered ON page FOR SELECT TO ordered USING (apikey_authorize(project, 'production', 'read'));
CREATE POLICY ordered_column ON page FOR SELECT TO ordered_column USING (apikey_authorize(project, environment, 'read'));
SELECT apikey_protect('by_list', 'project', 'environment'), apikey_protect('by_hash', 'project', 'environment');

-- A statement in two functions, so that a session can keep two plans of it: of the key
-- that it calls the one with first, and of that which it calls the other with.
SELECT format($f$CREATE FUNCTION %s_of_%s() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM %s; END $$$f$, name, key, query)
FROM unnest('{first,own}'::text[]) key, (VALUES ('count', 'count(*) FROM page'), ('newest', '* FROM page ORDER BY created_at DESC LIMIT 50')) v (name, query) \gexec

GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
VACUUM ANALYZE;
CHECKPOINT;
