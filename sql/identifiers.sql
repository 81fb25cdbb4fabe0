\a \t
-- Identifiers of any type, in any mixture, wherever somebody decides.
CREATE TYPE w_enum AS ENUM ('42', '7', '1');
CREATE DOMAIN w_number AS int;
CREATE DOMAIN w_text AS text;
SELECT apikey_add_project('1', '42', '{7}'), apikey_add_project('1', '00000000-0000-4000-8000-000000000042', '{7}');
SELECT key_id, key FROM apikey_create('1', 'any', '[{"project": "*", "environment": "*", "level": "write"}]', organization_level => 'read') \gset
-- # is the number
CREATE TABLE w_type (n int, type text);
INSERT INTO w_type SELECT ordinality, t FROM unnest(array['''#''', '''#''::text', '''#''::varchar', '''#''::char(2)', '''#''::name', '''#''::w_text', '#', '#::smallint', '#::bigint', '#::numeric',
	'''#''::w_enum', '#::w_number', 'NULL', 'NULL::int', '''#''::json', 'array[#]']) WITH ORDINALITY t;
CREATE FUNCTION w_ask(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE 'SELECT ' || call INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- each function, all pairs of types: how many say what
CREATE FUNCTION w_all(call text) RETURNS TABLE (answer text, pairs bigint) LANGUAGE sql AS $$
	SELECT w_ask(replace(replace(call, '@p', replace(p.type, '#', '42')), '@e', replace(e.type, '#', '7'))), count(*) FROM w_type p, w_type e GROUP BY 1
$$;
SELECT set_config('apikey.key', :'key', false) <> '' AS set;
SELECT call, a.* FROM unnest(array['apikey_authorize(@p, @e, ''write'')', 'apikey_authorize(@p, @e, ''manage'')', 'apikey_require(@p, @e, ''write'')', 'apikey_explain(@p, @e, ''write'')',
	'apikey_authorize(project => @p, environment => @e, verb => ''write'')']) WITH ORDINALITY c (call, n), w_all(call) a ORDER BY n, 2;
SELECT call, a.* FROM unnest(array['apikey_authorize(@key, @p, @e, ''write'')', 'apikey_require(@key, @p, @e, ''write'')', 'apikey_require(@key, @p, @e, ''manage'')', 'apikey_explain(@key, @p, @e, ''write'')'])
	WITH ORDINALITY c (call, n), w_all(replace(call, '@key', quote_literal(:'key'))) a ORDER BY n, 2;
-- one identifier
SELECT call, w_ask(replace(replace(call, '@key', quote_literal(:'key')), '@t', replace(type, '#', CASE WHEN call LIKE '%organization%' THEN '1' ELSE '7' END))) AS answer,
	count(*) AS types
FROM unnest(array['apikey_authorize_organization(@t, ''read'')', 'apikey_authorize_organization(@key, @t, ''read'')', 'apikey_projects(''read'', @t)', 'apikey_projects_of(@key, ''read'', @t)'])
	WITH ORDINALITY c (call, n), w_type GROUP BY c.n, 1, 2 ORDER BY c.n, 2;
RESET apikey.key;

-- parameters without a type beside whatever there is
CREATE TABLE w_row (t text, v varchar, u uuid, i int, b bigint, e w_enum);
INSERT INTO w_row VALUES ('42', '42', '00000000-0000-4000-8000-000000000042', 42, 42, '42');
CREATE FUNCTION w_prepare(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	types text;
BEGIN
	EXECUTE 'PREPARE w AS SELECT ' || call || ' FROM w_row';
	SELECT parameter_types INTO types FROM pg_prepared_statements WHERE name = 'w';
	DEALLOCATE w;
	RETURN types;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT replace(call, 'COLUMN', '…') AS call, w_prepare(replace(call, 'COLUMN', c)) AS types, string_agg(c, ' ' ORDER BY c)
FROM unnest(array['apikey_authorize($1, COLUMN, $2)', 'apikey_authorize(COLUMN, $1, ''read'')', 'apikey_authorize($1, $2, COLUMN, ''read'')', 'apikey_authorize($1, COLUMN, $2, $3)',
	'apikey_require(COLUMN, $1, ''read'')', 'apikey_explain($1, COLUMN, ''read'')', 'apikey_explain($1, COLUMN, $2, ''read'')', 'apikey_projects(''read'', COLUMN)',
	'apikey_authorize_organization(COLUMN, $1)', 'apikey_authorize_organization($1, COLUMN, ''read'')']) WITH ORDINALITY a (call, n), unnest('{t,v,u,i,b,e}'::text[]) c
GROUP BY n, 1, 2 ORDER BY n, 2;
SELECT call, w_prepare(call) FROM unnest(array['apikey_authorize($1, $2, $3)', 'apikey_authorize($1, $2, $3, $4)', 'apikey_require($1, $2, $3)', 'apikey_require($1, $2, $3, $4)',
	'apikey_explain($1, $2, $3)', 'apikey_explain($1, $2, $3, $4)', 'apikey_projects($1, $2)', 'apikey_projects_of($1, $2, $3)', 'apikey_authorize_organization($1, $2)',
	'apikey_authorize_organization($1, $2, $3)']) WITH ORDINALITY a (call, n) ORDER BY n;

-- and the same index condition, whatever the other one is
CREATE TABLE w_doc AS SELECT '42'::text AS t, '42'::varchar AS v, '00000000-0000-4000-8000-000000000042'::uuid AS u, 42 AS i, 42::bigint AS b, '42'::w_enum AS e, '7'::text AS stage FROM generate_series(1, 10);
CREATE INDEX ON w_doc (t); CREATE INDEX ON w_doc (v); CREATE INDEX ON w_doc (u); CREATE INDEX ON w_doc (i); CREATE INDEX ON w_doc (b); CREATE INDEX ON w_doc (e);
ANALYZE w_doc;
CREATE FUNCTION w_condition(query text, parameters text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	condition text = 'none';
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_bitmapscan = off;
	SET LOCAL plan_cache_mode = force_generic_plan;
	EXECUTE 'PREPARE w AS SELECT count(*) FROM w_doc WHERE ' || query;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) EXECUTE w' || parameters LOOP
		condition = coalesce(substring(line FROM 'Index Cond: (.*)'), condition);
	END LOOP;
	DEALLOCATE w;
	RETURN condition;
END $$;
SELECT c AS column, o AS other, w_condition(format('apikey_authorize(%s, %s, ''read'')', c, o), CASE WHEN o = '$1' THEN '(''7'')' ELSE '' END)
FROM unnest('{t,v,u,i,b,e}'::text[]) WITH ORDINALITY c (c, n), unnest(array['''7''', '$1', '7', '''7''::w_enum', 'stage']) WITH ORDINALITY o (o, m) ORDER BY n, m;
CREATE INDEX ON w_doc (stage);
SELECT o AS project, w_condition(format('apikey_authorize(%s, stage, ''read'')', o), CASE WHEN o = '$1' THEN '(''7'')' ELSE '' END)
FROM unnest(array['''42''', '$1', '42', '''42''::w_enum', '''00000000-0000-4000-8000-000000000042''::uuid']) WITH ORDINALITY o (o, m) ORDER BY m;
-- and the rows
SELECT set_config('apikey.key', :'key', false) <> '' AS set;
SET enable_seqscan = off;
SELECT count(*) FILTER (WHERE apikey_authorize(t, 7, 'read')) AS t, count(*) FILTER (WHERE apikey_authorize(u, '7', 'read')) AS u FROM w_doc;
SELECT (SELECT count(*) FROM w_doc WHERE apikey_authorize(t, 7, 'read')) AS t, (SELECT count(*) FROM w_doc WHERE apikey_authorize(v, '7'::w_enum, 'read')) AS v,
	(SELECT count(*) FROM w_doc WHERE apikey_authorize(u, '7', 'read')) AS u, (SELECT count(*) FROM w_doc WHERE apikey_authorize(i, '7', 'read')) AS i,
	(SELECT count(*) FROM w_doc WHERE apikey_authorize(b, 7, 'read')) AS b, (SELECT count(*) FROM w_doc WHERE apikey_authorize(e, 7, 'read')) AS e,
	(SELECT count(*) FROM w_doc WHERE apikey_authorize(42, stage, 'read')) AS stage, (SELECT count(*) FROM w_doc WHERE apikey_authorize(42, 8, 'read')) AS none;
RESET enable_seqscan;
RESET apikey.key;

-- a type that is cast to text implicitly could be meant either way
CREATE CAST (w_enum AS text) WITH INOUT AS IMPLICIT;
SELECT w_ask('apikey_authorize(''x'', ''42''::w_enum, ''7''::text, ''read'')') AS not_clear, w_ask('apikey_authorize(''x'', ''42''::w_enum::text, ''7''::text, ''read'')') AS clear;
DROP CAST (w_enum AS text);

DROP TABLE w_type, w_row, w_doc;
DROP FUNCTION w_ask, w_all, w_prepare, w_condition;
SELECT apikey_delete(:'key_id'), apikey_remove_project('42'), apikey_remove_project('00000000-0000-4000-8000-000000000042');
DROP TYPE w_enum;
DROP DOMAIN w_number, w_text;
