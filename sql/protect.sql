-- apikey_protect and apikey_unprotect.
CREATE ROLE regress_apikey_owner;
CREATE ROLE regress_apikey_other;
GRANT CREATE ON SCHEMA public TO regress_apikey_owner;
CREATE FUNCTION k_policies(relation regclass) RETURNS TABLE (name name, command "char", roles oid[], permissive boolean, qual text, with_check text)
LANGUAGE sql AS $$
	SELECT polname, polcmd, polroles, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
	FROM pg_policy WHERE polrelid = relation ORDER BY 1
$$;
SET ROLE regress_apikey_owner;
CREATE TABLE k_doc (id int PRIMARY KEY, project text, environment text);

-- four policies, a warning about the index, a notice about the owner
SELECT apikey_protect('k_doc', 'project', 'environment');
SELECT * FROM k_policies('k_doc');
SELECT * FROM apikey_protected;
RESET ROLE;
SELECT * FROM apikey_protected;
GRANT SELECT ON apikey_protected TO regress_apikey_owner;
SET ROLE regress_apikey_owner;

-- again: the same; with an index and force there is nothing to say
CREATE INDEX k_doc_project ON k_doc (project, environment);
SELECT apikey_protect('k_doc', 'project', 'environment', force => true);
SELECT apikey_protect('k_doc', 'project', 'environment');
SELECT name, qual, with_check FROM k_policies('k_doc');
SELECT * FROM apikey_protected;
ALTER TABLE k_doc RENAME COLUMN project TO owner_project;
SELECT * FROM apikey_protected;
-- a partial index, or one that begins otherwise, does not help
DROP INDEX k_doc_project;
CREATE INDEX k_doc_partial ON k_doc (owner_project) WHERE id > 7;
CREATE INDEX k_doc_second ON k_doc (environment, owner_project);
SELECT apikey_protect('k_doc', 'owner_project', 'environment');

-- undone, as it was
SELECT apikey_unprotect('k_doc');
SELECT relrowsecurity, relforcerowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies
FROM pg_class c WHERE relname = 'k_doc';
SELECT apikey_unprotect('k_doc');
CREATE INDEX ON k_doc (owner_project);

-- enabled and forced before: stays so
ALTER TABLE k_doc ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT apikey_protect('k_doc', 'owner_project', 'environment');
SELECT apikey_protect('k_doc', 'owner_project', 'environment');
SELECT apikey_unprotect('k_doc');
SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 'k_doc';
ALTER TABLE k_doc DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;

-- other policies stay, and are warned of; then row security stays on as well
SELECT apikey_protect('k_doc', 'owner_project', 'environment', true);
CREATE POLICY k_mine ON k_doc USING (id = 1);
SELECT apikey_protect('k_doc', 'owner_project', 'environment', true);
SELECT apikey_unprotect('k_doc');
SELECT relrowsecurity, (SELECT string_agg(polname, ' ') FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c WHERE relname = 'k_doc';
DROP POLICY k_mine ON k_doc;
ALTER TABLE k_doc DISABLE ROW LEVEL SECURITY;

-- a policy of the same name made by hand is nobody's to drop
CREATE POLICY apikey_select ON k_doc FOR SELECT USING (true);
SELECT apikey_protect('k_doc', 'owner_project', 'environment');
SELECT apikey_unprotect('k_doc');
SELECT count(*) FROM apikey_protected;
DROP POLICY apikey_select ON k_doc;
CREATE POLICY apikey_delete ON k_doc FOR DELETE USING (true);
SELECT apikey_protect('k_doc', 'owner_project', 'environment');
SELECT count(*) FROM k_policies('k_doc');
DROP POLICY apikey_delete ON k_doc;

-- what makes no sense
CREATE VIEW k_view AS SELECT * FROM k_doc;
SELECT apikey_protect(NULL, 'owner_project', 'environment');
SELECT apikey_protect('k_doc', NULL, 'environment');
SELECT apikey_protect('k_doc', 'owner_project', NULL);
SELECT apikey_protect('k_doc', 'nope', 'environment');
SELECT apikey_protect('k_doc', 'owner_project', 'ctid');
SELECT apikey_protect('k_view', 'owner_project', 'environment');
SELECT apikey_protect('k_doc_second', 'owner_project', 'environment');
SELECT apikey_protect(0, 'owner_project', 'environment');
SELECT apikey_protect('pg_class', 'relname', 'relname');
SET ROLE regress_apikey_other;
SELECT apikey_protect('k_doc', 'owner_project', 'environment');
SELECT apikey_unprotect('k_doc');
RESET ROLE;

-- odd names, odd types, partitions
CREATE SCHEMA "K ""s""";
CREATE TABLE "K ""s"""."T 'x'" ("Pro ""ject" uuid, "environment;" int);
SET client_min_messages = error;
SELECT apikey_protect('"K ""s"""."T ''x''"', 'Pro "ject', 'environment;');
SELECT * FROM apikey_protected;
SELECT apikey_unprotect('"K ""s"""."T ''x''"');
RESET client_min_messages;
CREATE TABLE k_parts (project text, environment text) PARTITION BY LIST (project);
CREATE INDEX ON k_parts (project);
SELECT apikey_protect('k_parts', 'project', 'environment', force => true);

DROP TABLE k_doc, k_parts CASCADE;
DROP SCHEMA "K ""s""" CASCADE;
DROP FUNCTION k_policies;
REVOKE CREATE ON SCHEMA public FROM regress_apikey_owner;
REVOKE SELECT ON apikey_protected FROM regress_apikey_owner;
DROP ROLE regress_apikey_owner, regress_apikey_other;
