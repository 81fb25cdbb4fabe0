/*
 * write.c
 *		Changing our tables; see write.h.
 */
#include "postgres.h"

#include "write.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "optimizer/cost.h"
#include "schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MAX_ARGS	14

/* "$S" stands for the schema. */
typedef enum Statement
{
	INSERT_IMPORTED,
	LOCK_KEY,
	UPDATE_KEY,
	KEEP_SECRET,
	LIMIT_SECRET,
	DROP_SECRET,
	SET_SECRET,
	RESTORE_SECRET,
	RESTORE_IMPORTED,
	DISABLE_KEY,
	ENABLE_KEY,
	REVOKE_KEY,
	DELETE_KEY,
	SET_ORGANIZATION_LEVEL,
	UPSERT_GRANT,
	DELETE_GRANT,
	UPSERT_PROJECTS,
	UPSERT_ENVIRONMENTS,
	LOCK_PROJECTS,
	LOCK_ENVIRONMENTS,
	DELETE_PROJECTS_GRANTS,
	DELETE_PROJECTS_ENVIRONMENTS,
	DELETE_PROJECTS,
	DELETE_ENVIRONMENT,
	PURGE_EVENTS,
	STATEMENTS
} Statement;

static const struct
{
	const char *text;
	int			nargs;
	Oid			types[MAX_ARGS];
}			statements[STATEMENTS] =

{
	[INSERT_IMPORTED] = {
		"INSERT INTO $S.apikey_secret (key_id, scheme, salt, verifier, lookup)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (lookup) DO NOTHING", 5,
		{UUIDOID, TEXTOID, BYTEAOID, BYTEAOID, BYTEAOID}
	},
	[LOCK_KEY] = {
		"SELECT organization, prefix, revoked_at IS NOT NULL, scheme IS NOT NULL"
		" FROM $S.apikey_key WHERE key_id = $1 FOR NO KEY UPDATE", 1,
		{UUIDOID}
	},
	[UPDATE_KEY] = {
		"UPDATE $S.apikey_key SET label = CASE WHEN $2 THEN $3 ELSE label END,"
		" expires_at = CASE WHEN $4 THEN $5 ELSE expires_at END,"
		" created_by = CASE WHEN $6 THEN $7 ELSE created_by END,"
		" allowed_networks = CASE WHEN $8 THEN $9 ELSE allowed_networks END,"
		" metadata = CASE WHEN $10 THEN coalesce($11, '{}') ELSE metadata END"
		" WHERE key_id = $1 AND ($2 AND label IS DISTINCT FROM $3"
		" OR $4 AND expires_at IS DISTINCT FROM $5"
		" OR $6 AND created_by IS DISTINCT FROM $7"
		" OR $8 AND allowed_networks IS DISTINCT FROM $9"
		" OR $10 AND metadata IS DISTINCT FROM coalesce($11, '{}'))", 11,
		{UUIDOID, BOOLOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, BOOLOID, TEXTOID,
		BOOLOID, CIDRARRAYOID, BOOLOID, JSONBOID}
	},
	[KEEP_SECRET] = {
		"INSERT INTO $S.apikey_secret (key_id, scheme, salt, verifier, expires_at)"
		" SELECT key_id, scheme, salt, verifier, least($2, expires_at)"
		" FROM $S.apikey_key WHERE key_id = $1", 2,
		{UUIDOID, TIMESTAMPTZOID}
	},
	[LIMIT_SECRET] = {
		"UPDATE $S.apikey_secret s SET expires_at = least($2, k.expires_at)"
		" FROM $S.apikey_key k WHERE s.key_id = $1 AND k.key_id = $1", 2,
		{UUIDOID, TIMESTAMPTZOID}
	},
	[DROP_SECRET] = {
		"DELETE FROM $S.apikey_secret WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[SET_SECRET] = {
		"UPDATE $S.apikey_key SET scheme = $2, salt = $3, verifier = $4"
		" WHERE key_id = $1", 4,
		{UUIDOID, TEXTOID, BYTEAOID, BYTEAOID}
	},
	[RESTORE_SECRET] = {
		"UPDATE $S.apikey_key k SET scheme = s.scheme, salt = s.salt,"
		" verifier = s.verifier FROM $S.apikey_secret s"
		" WHERE k.key_id = $1 AND s.key_id = $1 AND s.lookup IS NULL"
		" AND s.expires_at > statement_timestamp()", 1,
		{UUIDOID}
	},
	[RESTORE_IMPORTED] = {
		"UPDATE $S.apikey_secret SET expires_at = NULL"
		" WHERE key_id = $1 AND lookup IS NOT NULL"
		" AND expires_at > statement_timestamp()", 1,
		{UUIDOID}
	},
	[DISABLE_KEY] = {
		"UPDATE $S.apikey_key SET disabled_at = now()"
		" WHERE key_id = $1 AND disabled_at IS NULL", 1,
		{UUIDOID}
	},
	[ENABLE_KEY] = {
		"UPDATE $S.apikey_key SET disabled_at = NULL"
		" WHERE key_id = $1 AND disabled_at IS NOT NULL", 1,
		{UUIDOID}
	},
	[REVOKE_KEY] = {
		"UPDATE $S.apikey_key SET revoked_at = now()"
		" WHERE key_id = $1 AND revoked_at IS NULL", 1,
		{UUIDOID}
	},
	[DELETE_KEY] = {
		"DELETE FROM $S.apikey_key WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[SET_ORGANIZATION_LEVEL] = {
		"UPDATE $S.apikey_key SET organization_level = $2::$S.apikey_level"
		" WHERE key_id = $1"
		" AND organization_level IS DISTINCT FROM $2::$S.apikey_level", 2,
		{UUIDOID, TEXTOID}
	},
	[UPSERT_GRANT] = {
		"INSERT INTO $S.apikey_grant AS old"
		" (key_id, organization, project, environment, level)"
		" VALUES ($1, $2, $3, $4, $5::$S.apikey_level)"
		" ON CONFLICT (key_id, project, environment)"
		" DO UPDATE SET level = excluded.level"
		" WHERE old.level <> excluded.level", 5,
		{UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[DELETE_GRANT] = {
		"DELETE FROM $S.apikey_grant WHERE key_id = $1"
		" AND project IS NOT DISTINCT FROM $2 AND environment = $3", 3,
		{UUIDOID, TEXTOID, TEXTOID}
	},
	[UPSERT_PROJECTS] = {
		"WITH stored AS (INSERT INTO $S.apikey_project AS old"
		" (project, organization) SELECT * FROM unnest($1, $2)"
		" ON CONFLICT (project) DO UPDATE SET organization = old.organization"
		" WHERE old.organization <> excluded.organization"
		" RETURNING project, organization)"
		" SELECT number FROM unnest($1, $2)"
		" WITH ORDINALITY AS given (project, organization, number)"
		" JOIN stored USING (project)"
		" WHERE stored.organization <> given.organization", 2,
		{TEXTARRAYOID, TEXTARRAYOID}
	},
	[UPSERT_ENVIRONMENTS] = {
		"INSERT INTO $S.apikey_environment (project, organization, environment)"
		" SELECT p.*, e.* FROM unnest($1, $2) AS p, unnest($3) AS e"
		" ON CONFLICT DO NOTHING RETURNING project, organization, environment", 3,
		{TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[LOCK_PROJECTS] = {
		"SELECT project, organization FROM $S.apikey_project"
		" WHERE project = ANY ($1)"
		" ORDER BY project FOR UPDATE", 1,
		{TEXTARRAYOID}
	},
	[LOCK_ENVIRONMENTS] = {
		"SELECT FROM $S.apikey_environment WHERE project = ANY ($1)"
		" ORDER BY project, environment FOR UPDATE", 1,
		{TEXTARRAYOID}
	},
	[DELETE_PROJECTS_GRANTS] = {
		"DELETE FROM $S.apikey_grant WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[DELETE_PROJECTS_ENVIRONMENTS] = {
		"DELETE FROM $S.apikey_environment WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[DELETE_PROJECTS] = {
		"DELETE FROM $S.apikey_project WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[DELETE_ENVIRONMENT] = {
		"DELETE FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2 RETURNING organization", 2,
		{TEXTOID, TEXTOID}
	},
	[PURGE_EVENTS] = {
		"DELETE FROM $S.apikey_event WHERE at < $1", 1,
		{TIMESTAMPTZOID}
	},
};

static int	running;			/* statements of ours, one within the other */
static int	making;				/* keys with their grants, likewise */
static TimestampTz purging = DT_NOBEGIN;	/* events before this time */

static SPIPlanPtr plans[STATEMENTS];
static char plans_schema[NAMEDATALEN];	/* that the plans were made for */

static SPIPlanPtr
get_plan(Statement which)
{
	const char *schema = get_namespace_name(ak_schema_get()->namespace);
	StringInfoData text;

	if (strcmp(schema, plans_schema) != 0)
	{
		for (int i = 0; i < STATEMENTS; i++)
		{
			SPIPlanPtr	plan = plans[i];

			plans[i] = NULL;
			if (plan != NULL)
				SPI_freeplan(plan);
		}
		strlcpy(plans_schema, schema, sizeof(plans_schema));
	}
	if (plans[which] != NULL)
		return plans[which];

	initStringInfo(&text);
	for (const char *p = statements[which].text; *p != '\0'; p++)
	{
		if (p[0] == '$' && p[1] == 'S')
		{
			appendStringInfoString(&text, quote_identifier(schema));
			p++;
		}
		else
			appendStringInfoChar(&text, *p);
	}
	plans[which] = SPI_prepare(text.data, statements[which].nargs,
							   (Oid *) statements[which].types);
	if (plans[which] == NULL || SPI_keepplan(plans[which]) != 0)
		elog(ERROR, "could not prepare a statement: %s",
			 SPI_result_code_string(SPI_result));
	return plans[which];
}

/*
 * Begin to run statements, ending with SPI_finish.
 *
 * Their plans, and those of the foreign keys that they fire, are kept.  A plan
 * that was made while a table had one page would read all of it, and go on to
 * do so while the same statement makes it grow to a million rows: so none may
 * be sequential.  The setting ends with the calling function, as its SET
 * search_path does.
 */
static void
begin(void)
{
	SPI_connect();
	if (enable_seqscan)
		(void) set_config_option("enable_seqscan", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

/*
 * Run one of them; returns how many rows.  By the snapshot of the transaction, or
 * by another one.
 */
static uint64
execute_by(Statement which, Datum *values, const char *nulls,
		   Snapshot snapshot)
{
	SPIPlanPtr	plan = get_plan(which);
	volatile int result = 0;

	running++;
	PG_TRY();
	{
		result = snapshot == InvalidSnapshot ?
			SPI_execute_plan(plan, values, nulls, false, 0) :
			SPI_execute_snapshot(plan, values, nulls, snapshot,
								 InvalidSnapshot, false, true, 0);
	}
	PG_FINALLY();
	{
		running--;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "could not execute a statement: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

static uint64
execute(Statement which, Datum *values, const char *nulls)
{
	return execute_by(which, values, nulls, InvalidSnapshot);
}

/* By a snapshot of now; no value is null. */
static uint64
execute_latest(Statement which, Datum *values)
{
	return execute_by(which, values, NULL, GetLatestSnapshot());
}

/* The same as execute() where the result is not read and no value is null. */
static uint64
run(Statement which, Datum *values)
{
	uint64		processed;

	begin();
	processed = execute(which, values, NULL);
	SPI_finish();
	return processed;
}

static Datum
name_datum(const AkName *name)
{
	return PointerGetDatum(cstring_to_text_with_len(name->data, name->len));
}

/* As text[] */
static Datum
array_datum(Datum *texts, int count)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(texts, NULL, 1, &count, &lower,
											  TEXTOID, -1, false,
											  TYPALIGN_INT));
}

static Datum
names_datum(const AkName *names, int count)
{
	Datum	   *texts = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		texts[i] = name_datum(&names[i]);
	return array_datum(texts, count);
}

/* Scheme, salt and verifier from "values" on. */
static void
set_secret(Datum *values, const AkSecret *secret)
{
	values[0] = CStringGetTextDatum(ak_store_scheme_name(secret->scheme));
	values[1] = name_datum(&secret->salt);
	values[2] = name_datum(&secret->verifier);
}

static Datum
level_datum(AkLevel level)
{
	return CStringGetTextDatum(ak_scope_level_name(level));
}

/* Set argument "i" from what may be null. */
static void
set_nullable(Datum *values, char *nulls, int i, NullableDatum from)
{
	values[i] = from.value;
	nulls[i] = from.isnull ? 'n' : ' ';
}

/* The project of a grant: '*' is a null. */
static NullableDatum
project_datum(const AkName *name)
{
	NullableDatum result = {0};

	result.isnull = ak_name_equal(name, &ak_scope_all);
	if (!result.isnull)
		result.value = name_datum(name);
	return result;
}

static Datum
level_value(AkLevel level)
{
	return ObjectIdGetDatum(ak_schema_get()->levels[level]);
}

static void
insert_key(AkInsertion *insertion, const AkNewKey *key)
{
	Datum		values[Natts_apikey_key] = {0};
	bool		nulls[Natts_apikey_key] = {false};

#define SET(column, value) values[Anum_apikey_key_##column - 1] = value
#define SET_NULL(column, isnull) nulls[Anum_apikey_key_##column - 1] = isnull
#define SET_NULLABLE(column) \
	(SET(column, key->column.value), SET_NULL(column, key->column.isnull))
	SET(key_id, UUIDPGetDatum(&key->id));
	SET_NULL(disabled_at, true);
	SET_NULL(revoked_at, true);
	SET_NULLABLE(expires_at);
	SET(organization_level, level_value(key->organization_level));
	SET_NULL(organization_level, key->organization_level == AK_LEVEL_NONE);
	SET(organization, name_datum(&key->organization));
	SET(prefix, CStringGetTextDatum(key->prefix));
	set_secret(&values[Anum_apikey_key_scheme - 1], &key->secret);
	for (int i = 0; i < 3; i++)
		nulls[Anum_apikey_key_scheme - 1 + i] =
			key->secret.scheme == AK_SCHEME_UNKNOWN;
	SET_NULLABLE(allowed_networks);
	SET(label, key->label);
	SET(created_at, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	SET_NULLABLE(created_by);
	SET(metadata, key->metadata.isnull ?
		DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) :
		key->metadata.value);
#undef SET
#undef SET_NULL
#undef SET_NULLABLE
	ak_insert_row(insertion, ak_schema_get()->key, Natts_apikey_key, values,
				  nulls);
}

static void
insert_grant(AkInsertion *insertion, const AkNewKey *key, const AkGrant *grant)
{
	NullableDatum project = project_datum(&grant->project);
	Datum		values[Natts_apikey_grant];
	bool		nulls[Natts_apikey_grant] = {false};

#define SET(column, value) values[Anum_apikey_grant_##column - 1] = value
	SET(key_id, UUIDPGetDatum(&key->id));
	SET(level, level_value(grant->level));
	SET(project, project.value);
	nulls[Anum_apikey_grant_project - 1] = project.isnull;
	SET(environment, name_datum(&grant->environment));
	SET(organization, name_datum(&key->organization));
#undef SET
	ak_insert_row(insertion, ak_schema_get()->grant, Natts_apikey_grant,
				  values, nulls);
}

void
ak_write_key(const AkNewKey *key, const AkGrant *grants, int count,
			 const AkEvent *event)
{
	AkInsertion *insertion = ak_insert_begin();

	insert_key(insertion, key);
	for (int i = 0; i < count; i++)
		insert_grant(insertion, key, &grants[i]);
	ak_event_append(insertion, event);
	making++;
	PG_TRY();
	{
		ak_insert_end(insertion);
	}
	PG_FINALLY();
	{
		making--;
	}
	PG_END_TRY();
}

bool
ak_write_imported(const pg_uuid_t *id, const AkSecret *secret,
				  const uint8 lookup[AK_HASH_LEN])
{
	Datum		values[5] = {UUIDPGetDatum(id)};
	AkName		digest = {(const char *) lookup, AK_HASH_LEN};

	set_secret(&values[1], secret);
	values[4] = name_datum(&digest);
	return run(INSERT_IMPORTED, values) > 0;
}

/* A text in the result of the last statement, in the caller's memory. */
static AkName
get_text(int row, int column)
{
	bool		isnull;
	AkName		name = ak_store_name(SPI_getbinval(SPI_tuptable->vals[row],
												   SPI_tuptable->tupdesc,
												   column, &isnull));
	char	   *copy = SPI_palloc(name.len + 1);

	memcpy(copy, name.data, name.len);
	copy[name.len] = '\0';
	return (AkName)
	{
		copy, name.len
	};
}

static bool
get_bool(int column)
{
	bool		isnull;

	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
									  SPI_tuptable->tupdesc, column, &isnull));
}

bool
ak_write_lock_key(const pg_uuid_t *id, AkLockedKey *key)
{
	Datum		values[1] = {UUIDPGetDatum(id)};
	bool		found;

	begin();
	found = execute(LOCK_KEY, values, NULL) > 0;
	if (found)
	{
		key->organization = get_text(0, 1);
		key->prefix = unconstify(char *, get_text(0, 2).data);
		key->revoked = get_bool(3);
		key->has_secret = get_bool(4);
	}
	SPI_finish();
	return found;
}

static bool
run_key(Statement which, const pg_uuid_t *id)
{
	Datum		values[] = {UUIDPGetDatum(id)};

	return run(which, values) > 0;
}

bool
ak_write_disable(const pg_uuid_t *id)
{
	return run_key(DISABLE_KEY, id);
}

bool
ak_write_enable(const pg_uuid_t *id)
{
	return run_key(ENABLE_KEY, id);
}

bool
ak_write_revoke(const pg_uuid_t *id)
{
	return run_key(REVOKE_KEY, id);
}

bool
ak_write_delete(const pg_uuid_t *id)
{
	return run_key(DELETE_KEY, id);
}

bool
ak_write_organization_level(const pg_uuid_t *id, AkLevel level)
{
	Datum		values[2] = {UUIDPGetDatum(id), level_datum(level)};
	bool		changed;

	begin();
	changed = execute(SET_ORGANIZATION_LEVEL, values,
					  level == AK_LEVEL_NONE ? " n" : "  ") > 0;
	SPI_finish();
	return changed;
}

bool
ak_write_changes(const pg_uuid_t *id, const AkKeyChanges *changes)
{
	const AkKeyChange *columns[] = {
		&changes->label, &changes->expires_at, &changes->created_by,
		&changes->allowed_networks, &changes->metadata
	};
	Datum		values[11] = {UUIDPGetDatum(id)};
	char		nulls[12] = "           ";
	bool		changed;

	begin();
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		values[2 * i + 1] = BoolGetDatum(columns[i]->change);
		set_nullable(values, nulls, 2 * i + 2, columns[i]->value);
		if (!columns[i]->change)
			nulls[2 * i + 2] = 'n';
	}
	changed = execute(UPDATE_KEY, values, nulls) > 0;
	SPI_finish();
	return changed;
}

void
ak_write_rotate(const pg_uuid_t *id, bool has_secret, const AkSecret *secret,
				TimestampTz ends)
{
	Datum		values[4] = {UUIDPGetDatum(id), TimestampTzGetDatum(ends)};
	bool		over = ends <= GetCurrentStatementStartTimestamp();

	if (has_secret || over)
		run_key(DROP_SECRET, id);
	if (!over)
		run(has_secret ? KEEP_SECRET : LIMIT_SECRET, values);
	set_secret(&values[1], secret);
	run(SET_SECRET, values);
}

bool
ak_write_unrotate(const pg_uuid_t *id)
{
	Datum		values[4] = {UUIDPGetDatum(id)};

	if (run_key(RESTORE_SECRET, id))
	{
		run_key(DROP_SECRET, id);
		return true;
	}
	if (!run_key(RESTORE_IMPORTED, id))
		return false;
	begin();
	execute(SET_SECRET, values, " nnn");
	SPI_finish();
	return true;
}

/* Run a statement about a key and one grant of it. */
static uint64
run_grant(Statement which, const pg_uuid_t *id, const AkName *organization,
		  const AkGrant *grant)
{
	Datum		values[5] = {UUIDPGetDatum(id), name_datum(organization)};
	char		nulls[6] = "     ";
	uint64		processed;

	begin();
	set_nullable(values, nulls, 2, project_datum(&grant->project));
	values[3] = name_datum(&grant->environment);
	values[4] = level_datum(grant->level);
	processed = execute(which, values, nulls);
	SPI_finish();
	return processed;
}

bool
ak_write_grant(const pg_uuid_t *id, const AkName *organization,
			   const AkGrant *grant)
{
	return run_grant(UPSERT_GRANT, id, organization, grant) > 0;
}

bool
ak_write_ungrant(const pg_uuid_t *id, const AkName *project,
				 const AkName *environment)
{
	Datum		values[3] = {UUIDPGetDatum(id)};
	char		nulls[4] = "   ";
	bool		found;

	begin();
	set_nullable(values, nulls, 1, project_datum(project));
	values[2] = name_datum(environment);
	found = execute(DELETE_GRANT, values, nulls) > 0;
	SPI_finish();
	return found;
}

/* The rows of the last statement, in the caller's memory. */
static int
get_rows(AkEnvironmentRow **rows, bool has_environment)
{
	int			count = SPI_processed;

	*rows = SPI_palloc(Max(count, 1) * sizeof(AkEnvironmentRow));
	for (int i = 0; i < count; i++)
	{
		(*rows)[i].project = get_text(i, 1);
		(*rows)[i].organization = get_text(i, 2);
		if (has_environment)
			(*rows)[i].environment = get_text(i, 3);
	}
	return count;
}

int
ak_write_projects(const AkName *organizations, const AkName *projects,
				  int count, const AkName *environments, int nenvironments,
				  AkEnvironmentRow **added, int *nadded)
{
	AkName	   *all = palloc((nenvironments + 1) * sizeof(AkName));
	Datum		values[3] = {
		names_datum(projects, count), names_datum(organizations, count)
	};
	int			refused = -1;

	begin();
	if (execute(UPSERT_PROJECTS, values, NULL) > 0)
	{
		bool		isnull;

		refused = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
											  SPI_tuptable->tupdesc, 1,
											  &isnull)) - 1;
	}
	SPI_finish();
	if (refused >= 0)
		return refused;

	all[0] = ak_scope_all;
	memcpy(all + 1, environments, nenvironments * sizeof(AkName));
	values[2] = names_datum(all, nenvironments + 1);
	begin();
	execute(UPSERT_ENVIRONMENTS, values, NULL);
	*nadded = get_rows(added, true);
	SPI_finish();
	return -1;
}

int
ak_write_lock_projects(const AkName *projects, int count,
					   AkEnvironmentRow **locked)
{
	Datum		values[] = {names_datum(projects, count)};
	int			found;

	begin();
	execute_latest(LOCK_PROJECTS, values);
	found = get_rows(locked, false);
	SPI_finish();
	return found;
}

/*
 * The foreign keys would delete the rest by themselves, but not while logical
 * replication is applied, where they do not fire; and where the transaction
 * keeps an older snapshot they would fail at rows that this does not show.
 * So the lock that keeps new environments and grants away is taken first.
 */
void
ak_write_remove_projects(const AkName *projects, int count)
{
	Datum		values[] = {names_datum(projects, count)};

	begin();
	execute_latest(LOCK_ENVIRONMENTS, values);
	execute_latest(DELETE_PROJECTS_GRANTS, values);
	execute_latest(DELETE_PROJECTS_ENVIRONMENTS, values);
	execute_latest(DELETE_PROJECTS, values);
	SPI_finish();
}

bool
ak_write_remove_environment(const AkName *project, const AkName *environment,
							AkName *organization)
{
	Datum		values[] = {name_datum(project), name_datum(environment)};
	bool		found;

	begin();
	found = execute(DELETE_ENVIRONMENT, values, NULL) > 0;
	if (found)
		*organization = get_text(0, 1);
	SPI_finish();
	return found;
}

uint64
ak_write_purge(TimestampTz before)
{
	Datum		values[] = {TimestampTzGetDatum(before)};
	volatile uint64 count = 0;

	purging = before;
	PG_TRY();
	{
		count = run(PURGE_EVENTS, values);
	}
	PG_FINALLY();
	{
		purging = DT_NOBEGIN;
	}
	PG_END_TRY();
	return count;
}

bool
ak_write_is_purged(TimestampTz at)
{
	return at < purging;
}

bool
ak_write_is_ours(void)
{
	return running > 0 || making > 0;
}

bool
ak_write_is_new_key(void)
{
	return making > 0;
}
