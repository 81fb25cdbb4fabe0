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
-- A column before the order that a condition fixes: the walk ends at a row that does not meet it.
CREATE TABLE me_log (id int PRIMARY KEY, project text, environment text, at int NOT NULL);
INSERT INTO me_log SELECT i, CASE WHEN i < 1000 THEN 'me1' WHEN i < 2000 THEN 'me2' ELSE 'me9' END, CASE WHEN i % 2 = 0 THEN 'development' ELSE 'production' END, i FROM generate_series(0, 19999) i;
CREATE INDEX me_log_at ON me_log (at, id, project, environment);
CREATE INDEX me_log_fixed ON me_log (project, environment, at, id);
VACUUM ANALYZE me_log;
SELECT apikey_protect('me_log', 'project', 'environment');
GRANT SELECT, DELETE ON me_log TO regress_apikey_merge;
RESET apikey.key;
SELECT key AS writer FROM apikey_create('me_acme', 'writer', '[{"project": "me1", "environment": "*", "level": "manage"}, {"project": "me2", "environment": "*", "level": "manage"}]') \gset
SET apikey.key = :'writer';
RESET enable_sort;
SET ROLE regress_apikey_merge;
SELECT environment, ARRAY(SELECT id FROM me_log WHERE me_log.environment = 'production' ORDER BY at DESC LIMIT 3), ARRAY(SELECT id FROM me_log WHERE me_log.environment = 'development' ORDER BY at DESC LIMIT 3),
	ARRAY(SELECT id FROM me_log WHERE me_log.environment = 'production' ORDER BY at LIMIT 3) FROM (VALUES ('first 3')) v (environment);
-- WHERE CURRENT OF: the row that the cursor is on, whether it is walked or merged, made of the index or fetched
RESET ROLE;
CREATE INDEX me_log_order ON me_log (project, at, id, environment);
VACUUM ANALYZE me_log;
DELETE FROM me_log WHERE id IN (5, 1500);
SET ROLE regress_apikey_merge;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM me_log ORDER BY at DESC;
DO $$
DECLARE
	here CURSOR FOR SELECT id FROM me_log ORDER BY at DESC;
	row record;
	gone int;
	deleted int = 0;
BEGIN
	OPEN here;
	LOOP
		FETCH here INTO row;
		EXIT WHEN NOT FOUND;
		DELETE FROM me_log WHERE CURRENT OF here RETURNING id INTO gone;
		IF gone IS DISTINCT FROM row.id THEN
			RAISE EXCEPTION 'the cursor is at %, and % was deleted', row.id, gone;
		END IF;
		deleted = deleted + 1;
	END LOOP;
	RAISE NOTICE '% deleted', deleted;
END $$;
RESET ROLE;
DROP TABLE me_log;
DROP TABLE me_doc;
DROP ROLE regress_apikey_merge;
RESET apikey.key;
RESET enable_sort;
RESET enable_seqscan;
DELETE FROM apikey_key WHERE organization LIKE 'me\_%';
DELETE FROM apikey_project WHERE organization LIKE 'me\_%';
