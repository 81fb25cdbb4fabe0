-- Databases that subscribe: what needs no publisher.  Servers are in test/t/041_subscribe.pl.
\set VERBOSITY terse
CALL apikey_subscribe(NULL);
CALL apikey_subscribe('dbname=x', NULL);
CALL apikey_subscribe('dbname=x', '');
CALL apikey_subscribe('dbname=x', 'Verifier');
CALL apikey_subscribe('dbname=x', repeat('x', 64));
CALL apikey_subscribe('dbname=x', max_staleness => '0');
CALL apikey_subscribe('dbname=x', max_staleness => '-1 minute');
CALL apikey_subscribe('dbname=x', max_staleness => '1 month');
CALL apikey_subscribe('dbname=x', max_staleness => '367 days');
CALL apikey_unsubscribe(NULL);
CALL apikey_unsubscribe('nothing');

-- they commit
BEGIN;
CALL apikey_subscribe('dbname=x');
ROLLBACK;
BEGIN;
CALL apikey_unsubscribe();
ROLLBACK;
DO $$ BEGIN PERFORM txid_current(); CALL apikey_unsubscribe(); END $$;
BEGIN READ ONLY;
CALL apikey_unsubscribe();
ROLLBACK;

-- superusers alone, and no key
CREATE ROLE w_staff;
GRANT EXECUTE ON PROCEDURE apikey_subscribe, apikey_unsubscribe TO w_staff;
SET ROLE w_staff;
CALL apikey_subscribe('dbname=x');
CALL apikey_unsubscribe();
RESET ROLE;
SET apikey.key = 'rubbish';
CALL apikey_unsubscribe();
RESET apikey.key;

-- max_staleness without a heartbeat refuses, whoever wrote it down, until it is gone
SELECT apikey_add_project('w_acme', 'w_web');
SELECT key FROM apikey_create('w_acme', 'w', '[{"project": "w_web", "environment": "production", "level": "write"}]') \gset
SELECT apikey_authorize(:'key', 'w_web', 'production', 'read');
INSERT INTO apikey_subscription (name, publication, max_staleness, subscription) VALUES ('w', 'w', '0', 0);
BEGIN;
INSERT INTO apikey_subscription (name, publication, max_staleness, subscription) VALUES ('w', 'w', '1 hour', 0);
SELECT * FROM apikey_explain(:'key', 'w_web', 'production', 'read');
SELECT name, state, tables, heartbeat_at, max_staleness, refusing FROM apikey_subscriptions;
SELECT count(*) FROM apikey_verify(:'key');
SAVEPOINT s;
SELECT apikey_require(:'key', 'w_web', 'production', 'read');
ROLLBACK TO s;
INSERT INTO apikey_heartbeat (at, version) VALUES (now() - interval '59 minutes', '1.0');
SELECT apikey_authorize(:'key', 'w_web', 'production', 'read');
UPDATE apikey_heartbeat SET at = at - interval '2 minutes';
DELETE FROM apikey_subscription;
SELECT apikey_authorize(:'key', 'w_web', 'production', 'read');
ROLLBACK;
SELECT apikey_authorize(:'key', 'w_web', 'production', 'read');
DROP OWNED BY w_staff;
DROP ROLE w_staff;
