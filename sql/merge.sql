-- An order by values that are kept by reference, and that has one project after the other.
SELECT count(apikey_add_project('me_acme', 'me' || i)) FROM generate_series(0, 9) i;
SELECT key FROM apikey_create('me_acme', 'some', '[{"project": "me1", "environment": "*", "level": "read"}, {"project": "me2", "environment": "*", "level": "read"}, {"project": "me3", "environment": "*", "level": "read"}]') \gset
CREATE ROLE regress_apikey_merge;
CREATE TABLE me_doc (id int PRIMARY KEY, project text, environment text, title text NOT NULL);
INSERT INTO me_doc SELECT i, 'me' || i % 10, 'production', (i % 10) || md5((i / 20)::text) || md5(i::text) FROM generate_series(1, 20000) i;
CREATE INDEX me_title ON me_doc (project, title);
VACUUM ANALYZE me_doc;
SELECT apikey_protect('me_doc', 'project', 'environment');
GRANT SELECT ON me_doc TO regress_apikey_merge;
SET apikey.key = :'key';
SET ROLE regress_apikey_merge;
SET enable_sort = off;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM me_doc ORDER BY title;
SELECT count(*), md5(string_agg(id::text, ',')) FROM (SELECT id FROM me_doc ORDER BY title OFFSET 0) t;
RESET ROLE;
SELECT count(*), md5(string_agg(id::text, ',' ORDER BY title)) FROM me_doc WHERE project IN ('me1', 'me2', 'me3');
DROP TABLE me_doc;
DROP ROLE regress_apikey_merge;
RESET apikey.key;
RESET enable_sort;
RESET enable_seqscan;
DELETE FROM apikey_key WHERE organization LIKE 'me\_%';
DELETE FROM apikey_project WHERE organization LIKE 'me\_%';
