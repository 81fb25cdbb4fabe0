\a \t
-- Imported keys: long texts, hashes of a part, other schemes, and a dry run.
SELECT apikey_add_project('f_acme', 'f_web');
CREATE FUNCTION f_look(key text) RETURNS text LANGUAGE sql AS $$ SELECT (apikey_explain(key, 'f_web', 'production', 'write')).reason $$;
CREATE FUNCTION f_hex(t text) RETURNS text LANGUAGE sql AS $$ SELECT encode(sha256(convert_to(t, 'UTF8')), 'hex') $$;
CREATE TABLE f_doc (project text, environment text);
INSERT INTO f_doc VALUES ('f_web', 'production');
SELECT apikey_protect('f_doc', 'project', 'environment', force => true);

-- a long text, such as a JWT of 289 bytes, and the longest, go wherever others do
CREATE TABLE f_long AS SELECT n, 'eyJ' || repeat('aZ9_-.', n / 6) || repeat('z', (n - 3) % 6 + 3 * (n % 6 / 3)) AS key FROM unnest('{289,4096,4097}'::int[]) n;
UPDATE f_long SET key = left(rpad(key, n, 'y'), n);
SELECT n, octet_length(key), apikey_import('f_acme', 'long ' || n, 'sha256', f_hex(key), grants => '[{"project": "f_web", "environment": "production", "level": "write"}]') IS NOT NULL AS imported FROM f_long;
SELECT n, f_look(key) FROM f_long;
SELECT n, apikey_authorize(key, 'f_web', 'production', 'write'), apikey_projects_of(key, 'write'), (SELECT label FROM apikey_verify(key)),
	(SELECT count(*) FROM apikey_find_keys(key)) AS found, (SELECT key_state FROM apikey_explain_rls('f_doc', key)) FROM f_long;
SELECT n, (apikey_explain(key, 'f_web', 'production', 'read')).* FROM f_long;
SELECT key AS jwt FROM f_long WHERE n = 289 \gset
SELECT key AS longest FROM f_long WHERE n = 4096 \gset
SELECT key AS longer FROM f_long WHERE n = 4097 \gset
BEGIN;
SELECT label FROM apikey_login(:'longest');
SELECT (apikey_explain('f_web', 'production', 'write')).*, current_setting('apikey.key') AS shown;
SET LOCAL apikey.key = :'jwt';
SELECT (SELECT label FROM apikey_whoami()), (apikey_explain('f_web', 'production', 'write')).*;
SET LOCAL apikey.key = :'longer';
SELECT (SELECT label FROM apikey_whoami()), (apikey_explain('f_web', 'production', 'write')).*, (SELECT key_state FROM apikey_explain_rls('f_doc'));
COMMIT;
SELECT attempt(format('SELECT apikey_login(%L)', :'longer'));
-- keys of all lengths in turn, as a column of a table has them
SELECT n, count(*), count(*) FILTER (WHERE apikey_authorize(key, 'f_web', 'production', 'write')) AS authorized
FROM (SELECT l.n, l.key FROM generate_series(1, 50), (SELECT * FROM f_long UNION ALL VALUES (0, 'x')) l) t GROUP BY n ORDER BY n;

-- what is hashed is a part of the text
CREATE FUNCTION f_import(key text, scheme text, hash text, lookup text DEFAULT NULL, strip_prefix text DEFAULT NULL, after text DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
	SELECT apikey_import('f_acme', key, scheme, hash, lookup, '[{"project": "f_web", "environment": "production", "level": "write"}]', strip_prefix => strip_prefix, after => after)
$$;
CREATE FUNCTION f_bcrypt(t text, name text DEFAULT '$2b') RETURNS text LANGUAGE sql AS $$ SELECT name || substr(crypt(t, gen_salt('bf', 4)), 4) $$;
-- cal.com, Sanctum, and both at once
SELECT f_import('cal_1f9e0b6a', 'sha256', f_hex('1f9e0b6a'), strip_prefix => 'cal_') AS cal_id, f_import('7|sXbn3KpQ', 'sha256', f_hex('sXbn3KpQ'), after => '|') AS sanctum_id,
	f_import('app_7|both', 'sha256', f_hex('both'), strip_prefix => 'app_', after => '|') AS both_id \gset
CREATE TABLE f_part (n serial, key text);
INSERT INTO f_part (key) VALUES ('cal_1f9e0b6a'), ('1f9e0b6a'), ('CAL_1f9e0b6a'), ('cal-1f9e0b6a'), ('xal_1f9e0b6a'), ('cal_cal_1f9e0b6a'), ('cal_'), ('cal'), ('cal_1f9e0b6'), ('cal_1f9e0b6ab'), (' cal_1f9e0b6a'),
	('cal_|1f9e0b6a'), ('7|1f9e0b6a'), ('app_|1f9e0b6a'), ('7|sXbn3KpQ'), ('8|sXbn3KpQ'), ('|sXbn3KpQ'), ('sXbn3KpQ'), ('7|8|sXbn3KpQ'), ('cal_sXbn3KpQ'), ('7|'), ('|'), ('7|sXbn3KpQ|'), ('cal_7|sXbn3KpQ'),
	('app_7|both'), ('app_|both'), ('app_both'), ('7|both'), ('both'), ('app_7'), ('app_7|'), ('app_'), ('app_7||both'), ('App_7|both'), ('cal_both');
SELECT key, f_look(key) FROM f_part ORDER BY n;
-- one hash is one key, in whatever way its text leads to it
SELECT attempt($$SELECT f_import('x', 'sha256', f_hex('both'))$$);
-- a text is no key that leads to the hash in another way than the key's own
SELECT f_import('whole', 'sha256', f_hex('whole')) IS NOT NULL AS imported, f_look('whole'), f_look('cal_whole'), f_look('7|whole'), f_look('app_7|whole');
-- it goes wherever others do
BEGIN;
SELECT label, key_id = :'cal_id' AS id FROM apikey_login('cal_1f9e0b6a');
SELECT apikey_authorize('f_web', 'production', 'write'), apikey_projects('read'), (SELECT count(*) FROM f_doc), current_setting('apikey.key');
SET LOCAL request.headers = '{"authorization": "Bearer 7|sXbn3KpQ"}';
SELECT apikey_pre_request();
SELECT label FROM apikey_whoami();
COMMIT;
SELECT apikey_disable(:'cal_id');
SELECT f_look('cal_1f9e0b6a'), f_look('1f9e0b6a');
SELECT apikey_enable(:'cal_id');
SELECT key FROM apikey_rotate(:'cal_id', '1 hour') \gset
SELECT f_look('cal_1f9e0b6a'), f_look(:'key');
SELECT apikey_cancel_rotation(:'cal_id');
SELECT f_look('cal_1f9e0b6a'), f_look(:'key');
SELECT detail - 'grants' AS detail FROM apikey_events WHERE key_id IN (:'cal_id', :'sanctum_id', :'both_id') AND action = 'import' ORDER BY event_id;

-- bcrypt of all or of a part: the digest is of the same; the first log-in replaces it
SELECT name, f_import('all ' || name, 'bcrypt', f_bcrypt('all ' || name, name), f_hex('all ' || name)) IS NOT NULL AS imported, f_look('all ' || name), f_look('all ' || name || 'x')
FROM unnest('{$2a,$2b,$2y}'::text[]) name;
-- by another implementation (libxcrypt), of a text that is not ASCII
SELECT f_import('ключ-à-ü', 'bcrypt', '$2y$04$VnOYMdrKLXgjSwkkhWrGIuQAMWRzgCwxHim/oZWeZjcffLEQy1pYe', f_hex('ключ-à-ü')) IS NOT NULL AS imported, f_look('ключ-à-ü'), f_look('ключ-a-u');
-- of a long text bcrypt knows 72 bytes, the digest all
SELECT f_import('JWT', 'bcrypt', f_bcrypt(left(:'jwt', 72)), f_hex(:'jwt' || 'b')) IS NOT NULL AS imported, f_look(:'jwt' || 'b'), f_look(:'jwt' || 'c'), f_look(left(:'jwt', 72));
SELECT f_import('5|bcrypt', 'bcrypt', f_bcrypt('bcrypt'), f_hex('bcrypt'), after => '|') AS bcrypt_id \gset
SELECT f_look('5|bcrypt'), f_look('6|bcrypt'), f_look('bcrypt'), (SELECT scheme FROM apikey_secret WHERE key_id = :'bcrypt_id');
SELECT count(*) FROM apikey_verify('5|bcrypt');
SELECT f_look('5|bcrypt'), f_look('6|bcrypt'), f_look('bcrypt'), (SELECT scheme FROM apikey_secret WHERE key_id = :'bcrypt_id');
SELECT count(*) FROM apikey_verify('6|bcrypt');

-- SHA-512 in each writing
CREATE FUNCTION f_512(t text, e text DEFAULT 'hex') RETURNS text LANGUAGE sql AS $$ SELECT replace(encode(sha512(convert_to(t, 'UTF8')), e), E'\n', '') $$;
SELECT n, length(hash), f_import('sha512 ' || n, 'sha512', hash) IS NOT NULL AS imported, f_look('sha512 ' || n), f_look('sha512 ' || n || 'x'), f_look(hash) FROM unnest(array[f_512('sha512 1'), upper(f_512('sha512 2')), f_512('sha512 3', 'base64'),
	rtrim(f_512('sha512 4', 'base64'), '='), translate(f_512('sha512 5', 'base64'), '+/', '-_'), rtrim(translate(f_512('sha512 6', 'base64'), '+/', '-_'), '='),
	encode(sha512('sha512 7'), 'base64')]) WITH ORDINALITY t (hash, n);
SELECT f_import('sk_5', 'sha512', f_512('5'), strip_prefix => 'sk_') IS NOT NULL AS imported, f_look('sk_5'), f_look('5'), f_look('cal_5');
-- the first half of it, by which it is looked up, is not enough
SELECT f_import('half', 'sha512', f_512('half')) AS half_id \gset
SELECT f_look('half');
UPDATE apikey_secret SET verifier = substr(verifier, 1, 32) WHERE key_id = :'half_id';
SELECT f_look('half');
UPDATE apikey_secret SET verifier = verifier || verifier WHERE key_id = :'half_id';
SELECT f_look('half');

-- a way that makes no sense is a no, not an error
SELECT f_import('cal_broken', 'sha256', f_hex('broken'), strip_prefix => 'cal_') AS broken_id \gset
CREATE FUNCTION f_break(rule text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	BEGIN
		EXECUTE format('UPDATE apikey_secret SET lookup_rule = %s WHERE lookup = sha256(''broken'')', rule);
		result = concat_ws(', ', f_look('cal_broken'), f_look('broken'), f_look('7|broken'));
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
		RETURN result;
	END;
END $$;
SELECT left(rule, 40) AS rule, f_break(rule) FROM (VALUES ('lookup_rule'), ('NULL'), ($$'{}'$$), ($$'{sha256}'$$), ($$'{sha256,cal_}'$$), ($$'{md5,cal_,""}'$$), ($$'{sha256,NULL,""}'$$), ($$'{sha256,cal_,"",""}'$$), ($$'{{sha256},{cal_},{""}}'$$),
	($$'{bcrypt,cal_,""}'$$), ($$'{apikey,cal_,""}'$$), ($$'{sha512,cal_,""}'$$), ($$'{"","",""}'$$), ($$'{sha256,"",""}'$$), ($$'{sha256,"","|"}'$$), ($$'{sha256,cal,_}'$$), ($$array['sha256', repeat('x', 2000), '']$$)) t (rule);
SELECT f_look('cal_broken');

-- what is refused, and why
CREATE TABLE f_refused AS SELECT row_number() OVER () AS n, * FROM (VALUES
	('sha512', f_hex('x'), NULL, NULL, NULL), ('sha512', left(f_512('x'), 127), NULL, NULL, NULL), ('sha512', f_512('x') || '0', NULL, NULL, NULL), ('sha512', f_512('x', 'base64') || '=', NULL, NULL, NULL), ('sha512', left(f_512('x', 'base64'), 87), NULL, NULL, NULL),
	('sha512', f_512(''), NULL, NULL, NULL), ('sha512', f_512('x'), f_hex('x'), NULL, NULL), ('sha256', f_512('x'), NULL, NULL, NULL), ('sha256', f_hex(''), NULL, 'cal_', NULL), ('hmac-sha256', f_512('x'), NULL, NULL, NULL), ('hmac-sha256', f_hex('x'), NULL, NULL, NULL),
	('bcrypt', f_bcrypt('x'), NULL, NULL, NULL), ('bcrypt', f_bcrypt('x'), 'x', NULL, NULL), ('bcrypt', f_hex('x'), f_hex('x'), NULL, NULL), ('bcrypt', f_bcrypt(''), f_hex(''), NULL, NULL),
	('sha256', f_hex('x'), NULL, repeat('x', 65), NULL), ('sha256', f_hex('x'), NULL, NULL, repeat('x', 65)), ('formbricks-v2', f_bcrypt('x'), f_hex('x'), 'fbk_', NULL), ('formbricks-v1', f_hex('x'), NULL, NULL, ''),
	('argon2', '$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b7dWRWJTmaaJObG', NULL, NULL, NULL), ('sha256', '$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b7dWRWJTmaaJObG', NULL, NULL, NULL)) t (scheme, hash, lookup, strip_prefix, after);
SELECT n, scheme, attempt(format('SELECT f_import(%L, %L, %L, %L, %L, %L)', 'x', scheme, hash, lookup, strip_prefix, after)) FROM f_refused ORDER BY n;
SELECT count(*) AS stored FROM apikey_keys WHERE label = 'x';
-- empty is the same as none; 64 bytes are not too many
SELECT f_import('none', 'sha256', f_hex('none'), NULL, '', '') IS NOT NULL AS imported, f_look('none');
SELECT f_import(repeat('é', 32) || 'e', 'sha256', f_hex('e'), strip_prefix => repeat('é', 32)) IS NOT NULL AS imported, f_look(repeat('é', 32) || 'e');
-- when the other system made it
SELECT apikey_import('f_acme', 'old', 'sha256', f_hex('old'), created_at => '2019-05-01 12:00+00') AS old_id \gset
SELECT created_at AT TIME ZONE 'UTC' AS created_at, imported_at > now() - interval '1 minute' AS imported_now, substr(key_id::text, 15, 1) AS version FROM apikey_keys WHERE key_id = :'old_id';
SELECT created_at = imported_at AS now_both FROM apikey_keys WHERE key_id = :'cal_id';
SELECT created_at AT TIME ZONE 'UTC' AS created_at FROM apikey_verify('old');
SELECT k.key_id AS native_id FROM apikey_create('f_acme', 'native') k \gset
SELECT imported_at FROM apikey_keys WHERE key_id = :'native_id';
SELECT at, attempt(format($$SELECT apikey_import('f_acme', 'x', 'sha256', f_hex('x'), created_at => %s)$$, at)) FROM unnest(array['now() + interval ''1 hour''', '''infinity''', '''-infinity''', 'now()', 'NULL']) at;
DELETE FROM apikey_key WHERE label = 'x';

-- a dry run: would it work, and if not, why?
SELECT key, (apikey_check_import('sha256', f_hex('try'), key)).*, (apikey_check_import('sha256', f_hex('try'), key, strip_prefix => 'cal_')).*, (apikey_check_import('sha256', f_hex('try'), key, after => '|')).*
FROM unnest(array['try', 'cal_try', '7|try', 'try2', 'cal_', 'cal', '7|', '', NULL, 'a.b-c try', 'кл_try']) key;
SELECT n, scheme, CASE WHEN scheme <> 'argon2' THEN (apikey_check_import(scheme, hash, 'x', lookup, strip_prefix, after)).reason END FROM f_refused ORDER BY n;
SELECT attempt($$SELECT apikey_check_import('argon2', 'x', 'x')$$), attempt($$SELECT apikey_check_import(NULL, 'x', 'x')$$);
SELECT n, (apikey_check_import('sha256', f_hex(key || 'y'), key || 'y')).* FROM f_long;
SELECT n, (apikey_check_import('sha256', f_hex(key), key)).* FROM f_long;
SELECT (apikey_check_import('sha256', f_hex(key), key)).* FROM token('apk', '00000000-0000-0000-0000-000000000000', repeat('0', 43)) key;
-- it tells what an import comes to
CREATE FUNCTION f_works(key text, scheme text, hash text, lookup text, strip_prefix text, after text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	works boolean = false;
BEGIN
	BEGIN
		PERFORM f_import('x', scheme, hash, lookup, strip_prefix, after);
		works = f_look(key) = 'granted: write';
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN OTHERS THEN
		RETURN works;
	END;
END $$;
SELECT scheme, count(*), count(*) FILTER (WHERE works) AS works, count(*) FILTER (WHERE works IS DISTINCT FROM f_works(key, scheme, hash, lookup, strip_prefix, after)) AS differ
FROM unnest('{try,cal_try,7|try,cal_7|try,"",cal_,|,tr,token}'::text[]) k, token('apk', '00000000-0000-0000-0000-000000000000', repeat('0', 43)), LATERAL (SELECT CASE k WHEN 'token' THEN token ELSE k END AS key) t,
	unnest(array[NULL, '', 'cal_']) strip_prefix, unnest(array[NULL, '|']) after, unnest('{try,7|try,token}'::text[]) h, LATERAL (SELECT CASE h WHEN 'token' THEN token ELSE h END AS hashed) u,
	LATERAL (VALUES ('sha256', f_hex(hashed), NULL), ('sha512', f_512(hashed), NULL), ('bcrypt', f_bcrypt(hashed), f_hex(hashed)), ('formbricks-v2', f_bcrypt(hashed), f_hex(hashed)), ('formbricks-v1', f_hex(hashed), NULL)) v (scheme, hash, lookup),
	apikey_check_import(scheme, hash, key, lookup, strip_prefix, after) GROUP BY scheme ORDER BY scheme;
-- a few ways must do for all
BEGIN;
CREATE FUNCTION f_way(i int) RETURNS text LANGUAGE sql AS $$ SELECT attempt(format('SELECT f_import(''x'', ''sha256'', f_hex(''way %1$s''), strip_prefix => ''way%1$s_'')', i)) $$;
SELECT count(*) FILTER (WHERE way = 'done') BETWEEN 10 AND 32 AS some, max(way) FILTER (WHERE way <> 'done') AS others FROM generate_series(1, 33) i, f_way(i) way;
SELECT attempt($$SELECT f_import('x', 'sha256', f_hex('a known way'), strip_prefix => 'cal_')$$);
ROLLBACK;
-- those that are gone do not count
SELECT attempt($$SELECT f_import('x', 'sha256', f_hex('a new way'), strip_prefix => 'new_')$$), f_look('new_a new way');
-- the dry run is closed to PUBLIC
CREATE ROLE regress_apikey_formats;
SET ROLE regress_apikey_formats;
SELECT attempt($$SELECT apikey_check_import('sha256', repeat('0', 64), 'x')$$);
RESET ROLE;
DROP ROLE regress_apikey_formats;

DROP TABLE f_long, f_doc, f_part, f_refused;
DROP FUNCTION f_look, f_hex, f_import, f_bcrypt, f_512, f_break, f_works;
DELETE FROM apikey_key WHERE organization LIKE 'f\_%';
DELETE FROM apikey_project WHERE organization LIKE 'f\_%';
