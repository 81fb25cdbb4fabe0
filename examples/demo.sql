-- Lines that start with a backslash are not shown, see demo.sh.
\pset footer off
\set ON_ERROR_STOP on
SET client_min_messages = warning;
\set ECHO all

\echo
-- 1. A SaaS keeps the orders of all its customers in one table.

CREATE SCHEMA apikey;
GRANT USAGE ON SCHEMA apikey TO PUBLIC;
CREATE EXTENSION apikey SCHEMA apikey CASCADE;
ALTER DATABASE demo SET search_path = public, apikey;
SET search_path = public, apikey;

CREATE TABLE orders (
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	project text NOT NULL,
	environment text NOT NULL,
	item text NOT NULL
);
CREATE INDEX ON orders (project, environment);

INSERT INTO orders (project, environment, item) VALUES
	('web', 'production', 'banner'), ('web', 'development', 'test banner'),
	('shop', 'production', 'shelf'), ('shop', 'development', 'test shelf'),
	('mars', 'production', 'rocket'), ('mars', 'development', 'test rocket');

\echo
-- 2. Which organization each project belongs to; the environments are
--    production and development. From now on each row of the table asks for
--    a key with access to the row's project and environment.

SELECT apikey_add_project('acme', 'web'), apikey_add_project('acme', 'shop'),
	apikey_add_project('globex', 'mars') \g /dev/null

SELECT apikey_protect('orders', 'project', 'environment') \g /dev/null

\echo
-- The application logs in as an ordinary role.
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO app;

\echo
-- 3. Three keys. Each is shown this once: only a salted hash is stored.
--    (\gset keeps the row in psql's variables, dashboard_key and so on.)

SELECT key_id, key FROM apikey_create('acme', 'dashboard',
	'[{"project": "web", "environment": "*", "level": "read"}]') \gset dashboard_

SELECT key_id, key FROM apikey_create('acme', 'deploy bot',
	'[{"project": "*", "environment": "production", "level": "write"}]') \gset bot_

SELECT key_id, key FROM apikey_create('globex', 'globex admin',
	'[{"project": "mars", "environment": "*", "level": "manage"}]') \gset globex_

\echo
\echo 'dashboard:    ':dashboard_key
\echo 'deploy bot:   ':bot_key
\echo 'globex admin: ':globex_key

\echo
-- 4. The application shows each caller the same query on the same table.

\connect - app
\set dashboard :dashboard_key
\set bot :bot_key
\set globex :globex_key
BEGIN;
SELECT label, organization FROM apikey_login(:'dashboard');
SELECT * FROM orders ORDER BY id;
COMMIT;

\echo
BEGIN;
SELECT label, organization FROM apikey_login(:'bot');
SELECT * FROM orders ORDER BY id;
COMMIT;

\echo
BEGIN;
SELECT label, organization FROM apikey_login(:'globex');
SELECT * FROM orders ORDER BY id;
COMMIT;

\echo
-- After COMMIT nobody is logged in, and nothing is seen.
SELECT count(*) FROM orders;

\echo
-- 5. A key that may read may not write ...

\set ON_ERROR_STOP off
BEGIN;
SELECT label FROM apikey_login(:'dashboard');
INSERT INTO orders (project, environment, item) VALUES ('web', 'production', 'poster');
ROLLBACK;
\set ON_ERROR_STOP on

\echo
-- ... and one that may write has its own projects only.
BEGIN;
SELECT label FROM apikey_login(:'bot');
INSERT INTO orders (project, environment, item) VALUES ('web', 'production', 'poster')
	RETURNING *;
UPDATE orders SET item = 'stolen' WHERE project = 'mars' RETURNING *;
COMMIT;

\echo
-- 6. The application can ask directly, too: what may which key do where?

SELECT project, environment,
	(SELECT string_agg(verb, ' ') FROM unnest('{read,write,manage}'::text[]) verb
		WHERE apikey_authorize(:'dashboard', project, environment, verb)) AS dashboard,
	(SELECT string_agg(verb, ' ') FROM unnest('{read,write,manage}'::text[]) verb
		WHERE apikey_authorize(:'bot', project, environment, verb)) AS "deploy bot",
	(SELECT string_agg(verb, ' ') FROM unnest('{read,write,manage}'::text[]) verb
		WHERE apikey_authorize(:'globex', project, environment, verb)) AS "globex admin"
FROM unnest('{web,shop,mars}'::text[]) project,
	unnest('{production,development}'::text[]) environment;

\echo
SELECT * FROM apikey_explain(:'bot', 'shop', 'production', 'DELETE');

\echo
-- 7. The dashboard gets a new secret. The old one works for a day more, so that
--    there is time to put the new one in its place.

\connect - postgres
\pset footer off
SELECT key FROM apikey_rotate(:'dashboard_key_id', '1 day') \gset new_

\connect - app
SELECT apikey_authorize(:'dashboard', 'web', 'production', 'read') AS old,
	apikey_authorize(:'new_key', 'web', 'production', 'read') AS new;

\echo
-- 8. The administrator revokes the deploy bot's key. It is refused at once,
--    in every connection.

\connect - postgres
\pset footer off
SELECT apikey_revoke(:'bot_key_id') \g /dev/null

SELECT label, organization, key, status FROM apikey_keys ORDER BY label;

\connect - app
SELECT apikey_authorize(:'bot', 'web', 'production', 'read');

SELECT * FROM apikey_explain(:'bot', 'web', 'production', 'read');

\set ON_ERROR_STOP off
SELECT label FROM apikey_login(:'bot');
\set ON_ERROR_STOP on

\echo
-- 9. The dashboard may log in twice a minute now. What is more is refused, and told
--    in how many seconds to come back.

\connect - postgres
\pset footer off
SELECT apikey_update(:'dashboard_key_id', rate_limit => '2 per minute') \g /dev/null

\connect - app
BEGIN;
SELECT label FROM apikey_login(:'dashboard');
COMMIT;
BEGIN;
SELECT label FROM apikey_login(:'new_key');
COMMIT;
\set ON_ERROR_STOP off
BEGIN;
SELECT label FROM apikey_login(:'dashboard');
ROLLBACK;
\set ON_ERROR_STOP on

\echo
-- 10. Which keys are in use, and which could go? (Statements are counted.)

\connect - postgres
\pset footer off
SELECT label, uses, refusals, last_used_at IS NOT NULL AS used FROM apikey_usage ORDER BY label;

\echo
-- 11. What has happened is in the history, and stays there.

\connect - postgres
\pset footer off
SELECT action, label, role, detail FROM apikey_events LEFT JOIN apikey_keys USING (key_id)
WHERE action IN ('rotate', 'revoke') ORDER BY at;
\echo
