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
-- nobody but our functions turns it off
SELECT command, attempt(command) FROM unnest(array['UPDATE apikey_subscription SET max_staleness = NULL', 'UPDATE apikey_subscription SET created_at = now()',
	'DELETE FROM apikey_subscription', 'TRUNCATE apikey_subscription', 'SET session_replication_role = replica; DELETE FROM apikey_subscription',
	$$INSERT INTO apikey_heartbeat (at, version) VALUES (now(), '1.0')$$, 'TRUNCATE apikey_heartbeat']) command;
RESET session_replication_role;
SELECT apikey_set_max_staleness('w', NULL);
SELECT apikey_authorize(:'key', 'w_web', 'production', 'read'), max_staleness FROM apikey_subscriptions;
SELECT action, detail FROM apikey_events WHERE detail ->> 'subscription' = 'w' OR detail ->> 'table' ~ 'subscription|heartbeat';
ROLLBACK;
SELECT apikey_authorize(:'key', 'w_web', 'production', 'read');

-- a heartbeat
CREATE FUNCTION w_explain(key text, beat timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	reason text;
BEGIN
	INSERT INTO apikey_heartbeat (at, every, version) VALUES (beat, '1 s', '1.0');
	INSERT INTO apikey_subscription (name, publication, max_staleness, subscription) VALUES ('w', 'w', '1 hour', 0);
	SELECT e.reason FROM apikey_explain(key, 'w_web', 'production', 'read') e INTO reason;
	reason = concat_ws(' | ', reason, attempt('UPDATE apikey_heartbeat SET at = now()'), attempt('DELETE FROM apikey_heartbeat'),
		attempt($b$SELECT apikey_set_max_staleness('w', '2.9 s')$b$), attempt($b$SELECT apikey_set_max_staleness('w', '3 s')$b$));
	RAISE EXCEPTION 'undone' USING DETAIL = reason;
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
	RETURN reason;
END $$;
SELECT age, w_explain(:'key', now() - age) FROM unnest(array['59 minutes', '61 minutes', '-59 minutes', '-61 minutes']::interval[]) age;
SELECT w_explain(:'key', 'infinity');

-- by a function
SELECT apikey_set_max_staleness(NULL, '1 hour');
SELECT apikey_set_max_staleness('w', '1 hour');
SELECT apikey_set_max_staleness('w', '0');
SELECT apikey_set_max_staleness('w', '1 month');
SELECT apikey_set_max_staleness('w', NULL);
SET apikey.key = 'rubbish';
SELECT apikey_set_max_staleness('w', NULL);
RESET apikey.key;

-- where a trigger is deaf no key is good, but what a dump has restored is enough here
CREATE FUNCTION w_deaf(key text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	reason text;
BEGIN
	EXECUTE command;
	SELECT e.reason FROM apikey_explain(key, 'w_web', 'production', 'read') e INTO reason;
	RAISE EXCEPTION 'undone' USING DETAIL = reason;
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
	RETURN reason || ', then ' || (SELECT e.reason FROM apikey_explain(key, 'w_web', 'production', 'read') e);
END $$;
SELECT command, w_deaf(:'key', command) FROM unnest(array['ALTER TABLE apikey_key DISABLE TRIGGER apikey_changed', 'ALTER TABLE apikey_grant DISABLE TRIGGER apikey_truncated',
	'ALTER TABLE apikey_environment DISABLE TRIGGER ALL', 'ALTER TABLE apikey_suspension ENABLE REPLICA TRIGGER apikey_changed',
	'DROP TRIGGER apikey_changed ON apikey_subscription', 'ALTER TRIGGER apikey_changed ON apikey_key RENAME TO w',
	'ALTER TABLE apikey_key DISABLE TRIGGER ALL, ENABLE TRIGGER ALL', 'ALTER TABLE apikey_key DISABLE TRIGGER apikey_keep',
	'ALTER TABLE apikey_heartbeat DISABLE TRIGGER ALL', 'ALTER TABLE apikey_budget DISABLE TRIGGER ALL',
	$$ALTER TABLE apikey_key ENABLE TRIGGER apikey_changed; INSERT INTO apikey_subscription (name, publication, subscription) VALUES ('w', 'w', 0)$$,
	$$INSERT INTO apikey_subscription (name, publication, subscription) VALUES ('w', 'w', 0)$$]) command;
SELECT count(*) FROM apikey_who_can('w_web', 'production', 'read');
BEGIN;
ALTER TABLE apikey_key DISABLE TRIGGER apikey_changed;
SELECT count(*) FROM apikey_who_can('w_web', 'production', 'read');
ROLLBACK;
DROP FUNCTION w_explain, w_deaf;
DROP OWNED BY w_staff;
DROP ROLE w_staff;
