\a \t
-- apikey_protect(..., strict => true): errors in the place of silence.
SELECT apikey_add_project('y_acme', 'y_web'), apikey_add_project('y_acme', 'y_shop'), apikey_add_project('y_globex', 'y_mars');
CREATE ROLE regress_apikey_owner;
CREATE ROLE regress_apikey_app;
GRANT CREATE ON SCHEMA public TO regress_apikey_owner;
-- a command: how many rows it touched, or the error
CREATE FUNCTION y_do(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	message text;
	detail text;
BEGIN
	EXECUTE command;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''));
END $$;
-- the same, undone
CREATE FUNCTION y_try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	result = y_do(command);
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN result;
END $$;
CREATE TABLE y_key (level text, key_id uuid, key text);
INSERT INTO y_key SELECT l, k.* FROM unnest('{read,write,manage}'::text[]) l,
	LATERAL apikey_create('y_acme', l, jsonb_build_array(
		jsonb_build_object('project', 'y_web', 'environment', '*', 'level', l),
		jsonb_build_object('project', 'y_shop', 'environment', '*', 'level', 'read'))) k;
SELECT key AS read FROM y_key WHERE level = 'read' \gset
SELECT key AS write FROM y_key WHERE level = 'write' \gset
SELECT key AS manage, key_id AS manage_id FROM y_key WHERE level = 'manage' \gset
SELECT key AS revoked FROM apikey_create('y_acme', 'revoked') k, apikey_revoke(k.key_id) \gset

SET ROLE regress_apikey_owner;
CREATE TABLE y_doc (id int PRIMARY KEY, project text, environment text, body text);
INSERT INTO y_doc SELECT row_number() OVER (), p, 'production', p FROM unnest('{y_web,y_shop,y_mars}'::text[]) p;
CREATE INDEX ON y_doc (project, environment);
GRANT ALL ON y_doc TO regress_apikey_app;
-- the owner need not be able to name what policies and triggers call
SELECT apikey_protect('y_doc', 'project', 'environment', strict => true);
SELECT polname, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy WHERE polrelid = 'y_doc'::regclass ORDER BY 1;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'y_doc'::regclass ORDER BY 1;
SELECT attempt('CREATE TRIGGER t BEFORE UPDATE ON y_doc FOR EACH ROW EXECUTE FUNCTION apikey_internal.judge()');
RESET ROLE;
SELECT * FROM apikey_protected;
SELECT s.* FROM pg_policy, apikey_internal.policy_columns(oid) s WHERE polrelid = 'y_doc'::regclass ORDER BY polname;
SELECT attempt('SELECT apikey_internal.judge()'), replace(attempt($$SELECT apikey_internal.judged('y_doc'::regclass)$$), current_user, 'me'), attempt($$SELECT apikey_internal.judged('y_key'::regclass)$$);
CREATE TRIGGER t AFTER INSERT ON y_key FOR EACH ROW EXECUTE FUNCTION apikey_internal.judge();
SELECT attempt('INSERT INTO y_key VALUES (NULL)');
DROP TRIGGER t ON y_key;

-- without a good key nothing goes, whether there are rows or not
CREATE FUNCTION y_all(table_name text) RETURNS TABLE (what text, result text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH what IN ARRAY array['SELECT FROM %s', 'SELECT FROM %s WHERE id = 1', 'SELECT FROM %s WHERE id = 77', 'SELECT FROM %s WHERE false',
		'SELECT FROM %s LIMIT 0', 'SELECT FROM (SELECT WHERE false) t, %s', 'SELECT FROM %s FOR UPDATE', 'DECLARE c CURSOR FOR TABLE %s', 'INSERT INTO %s SELECT WHERE false',
		'INSERT INTO %s VALUES (77, ''y_web'', ''production'')', 'INSERT INTO %s VALUES (1) ON CONFLICT DO NOTHING',
		'UPDATE %s SET body = body', 'UPDATE %s SET body = body WHERE false', 'DELETE FROM %s', 'DELETE FROM %s WHERE id = 77',
		'MERGE INTO %s d USING (SELECT 1 WHERE false) s ON true WHEN MATCHED THEN DELETE', 'WITH w AS (SELECT FROM %s) SELECT FROM w',
		'CREATE TEMP TABLE y_copy AS TABLE %s'] LOOP
		result = y_try(format(what, table_name));
		RETURN NEXT;
	END LOOP;
END $$;
SET ROLE regress_apikey_app;
SELECT what, result FROM y_all('y_doc');
COPY y_doc TO stdout;
COPY (SELECT FROM y_doc) TO stdout;
EXPLAIN (COSTS OFF) SELECT FROM y_doc WHERE id = 1;
EXPLAIN (COSTS OFF, ANALYZE) SELECT FROM y_doc WHERE id = 1;
SELECT title, count(*), min(result), max(result) FROM (VALUES ('bad', 'apk_nonsense'), ('revoked', :'revoked')) AS t (title, key),
	LATERAL (SELECT set_config('apikey.key', key, false) OFFSET 0) s, LATERAL y_all('y_doc' || left(s.set_config, 0)) GROUP BY 1 ORDER BY 1;
SELECT apikey_logout();
RESET apikey.key;
-- in a session that has called nothing yet
\c -
SET ROLE regress_apikey_app;
SELECT FROM y_doc WHERE false;
\c -
SET ROLE regress_apikey_app;
INSERT INTO y_doc SELECT WHERE false;
RESET ROLE;

-- whatever the relcache makes anew meanwhile, as a server with assertions can be told to do
SELECT count(set_config('debug_discard_caches', least(max_val::int, 1)::text, false)) FROM pg_settings WHERE name = 'debug_discard_caches';
SELECT apikey_protect('y_doc', 'project', 'environment', strict => true);
SELECT strict FROM apikey_protected WHERE relation = 'y_doc'::regclass;
SET ROLE regress_apikey_app;
SELECT FROM y_doc WHERE false;
RESET ROLE;
RESET debug_discard_caches;

-- what each level may do, and to which rows: errors where rows are meant, nothing about the others
CREATE FUNCTION y_levels(VARIADIC commands text[]) RETURNS TABLE (command text, read text, write text, manage text) LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	results text[];
	k text;
BEGIN
	FOREACH command IN ARRAY commands LOOP
		results = '{}';
		FOR k IN SELECT y.key FROM y_key y ORDER BY array_position('{read,write,manage}', y.level) LOOP
			PERFORM set_config('apikey.key', k, true);
			results = results || y_as_app(command);
		END LOOP;
		read = results[1]; write = results[2]; manage = results[3];
		RETURN NEXT;
	END LOOP;
	PERFORM set_config('apikey.key', '', true);
END $$;
CREATE FUNCTION y_as_app(command text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT y_try(command) $$;
GRANT CREATE ON SCHEMA public TO regress_apikey_app;
ALTER FUNCTION y_as_app OWNER TO regress_apikey_app;
\x
SELECT * FROM y_levels(
	'SELECT FROM y_doc', 'SELECT FROM y_doc FOR UPDATE',
	'UPDATE y_doc SET body = ''x''', 'UPDATE y_doc SET body = ''x'' WHERE id = 1', 'UPDATE y_doc SET body = ''x'' WHERE id = 2',
	'UPDATE y_doc SET body = ''x'' WHERE id = 3', 'UPDATE y_doc SET body = ''x'' WHERE body LIKE ''%web''', 'UPDATE y_doc SET body = ''x'' WHERE id > 3',
	'DELETE FROM y_doc', 'DELETE FROM y_doc WHERE id = 1', 'DELETE FROM y_doc WHERE id = 2', 'DELETE FROM y_doc WHERE id = 3',
	'DELETE FROM y_doc WHERE body = ''none''',
	'UPDATE y_doc SET project = ''y_shop'' WHERE id = 1', 'UPDATE y_doc SET project = ''y_web'' WHERE id = 2', 'UPDATE y_doc SET project = NULL WHERE id = 1',
	'INSERT INTO y_doc VALUES (4, ''y_web'', ''production'')', 'INSERT INTO y_doc VALUES (4, ''y_shop'', ''production'')',
	'INSERT INTO y_doc VALUES (1, ''y_web'', ''production'') ON CONFLICT (id) DO UPDATE SET body = ''x''',
	'INSERT INTO y_doc VALUES (2, ''y_web'', ''production'') ON CONFLICT (id) DO UPDATE SET body = ''x''',
	'INSERT INTO y_doc VALUES (2, ''y_web'', ''production'') ON CONFLICT (id) DO UPDATE SET project = ''y_web''',
	'INSERT INTO y_doc VALUES (2, ''y_web'', ''production'') ON CONFLICT (id) DO UPDATE SET body = ''x'' WHERE y_doc.body = ''none''',
	'INSERT INTO y_doc VALUES (3, ''y_web'', ''production'') ON CONFLICT (id) DO UPDATE SET body = ''x''',
	'INSERT INTO y_doc VALUES (1, ''y_web'', ''production'') ON CONFLICT DO NOTHING',
	'MERGE INTO y_doc d USING (VALUES (1)) s (i) ON d.id = i WHEN MATCHED THEN UPDATE SET body = ''x''',
	'MERGE INTO y_doc d USING (VALUES (2)) s (i) ON d.id = i WHEN MATCHED THEN UPDATE SET body = ''x''',
	'MERGE INTO y_doc d USING (VALUES (1)) s (i) ON d.id = i WHEN MATCHED THEN DELETE',
	'MERGE INTO y_doc d USING (VALUES (2)) s (i) ON d.id = i WHEN MATCHED THEN DELETE',
	'MERGE INTO y_doc d USING (VALUES (2)) s (i) ON d.id = i WHEN MATCHED AND body = ''none'' THEN DELETE WHEN MATCHED THEN DO NOTHING',
	'MERGE INTO y_doc d USING (VALUES (1), (4)) s (i) ON d.id = i WHEN MATCHED THEN UPDATE SET body = ''x'' WHEN NOT MATCHED THEN INSERT VALUES (i, ''y_web'', ''production'')',
	'WITH u AS (UPDATE y_doc SET body = ''x'' WHERE id = 1 RETURNING id) SELECT FROM u',
	'WITH u AS (DELETE FROM y_doc WHERE id = 1 RETURNING id) INSERT INTO y_doc SELECT id + 10, ''y_web'', ''production'' FROM u',
	'UPDATE y_doc d SET body = ''x'' FROM y_doc e WHERE e.project = ''y_shop'' AND d.id = e.id - 1',
	'UPDATE y_doc d SET body = ''x'' FROM y_doc e WHERE e.project = ''y_web'' AND d.id = e.id + 1',
	'DELETE FROM y_doc d USING y_doc e WHERE e.project = ''y_shop'' AND d.id = e.id - 1',
	'DELETE FROM y_doc RETURNING *');
\x

-- fields of the error, and no row in it
CREATE FUNCTION y_fields(command text) RETURNS TABLE (state text, message text, detail text, hint text, schema_name text, table_name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
		schema_name = SCHEMA_NAME, table_name = TABLE_NAME;
	RETURN NEXT;
END $$;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'write';
SELECT * FROM y_fields('UPDATE y_doc SET body = ''x'' WHERE id = 2');
SELECT * FROM y_fields('DELETE FROM y_doc WHERE id = 1');
-- cursors, and statements prepared for one key and run by others
DECLARE c CURSOR FOR SELECT id FROM y_doc ORDER BY id FOR UPDATE;
FETCH 1 FROM c;
UPDATE y_doc SET body = 'current' WHERE CURRENT OF c RETURNING id, body;
FETCH 1 FROM c;
SAVEPOINT s;
UPDATE y_doc SET body = 'current' WHERE CURRENT OF c;
ROLLBACK TO s;
DECLARE d SCROLL CURSOR FOR SELECT id FROM y_doc;
FETCH LAST FROM d;
FETCH PRIOR FROM d;
ROLLBACK;
SET plan_cache_mode = force_generic_plan;
PREPARE y_see(int) AS SELECT id, project FROM y_doc WHERE id >= $1 ORDER BY id;
PREPARE y_change(int) AS UPDATE y_doc SET body = body WHERE id = $1;
PREPARE y_remove(int) AS DELETE FROM y_doc WHERE id = $1;
EXECUTE y_see(0);
BEGIN;
SET LOCAL apikey.key = :'manage';
EXECUTE y_see(0);
EXECUTE y_change(1);
EXECUTE y_remove(1);
ROLLBACK;
BEGIN;
SET LOCAL apikey.key = :'read';
EXECUTE y_see(0);
EXECUTE y_change(1);
ROLLBACK;
BEGIN;
SET LOCAL apikey.key = :'write';
EXECUTE y_change(1);
EXECUTE y_remove(1);
ROLLBACK;
EXECUTE y_change(1);
RESET plan_cache_mode;
RESET ROLE;

-- whom the triggers leave alone: who is not subject to row-level security
SELECT y_try('UPDATE y_doc SET body = ''x''') AS superuser, y_try('DELETE FROM y_doc') AS deletes;
SET ROLE regress_apikey_owner;
SELECT y_try('UPDATE y_doc SET body = ''x''') AS owner, y_try('DELETE FROM y_doc') AS deletes;
CREATE TABLE y_part (doc int REFERENCES y_doc ON DELETE CASCADE ON UPDATE CASCADE, project text, environment text);
INSERT INTO y_part SELECT id, project, environment FROM y_doc;
SELECT apikey_protect('y_part', 'project', 'environment', force => true, strict => true);
RESET ROLE;
SELECT y_try('DELETE FROM y_doc WHERE id = 3') AS cascades;
-- a key may delete what others refer to, whatever it may do there
UPDATE y_part SET project = 'y_mars';
SELECT * FROM y_levels('DELETE FROM y_doc WHERE id = 1');
SET ROLE regress_apikey_owner;
SELECT y_try('DELETE FROM y_doc WHERE id = 3') AS cascades, y_try('UPDATE y_doc SET id = 33 WHERE id = 3') AS cascades,
	y_try('DELETE FROM y_part') AS forced, y_try('TABLE y_part') AS forced;
DROP TABLE y_part;
SELECT apikey_protect('y_doc', 'project', 'environment', force => true, strict => true);
SELECT y_try('UPDATE y_doc SET body = ''x''') AS forced, y_try('DELETE FROM y_doc') AS deletes;
-- to refer to a row needs no key, as ever
CREATE TABLE y_part (doc int REFERENCES y_doc ON DELETE SET NULL);
SELECT y_do('INSERT INTO y_part VALUES (3)') AS refers, y_do('INSERT INTO y_part VALUES (33)') AS refers, y_do('DELETE FROM y_part') AS deletes;
DROP TABLE y_part;
ALTER TABLE y_doc NO FORCE ROW LEVEL SECURITY;
RESET ROLE;
-- applied changes fire what is enabled always; who applies them is not subject
SET session_replication_role = replica;
SET ROLE regress_apikey_app;
SET apikey.key = :'write';
SELECT y_try('UPDATE y_doc SET body = ''x''') AS judged, y_try('DELETE FROM y_doc WHERE id = 1') AS judged;
RESET ROLE;
SELECT y_try('UPDATE y_doc SET body = ''x''') AS applied, y_try('DELETE FROM y_doc WHERE id = 1') AS applied;
RESET session_replication_role;
RESET apikey.key;

-- views: policies are asked for their owner, and triggers judge who runs the statement
CREATE VIEW y_invoker WITH (security_invoker) AS SELECT * FROM y_doc;
CREATE VIEW y_of_owner AS SELECT * FROM y_doc;
CREATE VIEW y_of_app AS SELECT * FROM y_doc;
ALTER VIEW y_of_owner OWNER TO regress_apikey_owner;
ALTER VIEW y_of_app OWNER TO regress_apikey_app;
GRANT ALL ON y_invoker, y_of_owner TO regress_apikey_app;
\x
SELECT * FROM y_levels('SELECT FROM y_invoker', 'UPDATE y_invoker SET body = ''x'' WHERE id = 1', 'UPDATE y_invoker SET body = ''x'' WHERE id = 2', 'DELETE FROM y_invoker WHERE id = 1',
	'SELECT FROM y_of_owner', 'UPDATE y_of_owner SET body = ''x'' WHERE id = 1', 'UPDATE y_of_owner SET body = ''x'' WHERE id = 3', 'DELETE FROM y_of_owner WHERE id = 1',
	'SELECT FROM y_of_app', 'UPDATE y_of_app SET body = ''x'' WHERE id = 2');
\x
SET ROLE regress_apikey_app;
SELECT y_try('TABLE y_invoker') AS invoker, y_try('TABLE y_of_owner') AS of_owner, y_try('TABLE y_of_app') AS of_app;
RESET ROLE;
-- a role that is not subject is not judged, and so may not change what a view of another shows to the key
SET apikey.key = :'read';
SELECT y_try('TABLE y_of_app') AS sees, replace(y_try('UPDATE y_of_app SET body = ''x'' WHERE id = 1'), current_user, 'me') AS updates,
	replace(y_try('DELETE FROM y_of_app WHERE id = 1'), current_user, 'me') AS deletes;
RESET apikey.key;
SELECT y_try('TABLE y_of_app') AS sees;
DROP VIEW y_invoker, y_of_owner, y_of_app;

-- without the triggers a key can change nothing at all
CREATE FUNCTION y_without(change text) RETURNS TABLE (is_strict boolean, updates text, deletes text, merges text, upserts text, locks text, reads text) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	EXECUTE change;
	is_strict = (SELECT p.strict FROM apikey_internal.protected p WHERE relation = 'y_doc'::regclass);
	updates = y_as_app('UPDATE y_doc SET body = ''x''');
	deletes = y_as_app('DELETE FROM y_doc');
	merges = y_as_app('MERGE INTO y_doc d USING (SELECT 1) s ON id = 2 WHEN MATCHED THEN DELETE');
	upserts = y_as_app('INSERT INTO y_doc VALUES (2, ''y_web'', ''production'') ON CONFLICT (id) DO UPDATE SET project = ''y_web''');
	locks = y_as_app('SELECT FROM y_doc FOR UPDATE');
	reads = y_as_app('TABLE y_doc');
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN NEXT;
END $$;
SET apikey.key = :'manage';
\x
SELECT change, c.* FROM unnest(array['ALTER TABLE y_doc ENABLE ALWAYS TRIGGER "00_apikey_update"', 'ALTER TABLE y_doc DISABLE TRIGGER USER', 'ALTER TABLE y_doc DISABLE TRIGGER ALL', 'ALTER TABLE y_doc ENABLE TRIGGER ALL',
	'ALTER TABLE y_doc DISABLE TRIGGER "00_apikey_update"', 'ALTER TABLE y_doc ENABLE TRIGGER "00_apikey_delete"', 'ALTER TABLE y_doc ENABLE REPLICA TRIGGER zz_apikey_move', 'DROP TRIGGER "00_apikey_delete" ON y_doc',
	'ALTER POLICY apikey_update ON y_doc USING (apikey_authorize(project, environment, ''write''))']) WITH ORDINALITY AS t (change, n), LATERAL y_without(change) c ORDER BY n;
\x
-- nor a row of a child that has none
BEGIN;
CREATE TABLE y_child () INHERITS (y_doc);
INSERT INTO y_child VALUES (8, 'y_web', 'production', 'child');
SELECT * FROM y_levels('SELECT FROM y_doc', 'DELETE FROM y_doc WHERE id = 1', 'DELETE FROM y_doc WHERE id = 8', 'UPDATE y_doc SET body = ''x'' WHERE id = 8');
ROLLBACK;
RESET apikey.key;

-- what another policy admits is found by that one; that changes nothing about the key
BEGIN;
CREATE POLICY y_everybody ON y_doc USING (true);
\x
SELECT * FROM y_levels('TABLE y_doc', 'UPDATE y_doc SET body = ''x'' WHERE id = 3', 'DELETE FROM y_doc WHERE id = 3', 'UPDATE y_doc SET body = ''x'' WHERE id = 1', 'UPDATE y_doc SET project = ''y_mars'' WHERE id = 1');
\x
SELECT y_as_app('TABLE y_doc'), y_as_app('UPDATE y_doc SET body = body WHERE false');
ROLLBACK;

-- other triggers come after those that judge: who may not delete a row does not call what would only mark it as deleted
CREATE FUNCTION y_mark() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	UPDATE y_doc SET body = 'deleted' WHERE id = OLD.id;
	RAISE NOTICE 'marked %', OLD.id;
	RETURN NULL;
END $$;
ALTER FUNCTION y_mark OWNER TO regress_apikey_owner;
CREATE TRIGGER "0_mark" BEFORE DELETE ON y_doc FOR EACH ROW EXECUTE FUNCTION y_mark();
CREATE TRIGGER z_min_update BEFORE UPDATE ON y_doc FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
\x
SELECT * FROM y_levels('DELETE FROM y_doc WHERE id = 1', 'UPDATE y_doc SET body = body WHERE id = 1', 'UPDATE y_doc SET body = body WHERE id = 2',
	-- an UPDATE that was suppressed lets no DELETE pass
	'MERGE INTO y_doc d USING (VALUES (1, 1), (1, 2)) s (i, n) ON d.id = i WHEN MATCHED AND n = 1 THEN UPDATE SET body = d.body WHEN MATCHED THEN DELETE');
\x
DROP TRIGGER "0_mark" ON y_doc;
DROP TRIGGER z_min_update ON y_doc;

-- what comes last can do the same with an UPDATE: it is judged before
CREATE TRIGGER zzz_mark BEFORE UPDATE ON y_doc FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT * FROM y_levels('UPDATE y_doc SET body = body WHERE id = 2');
DROP TRIGGER zzz_mark ON y_doc;

-- partitions: within, across, attached later, by another name of the columns
SET ROLE regress_apikey_owner;
CREATE TABLE y_parts (id int, project text, environment text, body text, day int) PARTITION BY LIST (day);
CREATE TABLE y_parts_1 PARTITION OF y_parts FOR VALUES IN (1);
CREATE TABLE y_parts_2 PARTITION OF y_parts FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE y_parts_2_1 PARTITION OF y_parts_2 FOR VALUES IN (1);
SELECT apikey_protect('y_parts', 'project', 'environment', strict => true);
CREATE TABLE y_parts_3 (body text, gone int, day int, environment text, project text, id int);
ALTER TABLE y_parts_3 DROP COLUMN gone;
ALTER TABLE y_parts ATTACH PARTITION y_parts_3 FOR VALUES IN (3);
GRANT ALL ON y_parts, y_parts_1, y_parts_2, y_parts_2_1, y_parts_3 TO regress_apikey_app;
INSERT INTO y_parts SELECT 1, p, 'production', p, d FROM unnest('{y_web,y_shop,y_mars}'::text[]) p, unnest('{1,2,3}'::int[]) d;
RESET ROLE;
SELECT relation, strict FROM apikey_protected WHERE relation = 'y_parts'::regclass;
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE tgname LIKE '%\_apikey\_%' AND tgenabled = 'A' AND tgrelid::regclass::text LIKE 'y\_parts%' GROUP BY 1 ORDER BY 1;
SET ROLE regress_apikey_app;
SELECT what, result FROM y_all('y_parts') WHERE result NOT LIKE '28000%';
SELECT y_try('SELECT FROM y_parts WHERE day = 77') AS pruned, y_try('UPDATE y_parts SET body = body WHERE day = 77') AS pruned;
RESET ROLE;
\x
SELECT * FROM y_levels('TABLE y_parts', 'UPDATE y_parts SET body = ''x'' WHERE project = ''y_web''', 'UPDATE y_parts SET body = ''x'' WHERE project = ''y_shop'' AND day = 3',
	'UPDATE y_parts SET body = ''x'' WHERE project = ''y_mars''', 'DELETE FROM y_parts WHERE project = ''y_web''', 'DELETE FROM y_parts WHERE project = ''y_shop'' AND day = 2',
	'UPDATE y_parts SET day = 3 WHERE project = ''y_web'' AND day = 1', 'UPDATE y_parts SET day = 4 - day WHERE project = ''y_web''', 'UPDATE y_parts SET day = 2 WHERE project = ''y_shop'' AND day = 1',
	'UPDATE y_parts SET day = 2, project = ''y_shop'' WHERE project = ''y_web'' AND day = 1', 'UPDATE y_parts SET day = 2, project = ''y_web'' WHERE project = ''y_shop'' AND day = 1',
	'UPDATE y_parts SET day = 77 WHERE project = ''y_web'' AND day = 1',
	'MERGE INTO y_parts p USING (VALUES (1)) s (d) ON project = ''y_web'' AND day = d WHEN MATCHED THEN UPDATE SET day = 3',
	'MERGE INTO y_parts p USING (VALUES (1)) s (d) ON project = ''y_web'' AND day = d WHEN MATCHED THEN DELETE',
	'WITH u AS (UPDATE y_parts SET day = 3 WHERE project = ''y_web'' AND day = 1 RETURNING day) DELETE FROM y_parts p USING u WHERE project = ''y_web'' AND p.day = 1',
	-- partitions by name: no policies, but the triggers
	'UPDATE y_parts_1 SET body = ''x'' WHERE project = ''y_web''', 'DELETE FROM y_parts_3 WHERE project = ''y_web''', 'UPDATE y_parts_2 SET body = ''x'' WHERE project = ''y_shop''');
\x
SET ROLE regress_apikey_app;
SELECT y_try('DELETE FROM y_parts_1') AS by_name;
RESET ROLE;
SELECT y_try('UPDATE y_parts SET day = 3 WHERE day = 1') AS superuser, y_try('DELETE FROM y_parts') AS deletes;
-- an UPDATE that would move a row comes to nothing, and lets no DELETE pass: in one MERGE, in one statement, in a transaction
CREATE FUNCTION y_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER zzz_stay BEFORE UPDATE ON y_parts FOR EACH ROW WHEN (OLD.body <> NEW.body) EXECUTE FUNCTION y_stay();
CREATE TRIGGER z_stay BEFORE UPDATE ON y_parts FOR EACH ROW WHEN (OLD.body = NEW.body) EXECUTE FUNCTION y_stay();
\x
SELECT * FROM unnest('{"","body = ''x'', "}'::text[]) too, LATERAL y_levels('UPDATE y_parts SET ' || too || 'day = 3 WHERE project = ''y_web'' AND day = 1',
	'MERGE INTO y_parts p USING (VALUES (1), (2)) s (n) ON project = ''y_web'' AND day = 1 WHEN MATCHED AND n = 1 THEN UPDATE SET ' || too || 'day = 3 WHEN MATCHED THEN DELETE',
	'MERGE INTO y_parts p USING (VALUES (1), (2)) s (n) ON project = ''y_web'' AND day = 1 WHEN MATCHED AND n = 2 THEN UPDATE SET ' || too || 'day = 3 WHEN MATCHED THEN DELETE',
	'WITH u AS (UPDATE y_parts SET ' || too || 'day = 3 WHERE project = ''y_web'' AND day = 1 RETURNING 1) DELETE FROM y_parts p USING (SELECT count(*) FROM u) t WHERE project = ''y_web'' AND day = 1');
DROP TRIGGER z_stay ON y_parts;
-- where another trigger comes later a move needs manage
SELECT * FROM y_levels('UPDATE y_parts SET day = 3 WHERE project = ''y_web'' AND day = 1');
DROP TRIGGER zzz_stay ON y_parts;
-- one row that is updated lets no other be deleted
INSERT INTO y_parts VALUES (2, 'y_web', 'production', 'second', 1);
SELECT * FROM generate_series(1, 2) i, LATERAL y_levels(format('MERGE INTO y_parts p USING (VALUES (1), (2)) s (n) ON project = ''y_web'' AND day = 1 AND p.id = n WHEN MATCHED AND n = %s THEN UPDATE SET body = ''x'' WHEN MATCHED THEN DELETE', i));
DELETE FROM y_parts WHERE id = 2;
-- nor itself
SELECT * FROM y_levels('MERGE INTO y_parts p USING (VALUES (1), (2)) s (n) ON project = ''y_web'' AND day = 1 WHEN MATCHED AND n = 1 THEN UPDATE SET body = ''x'' WHEN MATCHED THEN DELETE',
	'WITH u AS (UPDATE y_parts SET body = ''x'' WHERE project = ''y_web'' AND day = 1 RETURNING 1) DELETE FROM y_parts p USING (SELECT count(*) FROM u) t WHERE project = ''y_web'' AND day = 1');
\x
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'write';
SAVEPOINT s;
UPDATE y_parts SET body = 'x' WHERE project = 'y_web' AND day = 1;
ROLLBACK TO s;
DELETE FROM y_parts WHERE project = 'y_web' AND day = 1;
ROLLBACK TO s;
DO $$ BEGIN
	BEGIN
		UPDATE y_parts SET body = 'x' WHERE project = 'y_web' AND day = 1;
		RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	END;
	DELETE FROM y_parts WHERE project = 'y_web' AND day = 1;
END $$;
ROLLBACK TO s;
UPDATE y_parts SET body = 'x' WHERE project = 'y_web' AND day = 1;
ROLLBACK;
BEGIN;
SET LOCAL apikey.key = :'write';
DELETE FROM y_parts WHERE project = 'y_web' AND day = 1;
ROLLBACK;
RESET ROLE;
-- triggers of others that run statements on the same table while a row moves
CREATE FUNCTION y_busy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		UPDATE y_parts SET body = body || '!' WHERE project = 'y_web' AND day = 2;
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER z_busy BEFORE UPDATE OR DELETE ON y_parts FOR EACH ROW EXECUTE FUNCTION y_busy();
SELECT * FROM y_levels('UPDATE y_parts SET day = 3 WHERE project = ''y_web'' AND day = 1', 'DELETE FROM y_parts WHERE project = ''y_web'' AND day = 1');
DROP TRIGGER z_busy ON y_parts;
-- a partition that is detached is an ordinary table; a strict one cannot have the triggers twice
ALTER TABLE y_parts DETACH PARTITION y_parts_3;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'y_parts_3'::regclass;
SELECT apikey_protect('y_parts_1', 'project', 'environment', strict => true);
SELECT relation, strict FROM apikey_protected WHERE relation IN ('y_parts'::regclass, 'y_parts_1'::regclass) ORDER BY 1;
SELECT apikey_unprotect('y_parts');
-- what the parent gave is gone, and the partition is closed to changes
SELECT relation, strict FROM apikey_protected WHERE relation = 'y_parts_1'::regclass;
SELECT * FROM y_levels('DELETE FROM y_parts_1 WHERE project = ''y_web''');
SELECT apikey_protect('y_parts_1', 'project', 'environment', strict => true);
SELECT * FROM y_levels('DELETE FROM y_parts_1 WHERE project = ''y_web''', 'DELETE FROM y_parts_1 WHERE project = ''y_shop''');
SELECT attempt($$SELECT apikey_protect('y_parts', 'project', 'environment', strict => true)$$);
DROP TABLE y_parts, y_parts_3;

-- strict and not, other columns, other names; undone
SET ROLE regress_apikey_owner;
CREATE FUNCTION y_state() RETURNS TABLE (policies bigint, triggers text[], enabled boolean) LANGUAGE sql AS $$
	SELECT (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid), array(SELECT tgname::text FROM pg_trigger WHERE tgrelid = c.oid ORDER BY 1), relrowsecurity
	FROM pg_class c WHERE oid = 'y_doc'::regclass
$$;
SELECT apikey_protect('y_doc', 'project', 'environment', force => false);
SELECT * FROM y_state();
SELECT apikey_protect('y_doc', 'project', 'environment', strict => NULL);
SELECT * FROM y_state();
SELECT apikey_protect('y_doc', 'project', 'environment', strict => true);
SELECT apikey_protect('y_doc', 'project', 'environment', strict => true);
SELECT * FROM y_state();
ALTER TRIGGER "00_apikey_update" ON y_doc RENAME TO renamed;
ALTER TABLE y_doc RENAME COLUMN project TO tenant;
RESET ROLE;
SELECT relation, project, strict FROM apikey_protected WHERE relation = 'y_doc'::regclass;
\x
SELECT * FROM y_levels('UPDATE y_doc SET body = ''x'' WHERE id = 1', 'UPDATE y_doc SET body = ''x'' WHERE id = 2', 'DELETE FROM y_doc WHERE id = 1');
\x
SET ROLE regress_apikey_owner;
ALTER TABLE y_doc RENAME COLUMN tenant TO project;
SELECT apikey_protect('y_doc', 'environment', 'project', strict => true);
SELECT tgname, pg_get_triggerdef(oid) LIKE '%old.environment, old.project%' AS other_columns FROM pg_trigger WHERE tgrelid = 'y_doc'::regclass ORDER BY 1;
SELECT apikey_unprotect('y_doc');
SELECT * FROM y_state();
-- a trigger of that name is somebody else's
CREATE TRIGGER "00_apikey_update" BEFORE UPDATE ON y_doc FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT attempt($$SELECT apikey_protect('y_doc', 'project', 'environment', strict => true)$$);
SELECT apikey_protect('y_doc', 'project', 'environment');
SELECT apikey_unprotect('y_doc');
SELECT * FROM y_state();
DROP TRIGGER "00_apikey_update" ON y_doc;
SELECT apikey_protect('y_doc', 'project', 'environment', strict => true);
-- a column goes only with policies and triggers, and then nothing can be done
BEGIN;
SELECT attempt('ALTER TABLE y_doc DROP COLUMN environment') LIKE '2BP01%' AS refused;
SET LOCAL client_min_messages = error;
ALTER TABLE y_doc DROP COLUMN environment CASCADE;
SELECT * FROM y_state();
ROLLBACK;
RESET ROLE;
-- policies that differ in anything are not ours
CREATE FUNCTION y_ours(change text) RETURNS TABLE (ours text, protect text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE change;
	ours = (SELECT string_agg(polname || CASE WHEN c.strict THEN ' strict' ELSE '' END, ', ' ORDER BY polname) FROM pg_policy, apikey_internal.policy_columns(oid) c
		WHERE polrelid = 'y_doc'::regclass AND c.project IS NOT NULL);
	SET LOCAL client_min_messages = error;
	protect = left(attempt($c$SELECT apikey_protect('y_doc', 'project', 'environment')$c$), 5);
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN NEXT;
END $$;
SELECT what, o.* FROM (VALUES
	(1, 'nothing', 'SELECT'),
	(2, 'read, not judged', 'ALTER POLICY apikey_delete ON y_doc USING (apikey_authorize(project, environment, ''read''))'),
	(3, 'judged, another verb', 'ALTER POLICY apikey_delete ON y_doc USING (apikey_internal.judged(tableoid) AND apikey_authorize(project, environment, ''write''))'),
	(4, 'another table judged', 'ALTER POLICY apikey_delete ON y_doc USING (apikey_internal.judged(''y_key''::regclass) AND apikey_authorize(project, environment, ''read''))'),
	(5, 'or', 'ALTER POLICY apikey_delete ON y_doc USING (apikey_internal.judged(tableoid) OR apikey_authorize(project, environment, ''read''))'),
	(6, 'and more', 'ALTER POLICY apikey_delete ON y_doc USING (apikey_internal.judged(tableoid) AND apikey_authorize(project, environment, ''read'') AND id > 0)'),
	(7, 'other columns checked', 'ALTER POLICY apikey_update ON y_doc WITH CHECK (apikey_authorize(environment, project, ''write''))'),
	(8, 'judged where nothing is done', 'ALTER POLICY apikey_select ON y_doc USING (apikey_internal.judged(tableoid) AND apikey_authorize(project, environment, ''read''))'),
	(9, 'written anew', 'ALTER POLICY apikey_update ON y_doc USING (apikey_internal.judged(tableoid) AND apikey_authorize(project, environment, ''read''))
		WITH CHECK (apikey_authorize(project, environment, ''write''))')) t (n, what, change), LATERAL y_ours(change) o ORDER BY n;
DROP FUNCTION y_ours;

-- odd names, and each type that a column may have
CREATE SCHEMA "y ""s""";
CREATE TYPE "y ""s"""."y stage" AS ENUM ('y_web', 'production');
CREATE DOMAIN "y ""s"""."y domain" AS text;
CREATE FUNCTION y_types() RETURNS TABLE (type text, protect text, is_strict boolean, updates text, deletes text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH type IN ARRAY array['text', 'varchar(9)', 'uuid', 'smallint', 'int', 'bigint', '"y ""s"""."y stage"', '"y ""s"""."y domain"', 'jsonb'] LOOP
		EXECUTE format('CREATE TABLE "y ""s"""."y ''t''" ("Pro "" ject" %s, "a.b''c" %1$s)', type);
		protect = attempt($c$SELECT apikey_protect('"y ""s"""."y ''t''"', 'Pro " ject', 'a.b''c', force => true, strict => true)$c$);
		is_strict = (SELECT p.strict FROM apikey_protected p WHERE relation::text LIKE '%y ''t''%');
		GRANT ALL ON SCHEMA "y ""s""" TO regress_apikey_app;
		GRANT ALL ON "y ""s"""."y 't'" TO regress_apikey_app;
		PERFORM set_config('apikey.key', (SELECT y.key FROM y_key y WHERE y.level = 'read'), true);
		IF type LIKE '%stage%' THEN
			INSERT INTO "y ""s"""."y 't'" VALUES ('y_web', 'production');
		END IF;
		updates = y_as_app('UPDATE "y ""s"""."y ''t''" SET "a.b''c" = "a.b''c"');
		deletes = y_as_app('DELETE FROM "y ""s"""."y ''t''"');
		PERFORM set_config('apikey.key', '', true);
		DROP TABLE "y ""s"""."y 't'";
		RETURN NEXT;
	END LOOP;
END $$;
SET client_min_messages = error;
SELECT * FROM y_types();
DROP FUNCTION y_types;
DROP SCHEMA "y ""s""" CASCADE;
RESET client_min_messages;

-- why so few rows?
SELECT level, r.key_state, r.projects, r.visible_rows, r.advice FROM y_key, LATERAL apikey_explain_rls('y_doc', key) r WHERE level = 'read';
SELECT key_state, visible_rows, advice FROM apikey_explain_rls('y_doc', 'x');
SET ROLE regress_apikey_app;
SELECT key_state, visible_rows, advice FROM apikey_explain_rls('y_doc', 'x');
SELECT key_state, visible_rows, advice FROM apikey_explain_rls('y_doc');
SELECT key_state, visible_rows, advice FROM apikey_explain_rls('y_doc', :'write');
RESET ROLE;
SELECT project, level, commands FROM apikey_reach(:'manage_id') WHERE relation = 'y_doc'::regclass ORDER BY 1;

-- plans: the same index conditions as without strict, the same rows by each plan
CREATE TABLE y_big (id int PRIMARY KEY, p text, u uuid, e text, n int);
CREATE TABLE y_uuid (u uuid PRIMARY KEY);
INSERT INTO y_uuid SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid FROM generate_series(1, 5) i;
SELECT count(apikey_add_project('y_acme', u::text)) FROM y_uuid;
SELECT apikey_grant(:'manage_id', '00000000-0000-0000-0000-000000000001', '*', 'write'), apikey_grant(:'manage_id', '00000000-0000-0000-0000-000000000002', '*', 'read');
INSERT INTO y_big SELECT i, CASE WHEN i % 500 = 0 THEN 'y_web' WHEN i % 501 = 0 THEN 'y_shop' ELSE 'p' || i % 1000 END,
	('00000000-0000-0000-0000-' || lpad((i % 1000)::text, 12, '0'))::uuid, 'production', i FROM generate_series(1, 20000) i;
CREATE INDEX ON y_big (p, e);
CREATE INDEX ON y_big (u, e);
ALTER TABLE y_big SET (autovacuum_enabled = off);
VACUUM ANALYZE y_big;
GRANT ALL ON y_big TO regress_apikey_app;
SELECT apikey_protect('y_big', 'p', 'e', strict => true);
SET ROLE regress_apikey_app;
SET plan_cache_mode = force_generic_plan;
PREPARE y_by_text AS SELECT count(n) FROM y_big;
PREPARE y_by_id(int) AS UPDATE y_big SET n = n WHERE id = $1;
PREPARE y_update(int) AS UPDATE y_big SET n = n + $1;
EXPLAIN (COSTS OFF) EXECUTE y_by_id(1);
EXECUTE y_by_text;
BEGIN;
SET LOCAL apikey.key = :'manage';
EXPLAIN (COSTS OFF) EXECUTE y_by_text;
EXPLAIN (COSTS OFF) EXECUTE y_by_id(1);
EXPLAIN (COSTS OFF) EXECUTE y_update(1);
EXPLAIN (COSTS OFF) DELETE FROM y_big;
EXPLAIN (COSTS OFF) SELECT count(*) FROM y_doc JOIN y_big USING (id);
EXECUTE y_by_text;
EXECUTE y_by_id(500);
EXECUTE y_by_id(1);
SAVEPOINT s;
EXECUTE y_by_id(501);
ROLLBACK;
BEGIN;
SET LOCAL apikey.key = :'read';
EXECUTE y_by_text;
EXECUTE y_by_id(500);
ROLLBACK;
RESET ROLE;
-- that there are triggers changes no estimate
CREATE FUNCTION y_estimate(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN plan #>> '{0,Plan,Plans,0,Plan Rows}';
END $$;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'manage';
SELECT y_estimate('DELETE FROM y_big') = y_estimate('SELECT count(*) FROM y_big') AS same;
ROLLBACK;
RESET ROLE;
CREATE FUNCTION y_plans(query text) RETURNS TABLE (plan text, result text) LANGUAGE plpgsql AS $$
DECLARE
	kind text;
	line text;
BEGIN
	FOREACH kind IN ARRAY '{indexscan,bitmapscan,seqscan}'::text[] LOOP
		SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off;
		PERFORM set_config('enable_' || kind, 'on', true);
		FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
			plan = coalesce(plan, substring(line FROM '(Seq Scan|Bitmap Heap Scan|Index Scan)'));
		END LOOP;
		BEGIN
			EXECUTE query INTO result;
			RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
		EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
			RETURN NEXT;
		END;
		plan = NULL;
	END LOOP;
END $$;
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'manage';
SELECT * FROM y_plans('SELECT md5(string_agg(id::text, '','' ORDER BY id)) || count(*) FROM y_big');
SELECT * FROM y_plans('WITH u AS (UPDATE y_big SET n = n WHERE p = ''y_web'' RETURNING id) SELECT md5(string_agg(id::text, '','' ORDER BY id)) || count(*) FROM u');
SELECT * FROM y_plans('WITH u AS (DELETE FROM y_big WHERE p LIKE ''y_w%'' RETURNING id) SELECT md5(string_agg(id::text, '','' ORDER BY id)) || count(*) FROM u');
ROLLBACK;
RESET ROLE;
SELECT apikey_protect('y_big', 'u', 'e', strict => true);
SET ROLE regress_apikey_app;
BEGIN;
SET LOCAL apikey.key = :'manage';
EXPLAIN (COSTS OFF) EXECUTE y_by_text;
EXPLAIN (COSTS OFF) EXECUTE y_update(1);
EXECUTE y_by_text;
SELECT y_try('UPDATE y_big SET n = n WHERE id % 1000 = 1'), y_try('UPDATE y_big SET n = n WHERE id % 1000 = 2'), y_try('UPDATE y_big SET n = n WHERE id % 1000 = 3');
ROLLBACK;
-- in parallel
BEGIN;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL apikey.key = :'manage';
EXPLAIN (COSTS OFF) SELECT count(n) FROM y_big;
SELECT count(n) FROM y_big;
ROLLBACK;
BEGIN;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
SELECT count(n) FROM y_big;
ROLLBACK;
RESET plan_cache_mode;
DEALLOCATE ALL;
RESET ROLE;

SELECT count(apikey_delete(key_id)) FROM apikey_keys WHERE organization LIKE 'y\_%';
SELECT count(apikey_remove_project(u::text)) FROM y_uuid;
SELECT apikey_remove_project('y_web'), apikey_remove_project('y_shop'), apikey_remove_project('y_mars');
DROP TABLE y_doc, y_key, y_big, y_uuid;
DROP FUNCTION y_do, y_try, y_all, y_levels, y_as_app, y_fields, y_without, y_mark, y_stay, y_busy, y_state, y_plans, y_estimate;
REVOKE CREATE ON SCHEMA public FROM regress_apikey_owner, regress_apikey_app;
DROP ROLE regress_apikey_owner, regress_apikey_app;
