-- What the applications in stacks/ work on: a table of orders under apikey, and the role
-- that they connect as.
--
--	createdb orders
--	psql -d orders -f orders.sql
--
-- It prints four keys to try.

\set ON_ERROR_STOP on
\if :{?role}
\else
	\set role app
\endif
SET client_min_messages = warning;

CREATE SCHEMA apikey;
GRANT USAGE ON SCHEMA apikey TO PUBLIC;
CREATE EXTENSION apikey SCHEMA apikey CASCADE;
ALTER DATABASE :"DBNAME" SET search_path = public, apikey;
SET search_path = public, apikey;

CREATE TABLE orders (
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	project text NOT NULL,
	environment text NOT NULL,
	item text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON orders (project, created_at, id);
INSERT INTO orders (project, environment, item) VALUES
	('web', 'production', 'banner'), ('web', 'development', 'test banner'),
	('shop', 'production', 'shelf'), ('mars', 'production', 'rocket');

CREATE ROLE :"role" LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO :"role";
-- Whoever logs in with a delegate manages the keys of its organization.
GRANT EXECUTE ON FUNCTION apikey_create, apikey_rotate, apikey_revoke TO :"role";
GRANT SELECT ON apikey_keys, apikey_grants TO :"role";

SELECT apikey_add_project('acme', 'web'), apikey_add_project('acme', 'shop'),
	apikey_add_project('globex', 'mars') \g /dev/null
SELECT apikey_protect('orders', 'project', 'environment') \g /dev/null

SELECT 'reader' AS name, key_id, key FROM apikey_create('acme', 'reader',
	'[{"project": "web", "environment": "*", "level": "read"}]')
UNION ALL
SELECT 'writer', key_id, key FROM apikey_create('acme', 'writer',
	'[{"project": "*", "environment": "production", "level": "write"}]')
UNION ALL
SELECT 'globex', key_id, key FROM apikey_create('globex', 'globex',
	'[{"project": "mars", "environment": "*", "level": "manage"}]')
UNION ALL
SELECT 'delegate', key_id, key FROM apikey_create('acme', 'delegate',
	'[{"project": "web", "environment": "*", "level": "write"}]', 'write');
