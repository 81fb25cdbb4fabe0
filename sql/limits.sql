\a \t
-- Rate limits: what is refused, and all that needs no preloading. A good limit given
-- to a function needs it, and is not here: the same must come out on every server.
SELECT apikey_add_project('g_acme', 'g_web');
SET TimeZone = 'UTC';
CREATE FUNCTION g_attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE FUNCTION g_create(rate_limit text) RETURNS text LANGUAGE sql AS $$
	SELECT g_attempt(format('SELECT apikey_create(''g_acme'', ''bad'', rate_limit => %L)', rate_limit))
$$;

-- outcomes, and the texts that have them
CREATE FUNCTION g_outcomes(texts text[]) RETURNS TABLE (outcome text, text text) LANGUAGE sql AS $$
	SELECT g_create(t), string_agg(quote_literal(t), ' ' ORDER BY n) FROM unnest(texts) WITH ORDINALITY a (t, n) GROUP BY 1 ORDER BY min(n)
$$;
\pset null none

-- no such text
SELECT * FROM g_outcomes(array['', ' ', 'lots', '100', '100 minute', '100 perminute', '100per minute', '100 per', '100 per ', '100/', '/minute', 'per minute',
	'100 per burst 5', '100 times per minute', '100,per,minute', 'minute per 100']);
SELECT g_create(repeat('x', 100000)), g_create('100 per ' || repeat('x', 100000)), g_create(repeat('9', 100000) || ' per minute'), g_create('1 per ' || repeat('9', 100000) || ' days');
-- no such number
SELECT * FROM g_outcomes(array['0 per minute', '00/minute', '-1 per minute', '-0 per minute', '+5 per minute', '1.5 per minute', '1e3 per minute', '1_000 per minute', '0x10 per minute', 'ten per minute',
	'NaN per minute', 'infinity per minute', '1000000001 per day', '2147483647 per day', '2147483648 per day', '4294967297 per day', '9223372036854775807 per day', '9223372036854775808 per day', '18446744073709551617 per day',
	'99999999999999999999999999 per day']);
SELECT * FROM g_outcomes(array['5 per minute burst', '5 per minute burst 0', '5 per minute burst -1', '5 per minute burst 1.5', '5 per minute burst many', '5 per minute burst 5 5', '5 per minute burst 5 burst 5',
	'5 per minute burst 1000000001', '5 per minute burst 4294967297', '5 per minute burst 99999999999999999999999999']);
-- no such interval
SELECT * FROM g_outcomes(array['5 per fortnight', '5 per minute minute', '5 per 1 2 3', '5 per -', '5 per P', '5 per 1:2:3:4', '5 per 10 bananas', '5 per minuteburst 3', '5 per minute/3', '5 per minute, burst 3']);
SELECT * FROM g_outcomes(array['5 per month', '5 per 1 month', '5 per 12 months', '5 per year', '5 per century', '5 per -1 month', '5 per 1 month -29 days', '5 per 1 mon 1 second', '5 per 1.5 years', '5 per P1M', '5 per quarter']);
SELECT * FROM g_outcomes(array['5 per 0 seconds', '5 per 0', '5 per -1 minute', '5 per 1 minute ago', '5 per 1 day -24:00', '5 per 1 day -24:00:01', '5 per microsecond', '5 per 999 microseconds', '5 per 0.0000001 seconds',
	'5 per 367 days', '5 per 366 days 00:00:00.000001', '5 per 53 weeks', '5 per 8785 hours', '5 per 2147483647 days', '5 per -2147483648 days', '5 per 2147483648 days', '5 per 2562047788 hours', '5 per -2562047788 hours', '5 per 2562047788:00:54.775807',
	'5 per 2147483647 days 2562047788 hours', '5 per 9223372036854775807 seconds', '5 per 99999999999999999999 seconds', '5 per PT99999999999999999H']);
-- PostgreSQL 17 knows infinite ones
SELECT t AS text, left(g_create(t), 26) FROM unnest(array['5 per infinity', '5 per -infinity', '5 per inf', '5 per NaN seconds', '5 per now', '5 per today']) WITH ORDINALITY a (t, n) ORDER BY n;
-- more than can be told apart, or waited for
SELECT * FROM g_outcomes(array['1000001 per second', '1001 per millisecond', '1000000000 per minute', '1 per day burst 367', '1 per 366 days burst 2', '1000 per day burst 366001', '1 per second burst 1000000000']);

-- the other functions, and nothing is stored
SELECT key_id FROM apikey_create('g_acme', 'plain', '[{"project": "g_web", "environment": "*", "level": "write"}]') \gset
SELECT call, g_attempt('SELECT ' || replace(call, 'ID', quote_literal(:'key_id'))) FROM unnest(array[
	'apikey_import(''g_acme'', ''x'', ''sha256'', repeat(''a'', 64), rate_limit => ''0/minute'')', 'apikey_import(''g_acme'', ''x'', ''sha256'', repeat(''a'', 64), rate_limit => ''1 per month'')',
	'apikey_update(ID, rate_limit => ''0/minute'')', 'apikey_update(ID, rate_limit => '''')', 'apikey_update(ID, rate_limit => E''\n\n'')', 'apikey_update(ID, label => ''new'', rate_limit => ''5 per month'')',
	'apikey_create(''g_acme'', ''x'', ''[]'', NULL, NULL, NULL, NULL, ''{}'', NULL, ''lots'')', 'apikey_update(ID, ''new'', rate_limit => ''lots'')']) WITH ORDINALITY a (call, n) ORDER BY n;
SELECT label, rate_limit FROM apikey_keys WHERE organization IN ('g_acme', '42') ORDER BY 1;
SELECT count(*) FROM apikey_events WHERE key_id = :'key_id';

-- printing: days, hours, minutes, seconds, whatever the settings
CREATE TEMP TABLE g_printed AS SELECT n, i, b, apikey_internal.rate_limit_text(n, i, b) AS text FROM (VALUES (1, '1 second'::interval, 1), (100, '1 minute', 20), (1, '1 minute', 2), (60, '01:00', 60), (1000, '1 day', 1000), (1, '24 hours', 1), (5, '10 seconds', 5),
	(1, '1 ms', 1), (1, '1.001 seconds', 1), (1, '0.0015 seconds', 1), (1, '10.1 seconds', 1), (1, '2 days 03:04:05.000006', 1), (1, '1 day -00:00:01', 1), (1, '7 days', 1), (1, '366 days', 1), (7, '366 days', 7), (1, '8784 hours', 1),
	(1000000000, '1000 seconds', 1000000000), (1000000, '1 second', 1000000), (1000, '1 ms', 1), (1, '1 day', 366), (1000000000, '366 days', 1000000000), (999999999, '366 days', 999999999)) AS t (n, i, b);
SELECT n, i, b, text FROM g_printed;
SET IntervalStyle = 'sql_standard';
SELECT count(*) FROM g_printed WHERE text <> apikey_internal.rate_limit_text(n, i, b);
RESET IntervalStyle;
SELECT g_attempt('SELECT apikey_internal.rate_limit_text' || t) FROM unnest(array['(0, ''1 day'', 1)', '(-1, ''1 day'', 1)', '(1000000001, ''1 day'', 1)', '(1, ''1 day'', 0)', '(1, ''1 day'', -2147483648)', '(1, ''1 mon'', 1)', '(1, ''0'', 1)', '(1, ''1 mon -30 days'', 1)',
	'(1, ''367 days'', 1)', '(1000001, ''1 second'', 1)', '(1, ''366 days'', 2)', '(1, ''2147483647 days 2562047788:00'', 1)']) WITH ORDINALITY a (t, n) ORDER BY n;
SELECT apikey_internal.rate_limit_text(NULL, '1 day', 1) IS NULL AND apikey_internal.rate_limit_text(1, NULL, 1) IS NULL AND apikey_internal.rate_limit_text(1, '1 day', NULL) IS NULL AS nulls;

-- what SQL may put into the table: what the functions would, and all or nothing
CREATE FUNCTION g_put(id uuid, n text, i text, b text) RETURNS void LANGUAGE sql AS $$
	UPDATE apikey_key SET rate_count = n::int, rate_interval = i::interval, rate_burst = b::int WHERE key_id = id
$$;
CREATE FUNCTION g_store(id uuid, n text, i text, b text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM g_put(id, n, i, b);
	RETURN (SELECT rate_limit FROM apikey_keys WHERE key_id = id);
EXCEPTION WHEN OTHERS THEN
	-- the detail of a constraint shows the row
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT n, i, b, g_store(:'key_id', n, i, b) FROM (VALUES ('0', '1 day', '1'), ('-5', '1 day', '1'), ('1', '1 mon', '1'), ('1', '1 year', '1'), ('1', '0', '1'), ('1', '-1 day', '1'), ('1', '1 day', '0'), ('1', '400 days', '1'), ('1', '366 days', '366'),
	(NULL, '1 day', '1'), ('1', NULL, '1'), ('1', '1 day', NULL), (NULL, NULL, '1'), ('1', NULL, NULL), (NULL, '1 day', NULL)) AS t (n, i, b);
SELECT rate_limit FROM apikey_keys WHERE key_id = :'key_id';
SELECT n, i, b, g_store(:'key_id', n, i, b) FROM (VALUES ('100', '1 minute', '20'), ('1', '24:00', '1'), (NULL, NULL, NULL), ('100', '1 minute', '20')) AS t (n, i, b);
-- it says nothing about what the key may do
SELECT key_id AS id, key FROM apikey_create('g_acme', 'limited', '[{"project": "g_web", "environment": "*", "level": "write"}]', organization_level => 'write') \gset
SELECT g_store(:'id', '10', '1 second', '5');
SELECT count(*) FROM generate_series(1, 100) WHERE apikey_authorize(:'key', 'g_web', 'production', 'write');
SELECT allowed FROM apikey_explain(:'key', 'g_web', 'production', 'manage');

-- a bad limit that is stored all the same is an error, not no limit
BEGIN;
ALTER TABLE apikey_key DROP CONSTRAINT apikey_key_rate_limit;
SELECT n, i, b, g_put(:'id', n, i, b), replace(g_attempt(format('SELECT apikey_authorize(%L, ''g_web'', ''production'', ''read'')', :'key')), :'id', 'ID') AS authorize,
	left(g_attempt(format('SELECT * FROM apikey_verify(%L)', :'key')), 5) AS verify, left(g_attempt(format('SELECT * FROM apikey_login(%L)', :'key')), 5) AS login
FROM (VALUES ('0', '1 second', '5'), ('10', '0', '5'), ('10', '1 mon', '5'), ('10', '1 second', '-5'), (NULL, '1 second', '5'), ('10', NULL, '5'), ('10', '1 second', NULL), (NULL, NULL, '5')) AS t (n, i, b);
-- and is repaired by another one
SELECT apikey_update(:'id', remove => '{rate_limit}');
SELECT apikey_authorize(:'key', 'g_web', 'production', 'read'), (SELECT rate_limit FROM apikey_keys WHERE key_id = :'id');
ROLLBACK;
SELECT rate_limit FROM apikey_keys WHERE key_id = :'id';

-- other changes leave a limit alone
SELECT apikey_update(:'id', label => 'renamed'), apikey_update(:'id', rate_limit => NULL);
SELECT key_id = :'id' AS same FROM apikey_rotate(:'id', '1 hour');
SELECT apikey_cancel_rotation(:'id'), apikey_disable(:'id'), apikey_enable(:'id'), apikey_set_organization_level(:'id', 'read'), apikey_set_organization_level(:'id', 'write');
SELECT label, rate_limit FROM apikey_keys WHERE key_id = :'id';

-- a limited key that makes and changes keys: it passes its limit on, and touches nothing that has more
SELECT g_store(:'key_id', '10', '1 second', '5');
CREATE TABLE g_key AS SELECT name, c.* FROM (VALUES ('free'), ('faster'), ('bursting'), ('slower')) AS t (name), apikey_create('g_acme', name) c;
SELECT name, g_store(key_id, n, i, b) FROM g_key JOIN (VALUES ('faster', '11', '1 second', '5'), ('bursting', '1', '1 hour', '6'), ('slower', '599', '1 minute', '4')) AS t (name, n, i, b) USING (name);
SET apikey.key = :'key';
SELECT key_id AS child FROM apikey_create('g_acme', 'g_child') \gset
SELECT apikey_import('g_acme', 'g_imported', 'sha256', repeat('ab', 32)) AS imported \gset
SELECT name, g_attempt(format('SELECT apikey_update(%L, label => %L)', key_id, name)) FROM g_key UNION ALL SELECT 'equal', g_attempt(format('SELECT apikey_update(%L, label => ''equal'')', :'key_id'))
	UNION ALL SELECT 'itself', g_attempt(format('SELECT apikey_update(%L, label => ''itself'')', :'id')) UNION ALL SELECT 'its own limit', g_attempt(format('SELECT apikey_update(%L, remove => ''{rate_limit}'')', :'id'))
	UNION ALL SELECT 'its child''s', g_attempt(format('SELECT apikey_update(%L, remove => ''{rate_limit}'')', :'child')) UNION ALL SELECT 'revoke', g_attempt(format('SELECT apikey_revoke(%L)', key_id)) FROM g_key WHERE name = 'free';
RESET apikey.key;
SELECT label, rate_limit FROM apikey_keys WHERE organization = 'g_acme' ORDER BY 1;

-- taking it away, which is told once
SELECT apikey_update(:'id', remove => '{rate_limit}'), apikey_update(:'id', remove => '{rate_limit}');
SELECT rate_limit FROM apikey_keys WHERE key_id = :'id';
SELECT action, detail FROM apikey_events WHERE key_id = :'id' AND action = 'update' ORDER BY at DESC, event_id DESC LIMIT 2;
SELECT apikey_remove_project('g_web');
