-- Two customers to try the console with: the table of ../orders.sql, keys in all states,
-- and use of the last days, made up.  It prints the keys of three operators.
--
--	createdb orders
--	psql -d orders -f sample.sql
--
-- The server must have the extension preloaded.

\set QUIET on
\set ON_ERROR_STOP on
\o /dev/null
\ir ../orders.sql
\ir console.sql
SET search_path = public, apikey;

SELECT apikey_add_project('acme', 'docs', '{production,staging,development}'),
	apikey_add_environment('web', 'staging');

SELECT key_id, key FROM apikey_create('acme', 'Ada, operator',
	'[{"project": "*", "environment": "*", "level": "manage"}]', 'write',
	created_by => 'sign-up', max_derived => 100) \gset ada_
SELECT key_id, key FROM apikey_create('acme', 'Bob, looks only', organization_level => 'read',
	created_by => 'sign-up') \gset bob_
SELECT key_id, key FROM apikey_create('globex', 'Gil, operator',
	'[{"project": "*", "environment": "*", "level": "manage"}]', 'write',
	created_by => 'sign-up') \gset gil_

BEGIN;
SELECT apikey_login(:'ada_key');
SELECT apikey_create('acme', 'sensor ' || to_char(n, 'FM00'),
	'[{"project": "web", "environment": "production", "level": "read"}]', rate_limit => '60 per minute')
FROM generate_series(1, 40) n;
SELECT key_id FROM apikey_create('acme', 'Docs importer',
	'[{"project": "docs", "environment": "staging", "level": "write"}]',
	expires_at => now() + interval '1 day') \gset importer_
SELECT key_id FROM apikey_create('acme', 'Intern''s laptop',
	'[{"project": "web", "environment": "*", "level": "read"}]') \gset laptop_
SELECT key_id FROM apikey_create('acme', 'Old deploy script',
	'[{"project": "*", "environment": "production", "level": "manage"}]') \gset old_
SELECT key_id FROM apikey_create('acme', 'Nightly export',
	'[{"project": "*", "environment": "production", "level": "read"}]', 'read',
	allowed_networks => '{203.0.113.0/24,2001:db8::/32}') \gset export_
SELECT key_id, key FROM apikey_create('acme', 'Order service',
	'[{"project": "shop", "environment": "production", "level": "write"},
	  {"project": "shop", "environment": "development", "level": "manage"}]', max_derived => 20,
	rate_limit => '600 per minute burst 100', metadata => '{"team": "checkout"}') \gset service_
SELECT key_id FROM apikey_create('acme', 'Deploy bot',
	'[{"project": "web", "environment": "production", "level": "write"},
	  {"project": "web", "environment": "staging", "level": "manage"}]',
	expires_at => now() + interval '90 days', metadata => '{"repository": "acme/web"}') \gset bot_
SELECT apikey_rotate(:'bot_key_id', '7 days'),
	apikey_disable(:'laptop_key_id', 'lost on a train'),
	apikey_revoke(:'old_key_id', 'replaced by the deploy bot');
COMMIT;
SELECT apikey_set_budget(:'service_key_id', 100000, '1 month');
SELECT apikey_derive(:'service_key', 'summarize orders',
	'[{"project": "shop", "environment": "production", "level": "read"}]', '1 day'),
	apikey_derive(:'service_key', 'refund 4711', lifetime => '2 hours');

-- as if it had been going on for a while
UPDATE apikey_key SET created_at = created_at - interval '40 days';
UPDATE apikey_key SET expires_at = now() - interval '3 days' WHERE key_id = :'importer_key_id';
INSERT INTO apikey_use_hour
SELECT k.key_id, h, 20 + 300 * (1 + sin(extract(hour FROM h) / 24.0 * 2 * pi() - 2)) * (0.6 + 0.4 * random()),
	CASE WHEN k.label = 'Deploy bot' AND extract(hour FROM h)::int % 7 = 3 THEN 40 * random() ELSE 0 END
FROM apikey_key k, generate_series(date_trunc('hour', now(), 'UTC') - interval '7 days',
	date_trunc('hour', now(), 'UTC') - interval '1 hour', '1 hour') h
WHERE k.label IN ('Deploy bot', 'Order service', 'Nightly export')
	AND (k.label <> 'Nightly export' OR extract(hour FROM h) = 2);
INSERT INTO apikey_use (key_id, uses, refusals, last_used_at, last_used_from, old_secret_used_at)
SELECT key_id, sum(uses), sum(refusals), now() - interval '4 minutes',
	'203.0.113.17', CASE WHEN key_id = :'bot_key_id' THEN clock_timestamp() END
FROM apikey_use_hour GROUP BY key_id;

\o
\pset format unaligned
\pset tuples_only on
SELECT 'acme: may change keys', :'ada_key'
UNION ALL SELECT 'acme: may look', :'bob_key'
UNION ALL SELECT 'globex: may change keys', :'gil_key';
