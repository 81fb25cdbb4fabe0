\a \t
-- Issuing keys.
SELECT apikey_add_project('c_acme', 'c_web'), apikey_add_project('c_globex', 'c_mars');

-- the form of a key
SELECT key_id, key FROM apikey_create('c_acme', 'first') \gset
SELECT :'key' ~ '^apk_[0-9A-Za-z]{71}$' AS form,
	substr(:'key', 5, 22) = base62(uuid_send(:'key_id'), 22) AS id,
	:'key' = token('apk', :'key_id', substr(:'key', 27, 43)) AS checksum,
	substr(:'key_id', 15, 1) AS uuid_version,
	to_timestamp(('x' || translate(left(:'key_id', 13), '-', ''))::bit(48)::bigint / 1000.0)
		BETWEEN now() - interval '1 minute' AND clock_timestamp() AS made_now;
SELECT key = substr(:'key', 1, 26) || '…' AS masked, status, organization, label,
	organization_level, expires_at, created_at = now() AS just_now, created_by,
	allowed_networks, metadata
FROM apikey_keys WHERE key_id = :'key_id';

-- everything that can be said of one
SELECT key_id AS full_id, key AS full_key FROM apikey_create(
	organization => 'c_acme', label => E'it''s "new"\n→ ключ', grants => '[
		{"level": "manage", "environment": "production", "project": "c_web"},
		{"project": "*", "environment": "development", "level": "read"},
		{"project": "*", "environment": "*", "level": "read"}]',
	organization_level => 'read', expires_at => '2100-01-01 00:00+00', created_by => 'user 7',
	allowed_networks => '{10.0.0.0/8,2001:db8::/32}', metadata => '{"team": ["a"]}', prefix => 'acme_live2') \gset
SELECT substr(:'full_key', 1, 11) AS prefix, label, organization_level, expires_at AT TIME ZONE 'UTC' AS expires_at,
	created_by, allowed_networks, metadata
FROM apikey_keys WHERE key_id = :'full_id';
SELECT project, environment, level, organization FROM apikey_grants WHERE key_id = :'full_id'
ORDER BY 1, 2;
SELECT key_id, key FROM apikey_create('c_acme', 'bare', expires_at => 'infinity') \gset
SELECT expires_at, status FROM apikey_keys WHERE key_id = :'key_id';
SET apikey.prefix = 'zz';
SELECT substr(key, 1, 3) FROM apikey_create('c_acme', 'prefixed');
RESET apikey.prefix;
SELECT attempt($$SET apikey.prefix = 'Zz'$$), attempt($$SET apikey.prefix = ''$$);
-- a prefix of another vendor's
SET apikey.prefix = 'sk_live';
RESET apikey.prefix;
\set VERBOSITY sqlstate
BEGIN;
SET LOCAL apikey.prefix = 'glpat';
SELECT 1 FROM apikey_create('c_acme', 'default');
ROLLBACK;
\set VERBOSITY default
ALTER ROLE CURRENT_USER SET apikey.prefix = 'github_pat';
ALTER ROLE CURRENT_USER RESET apikey.prefix;
SELECT left(key, length(prefix) + 1) FROM unnest(array['ghp', 'xoxb', 'xoxs', 'aio', 'acme_sk_live', 'sk_live_acme', 'my_ghp', 'acme_live', 'acme_hf', 'sk', 'zz']) prefix, apikey_create('c_acme', 'vendor', prefix => prefix);

-- what makes no sense
SELECT call, attempt('SELECT apikey_create(' || call || ')') FROM (VALUES
	($$NULL::text, 'x'$$), ($$'', 'x'$$), ($$repeat('x', 513), 'x'$$),
	($$'c_acme', NULL$$), ($$'c_acme', ''$$), ($$'c_acme', E' \t\n'$$),
	($$'c_acme', 'x', organization_level => 'manage'$$),
	($$'c_acme', 'x', organization_level => 'admin'$$),
	($$'c_acme', 'x', expires_at => now()$$), ($$'c_acme', 'x', expires_at => '-infinity'$$),
	($$'c_acme', 'x', allowed_networks => '{}'$$), ($$'c_acme', 'x', allowed_networks => '{NULL}'$$),
	($$'c_acme', 'x', prefix => ''$$), ($$'c_acme', 'x', prefix => 'Abc'$$),
	($$'c_acme', 'x', prefix => '1a'$$), ($$'c_acme', 'x', prefix => 'a-b'$$),
	($$'c_acme', 'x', prefix => repeat('a', 33)$$)) AS t (call);
SELECT grants, attempt(format('SELECT apikey_create(%L, %L, %L)', 'c_acme', 'x', grants)) FROM (VALUES
	(NULL), ('{}'), ('"c_web"'), ('null'), ('7'), ('[7]'), ('[null]'), ('[[]]'), ('[{}]'),
	('[{"project": "c_web", "environment": "production"}]'),
	('[{"project": "c_web", "level": "read"}]'),
	('[{"project": "c_web", "environment": "production", "level": "read"}, {"environment": "production", "level": "read"}]'),
	('[{"project": "c_web", "environment": "production", "level": "read", "extra": 1}]'),
	('[{"project": null, "environment": "production", "level": "read"}]'),
	('[{"project": ["c_web"], "environment": "production", "level": "read"}]'),
	('[{"project": "", "environment": "production", "level": "read"}]'),
	('[{"project": "c_web", "environment": true, "level": "read"}]'),
	('[{"project": "c_web", "environment": "production", "level": "admin"}]'),
	('[{"project": "c_web", "environment": "production", "level": "READ"}]'),
	('[{"project": "c_web", "environment": "production", "level": null}]'),
	('[{"project": "c_none", "environment": "production", "level": "read"}]'),
	('[{"project": "c_mars", "environment": "production", "level": "read"}]'),
	('[{"project": "c_web", "environment": "none", "level": "read"}]'),
	('[{"project": "c_web", "environment": "production", "level": "read"}, {"project": "c_web", "environment": "production", "level": "write"}]'),
	('[{"project": "*", "environment": "*", "level": "read"}, {"project": "*", "environment": "*", "level": "read"}]'),
	('[')) AS t (grants);
SELECT attempt($$SELECT apikey_create('c_acme', 'x', jsonb_build_array(jsonb_build_object(
	'project', repeat('p', 513), 'environment', 'production', 'level', 'read')))$$);
-- some drivers make a JSON string of JSON text: it stands for what it holds
SELECT key_id FROM apikey_create('c_acme', 'quoted', to_jsonb('[{"project": "c_web", "environment": "*", "level": "write"}]'::text),
	metadata => to_jsonb('{"team": ["a"]}'::text)) \gset
SELECT project, environment, level, metadata, detail FROM apikey_grants JOIN apikey_keys USING (key_id) JOIN apikey_events USING (key_id)
WHERE key_id = :'key_id';
SELECT apikey_update(:'key_id', metadata => to_jsonb('{"team": ["b"]}'::text));
SELECT metadata FROM apikey_keys WHERE key_id = :'key_id';
SELECT detail FROM apikey_events WHERE key_id = :'key_id' AND action = 'update';
SELECT apikey_import('c_acme', 'quoted', 'sha256', repeat('0', 64), grants => to_jsonb(' [{"project": "c_web", "environment": "production", "level": "read"}]'::text),
	metadata => to_jsonb('{}'::text)) AS key_id \gset
SELECT project, environment, level, metadata FROM apikey_grants JOIN apikey_keys USING (key_id) WHERE key_id = :'key_id';
SELECT grants, attempt(format('SELECT apikey_create(%L, %L, %L)', 'c_acme', 'x', to_jsonb(grants))) FROM (VALUES
	(''), ('['), ('c_web'), ('null'), ('7'), ('{}'), ('"[]"'), ('[7]'), ('[{}]'), ('[{"project": "\u0000"}]')) AS t (grants);
SELECT count(key) FROM (VALUES (''), ('{'), ('team'), ('null'), ('7'), ('[]'), ('{"a": "\u0000"}'), ('"{}"')) AS t (given),
	apikey_create('c_acme', 'given ' || given, metadata => to_jsonb(given));
SELECT label, metadata FROM apikey_keys WHERE label LIKE 'given %' ORDER BY label;
SELECT count(*) AS stored FROM apikey_keys WHERE label = 'x';

-- very many grants; very many keys, each its own
SELECT count(apikey_add_project('c_big', 'c_' || i)) FROM generate_series(1, 5000) i;
SELECT key AS big FROM apikey_create('c_big', 'big', (SELECT jsonb_agg(jsonb_build_object(
	'project', 'c_' || i, 'environment', e, 'level', 'read'))
	FROM generate_series(1, 5000) i, (VALUES ('production'), ('development')) AS t (e))) \gset
SELECT count(*), count(*) FILTER (WHERE apikey_authorize(:'big', 'c_' || i, 'production', 'read')) AS production,
	count(*) FILTER (WHERE apikey_authorize(:'big', 'c_' || i, 'production', 'write')) AS writes
FROM generate_series(0, 5000) i;
SELECT cardinality(apikey_projects_of(:'big', 'read'));
CREATE TEMP TABLE many AS SELECT k.* FROM generate_series(1, 1000) i, apikey_create('c_acme', 'many ' || i) k;
SELECT count(DISTINCT key_id), count(DISTINCT key),
	count(*) FILTER (WHERE (apikey_explain(key, 'a', 'b', 'read')).reason <> 'invalid key') AS work
FROM many;

-- nothing that is stored or shown holds the secret, or what would give it away
SELECT substr(:'full_key', 34, 43) AS secret, :'full_key' AS whole \gset
CREATE TEMP TABLE clue AS SELECT clue FROM (VALUES (:'secret'), (:'whole'),
	(encode(sha256(convert_to(:'whole', 'UTF8')), 'hex')),
	(encode(sha256(convert_to(:'whole', 'UTF8')), 'base64')),
	(encode(sha256(convert_to(:'secret', 'UTF8')), 'hex'))) AS t (clue);
SELECT relation, found FROM (
	SELECT c.oid::regclass AS relation, (xpath('//f/text()', query_to_xml(format(
		'SELECT count(*) AS f FROM %s r, clue WHERE strpos(r::text, clue) > 0', c.oid::regclass),
		true, true, '')))[1]::text::int AS found
	FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
	JOIN pg_extension e ON e.oid = d.refobjid AND extname = 'apikey'
	WHERE d.refclassid = 'pg_extension'::regclass AND relkind IN ('r', 'v')
		AND relname NOT IN ('apikey_usage', 'apikey_usage_hours', 'apikey_guesses')) AS t
WHERE found <> 0;
-- and no view shows a salt or a verifier
SELECT relation FROM (
	SELECT v.oid::regclass AS relation, (xpath('//f/text()', query_to_xml(format(
		'SELECT count(*) AS f FROM %s r, apikey_key k WHERE k.key_id = %L AND (strpos(r::text, encode(k.salt, ''hex'')) > 0
			OR strpos(r::text, encode(k.verifier, ''hex'')) > 0)', v.oid::regclass, :'full_id'), true, true, '')))[1]::text::int AS found
	FROM pg_class v WHERE relname IN ('apikey_keys', 'apikey_grants', 'apikey_protected')) AS t
WHERE found <> 0;

-- which would have been found: the table itself has them
SELECT count(*) FROM apikey_key r, apikey_key k WHERE k.key_id = :'full_id' AND strpos(r::text, encode(k.salt, 'hex')) > 0;

DROP TABLE many, clue;
DELETE FROM apikey_key WHERE organization LIKE 'c\_%';
DELETE FROM apikey_project WHERE organization LIKE 'c\_%';
