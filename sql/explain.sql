\a \t
-- apikey_explain: the verdict of apikey_authorize, and why.
SELECT apikey_add_project('e_acme', 'e_web', '{production,staging}'), apikey_add_project('e_acme', 'e_shop', '{production}'),
	apikey_add_project('e_acme', 'e_bare', '{gone}'), apikey_add_project('e_globex', 'e_mars');
SELECT apikey_remove_environment('e_bare', 'gone');
CREATE TABLE e_key (name text PRIMARY KEY, key_id uuid, key text);
INSERT INTO e_key SELECT name, k.* FROM (VALUES
	('nothing', '[]'),
	('read', '[{"project": "e_web", "environment": "production", "level": "read"}]'),
	('write', '[{"project": "e_web", "environment": "production", "level": "write"}]'),
	('manage', '[{"project": "e_web", "environment": "production", "level": "manage"}]'),
	('highest', '[{"project": "e_web", "environment": "production", "level": "read"}, {"project": "e_web", "environment": "*", "level": "write"},
		{"project": "*", "environment": "staging", "level": "manage"}]'),
	('all', '[{"project": "*", "environment": "*", "level": "manage"}]'),
	('disabled', '[{"project": "*", "environment": "*", "level": "manage"}]'),
	('revoked', '[{"project": "*", "environment": "*", "level": "manage"}]'),
	('expired', '[{"project": "*", "environment": "*", "level": "manage"}]'),
	('deleted', '[{"project": "*", "environment": "*", "level": "manage"}]')) AS t (name, grants),
	LATERAL apikey_create('e_acme', name, grants::jsonb) k;
INSERT INTO e_key SELECT 'organization', * FROM apikey_create('e_acme', 'organization', organization_level => 'write');
INSERT INTO e_key SELECT 'elsewhere', * FROM apikey_create('e_acme', 'elsewhere', '[{"project": "*", "environment": "*", "level": "manage"}]',
	allowed_networks => '{203.0.113.7}');
UPDATE apikey_key SET expires_at = now() - interval '1 s' WHERE key_id = (SELECT key_id FROM e_key WHERE name = 'expired');
SELECT name, apikey_disable(key_id) FROM e_key WHERE name = 'disabled';
SELECT name, apikey_revoke(key_id) FROM e_key WHERE name = 'revoked';
SELECT name, apikey_delete(key_id) FROM e_key WHERE name = 'deleted';
-- what never was a good key: by text, by checksum, by id, by secret
INSERT INTO e_key (name, key) VALUES ('null', NULL), ('empty', ''), ('text', 'secret'), ('megabyte', repeat('x', 1000000)),
	('unknown', token('apk', '00000000-0000-4000-8000-00000000000e', repeat('0', 43)));
INSERT INTO e_key (name, key) SELECT 'checksum', left(key, -1) || CASE right(key, 1) WHEN '0' THEN '1' ELSE '0' END FROM e_key WHERE name = 'all';
INSERT INTO e_key (name, key) SELECT 'secret', token('apk', key_id, repeat('0', 43)) FROM e_key WHERE name = 'all';
INSERT INTO e_key (name, key) SELECT 'secret of a revoked key', token('apk', key_id, repeat('0', 43)) FROM e_key WHERE name = 'revoked';
INSERT INTO e_key (name, key) SELECT 'prefix', token('other', key_id, substr(key, 27, 43)) FROM e_key WHERE name = 'all';
INSERT INTO e_key (name, key) SELECT 'blank before', ' ' || key FROM e_key WHERE name = 'all';

-- the state of the key comes first, then what it may do
SELECT name, e.* FROM e_key, LATERAL apikey_explain(key, 'e_web', 'production', 'write') e ORDER BY name;
SELECT verb, environment, e.* FROM e_key, unnest('{read,write,manage}'::text[]) verb, unnest('{production,staging}'::text[]) environment,
	LATERAL apikey_explain(key, 'e_web', environment, verb) e
WHERE name = 'highest' ORDER BY environment, allowed DESC, verb;

-- one reason for all that is not of the key's organization, whatever it was granted
SELECT name, reason, count(*), bool_or(allowed) AS allowed, count(DISTINCT (project, environment)) AS places
FROM e_key, (VALUES ('e_mars', 'production'), ('e_none', 'production'), ('e_web', 'none'), ('e_shop', 'staging'), ('e_bare', 'production'), ('e_bare', 'gone'),
		('*', '*'), ('*', 'production'), ('e_web', '*'), ('', ''), ('e_web', ''), ('E_WEB', 'production'), ('e_web ', 'production'),
		(repeat('x', 513), 'production'), ('e_web', repeat('x', 100000))) AS t (project, environment),
	LATERAL apikey_explain(key, project, environment, 'read')
WHERE name IN ('nothing', 'read', 'all') GROUP BY 1, 2 ORDER BY 1, 2;
-- a key which did not prove itself hears nothing of that; a dead one nothing but its state
SELECT reason, count(*), bool_or(allowed) AS allowed
FROM e_key, (VALUES ('e_mars', 'production'), ('e_none', 'production'), ('e_web', 'production'), (NULL, 'production'), ('*', '*')) AS t (project, environment),
	unnest('{read,DELETE,NULL}'::text[]) verb, LATERAL apikey_explain(key, project, environment, verb)
WHERE name NOT IN ('nothing', 'read', 'write', 'manage', 'highest', 'all', 'organization') GROUP BY 1 ORDER BY 1;
-- nothing is asked
SELECT reason, count(*), bool_or(allowed) AS allowed
FROM e_key, (VALUES (NULL, 'production', 'read'), ('e_web', NULL, 'read'), ('e_web', 'production', NULL), (NULL, NULL, NULL)) AS t (project, environment, verb),
	LATERAL apikey_explain(key, project, environment, verb)
WHERE name IN ('nothing', 'all') GROUP BY 1;

-- the verdict is that of apikey_authorize, of every key, place and verb
SELECT count(*) AS cells, count(*) FILTER (WHERE allowed) AS allowed, count(*) FILTER (WHERE reason = 'invalid key') AS invalid,
	count(*) FILTER (WHERE allowed IS DISTINCT FROM apikey_authorize(key, project, environment, verb)) AS different,
	count(*) FILTER (WHERE allowed <> (reason LIKE 'granted: %')) AS wrong_reason
FROM e_key, unnest('{e_web,e_shop,e_bare,e_mars,none,*,NULL}'::text[]) project, unnest('{production,staging,none,*,NULL}'::text[]) environment,
	unnest('{read,write,manage,get,Put,DELETE,select,NULL}'::text[]) verb, LATERAL apikey_explain(key, project, environment, verb);
SELECT project, environment, string_agg(verb, ' ' ORDER BY n) AS allowed
FROM e_key, unnest('{e_web,e_shop,e_bare,e_mars}'::text[]) project, unnest('{production,staging,none}'::text[]) environment,
	unnest('{read,write,manage}'::text[]) WITH ORDINALITY AS v (verb, n), LATERAL apikey_explain(key, project, environment, verb)
WHERE name = 'highest' AND allowed GROUP BY 1, 2 ORDER BY 1, 2;

-- identifiers of other types; an unknown verb is an error whoever asks
CREATE TYPE e_stage AS ENUM ('production', 'staging');
SELECT e.* FROM e_key, LATERAL apikey_explain(key, 'e_web'::varchar, 'production'::e_stage, 'read') e WHERE name = 'read';
SELECT e.* FROM e_key, LATERAL apikey_explain(key, 7, 'production'::text, 'read') e WHERE name = 'read';
SELECT e.* FROM e_key, LATERAL apikey_explain(key, NULL::uuid, NULL::uuid, 'read') e WHERE name = 'read';
SELECT attempt($$SELECT apikey_explain('junk', 'e_web', 'production', 'own')$$), attempt($$SELECT apikey_explain(NULL, 'e_web', 'production', '')$$),
	attempt($$SELECT apikey_explain((SELECT key FROM e_key WHERE name = 'all'), 'e_web', 'production', 'read ')$$);

-- apikey_explain_rls: rows that no key sees are told to whoever may read both table and registry
CREATE TABLE e_doc (project text, environment text);
CREATE INDEX ON e_doc (project);
SET client_min_messages = error;
SELECT apikey_protect('e_doc', 'project', 'environment');
RESET client_min_messages;
INSERT INTO e_doc VALUES ('e_web', 'production'), ('e_web', 'staging'), ('e_mars', 'production');
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name = 'all';
INSERT INTO e_doc VALUES ('e_web', 'none'), ('e_none', 'production'), ('*', 'production'), ('e_web', '*'), (NULL, 'production'), ('e_web', NULL), (repeat('x', 513), '');
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name IN ('all', 'nothing', 'text') ORDER BY name;
CREATE ROLE regress_apikey_explain;
GRANT SELECT ON e_doc, e_key TO regress_apikey_explain;
SET ROLE regress_apikey_explain;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name IN ('all', 'organization') ORDER BY name;
RESET ROLE;
ALTER TABLE e_doc OWNER TO regress_apikey_explain;
SET ROLE regress_apikey_explain;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name = 'all';
RESET ROLE;
GRANT SELECT ON apikey_registry TO regress_apikey_explain;
SET ROLE regress_apikey_explain;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name = 'all';
RESET ROLE;
SET client_min_messages = error;
SELECT apikey_protect('e_doc', 'project', 'environment', strict => true);
RESET client_min_messages;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name = 'text';
ALTER TABLE e_doc FORCE ROW LEVEL SECURITY;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name = 'all';
-- the first rows are looked at, however many there are
ALTER TABLE e_doc NO FORCE ROW LEVEL SECURITY;
TRUNCATE e_doc;
INSERT INTO e_doc SELECT 'e_web', CASE WHEN i IN (1000, 1001) THEN 'none' ELSE 'production' END FROM generate_series(1, 2000) i;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_doc', key) WHERE name = 'all';
-- identifiers of other types
CREATE TABLE e_typed (project bigint, environment e_stage);
CREATE INDEX ON e_typed (project);
INSERT INTO e_typed VALUES (7, 'staging'), (8, 'staging'), (7, 'production');
SET client_min_messages = error;
SELECT apikey_add_project('e_acme', '7', '{staging}'), apikey_protect('e_typed', 'project', 'environment');
RESET client_min_messages;
SELECT visible_rows, advice FROM e_key, LATERAL apikey_explain_rls('e_typed', key) WHERE name IN ('all', 'write') ORDER BY name;

-- the index that pages of the newest first lack: beside each index by time alone, of all rows, whose columns are no expressions
CREATE TABLE e_page (id int, project text, environment text, created_at timestamptz, "Day" date, seen timestamp, at time);
CREATE INDEX ON e_page (project, environment);
CREATE INDEX ON e_page (created_at, id DESC);
CREATE INDEX ON e_page ("Day");
CREATE INDEX ON e_page (at);
CREATE INDEX ON e_page (seen) WHERE id > 0;
CREATE INDEX ON e_page (seen, lower(project));
CREATE INDEX ON e_page USING hash (seen);
CREATE INDEX ON e_page (seen, project);
\set VERBOSITY terse
SELECT apikey_protect('e_page', 'project', 'environment');
\set VERBOSITY default
SELECT string_to_table(advice, E'\n') FROM e_key, LATERAL apikey_explain_rls('e_page', key) WHERE name = 'all';
CREATE INDEX ON e_page (project, created_at);
SELECT apikey_protect('e_page', 'project', 'environment');
CREATE INDEX ON e_page (project, "Day", environment);
SELECT string_to_table(advice, E'\n') FROM e_key, LATERAL apikey_explain_rls('e_page', key) WHERE name = 'all';
DROP TABLE e_page;

DROP TABLE e_key, e_doc, e_typed;
DROP TYPE e_stage;
REVOKE ALL ON apikey_registry FROM regress_apikey_explain;
DROP ROLE regress_apikey_explain;
DELETE FROM apikey_key WHERE organization LIKE 'e\_%';
DELETE FROM apikey_project WHERE organization LIKE 'e\_%';
