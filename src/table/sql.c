/*
 * sql.c
 *		SQL that changes our tables, through SPI; see sql.h.
 */
#include "postgres.h"

#include "table/sql.h"

#include "access/table.h"
#include "base/hide.h"
#include "executor/spi.h"
#include "optimizer/cost.h"
#include "table/follow.h"
#include "table/layout.h"
#include "table/rowerror.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define MAX_VALUES	10

static int	running;			/* one within the other */

/* Plans are for the schema of this name, and bear the number of the name. */
static char schema_name[NAMEDATALEN];
static uint32 generation;

/* With our schema in the place of "$S"; palloc'd. */
static char *
qualify_query(const char *query)
{
	const char *schema = quote_identifier(ak_schema_name());
	StringInfoData result;

	initStringInfo(&result);
	for (const char *p = query; *p != '\0'; p++)
	{
		if (p[0] == '$' && p[1] == 'S')
		{
			appendStringInfoString(&result, schema);
			p++;
		}
		else
			appendStringInfoChar(&result, *p);
	}
	return result.data;
}

static SPIPlanPtr
prepare_plan(const char *query, const AkValue *values, int count)
{
	Oid			types[MAX_VALUES];
	SPIPlanPtr	plan;

	Assert(count <= MAX_VALUES);
	for (int i = 0; i < count; i++)
		types[i] = values[i].type;
	plan = SPI_prepare(qualify_query(query), count, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare a statement: %s",
			 SPI_result_code_string(SPI_result));
	return plan;
}

/*
 * Make sure of its plan.  One for another name of the schema may be running, if a trigger
 * has renamed it: such a plan is left as it is.
 */
static void
make_plan(AkSql *sql, const AkValue *values, int count)
{
	const char *schema = ak_schema_name();
	SPIPlanPtr	plan = sql->plan;

	if (strcmp(schema, schema_name) != 0)
	{
		strlcpy(schema_name, schema, sizeof(schema_name));
		generation++;
	}
	if (plan != NULL && sql->generation == generation)
		return;

	sql->plan = NULL;
	if (plan != NULL && running == 0)
		SPI_freeplan(plan);
	plan = prepare_plan(sql->query, values, count);
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep a plan");
	sql->plan = plan;
	sql->generation = generation;
}

void
ak_sql_use_indexes(void)
{
	if (enable_seqscan)
		(void) set_config_option("enable_seqscan", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

void
ak_sql_begin(void)
{
	SPI_connect();
}

void
ak_sql_end(void)
{
	SPI_finish();
}

void
ak_sql_commit(void)
{
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();
}

/* Could one of them keep a row from being changed? */
static bool
has_before_triggers(const TriggerDesc *triggers)
{
	return triggers != NULL &&
		(triggers->trig_update_before_row || triggers->trig_delete_before_row);
}

/*
 * Take the lock that a change of the table needs, and see that it is as it should be.
 * What locks rows alone would take a weaker one, and keep indexes locked as well: the
 * change that comes next could wait for a REINDEX that waits for the indexes.  Returns
 * whether the table has BEFORE triggers.
 */
static bool
lock_table(AkTable table)
{
	Relation	rel = ak_layout_open(table, RowExclusiveLock);
	bool		result = has_before_triggers(rel->trigdesc);

	table_close(rel, NoLock);
	if (ak_follow_has_table(table))
		ak_follow_refuse_change(false);
	return result;
}

/* By a snapshot of now, or by that of the transaction. */
static void
run_plan(SPIPlanPtr plan, int flags, const AkValue *values, int count)
{
	bool		fire = (flags & AK_SQL_PART) == 0;
	Datum		datums[MAX_VALUES];
	char		nulls[MAX_VALUES];
	int			result;

	for (int i = 0; i < count; i++)
	{
		Assert(SPI_getargtypeid(plan, i) == values[i].type);
		datums[i] = values[i].value;
		nulls[i] = values[i].isnull ? 'n' : ' ';
	}
	if ((flags & (AK_SQL_LATEST | AK_SQL_PART)) != 0)
		result = SPI_execute_snapshot(plan, datums, nulls, GetLatestSnapshot(),
									  InvalidSnapshot, false, fire, 0);
	else
		result = SPI_execute_plan(plan, datums, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not execute a statement: %s",
			 SPI_result_code_string(result));
}

void
ak_sql_refuse_trigger(AkTable table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("a trigger on table \"%s\" keeps a row from being changed",
					ak_schema_tables[table].name),
			 errhidestmt(true)));
}

/* Is any row left that the statement was to change? */
static void
check_left(const AkSql *sql, const AkValue *values, int count)
{
	char	   *query = psprintf("SELECT FROM $S.%s%s LIMIT 1",
								 ak_schema_tables[sql->table].name,
								 strstr(sql->query, " WHERE "));

	run_plan(prepare_plan(query, values, count), sql->flags, values, count);
	if (SPI_processed > 0)
		ak_sql_refuse_trigger(sql->table);
}

uint64
ak_sql_execute_values(AkSql *sql, const AkValue *values, int count)
{
	bool		may_keep = lock_table(sql->table);
	ErrorContextCallback hide;
	uint64		processed;

	ak_sql_use_indexes();
	make_plan(sql, values, count);
	ak_hide_begin(&hide, ak_rowerror_hide);
	running++;
	PG_TRY();
	{
		run_plan(sql->plan, sql->flags, values, count);
	}
	PG_FINALLY();
	{
		running--;
	}
	PG_END_TRY();
	ak_hide_end(&hide);
	processed = SPI_processed;
	if (((sql->flags & AK_SQL_ONE) != 0 && processed == 0) ||
		((sql->flags & AK_SQL_MANY) != 0 && may_keep))
		check_left(sql, values, count);
	return processed;
}

uint64
ak_sql_run_values(AkSql *sql, const AkValue *values, int count)
{
	uint64		processed;

	ak_sql_begin();
	processed = ak_sql_execute_values(sql, values, count);
	ak_sql_end();
	return processed;
}

uint64
ak_sql_query(const char *query, ParserSetupHook setup, void *arg)
{
	SPIPlanPtr	plan = SPI_prepare_params(query, setup, arg, 0);

	if (plan == NULL)
		elog(ERROR, "could not prepare a query: %s",
			 SPI_result_code_string(SPI_result));
	run_plan(plan, 0, NULL, 0);
	return SPI_processed;
}

AkValue
ak_sql_value(int row, int column)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	AkValue		value;

	value.type = SPI_gettypeid(desc, column);
	value.value = SPI_getbinval(SPI_tuptable->vals[row], desc, column,
								&value.isnull);
	return value;
}

AkName
ak_sql_name(int row, int column)
{
	AkName		name = ak_name_of_text(ak_sql_value(row, column).value);
	char	   *copy = SPI_palloc(name.len + 1);

	memcpy(copy, name.data, name.len);
	copy[name.len] = '\0';
	name.data = copy;
	return name;
}

Jsonb *
ak_sql_jsonb(int row, int column)
{
	return DatumGetJsonbP(ak_sql_value(row, column).value);
}

bool
ak_sql_bool(int row, int column)
{
	return DatumGetBool(ak_sql_value(row, column).value);
}

int64
ak_sql_int64(int row, int column)
{
	return DatumGetInt64(ak_sql_value(row, column).value);
}

char *
ak_sql_string(int row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

void *
ak_sql_alloc(Size size)
{
	return SPI_palloc(size);
}

bool
ak_sql_is_running(void)
{
	return running > 0;
}
