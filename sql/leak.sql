\a \t
-- Keys in texts where they should not be: found, told what they are, revoked.
SELECT apikey_add_project('k_acme', 'k_web');
CREATE TABLE k_key (name text PRIMARY KEY, key_id uuid, key text);
INSERT INTO k_key SELECT name, k.key_id, k.key FROM unnest(array['one', 'two', 'disabled', 'revoked', 'expired', 'deleted']) name,
	apikey_create('k_acme', name, '[{"project": "k_web", "environment": "*", "level": "read"}]') k;
INSERT INTO k_key SELECT 'elsewhere', k.* FROM apikey_create('k_acme', 'elsewhere', allowed_networks => '{203.0.113.0/24}') k;
INSERT INTO k_key SELECT 'prefix', k.* FROM apikey_create('k_acme', 'prefix', prefix => 'acme_live_2') k;
INSERT INTO k_key SELECT 'longest', k.* FROM apikey_create('k_acme', 'longest', prefix => 'a23456789_123456789_123456789_12') k;
INSERT INTO k_key SELECT 'shortest', k.* FROM apikey_create('k_acme', 'shortest', prefix => 'a') k;
SELECT count(apikey_disable(key_id)) FROM k_key WHERE name = 'disabled';
SELECT count(apikey_revoke(key_id)) FROM k_key WHERE name = 'revoked';
SELECT count(apikey_delete(key_id)) FROM k_key WHERE name = 'deleted';
UPDATE apikey_key SET expires_at = now() WHERE key_id = (SELECT key_id FROM k_key WHERE name = 'expired');
-- the same with one character wrong, with another secret, of nobody
INSERT INTO k_key SELECT 'typo', NULL, overlay(key PLACING CASE substr(key, 40, 1) WHEN 'x' THEN 'y' ELSE 'x' END FROM 40) FROM k_key WHERE name = 'one';
INSERT INTO k_key SELECT 'forged', NULL, token('apk', a.key_id, substr(b.key, 27, 43)) FROM k_key a, k_key b WHERE a.name = 'one' AND b.name = 'two';
INSERT INTO k_key SELECT 'nobody''s', NULL, token('apk', gen_random_uuid(), substr(key, 27, 43)) FROM k_key WHERE name = 'one';
SELECT key AS one FROM k_key WHERE name = 'one' \gset
SELECT key AS two FROM k_key WHERE name = 'two' \gset
SELECT key AS prefix FROM k_key WHERE name = 'prefix' \gset
SELECT key AS typo FROM k_key WHERE name = 'typo' \gset

-- what is shown: no id, no key; and whether the columns fit together
CREATE FUNCTION k_row(f record, OUT "position" int, OUT key text, OUT name text, OUT organization text, OUT status text)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT f."position", regexp_replace(f.key, '_[0-9A-Za-z]{22}…$', '_<id>…'), f.organization, f.status
	INTO k_row."position", k_row.key, k_row.organization, k_row.status;
	SELECT k.name INTO k_row.name FROM k_key k WHERE k.key_id = f.key_id;
	IF f.key_id IS NOT NULL AND f.key IS DISTINCT FROM (SELECT s.key FROM apikey_keys s WHERE s.key_id = f.key_id) THEN
		key = 'another';
	END IF;
END $$;
CREATE FUNCTION k_find(t text) RETURNS TABLE ("position" int, key text, name text, organization text, status text)
LANGUAGE sql AS $$ SELECT r.* FROM apikey_find_keys(t) f, k_row(f) r $$;

-- what they are
SELECT k.name AS is, r.* FROM k_key k, LATERAL k_find(k.key) r ORDER BY 1;
SELECT * FROM k_find(:'one');
SELECT count(*) FROM k_find(NULL);
SELECT count(*) FROM k_find('');
SELECT count(*) FROM k_find('no key here, not even apk_ or fbk_');

-- anywhere
SELECT what, r.* FROM (VALUES
	(1, 'at the end', 'key=' || :'one'), (2, 'in the middle', 'key=' || :'one' || ' x'),
	(3, 'in a line', E'a\n' || :'one' || E'\nb'), (4, 'JSON', json_build_object('k', :'one')::text),
	(5, 'URL', 'https://host/?x=1&k=' || :'one' || '&y=2'), (6, 'quoted', '''' || :'one' || ''''),
	(7, 'behind other characters', 'é€𝟙…' || :'one'), (8, 'before them', :'one' || 'é'),
	(9, 'header', 'Authorization: Bearer ' || :'one' || E'\r\n'), (10, 'e-mail', '<' || :'one' || '@host>'),
	(11, 'with dashes', '--' || :'one' || '--'), (12, 'long prefix', 'x' || :'prefix' || 'x')) t (n, what, content),
	LATERAL k_find(content) r ORDER BY n;

-- run together with others and with junk
SELECT what, r.* FROM (VALUES
	(1, 'two', :'one' || :'two'), (2, 'two of long prefixes', :'prefix' || :'prefix'), (3, 'three times', :'one' || :'one' || :'one'),
	(4, 'with a dash', :'one' || '-' || :'two'), (5, 'with _', :'one' || '_' || :'two' || '_'),
	(6, 'junk in front', 'my_token_' || :'one'), (7, 'more', 'abcXYZ123' || :'one'), (8, '_', '___' || :'one'),
	(9, 'a prefix', 'apk_' || :'one'), (10, 'junk behind', :'one' || 'abc'), (11, 'much of both', repeat('a', 1000) || :'one' || repeat('0', 1000)),
	(12, 'a body, too', repeat('0', 71) || '_' || :'one'), (13, 'a bad one', 'apk_' || repeat('0', 71) || :'one'),
	(14, 'with a longer prefix the checksum is right, too', 'mkmjhkmjhmhj' || :'one')) t (n, what, content),
	LATERAL k_find(content) r ORDER BY n;

-- several
SELECT r.* FROM k_find((SELECT string_agg(name || ': ' || key, E'\n' ORDER BY name) FROM k_key)) r;

-- not quite keys; one that stands free is told of
SELECT what, r.* FROM (VALUES
	(1, 'wrong', :'typo'), (2, 'wrong in quotes', '"' || :'typo' || '"'), (3, 'wrong behind other characters', 'é' || :'typo'),
	(4, 'wrong, longer prefix', 'my_' || :'typo'), (5, 'wrong, behind _', '_' || :'typo'), (6, 'wrong, behind a capital', 'X' || :'typo'),
	(7, 'wrong, behind a digit', '9' || :'typo'), (8, 'wrong, junk behind', :'typo' || '0'), (9, 'wrong, _ behind', :'typo' || '_'),
	(10, 'truncated', left(:'one', 74)), (11, 'without prefix', substr(:'one', 4)), (12, 'a capital in the prefix', 'Apk' || substr(:'one', 4)),
	(13, 'no letter in the prefix', '1_2' || substr(:'one', 4)), (14, 'too long a prefix', repeat('a', 33) || '_' || repeat('0', 71)),
	(15, 'the longest prefix', '-' || repeat('a', 32) || '_' || repeat('0', 71)), (16, 'a blank in it', overlay(:'one' PLACING ' ' FROM 30)),
	(17, 'masked', (SELECT key FROM apikey_find_keys(:'one'))),
	(18, 'id over 128 bits', 'apk_' || repeat('z', 22) || substr(:'one', 27, 43) || base62(crc32('apk_' || repeat('z', 22) || substr(:'one', 27, 43)), 6)),
	(19, 'secret of another vendor', 'sk_live_' || repeat('Secret0', 10) || 'X')) t (n, what, content)
	LEFT JOIN LATERAL k_find(content) r ON true ORDER BY n;

-- keys of the form that Formbricks gives them, which has no checksum
SELECT apikey_find_keys('fbk_' || repeat('-', 43)) AS nobody_has_imported_one;
SELECT apikey_import('k_acme', 'imported', 'formbricks-v2', '$2b$04$' || repeat('a', 53), encode(sha256(repeat('~', 43)::bytea), 'hex')) IS NOT NULL AS imported;
SELECT what, r.* FROM (VALUES
	(1, 'one', 'fbk_' || repeat('-', 42) || '7'), (2, 'in a text', 'é "fbk_' || repeat('aB3', 14) || '_" x'), (3, 'too short', 'fbk_' || repeat('a', 42)),
	(4, 'two', 'fbk_' || repeat('a', 43) || 'fbk_' || repeat('b', 43)), (5, 'junk', 'my-fbk_' || repeat('fbk_', 12)),
	(6, 'both', 'fbk_' || repeat('a', 43) || ' ' || :'one' || ' fbk_' || repeat('a', 43) || ' ' || :'two'),
	(7, 'an own one', token('fbk', '00000000-0000-0000-0000-000000000000', repeat('0', 43))),
	(8, 'cut off', 'fbk_fbk_' || repeat('a', 42) || ' '), (9, 'in a run', repeat('a_', 100) || 'fbk_' || repeat('a_', 100)),
	(10, 'masked in the log', 'fbk_' || repeat('_-', 22))) t (n, what, content)
	LEFT JOIN LATERAL k_find(content) r ON true ORDER BY n;

-- the '_' escaped
SELECT what, r.* FROM (VALUES
	(1, 'Markdown', 'apk\_'), (2, 'a URL', 'apk%5F'), (3, 'a URL, lower case', 'apk%5f'), (4, 'a URL in a URL', 'apk%255F'), (5, 'JSON', 'apk\u005f'),
	(6, 'JSON in JSON', 'é apk\\u005F'), (7, 'C', 'apk\x5f'), (8, 'octal', 'apk\137'), (9, 'JavaScript', 'apk\u{5f}'), (10, 'SQL', 'U&''apk\005f'), (11, 'Python', 'apk\U0000005f'),
	(12, 'HTML', 'apk&#95;'), (13, 'HTML, a name', 'apk&lowbar;'), (14, 'HTML in HTML', 'apk&amp;#95;'), (15, 'XML', 'apk&#x5F;'), (16, 'quoted-printable', 'apk=5F'), (17, 'twice', 'apk=3D5F'),
	(18, 'Markdown in JSON', 'apk\\_'), (19, 'junk in front', 'my%5fapk%5f')) t (n, what, prefix), LATERAL k_find(prefix || substr(:'one', 5) || 'xyz') r ORDER BY n;
SELECT r.* FROM k_key k, unnest(array['\_', '%5F', '\u005f', '&#95;']) escape, k_find('éé ' || replace(k.key, '_', escape) || '.') r WHERE k.name IN ('prefix', 'longest') ORDER BY 2, 3;
SELECT r.* FROM k_find(replace(:'one' || :'two', '_', '%5F') || ' ' || :'one' || replace(:'prefix', '_', '\_')) r;
-- nothing that is not confirmed by the checksum
SELECT what, r.* FROM (VALUES
	(1, 'wrong', replace(:'typo', '_', '%5F')), (2, 'another escape', replace(:'one', '_', '%60')), (3, 'a blank', replace(:'one', '_', '\ _')), (4, 'no escape', replace(:'one', '_', '5F')),
	(5, 'the beginning of one', replace(:'one', '_', 'u005f')), (6, 'the end', substr(replace(:'one', '_', '%5F'), 4)), (7, 'two', replace(:'one', '_', '__')), (8, 'escaped nine times', replace(:'one', '_', '%' || repeat('25', 9) || '5F')),
	(9, 'broken', overlay(:'one' PLACING E'\n' FROM 40 FOR 0))) t (n, what, content) LEFT JOIN LATERAL k_find(content) r ON true ORDER BY n;

-- broken over lines, on request
CREATE FUNCTION k_fold(key text, break text, width int) RETURNS text LANGUAGE sql AS $$ SELECT regexp_replace(key, format('(.{%s})(?=.)', width), '\1' || replace(break, '\', '\\'), 'g') $$;
CREATE FUNCTION k_join(t text) RETURNS TABLE ("position" int, key text, name text, organization text, status text)
LANGUAGE sql AS $$ SELECT r.* FROM apikey_find_keys(t, join_lines => true) f, k_row(f) r $$;
SELECT what, r.* FROM (VALUES
	(1, 'fold', E'\n'), (2, 'CR LF', E'\r\n'), (3, 'CR', E'\r'), (4, 'quoted-printable', E'=\r\n'), (5, 'continued', E'\\\n'), (6, 'indented', E'\n        '), (7, 'tabs', E'\t\n\t\t'),
	(8, 'an answer to a mail', E'\n> '), (9, 'and to that', E'\r\n> > '), (10, 'source code', E'" +\n    "'), (11, 'a comment', E'\n# '), (12, 'a box', E' │\n│ '),
	(13, 'JSON', '\n'), (14, 'a mail in JSON', '=\r\n'), (15, 'indented in JSON', '\n\t')) t (n, what, break),
	LATERAL k_join('é ' || k_fold(:'one', break, 20) || E'\nxyz') r ORDER BY n;
-- at every width, in every place, escaped as well
SELECT k.name, width, r.* FROM (SELECT name, key FROM k_key WHERE name IN ('one', 'prefix', 'longest', 'shortest')) k, generate_series(7, 104) width,
	unnest(array[E'\n', E'=\r\n', '\n']) break, unnest(array['_', '%5F']) escape, regexp_replace(k_fold(replace(k.key, '_', '~'), break, width), '~', escape, 'g') broken
	LEFT JOIN LATERAL k_join(E'Key:\n' || broken || E'\n') r ON true WHERE r.name IS DISTINCT FROM k.name;
SELECT k.name, cut FROM k_key k, generate_series(1, length(k.key) - 1) cut LEFT JOIN LATERAL k_join(E'1\n' || overlay(key PLACING E'\n> ' FROM cut + 1 FOR 0) || E'\n2') r ON true
WHERE k.name IN ('one', 'prefix', 'longest', 'shortest') AND r.name IS DISTINCT FROM k.name ORDER BY 1, 2;
-- those that are not broken, in the same text, and several
SELECT r.* FROM k_join((SELECT string_agg(name || ': ' || key || E'\n' || k_fold(key, E'\n', 30), E'\n' ORDER BY name) FROM k_key)) r;
SELECT r.* FROM k_join(k_fold(:'one' || :'two' || ' ' || :'prefix', E'=\n', 16)) r;
SELECT r.* FROM k_find(k_fold(:'one', E'\n', 20)) r;
SELECT count(*) FROM apikey_find_keys(k_fold(:'one', E'\n', 20), false) a, apikey_find_keys(k_fold(:'one', E'\n', 20), NULL) b;
-- no line end, a letter, too wide, too often
SELECT what, r.* FROM (VALUES
	(1, 'a blank', k_fold(:'one', ' ', 20)), (2, 'a tab in JSON', k_fold(:'one', '\t', 20)), (3, 'a letter', k_fold(:'one', E'\nx', 20)), (4, 'wide', k_fold(:'one', E'\n' || repeat(' ', 127), 20)),
	(5, 'too wide', k_fold(:'one', E'\n' || repeat(' ', 129), 40)), (6, 'too often', k_fold(:'one', E'\n', 3)), (7, 'wrong', k_fold(:'typo', E'\n', 20)), (8, 'cut off', k_fold(left(:'one', 74), E'\n', 20)),
	(9, 'in two texts', left(:'one', 40) || E'\nand then\n' || substr(:'one', 41))) t (n, what, content)
	LEFT JOIN LATERAL k_join(content) r ON true ORDER BY n;
SELECT n, count(r) FROM (VALUES (1, repeat(E'_\n', 500000)), (2, repeat(E'=5F\n', 250000)), (3, repeat(E'_' || repeat('a', 70) || E'\n', 14000)), (4, repeat('%5Fa' || repeat(E'\n', 120), 8000)), (5, repeat(';', 1000000)),
	(6, repeat(E'apk_a\n', 170000))) t (n, content) LEFT JOIN LATERAL apikey_find_keys(content, true) r ON true GROUP BY 1 ORDER BY 1;

-- large ones, stored compressed and not
CREATE TABLE k_text (n int, content text);
INSERT INTO k_text VALUES (1, repeat('lorem ipsum ', 100000) || :'one'), (2, repeat('é', 500000) || :'two' || repeat('_', 500000) || :'one');
ALTER TABLE k_text ALTER content SET STORAGE EXTERNAL;
INSERT INTO k_text SELECT 3, content FROM k_text WHERE n = 1;
SELECT n, r.* FROM k_text, LATERAL k_find(content) r ORDER BY n, 2;
SELECT n, count(r) FROM (VALUES (1, repeat('_', 3000000)), (2, repeat('a_', 1500000)), (3, repeat('a', 3000000)), (4, repeat(repeat('a', 71) || '_', 40000)),
	(5, repeat('fbk_', 700000)), (6, repeat('apk_' || repeat('0', 72), 40000))) t (n, content) LEFT JOIN LATERAL apikey_find_keys(content) r ON r.status <> 'unknown' GROUP BY 1 ORDER BY 1;

-- against another implementation, on pieces thrown together
CREATE FUNCTION k_expected(t text) RETURNS TABLE ("position" int, good boolean) LANGUAGE plpgsql AS $$
DECLARE
	run int;
	past int;
	found int;
	body text;
	longest int;
BEGIN
	past = 1;
	LOOP
		run = regexp_instr(t, '[0-9A-Za-z]{71,}', past);
		EXIT WHEN run = 0;
		past = regexp_instr(t, '[0-9A-Za-z]{71,}', past, 1, 1);
		CONTINUE WHEN run < 3 OR substr(t, run - 1, 1) <> '_';
		body = substr(t, run, 71);
		found = NULL;
		longest = NULL;
		FOR n IN 1 .. least(32, run - 2) LOOP
			CONTINUE WHEN substr(t, run - 1 - n, n) !~ '^[a-z][a-z0-9_]*$';
			longest = n;
			IF base62(crc32(substr(t, run - 1 - n, n) || '_' || left(body, 65)), 6) = right(body, 6) THEN
				found = n;
				EXIT;
			END IF;
		END LOOP;
		IF found IS NOT NULL THEN
			"position" = run - 1 - found;
			good = true;
			RETURN NEXT;
		ELSIF past - run = 71 AND substr('é' || t, run - 1 - longest, 1) !~ '[0-9A-Za-z]' THEN
			"position" = run - 1 - longest;
			good = false;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
SELECT setseed(0.5);
CREATE TABLE k_random AS
SELECT i, string_agg(piece, '' ORDER BY random()) AS content FROM generate_series(1, 300) i, unnest(array[
	:'one', :'two', :'prefix', :'typo', :'typo', 'apk_', '_', 'my_token_', 'é€', ' ', repeat('0', 71), 'ab12', 'Z', '_9', left(:'one', 60), E'"\n', '-', repeat('_x', 20)]) piece
WHERE random() < 0.3 GROUP BY 1;
SELECT sum(good) > 200 AS good, sum(bad) > 40 AS bad FROM k_random, LATERAL (SELECT count(*) FILTER (WHERE status = 'active') AS good,
	count(*) FILTER (WHERE status = 'malformed') AS bad FROM apikey_find_keys(content)) f;
SELECT i FROM k_random WHERE (SELECT array_agg(("position", good) ORDER BY "position") FROM k_expected(content))
	IS DISTINCT FROM (SELECT array_agg(("position", status <> 'malformed') ORDER BY "position") FROM apikey_find_keys(content));
-- and by parallel workers
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT name, status, count(*) > 40 AS many FROM k_random, LATERAL apikey_find_keys(content) f LEFT JOIN k_key USING (key_id) GROUP BY 1, 2 ORDER BY 1;
COMMIT;

-- the published expression finds the same
SELECT apikey_pattern(), apikey_pattern('acme_live_2'), apikey_pattern(NULL);
BEGIN;
SET LOCAL apikey.prefix = 'acme';
SELECT apikey_pattern(), apikey_pattern('apk');
COMMIT;
SELECT name, key ~ ('^' || apikey_pattern() || '$') AS default, key ~ ('^' || apikey_pattern('acme_live_2') || '$') AS other FROM k_key ORDER BY 1;
SELECT prefix, attempt(format('SELECT apikey_pattern(%L)', prefix)) FROM unnest(array['', 'A', '1', 'a-b', 'a.', repeat('a', 33), 'a_']) prefix;

-- a report revokes what can be revoked, each once
BEGIN READ ONLY;
SELECT attempt(format('SELECT apikey_report_leak(%L)', :'one'));
SELECT name, status FROM k_find(:'one');
COMMIT;
BEGIN;
SELECT pg_stat_get_xact_tuples_updated('apikey_key'::regclass) AS before \gset
SELECT r.* FROM apikey_report_leak(:'one' || ' and again ' || :'one', 'a log') f, k_row(f) r;
SELECT pg_stat_get_xact_tuples_updated('apikey_key'::regclass) - :before AS updates;
SELECT apikey_authorize(:'one', 'k_web', 'production', 'read');
ROLLBACK;
SELECT name, status FROM k_find(:'one');
SELECT apikey_authorize(:'one', 'k_web', 'production', 'read');
SELECT string_agg(name || ': ' || key, E'\n' ORDER BY name) AS all FROM k_key WHERE name <> 'prefix' \gset
BEGIN;
SELECT pg_stat_get_xact_tuples_updated('apikey_key'::regclass) AS before \gset
SELECT r.* FROM apikey_report_leak(:'all') f, k_row(f) r;
SELECT pg_stat_get_xact_tuples_updated('apikey_key'::regclass) - :before AS updates;
SELECT count(*) FROM apikey_report_leak(:'all', NULL) WHERE status = 'revoked';
SELECT pg_stat_get_xact_tuples_updated('apikey_key'::regclass) - :before AS updates;
COMMIT;
SELECT label, status FROM apikey_keys WHERE organization = 'k_acme' ORDER BY 1;
SELECT apikey_authorize(:'one', 'k_web', 'production', 'read');
SELECT count(*) FROM apikey_report_leak(NULL);
SELECT count(*) FROM apikey_report_leak('', '');
SELECT count(*) FROM apikey_report_leak('nothing');
-- a key of the own transaction
BEGIN;
SELECT key FROM apikey_create('k_acme', 'new') \gset
SELECT f.organization, f.status FROM apikey_report_leak(:'key', :'key') f;
ROLLBACK;
SELECT status FROM apikey_find_keys(:'key');
-- escaped or broken ones, in a place whose name has one; what is made up is left alone
BEGIN;
SELECT key_id AS escaped_id, replace(key, '_', '%5F') AS escaped FROM apikey_create('k_acme', 'escaped') \gset
SELECT k_fold(key, E'\n', 20) AS broken FROM apikey_create('k_acme', 'broken') \gset
SELECT f.position, f.status FROM apikey_report_leak(:'escaped' || E'\n> ' || :'broken' || E'\n' || k_fold(:'typo', E'\n', 20), 'https://host/?q=' || :'escaped') f;
SELECT label, status FROM apikey_keys WHERE organization = 'k_acme' AND label IN ('escaped', 'broken') ORDER BY 1;
SELECT detail ->> 'source' = 'https://host/?q=' || (SELECT key FROM apikey_keys WHERE key_id = :'escaped_id') AS masked FROM apikey_events WHERE key_id = :'escaped_id' AND action = 'report_leak';
SELECT key AS escaped FROM apikey_create('k_acme', 'in an alert') \gset
SELECT apikey_scanner_alert(jsonb_build_array(jsonb_build_object('token', k_fold(replace(:'escaped', '_', '\_'), E'\n', 20), 'type', 't'))) -> 0 ->> 'label' AS label;
ROLLBACK;

-- the alert of a scanner
CREATE FUNCTION k_alert(tokens text[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('token', t, 'type', 'k_' || n, 'url', CASE n % 3 WHEN 0 THEN 'https://host/' || t WHEN 1 THEN '' END, 'source', 'content', 'new', '[]'::jsonb) ORDER BY n)
	FROM unnest(tokens) WITH ORDINALITY u (t, n)
$$;
SELECT jsonb_pretty(apikey_scanner_alert('[{"token": "NMIfyYncKcRALEXAMPLE", "type": "mycompany_api_token",
	"url": "https://github.com/octocat/Hello-World/blob/12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt", "source": "content"}]'));
SELECT encode(sha256('NMIfyYncKcRALEXAMPLE'), 'hex');
SELECT apikey_scanner_alert('[]');
SELECT key AS three FROM apikey_create('k_acme', 'three', prefix => 'acme_live_2') \gset
SELECT a ->> 'token_type' AS type, a ->> 'label' AS label, a ->> 'token_hash' = encode(sha256(convert_to(token, 'UTF8')), 'hex') AS hash,
	(SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(a) k) AS fields
FROM unnest(array[:'three', :'one', :'typo', '', 'é', :'prefix' || :'three', :'three']) WITH ORDINALITY u (token, n),
	(SELECT apikey_scanner_alert(k_alert(array[:'three', :'one', :'typo', '', 'é', :'prefix' || :'three', :'three'])) AS answer) x,
	jsonb_array_element(answer, n::int - 1) a ORDER BY n;
SELECT label, status FROM apikey_keys WHERE organization = 'k_acme' AND key LIKE 'acme%' ORDER BY 1;
-- an alert that a driver has made a JSON string of
SELECT key AS quoted FROM apikey_create('k_acme', 'quoted') \gset
SELECT a ->> 'label' AS label FROM jsonb_array_elements(apikey_scanner_alert(to_jsonb(k_alert(array[:'quoted'])::text))) a;
SELECT status FROM apikey_find_keys(:'quoted');
SELECT alert, attempt(format('SELECT apikey_scanner_alert(%L)', alert)) FROM unnest(array[NULL, 'null', '{}', '1', '"x"', '"{}"', '"[1]"', '"["', '[1]', '[[]]', '[null]',
	'[{}]', '[{"type": "x"}]', '[{"token": "x"}]', '[{"token": 1, "type": "x"}]', '[{"token": null, "type": "x"}]', '[{"token": "x", "type": {}}]',
	'[{"token": "x", "type": "x"}, {"token": "x", "type": "x", "url": []}]', '[{"token": "x", "type": "x", "url": null}]']) alert;
-- one bad element, and none of the others is revoked; nothing of it is told
SELECT key AS four FROM apikey_create('k_acme', 'four') \gset
CREATE FUNCTION k_told(alert jsonb) RETURNS TABLE (message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM apikey_scanner_alert(alert);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT;
END $$;
SELECT * FROM k_told(k_alert(array[:'four']) || to_jsonb(:'four'::text));
SELECT * FROM k_told(jsonb_build_object(:'four', :'four'));
SELECT status FROM apikey_find_keys(:'four');

-- an imported key may have any form: it is found where it is the whole text
SELECT apikey_import('k_acme', 'any form ' || n, 'sha256', encode(sha256(('sk_home_' || n)::bytea), 'hex')) IS NOT NULL AS imported FROM generate_series(1, 3) n;
SELECT text, f."position", f.key, f.organization, f.status FROM unnest(array['sk_home_1', 'sk_home_9', ' sk_home_1', 'sk_home_1 ', '', repeat('x', 5000)]) WITH ORDINALITY t (text, n) LEFT JOIN LATERAL apikey_find_keys(text) f ON true WHERE length(text) < 100 ORDER BY n;
SELECT "position", key, organization, status FROM apikey_report_leak('sk_home_1', 'a log'), apikey_find_keys('sk_home_2') AS another (p, k, i, o, s);
SELECT apikey_scanner_alert('[{"token": "sk_home_2", "type": "t", "url": "u"}, {"token": "sk_home_9", "type": "t"}, {"token": "see sk_home_3", "type": "t"}]') @> '[{"label": "true_positive"}]' AS one;
SELECT label, status FROM apikey_keys WHERE organization = 'k_acme' AND label LIKE 'any form %' ORDER BY 1;

DROP FUNCTION k_row, k_find, k_fold, k_join, k_expected, k_alert, k_told;
DROP TABLE k_key, k_text, k_random;
DELETE FROM apikey_key WHERE organization LIKE 'k\_%';
DELETE FROM apikey_project WHERE organization LIKE 'k\_%';
