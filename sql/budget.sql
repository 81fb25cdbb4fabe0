\a \t
-- Budgets: what a key may spend, in the transaction of the work.
SET timezone = 'UTC';
SELECT apikey_add_project('bu_acme', 'bu_web');
SELECT key_id, key FROM apikey_create('bu_acme', 'one', '[{"project": "bu_web", "environment": "*", "level": "read"}]') \gset
SELECT key_id AS other_id, key AS other FROM apikey_create('bu_acme', 'two', organization_level => 'write') \gset
-- spend, or tell why not; times are not for tests
CREATE FUNCTION bu_spend(key text, amount text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	remains bigint;
	detail text;
BEGIN
	EXECUTE format('SELECT apikey_spend(%L, %s)', key, amount) INTO remains;
	RETURN coalesce(remains::text, 'unlimited');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(regexp_replace(detail, 'retry_after=[\d.]+', concat('retry_after=', ceil(substring(detail FROM 'retry_after=([\d.]+)')::numeric / 60), ' min')), ''));
END $$;
CREATE FUNCTION bu_set(key_id uuid, arguments text) RETURNS text LANGUAGE sql AS $$
	SELECT replace(attempt(format('SELECT apikey_set_budget(%L, %s)', key_id, arguments)), key_id::text, 'ID')
$$;
-- let time pass
CREATE FUNCTION bu_pass(id uuid, passed interval) RETURNS void LANGUAGE sql AS $$
	UPDATE apikey_budget SET started_at = started_at - passed, refills_at = refills_at - passed WHERE key_id = id
$$;
CREATE FUNCTION bu_look(id uuid) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', remaining, 'of', budget, 'per ' || to_char(refill, 'FMHH24:MI')) FROM apikey_budgets WHERE key_id = id
$$;

-- no budget: no limit
SELECT bu_spend(:'key', '1'), bu_spend(:'key', '9223372036854775807');
SELECT count(*) FROM apikey_budgets WHERE organization = 'bu_acme';

-- a budget that is spent, and stays so
SELECT apikey_set_budget(:'key_id', 10);
SELECT organization, budget, remaining, refill, refilled_at = (SELECT started_at FROM apikey_budget WHERE key_id = :'key_id') AS since, refills_at
FROM apikey_budgets WHERE key_id = :'key_id';
SELECT bu_spend(:'key', '1'), bu_spend(:'key', '1'), bu_spend(:'key', '3');
SELECT apikey_spend(:'key', 1), apikey_spend(:'key', amount => 2), apikey_spend(amount => 1, key => :'key');
SELECT bu_spend(:'key', '2'), bu_spend(:'key', '1'), bu_spend(:'key', '1'), bu_spend(:'key', '11');
SELECT bu_spend(:'key', '9223372036854775807');
SELECT bu_look(:'key_id');
SELECT apikey_authorize(:'key', 'bu_web', 'production', 'read') AS deciding_is_free;
SELECT bu_spend(:'other', '1000') AS the_other_key;
-- many in one statement
SELECT apikey_set_budget(:'key_id', 10);
SELECT array_agg(apikey_spend(:'key', i)) FROM generate_series(1, 4) i;
SELECT apikey_set_budget(:'key_id', 10);
SELECT attempt(format('SELECT apikey_spend(%L, i) FROM generate_series(1, 5) i', :'key'));
SELECT bu_look(:'key_id') AS all_or_nothing;

-- amounts that make no sense; nothing is ever added
SELECT a, regexp_replace(bu_spend(:'key', a), '(does not exist).*', '\1') FROM unnest(array['NULL', '0', '-1', '-9223372036854775808', 'NULL::int', '2::smallint', '2.5', '''3''', '''x''']) a;
SELECT attempt('SELECT apikey_spend(NULL::bigint)'), attempt('SELECT apikey_spend(-5)');
SELECT bu_look(:'key_id');

-- with the work, or not at all
CREATE TABLE bu_work (n int CHECK (n < 5));
SELECT apikey_set_budget(:'key_id', 10);
BEGIN;
INSERT INTO bu_work VALUES (1);
SELECT apikey_spend(:'key', 4);
SELECT remaining FROM apikey_budgets WHERE key_id = :'key_id';
ROLLBACK;
SELECT bu_look(:'key_id'), (SELECT count(*) FROM bu_work) AS work;
BEGIN;
INSERT INTO bu_work VALUES (1);
SELECT apikey_spend(:'key', 1);
SAVEPOINT s;
SELECT apikey_spend(:'key', 4);
ROLLBACK TO s;
SELECT apikey_spend(:'key', 2);
SAVEPOINT s;
SELECT apikey_spend(:'key', 3);
RELEASE s;
COMMIT;
SELECT bu_look(:'key_id'), (SELECT count(*) FROM bu_work) AS work;
SELECT attempt(format('WITH paid AS (SELECT apikey_spend(%L, 1)) INSERT INTO bu_work SELECT 6 FROM paid', :'key'));
SELECT bu_look(:'key_id') AS not_paid;

-- the key of the session
SELECT attempt('SELECT apikey_spend()') AS nobody;
BEGIN;
SELECT label FROM apikey_login(:'key');
SELECT apikey_spend(), apikey_spend(1), apikey_spend(amount => 1::smallint);
SELECT attempt('SELECT apikey_spend(2)');
COMMIT;
SELECT attempt('SELECT apikey_spend(1)') AS nobody;
-- which of the two?
SELECT apikey_set_budget(:'key_id', 100);
PREPARE bu_untyped AS SELECT apikey_spend($1);
PREPARE bu_untyped2 AS SELECT apikey_spend($1, $2);
PREPARE bu_int (int) AS SELECT apikey_spend($1);
PREPARE bu_named AS SELECT apikey_spend(amount => $1);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'bu\_%' ORDER BY 1;
EXECUTE bu_untyped2 (:'key', 9);
BEGIN;
SELECT label FROM apikey_login(:'key');
EXECUTE bu_int (9);
EXECUTE bu_named (10);
EXECUTE bu_untyped ('1');
SELECT apikey_spend('5') AS a_literal_is_an_amount, attempt('SELECT apikey_spend(NULL)'), attempt('SELECT apikey_spend(''-5'')');
SELECT attempt('SELECT apikey_spend(''x'')'), regexp_replace(attempt('SELECT apikey_spend(''x''::text)'), '(does not exist).*', '\1') AS no_key;
COMMIT;
DEALLOCATE ALL;
SELECT bu_look(:'key_id');

-- keys that may not
SELECT bu_spend(NULL, '1'), bu_spend('', '1'), bu_spend('rubbish', '1'), bu_spend(repeat('x', 1000000), '1'), bu_spend(overlay(:'key' PLACING '0000' FROM 40), '1'), bu_spend(:'key_id', '1');
SELECT apikey_disable(:'key_id');
SELECT bu_spend(:'key', '1');
SELECT bu_set(:'key_id', '100') AS disabled_is_not_final, bu_spend(:'key', '1');
SELECT apikey_enable(:'key_id');
SELECT apikey_update(:'key_id', allowed_networks => '{203.0.113.0/24}');
SELECT bu_spend(:'key', '1');
SELECT apikey_update(:'key_id', remove => '{allowed_networks}');
UPDATE apikey_key SET expires_at = statement_timestamp() WHERE key_id = :'key_id';
SELECT bu_spend(:'key', '1');
SELECT apikey_update(:'key_id', remove => '{expires_at}');
SELECT bu_spend(:'key', '1') AS none_of_them_was_counted;

-- a rotation keeps it: both secrets spend from one
SELECT key AS renewed FROM apikey_rotate(:'key_id', '1 hour') \gset
SELECT bu_spend(:'key', '1'), bu_spend(:'renewed', '1'), bu_spend(:'key', '1');
SELECT key AS renewed FROM apikey_rotate(:'key_id') \gset
SELECT bu_spend(:'key', '1'), bu_spend(:'renewed', '1');
SELECT lookup, encode(sha256(lookup::bytea), 'hex') AS hash FROM (VALUES ('bu_imported_key')) AS t (lookup) \gset
SELECT apikey_import('bu_acme', 'imported', 'sha256', :'hash') AS imported_id \gset
SELECT bu_set(:'imported_id', '3'), bu_spend(:'lookup', '1');

-- what can be set
SELECT a, bu_set(:'key_id', a) FROM unnest(array[
	'0', '-1', '1000000000000001', '9223372036854775807', '1000000000000000', '1', '5, NULL',
	'5, ''0''', '5, ''-1 day''', '5, ''999 ms''', '5, ''1 s''', '5, ''10 years''', '5, ''10 years 1 day''', '5, ''121 months''',
	'5, ''3653 days''', '5, ''3654 days''', '5, ''87672 hours''', '5, ''90000 hours''', '5, ''1 month -1 day''', '5, ''-1 month 40 days''',
	'5, ''1 day -1 hour''', '5, ''1 day -24 hours''', '5, ''2147483647 days''', '5, ''-2147483648 days 2147483647 hours''', '5, ''1 month 1 day 1 hour''',
	'NULL, ''1 day''', 'NULL', 'NULL, NULL']) a;
SELECT count(*) AS budgets FROM apikey_budget WHERE key_id = :'key_id';
SELECT bu_spend(:'renewed', '1') AS without_a_budget;
SELECT bu_set(:'key_id', 'NULL') AS nothing_to_take_away, attempt('SELECT apikey_set_budget(NULL, 1)'), bu_set('00000000-0000-0000-0000-000000000000', '1');

-- refills: filled up, not added up; by whole periods
SELECT apikey_set_budget(:'key_id', 10, '1 hour');
SELECT bu_spend(:'renewed', '4');
SELECT bu_pass(:'key_id', '30 minutes');
SELECT bu_spend(:'renewed', '7'), bu_spend(:'renewed', '11');
SELECT bu_pass(:'key_id', '30 minutes');
SELECT remaining FROM apikey_budget WHERE key_id = :'key_id';
SELECT remaining, refilled_at <= statement_timestamp() AND refills_at > statement_timestamp() AS now FROM apikey_budgets WHERE key_id = :'key_id';
SELECT bu_spend(:'renewed', '11');
SELECT remaining AS a_refusal_writes_nothing FROM apikey_budget WHERE key_id = :'key_id';
SELECT bu_spend(:'renewed', '10'), bu_spend(:'renewed', '1');
SELECT bu_pass(:'key_id', '3 hours 30 minutes');
SELECT bu_spend(:'renewed', '1'), bu_spend(:'renewed', '9'), bu_spend(:'renewed', '1');
SELECT refilled_at - started_at AS whole, v.refills_at - started_at AS periods, v.refills_at = b.refills_at AS same
FROM apikey_budgets v JOIN apikey_budget b USING (key_id) WHERE key_id = :'key_id';
BEGIN;
SELECT bu_pass(:'key_id', '1 hour');
SAVEPOINT s;
SELECT bu_spend(:'renewed', '5');
ROLLBACK TO s;
SELECT remaining FROM apikey_budget WHERE key_id = :'key_id';
SELECT bu_spend(:'renewed', '5');
COMMIT;
-- to set it is to begin anew
SELECT apikey_set_budget(:'key_id', 10, '1 hour');
SELECT bu_look(:'key_id'), refilled_at > statement_timestamp() - interval '30 minutes' AS anew, refills_at - refilled_at AS period FROM apikey_budgets WHERE key_id = :'key_id';

-- the calendar of UTC, wherever the session is; the 31st does not drift
SET timezone = 'America/New_York';
SELECT p.refilled_at AT TIME ZONE 'UTC' AS refilled_at, p.refills_at AT TIME ZONE 'UTC' AS refills_at
FROM unnest(array['2023-10-31 12:00', '2023-11-30 11:59:59.999999', '2023-11-30 12:00', '2023-12-31 11:59:59.999999', '2024-02-29 11:59', '2024-02-29 12:00',
	'2024-03-31 12:00', '2024-04-30 12:00', '2025-02-28 12:00', '2123-10-31 12:00', '2023-10-01 00:00']::timestamp[]) WITH ORDINALITY AS t (at, n),
	apikey_internal.budget_period('2023-10-31 12:00+00', '1 month', at AT TIME ZONE 'UTC') p ORDER BY n;
SELECT p.refilled_at AT TIME ZONE 'UTC' AS a_day_is_a_day FROM apikey_internal.budget_period('2024-03-09 12:00+00', '1 day', '2024-03-11 11:59+00') p;
SELECT p.refilled_at AT TIME ZONE 'UTC' AS refilled_at, p.refills_at AT TIME ZONE 'UTC' AS refills_at
FROM apikey_internal.budget_period('2024-02-29 00:00+00', '1 year', '2027-03-01 00:00+00') p;
RESET timezone;
SET timezone = 'UTC';
-- against generate_series: each time is in just one period, whose ends follow each other
SELECT length, count(*) AS times, bool_and(p.refilled_at <= at AND at < p.refills_at) AS within,
	bool_and(p.refilled_at = '2024-01-31 10:11:12.131415+00'::timestamptz + length * n AND p.refills_at = '2024-01-31 10:11:12.131415+00'::timestamptz + length * (n + 1)) AS whole,
	count(DISTINCT p.refilled_at) AS periods, count(DISTINCT p.refills_at) AS ends
FROM unnest(array['1 month', '3 months', '1 year', '1 week', '1 month 1 day', '30 days', '36 hours', '1 s', '10 years']::interval[]) WITH ORDINALITY AS l (length, l),
	generate_series(0, 40) n, LATERAL (VALUES ('2024-01-31 10:11:12.131415+00'::timestamptz + length * n),
		('2024-01-31 10:11:12.131415+00'::timestamptz + length * (n + 1) - interval '1 us')) AS t (at), apikey_internal.budget_period('2024-01-31 10:11:12.131415+00', length, at) p
GROUP BY l, length ORDER BY l;
SELECT a, attempt('SELECT apikey_internal.budget_period(' || a || ')') FROM unnest(array[$$'now', '0', 'now'$$, $$'now', '-1 day', 'now'$$, $$'infinity', '1 day', 'now'$$, $$'now', '1 day', '-infinity'$$,
	$$'4713-01-01 BC', '1 second', '294276-12-31'$$, $$'now', '1 month', '294276-12-31 23:00'$$]) a;
SELECT apikey_internal.budget_period(now(), NULL, now()) IS NULL AS strict;

-- what is read only
SELECT apikey_set_budget(:'key_id', 10);
BEGIN READ ONLY;
SAVEPOINT s;
SELECT apikey_spend('rubbish', -1);
ROLLBACK TO s;
SELECT attempt('SELECT apikey_spend()');
SELECT remaining FROM apikey_budgets WHERE key_id = :'key_id';
COMMIT;

-- spending empties no cache and leaves no event
SELECT apikey_authorize(:'renewed', 'bu_web', 'production', 'read');
SELECT flushes, builds FROM apikey_cache_stats() \gset
SELECT count(*) AS events FROM apikey_event \gset
SELECT apikey_spend(:'renewed', 2);
SELECT apikey_set_budget(:'key_id', 5, '1 day');
SELECT apikey_spend(:'renewed', 2);
SELECT apikey_set_budget(:'key_id', NULL);
SELECT apikey_authorize(:'renewed', 'bu_web', 'production', 'read');
SELECT flushes = :flushes AS no_flush, builds = :builds AS no_build FROM apikey_cache_stats();
SELECT count(*) - :events AS events FROM apikey_event;
-- to set it does; so does what SQL does by hand
SET IntervalStyle = 'iso_8601';
SELECT apikey_set_budget(:'key_id', 5, '1 month 2 days 3 hours');
RESET IntervalStyle;
SELECT count(*) AS before FROM apikey_event \gset
INSERT INTO apikey_budget VALUES (:'other_id', 5, 5, NULL, now(), NULL, 'bu_acme');
UPDATE apikey_budget SET remaining = 4 WHERE key_id = :'other_id';
DELETE FROM apikey_budget WHERE key_id = :'other_id';
COPY (SELECT :'other_id', 5, 5, NULL::interval, now(), NULL::timestamptz) TO '/dev/null';
SELECT action, detail FROM apikey_events WHERE key_id IN (:'key_id', :'other_id') AND (action = 'set_budget' OR detail ->> 'table' = 'apikey_budget') ORDER BY at DESC LIMIT 7;
BEGIN;
TRUNCATE apikey_budget;
SELECT action, key_id, detail FROM apikey_events ORDER BY at DESC LIMIT 1;
ROLLBACK;
-- not below zero, by nobody
SELECT left(attempt(format('UPDATE apikey_budget SET remaining = %s WHERE key_id = %L', r, :'key_id')), 60) FROM unnest(array[-1, 6]) r;

-- a key sets no budget, not even its own; and one that has a budget makes and
-- changes no other key
SELECT apikey_set_budget(:'other_id', 5);
SELECT key_id AS third_id, key AS third FROM apikey_create('bu_acme', 'three', organization_level => 'write') \gset
CREATE FUNCTION bu_as(key text, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', key, true);
	RETURN attempt('SELECT ' || call);
END $$;
BEGIN;
SELECT call, bu_as(:'other', replace(replace(call, 'OWN', quote_literal(:'other_id')), 'ID', quote_literal(:'third_id'))) FROM unnest(array[
	'apikey_set_budget(OWN, 1000)', 'apikey_set_budget(OWN, NULL)', 'apikey_set_budget(ID, 1)', 'apikey_create(''bu_acme'', ''x'')',
	'apikey_import(''bu_acme'', ''x'', ''sha256'', repeat(''0'', 64))', 'apikey_rotate(ID)', 'apikey_disable(ID)', 'apikey_revoke(ID)',
	'apikey_update(ID, label => ''x'')', 'apikey_add_project(''bu_acme'', ''bu_more'')', 'apikey_update(OWN, label => ''y'')', 'apikey_rotate(OWN, ''1 hour'')',
	'apikey_spend(2)']) call;
ROLLBACK;
BEGIN;
SELECT call, bu_as(:'third', replace(call, 'ID', quote_literal(:'other_id'))) FROM unnest(array[
	'apikey_set_budget(ID, 1000)', 'apikey_set_budget(ID, NULL)', 'apikey_create(''bu_acme'', ''x'')', 'apikey_rotate(ID)']) call;
ROLLBACK;
SELECT bu_look(:'other_id');

-- revoked and deleted
SELECT apikey_revoke(:'other_id');
SELECT bu_look(:'other_id') AS stays, bu_spend(:'other', '1'), bu_set(:'other_id', '9'), bu_set(:'other_id', 'NULL');
SELECT count(*) AS before FROM apikey_event \gset
SELECT apikey_delete(:'other_id');
SELECT count(*) AS budgets, (SELECT count(*) - :before FROM apikey_event) AS events FROM apikey_budget WHERE key_id = :'other_id';

SELECT apikey_delete(key_id) FROM apikey_keys WHERE organization = 'bu_acme';
SELECT count(*) FROM apikey_budget;
SELECT apikey_remove_project('bu_web');
DROP TABLE bu_work;
DROP FUNCTION bu_spend, bu_set, bu_pass, bu_look, bu_as;
RESET timezone;
