\a \t
-- A restrictive policy stands before those of apikey_protect: the index is used all the same.
SELECT count(apikey_add_project('ri_acme', 'ri' || i)) FROM generate_series(0, 49) i;
SELECT count(apikey_add_project('ri_acme', n)) FROM unnest('{9103,ri_low,00000000-0000-4000-8000-000000009103}'::text[]) n;
SELECT key AS some, key_id AS some_id FROM apikey_create('ri_acme', 'some', '[{"project": "ri3", "environment": "production", "level": "manage"}, {"project": "ri7", "environment": "*", "level": "read"},
	{"project": "9103", "environment": "*", "level": "read"}, {"project": "ri_low", "environment": "*", "level": "read"}, {"project": "00000000-0000-4000-8000-000000009103", "environment": "*", "level": "read"}]') \gset
SELECT key AS all FROM apikey_create('ri_acme', 'all', '[{"project": "*", "environment": "production", "level": "manage"}]') \gset
CREATE ROLE regress_apikey_restricted;
CREATE TYPE ri_mood AS ENUM ('ri_low', 'ri_high');
CREATE DOMAIN ri_name AS varchar(40);
CREATE TABLE ri_doc (id int PRIMARY KEY, project text, environment text, hidden boolean NOT NULL, n int, u uuid, mood ri_mood, d ri_name, other text);
INSERT INTO ri_doc SELECT i, 'ri' || i % 50, CASE WHEN i % 3 = 0 THEN 'development' ELSE 'production' END, i % 4 = 0, 9100 + i % 100,
	('00000000-0000-4000-8000-0000000091' || lpad((i % 100)::text, 2, '0'))::uuid, CASE WHEN i % 20 = 0 THEN 'ri_low' ELSE 'ri_high' END::ri_mood, 'ri' || i % 50, 'x' FROM generate_series(1, 10000) i;
CREATE INDEX ri_project ON ri_doc (project, environment);
VACUUM ANALYZE ri_doc;
SELECT apikey_protect('ri_doc', 'project', 'environment');
GRANT SELECT, UPDATE, DELETE ON ri_doc TO regress_apikey_restricted;
CREATE FUNCTION ri_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		-- PostgreSQL 18 says so of what enable_seqscan discourages
		CONTINUE WHEN line ~ '^ *Disabled: true$';
		RETURN NEXT line;
	END LOOP;
END $$;
SET enable_bitmapscan = off;
SET enable_seqscan = off;
SET apikey.key = :'some';
-- without one nothing is replaced
SET ROLE regress_apikey_restricted;
SELECT ri_plan('SELECT * FROM ri_doc');
SELECT ri_plan('UPDATE ri_doc SET n = n');
RESET ROLE;

CREATE POLICY ri_visible ON ri_doc AS RESTRICTIVE USING (NOT hidden);
SET ROLE regress_apikey_restricted;
SELECT ri_plan('SELECT * FROM ri_doc');
SELECT ri_plan('UPDATE ri_doc SET n = n');
SELECT ri_plan('DELETE FROM ri_doc WHERE id > 9000');
SELECT count(*), count(DISTINCT project), bool_or(hidden) FROM ri_doc;
RESET ROLE;
SELECT count(*), count(DISTINCT project) FROM ri_doc WHERE NOT hidden AND ((project = 'ri3' AND environment = 'production') OR project = 'ri7');
-- a plan that is kept decides by the key of the moment, and by its state
SET ROLE regress_apikey_restricted;
SET plan_cache_mode = force_generic_plan;
PREPARE ri_count AS SELECT count(*) FROM ri_doc;
EXECUTE ri_count;
SET apikey.key = :'all';
EXECUTE ri_count;
RESET apikey.key;
EXECUTE ri_count;
SET apikey.key = :'some';
BEGIN;
EXECUTE ri_count;
RESET ROLE;
SELECT as_application(format('apikey_disable(%L)', :'some_id'));
SET ROLE regress_apikey_restricted;
EXECUTE ri_count;
ROLLBACK;
EXECUTE ri_count;
DEALLOCATE ri_count;
RESET plan_cache_mode;
RESET ROLE;

-- who sees what: the restrictive policy rows of the key, a condition of the query what all policies let through
CREATE FUNCTION ri_tell(text, int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN INSERT INTO ri_told VALUES ($1, $2) ON CONFLICT DO NOTHING; RETURN true; END $$;
CREATE TEMP TABLE ri_told (who text, id int, UNIQUE (who, id));
GRANT SELECT, INSERT, DELETE ON ri_told TO regress_apikey_restricted;
CREATE FUNCTION ri_who_saw() RETURNS TABLE (who text, n bigint, projects text) LANGUAGE sql SECURITY DEFINER AS $$
	SELECT who, count(*), CASE WHEN count(DISTINCT project) < 5 THEN string_agg(DISTINCT project || CASE WHEN hidden THEN ' hidden' ELSE '' END, ', ') ELSE 'many' END
	FROM ri_told JOIN ri_doc USING (id) GROUP BY 1 $$;
ALTER POLICY ri_visible ON ri_doc USING (NOT hidden AND ri_tell('policy', id));
SET ROLE regress_apikey_restricted;
SELECT count(*) FROM ri_doc WHERE ri_tell('query', id);
SELECT * FROM ri_who_saw();
DELETE FROM ri_told;
SELECT count(*) FROM ri_doc WHERE ri_tell('query', id) AND project IN ('ri3', 'ri4') AND id < 200;
SELECT * FROM ri_who_saw();
DELETE FROM ri_told;
SELECT count(*) FROM ri_doc a JOIN ri_doc b USING (project, n) WHERE a.id < 500 AND b.id < 500 AND ri_tell('query', a.id) AND ri_tell('query', b.id);
SELECT who, projects FROM ri_who_saw() WHERE who = 'query';
RESET ROLE;
ALTER POLICY ri_visible ON ri_doc USING (NOT hidden);

-- which calls are replaced: columns and constants of types whose equality is leakproof
CREATE FUNCTION ri_policy(condition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE ri_copy AS TABLE ri_doc; CREATE INDEX ON ri_copy (project); CREATE INDEX ON ri_copy (n); CREATE INDEX ON ri_copy (u); CREATE INDEX ON ri_copy (d); CREATE INDEX ON ri_copy (mood);
		ANALYZE ri_copy; ALTER TABLE ri_copy ENABLE ROW LEVEL SECURITY; GRANT SELECT ON ri_copy TO regress_apikey_restricted;
		CREATE POLICY hide ON ri_copy AS RESTRICTIVE USING (NOT hidden); CREATE POLICY ours ON ri_copy USING (%s)', condition);
	SET LOCAL ROLE regress_apikey_restricted;
	RETURN NEXT (SELECT string_agg(btrim(p), '; ') FROM ri_plan('SELECT * FROM ri_copy') p);
	RESET ROLE;
	DROP TABLE ri_copy;
END $$;
SELECT ri_policy(c) FROM unnest(array[$$apikey_authorize(project, 'production', 'read')$$, $$apikey_authorize(n, environment, 'GET')$$, $$apikey_authorize(u, 'production', 'read')$$,
	$$apikey_authorize(d, environment, 'read')$$, $$apikey_authorize(project, n, 'read')$$, $$apikey_authorize(project, current_setting('application_name'), 'read')$$]) c;
-- and which are not
SELECT ri_policy(c) FROM unnest(array[$$apikey_authorize(mood, 'production', 'read')$$, $$apikey_authorize(project, mood, 'read')$$, $$apikey_authorize(project, '{}'::jsonb, 'read')$$,
	$$apikey_authorize(lower(project), environment, 'read')$$, $$apikey_authorize(project, lower(environment), 'read')$$, $$apikey_authorize(project, environment, other)$$, $$apikey_authorize(project, environment, 'look')$$,
	$$apikey_authorize(project, environment, NULL)$$, $$apikey_authorize(other, project, environment, 'read')$$, $$apikey_authorize(project, environment, 'read') OR n = 1$$]) c;
-- what apikey_explain_rls says of both
SELECT indexed, advice FROM apikey_explain_rls('ri_doc');
CREATE TABLE ri_enum AS TABLE ri_doc;
CREATE INDEX ON ri_enum (mood);
ANALYZE ri_enum;
SELECT apikey_protect('ri_enum', 'mood', 'environment');
SELECT indexed FROM apikey_explain_rls('ri_enum');
CREATE POLICY ri_visible ON ri_enum AS RESTRICTIVE USING (NOT hidden);
GRANT SELECT ON ri_enum TO regress_apikey_restricted;
SET ROLE regress_apikey_restricted;
SELECT indexed, advice FROM apikey_explain_rls('ri_enum');
SELECT indexed, advice FROM apikey_explain_rls('ri_doc');
RESET ROLE;
-- whoever may not call apikey_authorize cannot have it replaced
REVOKE EXECUTE ON FUNCTION apikey_authorize(text, text, text) FROM PUBLIC;
SET ROLE regress_apikey_restricted;
SELECT attempt('SELECT count(*) FROM ri_doc');
RESET ROLE;
GRANT EXECUTE ON FUNCTION apikey_authorize(text, text, text) TO PUBLIC;
-- the function is out of reach, and refuses all calls that could tell something
SET ROLE regress_apikey_restricted;
SELECT attempt($$SELECT apikey_internal.authorize('ri3'::text, 'production'::text, 'read')$$);
RESET ROLE;
SELECT attempt(format('SELECT %s FROM ri_doc WHERE id = 3', c)) FROM unnest(array[$$apikey_internal.authorize(project, environment, 'read')$$, $$apikey_internal.authorize('ri3'::text, 'production'::text, 'read')$$,
	$$apikey_internal.authorize(project, environment, other)$$, $$apikey_internal.authorize(project, environment, NULL)$$, $$apikey_internal.authorize(project, environment, 'look')$$,
	$$apikey_internal.authorize(mood, environment, 'read')$$, $$apikey_internal.authorize(project, hidden, 'read')$$, $$apikey_internal.authorize(project, '{}'::jsonb, 'read')$$]) c;

RESET apikey.key;
RESET enable_bitmapscan;
RESET enable_seqscan;
DROP FUNCTION ri_who_saw, ri_plan, ri_policy;
DROP TABLE ri_doc, ri_enum, ri_told;
DROP FUNCTION ri_tell;
DROP TYPE ri_mood, ri_name;
DROP ROLE regress_apikey_restricted;
