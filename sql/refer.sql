\a \t
-- COPY may bring a row in before what it refers to, but not against it.
CREATE FUNCTION n_key(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT (repeat(n::text, 8) || '-0000-0000-0000-000000000000')::uuid $$;
CREATE FUNCTION n_try(VARIADIC commands text[]) RETURNS TABLE (result text) LANGUAGE sql AS
	$$ SELECT attempt(command) FROM unnest(commands) WITH ORDINALITY c (command, n) ORDER BY n $$;
CREATE VIEW n_left AS SELECT left(key_id::text, 1) AS key, project, environment, organization
	FROM apikey_grant WHERE organization LIKE 'n\_%' ORDER BY 1, 2, 3;

-- nothing is known of any of it
COPY apikey_grant (key_id, level, project, environment, organization) FROM stdin (DELIMITER ' ');
11111111-0000-0000-0000-000000000000 read n_web production n_b
11111111-0000-0000-0000-000000000000 read \N * n_b
22222222-0000-0000-0000-000000000000 read n_web production n_a
33333333-0000-0000-0000-000000000000 read n_web production n_c
44444444-0000-0000-0000-000000000000 read n_web staging n_a
\.
COPY apikey_environment (project, environment, organization) FROM stdin (DELIMITER ' ');
n_shop * n_b
\.
COPY apikey_budget (key_id, budget, remaining, started_at, organization) FROM stdin;
11111111-0000-0000-0000-000000000000	5	5	2020-01-01	n_b
55555555-0000-0000-0000-000000000000	5	5	2020-01-01	n_b
\.
SELECT * FROM n_left;
-- anything but COPY has to know
SELECT * FROM n_try($$INSERT INTO apikey_grant VALUES (n_key(5), 'read', NULL, '*', 'n_b')$$,
	$$INSERT INTO apikey_budget VALUES (n_key(1), 5, 5, NULL, now(), NULL, 'n_b')$$,
	$$INSERT INTO apikey_budget VALUES (n_key(2), 5, 5, NULL, now(), NULL, 'n_b')$$,
	$$INSERT INTO apikey_environment VALUES ('n_shop', 'production', 'n_b')$$,
	$$UPDATE apikey_grant SET key_id = n_key(5) WHERE key_id = n_key(4)$$,
	$$UPDATE apikey_grant SET level = 'write' WHERE key_id = n_key(4)$$);
CREATE TABLE n_copy (key_id uuid);
CREATE FUNCTION n_on_copy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO apikey_grant VALUES (NEW.key_id, 'read', NULL, '*', 'n_b');
	RETURN NEW;
END $$;
CREATE TRIGGER n_on_copy AFTER INSERT ON n_copy FOR EACH ROW EXECUTE FUNCTION n_on_copy();
SELECT attempt($$COPY n_copy FROM PROGRAM 'echo 55555555-0000-0000-0000-000000000000'$$);
-- what then comes must agree, whoever adds it
INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES (n_key(9), 'n_a', 'apk', 'nine');
SELECT * FROM n_try($$INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES (n_key(1), 'n_a', 'apk', 'one')$$,
	$$INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES (n_key(5), 'n_a', 'apk', 'five')$$,
	$$UPDATE apikey_key SET key_id = n_key(1) WHERE key_id = n_key(9)$$,
	$$UPDATE apikey_key SET key_id = n_key(8), organization = 'n_b' WHERE key_id = n_key(9)$$,
	$$INSERT INTO apikey_project VALUES ('n_shop', 'n_a')$$,
	$$INSERT INTO apikey_project VALUES ('n_other', 'n_a')$$,
	$$UPDATE apikey_project SET project = 'n_shop' WHERE project = 'n_other'$$,
	$$SELECT apikey_add_project('n_c', 'n_shop')$$);
COPY apikey_key (key_id, organization, prefix, label) FROM stdin (DELIMITER ' ');
11111111-0000-0000-0000-000000000000 n_c apk one
\.
INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES (n_key(1), 'n_b', 'apk', 'one'), (n_key(2), 'n_a', 'apk', 'two');
SELECT apikey_add_project('n_b', 'n_shop');
-- every grant on a project, in whatever environment
SELECT apikey_add_project('n_a', 'n_else');
SELECT * FROM n_try($$SELECT apikey_add_project('n_b', 'n_web', '{development}')$$);
DELETE FROM apikey_grant WHERE key_id IN (n_key(2), n_key(4));
SELECT * FROM n_try($$SELECT apikey_add_project('n_b', 'n_web', '{development}')$$);
DELETE FROM apikey_grant WHERE key_id = n_key(3);
COPY apikey_grant FROM stdin (DELIMITER ' ');
44444444-0000-0000-0000-000000000000 read n_web staging n_a
\.
SELECT * FROM n_try($$SELECT apikey_add_project('n_b', 'n_web', '{development}')$$);
DELETE FROM apikey_grant WHERE key_id = n_key(4);
SELECT * FROM n_try($$SELECT apikey_add_project('n_b', 'n_web', '{development}')$$);
-- and from now on COPY must agree, too, but may still come first elsewhere
\set VERBOSITY terse
COPY apikey_grant FROM stdin (DELIMITER ' ');
11111111-0000-0000-0000-000000000000 read n_else production n_b
\.
COPY apikey_grant FROM stdin (DELIMITER ' ');
11111111-0000-0000-0000-000000000000 read n_web staging n_b
\.
COPY apikey_grant FROM stdin (DELIMITER ' ');
11111111-0000-0000-0000-000000000000 read n_none production n_a
\.
COPY apikey_environment FROM stdin (DELIMITER ' ');
n_web staging n_a
\.
COPY apikey_grant FROM stdin (DELIMITER ' ');
11111111-0000-0000-0000-000000000000 read n_none production n_b
\.
-- a function that copies adds rows like any other
SELECT attempt($$COPY apikey_grant FROM PROGRAM 'echo 66666666-0000-0000-0000-000000000000,read,n_web,development,n_b' (FORMAT csv)$$);
SELECT * FROM n_left;
-- foreign keys are silent on a replica, and when somebody enables those of PostgreSQL again, nothing may come first
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO apikey_grant VALUES (n_key(7), 'read', 'n_web', 'production', 'n_a');
INSERT INTO apikey_key (key_id, organization, prefix, label) VALUES (n_key(7), 'n_b', 'apk', 'seven');
ROLLBACK;
BEGIN;
SET client_min_messages = error;
ALTER TABLE apikey_grant ENABLE TRIGGER ALL;
COPY apikey_grant FROM stdin (DELIMITER ' ');
77777777-0000-0000-0000-000000000000 read \N * n_a
\.
ROLLBACK;
-- what came first falls like the others
DELETE FROM apikey_key WHERE key_id = n_key(1);
SELECT count(*) FROM apikey_budget WHERE key_id = n_key(1);
SELECT * FROM n_left;

DROP TABLE n_copy;
DROP VIEW n_left;
DROP FUNCTION n_key, n_try, n_on_copy;
DELETE FROM apikey_key WHERE organization LIKE 'n\_%';
DELETE FROM apikey_budget WHERE organization LIKE 'n\_%';
DELETE FROM apikey_project WHERE organization LIKE 'n\_%';
