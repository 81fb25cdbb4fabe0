\a \t
-- apikey_update: null changes nothing; what shall go is named.
SET apikey.client_address = '10.1.2.3';
SELECT apikey_add_project('n_acme', 'n_web');
SELECT key_id, key FROM apikey_create('n_acme', 'old', '[{"project": "n_web", "environment": "production", "level": "write"}]', organization_level => 'read',
	expires_at => '2100-01-01 00:00+00', created_by => 'alice', allowed_networks => '{10.0.0.0/8}', metadata => '{"a": 1}') \gset
SET TimeZone = 'UTC';
CREATE FUNCTION n_row(id uuid) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', label, coalesce(expires_at::text, '-'), coalesce(created_by, '-'), coalesce(allowed_networks::text, '-'), metadata) FROM apikey_keys WHERE key_id = id
$$;
CREATE FUNCTION n_look(key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', apikey_authorize(key, 'n_web', 'production', 'write'), apikey_projects_of(key, 'read'),
		(SELECT label FROM apikey_verify(key)), '(' || (apikey_explain(key, 'n_web', 'production', 'write')).reason || ')')
$$;
-- what a call makes of the row, undone if "undo"; "ID" stands for the id
CREATE FUNCTION n_update(arguments text, id uuid, undo boolean DEFAULT true) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
	detail text;
BEGIN
	EXECUTE 'SELECT apikey_update(' || concat_ws(', ', quote_literal(id), nullif(arguments, '')) || ')';
	said = n_row(id);
	IF NOT undo THEN
		RETURN said;
	END IF;
	RAISE EXCEPTION USING MESSAGE = said, ERRCODE = 'P0001';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN replace(CASE SQLSTATE WHEN 'P0001' THEN SQLERRM ELSE concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, '')) END, id::text, 'ID');
END $$;
SELECT n_row(:'key_id'), n_look(:'key');
CREATE TEMP TABLE n_before AS SELECT k::text FROM apikey_key k WHERE key_id = :'key_id' UNION ALL SELECT g::text FROM apikey_grant g WHERE key_id = :'key_id';
CREATE FUNCTION n_changed(id uuid) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (SELECT k::text FROM apikey_key k WHERE key_id = id UNION ALL SELECT g::text FROM apikey_grant g WHERE key_id = id) AS now
		FULL JOIN n_before b USING (k) WHERE now.k IS NULL OR b.k IS NULL
$$;

-- each alone, and its null
SELECT a.arguments, n_update(a.arguments, :'key_id') FROM unnest(array[
	'', 'label => ''new''', 'expires_at => ''2200-01-01''', 'created_by => ''bob''', 'allowed_networks => ''{192.0.2.0/24,::1}''', 'metadata => ''{"b": 2}''',
	'label => NULL', 'expires_at => NULL', 'created_by => NULL', 'allowed_networks => NULL', 'metadata => NULL', 'remove => NULL', 'NULL, NULL, NULL, NULL, NULL, NULL, NULL',
	'label => ''new'', expires_at => NULL, allowed_networks => NULL, rate_limit => NULL',
-- what shall go
	'remove => ''{}''', 'remove => ''{expires_at}''', 'remove => ''{created_by}''', 'remove => ''{allowed_networks}''', 'remove => ''{metadata}''', 'remove => ''{rate_limit}''',
	'remove => ''{expires_at,created_by,allowed_networks,metadata,rate_limit}''', 'remove => ''{expires_at,expires_at}''', 'label => ''new'', remove => ''{expires_at}''', 'remove => ''{{expires_at},{metadata}}''',
	'remove => ''{label}''', 'remove => ''{key_id}''', 'remove => ''{organization_level}''', 'remove => ''{expires_at,""}''', 'remove => ''{Expires_At}''', 'remove => ''{NULL}''', 'remove => ''{metadata,"expires_at "}''',
	'expires_at => ''2200-01-01'', remove => ''{expires_at}''', 'label => ''new'', metadata => ''{"b": 2}'', remove => ''{expires_at,metadata}''', 'created_by => ''bob'', remove => ''{metadata,expires_at}''',
-- values that are not usual
	'label => E''\n''', 'expires_at => ''-infinity''', 'created_by => E''\n''', 'allowed_networks => ''{NULL}''', 'metadata => ''"\n"''', 'label => E''a\n''', 'created_by => ''''',
	'expires_at => ''infinity''', 'metadata => ''["\n"]''', 'metadata => ''"x"''', 'metadata => ''null''', 'metadata => ''[]''', 'metadata => ''42''',
-- what makes no sense
	'label => ''''', 'label => E'' \t\n ''', 'expires_at => ''2001-01-01''', 'expires_at => statement_timestamp()', 'expires_at => statement_timestamp() - interval ''1 us''',
	'allowed_networks => ''{}''', 'allowed_networks => ''{NULL,NULL}''', 'allowed_networks => ''{10.0.0.0/8,NULL}''', 'allowed_networks => ''{NULL,10.0.0.0/8}''', 'allowed_networks => ''{10.0.0.1/8}''',
	'allowed_networks => ''{{10.0.0.0/8},{::/0}}''', 'allowed_networks => ''{0.0.0.0/0,::/0}''',
-- all, in order and by name; wrong ones store nothing
	'''new'', ''2200-01-01'', ''bob'', ''{::1}'', ''{"b": 2}''', 'remove => ''{expires_at,created_by}'', metadata => ''{}'', allowed_networks => ''{::1}'', label => ''new''',
	'label => ''new'', expires_at => ''2001-01-01''', 'label => ''new'', allowed_networks => ''{}''', 'label => '''', created_by => ''bob''']) WITH ORDINALITY a (arguments, n) ORDER BY n;
SELECT n_changed(:'key_id');
SELECT call, attempt('SELECT ' || call) FROM (VALUES
	('apikey_update(NULL)'), ('apikey_update(NULL, ''x'')'), ('apikey_update(''00000000-0000-0000-0000-000000000000'')'),
	('apikey_update(''00000000-0000-0000-0000-000000000000'', label => ''x'')'), ('apikey_update(NULL, label => '''')'), ('apikey_update(''x'')')) AS t (call);

-- nothing to change: no new row, and no cache is emptied
SELECT n_look(:'key') AS warm;
SELECT builds AS builds, flushes AS flushes FROM apikey_cache_stats() \gset
SELECT xmin AS row_of FROM apikey_key WHERE key_id = :'key_id' \gset
SELECT apikey_update(:'key_id');
SELECT apikey_update(:'key_id', NULL, NULL, NULL, NULL, NULL, NULL, NULL), apikey_update(:'key_id', remove => '{rate_limit}');
SELECT apikey_update(:'key_id', label => 'old', expires_at => '2100-01-01 00:00+00', created_by => 'alice', allowed_networks => '{10.0.0.0/8}', metadata => '{"a": 1}');
SELECT n_look(:'key') AS warm;
SELECT builds = :builds AS not_read_again, flushes = :flushes AS not_flushed, (SELECT xmin = :'row_of' FROM apikey_key WHERE key_id = :'key_id') AS same_row FROM apikey_cache_stats();
SELECT count(*) AS events FROM apikey_events WHERE key_id = :'key_id' AND action = 'update';

-- for good: what is shown, and what else the key is
SELECT n_update('label => ''new''', :'key_id', false), label FROM apikey_verify(:'key');
SELECT label FROM apikey_verify(:'key');
SELECT n_update('metadata => ''{"b": [2]}''', :'key_id', false);
SELECT n_update('created_by => ''bob''', :'key_id', false) AS transferred;
SELECT created_by, metadata, organization_level FROM apikey_verify(:'key');
SELECT n_update('remove => ''{metadata,created_by}''', :'key_id', false) AS nobody_s;
SELECT created_by, metadata, organization_level FROM apikey_verify(:'key');
SELECT project, environment, level FROM apikey_grants WHERE key_id = :'key_id';
SELECT action, detail FROM apikey_events WHERE key_id = :'key_id' AND action = 'update' ORDER BY at;
-- the history does not depend on how the session prints times
BEGIN;
SET LOCAL DateStyle = 'SQL, DMY';
SELECT apikey_update(:'key_id', expires_at => '2100-03-04 05:06:07+00');
SELECT detail FROM apikey_events WHERE key_id = :'key_id' ORDER BY at DESC LIMIT 1;
SELECT apikey_update(:'key_id', expires_at => 'infinity');
SELECT detail FROM apikey_events WHERE key_id = :'key_id' ORDER BY at DESC LIMIT 1;
ROLLBACK;

-- expiry: earlier, by the clock; revived; never
SELECT apikey_update(:'key_id', expires_at => clock_timestamp() + '1.5 s');
SELECT n_look(:'key');
SELECT pg_sleep(1.6);
SELECT n_look(:'key'), status FROM apikey_keys WHERE key_id = :'key_id';
SELECT apikey_update(:'key_id', label => 'still expired');
SELECT n_look(:'key');
SELECT apikey_update(:'key_id', expires_at => now() + '1 hour');
SELECT n_look(:'key'), status FROM apikey_keys WHERE key_id = :'key_id';
UPDATE apikey_key SET expires_at = statement_timestamp() WHERE key_id = :'key_id';
SELECT n_look(:'key');
SELECT apikey_update(:'key_id', remove => '{expires_at}');
SELECT n_look(:'key'), expires_at FROM apikey_keys WHERE key_id = :'key_id';
SELECT apikey_update(:'key_id', expires_at => 'infinity');
SELECT n_look(:'key'), expires_at, status FROM apikey_keys WHERE key_id = :'key_id';

-- networks: narrowed, at the next statement, however it asks
SET plan_cache_mode = force_generic_plan;
PREPARE n_may (text) AS SELECT apikey_authorize($1, 'n_web', 'production', 'write');
EXECUTE n_may (:'key');
SELECT apikey_update(:'key_id', allowed_networks => '{192.0.2.0/24}');
EXECUTE n_may (:'key');
SELECT n_look(:'key'), attempt(format('SELECT apikey_login(%L)', :'key'));
SELECT apikey_update(:'key_id', allowed_networks => '{192.0.2.0/24,10.1.2.3/32}');
EXECUTE n_may (:'key');
SELECT apikey_update(:'key_id', allowed_networks => '{10.1.2.4/32}');
EXECUTE n_may (:'key');
SELECT apikey_update(:'key_id', remove => '{allowed_networks}');
EXECUTE n_may (:'key');
SELECT apikey_update(:'key_id', allowed_networks => '{0.0.0.0/0}');
EXECUTE n_may (:'key');
SELECT apikey_update(:'key_id', allowed_networks => '{::/0}');
EXECUTE n_may (:'key');
-- a client on a Unix socket is in no network
SELECT apikey_update(:'key_id', allowed_networks => '{0.0.0.0/0,::/0}');
EXECUTE n_may (:'key');
RESET apikey.client_address;
EXECUTE n_may (:'key') \gset
SELECT :'apikey_authorize' = (inet_client_addr() IS NOT NULL) AS right_verdict;
SELECT apikey_update(:'key_id', remove => '{allowed_networks}');
EXECUTE n_may (:'key');
SET apikey.client_address = '10.1.2.3';
DEALLOCATE n_may;
RESET plan_cache_mode;

-- rolled back: as before, however warm
CREATE FUNCTION n_undone(arguments text, id uuid, key text, OUT before text, OUT within text, OUT after text) LANGUAGE plpgsql AS $$
BEGIN
	before = n_look(key);
	BEGIN
		EXECUTE 'SELECT apikey_update(' || quote_literal(id) || ', ' || arguments || ')';
		within = n_look(key);
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	after = CASE n_look(key) WHEN before THEN 'as before' ELSE n_look(key) END;
END $$;
SELECT arguments, u.* FROM unnest(array['allowed_networks => ''{192.0.2.0/24}''', 'label => ''other''', 'allowed_networks => ''{10.1.0.0/16}'', label => ''here''']) arguments,
	n_undone(arguments, :'key_id', :'key') u;
BEGIN;
SELECT apikey_update(:'key_id', allowed_networks => '{192.0.2.0/24}');
SELECT n_look(:'key');
SAVEPOINT s;
SELECT apikey_update(:'key_id', remove => '{allowed_networks}');
SELECT n_look(:'key');
ROLLBACK TO s;
SELECT n_look(:'key');
ROLLBACK;
SELECT n_look(:'key');
UPDATE apikey_key SET expires_at = statement_timestamp() WHERE key_id = :'key_id';
BEGIN;
SELECT apikey_update(:'key_id', expires_at => now() + '1 hour');
SELECT n_look(:'key');
ROLLBACK;
SELECT n_look(:'key');
SELECT apikey_update(:'key_id', remove => '{expires_at}');
BEGIN READ ONLY;
SELECT left(attempt(format('SELECT apikey_update(%L, label => ''x'')', :'key_id')), 5), n_look(:'key');
COMMIT;

-- disabled keys can be changed, revoked ones cannot
SELECT apikey_disable(:'key_id');
SELECT n_update('label => ''while disabled''', :'key_id', false), n_look(:'key');
SELECT apikey_enable(:'key_id');
SELECT n_look(:'key');
SELECT apikey_revoke(:'key_id');
SELECT n_update('label => ''x''', :'key_id') AS label, n_update('', :'key_id') AS nothing, n_update('remove => ''{expires_at}''', :'key_id') AS expiry, n_row(:'key_id'), n_look(:'key');

-- many at once, some of them twice
SELECT count(apikey_update(k.key_id, label => 'device ' || i)) FROM generate_series(1, 20) i, apikey_create('n_acme', 'many ' || i) k;
SELECT count(apikey_update(key_id, metadata => jsonb_build_object('i', i))) FROM apikey_keys, generate_series(1, 2) i WHERE label LIKE 'device %' AND organization = 'n_acme';
SELECT count(*), min(metadata::text), max(metadata::text) FROM apikey_keys WHERE label LIKE 'device %' AND organization = 'n_acme';

-- grants as a whole, and the organization level: what changes is recorded as by the functions for one of them
SELECT apikey_add_project('n_acme', 'n_more'), apikey_add_project('n_other', 'n_mars');
SELECT key_id AS set_id, key AS set_key FROM apikey_create('n_acme', 'set', '[{"project": "n_web", "environment": "production", "level": "read"},
	{"project": "n_web", "environment": "*", "level": "read"}]', max_derived => 1) \gset
SELECT key_id AS derived_id FROM apikey_derive(:'set_key', 'derived') \gset
CREATE FUNCTION n_set(arguments text, id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before uuid[] = ARRAY(SELECT event_id FROM apikey_events WHERE key_id = id);
	detail text;
BEGIN
	EXECUTE format('SELECT apikey_update(%L, %s)', id, arguments);
	RETURN concat_ws('; ', (SELECT concat_ws(', ', coalesce(organization_level::text, 'none'), (SELECT string_agg(concat_ws('/', project, environment, level), ', ' ORDER BY project, environment)
			FROM apikey_grants WHERE key_id = id)) FROM apikey_keys WHERE key_id = id),
		(SELECT 'events: ' || string_agg(action || ' ' || e.detail, ', ' ORDER BY event_id) FROM apikey_events e WHERE key_id = id AND event_id <> ALL (before)));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN replace(concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, '')), id::text, 'ID');
END $$;
SELECT arguments, n_set(arguments, :'set_id') FROM unnest(ARRAY['grants => NULL', 'grants => ''[{"project": "n_web", "environment": "production", "level": "read"}, {"project": "n_web", "environment": "*", "level": "read"}]''',
	'grants => ''[{"project": "n_web", "environment": "production", "level": "manage"}, {"project": "*", "environment": "*", "level": "read"}]''',
	'label => ''new'', organization_level => ''read'', grants => ''[{"project": "n_more", "environment": "*", "level": "write"}]''', 'organization_level => ''read''',
	'organization_level => ''write'', remove => ''{organization_level}''', 'organization_level => ''manage''', 'remove => ''{grants}''',
	'label => ''x'', grants => ''[{"project": "n_web", "environment": "*", "level": "read"}, {"project": "n_mars", "environment": "*", "level": "read"}]''',
	'label => ''x'', grants => ''[{"project": "n_web", "environment": "none", "level": "read"}]''', 'grants => ''{}''', 'grants => ''[{"project": "n_web"}]''',
	'grants => ''[{"project": "n_web", "environment": "*", "level": "read"}, {"project": "n_web", "environment": "*", "level": "write"}]''',
	'remove => ''{organization_level}''', 'remove => ''{organization_level}''', 'grants => ''[]''', 'grants => to_jsonb(''[{"project": "n_web", "environment": "*", "level": "manage"}]''::text)'])
	WITH ORDINALITY a (arguments, n) ORDER BY n;
SELECT label, apikey_authorize(:'set_key', 'n_web', 'production', 'manage') FROM apikey_keys WHERE key_id = :'set_id';
SELECT n_set('grants => ''[]''', :'derived_id') AS derived, n_set('organization_level => ''read''', :'derived_id');
SELECT apikey_revoke(:'set_id');
SELECT n_set('grants => ''[]''', :'set_id') AS revoked, n_set('remove => ''{organization_level}''', :'set_id');
-- a trigger of somebody's keeps nothing
SELECT key_id AS kept_id FROM apikey_create('n_acme', 'kept', '[{"project": "n_web", "environment": "*", "level": "read"}]') \gset
CREATE FUNCTION n_keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER n_keep BEFORE DELETE ON apikey_grant FOR EACH ROW EXECUTE FUNCTION n_keep();
SELECT n_set('grants => ''[]''', :'kept_id');
DROP TRIGGER n_keep ON apikey_grant;

DROP FUNCTION n_row, n_look, n_update, n_changed, n_undone, n_set, n_keep;
DROP TABLE n_before;
DELETE FROM apikey_key WHERE organization LIKE 'n\_%';
DELETE FROM apikey_project WHERE organization LIKE 'n\_%';
RESET TimeZone;
RESET apikey.client_address;
