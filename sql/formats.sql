\a \t
-- Imported keys: long texts.
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

DROP TABLE f_long, f_doc;
DROP FUNCTION f_look, f_hex;
DELETE FROM apikey_key WHERE organization LIKE 'f\_%';
DELETE FROM apikey_project WHERE organization LIKE 'f\_%';
