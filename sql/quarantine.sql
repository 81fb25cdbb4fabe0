\a \t
-- Quarantine: what a copy came with is refused, until that is lifted.
SELECT apikey_add_project('qu_acme', 'qu_web'), apikey_add_project('qu_globex', 'qu_mars');
CREATE TABLE qu_token (label text, key_id uuid, key text);
INSERT INTO qu_token SELECT label, c.* FROM (VALUES ('good'), ('disabled'), ('revoked')) AS t (label),
	apikey_create('qu_acme', label, '[{"project": "qu_web", "environment": "*", "level": "write"}]', max_derived => 5) c;
INSERT INTO qu_token SELECT 'globex', c.* FROM apikey_create('qu_globex', 'globex', '[{"project": "qu_mars", "environment": "*", "level": "write"}]') c;
INSERT INTO qu_token SELECT 'child', c.* FROM qu_token t, apikey_derive(t.key, 'child') c WHERE t.label = 'good';
SELECT apikey_disable(key_id, 'looks wrong') FROM qu_token WHERE label = 'disabled';
SELECT apikey_revoke(key_id) FROM qu_token WHERE label = 'revoked';
SELECT key AS good, key_id AS good_id FROM qu_token WHERE label = 'good' \gset
CREATE FUNCTION qu_look() RETURNS TABLE (label text, may boolean, verified bigint, status text, found text, reason text)
LANGUAGE sql AS $$
	SELECT t.label, apikey_authorize(t.key, p.project, 'production', 'read'), (SELECT count(*) FROM apikey_verify(t.key)),
		k.status, f.status, (apikey_explain(t.key, p.project, 'production', 'read')).reason
	FROM qu_token t JOIN apikey_keys k USING (key_id) JOIN apikey_registry p USING (organization),
		apikey_find_keys(t.key) f ORDER BY t.label
$$;
CREATE FUNCTION qu_quarantine(reason text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	SELECT apikey_quarantine(current_setting('cluster_name'), current_database(), reason, pg_postmaster_start_time())
$$;
CREATE FUNCTION qu_events() RETURNS TABLE (action text, organization text, detail jsonb) LANGUAGE sql AS $$
	SELECT action, organization, detail - 'database' - 'server' FROM apikey_events WHERE action ~ 'quarantine' ORDER BY event_id
$$;
SELECT * FROM qu_look();

-- whoever does not know where this is
SELECT call, (string_to_array(attempt('SELECT ' || call), ' | '))[1:2] FROM (VALUES
	($$apikey_quarantine('staging', current_database(), NULL, pg_postmaster_start_time())$$),
	($$apikey_quarantine(current_setting('cluster_name'), 'staging', NULL, pg_postmaster_start_time())$$),
	($$apikey_quarantine(current_setting('cluster_name') || ' ', current_database(), NULL, pg_postmaster_start_time())$$),
	($$apikey_quarantine(current_setting('cluster_name'), upper(current_database()), NULL, pg_postmaster_start_time())$$),
	($$apikey_quarantine(NULL, current_database(), NULL, pg_postmaster_start_time())$$),
	($$apikey_quarantine(current_setting('cluster_name'), NULL, NULL, pg_postmaster_start_time())$$),
	($$apikey_quarantine(current_setting('cluster_name'), current_database(), ' ', pg_postmaster_start_time())$$),
	($$apikey_quarantine(current_setting('cluster_name'), current_database(), repeat('x', 1001), pg_postmaster_start_time())$$)) AS t (call);
-- a slot, or a server without a name, may be the original's
SELECT slot_name <> '' FROM pg_create_physical_replication_slot('qu_slot');
SELECT attempt('SELECT apikey_quarantine(current_setting(''cluster_name''), current_database(), NULL, ' || coalesce(quote_literal(i), 'NULL') || ')') ~ '^55000 \| this may be the original, not a copy'
FROM (VALUES (NULL), (pg_postmaster_start_time() - interval '1 microsecond'), ('infinity'), (now())) v (i);
SELECT pg_drop_replication_slot('qu_slot');
SELECT bool_and(may) FROM qu_look() WHERE label = 'good';

-- all keys are refused, each for its own reason first
SELECT qu_quarantine('copy of 2026-11-01');
SELECT * FROM qu_look();
SELECT attempt(format('SELECT apikey_login(%L)', :'good')), apikey_projects_of(:'good', 'read');
SELECT attempt(format('SELECT apikey_derive(%L, ''another'')', :'good'));
SELECT count(*) FROM apikey_who_can('qu_web', 'production', 'read');
SELECT attempt(format('SELECT apikey_suspend(%L)', '*')), attempt(format('SELECT apikey_resume(%L)', '*'));
SELECT organization, suspended_at FROM apikey_registry WHERE organization LIKE 'qu\_%' ORDER BY 1;
-- for its own organization, if that is suspended
SELECT apikey_suspend('qu_globex', 'unpaid invoice');
SELECT status, reason FROM qu_look() WHERE label = 'globex';
SELECT apikey_resume('qu_globex');
SELECT status, reason FROM qu_look() WHERE label = 'globex';
-- a new secret is of the old key
INSERT INTO qu_token SELECT 'rotated', :'good_id', key FROM apikey_rotate(:'good_id', '1 hour');
SELECT label, may, status FROM qu_look() WHERE label IN ('good', 'rotated');
DELETE FROM qu_token WHERE label = 'rotated';
SELECT apikey_cancel_rotation(:'good_id');

-- but those that are made in the copy; not so what claims to be of another time
INSERT INTO qu_token SELECT 'own', c.* FROM apikey_create('qu_acme', 'own', '[{"project": "qu_web", "environment": "*", "level": "read"}]', max_derived => 5) c;
INSERT INTO qu_token SELECT 'own child', c.* FROM qu_token t, apikey_derive(t.key, 'own child') c WHERE t.label = 'own';
INSERT INTO qu_token SELECT 'imported', apikey_import('qu_acme', 'imported', 'sha256', encode(sha256('qu_imported_1'), 'hex'), NULL,
	'[{"project": "qu_web", "environment": "*", "level": "read"}]', created_at => '2020-01-01'), 'qu_imported_1';
SELECT * FROM qu_look() WHERE label IN ('own', 'own child', 'imported');
SELECT label FROM apikey_who_can('qu_web', 'production', 'read') ORDER BY 1;
-- nor what SQL derives from one that is refused
UPDATE apikey_key SET parent_id = :'good_id' WHERE label = 'own child' AND organization = 'qu_acme';
SELECT * FROM qu_look() WHERE label = 'own child';
-- once more takes them in
SELECT qu_quarantine();
SELECT label, may, status, reason FROM qu_look();
INSERT INTO qu_token SELECT 'late', c.* FROM apikey_create('qu_acme', 'late', '[{"project": "qu_web", "environment": "*", "level": "read"}]') c;
SELECT label, may, status FROM qu_look() WHERE label = 'late';
-- a clock that is behind, and in one transaction
UPDATE apikey_key SET created_at = now() + interval '1 day' WHERE label = 'late' AND organization = 'qu_acme';
SELECT qu_quarantine();
SELECT label, may, status FROM qu_look() WHERE label = 'late';
SELECT suspended_at > now() FROM apikey_suspension WHERE organization = '*';
DELETE FROM apikey_key WHERE label = 'late' AND organization = 'qu_acme';
DELETE FROM qu_token WHERE label = 'late';

-- lifted: what was is again
SELECT apikey_lift_quarantine();
SELECT label, may, status, reason FROM qu_look();
SELECT apikey_lift_quarantine();
SELECT * FROM qu_events();
SELECT DISTINCT detail ->> 'database' = current_database(), detail ->> 'server' = current_setting('cluster_name') FROM apikey_events WHERE action ~ 'quarantine';

-- in one statement, and undone
CREATE FUNCTION qu_may(key text) RETURNS boolean LANGUAGE sql AS $$ SELECT apikey_authorize(key, 'qu_web', 'production', 'read') $$;
SELECT qu_may(:'good'), qu_quarantine(), qu_may(:'good'), apikey_lift_quarantine(), qu_may(:'good');
BEGIN;
SELECT qu_quarantine();
SELECT qu_may(:'good');
ROLLBACK;
SELECT qu_may(:'good');
BEGIN READ ONLY;
SELECT qu_quarantine();
ROLLBACK;
-- by SQL
INSERT INTO apikey_suspension VALUES ('*', now());
SELECT qu_may(:'good');
DELETE FROM apikey_suspension WHERE organization = '*';
SELECT qu_may(:'good');
CREATE FUNCTION qu_keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER qu_keep BEFORE INSERT ON apikey_suspension FOR EACH ROW EXECUTE FUNCTION qu_keep();
SELECT attempt('SELECT qu_quarantine()');
DROP TRIGGER qu_keep ON apikey_suspension;

-- the application alone
SET apikey.key = :'good';
SELECT attempt('SELECT qu_quarantine()'), attempt('SELECT apikey_lift_quarantine()');
SET apikey.key = 'rubbish';
SELECT attempt('SELECT apikey_lift_quarantine()');
RESET apikey.key;
CREATE ROLE qu_app;
SET ROLE qu_app;
SELECT attempt('SELECT apikey_quarantine(''a'', ''b'')'), attempt('SELECT apikey_lift_quarantine()');
RESET ROLE;
DROP ROLE qu_app;
