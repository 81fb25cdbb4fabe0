/*
 * statement.c
 *		The SQL that changes our tables; see statement.h.
 */
#include "postgres.h"

#include "table/statement.h"

#include "access/table.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "optimizer/cost.h"
#include "table/layout.h"
#include "table/rowerror.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define MAX_ARGS	15

/* clock.h */
#define NOW \
"greatest(statement_timestamp(), now())"

/* A budget as it is once a refill that is due has been made. */
#define DUE \
"refills_at <= " NOW
#define REFILLED \
"CASE WHEN " DUE " THEN budget ELSE remaining END"
#define REFILLS_AT(first, from) \
"(apikey_internal.budget_period(" first ", " from ", " NOW ")).refills_at"

/* "$S" stands for the schema. */
static const struct
{
	AkTable		table;			/* that it changes, or locks rows of */
	const char *text;
	int			nargs;
	Oid			types[MAX_ARGS];
}			statements[AK_STATEMENTS] =

{
	[AK_INSERT_IMPORTED] = {
		AK_TABLE_SECRET,
		"INSERT INTO $S.apikey_secret (key_id, scheme, salt, verifier, lookup)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (lookup) DO NOTHING", 5,
		{UUIDOID, TEXTOID, BYTEAOID, BYTEAOID, BYTEAOID}
	},
	[AK_LOCK_KEY] = {
		AK_TABLE_KEY,
		"SELECT organization, prefix, revoked_at IS NOT NULL, scheme IS NOT NULL"
		" FROM $S.apikey_key WHERE key_id = $1 FOR NO KEY UPDATE", 1,
		{UUIDOID}
	},
	[AK_UPDATE_KEY] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key SET label = CASE WHEN $2 THEN $3 ELSE label END,"
		" expires_at = CASE WHEN $4 THEN $5 ELSE expires_at END,"
		" created_by = CASE WHEN $6 THEN $7 ELSE created_by END,"
		" allowed_networks = CASE WHEN $8 THEN $9 ELSE allowed_networks END,"
		" metadata = CASE WHEN $10 THEN coalesce($11, '{}') ELSE metadata END,"
		" rate_count = CASE WHEN $12 THEN $13 ELSE rate_count END,"
		" rate_interval = CASE WHEN $12 THEN $14 ELSE rate_interval END,"
		" rate_burst = CASE WHEN $12 THEN $15 ELSE rate_burst END"
		" WHERE key_id = $1 AND ($2 AND label IS DISTINCT FROM $3"
		" OR $4 AND expires_at IS DISTINCT FROM $5"
		" OR $6 AND created_by IS DISTINCT FROM $7"
		" OR $8 AND allowed_networks IS DISTINCT FROM $9"
		" OR $10 AND metadata IS DISTINCT FROM coalesce($11, '{}')"
		" OR $12 AND (rate_count, rate_interval, rate_burst)"
		" IS DISTINCT FROM ($13, $14, $15))", 15,
		{UUIDOID, BOOLOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, BOOLOID, TEXTOID,
			BOOLOID, CIDRARRAYOID, BOOLOID, JSONBOID, BOOLOID, INT4OID, INTERVALOID,
		INT4OID}
	},
	[AK_KEEP_SECRET] = {
		AK_TABLE_SECRET,
		"INSERT INTO $S.apikey_secret (key_id, scheme, salt, verifier, expires_at)"
		" SELECT key_id, scheme, salt, verifier, least($2, expires_at)"
		" FROM $S.apikey_key WHERE key_id = $1", 2,
		{UUIDOID, TIMESTAMPTZOID}
	},
	[AK_LIMIT_SECRET] = {
		AK_TABLE_SECRET,
		"UPDATE $S.apikey_secret s SET expires_at = least($2, k.expires_at)"
		" FROM $S.apikey_key k WHERE s.key_id = $1 AND k.key_id = $1", 2,
		{UUIDOID, TIMESTAMPTZOID}
	},
	[AK_DROP_SECRET] = {
		AK_TABLE_SECRET,
		"DELETE FROM $S.apikey_secret WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[AK_SET_SECRET] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key SET scheme = $2, salt = $3, verifier = $4"
		" WHERE key_id = $1", 4,
		{UUIDOID, TEXTOID, BYTEAOID, BYTEAOID}
	},
	[AK_RESTORE_SECRET] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key k SET scheme = s.scheme, salt = s.salt,"
		" verifier = s.verifier FROM $S.apikey_secret s"
		" WHERE k.key_id = $1 AND s.key_id = $1 AND s.lookup IS NULL"
		" AND s.expires_at > " NOW, 1,
		{UUIDOID}
	},
	[AK_RESTORE_IMPORTED] = {
		AK_TABLE_SECRET,
		"UPDATE $S.apikey_secret SET expires_at = NULL"
		" WHERE key_id = $1 AND lookup IS NOT NULL"
		" AND expires_at > " NOW, 1,
		{UUIDOID}
	},
	[AK_DISABLE_KEY] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key SET disabled_at = now()"
		" WHERE key_id = $1 AND disabled_at IS NULL", 1,
		{UUIDOID}
	},
	[AK_ENABLE_KEY] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key SET disabled_at = NULL"
		" WHERE key_id = $1 AND disabled_at IS NOT NULL", 1,
		{UUIDOID}
	},
	[AK_REVOKE_KEY] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key SET revoked_at = now()"
		" WHERE key_id = $1 AND revoked_at IS NULL", 1,
		{UUIDOID}
	},
	[AK_DELETE_KEY] = {
		AK_TABLE_KEY,
		"DELETE FROM $S.apikey_key WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[AK_SET_ORGANIZATION_LEVEL] = {
		AK_TABLE_KEY,
		"UPDATE $S.apikey_key SET organization_level = $2::$S.apikey_level"
		" WHERE key_id = $1"
		" AND organization_level IS DISTINCT FROM $2::$S.apikey_level", 2,
		{UUIDOID, TEXTOID}
	},
	[AK_UPSERT_BUDGET] = {
		AK_TABLE_BUDGET,
		"INSERT INTO $S.apikey_budget"
		" (key_id, budget, remaining, refill, started_at, refills_at)"
		" VALUES ($1, $2, $2, $3, " NOW ", "
		REFILLS_AT(NOW, "$3") ")"
		" ON CONFLICT (key_id) DO UPDATE SET budget = excluded.budget,"
		" remaining = excluded.remaining, refill = excluded.refill,"
		" started_at = excluded.started_at, refills_at = excluded.refills_at", 3,
		{UUIDOID, INT8OID, INTERVALOID}
	},
	[AK_DELETE_BUDGET] = {
		AK_TABLE_BUDGET,
		"DELETE FROM $S.apikey_budget WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[AK_SPEND] = {
		AK_TABLE_BUDGET,
		"UPDATE $S.apikey_budget SET remaining = " REFILLED " - $2,"
		" refills_at = CASE WHEN " DUE " THEN " REFILLS_AT("started_at", "refill")
		" ELSE refills_at END"
		" WHERE key_id = $1 AND " REFILLED " >= $2 RETURNING remaining", 2,
		{UUIDOID, INT8OID}
	},
	[AK_LOOK_AT_BUDGET] = {
		AK_TABLE_BUDGET,
		"SELECT budget, " REFILLED ", coalesce(CASE WHEN " DUE
		" THEN " REFILLS_AT("started_at", "refill") " ELSE refills_at END,"
		" 'infinity') FROM $S.apikey_budget WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[AK_UPSERT_GRANT] = {
		AK_TABLE_GRANT,
		"INSERT INTO $S.apikey_grant AS old"
		" (key_id, organization, project, environment, level)"
		" VALUES ($1, $2, $3, $4, $5::$S.apikey_level)"
		" ON CONFLICT (key_id, project, environment)"
		" DO UPDATE SET level = excluded.level"
		" WHERE old.level <> excluded.level", 5,
		{UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[AK_DELETE_GRANT] = {
		AK_TABLE_GRANT,
		"DELETE FROM $S.apikey_grant WHERE key_id = $1"
		" AND project IS NOT DISTINCT FROM $2 AND environment = $3", 3,
		{UUIDOID, TEXTOID, TEXTOID}
	},
	[AK_UPSERT_PROJECTS] = {
		AK_TABLE_PROJECT,
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
	[AK_UPSERT_ENVIRONMENTS] = {
		AK_TABLE_ENVIRONMENT,
		"INSERT INTO $S.apikey_environment (project, organization, environment)"
		" SELECT p.*, e.* FROM unnest($1, $2) AS p, unnest($3) AS e"
		" ON CONFLICT DO NOTHING RETURNING project, organization, environment", 3,
		{TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[AK_LOCK_PROJECTS] = {
		AK_TABLE_PROJECT,
		"SELECT project, organization FROM $S.apikey_project"
		" WHERE project = ANY ($1)"
		" ORDER BY project FOR UPDATE", 1,
		{TEXTARRAYOID}
	},
	[AK_LOCK_ENVIRONMENTS] = {
		AK_TABLE_ENVIRONMENT,
		"SELECT FROM $S.apikey_environment WHERE project = ANY ($1)"
		" ORDER BY project, environment FOR UPDATE", 1,
		{TEXTARRAYOID}
	},
	[AK_DELETE_PROJECTS_GRANTS] = {
		AK_TABLE_GRANT,
		"DELETE FROM $S.apikey_grant WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[AK_DELETE_PROJECTS_ENVIRONMENTS] = {
		AK_TABLE_ENVIRONMENT,
		"DELETE FROM $S.apikey_environment WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[AK_DELETE_PROJECTS] = {
		AK_TABLE_PROJECT,
		"DELETE FROM $S.apikey_project WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[AK_LOCK_ENVIRONMENT] = {
		AK_TABLE_ENVIRONMENT,
		"SELECT FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2 FOR UPDATE", 2,
		{TEXTOID, TEXTOID}
	},
	[AK_DELETE_ENVIRONMENT_GRANTS] = {
		AK_TABLE_GRANT,
		"DELETE FROM $S.apikey_grant WHERE project = $1 AND environment = $2", 2,
		{TEXTOID, TEXTOID}
	},
	[AK_DELETE_ENVIRONMENT] = {
		AK_TABLE_ENVIRONMENT,
		"DELETE FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2", 2,
		{TEXTOID, TEXTOID}
	},
	[AK_RENAME_PROJECT] = {
		AK_TABLE_PROJECT,
		"UPDATE $S.apikey_project SET project = $2 WHERE project = $1", 2,
		{TEXTOID, TEXTOID}
	},
	[AK_RENAME_ENVIRONMENTS] = {
		AK_TABLE_ENVIRONMENT,
		"UPDATE $S.apikey_environment SET project = $2 WHERE project = $1", 2,
		{TEXTOID, TEXTOID}
	},
	[AK_RENAME_GRANTS] = {
		AK_TABLE_GRANT,
		"UPDATE $S.apikey_grant SET project = $2 WHERE project = $1", 2,
		{TEXTOID, TEXTOID}
	},
	[AK_PURGE_EVENTS] = {
		AK_TABLE_EVENT,
		"DELETE FROM $S.apikey_event WHERE at < $1", 1,
		{TIMESTAMPTZOID}
	},
	[AK_ADD_USE] = {
		AK_TABLE_USE,
		"INSERT INTO $S.apikey_use AS old (key_id, uses, refusals,"
		" last_used_at, last_refused_at, limit_until)"
		" SELECT * FROM unnest($1, $2, $3, $4, $5, $6)"
		" ON CONFLICT (key_id) DO UPDATE SET uses = old.uses + excluded.uses,"
		" refusals = old.refusals + excluded.refusals,"
		" last_used_at = greatest(old.last_used_at, excluded.last_used_at),"
		" last_refused_at = greatest(old.last_refused_at, excluded.last_refused_at),"
		" limit_until = coalesce(excluded.limit_until, old.limit_until)", 6,
		{UUIDARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID,
		TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID}
	},
	[AK_ADD_USE_HOURS] = {
		AK_TABLE_USE_HOUR,
		"INSERT INTO $S.apikey_use_hour AS old (key_id, hour, uses, refusals)"
		" SELECT * FROM unnest($1, $2, $3, $4)"
		" ON CONFLICT (key_id, hour) DO UPDATE SET uses = old.uses + excluded.uses,"
		" refusals = old.refusals + excluded.refusals", 4,
		{UUIDARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT8ARRAYOID}
	},
	[AK_PURGE_USE] = {
		AK_TABLE_USE,
		"DELETE FROM $S.apikey_use u WHERE NOT EXISTS"
		" (SELECT FROM $S.apikey_key k WHERE k.key_id = u.key_id)"
		" AND coalesce(greatest(last_used_at, last_refused_at) < $1, true)", 1,
		{TIMESTAMPTZOID}
	},
	[AK_PURGE_USE_HOURS] = {
		AK_TABLE_USE_HOUR,
		"DELETE FROM $S.apikey_use_hour WHERE hour < $1", 1,
		{TIMESTAMPTZOID}
	}
};
static int	running;			/* one within the other */

static SPIPlanPtr plans[AK_STATEMENTS];
static char plans_schema[NAMEDATALEN];	/* that the plans were made for */

char *
ak_statement_qualify(const char *query)
{
	const char *schema =
	quote_identifier(ak_schema_name());
	StringInfoData text;

	initStringInfo(&text);
	for (const char *p = query; *p != '\0'; p++)
	{
		if (p[0] == '$' && p[1] == 'S')
		{
			appendStringInfoString(&text, schema);
			p++;
		}
		else
			appendStringInfoChar(&text, *p);
	}
	return text.data;
}

static SPIPlanPtr
get_plan(AkStatement which)
{
	const char *schema = ak_schema_name();

	if (strcmp(schema, plans_schema) != 0)
	{
		for (int i = 0; i < AK_STATEMENTS; i++)
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

	plans[which] = SPI_prepare(ak_statement_qualify(statements[which].text),
							   statements[which].nargs,
							   (Oid *) statements[which].types);
	if (plans[which] == NULL || SPI_keepplan(plans[which]) != 0)
		elog(ERROR, "could not prepare a statement: %s",
			 SPI_result_code_string(SPI_result));
	return plans[which];
}

void
ak_statement_use_indexes(void)
{
	if (enable_seqscan)
		(void) set_config_option("enable_seqscan", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

void
ak_statement_begin(void)
{
	SPI_connect();
	ak_statement_use_indexes();
}

void
ak_statement_end(void)
{
	SPI_finish();
}

/*
 * Take the lock that a change of the table needs, and see that it is as it should be.
 * What locks rows alone would take a weaker one, and keep indexes locked as well: the
 * change that comes next could wait for a REINDEX that waits for the indexes.  Returns
 * whether there are triggers that could keep a row from being changed.
 */
static bool
lock_table(AkTable table)
{
	Relation	rel = ak_layout_open(table, RowExclusiveLock);
	bool		result = rel->trigdesc != NULL &&
	(rel->trigdesc->trig_update_before_row ||
	 rel->trigdesc->trig_delete_before_row);

	table_close(rel, NoLock);
	return result;
}

/* Is it about any number of rows, of which there may be none? */
static bool
is_about_many(AkStatement which)
{
	return which == AK_DELETE_PROJECTS_GRANTS ||
		which == AK_DELETE_PROJECTS_ENVIRONMENTS ||
		which == AK_DELETE_PROJECTS ||
		which == AK_DELETE_ENVIRONMENT_GRANTS ||
		which == AK_RENAME_ENVIRONMENTS || which == AK_RENAME_GRANTS;
}

/*
 * What a statement that did nothing, or is about many rows, has left, which must be
 * nothing: the rows that it was to change, or a grant that it was to see to.  NULL for
 * one that need not have anything to do.
 */
static char *
left_query(AkStatement which)
{
	const char *where = strstr(statements[which].text, " WHERE ");

	switch (which)
	{
		case AK_UPDATE_KEY:
		case AK_SET_SECRET:
		case AK_DROP_SECRET:
		case AK_DISABLE_KEY:
		case AK_ENABLE_KEY:
		case AK_REVOKE_KEY:
		case AK_DELETE_KEY:
		case AK_SET_ORGANIZATION_LEVEL:
		case AK_DELETE_BUDGET:
		case AK_DELETE_GRANT:
		case AK_DELETE_PROJECTS_GRANTS:
		case AK_DELETE_PROJECTS_ENVIRONMENTS:
		case AK_DELETE_PROJECTS:
		case AK_DELETE_ENVIRONMENT_GRANTS:
		case AK_DELETE_ENVIRONMENT:
		case AK_RENAME_PROJECT:
		case AK_RENAME_ENVIRONMENTS:
		case AK_RENAME_GRANTS:
			return psprintf("SELECT FROM $S.%s%s",
							ak_schema_tables[statements[which].table].name,
							where);
		case AK_UPSERT_GRANT:
			return pstrdup("SELECT WHERE NOT EXISTS (SELECT FROM $S.apikey_grant"
						   " WHERE key_id = $1 AND organization = $2"
						   " AND project IS NOT DISTINCT FROM $3"
						   " AND environment = $4 AND level = $5::$S.apikey_level)");
		case AK_KEEP_SECRET:
		case AK_UPSERT_BUDGET:
			return pstrdup("SELECT");
		default:
			return NULL;
	}
}

/* By a snapshot of now, or by that of the transaction. */
static int
run_plan(SPIPlanPtr plan, Datum *values, const char *nulls, bool latest,
		 bool fire, long count)
{
	if (!latest)
		return SPI_execute_plan(plan, values, nulls, false, count);
	return SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(),
								InvalidSnapshot, false, fire, count);
}

/*
 * Raise 09000 if a statement did too little because of somebody's trigger: what is said
 * to have been taken away must not be there.
 */
static void
check_left(AkStatement which, Datum *values, const char *nulls, bool latest)
{
	char	   *query = left_query(which);
	SPIPlanPtr	plan;

	if (query == NULL)
		return;
	plan = SPI_prepare(ak_statement_qualify(query), statements[which].nargs,
					   (Oid *) statements[which].types);
	if (plan == NULL || run_plan(plan, values, nulls, latest, true, 1) < 0)
		elog(ERROR, "could not look at what a statement has left");
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a trigger on table \"%s\" keeps a row from being changed",
						ak_schema_tables[statements[which].table].name),
				 errhidestmt(true)));
}

/* A snapshot of now is taken under the lock. */
static uint64
execute_by(AkStatement which, Datum *values, const char *nulls, bool latest,
		   bool fire)
{
	SPIPlanPtr	plan;
	volatile int result = 0;
	uint64		processed;
	bool		may_keep;
	ErrorContextCallback hide;

	may_keep = lock_table(statements[which].table);
	plan = get_plan(which);
	ak_rowerror_begin(&hide);
	running++;
	PG_TRY();
	{
		result = run_plan(plan, values, nulls, latest, fire, 0);
	}
	PG_FINALLY();
	{
		running--;
	}
	PG_END_TRY();
	ak_rowerror_end(&hide);
	if (result < 0)
		elog(ERROR, "could not execute a statement: %s",
			 SPI_result_code_string(result));
	processed = SPI_processed;
	if (is_about_many(which) ? may_keep : processed == 0)
		check_left(which, values, nulls, latest);
	return processed;
}

uint64
ak_statement_execute(AkStatement which, Datum *values, const char *nulls)
{
	return execute_by(which, values, nulls, false, true);
}

uint64
ak_statement_execute_latest(AkStatement which, Datum *values)
{
	return execute_by(which, values, NULL, true, true);
}

uint64
ak_statement_execute_part(AkStatement which, Datum *values)
{
	return execute_by(which, values, NULL, true, false);
}

uint64
ak_statement_run(AkStatement which, Datum *values)
{
	uint64		processed;

	ak_statement_begin();
	processed = ak_statement_execute(which, values, NULL);
	ak_statement_end();
	return processed;
}

static Datum
get_value(int row, int column)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, &isnull);
}

AkName
ak_statement_text(int row, int column)
{
	text	   *value = DatumGetTextPP(get_value(row, column));
	int			len = VARSIZE_ANY_EXHDR(value);
	char	   *copy = SPI_palloc(len + 1);

	memcpy(copy, VARDATA_ANY(value), len);
	copy[len] = '\0';
	return (AkName)
	{
		copy, len
	};
}

bool
ak_statement_bool(int row, int column)
{
	return DatumGetBool(get_value(row, column));
}

int64
ak_statement_int64(int row, int column)
{
	return DatumGetInt64(get_value(row, column));
}

void *
ak_statement_alloc(Size size)
{
	return SPI_palloc(size);
}

bool
ak_statement_is_running(void)
{
	return running > 0;
}
