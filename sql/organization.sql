\a \t
-- Tables that know only the customer: apikey_protect_organization, and what becomes of
-- apikey_authorize_organization in a plan.
CREATE ROLE regress_apikey_org_owner;
CREATE ROLE regress_apikey_org_app;
GRANT CREATE ON SCHEMA public TO regress_apikey_org_owner;
CREATE FUNCTION o_policies(relation regclass) RETURNS TABLE (name name, command "char", qual text, with_check text)
LANGUAGE sql AS $$
	SELECT polname, polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
	FROM pg_policy WHERE polrelid = relation ORDER BY 1
$$;
-- the lines of a plan that say what is read, in which order, and by which condition
CREATE FUNCTION o_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Scan|Join|Nested|Sort|Cond|Filter|Limit|Append|Subplans' THEN RETURN NEXT regexp_replace(line, '^\s+(->\s+)?', ''); END IF;
	END LOOP;
END $$;
GRANT SELECT ON apikey_protected TO regress_apikey_org_owner;
SET ROLE regress_apikey_org_owner;
CREATE TABLE o_doc (id int PRIMARY KEY, organization text, created_at timestamptz, body text);

-- four policies, a warning about the index, a notice about the owner
SELECT apikey_protect_organization('o_doc', 'organization');
SELECT * FROM o_policies('o_doc');
SELECT * FROM apikey_protected;
-- again, with an index and force; then by project, and back
CREATE INDEX o_doc_created ON o_doc (organization, created_at);
SELECT apikey_protect_organization('o_doc', 'organization', force => true);
SELECT * FROM apikey_protected;
SELECT apikey_protect('o_doc', 'organization', 'body');
SELECT name, qual FROM o_policies('o_doc');
SELECT project, environment, organization FROM apikey_protected;
SELECT apikey_protect_organization('o_doc', 'organization');
SELECT project, environment, organization FROM apikey_protected;
-- undone, as it was
SELECT apikey_unprotect('o_doc');
SELECT relrowsecurity, relforcerowsecurity, (SELECT count(*) FROM o_policies('o_doc')) FROM pg_class WHERE relname = 'o_doc';
SELECT apikey_unprotect('o_doc');

-- what makes no sense
SELECT arguments, attempt(format('SELECT apikey_protect_organization(%s)', arguments)) FROM unnest(ARRAY[$$NULL, 'organization'$$, $$'o_doc', NULL$$,
	$$'o_doc', 'nope'$$, $$'o_doc', 'ctid'$$, $$'o_doc', 'created_at'$$, $$'o_doc_created', 'organization'$$, $$0, 'organization'$$, $$'pg_class', 'relname'$$]) arguments;
CREATE POLICY apikey_delete ON o_doc FOR DELETE USING (true);
SELECT apikey_protect_organization('o_doc', 'organization');
DROP POLICY apikey_delete ON o_doc;
RESET ROLE;
SET ROLE regress_apikey_org_app;
SELECT attempt($$SELECT apikey_protect_organization('o_doc', 'organization')$$);
RESET ROLE;
-- a function of another that would be called instead
CREATE FUNCTION apikey_authorize_organization(organization varchar, verb text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE TABLE o_varchar (organization varchar);
SELECT apikey_protect_organization('o_varchar', 'organization');
DROP FUNCTION apikey_authorize_organization(varchar, text);
DROP TABLE o_varchar;
-- an implicit cast of another, and a type that is none of ours
CREATE TYPE o_cast AS (name text);
CREATE FUNCTION o_cast(o_cast) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1.name';
CREATE CAST (o_cast AS text) WITH FUNCTION o_cast(o_cast) AS IMPLICIT;
CREATE TABLE o_casts (organization o_cast, name name);
SELECT attempt($$SELECT apikey_protect_organization('o_casts', 'organization')$$), attempt($$SELECT apikey_protect_organization('o_casts', 'name')$$);
DROP TABLE o_casts;
DROP TYPE o_cast CASCADE;

-- one that differs in anything is not ours; one that was written anew is
CREATE FUNCTION o_ours(VARIADIC changes text[]) RETURNS TABLE (ours text, protected bigint) LANGUAGE plpgsql AS $$
DECLARE
	change text;
BEGIN
	SET LOCAL client_min_messages = error;
	PERFORM apikey_protect_organization('o_doc', 'organization');
	FOREACH change IN ARRAY changes LOOP
		EXECUTE change;
	END LOOP;
	ours = (SELECT string_agg(polname, ' ' ORDER BY polname) FROM pg_policy, apikey_internal.policy_columns(oid) c
		WHERE polrelid = 'o_doc'::regclass AND c.organization = 'organization');
	protected = (SELECT count(*) FROM apikey_protected);
	RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN NEXT;
END $$;
SELECT what, o.* FROM (VALUES (1, 'nothing', array[]::text[]),
	(2, 'for a role', array['ALTER POLICY apikey_select ON o_doc TO regress_apikey_org_app']),
	(3, 'another verb', array['ALTER POLICY apikey_delete ON o_doc USING (apikey_authorize_organization(organization, ''manage''))']),
	(4, 'another column', array['ALTER POLICY apikey_update ON o_doc WITH CHECK (apikey_authorize_organization(body, ''write''))']),
	(5, 'by project', array['ALTER POLICY apikey_update ON o_doc WITH CHECK (apikey_authorize(organization, body, ''write''))']),
	(6, 'a given key', array['ALTER POLICY apikey_select ON o_doc USING (apikey_authorize_organization(''x'', organization, ''read''))']),
	(7, 'a function of a column', array['ALTER POLICY apikey_select ON o_doc USING (apikey_authorize_organization(lower(organization), ''read''))']),
	(8, 'or others', array['ALTER POLICY apikey_select ON o_doc USING (id > 0 OR apikey_authorize_organization(organization, ''read''))']),
	(9, 'written anew', array['DROP POLICY apikey_select ON o_doc',
		'CREATE POLICY apikey_select ON o_doc FOR SELECT USING (apikey_authorize_organization(organization::varchar::text, ''read''::text))'])) t (n, what, changes),
	LATERAL o_ours(VARIADIC changes) o ORDER BY n;
DROP FUNCTION o_ours;

-- what a key sees and changes
CREATE TABLE o_key (name text PRIMARY KEY, key_id uuid, key text);
INSERT INTO o_key SELECT name, k.* FROM (VALUES ('write', 'o_7', 'write'), ('read', 'o_7', 'read'), ('none', 'o_7', NULL), ('other', 'o_8', 'write'), ('gone', 'o_9', 'read'),
	('uuid', '00000000-0000-4000-8000-000000000007', 'read'), ('number', '7', 'read'), ('zero', '007', 'read'), ('enum', 'low', 'read'), ('case', 'O_7', 'read')) t (name, organization, level),
	LATERAL apikey_create(organization, name, organization_level => level::apikey_level) k;
SELECT string_agg(format('%L AS %I', key, name), ', ') AS keys FROM o_key \gset
SELECT :keys \gset k_
INSERT INTO o_doc SELECT i, 'o_' || i % 100, '2026-01-01'::timestamptz + i * interval '1 min', 'x' FROM generate_series(1, 5000) i;
INSERT INTO o_doc VALUES (6001, NULL, now(), ''), (6002, '', now(), ''), (6003, repeat('x', 513), now(), ''), (6004, '*', now(), '');
VACUUM ANALYZE o_doc;
SET client_min_messages = error;
SELECT apikey_protect_organization('o_doc', 'organization');
RESET client_min_messages;
GRANT ALL ON o_doc TO regress_apikey_org_app;
CREATE FUNCTION o_do(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rows bigint;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS rows = ROW_COUNT;
	RAISE EXCEPTION '% rows', rows USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' ', nullif(SQLSTATE, 'ZZZZZ'), SQLERRM);
END $$;
CREATE FUNCTION o_with(name text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('apikey.key', coalesce((SELECT key FROM o_key k WHERE k.name = $1), name), true);
	SET LOCAL ROLE regress_apikey_org_app;
	result = o_do(statement);
	RESET ROLE;
	RETURN result;
END $$;
SELECT name, o_with(name, 'SELECT FROM o_doc') AS sees, o_with(name, $$INSERT INTO o_doc VALUES (7000, 'o_7')$$) AS inserts,
	o_with(name, $$UPDATE o_doc SET body = 'y'$$) AS updates, o_with(name, $$UPDATE o_doc SET organization = 'o_8' WHERE id = 7$$) AS moves,
	o_with(name, 'DELETE FROM o_doc') AS deletes, o_with(name, 'SELECT FROM o_doc WHERE id < 1000 FOR UPDATE') AS locks
FROM unnest('{write,read,none,other,gone,"",junk}'::text[]) name;
SELECT o_with('write', $$INSERT INTO o_doc VALUES (7, 'o_7') ON CONFLICT (id) DO UPDATE SET body = 'z'$$), o_with('write', $$INSERT INTO o_doc VALUES (8, 'o_7') ON CONFLICT (id) DO UPDATE SET body = 'z'$$),
	o_with('read', $$INSERT INTO o_doc VALUES (7, 'o_7') ON CONFLICT (id) DO NOTHING$$),
	o_with('write', $$MERGE INTO o_doc d USING (VALUES (7, 'o_7'), (9000, 'o_7')) v (id, o) ON d.id = v.id WHEN MATCHED THEN UPDATE SET body = 'm' WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.o)$$),
	o_with('write', $$MERGE INTO o_doc d USING (VALUES (9000, 'o_8')) v (id, o) ON d.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.o)$$);

-- the plans: one value, and the order of what comes after it in an index
SET ROLE regress_apikey_org_app;
SET apikey.key = :'k_read';
SELECT o_plan('SELECT count(*) FROM o_doc');
SELECT o_plan('SELECT * FROM o_doc ORDER BY created_at DESC LIMIT 5');
SELECT o_plan('SELECT * FROM o_doc ORDER BY organization, created_at LIMIT 5');
SELECT o_plan('SELECT max(created_at) FROM o_doc');
SELECT o_plan($$SELECT * FROM o_doc WHERE organization = 'o_7' ORDER BY created_at DESC LIMIT 5$$);
SELECT o_plan($$UPDATE o_doc SET body = 'y' WHERE id = 7$$);
-- what it is joined to; rows that a join adds
SELECT o_plan('SELECT * FROM o_doc a JOIN o_doc b USING (organization) WHERE a.id < 10 ORDER BY b.created_at DESC LIMIT 5');
SELECT count(*), count(b.id) FROM o_doc a LEFT JOIN o_doc b ON b.id = a.id + 1;
RESET ROLE;
-- without a policy: in WHERE and ON it is the equality, elsewhere the call, which is never null
SELECT count(*), count(b.id), count(b.yes), count(*) FILTER (WHERE b.yes), bool_or(apikey_authorize_organization(b.organization, 'read')), count(apikey_authorize_organization(b.organization, 'read'))
FROM o_doc a LEFT JOIN (SELECT *, apikey_authorize_organization(organization, 'read') AS yes FROM o_doc) b
	ON b.id = a.id AND apikey_authorize_organization(b.organization, 'read');
SELECT count(*), count(*) FILTER (WHERE yes), count(*) FILTER (WHERE yes IS NULL) FROM (SELECT apikey_authorize_organization(organization, 'read') AS yes FROM o_doc) t;
SELECT count(*) FROM o_doc WHERE NOT apikey_authorize_organization(organization, 'read');
SELECT o_plan($$SELECT count(*) FROM o_doc WHERE NOT apikey_authorize_organization(organization, 'read')$$);
SELECT o_plan($$SELECT * FROM o_doc WHERE apikey_authorize_organization(organization, 'read') OR id = 3$$);
SELECT o_plan($$SELECT * FROM (SELECT organization, created_at FROM o_doc UNION ALL SELECT organization, created_at FROM o_doc) u WHERE apikey_authorize_organization(organization, 'read') ORDER BY created_at LIMIT 3$$);
SELECT o_plan($$SELECT * FROM (SELECT organization, count(*) FROM o_doc GROUP BY 1) u WHERE apikey_authorize_organization(organization, 'read')$$);
-- by a key that is given, also by each row of another table
SELECT replace(o_plan(format($$SELECT created_at FROM o_doc WHERE apikey_authorize_organization(%L, organization, 'GET') ORDER BY created_at LIMIT 3$$, :'k_read')), :'k_read', 'KEY');
SET enable_seqscan = off;
SELECT o_plan($$SELECT name, count(*) FROM o_key k JOIN o_doc d ON apikey_authorize_organization(k.key, d.organization, 'read') GROUP BY 1$$);
SELECT name, count(*) FROM o_key k JOIN o_doc d ON apikey_authorize_organization(k.key, d.organization, 'read') GROUP BY 1 ORDER BY 1;
RESET enable_seqscan;
-- verbs of any kind; an unknown one is an error
PREPARE o_verb(text) AS SELECT count(*) FROM o_doc WHERE apikey_authorize_organization(organization, $1);
SET plan_cache_mode = force_generic_plan;
EXECUTE o_verb('Get');
EXECUTE o_verb('post');
EXECUTE o_verb(NULL);
EXECUTE o_verb('look');
SELECT o_plan('EXECUTE o_verb(''read'')');
DEALLOCATE o_verb;
RESET plan_cache_mode;
SELECT attempt($$SELECT count(*) FROM o_doc WHERE apikey_authorize_organization(organization, 'look')$$), attempt($$SELECT count(*) FROM o_doc WHERE apikey_authorize_organization(organization, 'look') AND id < 0$$);
SELECT count(*) FROM o_doc WHERE apikey_authorize_organization(organization, CASE WHEN id < 1000 THEN 'read' ELSE 'write' END);
SELECT count(*) FROM o_doc WHERE apikey_authorize_organization('o_7', 'read');
SELECT o_plan($$SELECT count(*) FROM o_doc WHERE apikey_authorize_organization('o_7', 'read')$$);

-- who may not call the function is told so
BEGIN;
REVOKE EXECUTE ON FUNCTION apikey_authorize_organization(text, text) FROM PUBLIC;
SET LOCAL ROLE regress_apikey_org_app;
SELECT count(*) FROM o_doc;
ROLLBACK;
-- plans that are kept: of no key, of a bad one, of one without the level; with rows as for any organization
SET ROLE regress_apikey_org_app;
SET plan_cache_mode = force_generic_plan;
PREPARE o_newest AS SELECT id FROM o_doc ORDER BY created_at DESC LIMIT 1;
CREATE FUNCTION pg_temp.o_count() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT count(*) FROM o_doc); END $$;
SELECT set_config('apikey.key', '', false), pg_temp.o_count();
EXECUTE o_newest;
SELECT o_plan('EXECUTE o_newest');
CREATE FUNCTION pg_temp.o_estimate(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
SELECT pg_temp.o_estimate('SELECT FROM o_doc') BETWEEN 30 AND 70 AS average;
SELECT set_config('apikey.key', :'k_none', false) IS NULL, pg_temp.o_count(), pg_temp.o_estimate('SELECT FROM o_doc') BETWEEN 30 AND 70 AS average;
SELECT set_config('apikey.key', :'k_read', false) IS NULL, pg_temp.o_count(), pg_temp.o_estimate('SELECT FROM o_doc') BETWEEN 30 AND 70 AS known;
EXECUTE o_newest;
SELECT set_config('apikey.key', :'k_other', false) IS NULL, pg_temp.o_count();
EXECUTE o_newest;
SELECT set_config('apikey.key', 'junk', false) IS NULL, pg_temp.o_count();
EXECUTE o_newest;
RESET plan_cache_mode;
RESET ROLE;

-- a scan that has begun goes on; the next statement does not
BEGIN;
SET LOCAL apikey.key = :'k_write';
SET LOCAL ROLE regress_apikey_org_app;
DECLARE o_cursor SCROLL CURSOR FOR SELECT id FROM o_doc ORDER BY created_at DESC;
FETCH 2 FROM o_cursor;
SAVEPOINT s;
RESET ROLE;
SELECT as_application(format('apikey_set_organization_level(%L, ''read''::apikey_level)', key_id)) FROM o_key WHERE name = 'write';
SET LOCAL ROLE regress_apikey_org_app;
FETCH 1 FROM o_cursor;
FETCH BACKWARD 1 FROM o_cursor;
SELECT count(*) FROM o_doc;
UPDATE o_doc SET body = 'y' WHERE id = 7;
RESET ROLE;
SELECT as_application(format('apikey_revoke(%L)', key_id)) FROM o_key WHERE name = 'write';
SET LOCAL ROLE regress_apikey_org_app;
SELECT count(*) FROM o_doc;
ROLLBACK TO s;
SELECT count(*) FROM o_doc;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL apikey.key = :'k_write';
SELECT o_with('write', 'SELECT FROM o_doc');
SELECT as_application(format('apikey_disable(%L)', key_id)) FROM o_key WHERE name = 'write';
SELECT o_with('write', 'SELECT FROM o_doc');
ROLLBACK;
-- a key of this transaction
RESET apikey.key;
BEGIN;
SELECT key AS new FROM apikey_create('o_7', 'new', organization_level => 'read') \gset
SELECT o_with(:'new', 'SELECT FROM o_doc');
ROLLBACK;
SELECT o_with(:'new', 'SELECT FROM o_doc');

-- views: with a barrier and with the rights of the caller; conditions that tell what they see
CREATE VIEW o_barrier WITH (security_barrier, security_invoker) AS SELECT * FROM o_doc;
GRANT SELECT ON o_barrier TO regress_apikey_org_app;
CREATE FUNCTION o_tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN IF $1 <> 'o_7' THEN RAISE NOTICE 'told %', $1; END IF; RETURN true; END $$;
SET ROLE regress_apikey_org_app;
SET apikey.key = :'k_read';
SELECT count(*) FROM o_doc WHERE o_tell(organization);
SELECT count(*) FROM o_barrier WHERE o_tell(organization) AND organization > 'o_6';
SELECT o_plan('SELECT * FROM o_barrier WHERE o_tell(organization) ORDER BY created_at LIMIT 5');
SELECT count(*) FROM o_doc a JOIN o_doc b USING (organization) WHERE o_tell(a.organization) AND o_tell(b.organization);
SELECT count(*) FROM o_doc WHERE organization = 'o_8' AND o_tell(body);
-- in a plan where the key has no such level nothing is told
SET apikey.key = :'k_none';
SELECT count(*) FROM o_doc WHERE organization = 'o_8' AND o_tell(organization);
SELECT count(*) FROM o_doc a, o_doc b WHERE a.organization = b.organization AND b.organization = 'o_8' AND o_tell(a.organization) AND o_tell(b.organization);
RESET ROLE;
-- a restrictive policy does not stand before it
CREATE POLICY o_visible ON o_doc AS RESTRICTIVE USING (body <> 'hidden');
SET ROLE regress_apikey_org_app;
SET apikey.key = :'k_read';
SELECT o_plan('SELECT * FROM o_doc ORDER BY created_at DESC LIMIT 5');
RESET ROLE;
DROP POLICY o_visible ON o_doc;

-- all types: by index and by row the same
CREATE TYPE o_mood AS ENUM ('low', 'high', 'o_7');
CREATE DOMAIN o_text AS text;
CREATE DOMAIN o_uuid AS uuid;
CREATE DOMAIN o_number AS bigint CHECK (VALUE > 0);
CREATE TABLE o_types (id int PRIMARY KEY, "text" text, "varchar" varchar(20), c text COLLATE "C", text_domain o_text, uuid uuid, uuid_domain o_uuid, int2 int2, int4 int4, int8 int8,
	number o_number, mood o_mood, name name, bpchar char(10), data jsonb);
INSERT INTO o_types SELECT i, o, o, o, o, ('00000000-0000-4000-8000-00000000000' || i % 10)::uuid, ('00000000-0000-4000-8000-00000000000' || i % 10)::uuid, i % 50, i % 50, i % 50,
	1 + i % 50, (enum_range(NULL::o_mood))[i % 4], o, o, jsonb_build_object('organization', o)
FROM generate_series(1, 2000) i, LATERAL (SELECT CASE WHEN i % 20 = 7 THEN 'O_7' WHEN i % 33 = 0 THEN NULL ELSE 'o_' || i % 50 END) t (o);
CREATE FUNCTION o_check(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_plan int[];
	by_row int[];
	plan text;
BEGIN
	plan = (SELECT string_agg(p, '; ') FROM o_plan(format('SELECT * FROM o_types WHERE apikey_authorize_organization(%s, ''read'') ORDER BY id', expression)) p WHERE p ~ 'Cond|Filter|Seq');
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM o_types WHERE apikey_authorize_organization(%s, ''read'')', expression) INTO by_plan;
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM o_types WHERE apikey_authorize_organization(%s, ''read'') IS TRUE', expression) INTO by_row;
	RETURN format('%s rows, %s: %s', coalesce(cardinality(by_plan), 0), CASE WHEN by_plan IS NOT DISTINCT FROM by_row THEN 'the same' ELSE 'NOT THE SAME' END, plan);
END $$;
SELECT string_agg(format('CREATE INDEX ON o_types (%s);', c), ' ') AS indexes FROM unnest('{"\"text\"","\"varchar\"",c,text_domain,uuid,uuid_domain,int2,int4,int8,number,mood,name,(data->>''organization'')}'::text[]) c \gset
SELECT replace(:'indexes', '(data->>''organization'')', '((data->>''organization''))') AS indexes \gset
:indexes
ANALYZE o_types;
SET enable_seqscan = off;
SET apikey.key = :'k_read';
SELECT expression, o_check(expression) FROM unnest('{"\"text\"","\"varchar\"",c,text_domain,mood,name,bpchar,"data->>''organization''","upper(\"text\")","\"text\" COLLATE \"C\"","NULLIF(\"text\", \"varchar\")"}'::text[]) expression;
SET apikey.key = :'k_case';
SELECT expression, o_check(expression) FROM unnest('{"\"text\""}'::text[]) expression;
SET apikey.key = :'k_uuid';
SELECT expression, o_check(expression) FROM unnest('{uuid,uuid_domain,"\"text\""}'::text[]) expression;
SET apikey.key = :'k_number';
SELECT expression, o_check(expression) FROM unnest('{int2,int4,int8,number,"int4 + 1",uuid}'::text[]) expression;
SET apikey.key = :'k_zero';
SELECT expression, o_check(expression) FROM unnest('{int2,number}'::text[]) expression;
SET apikey.key = :'k_enum';
SELECT expression, o_check(expression) FROM unnest('{mood,"\"text\""}'::text[]) expression;
RESET apikey.key;
SELECT expression, o_check(expression) FROM unnest('{mood,int4}'::text[]) expression;
-- a hash index, and one with a column before
DROP INDEX o_types_text_idx, o_types_int4_idx;
CREATE INDEX o_hash ON o_types USING hash ("text");
CREATE INDEX o_second ON o_types (mood, int4);
SET apikey.key = :'k_read';
SELECT o_check('"text"');
SET apikey.key = :'k_number';
SELECT o_plan($$SELECT id FROM o_types WHERE mood = 'low' AND apikey_authorize_organization(int4, 'read')$$);
-- under a nondeterministic collation equality says yes to more: the call stays
DO $$ BEGIN
	IF EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') THEN
		CREATE COLLATION o_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	ELSE
		CREATE COLLATION o_insensitive FROM "C";
	END IF;
END $$;
ALTER TABLE o_types ADD ci text COLLATE o_insensitive;
UPDATE o_types SET ci = "text";
CREATE INDEX ON o_types (ci);
SET apikey.key = :'k_case';
SELECT left(o_check('ci'), 18);
SELECT left(o_check('ci COLLATE "C"'), 18);
RESET enable_seqscan;
-- only types that have such values
SELECT attempt('SELECT apikey_internal.organization(NULL::jsonb, ''read'')');

-- partitions: those of other organizations are not read; one that is attached later
CREATE TABLE o_parts (id int, organization text, created_at timestamptz) PARTITION BY LIST (organization);
CREATE TABLE o_parts_7 PARTITION OF o_parts FOR VALUES IN ('o_7');
CREATE TABLE o_parts_8 PARTITION OF o_parts FOR VALUES IN ('o_8');
CREATE INDEX ON o_parts (organization, created_at);
INSERT INTO o_parts SELECT id, organization, created_at FROM o_doc WHERE organization IN ('o_7', 'o_8');
SET client_min_messages = error;
SELECT apikey_protect_organization('o_parts', 'organization', strict => true);
RESET client_min_messages;
GRANT SELECT, INSERT, UPDATE, DELETE ON o_parts TO regress_apikey_org_app;
CREATE TABLE o_parts_rest (LIKE o_parts);
ALTER TABLE o_parts ATTACH PARTITION o_parts_rest DEFAULT;
ANALYZE o_parts;
SELECT relation, organization, strict FROM apikey_internal.protected WHERE relation = 'o_parts'::regclass;
SELECT name, o_with(name, 'SELECT FROM o_parts') AS sees, o_with(name, $$UPDATE o_parts SET id = 0$$) AS updates,
	o_with(name, $$UPDATE o_parts SET organization = 'o_99'$$) AS moves, o_with(name, 'DELETE FROM o_parts') AS deletes
FROM unnest('{write,read,other,none,""}'::text[]) name;
SET ROLE regress_apikey_org_app;
SET apikey.key = :'k_read';
SET enable_seqscan = off;
SELECT o_plan('SELECT * FROM o_parts ORDER BY created_at DESC LIMIT 5');
RESET enable_seqscan;
RESET ROLE;

-- apikey_reach: the organization level opens these tables, grants open others
RESET apikey.key;
CREATE TABLE o_project (project text, environment text);
SET client_min_messages = error;
SELECT apikey_protect('o_project', 'project', 'environment');
RESET client_min_messages;
SELECT apikey_add_project('o_7', 'o_web', '{production}'), apikey_grant(key_id, 'o_web', 'production', 'manage') FROM o_key WHERE name = 'read';
SELECT name, r.* FROM o_key LEFT JOIN LATERAL apikey_reach(key_id) r ON true WHERE name IN ('write', 'read', 'none') ORDER BY name, relation::text;
DROP TABLE o_project;

-- strict: errors instead of silence
SET client_min_messages = error;
SELECT apikey_protect_organization('o_doc', 'organization', strict => true);
RESET client_min_messages;
SELECT relation, organization, strict FROM apikey_protected ORDER BY 1;
SELECT name, qual FROM o_policies('o_doc');
SELECT regexp_replace(pg_get_triggerdef(oid), '^.* ON ', '') FROM pg_trigger WHERE tgrelid = 'o_doc'::regclass ORDER BY tgname;
SELECT name, o_with(name, 'SELECT FROM o_doc') AS sees, o_with(name, $$INSERT INTO o_doc VALUES (7000, 'o_7')$$) AS inserts,
	o_with(name, $$UPDATE o_doc SET body = 'y' WHERE id < 100$$) AS updates, o_with(name, 'DELETE FROM o_doc WHERE id = 7') AS deletes,
	o_with(name, 'DELETE FROM o_doc WHERE id = 8') AS deletes_none
FROM unnest('{write,read,none,other,"",junk}'::text[]) name;
SET ROLE regress_apikey_org_app;
SET apikey.key = :'k_read';
UPDATE o_doc SET body = 'y' WHERE id = 7;
RESET ROLE;
SELECT apikey_unprotect('o_doc');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'o_doc'::regclass;

-- apikey_explain_rls
SET client_min_messages = error;
SELECT apikey_protect_organization('o_doc', 'organization');
RESET client_min_messages;
RESET apikey.key;
SELECT name, key_state, projects, visible_rows, indexed, advice FROM o_key, LATERAL apikey_explain_rls('o_doc', key) WHERE name IN ('read', 'none', 'gone', 'number') ORDER BY name;
SELECT plan FROM apikey_explain_rls('o_doc', :'k_read');
DROP INDEX o_doc_created;
SELECT indexed, advice FROM apikey_explain_rls('o_doc', :'k_read');
SELECT apikey_unprotect('o_doc');
ALTER TABLE o_doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_hand ON o_doc FOR SELECT USING (apikey_authorize_organization(organization, 'read'));
GRANT SELECT ON o_key TO regress_apikey_org_app;
SET ROLE regress_apikey_org_app;
SELECT name, visible_rows, advice FROM o_key, LATERAL apikey_explain_rls('o_doc', key) WHERE name IN ('read', 'none', 'number') ORDER BY name;
RESET ROLE;

DROP VIEW o_barrier;
DROP TABLE o_doc, o_key, o_types, o_parts;
DROP COLLATION o_insensitive;
DROP TYPE o_mood;
DROP DOMAIN o_text, o_uuid, o_number;
DROP FUNCTION o_policies, o_plan, o_do, o_with, o_tell, o_check;
REVOKE ALL ON apikey_protected FROM regress_apikey_org_owner;
REVOKE ALL ON SCHEMA public FROM regress_apikey_org_owner;
DROP FUNCTION pg_temp.o_count, pg_temp.o_estimate;
DROP ROLE regress_apikey_org_owner;
DROP ROLE regress_apikey_org_app;
DELETE FROM apikey_key WHERE created_at > now() - interval '1 day' AND (organization ~ '^o_' OR label IN ('uuid', 'number', 'zero', 'enum', 'case'));
DELETE FROM apikey_project WHERE organization = 'o_7';
