\a \t
-- The last secret of a key, past its end: known, and good for nothing.
SET apikey.client_address = '10.1.2.3';
SELECT apikey_add_project('vs_acme', 'vs_web');
CREATE ROLE regress_apikey_superseded;
CREATE TABLE v_doc (project text, environment text);
INSERT INTO v_doc VALUES ('vs_web', 'production');
SELECT apikey_protect('v_doc', 'project', 'environment');
GRANT SELECT, INSERT ON v_doc TO regress_apikey_superseded;
CREATE TABLE v_strict (project text, environment text);
SELECT apikey_protect('v_strict', 'project', 'environment', strict => true);
GRANT SELECT, INSERT ON v_strict TO regress_apikey_superseded;
CREATE TABLE v_key (name text PRIMARY KEY, key_id uuid, key text);
CREATE FUNCTION v_make(name text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO v_key SELECT name, k.key_id, k.key FROM apikey_create('vs_acme', name,
		'[{"project": "vs_web", "environment": "*", "level": "manage"}]', organization_level => 'write', rate_limit => NULL, max_derived => 5) k
$$;
-- a new secret of a key, under another name
CREATE FUNCTION v_rotate(name text, overlap interval DEFAULT '0') RETURNS void LANGUAGE sql AS $$
	INSERT INTO v_key SELECT v_rotate.name || ' ' || (SELECT count(*) + 1 FROM v_key o WHERE o.key_id = k.key_id), r.* FROM v_key k, apikey_rotate(k.key_id, overlap) r WHERE k.name = v_rotate.name
$$;
CREATE FUNCTION v_id(name text) RETURNS uuid LANGUAGE sql AS $$ SELECT key_id FROM v_key k WHERE k.name = v_id.name $$;
CREATE FUNCTION v_text(name text) RETURNS text LANGUAGE sql AS $$ SELECT key FROM v_key k WHERE k.name = v_text.name $$;
CREATE FUNCTION v_look(pattern text) RETURNS TABLE (name text, status text, reason text) LANGUAGE sql AS $$
	SELECT name, f.status, (apikey_explain(key, 'vs_web', 'production', 'read')).reason
	FROM v_key, LATERAL (SELECT (apikey_find_keys(key)).status) f WHERE name LIKE pattern ORDER BY name
$$;
-- the events of a key since the last look, in order
CREATE TABLE v_seen (event_id uuid);
CREATE FUNCTION v_events() RETURNS TABLE (action text, acting text, detail jsonb) LANGUAGE sql AS $$
	WITH seen AS (INSERT INTO v_seen SELECT event_id FROM apikey_events WHERE organization = 'vs_acme' AND event_id NOT IN (SELECT event_id FROM v_seen) RETURNING event_id)
	SELECT e.action, (SELECT min(k.name) FROM v_key k WHERE k.key_id = e.acting_key), e.detail - 'overlap_until' FROM apikey_events e JOIN seen USING (event_id) ORDER BY e.at
$$;

-- each function that takes a key, or asks the session's; "good" is what the new secret gets
CREATE TABLE v_call (n serial, call text);
INSERT INTO v_call (call) VALUES
	('apikey_authorize(KEY, ''vs_web'', ''production'', ''read'')'), ('apikey_authorize(KEY, ''vs_web''::varchar, ''production''::varchar, ''read'')'),
	('apikey_authorize_organization(KEY, ''vs_acme'', ''read'')'), ('apikey_require(KEY, ''vs_web'', ''production'', ''read'')'),
	('apikey_projects_of(KEY, ''read'')'), ('apikey_projects_of(KEY, ''read'', ''production'')'), ('apikey_internal.environments_of(NULL::text, KEY, ''read'')'),
	('(SELECT label FROM apikey_verify(KEY))'), ('(SELECT label FROM apikey_login(KEY))'), ('(SELECT count(*) FROM apikey_rate_limit(KEY))'), ('apikey_spend(KEY, 1)'),
	('(SELECT key_state || '' '' || visible_rows FROM apikey_explain_rls(''v_doc'', KEY))'), ('(SELECT count(key) FROM apikey_derive(KEY, ''child''))'),
	('apikey_revoke_self(KEY)'),
	('SESSION apikey_authorize(''vs_web'', ''production'', ''read'')'), ('SESSION apikey_require(''vs_web'', ''production'', ''read'')'),
	('SESSION apikey_authorize_organization(''vs_acme'', ''read'')'), ('SESSION apikey_projects(''read'')'), ('SESSION apikey_key_id() IS NOT NULL'),
	('SESSION (SELECT count(*) FROM apikey_whoami())'), ('SESSION apikey_spend(1)'), ('SESSION (SELECT count(key) FROM apikey_derive(''child''))'),
	('SESSION (SELECT count(*) FROM v_doc)'), ('SESSION (SELECT count(*) FROM v_strict)'), ('SESSION v_insert(''v_doc'')'), ('SESSION v_insert(''v_strict'')'),
	('ADMIN apikey_rotate(ID)'), ('ADMIN apikey_cancel_rotation(ID)'), ('ADMIN apikey_finish_rotation(ID)'), ('ADMIN apikey_update(ID, label => ''x'')'),
	('ADMIN apikey_create(''vs_acme'', ''x'')'), ('ADMIN apikey_disable(ID)'), ('ADMIN apikey_revoke(ID)'), ('ADMIN apikey_delete(ID)');
CREATE FUNCTION v_insert(relation text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I VALUES (''vs_web'', ''production'')', relation);
	RETURN 'inserted';
END $$;
-- what a call says, undone
CREATE FUNCTION v_say(call text, id uuid, key text) RETURNS text LANGUAGE plpgsql SET apikey.key = '' AS $$
DECLARE
	said text;
BEGIN
	IF call LIKE 'SESSION %' OR call LIKE 'ADMIN %' THEN
		PERFORM set_config('apikey.key', key, true);
	END IF;
	IF call LIKE 'SESSION %' THEN
		SET LOCAL ROLE regress_apikey_superseded;
	END IF;
	EXECUTE format('SELECT (%s)::text', replace(replace(regexp_replace(call, '^[A-Z]+ ', ''), 'ID', quote_literal(id)), 'KEY', quote_literal(key))) INTO said;
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ', MESSAGE = coalesce(left(said, 1 + 40 * (said !~ '^\(')::int), 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'ZZZZZ' THEN SQLERRM ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;
SELECT v_make('each'), v_rotate('each');
SELECT call, v_say(call, v_id('each'), v_text('each')) AS superseded, v_say(call, v_id('each'), v_text('each 2')) AS good,
	v_say(call, v_id('each'), token('apk', v_id('each'), repeat('0', 43))) = v_say(call, v_id('each'), v_text('each')) AS as_unknown FROM v_call ORDER BY n;
-- one after the other, and with the caches warm
SELECT count(*) FILTER (WHERE v_say(call, v_id('each'), v_text('each')) IS DISTINCT FROM v_say(call, v_id('each'), v_text('each'))) AS differ FROM v_call;
-- nor under any setting
SELECT name, s.setting, apikey_authorize(key, 'vs_web', 'production', 'read') AS may FROM v_key, (VALUES ('apikey.prefix', 'v'), ('apikey.cache_size', '64'),
	('apikey.client_address', '::1'), ('apikey.key', v_text('each 2'))) s (setting, value), set_config(setting, value, true) WHERE name = 'each' ORDER BY 2;
-- a deleted, a revoked, a disabled, an expired key: it is still the secret that is told of first
SELECT * FROM v_look('each%');
SELECT apikey_disable(v_id('each'));
SELECT * FROM v_look('each%');
UPDATE apikey_key SET expires_at = '-infinity' WHERE key_id = v_id('each');
SELECT * FROM v_look('each%');
SELECT apikey_revoke(v_id('each'));
SELECT * FROM v_look('each%');
SELECT apikey_delete(v_id('each'));
SELECT * FROM v_look('each%');
SELECT count(*) FROM v_events();

-- the last one alone is known
SELECT v_make('last'), v_rotate('last'), v_rotate('last'), v_rotate('last', '1 hour');
SELECT * FROM v_look('last%');
SELECT overlap_until BETWEEN now() + '59 min' AND now() + '61 min' AS overlap FROM apikey_keys WHERE key_id = v_id('last');
-- finished: the old one is refused, the new one stays
SELECT apikey_finish_rotation(v_id('last'));
SELECT * FROM v_look('last%');
SELECT overlap_until AS no_overlap FROM apikey_keys WHERE key_id = v_id('last');
SELECT replace(attempt(format('SELECT apikey_%s_rotation(%L)', verb, v_id('last'))), v_id('last')::text, 'ID') FROM unnest('{finish,cancel}'::text[]) verb;
-- cancelled: the other way round
SELECT v_rotate('last', '1 hour');
SELECT apikey_cancel_rotation(v_id('last'));
SELECT * FROM v_look('last%');
SELECT overlap_until AS no_overlap FROM apikey_keys WHERE key_id = v_id('last');
SELECT replace(attempt(format('SELECT apikey_%s_rotation(%L)', verb, v_id('last'))), v_id('last')::text, 'ID') FROM unnest('{finish,cancel}'::text[]) verb;
-- undone
BEGIN;
SELECT v_rotate('last', '1 hour');
SAVEPOINT s;
SELECT apikey_finish_rotation(v_id('last'));
SELECT * FROM v_look('last%');
ROLLBACK TO s;
SELECT * FROM v_look('last%');
SELECT apikey_cancel_rotation(v_id('last'));
SELECT * FROM v_look('last%');
ROLLBACK;
SELECT * FROM v_look('last%');
-- when it was replaced: by what came last
SELECT v_rotate('last', '1 hour');
SELECT replaced_at BETWEEN now() - interval '1 min' AND now() AS replaced, replaced_at AS before FROM apikey_secret WHERE key_id = v_id('last') \gset
SELECT apikey_finish_rotation(v_id('last'));
SELECT :'replaced' AS replaced, replaced_at = :'before' AS as_before, expires_at FROM apikey_secret WHERE key_id = v_id('last');
-- an expired key takes its overlap along; a revoked one has none
SELECT v_make('ends'), v_rotate('ends', '1 hour');
SELECT apikey_revoke(v_id('ends'));
SELECT overlap_until FROM apikey_keys WHERE key_id = v_id('ends');
SELECT attempt(format('SELECT apikey_finish_rotation(%L)', v_id('ends'))) LIKE '55000 | API key is revoked%' AS refused;
SELECT * FROM v_look('ends%');
SELECT count(*) FROM v_events();

-- an imported one: known, and taken; a new one that is cancelled has no room beside it
CREATE FUNCTION v_import(name text, text text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO v_key SELECT name, apikey_import('vs_acme', name, 'sha256', encode(sha256(text::bytea), 'hex'),
		grants => '[{"project": "vs_web", "environment": "*", "level": "read"}]'), text
$$;
SELECT v_import('import', 'v an imported key'), v_rotate('import', '1 hour');
SELECT * FROM v_look('import%');
SELECT overlap_until IS NOT NULL AS overlap FROM apikey_keys WHERE key_id = v_id('import');
SELECT apikey_cancel_rotation(v_id('import'));
SELECT * FROM v_look('import%');
SELECT expires_at, replaced_at FROM apikey_secret WHERE key_id = v_id('import');
SELECT v_rotate('import', '1 hour');
SELECT apikey_finish_rotation(v_id('import'));
SELECT * FROM v_look('import%');
SELECT attempt($$SELECT v_import('twice', 'v an imported key')$$);
SELECT v_rotate('import');
SELECT * FROM v_look('import%');
SELECT v_import('again', 'v an imported key');
SELECT * FROM v_look('again%');
SELECT replace(attempt(format('SELECT apikey_finish_rotation(%L)', v_id('again'))), v_id('again')::text, 'ID');
SELECT v_rotate('again');
SELECT * FROM v_look('again%');
SELECT status, count(*) FROM apikey_find_keys('v an imported key') GROUP BY 1;
SELECT count(*) FROM v_events();

-- found where it should not be: a true positive, and the new secret goes on working
SELECT v_make('leak'), v_rotate('leak');
SELECT status FROM apikey_report_leak('key=' || v_text('leak'), 'a log');
SELECT status FROM apikey_report_leak(v_text('leak') || ' ' || v_text('leak'));
SELECT a ->> 'label' AS label FROM jsonb_array_elements(apikey_scanner_alert(jsonb_build_array(jsonb_build_object('token', v_text('leak'), 'type', 't', 'url', 'https://host/'),
	jsonb_build_object('token', v_text('last'), 'type', 't'), jsonb_build_object('token', 'v an imported key', 'type', 't')))) a;
SELECT * FROM v_look('leak%');
SELECT * FROM v_events();
-- with the new one beside it, which comes last: revoked for that one
SELECT status FROM apikey_report_leak(v_text('leak') || ' ' || v_text('leak 2'), 'both');
SELECT status FROM apikey_report_leak(v_text('leak'), 'too late');
SELECT * FROM v_events();
-- during the overlap the old one opens the key
SELECT v_make('overlap'), v_rotate('overlap', '1 hour');
SELECT status FROM apikey_report_leak(v_text('overlap'));
SELECT action, detail FROM v_events() ORDER BY 1;

-- the key of a session whose secret is superseded is not said to have acted
SELECT v_make('actor'), v_rotate('actor');
SELECT count(*) FROM v_events();
SET apikey.key = 'x';
SELECT set_config('apikey.key', v_text('actor'), false) IS NOT NULL AS set;
UPDATE apikey_key SET label = 'by hand' WHERE key_id = v_id('actor');
SELECT set_config('apikey.key', v_text('actor 2'), false) IS NOT NULL AS set;
UPDATE apikey_key SET label = 'by hand, too' WHERE key_id = v_id('actor');
RESET apikey.key;
SELECT action, acting FROM v_events();

DROP TABLE v_doc, v_strict, v_key, v_seen, v_call;
DROP FUNCTION v_make, v_rotate, v_id, v_text, v_look, v_events, v_insert, v_say, v_import;
DROP ROLE regress_apikey_superseded;
DELETE FROM apikey_key WHERE organization LIKE 'vs\_%';
DELETE FROM apikey_project WHERE organization LIKE 'vs\_%';
RESET apikey.client_address;
