\a \t
-- The history: each change, by whom, in the transaction of the change.
SELECT apikey_add_project('y_acme', 'y_web');
CREATE TABLE y_key (name text PRIMARY KEY, key_id uuid, key text);
CREATE TABLE y_mark AS SELECT coalesce(max(at), '-infinity') AS at, clock_timestamp() AS start FROM apikey_events;
CREATE FUNCTION y_named(detail text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	k record;
BEGIN
	FOR k IN SELECT name, key_id FROM y_key WHERE key_id IS NOT NULL LOOP
		detail = replace(detail, k.key_id::text, '<' || k.name || '>');
	END LOOP;
	RETURN regexp_replace(regexp_replace(detail, '("overlap_until": )"[^"]*"', '\1…'), 'apk_\w{22}…', 'apk_…', 'g');
END $$;
-- what is new in the history since the last look
CREATE FUNCTION y_new() RETURNS TABLE (action text, key text, organization text, role text, application_user text, acting text, detail text)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT e.action, CASE WHEN e.key_id IS NOT NULL THEN coalesce(k.name, 'another') END, e.organization,
		CASE e.role WHEN session_user THEN 'superuser' ELSE e.role END, e.application_user,
		CASE WHEN e.acting_key IS NOT NULL THEN coalesce(a.name, 'another') END, y_named(e.detail::text)
	FROM apikey_events e LEFT JOIN y_key k ON k.key_id = e.key_id LEFT JOIN y_key a ON a.key_id = e.acting_key
	WHERE e.at > (SELECT m.at FROM y_mark m) ORDER BY e.at;
	UPDATE y_mark m SET at = greatest(m.at, (SELECT max(e.at) FROM apikey_events e));
END $$;
CREATE FUNCTION y_id(which text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT key_id FROM y_key WHERE name = which $$;
CREATE FUNCTION y_text(which text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT key FROM y_key WHERE name = which $$;
-- this many events would be new after a call that fails or changes nothing
CREATE FUNCTION y_count() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM apikey_events WHERE at > (SELECT at FROM y_mark) $$;

-- each function
INSERT INTO y_key SELECT 'one', c.* FROM apikey_create('y_acme', 'one') c;
INSERT INTO y_key SELECT 'two', c.* FROM apikey_create('y_acme', 'two', '[{"project": "y_web", "environment": "*", "level": "read"},
	{"project": "*", "environment": "production", "level": "manage"}]', 'write', '2099-01-01', 'ada', '{10.0.0.0/8}', '{"a": 1}', 'y_live') c;
INSERT INTO y_key VALUES ('v1', apikey_import('y_acme', 'v1', 'formbricks-v1', encode(sha256('y_0123456789'), 'hex'), organization_level => 'read'), 'y_0123456789'),
	('v2', apikey_import('y_acme', 'v2', 'formbricks-v2', '$2b$04$K46somGzOrjLlr9dheCE1Of8oOnC772n/zvRhIZlCyE0oB5wPnmSC',
		encode(sha256('y_another'), 'hex'), '[{"project": "y_web", "environment": "production", "level": "write"}]'), 'fbk_y_another'),
	('sha', apikey_import('y_acme', 'sha', 'sha256', encode(sha256('y_sha'), 'base64'), created_by => 'bob'), 'y_sha');
SELECT * FROM y_new();
SELECT apikey_grant(y_id('one'), 'y_web', 'production', 'write');
SELECT apikey_grant(y_id('one'), 'y_web', 'production', 'read');
SELECT apikey_grant(y_id('one'), '*', '*', 'manage');
SELECT apikey_ungrant(y_id('one'), '*', '*');
SELECT apikey_set_organization_level(y_id('one'), 'write');
SELECT apikey_set_organization_level(y_id('one'), NULL);
SELECT apikey_disable(y_id('one'));
SELECT apikey_enable(y_id('one'));
SELECT * FROM y_new();
SELECT apikey_update(y_id('one'), label => 'first "one"');
SELECT apikey_update(y_id('one'), 'uno', '2098-12-31 12:00+00', 'eve', '{10.1.0.0/16,2001:db8::/32}', '{"plan": {"a": [1, null]}}');
SELECT apikey_update(y_id('one'), remove => '{expires_at,created_by,allowed_networks,metadata}');
SELECT apikey_update(y_id('one'), metadata => '3'), apikey_update(y_id('one'), expires_at => 'infinity');
BEGIN;
SET LOCAL DateStyle = 'German';
SET LOCAL TimeZone = 'Asia/Kolkata';
SELECT apikey_update(y_id('one'), expires_at => '2099-02-01');
COMMIT;
SELECT * FROM y_new();
INSERT INTO y_key SELECT 'one rotated', NULL, key FROM apikey_rotate(y_id('one'), '1 day');
SELECT (detail ->> 'overlap_until')::timestamptz BETWEEN now() + '23:59' AND now() + '1 day' AS a_day FROM apikey_events ORDER BY at DESC LIMIT 1;
SELECT apikey_cancel_rotation(y_id('one'));
SELECT FROM apikey_rotate(y_id('one'), '1 day');
SELECT apikey_finish_rotation(y_id('one'));
INSERT INTO y_key SELECT 'one again', NULL, key FROM apikey_rotate(y_id('one'));
SELECT (detail ->> 'overlap_until')::timestamptz <= now() AS none FROM apikey_events ORDER BY at DESC LIMIT 1;
SELECT * FROM y_new();
SELECT apikey_revoke(y_id('one'));
SELECT apikey_revoke_self(y_text('two'));
SELECT apikey_revoke_self('y_sha');
INSERT INTO y_key SELECT n, c.* FROM unnest(array['leaked', 'leaked too']) n, apikey_create('y_acme', n) c;
SELECT count(*) FROM apikey_report_leak(y_text('leaked'), 'https://host/?key=' || y_text('leaked too')) WHERE status = 'revoked';
SELECT count(*) FROM apikey_report_leak(y_text('leaked too') || ' ' || y_text('one again')) WHERE status = 'revoked';
SELECT * FROM y_new();
SELECT apikey_delete(y_id('v1')), apikey_delete(y_id('leaked'));
SELECT * FROM y_new();

-- nothing changed, nothing told
INSERT INTO y_key SELECT 'three', c.* FROM apikey_create('y_acme', 'three', '[{"project": "y_web", "environment": "*", "level": "read"}]') c;
SELECT apikey_disable(y_id('three'));
SELECT * FROM y_new();
SELECT apikey_disable(y_id('three'));
SELECT apikey_grant(y_id('three'), 'y_web', '*', 'read');
SELECT apikey_set_organization_level(y_id('three'), NULL);
SELECT apikey_update(y_id('three'));
SELECT apikey_update(y_id('three'), 'three', NULL, NULL, NULL, NULL);
SELECT apikey_update(y_id('three'), metadata => '{}');
SELECT apikey_revoke(y_id('two')), apikey_revoke_self(y_text('two')), apikey_revoke_self('y_sha');
SELECT count(*) FROM apikey_report_leak(y_text('two'));
SELECT apikey_enable(y_id('three'));
SELECT apikey_enable(y_id('three'));
SELECT * FROM y_new();

-- refused
CREATE FUNCTION y_tries(calls text[]) RETURNS TABLE (call text, result text) LANGUAGE sql AS $$
	SELECT c, y_named(attempt('SELECT ' || c)) FROM unnest(calls) c
$$;
SELECT * FROM y_tries(array[
	$$apikey_create('y_acme', ' ')$$, $$apikey_create('y_acme', 'x', '[{"project": "y_none", "environment": "*", "level": "read"}]')$$,
	$$apikey_import('y_acme', 'again', 'sha256', encode(sha256('y_sha'), 'hex'))$$,
	$$apikey_grant(y_id('three'), 'y_web', 'staging', 'read')$$, $$apikey_ungrant(y_id('three'), 'y_web', 'production')$$,
	$$apikey_set_organization_level(y_id('three'), 'manage')$$, $$apikey_update(y_id('three'), label => '')$$,
	$$apikey_update(y_id('three'), 'new', '2001-01-01')$$, $$apikey_cancel_rotation(y_id('three'))$$, $$apikey_finish_rotation(y_id('three'))$$, $$apikey_rotate(y_id('three'), '-1 s')$$,
	$$apikey_enable(y_id('one'))$$, $$apikey_disable(y_id('two'))$$, $$apikey_rotate(y_id('two'))$$,
	$$apikey_revoke(y_id('v1'))$$, $$apikey_delete(y_id('v1'))$$, $$apikey_delete(NULL)$$, $$apikey_revoke_self('apk_x')$$, $$apikey_revoke_self(NULL)$$,
	$$apikey_purge_events(NULL)$$]);
BEGIN READ ONLY;
SELECT * FROM y_tries(array[$$apikey_create('y_acme', 'x')$$, $$apikey_import('y_acme', 'x', 'sha256', encode(sha256('y_x'), 'hex'))$$,
	$$apikey_grant(y_id('three'), 'y_web', 'production', 'read')$$, $$apikey_revoke(y_id('three'))$$, $$apikey_revoke_self(y_text('three'))$$,
	$$apikey_purge_events('infinity')$$]);
COMMIT;
SELECT count(*) FROM apikey_keys WHERE label = 'x';
SELECT * FROM y_new();

-- undone
BEGIN;
SELECT apikey_disable(y_id('three')), count(key) FROM apikey_create('y_acme', 'undone');
SELECT y_count();
ROLLBACK;
BEGIN;
SELECT apikey_disable(y_id('three'));
SAVEPOINT s;
SELECT apikey_grant(y_id('three'), '*', '*', 'manage');
DELETE FROM apikey_grant WHERE key_id = y_id('three');
SELECT y_count();
ROLLBACK TO SAVEPOINT s;
SELECT apikey_enable(y_id('three'));
COMMIT;
SELECT * FROM y_new();

-- in the order of doing, each at its own time
BEGIN;
SELECT apikey_disable(y_id('three')), apikey_enable(y_id('three')), apikey_grant(y_id('three'), '*', 'production', 'read'), apikey_disable(y_id('three'));
SELECT count(apikey_update(y_id('three'), label => 'three ' || i)) FROM generate_series(1, 100) i;
SELECT apikey_enable(y_id('three'));
COMMIT;
SELECT count(*), count(DISTINCT at), count(DISTINCT event_id), bool_and(at BETWEEN now() - '1 min'::interval AND clock_timestamp()) AS now,
	bool_and(action <> 'update' OR detail ->> 'label' = 'three ' || n - 4) AS in_order
FROM (SELECT *, row_number() OVER (ORDER BY at) AS n FROM apikey_events WHERE at > (SELECT at FROM y_mark)) e;
SELECT action, min(detail) AS first FROM y_new() GROUP BY 1 ORDER BY 1;

-- who: the role that called, whatever runs as another one
CREATE ROLE regress_apikey_events_app;
CREATE ROLE regress_apikey_events_wrapper;
GRANT EXECUTE ON FUNCTION apikey_disable, apikey_enable, y_id TO regress_apikey_events_app, regress_apikey_events_wrapper;
GRANT SELECT ON y_key TO regress_apikey_events_app, regress_apikey_events_wrapper;
CREATE FUNCTION y_wrapped(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ SELECT apikey_enable(y_id($1)) $$;
ALTER FUNCTION y_wrapped OWNER TO regress_apikey_events_wrapper;
SET ROLE regress_apikey_events_app;
SELECT apikey_disable(y_id('three'));
SELECT y_wrapped('three');
SELECT attempt($$SELECT count(*) FROM apikey_events$$), attempt($$SELECT apikey_purge_events(now())$$);
RESET ROLE;
-- the user of the application
SET apikey.application_user = 'ada@example.com';
SELECT apikey_disable(y_id('three'));
BEGIN;
SET LOCAL apikey.application_user = 'Ümlaut "quoted"';
SET LOCAL ROLE regress_apikey_events_app;
SELECT apikey_enable(y_id('three'));
COMMIT;
UPDATE apikey_key SET label = 'three' WHERE key_id = y_id('three');
RESET apikey.application_user;
SELECT * FROM y_new();
-- the key that is logged in
INSERT INTO y_key SELECT 'boss', c.* FROM apikey_create('y_acme', 'boss', '[{"project": "*", "environment": "*", "level": "manage"}]', 'write') c;
BEGIN;
SELECT organization FROM apikey_login(y_text('boss'));
SELECT apikey_disable(y_id('three'));
INSERT INTO y_key SELECT 'child', c.* FROM apikey_create('y_acme', 'child', created_by => 'mallory') c;
INSERT INTO y_key SELECT 'child2', c.* FROM apikey_create('y_acme', 'child2', '[{"project": "y_web", "environment": "*", "level": "read"}]', 'read') c;
SELECT apikey_enable(y_id('three'));
SELECT apikey_revoke_self(y_text('child'));
UPDATE apikey_key SET label = 'child 2' WHERE key_id = y_id('child2');
SELECT count(*) FROM apikey_report_leak(y_text('child2')) WHERE status = 'revoked';
SELECT apikey_revoke(y_id('boss'));
UPDATE apikey_key SET label = 'child 3' WHERE key_id = y_id('child2');
COMMIT;
SELECT * FROM y_new();
SELECT label, y_named(created_by) AS created_by FROM apikey_keys WHERE label LIKE 'child%' ORDER BY 1;

-- what SQL does to the tables, row by row
INSERT INTO apikey_project (project, organization) VALUES ('y_sql', 'y_acme'), ('y_sql2', 'y_other');
INSERT INTO apikey_environment VALUES ('y_sql', '*', 'y_acme'), ('y_sql', 'production', 'y_acme');
INSERT INTO y_key VALUES ('sql', gen_random_uuid());
INSERT INTO apikey_key (key_id, organization, prefix, label) SELECT key_id, 'y_acme', 'apk', 'sql' FROM y_key WHERE name = 'sql';
INSERT INTO apikey_grant VALUES (y_id('sql'), 'read', 'y_sql', '*', 'y_acme');
INSERT INTO apikey_secret (key_id, organization, scheme, salt, verifier) VALUES (y_id('sql'), 'y_acme', 'apikey', '\x0123', '\x4567');
SELECT * FROM y_new();
UPDATE apikey_key SET label = 'SQL', revoked_at = '2001-02-03 04:05:06+00' WHERE key_id = y_id('sql');
UPDATE apikey_secret SET expires_at = '2001-02-03 04:05:06+00' WHERE key_id = y_id('sql');
UPDATE apikey_grant SET level = 'manage' WHERE key_id = y_id('sql');
UPDATE apikey_project SET project = 'y_sql3' WHERE project = 'y_sql2';
INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES (y_id('sql'), 'y_acme', 'apk', 'sql')
	ON CONFLICT (key_id) DO UPDATE SET label = 'upserted';
WITH changed AS (UPDATE apikey_grant SET level = 'write' WHERE key_id = y_id('sql') RETURNING 1) SELECT count(*) FROM changed;
MERGE INTO apikey_grant g USING y_key k ON g.key_id = k.key_id AND k.name = 'sql' WHEN MATCHED AND k.name = 'sql' THEN UPDATE SET level = 'read';
CREATE VIEW y_grants AS SELECT * FROM apikey_grant;
UPDATE y_grants SET level = 'manage' WHERE key_id = y_id('sql');
DROP VIEW y_grants;
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE apikey_key SET label = 'replica' WHERE key_id = y_id('sql');
COMMIT;
UPDATE apikey_key SET label = 'none' WHERE false;
SELECT * FROM y_new();
-- with values, but for those of salts and hashes, and of columns of somebody else's
BEGIN;
ALTER TABLE apikey_key ADD COLUMN y_secret text DEFAULT 'y_hidden', ADD COLUMN level int, ADD COLUMN y_same text DEFAULT 'y_hidden';
ALTER TABLE apikey_grant ADD COLUMN label text, ADD COLUMN y_gone int;
ALTER TABLE apikey_grant DROP COLUMN y_gone;
UPDATE apikey_key SET salt = '\x01', verifier = '\x02', scheme = NULL, y_secret = 'y_hidden too', level = 1, y_same = y_same,
	disabled_at = 'infinity', expires_at = '2099-01-01 00:00+00', organization_level = 'write', allowed_networks = '{10.0.0.0/8,::1/128}', metadata = '{"a": [1, null]}',
	created_by = NULL, prefix = 'y_live', rate_count = 5, rate_interval = '1 min', rate_burst = 7 WHERE key_id = y_id('sql');
UPDATE apikey_key SET verifier = NULL, rate_count = NULL, rate_interval = NULL, rate_burst = NULL WHERE key_id = y_id('sql');
UPDATE apikey_secret SET salt = '\x03', verifier = '\x04', lookup = '\x05' WHERE key_id = y_id('sql');
UPDATE apikey_grant SET label = 'y_hidden', environment = 'production', project = NULL WHERE key_id = y_id('sql');
DELETE FROM apikey_grant WHERE key_id = y_id('sql');
UPDATE apikey_key SET label = label WHERE key_id = y_id('sql');
SELECT action, key, detail FROM y_new();
-- long ones are cut, between characters
UPDATE apikey_key SET label = repeat('ü', 499) || 'y' WHERE key_id = y_id('sql');
UPDATE apikey_key SET label = 'y' || repeat('ü', 600000) WHERE key_id = y_id('sql');
SELECT octet_length(detail -> 'changed' ->> 'label') AS bytes, right(detail -> 'changed' ->> 'label', 4) AS ends
FROM apikey_events WHERE at > (SELECT at FROM y_mark) ORDER BY at;
ROLLBACK;
-- what falls with it
BEGIN;
DELETE FROM apikey_project WHERE project = 'y_sql';
SELECT * FROM y_new();
ROLLBACK;
BEGIN;
DELETE FROM apikey_key WHERE key_id = y_id('sql');
SELECT action, key, organization, detail FROM y_new() ORDER BY detail COLLATE "C";
ROLLBACK;
BEGIN;
TRUNCATE apikey_grant;
TRUNCATE apikey_key CASCADE;
TRUNCATE apikey_project, apikey_environment CASCADE;
SELECT action, key, organization, detail FROM y_new();
ROLLBACK;
-- a COPY is not recorded, what else is done meanwhile is
COPY apikey_project (project, organization) FROM stdin;
y_copied	y_acme
\.
SELECT * FROM y_new();
COPY (UPDATE apikey_key SET label = 'copied' WHERE key_id = y_id('sql') RETURNING label) TO stdout;
CREATE TABLE y_copy (name text);
CREATE FUNCTION y_on_copy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM apikey_disable(y_id(NEW.name));
	UPDATE apikey_key SET disabled_at = NULL WHERE key_id = y_id(NEW.name);
	RETURN NEW;
END $$;
CREATE TRIGGER y_on_copy AFTER INSERT ON y_copy FOR EACH ROW EXECUTE FUNCTION y_on_copy();
COPY y_copy FROM stdin;
three
\.
SELECT * FROM y_new();

-- nobody changes or removes events, the owner and superusers included
CREATE FUNCTION y_sum() RETURNS bytea LANGUAGE sql AS $$ SELECT sha256(string_agg(e::text, ' ' ORDER BY at)::bytea) FROM apikey_event e $$;
SELECT y_sum() AS sum \gset
CREATE FUNCTION y_sql(statements text[]) RETURNS TABLE (statement text, result text) LANGUAGE sql AS $$
	SELECT s, attempt(s) FROM unnest(statements) s
$$;
SELECT * FROM y_sql(array['UPDATE apikey_event SET role = $$nobody$$', 'DELETE FROM apikey_event', 'TRUNCATE apikey_event', 'TRUNCATE apikey_event, apikey_key CASCADE',
	'UPDATE apikey_events SET action = $${}$$', 'DELETE FROM apikey_events WHERE organization = $$y_acme$$',
	'WITH gone AS (DELETE FROM apikey_event RETURNING at) SELECT count(*) FROM gone',
	'INSERT INTO apikey_event SELECT * FROM apikey_event ON CONFLICT (event_id) DO UPDATE SET role = $$nobody$$',
	'MERGE INTO apikey_event e USING y_key ON true WHEN MATCHED AND name = $$one$$ THEN DELETE',
	'MERGE INTO apikey_event e USING (SELECT 1) x ON true WHEN MATCHED THEN UPDATE SET at = now()']);
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT * FROM y_sql(array['UPDATE apikey_event SET role = $$nobody$$', 'DELETE FROM apikey_event', 'TRUNCATE apikey_event']);
DECLARE c CURSOR FOR SELECT * FROM apikey_event FOR UPDATE;
MOVE 1 FROM c;
SELECT attempt('DELETE FROM apikey_event WHERE CURRENT OF c');
COMMIT;
-- not by a rule, nor by a trigger of a table that falls with a key or with an event
CREATE TABLE y_ruled (i int);
CREATE RULE y_rule AS ON INSERT TO y_ruled DO ALSO DELETE FROM apikey_event;
CREATE TABLE y_member (key_id uuid REFERENCES apikey_key ON DELETE CASCADE);
CREATE TABLE y_seen (event_id uuid REFERENCES apikey_event ON DELETE CASCADE);
CREATE FUNCTION y_trick() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format(current_setting('y.trick'), TG_TABLE_SCHEMA);
	RETURN NULL;
END $$;
CREATE TRIGGER y_trick AFTER DELETE ON y_member FOR EACH ROW EXECUTE FUNCTION y_trick();
CREATE TRIGGER y_trick AFTER DELETE ON y_seen FOR EACH ROW EXECUTE FUNCTION y_trick();
INSERT INTO y_member VALUES (y_id('three'));
INSERT INTO y_seen SELECT event_id FROM apikey_event ORDER BY at LIMIT 1;
SELECT max(at) AS third FROM (SELECT at FROM apikey_event ORDER BY at LIMIT 3) e \gset
SELECT * FROM y_sql(array['INSERT INTO y_ruled VALUES (1)']);
SELECT trick, set_config('y.trick', trick, false) = trick AS set, attempt('SELECT apikey_delete(y_id($$three$$))') AS delete,
	attempt(format('SELECT apikey_purge_events(%L)', :'third')) AS purge
FROM unnest(array['DELETE FROM %I.apikey_event', 'UPDATE %I.apikey_event SET role = $$nobody$$', 'TRUNCATE %I.apikey_event CASCADE']) trick;
SELECT y_sum() = :'sum' AS all_as_it_was;
DROP TABLE y_member, y_seen, y_ruled;
SELECT * FROM y_new();

-- no event has anything in it that a key could be made of, or is checked by
CREATE FUNCTION y_secrets() RETURNS TABLE (secret text) LANGUAGE sql AS $$
	SELECT substr(key, length(key) - 48, 43) FROM y_key WHERE key ~ '_\w{71}$'
	UNION SELECT key FROM y_key WHERE key !~ '_\w{71}$'
	UNION SELECT encode(b, e) FROM unnest(array['hex', 'base64']) e, (SELECT unnest(array[salt, verifier]) FROM apikey_key WHERE organization LIKE 'y\_%'
		UNION SELECT unnest(array[s.salt, s.verifier, s.lookup]) FROM apikey_secret s WHERE organization LIKE 'y\_%') x (b)
		WHERE length(b) >= 16
$$;
SELECT count(*) > 40 AS many FROM y_secrets();
SELECT action FROM y_secrets() s JOIN apikey_event e ON strpos(e::text, s.secret) > 0
WHERE at > (SELECT start FROM y_mark);
SELECT count(*) > 100 AS many FROM apikey_event WHERE at > (SELECT start FROM y_mark);

-- a purge removes what is older, and tells so
SELECT apikey_purge_events('-infinity'), apikey_purge_events('2001-01-01');
SELECT * FROM y_new();
SELECT count(*) AS older FROM apikey_event WHERE at < :'third' \gset
SELECT apikey_purge_events(:'third') = :older AS counted, :older AS older;
SELECT min(at) = :'third' AS from_there FROM apikey_event;
SELECT action, key_id, organization, (detail ->> 'before')::timestamptz = :'third' AS before, detail ->> 'count' AS count
FROM apikey_events WHERE at > (SELECT at FROM y_mark);
BEGIN;
SELECT count(*) AS all FROM apikey_event \gset
SELECT apikey_purge_events('infinity') = :all AS all;
SELECT action, detail ->> 'before' AS before, (detail ->> 'count')::bigint = :all AS count FROM apikey_events;
SELECT apikey_purge_events(now() + '1 year');
SELECT count(*) FROM apikey_events;
ROLLBACK;
SELECT count(*) = :all AS all_back FROM apikey_events;
BEGIN;
SELECT count(set_config('apikey.key', y_text('three'), true));
SELECT attempt($$SELECT apikey_purge_events('infinity')$$);
COMMIT;

DROP TABLE y_key, y_mark, y_copy;
DROP FUNCTION y_named, y_new, y_id, y_text, y_count, y_tries, y_wrapped, y_on_copy, y_sum, y_sql, y_trick, y_secrets;
REVOKE ALL ON FUNCTION apikey_disable, apikey_enable FROM regress_apikey_events_app, regress_apikey_events_wrapper;
DROP ROLE regress_apikey_events_app, regress_apikey_events_wrapper;
DELETE FROM apikey_key WHERE organization LIKE 'y\_%';
DELETE FROM apikey_project WHERE organization LIKE 'y\_%';
