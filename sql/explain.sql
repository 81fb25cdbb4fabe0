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

DROP TABLE e_key;
DROP TYPE e_stage;
DELETE FROM apikey_key WHERE organization LIKE 'e\_%';
DELETE FROM apikey_project WHERE organization LIKE 'e\_%';
