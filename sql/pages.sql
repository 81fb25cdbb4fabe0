\a \t
-- Pages of keys and of events, from one id to the next.
SELECT apikey_add_project('l_acme', 'l_web');

-- ids are in the order in which keys were made, within a millisecond too
SELECT count(*), count(*) FILTER (WHERE key_id <= lag) AS out_of_order
FROM (SELECT key_id, lag(key_id) OVER (ORDER BY n) FROM generate_series(1, 500) n, apikey_create('l_order', 'key ' || n)) k;
CREATE FUNCTION l_time(id uuid) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)
$$;
SELECT bool_and(l_time(key_id) BETWEEN created_at - interval '1 ms' AND clock_timestamp()) AS time FROM apikey_keys WHERE organization = 'l_order';

-- pages neither skip nor repeat a key, however many were made in one transaction or
-- one millisecond, while keys are added and deleted
CREATE TABLE l_seen (n int GENERATED ALWAYS AS IDENTITY, key_id uuid, created_at timestamptz);
CREATE TABLE l_stays (key_id uuid);
CREATE TABLE l_result (way text, pages int, seen bigint, twice bigint, skipped bigint, out_of_order bigint, millisecond bigint, transactions bigint);
CREATE PROCEDURE l_pages(way text, query text) LANGUAGE plpgsql AS $$
DECLARE
	back boolean = query ~ 'DESC';
	at timestamptz = 'infinity';
	id uuid = CASE WHEN back THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE '00000000-0000-0000-0000-000000000000' END;
	pages int = 0;
	found int;
BEGIN
	TRUNCATE l_seen, l_stays;
	DELETE FROM apikey_key WHERE organization LIKE 'l\_%';
	COMMIT;
	PERFORM apikey_create('l_pages', 'one of many'), apikey_create('l_other', 'other') FROM generate_series(1, 40);
	COMMIT;
	PERFORM apikey_create('l_pages', 'one of more') FROM generate_series(1, 40);
	COMMIT;
	INSERT INTO apikey_key (key_id, organization, prefix, label)
	SELECT (left(key_id::text, 13) || substr(gen_random_uuid()::text, 14))::uuid, 'l_pages', 'apk', 'in one millisecond'
	FROM (SELECT key_id FROM apikey_keys WHERE organization = 'l_pages' LIMIT 1) k, generate_series(1, 40);
	COMMIT;
	INSERT INTO l_stays SELECT key_id FROM
		(SELECT key_id, row_number() OVER (ORDER BY key_id) AS n FROM apikey_keys WHERE organization = 'l_pages') k WHERE n % 3 > 0;
	LOOP
		EXECUTE format('INSERT INTO l_seen (key_id, created_at) SELECT key_id, created_at FROM (%s) page', query) USING id, 'l_pages', at;
		GET DIAGNOSTICS found = ROW_COUNT;
		EXIT WHEN found = 0;
		pages = pages + 1;
		-- the time as JavaScript has it
		SELECT date_trunc('milliseconds', created_at), key_id INTO at, id FROM l_seen ORDER BY n DESC LIMIT 1;
		-- the last one seen goes, and one that was not seen; some come
		PERFORM apikey_delete(key_id) FROM (SELECT key_id FROM apikey_keys
			WHERE organization = 'l_pages' AND key_id NOT IN (TABLE l_stays) AND (key_id = id OR key_id NOT IN (SELECT key_id FROM l_seen))
			ORDER BY key_id = id DESC, key_id LIMIT 2) k;
		PERFORM apikey_create('l_pages', 'late') WHERE pages < 6;
		COMMIT;
	END LOOP;
	INSERT INTO l_result SELECT way, pages, count(*), count(*) - count(DISTINCT key_id),
		(SELECT count(*) FROM l_stays WHERE key_id NOT IN (SELECT key_id FROM l_seen)),
		count(*) FILTER (WHERE CASE WHEN back THEN key_id >= lag ELSE key_id <= lag END),
		count(*) - count(DISTINCT left(key_id::text, 13)), count(DISTINCT created_at)
	FROM (SELECT *, lag(key_id) OVER (ORDER BY n) FROM l_seen) l;
END $$;
CALL l_pages('forth', 'SELECT * FROM apikey_keys WHERE key_id > $1 ORDER BY key_id LIMIT 7');
CALL l_pages('back', 'SELECT * FROM apikey_keys WHERE key_id < $1 ORDER BY key_id DESC LIMIT 7');
CALL l_pages('forth, organization', 'SELECT * FROM apikey_keys WHERE organization = $2 AND key_id > $1 ORDER BY key_id LIMIT 7');
CALL l_pages('back, organization', 'SELECT * FROM apikey_keys WHERE organization = $2 AND key_id < $1 ORDER BY key_id DESC LIMIT 7');
SELECT way, pages > 5 AS pages, seen > 80 AS seen, twice, skipped, out_of_order, millisecond > 20 AS millisecond, transactions > 1 AS transactions FROM l_result;
-- by a time that has lost its microseconds keys are skipped: the test can fail
CALL l_pages('wrong', 'SELECT * FROM apikey_keys WHERE (created_at, key_id) < ($3, $1) ORDER BY created_at DESC, key_id DESC LIMIT 7');
SELECT skipped > 0 AS skipped FROM l_result WHERE way = 'wrong';

-- each page is the beginning of an index, or goes on from one point of it
DELETE FROM apikey_key WHERE organization LIKE 'l\_%';
INSERT INTO apikey_key (key_id, organization, label, prefix, scheme, salt, verifier, created_at, created_by, revoked_at, disabled_at, expires_at)
SELECT md5(i::text)::uuid, 'l_org' || i % 100, 'k', 'apk', 'none', '', '', timestamptz '2025-01-01' + i / 7 * interval '1 minute',
	CASE WHEN i % 4 = 0 THEN 'user ' || i / 4 % 50 END, CASE WHEN i % 200 = 0 THEN now() END, CASE WHEN i % 200 = 1 THEN now() END,
	CASE WHEN i % 10 = 3 THEN now() + (i - 2500) * interval '1 day' END
FROM generate_series(1, 5000) i;
ANALYZE apikey_key;
-- before PostgreSQL 19 subplans had numbers, not names
CREATE FUNCTION l_explain(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(line, '((?:Sub|Init)Plan )(?:expr_)?(\d+)(?: \(returns \$\d+\))?', '\1\2');
	END LOOP;
END $$;
CREATE FUNCTION l_plan(query text, filter text, paging text, types text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan text;
BEGIN
	EXECUTE format('PREPARE l_page(%s) AS %s %s', types, query, concat_ws(' ', 'WHERE ' || filter, paging, 'LIMIT 50'));
	SELECT string_agg(regexp_replace(line, '^\s*(->)?\s*', ''), '; ') INTO plan
	FROM l_explain(format('EXECUTE l_page(%s)', regexp_replace(types, '[a-z]+', 'NULL', 'g'))) line;
	DEALLOCATE l_page;
	RETURN plan;
END $$;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SELECT coalesce(filter, '') AS filter, paging, l_plan('SELECT * FROM apikey_keys', filter, paging, types) AS plan FROM (VALUES
	(NULL, 'ORDER BY key_id', 'text'),
	(NULL, 'ORDER BY key_id DESC', 'text'),
	('key_id > $1', 'ORDER BY key_id', 'uuid'),
	('key_id < $1', 'ORDER BY key_id DESC', 'uuid'),
	('organization = $1', 'ORDER BY key_id', 'text'),
	('organization = $1', 'ORDER BY key_id DESC', 'text'),
	('organization = $1 AND key_id > $2', 'ORDER BY key_id', 'text, uuid'),
	('organization = $1 AND key_id < $2', 'ORDER BY key_id DESC', 'text, uuid'),
	('organization = $1 AND created_by = $3 AND key_id < $2', 'ORDER BY key_id DESC', 'text, uuid, text'),
	('revoked_at IS NOT NULL', 'ORDER BY key_id', 'text'),
	('revoked_at IS NOT NULL AND key_id > $1', 'ORDER BY key_id', 'uuid'),
	('disabled_at IS NOT NULL', 'ORDER BY key_id DESC', 'text'),
	('disabled_at IS NOT NULL AND key_id < $1', 'ORDER BY key_id DESC', 'uuid'),
	('expires_at BETWEEN $1 AND $2', 'ORDER BY expires_at, key_id', 'timestamptz, timestamptz'),
	('expires_at <= $1 AND (expires_at, key_id) > ($2, $3)', 'ORDER BY expires_at, key_id', 'timestamptz, timestamptz, uuid')) AS t (filter, paging, types);
SELECT coalesce(filter, '') AS filter, paging, l_plan('SELECT * FROM apikey_events', filter, paging, types) AS plan FROM (VALUES
	(NULL, 'ORDER BY event_id DESC', 'text'),
	('event_id < $1', 'ORDER BY event_id DESC', 'uuid'),
	('event_id > $1', 'ORDER BY event_id', 'uuid'),
	('key_id = $1 AND event_id < $2', 'ORDER BY event_id DESC', 'uuid, uuid'),
	('at >= $1 AND at < $2', 'ORDER BY at', 'timestamptz, timestamptz')) AS t (filter, paging, types);
INSERT INTO apikey_budget SELECT key_id, 5, 5, NULL, now(), NULL, organization FROM apikey_key WHERE organization LIKE 'l\_org%';
ANALYZE apikey_budget;
SELECT coalesce(filter, '') AS filter, paging, l_plan('SELECT * FROM apikey_budgets', filter, paging, types) AS plan FROM (VALUES
	('key_id = $1', '', 'uuid'),
	('key_id < $1', 'ORDER BY key_id DESC', 'uuid'),
	('organization = $1 AND key_id < $2', 'ORDER BY key_id DESC', 'text, uuid')) AS t (filter, paging, types);
RESET ALL;
-- the planner as it is, asked for one of many organizations
SELECT l_explain($$SELECT key_id, label, created_at FROM apikey_keys WHERE organization = 'l_org7' AND key_id < 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY key_id DESC LIMIT 20$$);
SELECT l_explain($$SELECT key_id, label, created_at FROM apikey_keys WHERE key_id < 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY key_id DESC LIMIT 20$$);
-- and in a session with a key, which sees those of its organization, also with a condition that may leak; small
-- tables beside it by their indexes, whatever is known of them
SET enable_seqscan = off;
SELECT key FROM apikey_create('l_org7', 'looks', organization_level => 'read') \gset
CREATE FUNCTION l_leaks(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS 'BEGIN RETURN true; END';
SET apikey.key = :'key';
SELECT l_explain($$SELECT key_id, label FROM apikey_keys WHERE organization = 'l_org7' AND l_leaks(label) ORDER BY key_id DESC LIMIT 20$$);
SELECT l_explain($$SELECT key_id FROM apikey_keys WHERE organization = 'l_org8' AND l_leaks(label)$$);
SET enable_sort = off;
SELECT l_explain($$SELECT key_id, label FROM apikey_keys WHERE l_leaks(label) ORDER BY key_id DESC LIMIT 20$$);
RESET enable_sort;
SELECT l_explain('SELECT count(*) FROM apikey_keys');
SELECT l_explain('SELECT count(*) FROM apikey_budgets');
RESET apikey.key;
RESET enable_seqscan;
DROP FUNCTION l_leaks;

-- events: their ids are in the order of their times, and pages have each once
DELETE FROM apikey_key WHERE organization LIKE 'l\_%';
SELECT key_id FROM apikey_create('l_acme', 'k') \gset
SELECT count(apikey_update(:'key_id', label => 'k' || i)) FROM generate_series(1, 100) i;
CREATE FUNCTION l_events(filter text) RETURNS SETOF apikey_events LANGUAGE plpgsql AS $$
DECLARE
	last uuid = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
	event apikey_events;
	found boolean = true;
BEGIN
	WHILE found LOOP
		found = false;
		FOR event IN EXECUTE format('SELECT * FROM apikey_events WHERE %s AND event_id < $1 ORDER BY event_id DESC LIMIT 7', filter) USING last LOOP
			found = true;
			last = event.event_id;
			RETURN NEXT event;
		END LOOP;
	END LOOP;
END $$;
SELECT count(*), count(DISTINCT event_id) AS once, count(*) FILTER (WHERE at >= lag) AS out_of_order,
	min(detail ->> 'label') FILTER (WHERE n = 1) AS newest
FROM (SELECT *, lag(at) OVER (ORDER BY n) FROM (SELECT *, row_number() OVER () AS n FROM l_events(format('key_id = %L', :'key_id'))) e) e;
SELECT count(*) > 100 AS many, count(DISTINCT event_id) = count(*) AS once, count(*) = (SELECT count(*) FROM apikey_events) AS each FROM l_events('true');

DROP FUNCTION l_time, l_plan, l_events;
DROP PROCEDURE l_pages;
DROP TABLE l_seen, l_stays, l_result;
DELETE FROM apikey_key WHERE organization LIKE 'l\_%';
DELETE FROM apikey_project WHERE organization LIKE 'l\_%';
