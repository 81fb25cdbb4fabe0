\a \t
-- Organizations that are suspended, and reasons.
SELECT apikey_add_project('su_acme', 'su_web');
SELECT apikey_add_project('su_globex', 'su_mars');
CREATE TABLE su_token (label text, key_id uuid, key text);
INSERT INTO su_token SELECT label, c.* FROM (VALUES ('good'), ('disabled'), ('revoked'), ('expired'), ('elsewhere')) AS t (label),
	apikey_create('su_acme', label, '[{"project": "su_web", "environment": "*", "level": "write"}]', organization_level => 'write') c;
INSERT INTO su_token SELECT 'globex', c.* FROM apikey_create('su_globex', 'globex', '[{"project": "su_mars", "environment": "*", "level": "write"}]') c;
UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE label = 'expired' AND organization = 'su_acme';
UPDATE apikey_key SET allowed_networks = '{192.0.2.0/24}' WHERE label = 'elsewhere' AND organization = 'su_acme';
SELECT apikey_disable(key_id) FROM su_token WHERE label = 'disabled';
SELECT apikey_revoke(key_id) FROM su_token WHERE label = 'revoked';
SELECT label, key_id AS good_id, key AS good FROM su_token WHERE label = 'good' \gset
SELECT key_id AS disabled_id, key AS disabled FROM su_token WHERE label = 'disabled' \gset
SELECT key_id AS revoked_id, key AS revoked FROM su_token WHERE label = 'revoked' \gset
CREATE FUNCTION su_look() RETURNS TABLE (label text, may boolean, org boolean, verified bigint, status text, found text, reason text)
LANGUAGE sql AS $$
	SELECT t.label, apikey_authorize(t.key, p.project, 'production', 'read'),
		apikey_authorize_organization(t.key, k.organization, 'read'), (SELECT count(*) FROM apikey_verify(t.key)),
		k.status, f.status, (apikey_explain(t.key, p.project, 'production', 'read')).reason
	FROM su_token t JOIN apikey_keys k USING (key_id) JOIN apikey_registry p USING (organization),
		apikey_find_keys(t.key) f ORDER BY t.label
$$;
CREATE FUNCTION su_events() RETURNS TABLE (action text, organization text, label text, detail jsonb) LANGUAGE sql AS $$
	SELECT e.action, e.organization, t.label, e.detail FROM apikey_events e LEFT JOIN su_token t USING (key_id)
	WHERE e.organization LIKE 'su\_%' AND e.action NOT IN ('create', 'add_project', 'update') ORDER BY event_id
$$;
SELECT * FROM su_look();

-- suspended: all its keys are refused, each for its own reason first, and no other's
SELECT apikey_suspend('su_acme', 'unpaid invoice');
SELECT * FROM su_look();
SELECT organization, project, environments, suspended_at = now() AS now, suspended_reason FROM apikey_registry WHERE organization LIKE 'su\_%' ORDER BY 1;
SELECT apikey_projects_of(:'good', 'read'), apikey_projects_of(:'good', 'read', 'production');
SELECT attempt(format('SELECT apikey_require(%L, ''su_web'', ''production'', ''read'')', :'good')), attempt(format('SELECT apikey_login(%L)', :'good'));
SELECT attempt(format('SELECT apikey_spend(%L, 1)', :'good'));
SELECT count(*) FROM apikey_rate_limit(:'good');
SELECT count(*) FROM apikey_who_can('su_web', 'production', 'read');
SET apikey.key = :'good';
SELECT apikey_authorize('su_web', 'production', 'read'), apikey_key_id(), (SELECT count(*) FROM apikey_whoami());
SELECT attempt($$SELECT apikey_create('su_acme', 'more')$$);
SELECT attempt($$SELECT apikey_resume('su_acme')$$), attempt($$SELECT apikey_suspend('su_globex')$$);
RESET apikey.key;

-- keys can be made meanwhile, and are refused
INSERT INTO su_token SELECT 'late', c.* FROM apikey_create('su_acme', 'late', '[{"project": "su_web", "environment": "*", "level": "read"}]') c;
SELECT apikey_add_project('su_acme', 'su_shop');
SELECT apikey_remove_project('su_shop');
SELECT * FROM su_look() WHERE label = 'late';
-- one can be revoked by whoever holds it, or found it
INSERT INTO su_token SELECT l, c.* FROM (VALUES ('self'), ('leaked')) v (l), apikey_create('su_acme', l) c;
SELECT apikey_revoke_self(key) FROM su_token WHERE label = 'self';
SELECT status FROM su_token, apikey_report_leak(su_token.key) WHERE label = 'leaked';

-- resumed: what was is again
SELECT apikey_resume('su_acme');
SELECT * FROM su_look();
SELECT label FROM apikey_who_can('su_web', 'production', 'read') ORDER BY 1;

-- once more is nothing; another reason is, none is not
SELECT apikey_resume('su_acme');
SELECT apikey_suspend('su_globex');
SELECT reason FROM su_look() WHERE label = 'globex';
SELECT apikey_suspend('su_globex');
SELECT apikey_suspend('su_globex', 'abuse');
SELECT apikey_suspend('su_globex', 'abuse'), apikey_suspend('su_globex', NULL);
SELECT reason FROM su_look() WHERE label = 'globex';
SELECT apikey_suspend('su_globex', 'court order');
SELECT reason FROM su_look() WHERE label = 'globex';
SELECT apikey_resume('su_globex');
SELECT * FROM su_events();

-- an organization is there as long as there is anything of it
SELECT call, attempt('SELECT ' || call) FROM (VALUES
	($$apikey_suspend('su_none')$$), ($$apikey_resume('su_none')$$), ($$apikey_suspend('su_acm')$$),
	($$apikey_suspend(NULL)$$), ($$apikey_suspend('')$$), ($$apikey_suspend('*')$$), ($$apikey_suspend(repeat('x', 513))$$),
	($$apikey_resume(NULL)$$), ($$apikey_resume('')$$), ($$apikey_resume('*')$$), ($$apikey_resume(repeat('x', 100000000))$$)) AS t (call);
SELECT key_id, key FROM apikey_create('su_keys', 'no project') \gset
SELECT apikey_suspend('su_keys');
SELECT status FROM apikey_keys WHERE key_id = :'key_id';
SELECT apikey_delete(:'key_id');
SELECT apikey_suspend('su_keys', 'still'), apikey_resume('su_keys');
SELECT attempt($$SELECT apikey_resume('su_keys')$$);

-- in one statement, and in transactions that are undone
CREATE FUNCTION su_may(key text) RETURNS boolean LANGUAGE sql AS $$ SELECT apikey_authorize(key, 'su_web', 'production', 'read') $$;
CREATE FUNCTION su_row() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	k text = (SELECT key FROM su_token WHERE label = 'good');
	result text = concat(apikey_authorize(k, 'su_web', 'production', 'read'));
BEGIN
	PERFORM apikey_suspend('su_acme');
	result = concat(result, apikey_authorize(k, 'su_web', 'production', 'read'));
	PERFORM apikey_resume('su_acme');
	result = concat(result, apikey_authorize(k, 'su_web', 'production', 'read'));
	BEGIN
		PERFORM apikey_suspend('su_acme');
		result = concat(result, apikey_authorize(k, 'su_web', 'production', 'read'));
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
	END;
	RETURN concat(result, apikey_authorize(k, 'su_web', 'production', 'read'));
END $$;
SELECT su_row(), su_row();
SELECT su_may(:'good') AS before, apikey_suspend('su_acme'), su_may(:'good') AS between, apikey_resume('su_acme'), su_may(:'good') AS after;
WITH s AS (INSERT INTO apikey_suspension VALUES ('su_acme', now()) RETURNING su_may(:'good')) SELECT su_may, su_may(:'good') FROM s;
SELECT su_may(:'good');
WITH s AS (DELETE FROM apikey_suspension RETURNING su_may(:'good')) SELECT su_may, su_may(:'good') FROM s;
SELECT su_may(:'good');
BEGIN;
SELECT apikey_suspend('su_acme');
SELECT su_may(:'good');
ROLLBACK;
SELECT su_may(:'good');
BEGIN;
SAVEPOINT s;
SELECT apikey_suspend('su_acme');
SELECT su_may(:'good');
ROLLBACK TO s;
SELECT su_may(:'good');
SELECT apikey_suspend('su_acme');
SAVEPOINT s;
SELECT apikey_resume('su_acme');
SELECT su_may(:'good');
ROLLBACK TO s;
SELECT su_may(:'good');
ROLLBACK;
SELECT su_may(:'good');

-- what SQL does to the table counts as well
SELECT count(*) AS before FROM apikey_events \gset
INSERT INTO apikey_suspension VALUES ('su_acme', now(), 'by hand');
SELECT su_may(:'good');
UPDATE apikey_suspension SET organization = 'su_globex' WHERE organization = 'su_acme';
SELECT su_may(:'good'), (SELECT reason FROM su_look() WHERE label = 'globex');
UPDATE apikey_suspension SET reason = NULL;
DELETE FROM apikey_suspension;
SELECT reason FROM su_look() WHERE label = 'globex';
INSERT INTO apikey_suspension VALUES ('su_acme', now(), repeat('x', 1026));
SELECT length(reason) FROM su_look() WHERE label = 'good';
TRUNCATE apikey_suspension;
SELECT su_may(:'good');
SELECT action, organization, left(detail::text, 100) FROM apikey_events ORDER BY event_id OFFSET :before;
SELECT split_part(attempt(format('INSERT INTO apikey_suspension VALUES (%L, now())', name)), ' | ', 2)
FROM unnest(ARRAY['', repeat('x', 513)]) AS name;
-- a trigger of somebody's keeps it from being stored, or from being removed
CREATE FUNCTION su_keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER su_keep BEFORE INSERT OR DELETE ON apikey_suspension FOR EACH ROW EXECUTE FUNCTION su_keep();
SELECT attempt($$SELECT apikey_suspend('su_acme')$$);
ALTER TABLE apikey_suspension DISABLE TRIGGER su_keep;
SELECT attempt($$SELECT apikey_suspend('su_acme')$$);
ALTER TABLE apikey_suspension ENABLE TRIGGER su_keep;
SELECT attempt($$SELECT apikey_resume('su_acme')$$), su_may(:'good');
DROP TRIGGER su_keep ON apikey_suspension;
SELECT attempt($$SELECT apikey_resume('su_acme')$$), su_may(:'good');
BEGIN READ ONLY;
SELECT apikey_suspend('su_acme');
ROLLBACK;

-- why a key is disabled or revoked
SELECT apikey_disable(:'good_id', 'looks wrong'), apikey_disable(:'good_id');
SELECT status, disabled_reason, revoked_reason FROM apikey_keys WHERE key_id = :'good_id';
SELECT reason FROM su_look() WHERE label = 'good';
SELECT apikey_disable(:'good_id', 'is wrong'), apikey_disable(:'good_id', 'is wrong');
SELECT status, disabled_reason, revoked_reason FROM apikey_keys WHERE key_id = :'good_id';
SELECT apikey_suspend('su_acme', 'unpaid invoice');
SELECT label, reason FROM su_look();
SELECT apikey_enable(:'good_id');
SELECT status, disabled_reason FROM apikey_keys WHERE key_id = :'good_id';
SELECT reason FROM su_look() WHERE label = 'good';
SELECT apikey_resume('su_acme');
SELECT apikey_disable(:'good_id', 'once more'), apikey_revoke(:'good_id'), apikey_revoke(:'good_id', 'left the company'), apikey_revoke(:'good_id');
SELECT status, disabled_reason, revoked_reason FROM apikey_keys WHERE key_id = :'good_id';
SELECT reason FROM su_look() WHERE label = 'good';
SELECT apikey_disable(:'disabled_id', 'expires first');
UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE key_id = :'disabled_id';
SELECT reason FROM su_look() WHERE label = 'disabled';
SELECT action, label, detail FROM su_events() WHERE label IN ('good', 'disabled');
SELECT call, attempt('SELECT ' || replace(call, 'ID', quote_literal(:'disabled_id'))) FROM (VALUES
	($$apikey_disable(ID, '')$$), ($$apikey_revoke(ID, E' \t')$$), ($$apikey_suspend('su_acme', ' ')$$),
	($$apikey_disable(ID, repeat('x', 1001))$$), ($$apikey_revoke(ID, repeat('x', 100000000))$$), ($$apikey_suspend('su_acme', repeat('x', 1001))$$),
	($$apikey_disable(ID, repeat('x', 1000))$$), ($$apikey_suspend('su_acme', repeat('x', 1000))$$), ($$apikey_resume('su_acme')$$)) AS t (call);
-- a key in it cannot be read
SELECT apikey_suspend('su_acme', 'found ' || :'revoked'), apikey_disable(:'disabled_id', :'revoked' || ' is the other'), apikey_revoke(:'revoked_id', :'revoked');
SELECT reason LIKE '%' || :'revoked' || '%' AS there, reason ~ '^found apk_\w{22}_{49}$' AS hidden FROM apikey_suspension;
SELECT disabled_reason ~ '^apk_\w{22}_{49} is the other$' AS hidden FROM apikey_keys WHERE key_id = :'disabled_id';
SELECT revoked_reason ~ '^apk_\w{22}_{49}$' AS hidden FROM apikey_keys WHERE key_id = :'revoked_id';
SELECT count(*) FROM apikey_events WHERE detail::text LIKE '%' || :'revoked' || '%';

-- the reason is for who may read the view; all others learn just what holds
CREATE ROLE su_app;
SET ROLE su_app;
SELECT reason FROM apikey_explain(:'revoked', 'su_web', 'production', 'read');
SELECT attempt($$SELECT apikey_suspend('su_acme')$$), attempt($$SELECT apikey_resume('su_acme')$$);
RESET ROLE;
GRANT SELECT ON apikey_keys TO su_app;
SET ROLE su_app;
SELECT regexp_replace(reason, '\w{22}_{49}$', 'KEY') FROM apikey_explain(:'revoked', 'su_web', 'production', 'read');
RESET ROLE;
DROP OWNED BY su_app;
DROP ROLE su_app;
SELECT apikey_resume('su_acme');

-- what is derived from a key goes with it, and so does the reason
SELECT key_id AS parent_id, key AS parent FROM apikey_create('su_acme', 'parent', '[{"project": "su_web", "environment": "*", "level": "write"}]', max_derived => 5) \gset
SELECT key_id AS child_id, key AS child FROM apikey_derive(:'parent', 'child') \gset
CREATE FUNCTION su_child(child text) RETURNS TABLE (may boolean, reason text, status text, found text) LANGUAGE sql AS $$
	SELECT su_may(child), (apikey_explain(child, 'su_web', 'production', 'read')).reason,
		(SELECT status FROM apikey_keys WHERE key_id = f.key_id), f.status FROM apikey_find_keys(child) f
$$;
SELECT * FROM su_child(:'child');
SELECT apikey_suspend('su_acme', 'unpaid invoice');
SELECT * FROM su_child(:'child');
SELECT attempt(format('SELECT apikey_derive(%L, ''another'')', :'parent'));
SELECT apikey_disable(:'parent_id', 'of the parent');
SELECT * FROM su_child(:'child');
SELECT apikey_resume('su_acme'), apikey_disable(:'child_id', 'its own');
SELECT * FROM su_child(:'child');
SELECT apikey_revoke(:'parent_id', 'gone');
SELECT * FROM su_child(:'child');
