/* src/apikey--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION apikey CASCADE" to load this file. \quit

/*
 * Names are not qualified by the extension's schema: a schema whose name
 * holds a quote could not be substituted into this script.  They need not be.
 * While it runs, pg_catalog is searched first and the target schema next, a
 * name that exists there already makes its CREATE fail, and every view and
 * constraint is bound to objects when it is made.  The C code finds the
 * tables through pg_extension.
 *
 * Others may have put functions and operators into that schema.  So a call
 * here matches one of pg_catalog or of this script exactly, or is qualified.
 *
 * What nobody calls by name is in a schema of the extension's own, closed to
 * everybody: views, policies, triggers and plans know it by OID.  If there is one
 * of this name, whoever made it could have put anything there: CREATE fails.
 */
CREATE SCHEMA apikey_internal;
COMMENT ON SCHEMA apikey_internal IS
'internals of the views, triggers and policies of the extension apikey; not to be called';

CREATE FUNCTION apikey_internal.require_library(version text) RETURNS void
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'apikey_require_library';
REVOKE ALL ON FUNCTION apikey_internal.require_library(text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.require_library(text) IS
'for scripts: raises 55000 if this session has loaded the library of an earlier version';
SELECT apikey_internal.require_library('1.0');

/* ---------------------------------------------------------------- types */

CREATE TYPE apikey_level AS ENUM ('read', 'write', 'manage');
COMMENT ON TYPE apikey_level IS
'level of access of an API key: each includes the ones before it';

/* ------------------------------------------------------------- registry */

/*
 * Identifiers belong to the application and are compared byte by byte.
 * 512 bytes leave room for three of them in one index entry.
 */
CREATE TABLE apikey_project (
	project text COLLATE "C" NOT NULL,
	organization text COLLATE "C" NOT NULL,
	CONSTRAINT apikey_project_pkey PRIMARY KEY (project),
	CONSTRAINT apikey_project_name CHECK (project NOT IN ('', '*')
		AND octet_length(project) <= 512),
	CONSTRAINT apikey_project_organization_name CHECK (organization NOT IN ('', '*')
		AND octet_length(organization) <= 512),
	CONSTRAINT apikey_project_organization_key UNIQUE (organization, project)
);
-- what is published by organization cannot be changed unless it is in the identity
ALTER TABLE apikey_project
	REPLICA IDENTITY USING INDEX apikey_project_organization_key;
COMMENT ON TABLE apikey_project IS
'registry of projects: each belongs to exactly one organization';

/*
 * Each project has a row '*' besides, which stands for all its environments:
 * grants on those refer to it.
 */
CREATE TABLE apikey_environment (
	project text COLLATE "C" NOT NULL,
	environment text COLLATE "C" NOT NULL,
	organization text COLLATE "C" NOT NULL,
	CONSTRAINT apikey_environment_pkey
		PRIMARY KEY (project, environment, organization),
	CONSTRAINT apikey_environment_name CHECK (environment <> ''
		AND octet_length(environment) <= 512),
	CONSTRAINT apikey_environment_project_fkey
		FOREIGN KEY (project, organization)
		REFERENCES apikey_project (project, organization) ON DELETE CASCADE
);
COMMENT ON TABLE apikey_environment IS
'registry of the environments of each project';
CREATE INDEX apikey_environment_organization_idx
	ON apikey_environment (organization, project, environment);

/*
 * An organization needs no other row: it may have keys and no project.  "*" is the
 * quarantine of the database: it refuses the keys that were made, or imported, up to then.
 */
CREATE TABLE apikey_suspension (
	organization text COLLATE "C" NOT NULL,
	suspended_at timestamptz NOT NULL,
	reason text,
	CONSTRAINT apikey_suspension_pkey PRIMARY KEY (organization),
	CONSTRAINT apikey_suspension_organization_name CHECK (organization <> ''
		AND octet_length(organization) <= 512)
);
COMMENT ON TABLE apikey_suspension IS
'organizations that are suspended: none of their keys may do anything; "*" for the quarantine of the database';

/* ----------------------------------------------------------------- keys */

-- the one that knows which limits there can be: 22023 for others
CREATE FUNCTION apikey_internal.rate_limit_text(count integer, per interval,
	burst integer)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_rate_limit_text';
COMMENT ON FUNCTION apikey_internal.rate_limit_text(integer, interval, integer) IS
'a rate limit as apikey_create takes it';

/*
 * New columns go to the end.
 * Scheme, salt and verifier are those of the secret that was made last; null
 * for an imported key that only its old secret opens.  "parent_id" is that of a
 * derived key, which has neither organization level nor limits of its own.
 *
 * Of indexes that cost the same the planner takes the newest, and a plan that
 * is made while the table is empty is kept while it grows: so those that find
 * one key come last.
 */
CREATE TABLE apikey_key (
	key_id uuid NOT NULL,
	disabled_at timestamptz,
	revoked_at timestamptz,
	expires_at timestamptz,
	organization_level apikey_level,
	organization text COLLATE "C" NOT NULL,
	prefix text COLLATE "C" NOT NULL,
	scheme text COLLATE "C",
	salt bytea,
	verifier bytea,
	allowed_networks cidr[],
	label text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text,
	metadata jsonb NOT NULL DEFAULT '{}',
	rate_count integer,
	rate_interval interval,
	rate_burst integer,
	parent_id uuid,
	disabled_reason text,
	revoked_reason text,
	imported_at timestamptz,
	CONSTRAINT apikey_key_organization_level
		CHECK (organization_level OPERATOR(pg_catalog.<>) 'manage'),
	CONSTRAINT apikey_key_derived CHECK (parent_id IS NULL
		OR organization_level IS NULL AND rate_count IS NULL AND expires_at IS NOT NULL),
	CONSTRAINT apikey_key_rate_limit CHECK (
		rate_count IS NULL AND rate_interval IS NULL AND rate_burst IS NULL
		OR apikey_internal.rate_limit_text(rate_count, rate_interval, rate_burst)
			IS NOT NULL)
);
COMMENT ON TABLE apikey_key IS
'API keys, each with the verifier of its newest secret';

/*
 * For pages of apikey_keys, see doc/how-to/list-keys.md.  The partial ones hold nothing
 * of an ordinary key, but each costs a new one a little all the same.
 */
CREATE INDEX apikey_key_ended_idx ON apikey_key (key_id)
	WHERE revoked_at IS NOT NULL OR disabled_at IS NOT NULL;
CREATE INDEX apikey_key_expires_idx
	ON apikey_key (expires_at, key_id) WHERE expires_at IS NOT NULL;

CREATE INDEX apikey_key_parent_idx
	ON apikey_key (parent_id, expires_at) WHERE parent_id IS NOT NULL;

/*
 * For pages too, of an organization and of all, for others to refer to, and for what
 * publishes by organization.
 */
ALTER TABLE apikey_key
	ADD CONSTRAINT apikey_key_organization_key UNIQUE (organization, key_id);
ALTER TABLE apikey_key REPLICA IDENTITY USING INDEX apikey_key_organization_key;
ALTER TABLE apikey_key
	ADD CONSTRAINT apikey_key_pkey PRIMARY KEY (key_id);
ALTER TABLE apikey_key
	ADD CONSTRAINT apikey_key_parent_fkey FOREIGN KEY (parent_id, organization)
		REFERENCES apikey_key (key_id, organization) ON DELETE CASCADE;

/*
 * The other secret of a key, if it has two: the one before the last rotation, or an
 * imported one, which "lookup" finds: the first 32 bytes of a hash of its text or of a
 * part of that.  "lookup_rule" says of which: {hash, strip_prefix, after}, where hash is
 * sha256, sha512 or hmac-sha256.  What begins with strip_prefix goes on without it;
 * then, unless "after" is empty, what follows the first of those is the part.
 * "verifier" holds what the scheme says.
 *
 * It is good until "expires_at"; from then on it is superseded: it opens nothing, but
 * whoever presents it is told from one who guesses.  Where a rotation ends it at once
 * that is -infinity, which is over by every clock.  "replaced_at" is when another
 * secret took its place; null for an imported one that is the only secret.
 */
CREATE TABLE apikey_secret (
	key_id uuid NOT NULL,
	expires_at timestamptz,
	scheme text COLLATE "C" NOT NULL,
	salt bytea NOT NULL,
	verifier bytea NOT NULL,
	lookup bytea,
	replaced_at timestamptz,
	lookup_rule text[] COLLATE "C",
	organization text COLLATE "C" NOT NULL,
	CONSTRAINT apikey_secret_organization_key UNIQUE (organization, key_id),
	CONSTRAINT apikey_secret_lookup_key UNIQUE (lookup),
	CONSTRAINT apikey_secret_key_fkey FOREIGN KEY (key_id, organization)
		REFERENCES apikey_key (key_id, organization) ON DELETE CASCADE
);
ALTER TABLE apikey_secret
	ADD CONSTRAINT apikey_secret_pkey PRIMARY KEY (key_id);
ALTER TABLE apikey_secret
	REPLICA IDENTITY USING INDEX apikey_secret_organization_key;
COMMENT ON TABLE apikey_secret IS
'other secrets of API keys: from before the last rotation, or imported';
-- all different rules are found by it, see src/auth/lookup.h
CREATE INDEX apikey_secret_rule_idx ON apikey_secret (lookup_rule);

/*
 * A null project stands for all projects, which calls write '*', and the
 * environment '*' for all environments.  The foreign keys carry the
 * organization from the key to the project: no row can join two organizations.
 * What identifies a row comes first in each of them, see src/table/refer.c.
 * apikey_grant_key holds all that a decision reads, in an order that
 * src/table/store.c knows.
 */
CREATE TABLE apikey_grant (
	key_id uuid NOT NULL,
	level apikey_level NOT NULL,
	project text COLLATE "C",
	environment text COLLATE "C" NOT NULL,
	organization text COLLATE "C" NOT NULL,
	CONSTRAINT apikey_grant_key_fkey FOREIGN KEY (key_id, organization)
		REFERENCES apikey_key (key_id, organization) ON DELETE CASCADE,
	CONSTRAINT apikey_grant_environment_fkey
		FOREIGN KEY (project, environment, organization)
		REFERENCES apikey_environment (project, environment, organization)
		ON DELETE CASCADE
);
COMMENT ON TABLE apikey_grant IS
'what each API key may do: a level on a project and an environment';
CREATE INDEX apikey_grant_project_idx
	ON apikey_grant (project, environment, organization);
ALTER TABLE apikey_grant
	ADD CONSTRAINT apikey_grant_key UNIQUE NULLS NOT DISTINCT
		(key_id, project, environment) INCLUDE (level);
/*
 * No unique index is without a column that may be null, so the identity is all of the row.
 * By that a subscriber finds it through the first index, from PostgreSQL 16 on; 15 reads
 * the table.
 */
ALTER TABLE apikey_grant REPLICA IDENTITY FULL;

/*
 * What a key may spend: "remaining", which each refill fills up to "budget"
 * again.  Null: never.  Periods are counted from "started_at", see src/keys/budget.c;
 * "refills_at" is the end of the one that "remaining" is for.  A row is updated
 * by each spender: the free half of its page keeps that cheap.
 */
CREATE TABLE apikey_budget (
	key_id uuid NOT NULL,
	budget bigint NOT NULL,
	remaining bigint NOT NULL,
	refill interval,
	started_at timestamptz NOT NULL,
	refills_at timestamptz,
	organization text COLLATE "C" NOT NULL,
	CONSTRAINT apikey_budget_pkey PRIMARY KEY (key_id),
	CONSTRAINT apikey_budget_positive CHECK (budget > 0),
	CONSTRAINT apikey_budget_remaining
		CHECK (remaining >= 0 AND remaining <= budget),
	CONSTRAINT apikey_budget_refill
		CHECK ((refill IS NULL) = (refills_at IS NULL)),
	CONSTRAINT apikey_budget_key_fkey FOREIGN KEY (key_id, organization)
		REFERENCES apikey_key (key_id, organization) ON DELETE CASCADE
) WITH (fillfactor = 50);
COMMENT ON TABLE apikey_budget IS
'what API keys may spend; a key without a row spends without a limit';
-- for pages of apikey_budgets
CREATE INDEX apikey_budget_organization_idx ON apikey_budget (organization, key_id);

/*
 * Whoever derives a key counts it in the row of the one that all come from: "counted"
 * is no lower than the number of the live ones, see src/keys/derive.c.  A revocation,
 * which locks the key itself, waits for nobody.  A row is updated by each: the free half
 * of its page keeps that cheap.
 */
CREATE TABLE apikey_derivation (
	key_id uuid NOT NULL,
	max_derived integer NOT NULL,
	counted integer NOT NULL DEFAULT 2147483647,
	CONSTRAINT apikey_derivation_pkey PRIMARY KEY (key_id),
	CONSTRAINT apikey_derivation_positive CHECK (max_derived > 0),
	CONSTRAINT apikey_derivation_key_fkey FOREIGN KEY (key_id)
		REFERENCES apikey_key (key_id) ON DELETE CASCADE
) WITH (fillfactor = 50);
COMMENT ON TABLE apikey_derivation IS
'how many live keys may be derived from an API key; from one without a row, none';

/* ------------------------------------------------------------ publishing */

/*
 * One row, made by apikey_publish, and renewed by the background worker each time it
 * writes, as long as the database has a logical replication slot; see src/keys/worker.h.
 * It is published, so that a subscriber sees how old what it knows is: "at" is by the
 * clock of the publisher, "every" how often it is renewed, null if it is not, because the
 * extension is not preloaded there.  "version" is the one of the extension, "pepper" and
 * "hmac_key" are fingerprints of what the files of apikey.pepper_file and
 * apikey.hmac_key_file hold, null without such a file.
 *
 * No index has a column that changes, so the row stays on its page.
 */
CREATE TABLE apikey_heartbeat (
	one boolean NOT NULL DEFAULT true,
	at timestamptz NOT NULL,
	every interval,
	version text COLLATE "C" NOT NULL,
	pepper bytea,
	hmac_key bytea,
	CONSTRAINT apikey_heartbeat_pkey PRIMARY KEY (one),
	CONSTRAINT apikey_heartbeat_one CHECK (one)
);
COMMENT ON TABLE apikey_heartbeat IS
'when the publisher of the keys was last heard of, which version it has, and fingerprints of its key files';

/* -------------------------------------------------------------- history */

CREATE TABLE apikey_event (
	at timestamptz NOT NULL,
	event_id uuid NOT NULL,
	action text COLLATE "C" NOT NULL,
	key_id uuid,
	organization text COLLATE "C",
	role text COLLATE "C" NOT NULL,
	application_user text,
	acting_key uuid,
	address inet,
	detail jsonb NOT NULL,
	CONSTRAINT apikey_event_pkey PRIMARY KEY (event_id)
);
COMMENT ON TABLE apikey_event IS
'every change of keys, grants and the registry: rows are added and never changed';
CREATE INDEX apikey_event_at_idx ON apikey_event (at);
-- new keys go to the end of it, so events without a key must not be there
CREATE INDEX apikey_event_key_idx ON apikey_event (key_id NULLS FIRST, event_id);

/* ------------------------------------------------------------------ use */

/*
 * Written by the background worker alone, see src/keys/worker.h, and without a
 * foreign key: that would lock a row of apikey_key for each key that is used.
 *
 * A flush may change every row of a page: with half of it free the new versions
 * find room there, and no index is touched.
 */
CREATE TABLE apikey_use (
	key_id uuid NOT NULL,
	uses bigint NOT NULL,
	refusals bigint NOT NULL,
	last_used_at timestamptz,
	last_used_from inet,
	old_secret_used_at timestamptz,
	last_refused_at timestamptz,
	limit_until timestamptz,
	CONSTRAINT apikey_use_pkey PRIMARY KEY (key_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE apikey_use IS
'how often each API key was used and refused on this server, when last, and from where';

CREATE TABLE apikey_use_hour (
	key_id uuid NOT NULL,
	hour timestamptz NOT NULL,
	uses bigint NOT NULL,
	refusals bigint NOT NULL,
	CONSTRAINT apikey_use_hour_pkey PRIMARY KEY (key_id, hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE apikey_use_hour IS
'how often each API key was used and refused on this server, by hour, for apikey.usage_days days';
CREATE INDEX apikey_use_hour_idx ON apikey_use_hour (hour);

/* ---------------------------------------------------------- replication */

/*
 * A row for each subscription that apikey_subscribe made in this database.  It stays when
 * DROP SUBSCRIPTION is called by hand: what the tables above hold is that of the publisher
 * all the same.  "subscription" is its OID; in a database that was restored another one,
 * or none, has the name.  No message comes when time passes: see src/auth/staleness.h.
 */
CREATE TABLE apikey_subscription (
	name text COLLATE "C" NOT NULL,
	publication text COLLATE "C" NOT NULL,
	max_staleness interval,
	subscription oid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT apikey_subscription_pkey PRIMARY KEY (name),
	CONSTRAINT apikey_subscription_max_staleness CHECK (max_staleness > '0')
);
COMMENT ON TABLE apikey_subscription IS
'subscriptions of this database to the API keys of another one; never published';

SELECT pg_catalog.pg_extension_config_dump('apikey_project', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_environment', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_suspension', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_key', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_secret', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_grant', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_budget', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_derivation', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_heartbeat', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_event', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_use', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_use_hour', '');
SELECT pg_catalog.pg_extension_config_dump('apikey_subscription', '');

/* -------------------------------------------------------- invalidation */

CREATE FUNCTION apikey_internal.changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'apikey_changed';
REVOKE ALL ON FUNCTION apikey_internal.changed() FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.changed() IS
'trigger on the tables of this extension: makes every backend see the change, checks the foreign keys of new rows, and records what SQL did';

/* Logical replication fires only row triggers, and only ENABLE ALWAYS ones. */
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_project FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_environment FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_suspension FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_key FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_secret FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_grant FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
-- for the history alone: no decision rests on these
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_budget FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_derivation FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
-- whether keys are refused rests on these
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_heartbeat FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_changed AFTER INSERT OR UPDATE OR DELETE
	ON apikey_subscription FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_project FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_environment FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_suspension FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_key FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_secret FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_grant FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_budget FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_derivation FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_heartbeat FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
CREATE TRIGGER apikey_truncated AFTER TRUNCATE
	ON apikey_subscription FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.changed();
ALTER TABLE apikey_project ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_environment ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_suspension ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_key ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_secret ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_grant ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_budget ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_derivation ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_heartbeat ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;
ALTER TABLE apikey_subscription ENABLE ALWAYS TRIGGER apikey_changed,
	ENABLE ALWAYS TRIGGER apikey_truncated;

CREATE FUNCTION apikey_internal.keep() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'apikey_keep';
REVOKE ALL ON FUNCTION apikey_internal.keep() FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.keep() IS
'trigger on apikey_event and apikey_key: refuses to change events, to remove them except by apikey_purge_events, and to bring back a revoked key';

CREATE TRIGGER apikey_keep BEFORE UPDATE OR DELETE
	ON apikey_event FOR EACH ROW EXECUTE FUNCTION apikey_internal.keep();
CREATE TRIGGER apikey_keep_all BEFORE TRUNCATE
	ON apikey_event FOR EACH STATEMENT EXECUTE FUNCTION apikey_internal.keep();
ALTER TABLE apikey_event ENABLE ALWAYS TRIGGER apikey_keep,
	ENABLE ALWAYS TRIGGER apikey_keep_all;
CREATE TRIGGER apikey_keep BEFORE UPDATE
	ON apikey_key FOR EACH ROW EXECUTE FUNCTION apikey_internal.keep();
ALTER TABLE apikey_key ENABLE ALWAYS TRIGGER apikey_keep;

/* --------------------------------------------------- registry functions */

/*
 * These are for the application alone: 42501 in a session with a key.
 *
 * Errors of the functions that change something: 22023 for an argument that
 * makes no sense, 22004 for a null that is not allowed, 42704 for a key,
 * project or grant that does not exist, 23503 for a project or environment
 * that is not registered for the organization, 55000 for a revoked key.
 */
CREATE FUNCTION apikey_add_project(organization text, project text,
	environments text[] DEFAULT '{production,development}')
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_add_project(text, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION apikey_add_project(text, text, text[]) IS
'register a project of an organization, or add environments to one that the organization has';

CREATE FUNCTION apikey_remove_project(project text) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_remove_project(text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_remove_project(text) IS
'remove a project with its environments and every grant on them';

CREATE FUNCTION apikey_rename_project(project text, new_name text) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_rename_project(text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_rename_project(text, text) IS
'rename a project; its environments and every grant on them go along';

CREATE FUNCTION apikey_add_environment(project text, environment text)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_add_environment(text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_add_environment(text, text) IS
'register one more environment of a project';

CREATE FUNCTION apikey_remove_environment(project text, environment text)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_remove_environment(text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_remove_environment(text, text) IS
'remove an environment of a project and every grant that names it';

/*
 * Both run as the caller, who must own the table (42501).  What the triggers
 * of an attached table write, they write as the owner of the extension: so
 * whoever may attach decides who has which projects.
 */
CREATE FUNCTION apikey_attach_projects(relation regclass, id name,
	organization name,
	environments text[] DEFAULT '{production,development}')
RETURNS void
LANGUAGE C SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_attach_projects(regclass, name, name, text[])
FROM PUBLIC;
COMMENT ON FUNCTION apikey_attach_projects(regclass, name, name, text[]) IS
'register the projects in a table, and keep the registry in step with it by triggers';

CREATE FUNCTION apikey_detach_projects(relation regclass) RETURNS void
LANGUAGE C SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_detach_projects(regclass) FROM PUBLIC;
COMMENT ON FUNCTION apikey_detach_projects(regclass) IS
'drop the triggers of apikey_attach_projects; the projects stay registered';

CREATE FUNCTION apikey_internal.sync_projects() RETURNS trigger
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'apikey_sync_projects';
REVOKE ALL ON FUNCTION apikey_internal.sync_projects() FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.sync_projects() IS
'trigger on attached tables: keeps the registry in step';

/*
 * While an organization is suspended each of its keys is refused, whatever else holds
 * for it; none is changed.  42704 for an organization of which there is nothing: no
 * project, no key and no suspension.  What is so already is no event.
 *
 * Here and below a reason is a text of at most 1000 bytes that is not blank (22023),
 * or null for none.  It is for operators: it is in the event, in the server log and, for
 * who may read apikey_keys and has no key in the session, in apikey_explain.  Given again
 * for what is so already, it replaces the reason; a null does not.
 */
CREATE FUNCTION apikey_suspend(organization text, reason text DEFAULT NULL) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_suspend(text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_suspend(text, text) IS
'refuse every API key of an organization until apikey_resume';

CREATE FUNCTION apikey_resume(organization text) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_resume(text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_resume(text) IS
'accept the API keys of an organization again after apikey_suspend';

/*
 * For a copy of a database, which has the keys of the original.  Until the quarantine is
 * lifted each key that is there now is refused, and what is derived from it; none is
 * changed.  Keys that are made later are accepted.
 *
 * "server" is the cluster_name of the server, "database" the name of the database: 22023
 * if it is another one, 22004 for a null.  Where this may be the original (others follow
 * it, it has replication slots, its keys were asked for on this server, the server has no
 * name), it is 55000, unless "insist" is pg_postmaster_start_time(), which the hint shows.
 *
 * Called again, it takes in the keys that were made meanwhile.  Each call is an event.
 */
CREATE FUNCTION apikey_quarantine(server text, database text, reason text DEFAULT NULL,
	insist timestamptz DEFAULT NULL) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_quarantine(text, text, text, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION apikey_quarantine(text, text, text, timestamptz) IS
'refuse every API key that a copy of a database came with, until apikey_lift_quarantine';

/* If there is no quarantine nothing happens. */
CREATE FUNCTION apikey_lift_quarantine() RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_lift_quarantine() FROM PUBLIC;
COMMENT ON FUNCTION apikey_lift_quarantine() IS
'accept the API keys again that apikey_quarantine refuses';

/* -------------------------------------------------------- life of a key */

/*
 * Some drivers make a JSON string of JSON text.  Here and below a string that holds an
 * array, for grants, or an object, for metadata, is taken for what it holds.
 */
CREATE FUNCTION apikey_create(organization text, label text,
	grants jsonb DEFAULT '[]', organization_level apikey_level DEFAULT NULL,
	expires_at timestamptz DEFAULT NULL, created_by text DEFAULT NULL,
	allowed_networks cidr[] DEFAULT NULL, metadata jsonb DEFAULT '{}',
	prefix text DEFAULT NULL, rate_limit text DEFAULT NULL,
	max_derived integer DEFAULT 0)
RETURNS TABLE (key_id uuid, key text)
LANGUAGE C ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_create(text, text, jsonb, apikey_level,
	timestamptz, text, cidr[], jsonb, text, text, integer) FROM PUBLIC;
COMMENT ON FUNCTION apikey_create(text, text, jsonb, apikey_level,
	timestamptz, text, cidr[], jsonb, text, text, integer) IS
'create an API key and return it, the only time that it is shown';

/*
 * The hash of a key of another system, by its scheme: sha256, sha512, hmac-sha256
 * (keyed by what apikey.hmac_key_file holds), bcrypt (with the SHA-256 that it is
 * looked up by), formbricks-v1 or formbricks-v2.
 * strip_prefix, after: what is hashed is the text without strip_prefix, with which it
 * must begin; then, what follows the first "after" in that.
 * created_at: when the other system made the key; null for now.
 * Errors: 22023 for an unknown scheme, for what is not a hash of it, for a
 * created_at in the future; 23505 for a hash that was imported before; 54000 for
 * more than 32 combinations of hash, strip_prefix and after; 55000 for hmac-sha256
 * without a key, F0000 where its file cannot be used; and those of apikey_create.
 */
CREATE FUNCTION apikey_import(organization text, label text, scheme text,
	hash text, lookup text DEFAULT NULL, grants jsonb DEFAULT '[]',
	organization_level apikey_level DEFAULT NULL,
	expires_at timestamptz DEFAULT NULL, created_by text DEFAULT NULL,
	allowed_networks cidr[] DEFAULT NULL, metadata jsonb DEFAULT '{}',
	prefix text DEFAULT NULL, rate_limit text DEFAULT NULL,
	max_derived integer DEFAULT 0, created_at timestamptz DEFAULT NULL,
	strip_prefix text DEFAULT NULL, after text DEFAULT NULL)
RETURNS uuid
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_import(text, text, text, text, text, jsonb,
	apikey_level, timestamptz, text, cidr[], jsonb, text, text, integer, timestamptz,
	text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_import(text, text, text, text, text, jsonb,
	apikey_level, timestamptz, text, cidr[], jsonb, text, text, integer, timestamptz,
	text, text) IS
'take over an API key from another system by its hash';

/*
 * For a key whose text is known, before all are imported: would it work, and if not, why?
 * "good" if it would.  Writes and counts nothing, and keeps nothing of the key.
 * A null or malformed hash, and a null key, are reasons.  22004 for a null scheme, 22023
 * for an unknown one, F0000 where the file of apikey.hmac_key_file cannot be used.
 */
CREATE FUNCTION apikey_check_import(scheme text, hash text, key text,
	lookup text DEFAULT NULL, strip_prefix text DEFAULT NULL,
	after text DEFAULT NULL, OUT works boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_check_import(text, text, text, text, text, text)
FROM PUBLIC;
COMMENT ON FUNCTION apikey_check_import(text, text, text, text, text, text) IS
'tell whether a known API key of another system would work, imported in this way, and if not, why';

CREATE FUNCTION apikey_rotate(key_id uuid, overlap interval DEFAULT '0')
RETURNS TABLE (key_id uuid, key text)
LANGUAGE C ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_rotate(uuid, interval) FROM PUBLIC;
COMMENT ON FUNCTION apikey_rotate(uuid, interval) IS
'give an API key a new secret and return it, the only time that it is shown';

/*
 * The end of an overlap; both raise 55000 where none lasts.  What is refused from then
 * on is superseded.  Only a new secret that is taken back from an imported key is
 * forgotten: the imported one needs the place.
 */
CREATE FUNCTION apikey_cancel_rotation(key_id uuid) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_cancel_rotation(uuid) FROM PUBLIC;
COMMENT ON FUNCTION apikey_cancel_rotation(uuid) IS
'undo apikey_rotate while the overlap lasts: the old secret stays, the new one is refused';

CREATE FUNCTION apikey_finish_rotation(key_id uuid) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_finish_rotation(uuid) FROM PUBLIC;
COMMENT ON FUNCTION apikey_finish_rotation(uuid) IS
'end the overlap of apikey_rotate now: the new secret stays, the old one is refused';

/*
 * A null changes nothing, so that a parameter that was not set takes nothing
 * away: what is to go is named in "remove", which may hold expires_at, created_by,
 * allowed_networks, metadata, rate_limit, max_derived and organization_level.  22023 for
 * other names, and for a field that is both given and removed.  "grants" are all that the
 * key has from then on.  What changes of these, and the organization level, is recorded as
 * by the functions for one of them.
 */
CREATE FUNCTION apikey_update(key_id uuid, label text DEFAULT NULL,
	expires_at timestamptz DEFAULT NULL, created_by text DEFAULT NULL,
	allowed_networks cidr[] DEFAULT NULL, metadata jsonb DEFAULT NULL,
	rate_limit text DEFAULT NULL, max_derived integer DEFAULT NULL,
	organization_level apikey_level DEFAULT NULL, grants jsonb DEFAULT NULL,
	remove text[] DEFAULT '{}')
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_update(uuid, text, timestamptz, text, cidr[],
	jsonb, text, integer, apikey_level, jsonb, text[]) FROM PUBLIC;
COMMENT ON FUNCTION apikey_update(uuid, text, timestamptz, text, cidr[],
	jsonb, text, integer, apikey_level, jsonb, text[]) IS
'change properties of an API key; null leaves a property as it is';

CREATE FUNCTION apikey_grant(key_id uuid, project text, environment text,
	level apikey_level)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_grant(uuid, text, text, apikey_level)
FROM PUBLIC;
COMMENT ON FUNCTION apikey_grant(uuid, text, text, apikey_level) IS
'give an API key a level on a project and an environment, or change it';

CREATE FUNCTION apikey_ungrant(key_id uuid, project text, environment text)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_ungrant(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_ungrant(uuid, text, text) IS
'take away the grant of an API key on exactly this project and environment';

CREATE FUNCTION apikey_set_organization_level(key_id uuid, level apikey_level)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_set_organization_level(uuid, apikey_level)
FROM PUBLIC;
COMMENT ON FUNCTION apikey_set_organization_level(uuid, apikey_level) IS
'set the access that an API key has to its organization itself: read, write, or null for none';

/*
 * Only for the application itself: 42501 in a session with a key.
 */
CREATE FUNCTION apikey_set_budget(key_id uuid, budget bigint,
	refill interval DEFAULT NULL)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_set_budget(uuid, bigint, interval) FROM PUBLIC;
COMMENT ON FUNCTION apikey_set_budget(uuid, bigint, interval) IS
'give an API key a budget, which each refill fills up again; null takes it away';

CREATE FUNCTION apikey_disable(key_id uuid, reason text DEFAULT NULL) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_disable(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_disable(uuid, text) IS
'refuse an API key until apikey_enable';

CREATE FUNCTION apikey_enable(key_id uuid) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_enable(uuid) FROM PUBLIC;
COMMENT ON FUNCTION apikey_enable(uuid) IS
'accept an API key again after apikey_disable';

CREATE FUNCTION apikey_revoke(key_id uuid, reason text DEFAULT NULL) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_revoke(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_revoke(uuid, text) IS
'refuse an API key for ever, and keep its row';

CREATE FUNCTION apikey_delete(key_id uuid) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_delete(uuid) FROM PUBLIC;
COMMENT ON FUNCTION apikey_delete(uuid) IS
'delete an API key with its grants';

/*
 * Whoever holds a key may revoke it: open to PUBLIC, unlike the rest.
 */
CREATE FUNCTION apikey_revoke_self(key text) RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_revoke_self(text) IS
'revoke the API key that is given';

/*
 * Whoever holds a key may derive others from it, too, as many live ones as its
 * max_derived, at all depths.  A derived key may do what "grants" say and what its
 * parent may, as both change; null grants are all that the parent has.  It expires after
 * "lifetime", from a second to 30 days, or with its parent.
 *
 * 28000 for a key that is not good, 53400 above max_derived or its default of 0, 54000
 * for the fifth of a chain, more than 1000 grants, or more than 10000 bytes of label or
 * metadata, 40001 in REPEATABLE READ where others derive meanwhile, 23503 for what is not
 * registered, 22023 and 22004 for other arguments that make no sense, 25006 where nothing
 * can be written.
 *
 * A key and a label are what two strings without a type are taken for.  Lifetime and
 * metadata change places in the second one: so that is clear however many follow.
 */
CREATE FUNCTION apikey_derive(key text, label text, grants jsonb DEFAULT NULL,
	lifetime interval DEFAULT '1 hour', metadata jsonb DEFAULT '{}')
RETURNS TABLE (key_id uuid, key text)
LANGUAGE C ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'apikey_derive_key';
COMMENT ON FUNCTION apikey_derive(text, text, jsonb, interval, jsonb) IS
'create an API key that can do less than another one, and ends with it; return it, the only time that it is shown';

CREATE FUNCTION apikey_derive(label text, grants jsonb DEFAULT NULL,
	metadata jsonb DEFAULT '{}', lifetime interval DEFAULT '1 hour')
RETURNS TABLE (key_id uuid, key text)
LANGUAGE C ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'apikey_derive_session';
COMMENT ON FUNCTION apikey_derive(text, jsonb, jsonb, interval) IS
'the same from the session''s key';

CREATE FUNCTION apikey_purge_derived(before timestamptz) RETURNS bigint
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_purge_derived(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION apikey_purge_derived(timestamptz) IS
'delete the derived API keys that expired before a time, and return how many';

CREATE FUNCTION apikey_purge_events(before timestamptz) RETURNS bigint
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_purge_events(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION apikey_purge_events(timestamptz) IS
'remove the events before a time, and return how many';

/* ------------------------------------------------------------- deciding */

/*
 * These are open to PUBLIC: they answer only to the bearer of a key.  They are
 * neither SECURITY DEFINER nor pin a search_path, because that costs more
 * than the decision; the C code looks up nothing by search_path.  A null or
 * a bad key, project or environment gives false; a verb that does not exist
 * raises 22023.
 *
 * Identifiers are text or anything else, in all combinations: a literal or a
 * parameter without a type is text then, whatever the other one is.
 */
CREATE FUNCTION apikey_internal.support(request internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_support';
REVOKE ALL ON FUNCTION apikey_internal.support(internal) FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.support(internal) IS
'planner support for apikey_authorize: index conditions, selectivity, cost';

CREATE FUNCTION apikey_authorize(key text, project text, environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_key';
COMMENT ON FUNCTION apikey_authorize(text, text, text, text) IS
'decide whether an API key allows a verb in an environment of a project';

CREATE FUNCTION apikey_authorize(key text, project text, environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_key';
COMMENT ON FUNCTION apikey_authorize(text, text, "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_authorize(key text, project "any", environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_key';
COMMENT ON FUNCTION apikey_authorize(text, "any", text, text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_authorize(key text, project "any", environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_key';
COMMENT ON FUNCTION apikey_authorize(text, "any", "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_authorize(project text, environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_session';
COMMENT ON FUNCTION apikey_authorize(text, text, text) IS
'the same for the session''s key';

CREATE FUNCTION apikey_authorize(project text, environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_session';
COMMENT ON FUNCTION apikey_authorize(text, "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_authorize(project "any", environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_session';
COMMENT ON FUNCTION apikey_authorize("any", text, text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_authorize(project "any", environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_session';
COMMENT ON FUNCTION apikey_authorize("any", "any", text) IS
'the same for identifiers that are not all text';

/*
 * What the planner puts into the place of apikey_authorize in a policy that is checked
 * after a restrictive one: LEAKPROOF, for the verb is a constant, and project and
 * environment are columns, or constants, of a type that is text, varchar, uuid or an
 * integer.  Any other call raises 0A000, whatever the row.  src/planner/leakproof.c says
 * why it tells nothing else.
 */
CREATE FUNCTION apikey_internal.authorize(project "any", environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE LEAKPROOF PARALLEL SAFE SUPPORT apikey_internal.support
AS 'MODULE_PATHNAME', 'apikey_authorize_leakproof';
COMMENT ON FUNCTION apikey_internal.authorize("any", "any", text) IS
'apikey_authorize in a policy that is checked after others';

CREATE FUNCTION apikey_internal.organization_support(request internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_organization_support';
REVOKE ALL ON FUNCTION apikey_internal.organization_support(internal) FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.organization_support(internal) IS
'planner support for apikey_authorize_organization: index conditions, selectivity, cost';

CREATE FUNCTION apikey_authorize_organization(key text, organization text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.organization_support
AS 'MODULE_PATHNAME', 'apikey_authorize_organization_key';
COMMENT ON FUNCTION apikey_authorize_organization(text, text, text) IS
'decide by its organization level whether an API key allows a verb on an organization';

CREATE FUNCTION apikey_authorize_organization(key text, organization "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.organization_support
AS 'MODULE_PATHNAME', 'apikey_authorize_organization_key';
COMMENT ON FUNCTION apikey_authorize_organization(text, "any", text) IS
'the same for an identifier that is not text';

CREATE FUNCTION apikey_authorize_organization(organization text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.organization_support
AS 'MODULE_PATHNAME', 'apikey_authorize_organization_session';
COMMENT ON FUNCTION apikey_authorize_organization(text, text) IS
'the same for the session''s key';

CREATE FUNCTION apikey_authorize_organization(organization "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE SUPPORT apikey_internal.organization_support
AS 'MODULE_PATHNAME', 'apikey_authorize_organization_session';
COMMENT ON FUNCTION apikey_authorize_organization("any", text) IS
'the same for an identifier that is not text';

CREATE FUNCTION apikey_require(key text, project text, environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_key';
COMMENT ON FUNCTION apikey_require(text, text, text, text) IS
'return true if an API key allows a verb in an environment of a project, else raise 42501';

CREATE FUNCTION apikey_require(key text, project text, environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_key';
COMMENT ON FUNCTION apikey_require(text, text, "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_require(key text, project "any", environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_key';
COMMENT ON FUNCTION apikey_require(text, "any", text, text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_require(key text, project "any", environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_key';
COMMENT ON FUNCTION apikey_require(text, "any", "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_require(project text, environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_session';
COMMENT ON FUNCTION apikey_require(text, text, text) IS
'the same for the session''s key';

CREATE FUNCTION apikey_require(project text, environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_session';
COMMENT ON FUNCTION apikey_require(text, "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_require(project "any", environment text, verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_session';
COMMENT ON FUNCTION apikey_require("any", text, text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_require(project "any", environment "any", verb text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_require_session';
COMMENT ON FUNCTION apikey_require("any", "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_explain(key text, project text, environment text, verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_key';
COMMENT ON FUNCTION apikey_explain(text, text, text, text) IS
'return the verdict of apikey_authorize and the reason for it';

CREATE FUNCTION apikey_explain(key text, project text, environment "any", verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_key';
COMMENT ON FUNCTION apikey_explain(text, text, "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_explain(key text, project "any", environment text, verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_key';
COMMENT ON FUNCTION apikey_explain(text, "any", text, text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_explain(key text, project "any", environment "any", verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_key';
COMMENT ON FUNCTION apikey_explain(text, "any", "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_explain(project text, environment text, verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_session';
COMMENT ON FUNCTION apikey_explain(text, text, text) IS
'the same for the session''s key';

CREATE FUNCTION apikey_explain(project text, environment "any", verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_session';
COMMENT ON FUNCTION apikey_explain(text, "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_explain(project "any", environment text, verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_session';
COMMENT ON FUNCTION apikey_explain("any", text, text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_explain(project "any", environment "any", verb text,
	OUT allowed boolean, OUT reason text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_explain_session';
COMMENT ON FUNCTION apikey_explain("any", "any", text) IS
'the same for identifiers that are not all text';

CREATE FUNCTION apikey_projects(verb text)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_session';
COMMENT ON FUNCTION apikey_projects(text) IS
'list the projects where the session''s key allows a verb';

CREATE FUNCTION apikey_projects(verb text, environment text)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_session';
COMMENT ON FUNCTION apikey_projects(text, text) IS
'the same in this environment';

CREATE FUNCTION apikey_projects(verb text, environment "any")
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_session';
COMMENT ON FUNCTION apikey_projects(text, "any") IS
'the same for an identifier that is not text';

CREATE FUNCTION apikey_projects_of(key text, verb text)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_key';
COMMENT ON FUNCTION apikey_projects_of(text, text) IS
'list the projects where an API key allows a verb';

CREATE FUNCTION apikey_projects_of(key text, verb text, environment text)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_key';
COMMENT ON FUNCTION apikey_projects_of(text, text, text) IS
'the same in this environment';

CREATE FUNCTION apikey_projects_of(key text, verb text, environment "any")
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_key';
COMMENT ON FUNCTION apikey_projects_of(text, text, "any") IS
'the same for an identifier that is not text';

/*
 * For index conditions: the same, and the other way round, as arrays of the type of
 * the first argument, whose value does not matter: text, varchar, uuid, smallint,
 * integer, bigint or an enum (42804 for others).  What has no value of that type
 * is left out.
 */
CREATE FUNCTION apikey_internal.projects(type anyelement, verb text)
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_as_session';
COMMENT ON FUNCTION apikey_internal.projects(anyelement, text) IS
'projects where the session''s key allows a verb in some environment, as values of a type';

CREATE FUNCTION apikey_internal.projects(type anyelement, verb text, environment "any")
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_as_session';
COMMENT ON FUNCTION apikey_internal.projects(anyelement, text, "any") IS
'projects where the session''s key allows a verb in this environment, as values of a type';

CREATE FUNCTION apikey_internal.projects_of(type anyelement, key text, verb text)
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_as_key';
COMMENT ON FUNCTION apikey_internal.projects_of(anyelement, text, text) IS
'projects where an API key allows a verb in some environment, as values of a type';

CREATE FUNCTION apikey_internal.projects_of(type anyelement, key text, verb text, environment "any")
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_projects_as_key';
COMMENT ON FUNCTION apikey_internal.projects_of(anyelement, text, text, "any") IS
'projects where an API key allows a verb in this environment, as values of a type';

CREATE FUNCTION apikey_internal.environments(type anyelement, verb text)
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_environments_as_session';
COMMENT ON FUNCTION apikey_internal.environments(anyelement, text) IS
'environments where the session''s key allows a verb in some project, as values of a type';

CREATE FUNCTION apikey_internal.environments(type anyelement, verb text, project "any")
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_environments_as_session';
COMMENT ON FUNCTION apikey_internal.environments(anyelement, text, "any") IS
'environments where the session''s key allows a verb in this project, as values of a type';

CREATE FUNCTION apikey_internal.environments_of(type anyelement, key text, verb text)
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_environments_as_key';
COMMENT ON FUNCTION apikey_internal.environments_of(anyelement, text, text) IS
'environments where an API key allows a verb in some project, as values of a type';

CREATE FUNCTION apikey_internal.environments_of(type anyelement, key text, verb text, project "any")
RETURNS anyarray
LANGUAGE C STABLE PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_environments_as_key';
COMMENT ON FUNCTION apikey_internal.environments_of(anyelement, text, text, "any") IS
'environments where an API key allows a verb in this project, as values of a type';

/*
 * What the planner compares a column with to find the partitions that have one of the
 * values.  Plans with it are begun without it: it is an error (0A000) to call it, but for
 * NULL, see src/planner/prune.c.
 */
CREATE FUNCTION apikey_internal.any_of(list anyarray) RETURNS anyelement
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_any_of';
COMMENT ON FUNCTION apikey_internal.any_of(anyarray) IS
'stands for each of these values, in plans of tables with partitions';

/*
 * What the planner compares a column with in the place of
 * apikey_authorize_organization: the organization of the key if that has the level,
 * else null; as a value of the type of the first argument, likewise.  "unknown" keeps
 * the planner from asking what it is now: see src/planner/organization.c.
 */
CREATE FUNCTION apikey_internal.unknown() RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_unknown';
COMMENT ON FUNCTION apikey_internal.unknown() IS
'null, which the planner does not know';

CREATE FUNCTION apikey_internal.organization(type anyelement, verb text)
RETURNS anyelement
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_organization_session';
COMMENT ON FUNCTION apikey_internal.organization(anyelement, text) IS
'the organization of the session''s key, as a value of a type, if the key allows a verb on it';

CREATE FUNCTION apikey_internal.organization(type anyelement, verb text, unknown record)
RETURNS anyelement
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_organization_session';
COMMENT ON FUNCTION apikey_internal.organization(anyelement, text, record) IS
'the same, as an organization that the planner does not know';

CREATE FUNCTION apikey_internal.organization_of(type anyelement, key text, verb text)
RETURNS anyelement
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_organization_key';
COMMENT ON FUNCTION apikey_internal.organization_of(anyelement, text, text) IS
'the organization of an API key, as a value of a type, if the key allows a verb on it';

CREATE FUNCTION apikey_internal.organization_of(type anyelement, key text, verb text, unknown record)
RETURNS anyelement
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_organization_key';
COMMENT ON FUNCTION apikey_internal.organization_of(anyelement, text, text, record) IS
'the same, as an organization that the planner does not know';

CREATE FUNCTION apikey_verify(key text)
RETURNS TABLE (key_id uuid, organization text, organization_level text,
	label text, expires_at timestamptz,
	created_at timestamptz, created_by text, metadata jsonb)
LANGUAGE C VOLATILE ROWS 1 PARALLEL RESTRICTED
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_verify(text) IS
'return one row about an API key if it is good, else none';

/* ------------------------------------------------------------- spending */

/*
 * Open to PUBLIC: the bearer of a key may spend what it has, and can add nothing.
 * One statement takes the amount, after a refill that is due; it is undone with
 * the transaction.  22004 for a null amount, 22023 for one below 1, 25006 where
 * nothing can be written.
 *
 * Whose budget it is depends on the number of arguments alone, so no amount is ever
 * taken for a key.
 */
CREATE FUNCTION apikey_spend(key text, amount bigint)
RETURNS bigint
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'apikey_spend_key';
COMMENT ON FUNCTION apikey_spend(text, bigint) IS
'take an amount from the budget of an API key, and return what remains';

CREATE FUNCTION apikey_spend(amount bigint DEFAULT 1) RETURNS bigint
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'apikey_spend_session';
COMMENT ON FUNCTION apikey_spend(bigint) IS
'the same for the session''s key';

/* ---------------------------------------------------- the session's key */

/*
 * With Citus, log-in and log-out go to all servers that the transaction reaches, see
 * src/auth/citus.h: 55000 where they would not.
 */
CREATE FUNCTION apikey_login(key text)
RETURNS TABLE (key_id uuid, organization text, organization_level text,
	label text, expires_at timestamptz,
	created_at timestamptz, created_by text, metadata jsonb)
LANGUAGE C VOLATILE ROWS 1 PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_login(text) IS
'make an API key the session''s key until the end of the transaction';

CREATE FUNCTION apikey_pre_request() RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_pre_request() IS
'log in with the API key in the headers of a request, as db-pre-request of PostgREST';

CREATE FUNCTION apikey_rate_limit(key text)
RETURNS TABLE (rate_limit text, remaining bigint, retry_after double precision)
LANGUAGE C STABLE ROWS 1 PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_rate_limit(text) IS
'return the rate limit of an API key, and what is left of it';

CREATE FUNCTION apikey_whoami()
RETURNS TABLE (key_id uuid, organization text, organization_level text,
	label text, expires_at timestamptz,
	created_at timestamptz, created_by text, metadata jsonb)
LANGUAGE C STABLE ROWS 1 PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_whoami() IS
'return one row about the session''s key if it is good, else none';

CREATE FUNCTION apikey_key_id() RETURNS uuid
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_key_id() IS
'return the id of the session''s key if it is good, else null';

CREATE FUNCTION apikey_logout() RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_logout() IS
'leave the session without a key for the rest of the transaction';

/* -------------------------------------------------- row-level security */

/*
 * These run as the caller, who must own the table (42501).  Columns are of the types
 * that identifiers may have, without an implicit cast to text (42804).  What one of the
 * first two has made of a table the other one replaces.
 */
CREATE FUNCTION apikey_protect(relation regclass, project_column name,
	environment_column name, force boolean DEFAULT false,
	strict boolean DEFAULT false)
RETURNS void
LANGUAGE C SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_protect(regclass, name, name, boolean, boolean) IS
'enable row-level security on a table, with policies that ask for the session''s key';

CREATE FUNCTION apikey_protect_organization(relation regclass,
	organization_column name, force boolean DEFAULT false,
	strict boolean DEFAULT false)
RETURNS void
LANGUAGE C SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_protect_organization(regclass, name, boolean, boolean) IS
'enable row-level security on a table, with policies that ask for the organization level of the session''s key';

CREATE FUNCTION apikey_unprotect(relation regclass) RETURNS void
LANGUAGE C SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_unprotect(regclass) IS
'undo apikey_protect, or apikey_protect_organization';

/*
 * Why does a key see so few rows, and why so slowly?  The caller must be allowed to read
 * the table (42501).  It is read as the caller, or as its owner if the caller is
 * not subject to its policies.
 */
CREATE FUNCTION apikey_explain_rls(relation regclass, key text)
RETURNS TABLE (key_state text, projects text[], visible_rows bigint,
	indexed boolean, plan text, advice text)
LANGUAGE C ROWS 1 SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_explain_rls(regclass, text) IS
'show what an API key can see of a table, how the rows are found, and what could be better';

CREATE FUNCTION apikey_explain_rls(relation regclass)
RETURNS TABLE (key_state text, projects text[], visible_rows bigint,
	indexed boolean, plan text, advice text)
LANGUAGE C ROWS 1 SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_explain_rls(regclass) IS
'the same for the session''s key';

/*
 * How would a query read its tables?  It is planned as the caller, by the caller's
 * search_path, and not executed.  The caller needs the rights that it would take
 * to run it (42501), and must not bypass row-level security (55000).  22023 if it
 * is not one SELECT, INSERT, UPDATE, DELETE or MERGE, 22004 if it is null.
 */
CREATE FUNCTION apikey_explain_query(query text, key text)
RETURNS TABLE (relation regclass, alias text, scan text, why_not text, advice text)
LANGUAGE C ROWS 1
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_explain_query(text, text) IS
'show how a query would read each of its tables with an API key, and why not by an ordered scan';

CREATE FUNCTION apikey_explain_query(query text)
RETURNS TABLE (relation regclass, alias text, scan text, why_not text, advice text)
LANGUAGE C ROWS 1
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_explain_query(text) IS
'the same for the session''s key';

CREATE FUNCTION apikey_internal.policy_columns(policy oid, OUT project name,
	OUT environment name, OUT strict boolean, OUT organization name)
RETURNS record
LANGUAGE C STABLE STRICT
AS 'MODULE_PATHNAME', 'apikey_policy_columns';
COMMENT ON FUNCTION apikey_internal.policy_columns(oid) IS
'columns that a policy made by apikey_protect or apikey_protect_organization asks about, and whether it leaves what is done to rows to triggers; nulls for any other policy';

/*
 * What policies and triggers of strict tables call; see src/planner/strict.c.  "judged"
 * raises 55000 for a table without those triggers, and 42501 where they would not judge
 * the current role.  Whoever attaches a partition needs the right to call
 * "judge"; nobody can name it, and it does nothing but refuse.
 */
CREATE FUNCTION apikey_internal.judged_support(request internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_judged_support';
REVOKE ALL ON FUNCTION apikey_internal.judged_support(internal) FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.judged_support(internal) IS
'planner support for apikey_internal.judged: selectivity';

CREATE FUNCTION apikey_internal.judged(relation oid) RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE STRICT SUPPORT apikey_internal.judged_support
AS 'MODULE_PATHNAME', 'apikey_judged';
COMMENT ON FUNCTION apikey_internal.judged(oid) IS
'true if the triggers of a strict table judge what the current role does to its rows, else an error';

CREATE FUNCTION apikey_internal.judge() RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'apikey_judge';
COMMENT ON FUNCTION apikey_internal.judge() IS
'trigger on strict tables: refuses what the session''s key may not do';

/* ---------------------------------------------------------------- leaks */

/*
 * A row for each string in the text that has the form of a key, in order:
 * position counts characters from 1; key is masked; key_id and organization are
 * null unless the key proved itself; status is then that of the view
 * apikey_keys, whatever network the client is in, or "superseded".  Otherwise it is
 * "unknown", or "malformed" where the checksum is wrong.  A null text has no rows.
 *
 * A key whose '_' is escaped is found, too; apikey_report_leak also finds those that
 * are broken over lines, and so does apikey_find_keys if join_lines is true.
 *
 * apikey_find_keys is open to PUBLIC: it tells only about keys that the caller has.
 * apikey_report_leak records a superseded secret, and leaves its key alone.
 */
CREATE FUNCTION apikey_find_keys(text text, join_lines boolean DEFAULT false)
RETURNS TABLE ("position" integer, key text, key_id uuid, organization text,
	status text)
LANGUAGE C STABLE ROWS 1 PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_find_keys(text, boolean) IS
'find the API keys in a text, and tell whose they are';

CREATE FUNCTION apikey_report_leak(text text, source text DEFAULT NULL)
RETURNS TABLE ("position" integer, key text, key_id uuid, organization text,
	status text)
LANGUAGE C ROWS 1 COST 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_report_leak(text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_report_leak(text, text) IS
'revoke every API key in a text, and return the rows of apikey_find_keys after that';

CREATE FUNCTION apikey_pattern(prefix text DEFAULT NULL) RETURNS text
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_pattern(text) IS
'return a regular expression that matches API keys with a prefix, for secret scanners';

/*
 * The alert is [{"token": ..., "type": ..., "url": ..., "source": ...}, ...];
 * 22023 if it is not.  The answer has an element for each of its elements:
 * {"token_hash": SHA-256 of the token in hexadecimal, "token_type": the type,
 * "label": "true_positive" if a key proved itself, even by a superseded secret, else
 * "false_positive"}.
 */
CREATE FUNCTION apikey_scanner_alert(alert jsonb) RETURNS jsonb
LANGUAGE C COST 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_scanner_alert(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION apikey_scanner_alert(jsonb) IS
'revoke every API key that an alert of GitHub''s secret scanning reports, and return the answer to it';

/* -------------------------------------------------------------- looking */

CREATE FUNCTION apikey_internal.masked(prefix text, key_id uuid) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_masked';
COMMENT ON FUNCTION apikey_internal.masked(text, uuid) IS
'what may be shown of an API key: its prefix and id';

CREATE FUNCTION apikey_cache_stats(OUT keys bigint, OUT bytes bigint,
	OUT hits bigint, OUT builds bigint, OUT flushes bigint,
	OUT evictions bigint)
RETURNS record
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION apikey_cache_stats() IS
'show what this session has cached of keys and of the registry';

/*
 * Use is counted where the extension is preloaded: by each server for itself, and
 * shown together with what its background worker has written.
 *
 * Whoever may read a view must be allowed to call its functions, so these are open
 * to PUBLIC; but only in the view, for nobody may look into their schema.  All but
 * last_used, last_used_from and counters raise 55000 where the extension is not preloaded.
 */
CREATE FUNCTION apikey_internal.last_used(key_id uuid) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_last_used';
COMMENT ON FUNCTION apikey_internal.last_used(uuid) IS
'for the view apikey_keys: when an API key was last used; null if never';

CREATE FUNCTION apikey_internal.last_used_from(key_id uuid) RETURNS inet
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_last_used_from';
COMMENT ON FUNCTION apikey_internal.last_used_from(uuid) IS
'for the view apikey_keys: the client address of the last use of an API key; null if there was none';

CREATE FUNCTION apikey_internal.usage_of(key_id uuid, OUT uses bigint,
	OUT refusals bigint, OUT last_used_at timestamptz, OUT last_used_from inet,
	OUT old_secret_used_at timestamptz, OUT last_refused_at timestamptz)
RETURNS record
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100
AS 'MODULE_PATHNAME', 'apikey_usage_of';
COMMENT ON FUNCTION apikey_internal.usage_of(uuid) IS
'for the view apikey_usage: how often an API key was used and refused, when last, and from where';

CREATE FUNCTION apikey_internal.usage_hours_of(key_id uuid)
RETURNS TABLE (hour timestamptz, uses bigint, refusals bigint)
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100 ROWS 100
AS 'MODULE_PATHNAME', 'apikey_usage_hours_of';
COMMENT ON FUNCTION apikey_internal.usage_hours_of(uuid) IS
'for the view apikey_usage_hours: how often an API key was used and refused, by hour';

CREATE FUNCTION apikey_internal.guesses()
RETURNS TABLE (address inet, refusals bigint, over_limit bigint,
	first_at timestamptz, last_at timestamptz)
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'apikey_guesses_here';
COMMENT ON FUNCTION apikey_internal.guesses() IS
'for the view apikey_guesses: addresses, and how often each sent text that is no API key';

/*
 * Since the server started, in all its databases.  Empty where the extension is not
 * preloaded, so that whoever watches servers of both kinds can ask whether this is one.
 */
CREATE FUNCTION apikey_internal.counters()
RETURNS TABLE (counter text, reason text, total bigint)
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'apikey_counters_here';
COMMENT ON FUNCTION apikey_internal.counters() IS
'for the view apikey_counters: uses, guesses, and refusals by reason';

CREATE FUNCTION apikey_usage_stats(OUT keys bigint, OUT pending bigint,
	OUT capacity bigint, OUT bytes bigint, OUT lost_uses bigint,
	OUT lost_refusals bigint, OUT flushed_at timestamptz)
RETURNS record
LANGUAGE C VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_usage_stats() FROM PUBLIC;
COMMENT ON FUNCTION apikey_usage_stats() IS
'show the shared memory of this server that counts the use of keys';

/*
 * What is seen: without a session's key all; with one what is of its organization, if it
 * is good and has an organization level, else nothing.  What is of no organization, null,
 * is seen without a key alone.
 *
 * "sees" says that of an organization, "seen" which names these are: from the first one
 * to the last, null for none.  That is the same for a column that cannot be null, and
 * what indexes are asked for.
 *
 * Each view has this condition on each of its rows, and is a security_barrier, which
 * src/planner/views.c knows how to plan: one table, beside which FROM has functions of its
 * rows alone.  What the service's staff has written a customer does not see: without a
 * key, sees(NULL) is true.
 *
 * A view of one table alone could be updated, by whoever was granted ALL on it, past the
 * functions.  So beside such a table stands "read_only", which is nothing.
 *
 * PARALLEL RESTRICTED, for a worker does not know that a session's key was refused.
 */
CREATE FUNCTION apikey_internal.sees_support(request internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_sees_support';
REVOKE ALL ON FUNCTION apikey_internal.sees_support(internal) FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.sees_support(internal) IS
'planner support for apikey_internal.sees: index conditions, selectivity, cost';

CREATE FUNCTION apikey_internal.sees(organization text) RETURNS boolean
LANGUAGE C STABLE PARALLEL RESTRICTED SUPPORT apikey_internal.sees_support
AS 'MODULE_PATHNAME', 'apikey_sees';
COMMENT ON FUNCTION apikey_internal.sees(text) IS
'for the views: may this session see what is of an organization, or, for null, what is of none?';

CREATE FUNCTION apikey_internal.seen(last boolean) RETURNS text
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'apikey_seen';
COMMENT ON FUNCTION apikey_internal.seen(boolean) IS
'for indexes: the first, or the last, of the names of organizations that this session may see; null for none';

CREATE FUNCTION apikey_internal.told(organization text, acting_key uuid) RETURNS boolean
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'apikey_told';
COMMENT ON FUNCTION apikey_internal.told(text, uuid) IS
'for the view apikey_events: may this session see who made a change of an organization, and why? With a key, if a key of the organization did';

CREATE VIEW apikey_registry WITH (security_barrier) AS
SELECT p.organization, p.project,
	ARRAY(SELECT e.environment FROM apikey_environment e
		WHERE e.project = p.project AND e.environment <> '*'
		ORDER BY e.environment) AS environments,
	(SELECT s.suspended_at FROM apikey_suspension s
		WHERE s.organization = p.organization) AS suspended_at,
	CASE WHEN apikey_internal.sees(NULL) THEN
		(SELECT s.reason FROM apikey_suspension s
			WHERE s.organization = p.organization) END AS suspended_reason
FROM apikey_project p, (SELECT) read_only
WHERE apikey_internal.sees(p.organization);
COMMENT ON VIEW apikey_registry IS
'the projects of each organization, their environments, and whether it is suspended';

CREATE FUNCTION apikey_internal.trigger_arguments(arguments bytea) RETURNS text[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_trigger_arguments';
COMMENT ON FUNCTION apikey_internal.trigger_arguments(bytea) IS
'for the view apikey_attached: the arguments of a trigger, one by one';

/* Other triggers that somebody made by hand do nothing but fail. */
CREATE VIEW apikey_attached WITH (security_barrier) AS
SELECT t.tgrelid::regclass AS relation, a.names[1]::name AS id,
	a.names[2]::name AS organization, a.names[3:] AS environments,
	count(DISTINCT t.tgtype) = 2 AND bool_and(t.tgenabled = 'A') AS enabled
FROM pg_trigger t,
	LATERAL (SELECT apikey_internal.trigger_arguments(t.tgargs)) a (names)
WHERE t.tgfoid = 'apikey_internal.sync_projects'::regproc::oid AND t.tgnargs > 2
	AND apikey_internal.sees(NULL)
GROUP BY t.tgrelid, a.names;
COMMENT ON VIEW apikey_attached IS
'the tables under apikey_attach_projects';

/*
 * What refuses an ancestor refuses what is derived from it, and so does one that is
 * missing, which no foreign key lets happen.  Five rows at most, and for derived keys
 * alone.
 */
CREATE FUNCTION apikey_internal.derived_status(key_id uuid) RETURNS text
LANGUAGE SQL STABLE PARALLEL SAFE COST 1000
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH RECURSIVE chain AS (
		SELECT k.organization, k.parent_id, k.revoked_at, k.expires_at, k.disabled_at,
			EXISTS (SELECT FROM apikey_suspension s
				WHERE s.organization = k.organization) AS suspended, 0 AS depth,
			greatest(k.created_at, k.imported_at) AS since
		FROM apikey_key k WHERE k.key_id = derived_status.key_id
		UNION ALL
		SELECT k.organization, k.parent_id, k.revoked_at, k.expires_at, k.disabled_at,
			c.suspended, c.depth + 1, greatest(k.created_at, k.imported_at)
		FROM chain c JOIN apikey_key k ON k.key_id = c.parent_id
			AND k.organization = c.organization WHERE c.depth < 4)
	SELECT CASE WHEN bool_or(revoked_at IS NOT NULL) OR bool_and(parent_id IS NOT NULL)
			THEN 'revoked'
		WHEN min(expires_at) <= greatest(statement_timestamp(), now()) THEN 'expired'
		WHEN bool_or(disabled_at IS NOT NULL) THEN 'disabled'
		WHEN bool_or(suspended) THEN 'suspended'
		WHEN min(since) <= (SELECT suspended_at FROM apikey_suspension
			WHERE organization = '*') THEN 'quarantined'
		ELSE 'active' END
	FROM chain;
END;
COMMENT ON FUNCTION apikey_internal.derived_status(uuid) IS
'for the view apikey_keys: the status of a derived API key';

CREATE VIEW apikey_keys WITH (security_barrier) AS
SELECT key_id, k.organization, label,
	CASE WHEN scheme IS NOT NULL THEN apikey_internal.masked(prefix, key_id) END AS key,
	CASE WHEN parent_id IS NOT NULL THEN apikey_internal.derived_status(key_id)
		WHEN revoked_at IS NOT NULL THEN 'revoked'
		WHEN expires_at <= greatest(statement_timestamp(), now()) THEN 'expired'
		WHEN disabled_at IS NOT NULL THEN 'disabled'
		WHEN (SELECT u.suspended_at FROM apikey_suspension u
			WHERE u.organization = k.organization) IS NOT NULL THEN 'suspended'
		WHEN greatest(k.created_at, k.imported_at) <= (SELECT q.suspended_at
			FROM apikey_suspension q WHERE q.organization = '*') THEN 'quarantined'
		ELSE 'active' END AS status,
	organization_level, expires_at, created_at, created_by, allowed_networks,
	metadata, disabled_at, revoked_at,
	apikey_internal.rate_limit_text(rate_count, rate_interval, rate_burst) AS rate_limit,
	apikey_internal.last_used(key_id) AS last_used_at,
	apikey_internal.last_used_from(key_id) AS last_used_from,
	CASE WHEN apikey_internal.sees(NULL) THEN disabled_reason END AS disabled_reason,
	CASE WHEN apikey_internal.sees(NULL) THEN revoked_reason END AS revoked_reason,
	parent_id,
	coalesce((SELECT d.max_derived FROM apikey_derivation d
		WHERE d.key_id = k.key_id), 0) AS max_derived,
	(SELECT s.expires_at FROM apikey_secret s
		WHERE s.key_id = k.key_id AND k.scheme IS NOT NULL AND k.revoked_at IS NULL
			AND s.expires_at > greatest(statement_timestamp(), now())) AS overlap_until,
	imported_at
FROM apikey_key k, (SELECT) read_only
WHERE apikey_internal.sees(k.organization);
COMMENT ON VIEW apikey_keys IS
'API keys, without anything that could be used as one';

CREATE VIEW apikey_grants WITH (security_barrier) AS
SELECT key_id, coalesce(project, '*') AS project, environment, level,
	organization
FROM apikey_grant, (SELECT) read_only
WHERE apikey_internal.sees(organization);
COMMENT ON VIEW apikey_grants IS
'what each API key may do';

CREATE FUNCTION apikey_internal.budget_period(started_at timestamptz, refill interval,
	at timestamptz, OUT refilled_at timestamptz, OUT refills_at timestamptz)
RETURNS record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_budget_period';
COMMENT ON FUNCTION apikey_internal.budget_period(timestamptz, interval, timestamptz) IS
'the period of a budget that a time falls into, by the calendar of UTC: when it was filled up, and when it will be';

CREATE VIEW apikey_budgets WITH (security_barrier) AS
SELECT b.key_id, b.organization, b.budget,
	CASE WHEN b.refills_at <= greatest(statement_timestamp(), now()) THEN b.budget
		ELSE b.remaining END AS remaining,
	b.refill, coalesce(p.refilled_at, b.started_at) AS refilled_at,
	p.refills_at
FROM apikey_budget b,
	LATERAL apikey_internal.budget_period(b.started_at, b.refill,
		greatest(statement_timestamp(), now())) p
WHERE apikey_internal.sees(b.organization);
COMMENT ON VIEW apikey_budgets IS
'what is left of the budget of each API key that has one';

-- events of no organization have no index that could be asked
CREATE VIEW apikey_events WITH (security_barrier) AS
SELECT at, action, key_id, organization,
	CASE WHEN apikey_internal.sees(NULL) THEN role END AS role,
	CASE WHEN apikey_internal.told(organization, acting_key) THEN application_user
		END AS application_user,
	acting_key,
	CASE WHEN apikey_internal.told(organization, acting_key) THEN address END AS address,
	CASE WHEN apikey_internal.told(organization, acting_key) THEN detail
		ELSE detail - '{reason,changed}'::text[] END AS detail,
	event_id
FROM apikey_event, (SELECT) read_only
WHERE apikey_internal.sees(nullif(organization, ''));
COMMENT ON VIEW apikey_events IS
'every change of keys, grants and the registry: what, who, when, and from where';

CREATE VIEW apikey_usage WITH (security_barrier) AS
SELECT k.key_id, k.organization, k.label, u.uses, u.refusals, u.last_used_at,
	u.last_used_from,
	(SELECT u.old_secret_used_at FROM apikey_secret s
		WHERE s.key_id = k.key_id AND s.replaced_at <= u.old_secret_used_at) AS old_secret_used_at,
	u.last_refused_at
FROM apikey_key k, LATERAL apikey_internal.usage_of(k.key_id) u
WHERE apikey_internal.sees(k.organization);
COMMENT ON VIEW apikey_usage IS
'how often each API key was used and refused on this server, when last, and from where';

CREATE VIEW apikey_usage_hours WITH (security_barrier) AS
SELECT k.key_id, k.organization, u.hour, u.uses, u.refusals
FROM apikey_key k, LATERAL apikey_internal.usage_hours_of(k.key_id) u
WHERE apikey_internal.sees(k.organization);
COMMENT ON VIEW apikey_usage_hours IS
'how often each API key was used and refused on this server, by hour';

CREATE VIEW apikey_counters WITH (security_barrier) AS
SELECT counter, reason, total
FROM apikey_internal.counters()
WHERE apikey_internal.sees(NULL);
COMMENT ON VIEW apikey_counters IS
'how often this server used and refused keys, by reason, and refused what is no key';

CREATE VIEW apikey_guesses WITH (security_barrier) AS
SELECT address, refusals, over_limit, first_at, last_at
FROM apikey_internal.guesses()
WHERE apikey_internal.sees(NULL);
COMMENT ON VIEW apikey_guesses IS
'the client addresses from which this server was sent text that is no API key';

/*
 * The triggers of strict tables are counted in strict.c as well: there from the relcache,
 * under a lock on the table.  A view that waits for locks is no help when one is held.
 */
CREATE VIEW apikey_internal.protected AS
SELECT p.polrelid::regclass AS relation, c.project, c.environment,
	r.relrowsecurity AS enabled, r.relforcerowsecurity AS forced,
	EXISTS (SELECT FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = p.polrelid AND i.indisvalid AND i.indpred IS NULL
		AND a.attname = coalesce(c.project, c.organization)) AS indexed,
	2 = (SELECT count(*) FROM pg_policy s,
		LATERAL apikey_internal.policy_columns(s.oid) j
		WHERE s.polrelid = p.polrelid AND j.strict)
	AND 3 = (SELECT count(*) FROM pg_trigger t
		WHERE t.tgrelid = p.polrelid AND t.tgenabled = 'A'
		AND t.tgfoid = 'apikey_internal.judge()'::regprocedure) AS strict,
	c.organization
FROM pg_policy p
	JOIN pg_class r ON r.oid = p.polrelid,
	LATERAL apikey_internal.policy_columns(p.oid) c
WHERE p.polname = 'apikey_select' AND p.polcmd = 'r' AND c.strict IS NOT NULL;
COMMENT ON VIEW apikey_internal.protected IS
'for apikey_protected and apikey_reach: the same, whoever looks';

CREATE VIEW apikey_protected WITH (security_barrier) AS
SELECT relation, project, environment, enabled, forced, indexed, strict, organization
FROM apikey_internal.protected
WHERE apikey_internal.sees(NULL);
COMMENT ON VIEW apikey_protected IS
'the tables under apikey_protect or apikey_protect_organization';

/*
 * These look at keys from the other side.  They run as the owner of the extension,
 * by the snapshot of the statement that calls them, and so see what the views do:
 * what had been committed when it began, in REPEATABLE READ when the transaction
 * did, and what this transaction did before.  The deciding functions see what has
 * been committed since, too.
 *
 * Bodies are bound when they are made, to columns, but to no constraint: users may
 * replace those.  The first statement of each raises the errors, whatever there is
 * to be found; what it says is called once more where it is used.
 */
CREATE FUNCTION apikey_internal.check_key(key_id uuid, is_there boolean)
RETURNS void
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_check_key';
COMMENT ON FUNCTION apikey_internal.check_key(uuid, boolean) IS
'for apikey_reach: raises 22004 for a null, and 42704 for a key that is not there';

CREATE FUNCTION apikey_internal.derived_grants(key_id uuid)
RETURNS TABLE (project text, environment text, level apikey_level)
LANGUAGE C STABLE STRICT ROWS 100
AS 'MODULE_PATHNAME', 'apikey_derived_grants';
COMMENT ON FUNCTION apikey_internal.derived_grants(uuid) IS
'for apikey_reach: what a derived API key and its ancestors may all do, as grants';

/*
 * What level opens which command is what apikey_protect, or apikey_protect_organization,
 * makes its policies of.  The organization level has no project and no environment.
 * Sorted by the qualified name: search_path holds no schema of tables.
 */
CREATE FUNCTION apikey_reach(key_id uuid)
RETURNS TABLE (relation regclass, project text, environment text,
	level apikey_level, commands text[])
LANGUAGE SQL STABLE ROWS 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_internal.check_key(apikey_reach.key_id, EXISTS (
		SELECT FROM apikey_key k WHERE k.key_id = apikey_reach.key_id
			AND apikey_internal.sees(k.organization)));
	SELECT p.relation, h.project, h.environment, h.level,
		CASE h.level::text WHEN 'read' THEN ARRAY['SELECT']
			WHEN CASE WHEN h.organization THEN 'write' ELSE 'manage' END
				THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
			ELSE ARRAY['SELECT', 'INSERT', 'UPDATE'] END
	FROM (SELECT false AS organization, n.project, n.environment, n.level
			FROM apikey_key k, apikey_grants n
			WHERE k.key_id = apikey_reach.key_id AND n.key_id = k.key_id
				AND k.parent_id IS NULL
			UNION ALL
			SELECT false, n.project, n.environment, n.level
			FROM apikey_key k, apikey_internal.derived_grants(k.key_id) n
			WHERE k.key_id = apikey_reach.key_id AND k.parent_id IS NOT NULL
			UNION ALL
			SELECT true, NULL, NULL, k.organization_level
			FROM apikey_key k
			WHERE k.key_id = apikey_reach.key_id AND k.parent_id IS NULL
				AND k.organization_level IS NOT NULL) h
		JOIN apikey_internal.protected p ON h.organization = (p.organization IS NOT NULL)
	WHERE p.enabled
	ORDER BY p.relation::text COLLATE "C", h.project COLLATE "C",
		h.environment COLLATE "C";
END;
REVOKE ALL ON FUNCTION apikey_reach(uuid) FROM PUBLIC;
COMMENT ON FUNCTION apikey_reach(uuid) IS
'list what the grants and the organization level of an API key open in protected tables';

CREATE FUNCTION apikey_internal.level_of(verb text) RETURNS apikey_level
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_level_of';
COMMENT ON FUNCTION apikey_internal.level_of(text) IS
'for apikey_who_can: the level that a verb asks for; raises 22023 for one that does not exist';

CREATE FUNCTION apikey_internal.refuses_all() RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_refuses_all';
COMMENT ON FUNCTION apikey_internal.refuses_all() IS
'does this database refuse every API key, because its subscription has not copied all yet, or has brought no heartbeat for max_staleness, or because a trigger does not fire?';

/*
 * The rules of authz.h as a query: a registered pair, a grant on it or on '*' of
 * high enough a level, a good key of the organization that owns the project.  Both
 * kinds of grants are found by apikey_grant_project_idx, and each key by its id:
 * "IS NOT DISTINCT FROM", which no index serves, keeps the planner from reading all
 * keys of an organization that has more than most.  A derived key needs a parent that
 * can do it, too, and has the lower of the two levels.
 */
CREATE FUNCTION apikey_who_can(project text, environment text, verb text)
RETURNS TABLE (key_id uuid, organization text, label text, key text,
	level apikey_level)
LANGUAGE SQL STABLE ROWS 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_internal.level_of(verb);
	WITH RECURSIVE good AS (
		SELECT k.key_id, k.organization, k.label, k.scheme, k.prefix, g.level, k.parent_id
		FROM apikey_environment e,
			LATERAL (
				SELECT a.key_id, pg_catalog.max(a.level) AS level
				FROM (
					SELECT n.key_id, n.level FROM apikey_grant n
					WHERE n.project = apikey_who_can.project
						AND n.environment IN (apikey_who_can.environment, '*')
					UNION ALL
					SELECT n.key_id, n.level FROM apikey_grant n
					WHERE n.project IS NULL
						AND n.environment IN (apikey_who_can.environment, '*')
						AND n.organization = e.organization) a
				GROUP BY a.key_id) g,
			apikey_key k
		WHERE e.project = apikey_who_can.project
			AND e.environment = apikey_who_can.environment AND e.environment <> '*'
			AND apikey_internal.sees(e.organization)
			AND g.level OPERATOR(pg_catalog.>=) (SELECT apikey_internal.level_of(verb))
			AND k.key_id = g.key_id
			AND k.organization IS NOT DISTINCT FROM e.organization
			AND k.revoked_at IS NULL AND k.disabled_at IS NULL
			AND (k.expires_at IS NULL
				OR k.expires_at > greatest(statement_timestamp(), now()))
			AND NOT EXISTS (SELECT FROM apikey_suspension s
				WHERE s.organization = e.organization
					OR (s.organization = '*' AND s.suspended_at
						>= greatest(k.created_at, k.imported_at)))
			AND NOT (SELECT apikey_internal.refuses_all())),
	able AS (
		SELECT g.key_id, g.organization, g.label, g.scheme, g.prefix, g.level, 0 AS depth
		FROM good g WHERE g.parent_id IS NULL
		UNION ALL
		SELECT g.key_id, g.organization, g.label, g.scheme, g.prefix,
			least(g.level, a.level), a.depth + 1
		FROM able a JOIN good g ON g.parent_id = a.key_id WHERE a.depth < 4)
	SELECT a.key_id, a.organization, a.label,
		CASE WHEN a.scheme IS NOT NULL THEN apikey_internal.masked(a.prefix, a.key_id) END,
		a.level
	FROM able a
	ORDER BY a.key_id;
END;
REVOKE ALL ON FUNCTION apikey_who_can(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_who_can(text, text, text) IS
'list every API key that now allows a verb in an environment of a project';

CREATE FUNCTION apikey_internal.idle_since(idle interval) RETURNS timestamptz
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_idle_since';
COMMENT ON FUNCTION apikey_internal.idle_since(interval) IS
'for apikey_unused: when such an interval that ends now began; raises 22004 for a null, 22023 for a negative one, and 55000 where use is not counted';

/*
 * What has been written down of use leaves few keys that shared memory must be
 * asked about.
 */
CREATE FUNCTION apikey_unused(idle interval)
RETURNS TABLE (key_id uuid, organization text, label text, key text,
	created_at timestamptz, last_used_at timestamptz, last_used_from inet)
LANGUAGE SQL STABLE ROWS 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT apikey_internal.idle_since(idle);
	SELECT k.key_id, k.organization, k.label, k.key, k.created_at, k.last_used_at,
		k.last_used_from
	FROM apikey_keys k LEFT JOIN apikey_use u ON u.key_id = k.key_id,
		apikey_internal.idle_since(idle) AS since
	WHERE k.status = 'active' AND coalesce(k.imported_at, k.created_at) < since
		AND coalesce(u.last_used_at < since, true)
		AND coalesce(k.last_used_at < since, true)
	ORDER BY coalesce(k.last_used_at, k.imported_at, k.created_at), k.key_id;
END;
REVOKE ALL ON FUNCTION apikey_unused(interval) FROM PUBLIC;
COMMENT ON FUNCTION apikey_unused(interval) IS
'list the active API keys that were not used on this server for a given time';

/* -------------------------------------------------------- other servers */

CREATE FUNCTION apikey_internal.synchronous_names() RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'apikey_synchronous_names';
COMMENT ON FUNCTION apikey_internal.synchronous_names() IS
'for the view apikey_replicas: the names in synchronous_standby_names';

/*
 * Who follows: the walsenders of standbys, the slots of standbys and of subscribers of
 * this database, and the standbys that synchronous_standby_names names and that are not
 * there.  What else there is:
 *
 * - What receives WAL and applies none, as pg_receivewal does, decides nothing: it never
 *   tells what it has applied.  A physical slot in which nobody is may be a standby's.
 * - A logical walsender is connected to a database, a standby to none.
 * - A slot does not tell its publication.  It is a subscriber's if there is a publication
 *   of apikey_key at all, and, while somebody is in it, if the command that began its
 *   stream names one, or cannot be read.
 * - The slot in which a subscriber copies a table has a name of PostgreSQL's own making.
 *   What it has copied is not held to what comes later before it has caught up; then the
 *   slot goes.
 *
 * "applied" is what it has told to have applied.  It is null for a standby that is not
 * connected: its slot knows what it has received.
 */
CREATE FUNCTION apikey_internal.replicas()
RETURNS TABLE (name text, kind text, state text, synchronous boolean,
	applied pg_lsn, lag_bytes bigint, lag interval, reported_at timestamptz,
	retained_bytes bigint, slot name, address inet)
LANGUAGE SQL VOLATILE ROWS 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH here AS MATERIALIZED (
		SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
				ELSE pg_current_wal_lsn() END AS lsn,
			CASE WHEN pg_is_in_recovery() THEN '{}'
				ELSE apikey_internal.synchronous_names() END AS names
	), published AS MATERIALIZED (
		SELECT p.pubname FROM pg_publication p
		WHERE p.puballtables
			OR EXISTS (SELECT FROM pg_publication_rel r
				WHERE r.prpubid = p.oid AND r.prrelid = 'apikey_key'::regclass)
			OR EXISTS (SELECT FROM pg_publication_namespace n
				JOIN pg_class c ON c.relnamespace = n.pnnspid
				WHERE n.pnpubid = p.oid AND c.oid = 'apikey_key'::regclass)
	), sender AS MATERIALIZED (
		SELECT r.pid, r.application_name, r.client_addr, r.state, r.replay_lsn,
			r.replay_lag, r.reply_time, r.sync_state, a.datid,
			r.replay_lsn IS NULL AND (r.write_lsn IS NOT NULL
				OR r.application_name IN ('pg_receivewal', 'pg_basebackup')) AS applies_nothing,
			replace(replace(substring(a.query FROM
				$$publication_names"? '((?:[^']|'')*)'[,)]$$), $$''$$, $$'$$), '""', '"') AS publications
		FROM pg_stat_replication r JOIN pg_stat_activity a ON a.pid = r.pid
	), slot AS MATERIALIZED (
		SELECT s.slot_name, s.slot_type, s.plugin, s.database, s.active_pid,
			s.restart_lsn, s.confirmed_flush_lsn, s.wal_status,
			s.slot_name ~ '^pg_\d+_sync_\d+_\d+$' AS copies,
			(pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz AS inactive_since,
			coalesce((pg_catalog.to_jsonb(s) ->> 'synced')::boolean, false) AS synced
		FROM pg_replication_slots s
	), follower AS (
		SELECT coalesce(r.application_name, s.slot_name) AS name,
			CASE s.slot_type WHEN 'logical' THEN 'subscriber' ELSE 'standby' END AS kind,
			CASE WHEN s.wal_status = 'lost' THEN 'lost'
				WHEN s.slot_type = 'logical' AND s.copies THEN 'initial copy'
				WHEN r.pid IS NULL THEN 'disconnected'
				WHEN r.state = 'streaming' THEN 'streaming'
				ELSE 'catching up' END AS state,
			coalesce(r.replay_lsn,
				CASE s.slot_type WHEN 'logical' THEN s.confirmed_flush_lsn END) AS applied,
			s.slot_name, s.restart_lsn, s.inactive_since,
			r.pid, r.sync_state, r.replay_lag, r.reply_time, r.client_addr
		FROM slot s LEFT JOIN sender r ON r.pid = s.active_pid
		WHERE CASE WHEN s.slot_type = 'physical'
				THEN s.wal_status IS NOT NULL AND r.applies_nothing IS NOT TRUE
			ELSE s.plugin = 'pgoutput' AND s.database = current_database()
				AND EXISTS (SELECT FROM published p WHERE r.publications IS NULL
					OR position(p.pubname IN r.publications) > 0) END
			AND NOT (s.synced AND pg_is_in_recovery())
		UNION ALL
		SELECT r.application_name, 'standby',
			CASE r.state WHEN 'streaming' THEN 'streaming' ELSE 'catching up' END,
			r.replay_lsn, NULL, NULL, NULL,
			r.pid, r.sync_state, r.replay_lag, r.reply_time, r.client_addr
		FROM sender r
		WHERE r.datid IS NULL AND NOT r.applies_nothing
			AND r.state IN ('catchup', 'streaming', 'stopping')
			AND NOT EXISTS (SELECT FROM slot s WHERE s.active_pid = r.pid)
		UNION ALL
		SELECT DISTINCT n.name, 'standby', 'disconnected',
			NULL::pg_lsn, NULL::name, NULL::pg_lsn, NULL::timestamptz,
			NULL::integer, NULL, NULL::interval, NULL::timestamptz, NULL::inet
		FROM here h, pg_catalog.unnest(h.names) n (name)
		WHERE NOT EXISTS (SELECT FROM sender r
				WHERE lower(r.application_name) = lower(n.name))
			AND NOT EXISTS (SELECT FROM slot s WHERE lower(s.slot_name::text) = lower(n.name))
	), behind AS (
		SELECT f.*, h.names,
			(h.lsn - CASE WHEN p.lsn < h.lsn THEN p.lsn WHEN p.lsn IS NOT NULL THEN h.lsn END)::bigint AS lag_bytes,
			(h.lsn - f.restart_lsn)::bigint AS retained_bytes
		FROM follower f, here h, LATERAL (SELECT coalesce(f.applied, f.restart_lsn)) p (lsn)
	)
	SELECT b.name, b.kind, b.state,
		coalesce(b.sync_state IN ('sync', 'quorum'), EXISTS (
			SELECT FROM pg_catalog.unnest(b.names) n (name) WHERE lower(n.name) = lower(b.name))),
		b.applied, b.lag_bytes,
		CASE WHEN b.lag_bytes = 0 THEN '0'::interval
			ELSE clock_timestamp() - CASE WHEN b.pid IS NULL THEN b.inactive_since
				ELSE least(b.reply_time, clock_timestamp()) - coalesce(b.replay_lag, '0') END
			END,
		b.reply_time, b.retained_bytes, b.slot_name, b.client_addr
	FROM behind b;
END;
COMMENT ON FUNCTION apikey_internal.replicas() IS
'for the view apikey_replicas: the servers and databases that follow, and how far they are';

CREATE VIEW apikey_replicas WITH (security_barrier) AS
SELECT name, kind, state, synchronous, lag_bytes, lag, reported_at, retained_bytes,
	slot, address
FROM apikey_internal.replicas()
WHERE apikey_internal.sees(NULL);
COMMENT ON VIEW apikey_replicas IS
'the standbys, and the subscribers of this database, that decide by its keys, and how far behind they are';

/*
 * For the procedures below, at each look: has each follower applied what stands before
 * "mark"?  One that was seen before and is gone has it not; but a table that was being
 * copied is, when its slot is gone.
 */
CREATE FUNCTION apikey_internal.followers(mark pg_lsn, seen jsonb,
	OUT everywhere boolean, OUT followers jsonb)
RETURNS record
LANGUAGE SQL VOLATILE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH present AS MATERIALIZED (
		SELECT r.name, r.kind, r.slot, r.state, coalesce(r.applied >= followers.mark, false) AS has_it
		FROM apikey_internal.replicas() r
	), gone AS (
		SELECT coalesce(s.slot, s.name) AS name, s.kind
		FROM jsonb_to_recordset(followers.seen) s (name text, kind text, slot text, state text)
		WHERE s.state <> 'initial copy'
		EXCEPT ALL
		SELECT coalesce(p.slot, p.name), p.kind FROM present p
	), every AS (
		SELECT p.name, p.kind, p.slot::text, p.state, p.has_it FROM present p
		UNION ALL
		SELECT g.name, g.kind, NULL, 'disconnected', false FROM gone g
	)
	SELECT coalesce(bool_and(e.has_it), true),
		coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(e) ORDER BY e.kind, e.name), '[]')
	FROM every e;
END;
REVOKE ALL ON FUNCTION apikey_internal.followers(pg_lsn, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION apikey_internal.followers(pg_lsn, jsonb) IS
'for the procedures: whether all that follow have applied the WAL up to a place';

/*
 * What takes rights away and cannot wait for a standby that hangs.  Each procedure does
 * what the function of its name does, with its arguments, errors and events, and commits:
 * under synchronous_commit = local, whatever the session has set.  Then it waits until
 * all in apikey_replicas have it, and no longer than "timeout" (0: not at all).  What
 * follows never makes it fail: that it says in its result.
 *
 * everywhere	has each follower it? True if there is none.
 * followers	an array of objects: name, kind, slot, state as in the view, has_it
 *
 * Both are INOUT, for a CALL may then leave them out; what is given is not looked at.
 *
 * 25001 in a transaction block, or after other changes in the same transaction, before
 * anything is done; 25006 on a standby; 22004, 22023 and 22008 for a timeout that is null,
 * negative, or ends after all time.  An error in the wait, such as 57014 for a cancel, has a DETAIL that says
 * what is committed.
 *
 * Roles need EXECUTE on the procedure alone.
 */
CREATE PROCEDURE apikey_revoke_everywhere(key_id uuid, timeout interval DEFAULT '10 s',
	reason text DEFAULT NULL, INOUT everywhere boolean DEFAULT NULL,
	INOUT followers jsonb DEFAULT NULL)
LANGUAGE C AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_revoke_everywhere(uuid, interval, text, boolean, jsonb)
FROM PUBLIC;
COMMENT ON PROCEDURE apikey_revoke_everywhere(uuid, interval, text, boolean, jsonb) IS
'revoke an API key at once, then wait until all that follow have it';

CREATE PROCEDURE apikey_disable_everywhere(key_id uuid, timeout interval DEFAULT '10 s',
	reason text DEFAULT NULL, INOUT everywhere boolean DEFAULT NULL,
	INOUT followers jsonb DEFAULT NULL)
LANGUAGE C AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_disable_everywhere(uuid, interval, text, boolean, jsonb)
FROM PUBLIC;
COMMENT ON PROCEDURE apikey_disable_everywhere(uuid, interval, text, boolean, jsonb) IS
'disable an API key at once, then wait until all that follow have it';

CREATE PROCEDURE apikey_ungrant_everywhere(key_id uuid, project text, environment text,
	timeout interval DEFAULT '10 s', INOUT everywhere boolean DEFAULT NULL,
	INOUT followers jsonb DEFAULT NULL)
LANGUAGE C AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_ungrant_everywhere(uuid, text, text, interval, boolean,
	jsonb) FROM PUBLIC;
COMMENT ON PROCEDURE apikey_ungrant_everywhere(uuid, text, text, interval, boolean, jsonb) IS
'take away the grant of an API key at once, then wait until all that follow have it';

CREATE PROCEDURE apikey_suspend_everywhere(organization text,
	timeout interval DEFAULT '10 s', reason text DEFAULT NULL,
	INOUT everywhere boolean DEFAULT NULL, INOUT followers jsonb DEFAULT NULL)
LANGUAGE C AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_suspend_everywhere(text, interval, text, boolean, jsonb)
FROM PUBLIC;
COMMENT ON PROCEDURE apikey_suspend_everywhere(text, interval, text, boolean, jsonb) IS
'suspend an organization at once, then wait until all that follow have it';

/*
 * The wait alone, for all that was committed before, by whatever means: deleting keys,
 * removing projects, SQL.
 */
CREATE PROCEDURE apikey_wait_everywhere(timeout interval DEFAULT '10 s',
	INOUT everywhere boolean DEFAULT NULL, INOUT followers jsonb DEFAULT NULL)
LANGUAGE C AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_wait_everywhere(interval, boolean, jsonb) FROM PUBLIC;
COMMENT ON PROCEDURE apikey_wait_everywhere(interval, boolean, jsonb) IS
'wait until all that follow have what is committed here';

/* ---------------------------------------------------------- publishing */

/*
 * Makes the publication, or brings one that it has made up to date: after ALTER EXTENSION
 * UPDATE, and after a dump was restored, for that has publications without these tables.
 * organizations: those whose rows are published, with the quarantine and the heartbeat;
 * null for all.  A publication for others is refused.  Makes the heartbeat too, but for a
 * database that subscribes itself, through which that of its publisher passes.
 *
 * Errors: 42501 in a session with a key; 55000 where wal_level is too low; 22004 for a null
 * name or organization; 22023 for a name that is empty, too long or '*', and for no
 * organization; 42710 for a publication with other tables, or for other organizations.
 */
CREATE FUNCTION apikey_publish(name text DEFAULT 'apikey',
	organizations text[] DEFAULT NULL)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_publish(text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION apikey_publish(text, text[]) IS
'publish what other databases need to decide by these API keys, and no use counts';

/* --------------------------------------------------------- subscribing */

/*
 * Both take a superuser (42501) in a session without a key, and commit: 25001 where they
 * cannot, 25006 in a read-only transaction and on a standby.
 *
 * connection: a connection string of libpq, to a database that has called apikey_publish.
 * It is kept by PostgreSQL, which shows it to superusers alone, and is in no message.
 * name: of the subscription, and of its replication slot at the publisher; the
 * application_name that synchronous_standby_names may name.  max_staleness: at most 366
 * days, without months; null for any.  publication: null for one of the same name.
 *
 * Errors: 22023 for an argument that makes no sense, for this very database, and for a
 * max_staleness of less than three heartbeats; 22004 for a null connection or name; 08006
 * where the publisher is not reached; 42704 for no such publication; 42710 for a
 * subscription or a slot that exists; 42501 for tables that the role may not read there;
 * 55000 where something is not as it must be: version, schema, tables of the publication,
 * key files, heartbeat, tables that are not empty; 55006 for a slot that is held up;
 * 55P03 where transactions there have not ended within lock_timeout, or one minute; and
 * what the publisher raises.
 */
CREATE PROCEDURE apikey_subscribe(connection text, name text DEFAULT 'apikey',
	max_staleness interval DEFAULT NULL, publication text DEFAULT NULL)
LANGUAGE C
AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_subscribe(text, text, interval, text) FROM PUBLIC;
COMMENT ON PROCEDURE apikey_subscribe(text, text, interval, text) IS
'decide by the API keys of another database: make a subscription to what apikey_publish published there, and wait until all is here';

/*
 * max_staleness: as above.  Errors: 42704 for a subscription that apikey_subscribe has not
 * made; 22004 for a null name; 22023 for a max_staleness that is not valid, or less than
 * three heartbeats; 55000 if there is no heartbeat that comes again; 42501 in a session with
 * a key; 25006 on a standby.
 */
CREATE FUNCTION apikey_set_max_staleness(name text, max_staleness interval)
RETURNS void
LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_set_max_staleness(text, interval) FROM PUBLIC;
COMMENT ON FUNCTION apikey_set_max_staleness(text, interval) IS
'change how old the last heartbeat of the publisher may be before a subscription refuses every API key; null for any age';

/*
 * 42704 for a subscription that apikey_subscribe has not made, 22004 for a null.  Where the
 * publisher is not reached a warning tells how to drop the slot there.
 */
CREATE PROCEDURE apikey_unsubscribe(name text DEFAULT 'apikey')
LANGUAGE C
AS 'MODULE_PATHNAME';
REVOKE ALL ON PROCEDURE apikey_unsubscribe(text) FROM PUBLIC;
COMMENT ON PROCEDURE apikey_unsubscribe(text) IS
'end a subscription of apikey_subscribe, and remove all keys, projects and counts of use that are here';

/*
 * An apply worker that fails is started again every few seconds, and so is "streaming" for
 * a moment; after three heartbeats that do not come it is "stopped" all the same.  A
 * standby has no workers: there the heartbeat alone tells.
 */
CREATE VIEW apikey_subscriptions WITH (security_barrier) AS
SELECT s.name, s.publication,
	CASE WHEN p.oid IS NULL THEN 'missing'
		WHEN NOT p.subenabled THEN 'disabled'
		WHEN NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_stat_subscription w
				WHERE w.subid = p.oid AND w.relid IS NULL AND w.pid IS NOT NULL)
			THEN 'stopped'
		WHEN r.ready < r.tables THEN 'copying'
		WHEN h.staleness > greatest(h.every * 3::float8, '30 seconds') THEN 'stopped'
		ELSE 'streaming' END AS state,
	r.ready AS tables_ready, r.tables, h.at AS heartbeat_at, h.staleness, s.max_staleness,
	apikey_internal.refuses_all() AS refusing
FROM apikey_subscription s
	LEFT JOIN pg_subscription p ON p.subname = s.name
		AND p.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),
	LATERAL (SELECT count(*) FILTER (WHERE t.srsubstate = 'r') AS ready, count(*) AS tables
		FROM pg_subscription_rel t WHERE t.srsubid = p.oid) r
	LEFT JOIN (SELECT b.at, b.every,
			greatest(statement_timestamp(), now()) - b.at AS staleness
		FROM apikey_heartbeat b) h ON true
WHERE apikey_internal.sees(NULL);
COMMENT ON VIEW apikey_subscriptions IS
'the subscription of this database to the API keys of another one: how far, and how old, is what it has brought';

/* ----------------------------------------------------------- privileges */

/*
 * Default privileges of the installing role apply to what a script creates.
 * Whatever they gave away of the tables, the views and the functions that are
 * not open to PUBLIC is taken back.
 */
DO $$
DECLARE
	item record;
BEGIN
	-- until the end of the script
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	FOR item IN
		SELECT format('REVOKE ALL ON TABLE %s FROM %s', c.oid::regclass,
			coalesce(quote_ident(r.rolname), 'PUBLIC')) AS command
		FROM pg_depend d
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey'
			JOIN pg_class c ON c.oid = d.objid,
			LATERAL aclexplode(c.relacl) a
			LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
			AND a.grantee <> c.relowner
		UNION
		SELECT format('REVOKE ALL ON ROUTINE %s FROM %I',
			f.oid::regprocedure, r.rolname)
		FROM pg_depend d
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey'
			JOIN pg_proc f ON f.oid = d.objid,
			LATERAL aclexplode(f.proacl) a
			JOIN pg_roles r ON r.oid = a.grantee
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
			AND a.grantee <> f.proowner
		UNION
		SELECT format('REVOKE ALL ON SCHEMA apikey_internal FROM %s',
			coalesce(quote_ident(r.rolname), 'PUBLIC'))
		FROM pg_namespace n,
			LATERAL aclexplode(n.nspacl) a
			LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE n.nspname = 'apikey_internal' AND a.grantee <> n.nspowner
	LOOP
		EXECUTE item.command;
	END LOOP;
END;
$$;

/* --------------------------------------------------------- foreign keys */

/*
 * apikey_changed checks new rows itself: COPY may bring them in any order, which
 * is how a dump is restored, see src/table/refer.h.  All other triggers of the foreign
 * keys do their work.  search_path is the one that was set above.
 */
DO $$
DECLARE
	command text;
BEGIN
	FOR command IN
		SELECT format('ALTER TABLE %s DISABLE TRIGGER %I',
			t.tgrelid::regclass, t.tgname)
		FROM pg_trigger t
			JOIN pg_trigger c ON c.tgrelid = t.tgrelid
		WHERE t.tgfoid = '"RI_FKey_check_ins"'::regproc
			AND c.tgfoid = 'apikey_internal.changed()'::regprocedure
			AND c.tgtype & 5 = 5 -- for each row, INSERT
	LOOP
		EXECUTE command;
	END LOOP;
END;
$$;
