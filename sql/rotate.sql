\a \t
-- Rotation: a new secret of the same key; the old one is good for an overlap.
SET apikey.client_address = '10.1.2.3';
CREATE ROLE regress_apikey_rotate;
CREATE TABLE n_doc (project text, environment text, body text);
INSERT INTO n_doc VALUES ('n_web', 'production', 'ours'), ('n_shop', 'development', 'ours, too'), ('n_mars', 'production', 'theirs');
SELECT apikey_add_project('n_acme', 'n_web'), apikey_add_project('n_acme', 'n_shop'), apikey_add_project('n_globex', 'n_mars');
CREATE INDEX ON n_doc (project, environment);
SELECT apikey_protect('n_doc', 'project', 'environment');
GRANT SELECT ON n_doc TO regress_apikey_rotate;

CREATE FUNCTION n_make(label text, expires_at timestamptz DEFAULT NULL, OUT key_id uuid, OUT key text) LANGUAGE sql AS $$
	SELECT k.key_id, k.key FROM apikey_create('n_acme', label, '[{"project": "n_web", "environment": "production", "level": "write"},
		{"project": "*", "environment": "development", "level": "read"}]', organization_level => 'write', expires_at => expires_at, created_by => 'alice',
		allowed_networks => '{10.0.0.0/8,fd00::/8}', metadata => '{"n": 1}', prefix => 'n_live') k
$$;
-- in a few words
CREATE FUNCTION n_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', apikey_authorize(key, 'n_web', 'production', 'write'), apikey_projects_of(key, 'read'),
		(SELECT label FROM apikey_verify(key)), '(' || (apikey_explain(key, 'n_web', 'production', 'write')).reason || ')')
$$;
-- what the application's role sees with this as the key of the session
CREATE FUNCTION n_session(key text, OUT may boolean, OUT projects text[], OUT whoami bigint, OUT docs bigint) LANGUAGE plpgsql
SET apikey.key = '' SET role = 'regress_apikey_rotate' AS $$
BEGIN
	PERFORM set_config('apikey.key', key, true);
	SELECT apikey_authorize('n_web', 'production', 'write'), apikey_projects('read'), (SELECT count(*) FROM apikey_whoami()), (SELECT count(*) FROM n_doc)
	INTO may, projects, whoami, docs;
END $$;
-- by each way in
CREATE FUNCTION n_all(key text) RETURNS TABLE (entry text, answer text) LANGUAGE sql AS $$
	VALUES ('authorize', apikey_authorize(key, 'n_web', 'production', 'write')::text),
		('authorize, typed', apikey_authorize(key, 'n_web'::varchar, 'production'::varchar, 'write')::text),
		('organization', apikey_authorize_organization(key, 'n_acme', 'write')::text),
		('projects_of', apikey_projects_of(key, 'read')::text),
		('environments_of', apikey_internal.environments_of(NULL::text, key, 'read')::text),
		('projects_of_as', apikey_internal.projects_of(NULL::varchar, key, 'read')::text),
		('verify', (SELECT count(*) FROM apikey_verify(key))::text),
		('explain', (SELECT reason FROM apikey_explain(key, 'n_web', 'production', 'write'))),
		('find', (SELECT status FROM apikey_find_keys(key))),
		('explain_rls', (SELECT key_state || ' ' || visible_rows FROM apikey_explain_rls('n_doc', key))),
		('login', left(attempt(format('SELECT * FROM apikey_login(%L)', key)), 23)),
		('session', n_session(key)::text)
$$;
-- a text of the right id with another secret, and the right secret with another prefix
CREATE FUNCTION n_wrong(key_id uuid, key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(n_look(k), ' ') FROM (VALUES (token('n_live', key_id, repeat('0', 43))),
		(token('n_live', key_id, substr(key, length('n_live_') + 23, 43))),
		(token('n_test', key_id, substr(key, length('n_live_') + 23, 43)))) AS t (k)
$$;
SELECT key_id, key AS k1 FROM n_make('k') \gset
CREATE TEMP TABLE n_before AS SELECT (to_jsonb(k) - '{last_used_at,last_used_from,overlap_until}'::text[])::text AS k FROM apikey_keys k WHERE organization = 'n_acme'
	UNION ALL SELECT g::text FROM apikey_grants g WHERE organization = 'n_acme';
CREATE FUNCTION n_changed() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (SELECT (to_jsonb(k) - '{last_used_at,last_used_from,overlap_until}'::text[])::text AS k FROM apikey_keys k WHERE organization = 'n_acme' UNION ALL SELECT g::text FROM apikey_grants g WHERE organization = 'n_acme') AS now
		FULL JOIN n_before b USING (k) WHERE now.k IS NULL OR b.k IS NULL
$$;
SELECT * FROM n_all(:'k1');
SELECT n_wrong(:'key_id', :'k1');

-- with an overlap: both work, and nothing else is another
SELECT key_id = :'key_id' AS same_id, key AS k2 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT :'same_id' AS same_id, :'k2' <> :'k1' AS another_key, left(:'k2', 29) = left(:'k1', 29) AS same_prefix_and_id,
	:'k2' ~ ('^' || apikey_pattern('n_live') || '$') AS form, n_changed();
SELECT old.*, new.answer AS new FROM n_all(:'k1') old JOIN n_all(:'k2') new USING (entry);
SELECT key_id = :'key_id' AS id, organization, organization_level, label, created_by, metadata FROM apikey_verify(:'k1')
UNION SELECT key_id = :'key_id', organization, organization_level, label, created_by, metadata FROM apikey_verify(:'k2');
SELECT n_wrong(:'key_id', :'k1'), n_wrong(:'key_id', :'k2');
-- the secret of one, the rest of the other: ids are the same, so the checksum gives it away
SELECT n_look(left(:'k1', length(:'k1') - 6) || right(:'k2', 6));

-- a second rotation leaves the two newest
SELECT key AS k3 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT n_look(:'k1') AS k1, n_look(:'k2') AS k2, n_look(:'k3') AS k3;
SELECT old.*, new.answer AS new FROM n_all(:'k1') old JOIN n_all(:'k3') new USING (entry);
-- a third, without an overlap, just the newest
SELECT key AS k4 FROM apikey_rotate(:'key_id') \gset
SELECT n_look(:'k1') AS k1, n_look(:'k2') AS k2, n_look(:'k3') AS k3, n_look(:'k4') AS k4, n_changed();
SELECT n_wrong(:'key_id', :'k3'), n_wrong(:'key_id', :'k4');

-- undone while the overlap lasts, once, and the last one alone
CREATE FUNCTION n_cancel(key_id uuid) RETURNS text LANGUAGE sql AS $$
	SELECT replace(attempt(format('SELECT apikey_cancel_rotation(%L)', key_id)), key_id::text, 'ID')
$$;
SELECT n_cancel(:'key_id') AS without_overlap, n_look(:'k4') AS k4;
SELECT key AS k5 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT n_look(:'k4') AS k4, n_look(:'k5') AS k5;
SELECT apikey_cancel_rotation(:'key_id');
SELECT n_look(:'k4') AS k4, n_look(:'k5') AS k5, n_changed();
SELECT n_cancel(:'key_id') AS twice, n_look(:'k4') AS k4;
SELECT n_wrong(:'key_id', :'k4'), n_wrong(:'key_id', :'k5');
SELECT key AS k6 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT key AS k7 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT apikey_cancel_rotation(:'key_id');
SELECT n_look(:'k4') AS k4, n_look(:'k6') AS k6, n_look(:'k7') AS k7;
SELECT n_cancel(:'key_id') AS twice, n_look(:'k6') AS k6;
SELECT key_id AS fresh_id FROM n_make('fresh') \gset
SELECT n_cancel(:'fresh_id') AS never_rotated;

-- one more rotation is of the secret that came back
SELECT key AS k8 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT n_look(:'k6') AS k6, n_look(:'k7') AS k7, n_look(:'k8') AS k8;
SELECT count(*) FROM apikey_secret WHERE key_id = :'key_id';

-- the end of the overlap: no message comes, whatever is warm.  "short" expires within the overlap and is given more time.
SELECT key_id AS short_id, key AS s1 FROM n_make('short', clock_timestamp() + '2 s') \gset
SELECT key AS s2 FROM apikey_rotate(:'short_id', '1 hour') \gset
SELECT apikey_update(:'short_id', expires_at => now() + '1 day');
SET plan_cache_mode = force_generic_plan;
PREPARE n_may (text) AS SELECT apikey_authorize($1, 'n_web', 'production', 'write');
PREPARE n_rows AS SELECT count(*) FROM n_doc WHERE project = ANY (apikey_projects('read')) AND apikey_authorize(project, environment, 'read');
SELECT format($f$CREATE FUNCTION n_constant() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RETURN apikey_authorize(%L, 'n_web', 'production', 'write'); END$$$f$,
	:'k8') AS create_function \gset
:create_function;
SELECT key AS k9 FROM apikey_rotate(:'key_id', '2 s') \gset
CREATE TEMP TABLE n_all_before AS SELECT * FROM n_all(:'k8');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT label FROM apikey_login(:'k8');
EXECUTE n_may (:'k8');
EXECUTE n_rows;
SELECT n_constant(), n_look(:'k8') AS k8, n_look(:'s1') AS s1, n_look(:'s2') AS s2;
SELECT pg_sleep(2.1);
EXECUTE n_may (:'k8');
EXECUTE n_rows;
SELECT n_constant(), n_look(:'k8') AS k8, n_look(:'s1') AS s1, n_look(:'s2') AS s2;
SELECT count(*) AS logged_in FROM apikey_whoami();
SELECT left(attempt('SELECT apikey_require(''n_web'', ''production'', ''write'')'), 5);
COMMIT;
SELECT entry, before.answer AS before, after.answer AS after, new.answer AS new
FROM n_all_before before JOIN n_all(:'k8') after USING (entry) JOIN n_all(:'k9') new USING (entry);
SELECT n_cancel(:'key_id') AS overlap_is_over, n_cancel(:'short_id') AS of_short;
SELECT n_wrong(:'key_id', :'k8'), n_wrong(:'key_id', :'k9');
-- and what is over can be followed by another one
SELECT key AS k10 FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT n_look(:'k8') AS k8, n_look(:'k9') AS k9, n_look(:'k10') AS k10;
EXECUTE n_may (:'k8');
EXECUTE n_may (:'k9');
EXECUTE n_may (:'k10');
SELECT apikey_cancel_rotation(:'key_id');
EXECUTE n_may (:'k8');
EXECUTE n_may (:'k9');
EXECUTE n_may (:'k10');
DEALLOCATE n_may;
DEALLOCATE n_rows;
RESET plan_cache_mode;
DROP FUNCTION n_constant;

-- the old secret dies with the key, if that is earlier, and no later when the key is given more time
SELECT key_id AS exp_id, key AS e1 FROM n_make('expires', now() + '1 day') \gset
SELECT key AS e2 FROM apikey_rotate(:'exp_id', '2 days') \gset
SELECT expires_at = (SELECT expires_at FROM apikey_keys WHERE key_id = :'exp_id') AS with_the_key FROM apikey_secret WHERE key_id = :'exp_id';
SELECT apikey_update(:'exp_id', remove => '{expires_at}');
SELECT expires_at <= now() + '1 day' AS as_it_was FROM apikey_secret WHERE key_id = :'exp_id';
SELECT key AS e3 FROM apikey_rotate(:'exp_id', '2 days') \gset
SELECT expires_at > now() + '1 day' AS by_the_overlap FROM apikey_secret WHERE key_id = :'exp_id';
SELECT n_look(:'e1') AS e1, n_look(:'e2') AS e2, n_look(:'e3') AS e3;
-- an expired key: its secrets stay expired, and the new one waits for more time
UPDATE apikey_key SET expires_at = statement_timestamp() - interval '1 s' WHERE key_id = :'exp_id';
SELECT n_look(:'e3') AS e3;
SELECT key AS e4 FROM apikey_rotate(:'exp_id', '2 days') \gset
SELECT n_look(:'e2') AS e2, n_look(:'e3') AS e3, n_look(:'e4') AS e4, n_cancel(:'exp_id');
SELECT apikey_update(:'exp_id', expires_at => now() + '1 day');
SELECT n_look(:'e2') AS e2, n_look(:'e3') AS e3, n_look(:'e4') AS e4, n_cancel(:'exp_id');
-- a shorter life of the key is one of both secrets
SELECT key AS e5 FROM apikey_rotate(:'exp_id', '1 hour') \gset
UPDATE apikey_key SET expires_at = statement_timestamp() WHERE key_id = :'exp_id';
SELECT n_look(:'e4') AS e4, n_look(:'e5') AS e5;

-- both secrets are of one key: disabled, enabled, less, elsewhere, revoked, deleted
SELECT key_id AS id, key AS a FROM n_make('end') \gset
SELECT key AS b FROM apikey_rotate(:'id', '1 hour') \gset
SELECT apikey_disable(:'id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
SELECT key AS c FROM apikey_rotate(:'id', '1 hour') \gset
SELECT apikey_cancel_rotation(:'id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c;
SELECT key AS c FROM apikey_rotate(:'id', '1 hour') \gset
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c, n_wrong(:'id', :'b');
SELECT apikey_enable(:'id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c;
SELECT apikey_ungrant(:'id', 'n_web', 'production');
SELECT n_look(:'b') AS b, n_look(:'c') AS c;
SET apikey.client_address = '192.0.2.1';
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c;
SET apikey.client_address = '10.1.2.3';
SELECT apikey_revoke(:'id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c;
SELECT replace(attempt(format('SELECT apikey_rotate(%L)', :'id')), :'id', 'ID'), n_cancel(:'id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c, n_wrong(:'id', :'b');
SELECT apikey_delete(:'id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c, (SELECT count(*) FROM apikey_secret WHERE key_id = :'id') AS secrets;
-- the old secret ends the key, too
SELECT key_id AS id, key AS a FROM n_make('self') \gset
SELECT key AS b FROM apikey_rotate(:'id', '1 hour') \gset
SELECT apikey_revoke_self(:'a');
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
-- but not when its time is over
SELECT key_id AS id, key AS a FROM n_make('self') \gset
SELECT key AS b FROM apikey_rotate(:'id') \gset
SELECT attempt(format('SELECT apikey_revoke_self(%L)', :'a')), n_look(:'b') AS b;

-- rolled back: as before, however warm
SELECT key_id AS id, key AS a FROM n_make('undo') \gset
SELECT n_look(:'a') AS a;
BEGIN;
SELECT key AS b FROM apikey_rotate(:'id') \gset
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
ROLLBACK;
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_cancel(:'id');
BEGIN;
SAVEPOINT s;
SELECT key AS b FROM apikey_rotate(:'id', '1 hour') \gset
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
ROLLBACK TO s;
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
SELECT key AS c FROM apikey_rotate(:'id', '1 hour') \gset
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c;
SAVEPOINT s;
SELECT key AS d FROM apikey_rotate(:'id', '1 hour') \gset
SELECT n_look(:'a') AS a, n_look(:'c') AS c, n_look(:'d') AS d;
ROLLBACK TO s;
SELECT n_look(:'a') AS a, n_look(:'c') AS c, n_look(:'d') AS d;
SELECT apikey_cancel_rotation(:'id');
SELECT n_look(:'a') AS a, n_look(:'c') AS c;
ROLLBACK TO s;
SELECT n_look(:'a') AS a, n_look(:'c') AS c;
SELECT apikey_revoke(:'id');
SELECT n_look(:'a') AS a, n_look(:'c') AS c;
ROLLBACK TO s;
SELECT n_look(:'a') AS a, n_look(:'c') AS c;
COMMIT;
SELECT n_look(:'a') AS a, n_look(:'b') AS b, n_look(:'c') AS c, n_look(:'d') AS d;
-- made, rotated and rotated back in one transaction
BEGIN;
SELECT key_id AS new_id, key AS a FROM n_make('new') \gset
SELECT key AS b FROM apikey_rotate(:'new_id', '1 hour') \gset
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
SELECT apikey_cancel_rotation(:'new_id');
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
ROLLBACK;
SELECT n_look(:'a') AS a, n_look(:'b') AS b;
-- within one statement
DO $$
DECLARE
	id uuid;
	k text[];
	said text = '';
BEGIN
	SELECT key_id, array[key] INTO id, k FROM n_make('loop');
	FOR i IN 1 .. 3 LOOP
		SELECT k || key INTO k FROM apikey_rotate(id, '1 min');
		said = said || ' ' || (SELECT string_agg(left(apikey_authorize(t, 'n_web', 'production', 'write')::text, 1), '' ORDER BY n) FROM unnest(k) WITH ORDINALITY AS u (t, n));
	END LOOP;
	PERFORM apikey_cancel_rotation(id);
	said = said || ' ' || (SELECT string_agg(left(apikey_authorize(t, 'n_web', 'production', 'write')::text, 1), '' ORDER BY n) FROM unnest(k) WITH ORDINALITY AS u (t, n));
	PERFORM apikey_rotate(id);
	said = said || ' ' || (SELECT string_agg(left(apikey_authorize(t, 'n_web', 'production', 'write')::text, 1), '' ORDER BY n) FROM unnest(k) WITH ORDINALITY AS u (t, n));
	RAISE NOTICE '%', said;
END $$;

-- a key that rotates itself acts by the old secret no longer
SELECT key_id AS id, key AS a FROM n_make('rotates itself') \gset
BEGIN;
SELECT label FROM apikey_login(:'a');
SELECT key AS b FROM apikey_rotate(:'id') \gset
SELECT count(*) AS logged_in FROM apikey_whoami();
SELECT attempt(format('SELECT apikey_rotate(%L)', :'id'));
SELECT label FROM apikey_login(:'b');
COMMIT;
SELECT n_look(:'a') AS a, n_look(:'b') AS b;

-- an imported key: its own text is the old secret
SELECT apikey_import('n_acme', 'imported', 'sha256', encode(sha256('n an old key'), 'hex'),
	grants => '[{"project": "n_web", "environment": "production", "level": "write"}]', prefix => 'n_live') AS id \gset
SELECT n_look('n an old key'), key IS NULL AS no_masked_form FROM apikey_keys WHERE key_id = :'id';
SELECT n_cancel(:'id') AS never_rotated;
SELECT key AS b FROM apikey_rotate(:'id', '1 hour') \gset
SELECT n_look('n an old key') AS old, n_look(:'b') AS b, key IS NULL AS no_masked_form FROM apikey_keys WHERE key_id = :'id';
SELECT apikey_cancel_rotation(:'id');
SELECT n_look('n an old key') AS old, n_look(:'b') AS b, n_cancel(:'id') FROM apikey_keys WHERE key_id = :'id';
SELECT key AS b FROM apikey_rotate(:'id', '1 hour') \gset
SELECT key AS c FROM apikey_rotate(:'id', '1 hour') \gset
SELECT n_look('n an old key') AS old, n_look(:'b') AS b, n_look(:'c') AS c;
SELECT apikey_cancel_rotation(:'id');
SELECT n_look('n an old key') AS old, n_look(:'b') AS b, n_look(:'c') AS c, n_cancel(:'id');
SELECT apikey_import('n_acme', 'imported', 'sha256', encode(sha256('n another old key'), 'hex'), expires_at => now() + '1 day') AS id \gset
SELECT key AS b FROM apikey_rotate(:'id', '2 days') \gset
SELECT apikey_update(:'id', remove => '{expires_at}');
SELECT expires_at <= now() + '1 day' AS no_later FROM apikey_secret WHERE key_id = :'id';
SELECT key AS c FROM apikey_rotate(:'id') \gset
SELECT n_look('n another old key') AS old, n_look(:'b') AS b, n_look(:'c') AS c, n_cancel(:'id');

-- bad input changes nothing
SELECT key_id AS id, key AS a FROM n_make('bad input') \gset
SELECT call, replace(attempt('SELECT ' || replace(call, 'ID', quote_literal(:'id'))), :'id', 'ID') FROM (VALUES
	('apikey_rotate(NULL)'), ('apikey_rotate(ID, NULL)'), ('apikey_rotate(NULL, NULL)'),
	('apikey_rotate(''00000000-0000-0000-0000-000000000000'')'), ('apikey_rotate(''00000000-0000-0000-0000-000000000000'', ''1 day'')'),
	('apikey_rotate(ID, ''-1 s'')'), ('apikey_rotate(ID, ''1 day -25 hours'')'), ('apikey_rotate(ID, ''300000 years'')'), ('apikey_rotate(ID, ''-300000 years'')'),
	('apikey_rotate(''x'')'), ('apikey_rotate(ID, ''soon'')'),
	('apikey_cancel_rotation(NULL)'), ('apikey_cancel_rotation(''00000000-0000-0000-0000-000000000000'')')) AS t (call);
SELECT n_look(:'a') AS a, (SELECT count(*) FROM apikey_secret WHERE key_id = :'id') AS secrets;
-- in a read-only transaction
BEGIN READ ONLY;
SELECT left(attempt(format('SELECT apikey_rotate(%L)', :'id')), 5), left(attempt(format('SELECT apikey_cancel_rotation(%L)', :'id')), 5), n_look(:'a') AS a;
COMMIT;
-- many at once
SELECT count(DISTINCT r.key), bool_and(r.key_id = k.key_id) AS same, bool_and(apikey_authorize(r.key, 'n_web', 'production', 'write')) AS work, bool_or(apikey_authorize(k.key, 'n_web', 'production', 'write')) AS old
FROM (SELECT m.* FROM generate_series(1, 50) i, n_make('many ' || i) m OFFSET 0) k, apikey_rotate(k.key_id) r;

-- a damaged or foreign row beside the key is "no", and no error
SELECT key AS b FROM apikey_rotate(:'id', '1 hour') \gset
CREATE FUNCTION n_damage(change text, id uuid, a text, b text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	EXECUTE 'UPDATE apikey_secret SET ' || change || ' WHERE key_id = $1' USING id;
	said = n_look(a) || ' / ' || n_look(b);
	RAISE EXCEPTION USING MESSAGE = said;
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
SELECT change, n_damage(change, :'id', :'a', :'b') FROM unnest(array['salt = ''''', 'verifier = ''''', 'verifier = verifier || ''x''', 'scheme = ''none''', 'scheme = ''sha256''',
	'scheme = ''apikey-pepper''', 'expires_at = ''-infinity''', 'expires_at = NULL', 'expires_at = ''infinity''', 'lookup = sha256(''x'')']) change;
SELECT n_look(:'a') AS a, n_look(:'b') AS b;

DROP FUNCTION n_make, n_look, n_session, n_all, n_wrong, n_changed, n_cancel, n_damage;
DROP TABLE n_doc, n_before, n_all_before;
DROP ROLE regress_apikey_rotate;
DELETE FROM apikey_key WHERE organization LIKE 'n\_%';
DELETE FROM apikey_project WHERE organization LIKE 'n\_%';
RESET apikey.client_address;
