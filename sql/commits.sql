\a \t
-- A statement that commits: what ends with time has ended for the transactions in it that
-- begin later, and each of them asks anew.
SELECT apikey_add_project('c_acme', 'c_web');
SELECT key_id, key FROM apikey_create('c_acme', 'bot', '[{"project": "c_web", "environment": "production", "level": "write"}]',
	organization_level => 'read') \gset
CREATE ROLE regress_apikey_commits;
CREATE TABLE c_doc AS SELECT 'c_web' AS project, 'production' AS environment;
SET client_min_messages = error;
SELECT apikey_protect('c_doc', 'project', 'environment');
RESET client_min_messages;
GRANT SELECT ON c_doc TO regress_apikey_commits;
CREATE FUNCTION c_rows() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN (SELECT count(*) FROM c_doc); END $$;
ALTER FUNCTION c_rows OWNER TO regress_apikey_commits;
-- what says that a key is good
CREATE FUNCTION c_good(key text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', key, false);
	RETURN jsonb_build_object(
		'authorize', apikey_authorize(key, 'c_web', 'production', 'write'), 'authorize (session)', apikey_authorize('c_web', 'production', 'write'),
		'organization', apikey_authorize_organization(key, 'c_acme', 'read'), 'organization (session)', apikey_authorize_organization('c_acme', 'read'),
		'projects_of', apikey_projects_of(key, 'write') = '{c_web}', 'projects', apikey_projects('write', 'production'::text) = '{c_web}',
		'environments', apikey_internal.environments(NULL::text, 'read') = '{production}', 'explain', (apikey_explain(key, 'c_web', 'production', 'write')).allowed,
		'require', attempt($q$SELECT apikey_require('c_web', 'production', 'write')$q$) = 'done',
		'verify', (SELECT count(*) = 1 FROM apikey_verify(key)), 'whoami', (SELECT count(*) = 1 FROM apikey_whoami()),
		'rows', c_rows() = 1, 'spend', attempt('SELECT apikey_spend()') = 'done', 'find', (SELECT status FROM apikey_find_keys(key)) = 'active');
END $$;
-- the same of what knows its id
CREATE FUNCTION c_active(id uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('apikey.key', '', false);
	RETURN jsonb_build_object('status', (SELECT status FROM apikey_keys WHERE key_id = id) = 'active',
		'who', id IN (SELECT key_id FROM apikey_who_can('c_web', 'production', 'read')));
END $$;
-- From a change on that names an end, ask until that has come: each answer has to be that of
-- the clock.  Then do something more.
CREATE PROCEDURE c_watch(change text, question text, then_do text) LANGUAGE plpgsql AS $$
DECLARE
	ends timestamptz;
	answers jsonb;
	wrong text;
BEGIN
	COMMIT;
	ends = now() + interval '300 ms';
	EXECUTE change USING ends;
	COMMIT;
	LOOP
		EXECUTE question INTO answers;
		SELECT string_agg(k, ', ' ORDER BY k) INTO wrong FROM jsonb_each_text(answers) a (k, v) WHERE v::boolean IS DISTINCT FROM now() < ends;
		EXIT WHEN wrong IS NOT NULL OR now() >= ends;
		COMMIT;
	END LOOP;
	PERFORM set_config('apikey.key', '', false);
	RAISE NOTICE '%, wrong: %, then: %', CASE WHEN now() < ends THEN 'before the end' ELSE 'ended' END, wrong, regexp_replace(attempt(then_do), '[0-9a-f-]{36}', 'ID');
END $$;

-- expiry, that of one that was made in a transaction before, too
SELECT format('CALL c_watch(%L, %L, %L)', format('UPDATE apikey_key SET expires_at = $1 WHERE key_id = %L', :'key_id'),
	format('SELECT c_good(%L) || c_active(%L)', :'key', :'key_id'), format('SELECT apikey_update(%L, expires_at => now())', :'key_id')) AS call \gset
:call;
SELECT apikey_update(:'key_id', remove => '{expires_at}');
-- the end of an overlap
SELECT format('CALL c_watch(%L, %L, %L)', format('SELECT apikey_rotate(%L, $1 - now())', :'key_id'),
	format('SELECT c_good(%L)', :'key'), format('SELECT apikey_cancel_rotation(%L)', :'key_id')) AS call \gset
:call;
-- an overlap of nothing is over at once, whenever its transaction began
DO $$
BEGIN
	COMMIT;
	PERFORM apikey_rotate(key_id, '0') FROM apikey_keys WHERE organization = 'c_acme';
END $$;
SELECT count(*) FROM apikey_secret WHERE key_id = :'key_id' AND expires_at > '-infinity';

-- a budget is refilled
SELECT key_id AS budget_id, key AS budget_key FROM apikey_create('c_acme', 'budget') \gset
CREATE FUNCTION c_spent(id uuid, key text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('view', (SELECT remaining = 0 FROM apikey_budgets WHERE key_id = id),
		'spend', attempt(format('SELECT apikey_spend(%L, 2)', key)) LIKE '%remaining=0 %')
$$;
SELECT apikey_set_budget(:'budget_id', 1, '1 hour');
SELECT apikey_spend(:'budget_key', 1);
SELECT format('CALL c_watch(%L, %L, %L)', format('UPDATE apikey_budget SET refills_at = $1 WHERE key_id = %L', :'budget_id'),
	format('SELECT c_spent(%L, %L)', :'budget_id', :'budget_key'), format('SELECT apikey_spend(%L, 1)', :'budget_key')) AS call \gset
:call;
SELECT remaining FROM apikey_budgets WHERE key_id = :'budget_id';
-- one that is set begins when its transaction did
DO $$
DECLARE
	id uuid = (SELECT key_id FROM apikey_keys WHERE label = 'budget' AND organization = 'c_acme');
BEGIN
	COMMIT;
	PERFORM apikey_set_budget(id, 1, '1 hour');
	RAISE NOTICE '%', (SELECT started_at = now() AND refills_at = now() + interval '1 hour' FROM apikey_budget WHERE key_id = id);
END $$;

DROP PROCEDURE c_watch;
DROP FUNCTION c_good, c_active, c_spent, c_rows;
DROP TABLE c_doc;
DROP ROLE regress_apikey_commits;
DELETE FROM apikey_key WHERE organization = 'c_acme';
DELETE FROM apikey_project WHERE organization = 'c_acme';
