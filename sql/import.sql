\a \t
-- Keys of other systems, by their hashes.
-- rules of keys that are gone are looked for until then
VACUUM apikey_secret;
SELECT apikey_add_project('i_acme', 'i_web'), apikey_add_project('i_globex', 'i_mars');
CREATE FUNCTION i_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN apikey_authorize(key, 'i_web', 'production', 'read') THEN 'read' END,
		CASE WHEN apikey_authorize(key, 'i_web', 'production', 'write') THEN 'write' END,
		CASE WHEN apikey_authorize(key, 'i_web', 'production', 'manage') THEN 'manage' END,
		CASE WHEN apikey_authorize_organization(key, 'i_acme', 'read') THEN 'org-read' END,
		CASE WHEN apikey_authorize_organization(key, 'i_acme', 'write') THEN 'org-write' END,
		'(' || (apikey_explain(key, 'i_web', 'production', 'read')).reason || ')')
$$;
CREATE FUNCTION i_sha(t text) RETURNS bytea LANGUAGE sql AS $$ SELECT sha256(convert_to(t, 'UTF8')) $$;
CREATE FUNCTION i_hex(t text) RETURNS text LANGUAGE sql AS $$ SELECT encode(i_sha(t), 'hex') $$;
-- pgcrypto writes $2a$ for what others write $2b$
CREATE FUNCTION i_bcrypt(t text) RETURNS text LANGUAGE sql AS $$ SELECT '$2b' || substr(crypt(t, gen_salt('bf', 4)), 4) $$;
-- import a key as another system has it
CREATE FUNCTION i_import(scheme text, key text, label text DEFAULT 'imported') RETURNS uuid LANGUAGE sql AS $$
	SELECT apikey_import('i_acme', label, scheme,
		CASE scheme WHEN 'formbricks-v2' THEN i_bcrypt(substr(key, 5)) ELSE i_hex(key) END,
		CASE scheme WHEN 'formbricks-v2' THEN i_hex(substr(key, 5)) END,
		'[{"project": "i_web", "environment": "production", "level": "write"}]')
$$;
-- index scans in our tables, in this transaction
CREATE FUNCTION i_scans() RETURNS bigint LANGUAGE sql AS $$
	SELECT sum(pg_stat_get_xact_numscans(indexrelid) + pg_stat_get_xact_numscans(indrelid))
	FROM pg_index WHERE indrelid = ANY ('{apikey_key,apikey_secret,apikey_grant,apikey_project,apikey_environment}'::regclass[])
$$;

-- where nothing is imported, what is no key of ours costs no table access
CREATE TABLE i_text (n serial, what text, key text);
INSERT INTO i_text (what, key) VALUES
	('short', 'x'), ('v1', repeat('fedcba9876543210', 2)), ('v2', 'fbk_' || repeat('a', 43)), ('as long as ours', 'apk_' || repeat('a', 71)),
	('4096 bytes', repeat('x', 4096)), ('4097 bytes', repeat('x', 4097)), ('a megabyte', repeat('x', 1048576));
BEGIN;
SELECT i_look('warm'), i_scans() > 0 AS counted;
SELECT i_scans() AS before \gset
SELECT count(*) FILTER (WHERE apikey_authorize(key, 'i_web', 'production', 'read')) AS authorized FROM i_text;
SELECT i_scans() - :before AS scans;
-- ours does
SELECT i_look(token('apk', gen_random_uuid(), repeat('0', 43)));
SELECT i_scans() - :before > 0 AS scans;
COMMIT;

-- Formbricks' own examples
SELECT 'fbk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8' AS v2,
	'ea866a757e4c38babfa8127cbe9a409d3e1f93a00ff1488ff735fcf917afffd0' AS lookup,
	'$2b$12$K46somGzOrjLlr9dheCE1Of8oOnC772n/zvRhIZlCyE0oB5wPnmSC' AS bcrypt,
	'0123456789abcdef0123456789abcdef' AS v1,
	'3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9' AS digest \gset
SELECT apikey_import('i_acme', 'v2', 'formbricks-v2', :'bcrypt', :'lookup',
	'[{"project": "i_web", "environment": "production", "level": "write"}]') AS v2_id \gset
SELECT apikey_import('i_acme', 'v1', 'formbricks-v1', :'digest', NULL,
	'[{"project": "i_web", "environment": "production", "level": "manage"}]', 'read') AS v1_id \gset
SELECT i_look(:'v2') AS v2, i_look(:'v1') AS v1;
SELECT label, key, status, substr(key_id::text, 15, 1) AS uuid_version FROM apikey_keys WHERE key_id IN (:'v1_id', :'v2_id') ORDER BY 1;
CREATE FUNCTION i_changed(key text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT overlay(key PLACING c FROM i) FROM generate_series(1, length(key)) i, unnest('{x,y,0,-," ",é}'::text[]) c WHERE substr(key, i, 1) <> c
	UNION SELECT overlay(key PLACING '' FROM i FOR 1) FROM generate_series(1, length(key)) i
	UNION SELECT overlay(key PLACING 'a' FROM i FOR 0) FROM generate_series(1, length(key) + 1) i
	UNION SELECT unnest(array[upper(key), reverse(key), key || ' ', ' ' || key, key || E'\n', key || key, '"' || key || '"', 'fbk_' || key])
$$;
SELECT count(*), count(*) FILTER (WHERE i_look(k) <> '(invalid key)') AS authorized FROM i_changed(:'v2') k;
SELECT count(*), count(*) FILTER (WHERE i_look(k) <> '(invalid key)') AS authorized FROM i_changed(:'v1') k;
SELECT what, i_look(k) FROM (VALUES ('without fbk_', substr(:'v2', 5)), ('twice', 'fbk_' || :'v2'), ('FBK_', 'FBK_' || substr(:'v2', 5)),
	('another prefix', 'apk_' || substr(:'v2', 5)), ('fbk_', 'fbk_'), ('fbk', 'fbk'), ('v1 behind fbk_', 'fbk_' || :'v1')) t (what, k);

-- SHA-256 in each writing
CREATE TABLE i_hash AS SELECT 'any ✓ text ' || n AS key, CASE n WHEN 1 THEN i_hex('any ✓ text 1') WHEN 2 THEN upper(i_hex('any ✓ text 2'))
	WHEN 3 THEN encode(i_sha('any ✓ text 3'), 'base64') WHEN 4 THEN rtrim(encode(i_sha('any ✓ text 4'), 'base64'), '=')
	WHEN 5 THEN translate(encode(i_sha('any ✓ text 5'), 'base64'), '+/', '-_')
	WHEN 6 THEN rtrim(translate(encode(i_sha('any ✓ text 6'), 'base64'), '+/', '-_'), '=') END AS hash
FROM generate_series(1, 6) n;
SELECT count(*) FILTER (WHERE hash ~ '[-_]') > 0 AS url, count(*) FILTER (WHERE hash ~ '[+/]') > 0 AS plain FROM i_hash;
SELECT key, length(hash), apikey_import('i_acme', key, 'sha256', hash, grants => '[{"project": "*", "environment": "*", "level": "read"}]') IS NOT NULL AS imported FROM i_hash;
SELECT key, i_look(key), i_look(key || ' ') AS changed FROM i_hash;
-- and bcrypt under each of its names
SELECT name, apikey_import('i_acme', name, 'formbricks-v2', name || substr(i_bcrypt(name), 4), upper(i_hex(name)),
	'[{"project": "i_web", "environment": "*", "level": "read"}]') IS NOT NULL AS imported, i_look('fbk_' || name)
FROM unnest('{$2a,$2b,$2y}'::text[]) name;

-- everything that can be said of one, as in apikey_create
SELECT apikey_import(organization => 'i_acme', label => E'it''s "new"\n→ ключ', scheme => 'sha256', hash => i_hex('full'), lookup => NULL, grants => '[
		{"level": "manage", "environment": "production", "project": "i_web"}, {"project": "*", "environment": "development", "level": "read"}]',
	organization_level => 'write', expires_at => '2100-01-01 00:00+00', created_by => 'user 7',
	allowed_networks => '{10.0.0.0/8,2001:db8::/32}', metadata => '{"team": ["a"]}', prefix => 'acme_live2') AS full_id \gset
SELECT label, key, organization_level, expires_at AT TIME ZONE 'UTC' AS expires_at, created_by, allowed_networks, metadata
FROM apikey_keys WHERE key_id = :'full_id';
SELECT project, environment, level, organization FROM apikey_grants WHERE key_id = :'full_id' ORDER BY 1, 2;
SELECT i_look('full');
BEGIN;
SET LOCAL apikey.client_address = '10.1.2.3';
SELECT i_look('full');
COMMIT;
SELECT action, organization, acting_key, detail FROM apikey_events WHERE key_id = :'full_id';
SELECT apikey_import('7', 'an organization that is a number', 'sha256', i_hex('seven'), organization_level => 'read') AS seven_id \gset
SELECT apikey_authorize_organization('seven', 7, 'read') AS seven, organization FROM apikey_keys WHERE key_id = :'seven_id';
SELECT apikey_delete(:'seven_id');

-- what is refused; no message repeats the hash
CREATE FUNCTION i_refused(organization text, label text, scheme text, hash text, lookup text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	PERFORM apikey_import(organization, label, scheme, hash, lookup);
	RETURN 'imported';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	IF EXISTS (SELECT FROM unnest(array[scheme, hash, lookup]) a WHERE length(a) > 30 AND strpos(concat(message, detail, hint, context), a) > 0) THEN
		RETURN 'repeats the hash: ' || message;
	END IF;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE TABLE i_refused AS SELECT row_number() OVER () AS n, * FROM (VALUES
	('unknown scheme', 'md5', i_hex('x'), NULL), ('empty scheme', '', i_hex('x'), NULL), ('null scheme', NULL, i_hex('x'), NULL),
	('capitals', 'SHA256', i_hex('x'), NULL), ('blank', 'sha256 ', i_hex('x'), NULL), ('ours', 'apikey', i_hex('x'), NULL),
	('ours with pepper', 'apikey-pepper', i_hex('x'), NULL), ('hash and scheme in each other''s place', i_hex('x'), 'sha256', NULL),
	('null hash', 'sha256', NULL, NULL), ('empty', 'sha256', '', NULL), ('hex, one less', 'sha256', left(i_hex('x'), 63), NULL),
	('hex, one more', 'sha256', i_hex('x') || '0', NULL), ('hex, bad digit', 'sha256', left(i_hex('x'), 63) || 'g', NULL),
	('hex, blank before', 'sha256', ' ' || left(i_hex('x'), 63), NULL), ('hex, newline after', 'sha256', i_hex('x') || E'\n', NULL),
	('hex with 0x', 'sha256', '\x' || i_hex('x'), NULL), ('twice', 'sha256', i_hex('x') || i_hex('x'), NULL),
	('base64, one less', 'sha256', left(encode(i_sha('x'), 'base64'), 42), NULL), ('base64, 44 without =', 'sha256', repeat('a', 44), NULL),
	('base64, ==', 'sha256', left(encode(i_sha('x'), 'base64'), 42) || '==', NULL), ('base64, bad digit', 'sha256', left(encode(i_sha('x'), 'base64'), 42) || '.', NULL),
	('base64, = inside', 'sha256', '=' || substr(encode(i_sha('x'), 'base64'), 2), NULL), ('base64, blank inside', 'sha256', ' ' || substr(encode(i_sha('x'), 'base64'), 2), NULL),
	('base64, é', 'sha256', repeat('a', 41) || 'é', NULL), ('of another length', 'sha256', encode(sha512('x'), 'base64'), NULL),
	('MD5', 'sha256', md5('x'), NULL), ('a megabyte', 'sha256', repeat('a', 1048576), NULL), ('bcrypt', 'sha256', i_bcrypt('x'), NULL),
	('superfluous lookup', 'sha256', i_hex('x'), i_hex('x')), ('empty lookup', 'sha256', i_hex('x'), ''),
	('v1: null hash', 'formbricks-v1', NULL, NULL), ('v1: base64', 'formbricks-v1', encode(i_sha('x'), 'base64'), NULL),
	('v1: one less', 'formbricks-v1', left(i_hex('x'), 63), NULL), ('v1: bad digit', 'formbricks-v1', 'G' || left(i_hex('x'), 63), NULL),
	('v1: empty', 'formbricks-v1', '', NULL), ('v1: superfluous lookup', 'formbricks-v1', i_hex('x'), i_hex('x')),
	('v2: null hash', 'formbricks-v2', NULL, i_hex('x')), ('v2: null lookup', 'formbricks-v2', i_bcrypt('x'), NULL),
	('v2: empty', 'formbricks-v2', '', i_hex('x')), ('v2: empty lookup', 'formbricks-v2', i_bcrypt('x'), ''),
	('v2: SHA-256', 'formbricks-v2', i_hex('x'), i_hex('x')), ('v2: base64 lookup', 'formbricks-v2', i_bcrypt('x'), encode(i_sha('x'), 'base64')),
	('v2: short lookup', 'formbricks-v2', i_bcrypt('x'), left(i_hex('x'), 63)), ('v2: long lookup', 'formbricks-v2', i_bcrypt('x'), i_hex('x') || '0'),
	('v2: bad digit in lookup', 'formbricks-v2', i_bcrypt('x'), left(i_hex('x'), 63) || 'z'),
	('v2: cost 3', 'formbricks-v2', '$2b$03' || substr(i_bcrypt('x'), 7), i_hex('x')), ('v2: cost 0', 'formbricks-v2', '$2b$00' || substr(i_bcrypt('x'), 7), i_hex('x')),
	('v2: cost 16', 'formbricks-v2', '$2b$16' || substr(i_bcrypt('x'), 7), i_hex('x')), ('v2: cost 31', 'formbricks-v2', '$2b$31' || substr(i_bcrypt('x'), 7), i_hex('x')),
	('v2: cost +4', 'formbricks-v2', '$2b$+4' || substr(i_bcrypt('x'), 7), i_hex('x')), ('v2: cost 4', 'formbricks-v2', '$2b$4' || substr(i_bcrypt('x'), 7), i_hex('x')),
	('v2: $2x$', 'formbricks-v2', '$2x' || substr(i_bcrypt('x'), 4), i_hex('x')), ('v2: $2$', 'formbricks-v2', '$2' || substr(i_bcrypt('x'), 4), i_hex('x')),
	('v2: $3b$', 'formbricks-v2', '$3b' || substr(i_bcrypt('x'), 4), i_hex('x')), ('v2: $1$', 'formbricks-v2', crypt('x', gen_salt('md5')), i_hex('x')),
	('v2: one less', 'formbricks-v2', left(i_bcrypt('x'), 59), i_hex('x')), ('v2: one more', 'formbricks-v2', i_bcrypt('x') || 'a', i_hex('x')),
	('v2: bad digit', 'formbricks-v2', left(i_bcrypt('x'), 59) || '+', i_hex('x')), ('v2: bad salt', 'formbricks-v2', overlay(i_bcrypt('x') PLACING '=' FROM 8), i_hex('x')),
	('v2: é', 'formbricks-v2', left(i_bcrypt('x'), 58) || 'é', i_hex('x')), ('v2: a megabyte', 'formbricks-v2', repeat('$2b$04$', 150000), i_hex('x'))) t (what, scheme, hash, lookup);
SELECT what, i_refused('i_acme', 'x', scheme, hash, lookup) FROM i_refused ORDER BY n;
-- the same arguments as of apikey_create are refused in the same way
SELECT i_refused(organization, label, 'sha256', i_hex('x'), NULL) FROM (VALUES
	(NULL, 'x'), ('', 'x'), (repeat('x', 513), 'x'), ('i_acme', NULL), ('i_acme', ''), ('i_acme', E' \t\n')) t (organization, label);
SELECT call, attempt(format('SELECT apikey_import(%L, %L, %L, i_hex(%L), NULL, ', 'i_acme', 'x', 'sha256', 'x') || call || ')') FROM (VALUES
	($$NULL$$), ($$'{}'$$), ($$'[{"project": "i_web"}]'$$), ($$'[{"project": "i_web", "environment": "production", "level": "admin"}]'$$),
	($$'[{"project": "i_none", "environment": "production", "level": "read"}]'$$), ($$'[{"project": "i_mars", "environment": "production", "level": "read"}]'$$),
	($$'[{"project": "i_web", "environment": "none", "level": "read"}]'$$),
	($$'[{"project": "*", "environment": "*", "level": "read"}, {"project": "*", "environment": "*", "level": "read"}]'$$),
	($$'[]', 'manage'$$), ($$'[]', expires_at => now()$$), ($$'[]', allowed_networks => '{}'$$), ($$'[]', allowed_networks => '{NULL}'$$),
	($$'[]', prefix => ''$$), ($$'[]', prefix => 'a-b'$$)) AS t (call);
-- a hash belongs to one key, by whatever scheme and in whatever organization
SELECT what, i_refused(organization, 'x', scheme, hash, lookup) FROM (VALUES
	('the same', 'i_acme', 'formbricks-v1', :'digest', NULL), ('as sha256', 'i_acme', 'sha256', :'digest', NULL),
	('in capitals', 'i_acme', 'sha256', upper(:'digest'), NULL), ('in base64', 'i_acme', 'sha256', encode(decode(:'digest', 'hex'), 'base64'), NULL),
	('by another organization', 'i_globex', 'sha256', :'digest', NULL), ('v2', 'i_acme', 'formbricks-v2', :'bcrypt', :'lookup'),
	('v2 with another bcrypt', 'i_acme', 'formbricks-v2', i_bcrypt('x'), :'lookup'), ('the lookup digest', 'i_acme', 'sha256', :'lookup', NULL)) t (what, organization, scheme, hash, lookup);
SELECT attempt(format($$SELECT apikey_import('i_acme', 'x', 'sha256', h) FROM unnest(array[%1$L, %1$L]) h$$, i_hex('pair')));
-- nothing of all this is stored
SELECT (SELECT count(*) FROM apikey_keys WHERE label = 'x') AS keys, (SELECT count(*) FROM apikey_events WHERE organization LIKE 'i\_%' AND action = 'import') -
	(SELECT count(*) FROM apikey_keys WHERE organization LIKE 'i\_%') AS events, i_look('x'), i_look('fbk_x'), i_look('pair');
DROP TABLE i_refused;
DROP FUNCTION i_refused;

-- every function takes an imported key
CREATE ROLE regress_apikey_import;
CREATE TABLE i_doc (id int, project text, environment text);
INSERT INTO i_doc VALUES (1, 'i_web', 'production'), (2, 'i_web', 'development'), (3, 'i_mars', 'production');
CREATE INDEX ON i_doc (project);
SELECT apikey_protect('i_doc', 'project', 'environment', force => true);
GRANT SELECT, INSERT, DELETE ON i_doc TO regress_apikey_import;
SELECT scheme, i_import(scheme, 'fbk_every function ' || scheme, 'every function ' || scheme) IS NOT NULL AS imported FROM unnest('{formbricks-v1,formbricks-v2,sha256}'::text[]) scheme;
CREATE FUNCTION i_every(key text) RETURNS TABLE (authorized boolean, typed boolean, explained text, projects text[], projects_in text[], environments text[],
	verified text, found bigint, state text) LANGUAGE sql AS $$
	SELECT apikey_authorize(key, 'i_web', 'production', 'write'), apikey_authorize(key, 'i_web'::varchar, 'production'::name, 'write'),
		(apikey_explain(key, 'i_web', 'production', 'read')).reason, apikey_projects_of(key, 'write'), apikey_projects_of(key, 'write', 'production'),
		apikey_internal.environments_of(NULL::text, key, 'write'), (SELECT label FROM apikey_verify(key)), (SELECT count(*) FROM apikey_find_keys('key: ' || key)),
		(SELECT key_state FROM apikey_explain_rls('i_doc', key))
$$;
CREATE FUNCTION i_session() RETURNS TABLE (authorized boolean, organization boolean, projects text[], whoami text, required text, seen bigint, added text, removed text, shown text) LANGUAGE sql AS $$
	SELECT apikey_authorize('i_web', 'production', 'write'), apikey_authorize_organization('i_acme', 'read'), apikey_projects('read'), (SELECT label FROM apikey_whoami()),
		attempt($s$SELECT apikey_require('i_web', 'production', 'manage')$s$), (SELECT count(*) FROM i_doc),
		attempt($s$INSERT INTO i_doc VALUES (4, 'i_web', 'production')$s$), attempt($s$DELETE FROM i_doc WHERE id = 1$s$), current_setting('apikey.key')
$$;
SELECT e.* FROM unnest('{formbricks-v1,formbricks-v2,sha256,nothing}'::text[]) scheme, i_every('fbk_every function ' || scheme) e;
SET ROLE regress_apikey_import;
BEGIN;
SELECT label, organization FROM apikey_login('fbk_every function formbricks-v2');
SELECT * FROM i_session();
ROLLBACK;
BEGIN;
SET LOCAL apikey.key = 'fbk_every function formbricks-v1';
SELECT * FROM i_session();
ROLLBACK;
BEGIN;
SET LOCAL request.headers = '{"x-api-key": "fbk_every function sha256", "authorization": "Bearer fbk_every function formbricks-v1"}';
SELECT apikey_pre_request();
SELECT * FROM i_session();
SET LOCAL request.headers = '{"authorization": "Bearer fbk_every function formbricks-v2"}';
SELECT apikey_pre_request();
SELECT label FROM apikey_whoami();
SET LOCAL request.headers = '{"authorization": "Bearer fbk_every function none"}';
SELECT apikey_pre_request();
SELECT count(*) FROM apikey_whoami();
ROLLBACK;
SELECT attempt($$SELECT apikey_login('fbk_every function none')$$), (SELECT count(*) FROM i_doc) AS seen;
-- who holds it may end it
SELECT apikey_revoke_self('fbk_every function sha256');
SELECT attempt($$SELECT apikey_revoke_self('fbk_every function none')$$);
RESET ROLE;
SELECT i_look('fbk_every function sha256');
BEGIN;
SET LOCAL request.headers = '{"authorization": "Bearer fbk_every function sha256"}';
SELECT attempt('SELECT apikey_pre_request()');
ROLLBACK;
-- only where it was logged in; what was rolled back is bcrypt again, but for apikey_verify's
SELECT label, scheme, length(verifier) FROM apikey_secret JOIN apikey_keys USING (key_id) WHERE label LIKE 'every%' ORDER BY 1;

-- a leak of one
SELECT apikey_import('i_acme', 'leaked', 'formbricks-v2', i_bcrypt(repeat('a_-', 14) || 'z'), i_hex(repeat('a_-', 14) || 'z')) AS leaked_id \gset
SELECT position, key, key_id = :'leaked_id' AS id, organization, status FROM apikey_find_keys('GET /?key=fbk_' || repeat('a_-', 14) || 'z&fbk_' || repeat('a_-', 14) || 'y');
SELECT status FROM apikey_report_leak('fbk_' || repeat('a_-', 14) || 'z');
SELECT i_look('fbk_' || repeat('a_-', 14) || 'z');

-- the first use that may write puts a hash of ours in the place of bcrypt, without an event
SELECT i_import('formbricks-v2', 'fbk_first use') AS first_id \gset
SELECT i_look('fbk_first use'), scheme, length(salt) AS salt, length(verifier) AS verifier FROM apikey_secret WHERE key_id = :'first_id';
BEGIN READ ONLY;
SELECT label FROM apikey_login('fbk_first use');
SELECT label FROM apikey_verify('fbk_first use');
COMMIT;
SELECT scheme FROM apikey_secret WHERE key_id = :'first_id';
BEGIN;
SAVEPOINT s;
SELECT label FROM apikey_login('fbk_first use');
SELECT i_look('fbk_first use'), scheme, length(salt) AS salt, length(verifier) AS verifier FROM apikey_secret WHERE key_id = :'first_id';
ROLLBACK TO s;
SELECT i_look('fbk_first use'), scheme FROM apikey_secret WHERE key_id = :'first_id';
ROLLBACK;
SELECT count(label) FROM generate_series(1, 3), apikey_verify('fbk_first use');
SELECT i_look('fbk_first use'), scheme, length(salt) AS salt, length(verifier) AS verifier FROM apikey_secret WHERE key_id = :'first_id';
SELECT verifier AS rehashed FROM apikey_secret WHERE key_id = :'first_id' \gset
SELECT label FROM apikey_login('fbk_first use');
SELECT label FROM apikey_verify('fbk_first use');
SELECT verifier = :'rehashed' AS once FROM apikey_secret WHERE key_id = :'first_id';
SELECT action FROM apikey_events WHERE key_id = :'first_id';
SELECT count(*), count(*) FILTER (WHERE i_look(k) <> '(invalid key)') AS authorized FROM i_changed('fbk_first use') k;
SELECT i_look('first use') AS without, i_look('fbk_fbk_first use') AS twice;
-- by a second backend's eyes: nothing is remembered after a flush
SELECT apikey_disable(:'v1_id'), apikey_enable(:'v1_id');
SELECT i_look('fbk_first use'), i_look('first use') AS without;
-- made and used in one transaction
BEGIN;
SELECT i_import('formbricks-v2', 'fbk_young') AS young_id \gset
SELECT i_look('fbk_young');
SELECT label FROM apikey_login('fbk_young');
SELECT i_look('fbk_young'), scheme FROM apikey_secret WHERE key_id = :'young_id';
ROLLBACK;
SELECT i_look('fbk_young');
-- and in one statement
SELECT label, i_look('fbk_at once') FROM i_import('formbricks-v2', 'fbk_at once') id, apikey_verify(CASE WHEN id IS NOT NULL THEN 'fbk_at once' END);
SELECT scheme FROM apikey_secret WHERE lookup = i_sha('at once');

-- the life of one
CREATE FUNCTION i_life(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN replace(attempt(replace(call, 'ID', quote_literal((SELECT key_id FROM apikey_keys WHERE label = 'life')))), (SELECT key_id::text FROM apikey_keys WHERE label = 'life'), 'ID');
END $$;
CREATE TABLE i_call (n serial, call text);
INSERT INTO i_call (call) VALUES ('SELECT apikey_disable(ID)'), ('SELECT apikey_enable(ID)'), ($$SELECT apikey_ungrant(ID, 'i_web', 'production')$$),
	($$SELECT apikey_grant(ID, 'i_web', '*', 'manage')$$), ($$SELECT apikey_set_organization_level(ID, 'write')$$),
	($$SELECT apikey_update(ID, allowed_networks => '{203.0.113.0/24}')$$), ($$SELECT apikey_update(ID, remove => '{allowed_networks}')$$),
	($$UPDATE apikey_key SET expires_at = now() WHERE key_id = ID$$), ($$SELECT apikey_update(ID, expires_at => 'tomorrow')$$),
	('SELECT apikey_revoke(ID)'), ('SELECT apikey_enable(ID)'), ('SELECT apikey_rotate(ID)');
SELECT i_import('sha256', 'fbk_life of sha256', 'life') IS NOT NULL AS imported;
SELECT call, i_life(call), i_look('fbk_life of sha256') FROM i_call ORDER BY n;
SELECT i_life('SELECT apikey_delete(ID)'), i_look('fbk_life of sha256');
SELECT count(*) FROM apikey_secret WHERE lookup = i_sha('fbk_life of sha256');
SELECT i_import('formbricks-v2', 'fbk_life of v2', 'life') IS NOT NULL AS imported;
SELECT call, i_life(call), i_look('fbk_life of v2') FROM i_call ORDER BY n;
SELECT i_life('SELECT apikey_delete(ID)'), i_look('fbk_life of v2');
SELECT count(*) FROM apikey_secret WHERE lookup = i_sha('life of v2');
-- deleted, it can be imported again, as another key
SELECT i_import('sha256', 'fbk_life of sha256', 'life') IS NOT NULL AS imported, i_look('fbk_life of sha256');
SELECT i_life('SELECT apikey_delete(ID)');

-- rotation: the new key is of our form, with the prefix; the imported text lives on for the overlap
SET apikey.prefix = 'pre';
SELECT i_import('formbricks-v2', 'fbk_rotated') AS rotated_id \gset
SELECT i_import('sha256', 'no overlap') AS no_overlap_id \gset
RESET apikey.prefix;
SELECT key AS new FROM apikey_rotate(:'rotated_id', '1 hour') \gset
SELECT left(:'new', 4) AS prefix, i_look('fbk_rotated') AS imported, i_look(:'new') AS new, (SELECT key = substr(:'new', 1, 26) || '…' FROM apikey_keys WHERE key_id = :'rotated_id') AS masked;
-- the old one is still bcrypt, until it is used
SELECT label, (SELECT scheme FROM apikey_secret WHERE key_id = :'rotated_id') FROM apikey_login('fbk_rotated');
SELECT scheme, expires_at BETWEEN now() + '59 min' AND now() + '61 min' AS within_the_hour, i_look('fbk_rotated') FROM apikey_secret WHERE key_id = :'rotated_id';
SELECT apikey_cancel_rotation(:'rotated_id');
SELECT i_look('fbk_rotated') AS imported, i_look(:'new') AS new, (SELECT key FROM apikey_keys WHERE key_id = :'rotated_id') AS masked, (SELECT expires_at FROM apikey_secret WHERE key_id = :'rotated_id');
SELECT replace(attempt(format('SELECT apikey_cancel_rotation(%L)', :'rotated_id')), :'rotated_id', 'ID');
-- rotated twice, the newest two are left
SELECT key AS new FROM apikey_rotate(:'rotated_id', '1 hour') \gset
SELECT key AS newer FROM apikey_rotate(:'rotated_id', '1 hour') \gset
SELECT i_look('fbk_rotated') AS imported, i_look(:'new') AS new, i_look(:'newer') AS newer;
SELECT apikey_cancel_rotation(:'rotated_id');
SELECT i_look('fbk_rotated') AS imported, i_look(:'new') AS new, i_look(:'newer') AS newer;
-- without overlap
SELECT key AS new FROM apikey_rotate(:'no_overlap_id') \gset
SELECT i_look('no overlap') AS imported, i_look(:'new') AS new;
SELECT replace(attempt(format('SELECT apikey_cancel_rotation(%L)', :'no_overlap_id')), :'no_overlap_id', 'ID');
-- the overlap ends, and neither lengthens a life
SELECT i_import('formbricks-v2', 'fbk_overlap') AS overlap_id \gset
SELECT count(*) FROM apikey_rotate(:'overlap_id', '1.5 s');
SELECT i_look('fbk_overlap');
SELECT pg_sleep(1.6);
SELECT i_look('fbk_overlap'), (SELECT count(*) FROM apikey_verify('fbk_overlap')) AS verified;
SELECT apikey_update(:'overlap_id', expires_at => 'tomorrow');
SELECT count(*) FROM apikey_rotate(:'overlap_id', '1 week');
SELECT s.expires_at = k.expires_at AS as_the_key FROM apikey_secret s JOIN apikey_key k USING (key_id) WHERE key_id = :'overlap_id';
SELECT i_import('sha256', 'short lived') AS short_id \gset
SELECT apikey_update(:'short_id', expires_at => now() + '1 hour');
SELECT count(*) FROM apikey_rotate(:'short_id', '1 week');
SELECT s.expires_at = k.expires_at AS as_the_key FROM apikey_secret s JOIN apikey_key k USING (key_id) WHERE key_id = :'short_id';

-- texts of any form and length; longer than 4096 bytes is none
INSERT INTO i_text (what, key) VALUES ('1 byte', '!'), ('control characters', E'\x01\x02\x7f\t\r\n'), ('four bytes each', repeat('𝟙', 64)), ('blanks', '   '), ('quotes', $$'"\$$),
	('wildcard', '%'), ('ours, wrong checksum', 'apk_' || repeat('0', 71)), ('ours, 73 bytes', 'apk_' || repeat('0', 69)), ('ours, of another length', 'apk_' || repeat('0', 72)),
	('just fbk_', 'fbk_'), ('uuid', '00000000-0000-0000-0000-000000000000'), ('JSON', '{"key": null}'), ('longest of ours', repeat('a', 32) || '_' || repeat('0', 71));
SELECT count(i_import('sha256', key, 'text ' || n)) FROM i_text;
SELECT what, octet_length(key) AS bytes, i_look(key), i_look(key || '.') AS changed FROM i_text ORDER BY n;
SELECT count(*) FILTER (WHERE (SELECT count(*) FROM apikey_verify(key)) = 1) AS verified FROM i_text;
-- of bcrypt as well, of which only 72 bytes count; the digest knows the rest
SELECT count(i_import('formbricks-v2', 'fbk_' || s)) FROM unnest(array['?', E'\x01\xc3\xa9', repeat('y', 72), repeat('z', 4092), repeat('z', 4093)]) s;
SELECT length(s), i_look('fbk_' || s), i_look('fbk_' || s || 'x') AS longer, i_look('fbk_' || left(s, -1)) AS shorter, i_look(s) AS without
FROM unnest(array['?', E'\x01\xc3\xa9', repeat('y', 72), repeat('z', 4092), repeat('z', 4093)]) s;
-- nothing is no key, and its hash is not imported
SELECT attempt($$SELECT i_import('sha256', '')$$), attempt($$SELECT i_import('formbricks-v2', 'fbk_')$$);
SELECT i_look(''), i_look(NULL), i_look('fbk_') AS one_from_above;
SELECT apikey_delete(key_id) FROM apikey_secret WHERE lookup = i_sha('fbk_');
SELECT i_look(''), i_look(NULL), i_look('fbk_');
-- what has the form of ours and the right checksum is looked up by its id and nothing else
SELECT token('apk', '00000000-0000-0000-0000-000000000000', repeat('0', 43)) AS ours \gset
SELECT i_import('sha256', :'ours') IS NOT NULL AS imported, i_look(:'ours');

-- unknown texts cost one or two looks at the index, and no more
BEGIN;
SELECT i_look('warm'), i_scans() AS before \gset
SELECT count(*) FILTER (WHERE apikey_authorize('unknown ' || i, 'i_web', 'production', 'read')) FROM generate_series(1, 100) i;
SELECT i_scans() - :before AS scans, i_scans() AS before \gset
SELECT :scans AS scans;
SELECT count(*) FILTER (WHERE apikey_authorize('fbk_unknown ' || i, 'i_web', 'production', 'read')) FROM generate_series(1, 100) i;
SELECT i_scans() - :before AS scans;
COMMIT;

-- pass the hash: nothing that is stored authorizes, in any writing, behind fbk_ or alone
CREATE TABLE i_stored AS
SELECT DISTINCT f || v AS v FROM apikey_secret s JOIN apikey_key k USING (key_id), LATERAL (VALUES (coalesce(s.lookup, '')), (s.verifier), (s.salt), (s.salt || s.verifier), (coalesce(s.lookup, '') || s.verifier),
	(coalesce(k.salt, '')), (coalesce(k.verifier, '')), (convert_to(s::text, 'UTF8'))) AS b (bytes),
	LATERAL (VALUES (encode(bytes, 'hex')), (upper(encode(bytes, 'hex'))), (encode(bytes, 'base64')), (rtrim(encode(bytes, 'base64'), '=')),
		(rtrim(translate(encode(bytes, 'base64'), '+/', '-_'), '=')), (encode(bytes, 'escape')), (bytes::text), (base62(bytes, 43)), (key_id::text),
		(encode(sha256(bytes), 'hex')), (token(prefix, key_id, base62(substr(bytes, 1, 32), 43)))) AS e (v),
	unnest(array['', 'fbk_']) f
WHERE k.organization = 'i_acme' AND f || v NOT IN (SELECT key FROM i_text);
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE octet_length(v) <= 4096) > 1000 AS possible, count(*) FILTER (WHERE i_look(v) <> '(invalid key)') AS accepted FROM i_stored;

-- and nothing that is shown holds a hash or a digest
CREATE TEMP TABLE i_clue AS SELECT encode(v, e) AS clue FROM apikey_secret s JOIN apikey_key k USING (key_id), LATERAL (VALUES (s.lookup), (s.verifier)) t (v),
	unnest(array['hex', 'base64', 'escape']) e WHERE k.organization = 'i_acme'
UNION VALUES (:'bcrypt'), (:'lookup'), (:'digest'), (:'v1'), (:'v2');
SELECT relation, found FROM (
	SELECT c.oid::regclass AS relation, (xpath('//f/text()', query_to_xml(format(
		'WITH r AS MATERIALIZED (SELECT r::text AS row FROM %s r WHERE r::text LIKE ''%%i\_%%'')
		SELECT count(*) AS f FROM r, i_clue WHERE strpos(row, clue) > 0', c.oid::regclass), true, true, '')))[1]::text::int AS found
	FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
	JOIN pg_extension e ON e.oid = d.refobjid AND extname = 'apikey'
	WHERE d.refclassid = 'pg_extension'::regclass AND (relkind = 'v' OR relname = 'apikey_event')
		AND relname NOT IN ('apikey_usage', 'apikey_usage_hours', 'apikey_guesses')) AS t
WHERE found <> 0;
SELECT count(*) > 0 AS would_be_found FROM apikey_secret r, i_clue WHERE strpos(r::text, clue) > 0;
SELECT DISTINCT action, detail - 'grants' - 'organization_level' AS detail FROM apikey_events WHERE organization = 'i_acme' AND action IN ('import', 'create') ORDER BY 1, 2;

-- a stored hash that makes no sense is a no, not an error
SELECT i_import('formbricks-v2', 'fbk_broken') AS broken_id \gset
SELECT i_look('fbk_broken');
CREATE TABLE i_broken (n serial, what text, change text);
INSERT INTO i_broken (what, change) VALUES
	('empty', $$verifier = ''$$), ('short', $$verifier = 'x'$$), ('one less', 'verifier = substr(verifier, 1, 59)'), ('one more', $$verifier = verifier || 'a'$$),
	('of another', $$verifier = convert_to(i_bcrypt('another'), 'UTF8')$$), ('cost 3', $$verifier = overlay(verifier PLACING '03' FROM 5)$$),
	('cost 16', $$verifier = overlay(verifier PLACING '16' FROM 5)$$), ('cost 31', $$verifier = overlay(verifier PLACING '31' FROM 5)$$),
	('cost 5', $$verifier = overlay(verifier PLACING '05' FROM 5)$$), ('$2x$', $$verifier = overlay(verifier PLACING 'x' FROM 3)$$),
	('bad digit', $$verifier = overlay(verifier PLACING '+' FROM 8)$$), ('last bits of the salt', $$verifier = overlay(verifier PLACING '9' FROM 29)$$),
	('zero byte', $$verifier = set_byte(verifier, 20, 0)$$), ('zero bytes', $$verifier = decode(repeat('00', 60), 'hex')$$), ('invalid UTF-8', $$verifier = set_byte(verifier, 20, 255)$$),
	('SHA-256', 'verifier = lookup'), ('a megabyte', $$verifier = convert_to(repeat('$2b$04$', 150000), 'UTF8')$$), ('unknown scheme', $$scheme = 'plain'$$), ('empty scheme', $$scheme = ''$$),
	('ours', $$scheme = 'apikey'$$), ('ours with lengths right', $$scheme = 'apikey', salt = decode(repeat('00', 16), 'hex'), verifier = lookup$$),
	('ours with pepper', $$scheme = 'apikey-pepper', salt = decode(repeat('00', 16), 'hex'), verifier = lookup$$),
	('v1', $$scheme = 'formbricks-v1'$$), ('sha256 of what is behind fbk_', $$scheme = 'sha256', verifier = lookup$$), ('short digest', $$scheme = 'sha256', verifier = substr(i_sha('fbk_broken'), 1, 31)$$),
	('long digest', $$scheme = 'sha256', verifier = i_sha('fbk_broken') || 'x'$$), ('no lookup', 'lookup = NULL'), ('short lookup', 'lookup = substr(lookup, 1, 31)'),
	('empty lookup', $$lookup = ''$$), ('lookup of the whole', $$lookup = i_sha('broken and more')$$), ('expired', 'expires_at = now()'), ('long ago', $$expires_at = '-infinity'$$),
	('nothing', 'salt = salt'), ('for ever', $$expires_at = 'infinity'$$);
CREATE FUNCTION i_break(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	BEGIN
		EXECUTE format('UPDATE apikey_secret SET %s WHERE key_id = (SELECT key_id FROM apikey_keys WHERE label = ''broken'')', change);
		result = concat_ws(', ', i_look('fbk_broken'), attempt('SELECT apikey_login(''fbk_broken'')'), attempt('SELECT apikey_verify(''broken'')'), i_look('fbk_broken'));
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
		RETURN result;
	END;
END $$;
SELECT apikey_update(:'broken_id', label => 'broken');
SELECT what, i_break(change) FROM i_broken ORDER BY n;
RESET apikey.key;
SELECT i_look('fbk_broken'), scheme FROM apikey_secret WHERE key_id = :'broken_id';

-- a key that imports keys cannot give more than it holds
SELECT i_import('sha256', 'importer') AS importer_id \gset
SET apikey.key = 'importer';
SELECT attempt($$SELECT i_import('sha256', 'of a key')$$);
SELECT as_application(format($$apikey_set_organization_level(%L, 'write')$$, :'importer_id'));
SELECT i_import('sha256', 'of a key', 'by a key') AS by_key_id \gset
SELECT attempt($$SELECT apikey_import('i_acme', 'y', 'sha256', i_hex('y'), grants => '[{"project": "i_web", "environment": "production", "level": "manage"}]')$$);
SELECT attempt($$SELECT apikey_import('i_acme', 'y', 'sha256', i_hex('y'), grants => '[{"project": "*", "environment": "*", "level": "read"}]')$$);
SELECT attempt($$SELECT apikey_import('i_globex', 'y', 'sha256', i_hex('y'))$$);
RESET apikey.key;
SELECT i_look('of a key'), i_look('y'), created_by = :'importer_id' AS created_by FROM apikey_keys WHERE key_id = :'by_key_id';
SELECT action, acting_key = :'importer_id' AS acting_key, detail FROM apikey_events WHERE key_id = :'by_key_id';

-- it is closed to PUBLIC
SET ROLE regress_apikey_import;
SELECT attempt($$SELECT apikey_import('i_acme', 'y', 'sha256', repeat('0', 64))$$);
RESET ROLE;

-- very many in one statement, all or none
SELECT count(i_import('sha256', 'many ' || i, 'many ' || i)) FROM generate_series(1, 1000) i;
SELECT count(*) FILTER (WHERE apikey_authorize('many ' || i, 'i_web', 'production', 'write')) AS good FROM generate_series(0, 1001) i;
SELECT attempt($$SELECT i_import('sha256', 'many ' || i, 'more') FROM generate_series(1001, 0, -1) i$$), (SELECT count(*) FROM apikey_keys WHERE label = 'more') AS stored;
SELECT i_look('many 1001');

DROP TABLE i_text, i_hash, i_doc, i_call, i_stored, i_clue, i_broken;
DROP FUNCTION i_look, i_import, i_sha, i_hex, i_bcrypt, i_scans, i_changed, i_every, i_session, i_life, i_break;
DROP ROLE regress_apikey_import;
DELETE FROM apikey_key WHERE organization LIKE 'i\_%';
DELETE FROM apikey_project WHERE organization LIKE 'i\_%';
SELECT count(*) AS left_over FROM apikey_secret;
