-- What the console can see and do: the schema "console".  Run this as a superuser, or as
-- the owner of the extension with CREATEROLE, in the database that has it:
--
--	psql -d mydb -f console.sql
--
-- Nothing in the schema does anything before an operator's key is logged in: one that is
-- good and has an organization level.  Then it is about the organization of that key
-- alone, and changes go by what the key holds, see doc/how-to/delegate-keys.md.

\set ON_ERROR_STOP on
SELECT extnamespace::regnamespace AS ext FROM pg_extension WHERE extname = 'apikey' \gset
SET search_path = pg_catalog, :ext, pg_temp;

-- The server connects as console_server, which can say where a request came from, and
-- does all else as console.
CREATE ROLE console;
CREATE ROLE console_server LOGIN NOINHERIT;
GRANT console TO console_server;
GRANT SET ON PARAMETER apikey.client_address TO console_server;
ALTER ROLE console_server SET search_path = console, :ext;
ALTER ROLE console_server SET statement_timeout = '10s';
ALTER ROLE console_server SET idle_in_transaction_session_timeout = '10s';

CREATE SCHEMA console;
COMMENT ON SCHEMA console IS 'API keys of one organization: that of the key which is logged in';
GRANT USAGE ON SCHEMA console, :ext TO console;

-- The organization of the operator.
CREATE FUNCTION console.organization() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, :ext, pg_temp AS $$
DECLARE
	me record;
BEGIN
	SELECT * INTO me FROM apikey_whoami();
	IF NOT FOUND THEN
		RAISE invalid_authorization_specification USING MESSAGE = 'no API key is logged in';
	ELSIF me.organization_level IS NULL THEN
		RAISE insufficient_privilege USING MESSAGE = 'API key is not an operator''s';
	END IF;
	RETURN me.organization;
END $$;
COMMENT ON FUNCTION console.organization IS 'the organization of the operator; 28000 without a key, 42501 if it is not an operator''s';

-- The views of the extension show what a customer may see while a key is logged in, and
-- everything while none is.  These show nothing then, and have an index to page by.
CREATE VIEW console.keys WITH (security_barrier) AS
SELECT key_id, label, key, status, organization_level, expires_at, created_at, created_by,
	allowed_networks, metadata, rate_limit, last_used_at, last_used_from, disabled_at,
	revoked_at, parent_id, max_derived, overlap_until, imported_at
FROM apikey_keys WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.keys IS 'API keys';

CREATE VIEW console.grants WITH (security_barrier) AS
SELECT key_id, project, environment, level
FROM apikey_grants WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.grants IS 'what each API key may do';

CREATE VIEW console.projects WITH (security_barrier) AS
SELECT project, environments
FROM apikey_registry WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.projects IS 'projects and their environments';

CREATE VIEW console.budgets WITH (security_barrier) AS
SELECT key_id, budget, remaining, refill, refills_at
FROM apikey_budgets WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.budgets IS 'what is left of budgets';

CREATE VIEW console.usage WITH (security_barrier) AS
SELECT key_id, uses, refusals, last_refused_at, old_secret_used_at
FROM apikey_usage WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.usage IS 'how much API keys were used';

CREATE VIEW console.usage_hours WITH (security_barrier) AS
SELECT key_id, hour, uses, refusals
FROM apikey_usage_hours WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.usage_hours IS 'how much, by hour';

CREATE VIEW console.events WITH (security_barrier) AS
SELECT event_id, at, action, key_id, acting_key, address, detail
FROM apikey_events WHERE organization = (SELECT console.organization());
COMMENT ON VIEW console.events IS 'changes of API keys';

GRANT SELECT ON ALL TABLES IN SCHEMA console TO console;

-- The order of a view with a security barrier takes all of its rows, not just those of a
-- page; so which keys are on a page is said by a function.

CREATE FUNCTION console.page(before uuid, wanted text, search text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT k.key_id FROM apikey_keys AS k
	WHERE k.organization = (SELECT console.organization())
		AND k.key_id < coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
		AND (wanted IS NULL OR k.status = wanted)
		AND (search IS NULL OR position(lower(search) IN lower(k.label)) > 0
			OR starts_with(k.key, search) OR k.key_id::text = search)
		AND (wanted IS NOT NULL OR search IS NOT NULL OR k.parent_id IS NULL)
	ORDER BY k.key_id DESC LIMIT 26;
END;
COMMENT ON FUNCTION console.page IS 'a page of 25 keys, newest first, and one more if there is another page: those before a key, of a status, with a label or masked key; of all keys, those that are not derived';

CREATE FUNCTION console.derived(id uuid) RETURNS TABLE (key_id uuid, depth int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH RECURSIVE below AS (
		SELECT k.key_id, 1 AS depth, ARRAY[k.key_id] AS path FROM apikey_keys AS k
		WHERE k.organization = (SELECT console.organization())
			AND k.parent_id = (SELECT id FROM console.organization())
		UNION ALL
		SELECT k.key_id, b.depth + 1, b.path || k.key_id
		FROM below AS b JOIN apikey_keys AS k ON k.parent_id = b.key_id)
	SELECT f.key_id, f.depth FROM (SELECT * FROM below LIMIT 200) AS f ORDER BY f.path;
END;
COMMENT ON FUNCTION console.derived IS 'the keys that are derived from one, each below its parent, 200 at most';

-- Functions of the extension, for an operator alone.

CREATE FUNCTION console.create_key(label text, grants jsonb, organization_level apikey_level,
	expires_at timestamptz, allowed_networks cidr[], metadata jsonb, rate_limit text)
RETURNS TABLE (key_id uuid, key text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT c.key_id, c.key FROM console.organization() AS mine,
		apikey_create(mine, label, grants, organization_level, expires_at,
			allowed_networks => allowed_networks, metadata => metadata, rate_limit => rate_limit) AS c;
END;
COMMENT ON FUNCTION console.create_key IS 'as apikey_create';

CREATE FUNCTION console.update_key(key_id uuid, label text, expires_at timestamptz,
	allowed_networks cidr[], metadata jsonb, rate_limit text, organization_level apikey_level,
	remove text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_update(key_id, label => label, expires_at => expires_at,
		allowed_networks => allowed_networks, metadata => metadata, rate_limit => rate_limit,
		organization_level => organization_level, remove => remove)
	FROM console.organization();
END;
COMMENT ON FUNCTION console.update_key IS 'as apikey_update';

CREATE FUNCTION console.grant_key(key_id uuid, project text, environment text, level apikey_level)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_grant(key_id, project, environment, level) FROM console.organization();
END;
COMMENT ON FUNCTION console.grant_key IS 'as apikey_grant';

CREATE FUNCTION console.ungrant_key(key_id uuid, project text, environment text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_ungrant(key_id, project, environment) FROM console.organization();
END;
COMMENT ON FUNCTION console.ungrant_key IS 'as apikey_ungrant';

CREATE FUNCTION console.rotate_key(id uuid, overlap interval) RETURNS TABLE (key_id uuid, key text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT r.key_id, r.key FROM console.organization() AS mine,
		apikey_rotate(CASE WHEN mine IS NOT NULL THEN id END, overlap) AS r;
END;
COMMENT ON FUNCTION console.rotate_key IS 'as apikey_rotate';

CREATE FUNCTION console.finish_rotation(key_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_finish_rotation(key_id) FROM console.organization();
END;
COMMENT ON FUNCTION console.finish_rotation IS 'as apikey_finish_rotation';

CREATE FUNCTION console.cancel_rotation(key_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_cancel_rotation(key_id) FROM console.organization();
END;
COMMENT ON FUNCTION console.cancel_rotation IS 'as apikey_cancel_rotation';

CREATE FUNCTION console.disable_key(key_id uuid, reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_disable(key_id, reason) FROM console.organization();
END;
COMMENT ON FUNCTION console.disable_key IS 'as apikey_disable';

CREATE FUNCTION console.enable_key(key_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_enable(key_id) FROM console.organization();
END;
COMMENT ON FUNCTION console.enable_key IS 'as apikey_enable';

CREATE FUNCTION console.revoke_key(key_id uuid, reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_revoke(key_id, reason) FROM console.organization();
END;
COMMENT ON FUNCTION console.revoke_key IS 'as apikey_revoke';

CREATE FUNCTION console.reach(key_id uuid)
RETURNS TABLE (relation text, project text, environment text, commands text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT r.relation, r.project, r.environment, r.commands
	FROM console.keys AS k, apikey_reach(k.key_id) AS r WHERE k.key_id = $1;
END;
COMMENT ON FUNCTION console.reach IS 'as apikey_reach, of a key in console.keys; else no row';

CREATE FUNCTION console.find_keys(body text)
RETURNS TABLE ("position" int, key text, key_id uuid, label text, status text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT f.position, f.key, f.key_id, k.label, f.status
	FROM console.organization() AS mine,
		apikey_find_keys(CASE WHEN mine IS NOT NULL THEN body END, join_lines => true) AS f
		LEFT JOIN console.keys AS k ON k.key_id = f.key_id;
END;
COMMENT ON FUNCTION console.find_keys IS 'as apikey_find_keys; keys of other organizations are unknown';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA console FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA console TO console;
