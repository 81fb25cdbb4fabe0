/*
 * look.c
 *		Looking at keys from the other side: what does one open, and which open
 *		this?
 *
 * Each is one query of our tables and views, sent through SPI and collected in
 * a tuplestore, which goes to disk when it grows.  Nothing is remembered, not
 * even a plan: statistics of the day and the values asked about make a better
 * one, and whoever asks is a person.
 *
 * The queries run as the owner of the extension, by the snapshot of the
 * caller's statement: they see what a query of the views in their place would
 * see.  That is what was committed when the statement began (in REPEATABLE READ,
 * the transaction), and what the own transaction did before.  The deciding
 * functions see what has been committed since, too.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "keys/options.h"
#include "nodes/params.h"
#include "shmem/counts.h"
#include "table/schema.h"
#include "table/sql.h"
#include "table/store.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define KEY \
"SELECT FROM $S.apikey_key WHERE key_id = $1"

/*
 * What level opens which command is what apikey_protect makes its policies of.
 * Sorted by the qualified name: search_path holds no schema of tables.
 */
#define REACH \
"SELECT p.relation, g.project, g.environment, g.level," \
" CASE g.level WHEN 'read' THEN ARRAY['SELECT']" \
" WHEN 'write' THEN ARRAY['SELECT', 'INSERT', 'UPDATE']" \
" WHEN 'manage' THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END" \
" FROM $S.apikey_grants g, $S.apikey_protected p" \
" WHERE g.key_id = $1 AND p.enabled" \
" ORDER BY p.relation::text COLLATE \"C\", g.project COLLATE \"C\"," \
" g.environment COLLATE \"C\""

/*
 * The rules of authz.h as a query: a registered pair, a grant on it or on '*'
 * of high enough a level, a key of the organization that owns the project, and
 * good.  Both kinds of grants are found by apikey_grant_project_idx, and each
 * key by its id: "IS NOT DISTINCT FROM", which no index serves, keeps the planner
 * from reading all keys of an organization that has more than most.
 */
#define WHO \
"SELECT k.key_id, k.organization, k.label," \
" CASE WHEN k.scheme IS NOT NULL THEN" \
" apikey_internal.masked(k.prefix, k.key_id) END, max(g.level)" \
" FROM $S.apikey_environment e," \
" LATERAL (SELECT key_id, level FROM $S.apikey_grant" \
" WHERE project = $1 AND environment IN ($2, '*')" \
" UNION ALL SELECT key_id, level FROM $S.apikey_grant" \
" WHERE project IS NULL AND environment IN ($2, '*')" \
" AND organization = e.organization) g," \
" $S.apikey_key k" \
" WHERE e.project = $1 AND e.environment = $2 AND e.environment <> '*'" \
" AND g.level >= $3::$S.apikey_level" \
" AND k.key_id = g.key_id AND k.organization IS NOT DISTINCT FROM e.organization" \
" AND k.revoked_at IS NULL AND k.disabled_at IS NULL" \
" AND (k.expires_at IS NULL OR k.expires_at > greatest(statement_timestamp(), now()))" \
" GROUP BY k.key_id ORDER BY k.key_id"

/*
 * Good keys, made and last used before $1.  What was written down of use leaves
 * few keys that shared memory must be asked about.
 */
#define UNUSED \
"SELECT k.key_id, k.organization, k.label, k.key, k.created_at, k.last_used_at" \
" FROM $S.apikey_keys k LEFT JOIN $S.apikey_use u USING (key_id)" \
" WHERE k.status = 'active' AND k.created_at < $1" \
" AND coalesce(u.last_used_at < $1, true)" \
" AND coalesce(k.last_used_at < $1, true)" \
" ORDER BY coalesce(k.last_used_at, k.created_at), k.key_id"

static void
add_argument(ParamListInfo arguments, Oid type, Datum value)
{
	ParamExternData *argument = &arguments->params[arguments->numParams++];

	argument->value = value;
	argument->isnull = false;
	argument->pflags = PARAM_FLAG_CONST;
	argument->ptype = type;
}

/*
 * Run a query by the snapshot of the caller's; its rows go to the result unless
 * that is NULL.  Returns how many there were.
 */
static uint64
run(const char *query, ParamListInfo arguments, ReturnSetInfo *result)
{
	SPIExecuteOptions options = {0};
	uint64		processed;

	SPI_connect();
	options.params = arguments;
	options.read_only = true;
	if (result != NULL)
	{
		options.dest = CreateDestReceiver(DestTuplestore);
		SetTuplestoreDestReceiverParams(options.dest, result->setResult,
										result->econtext->ecxt_per_query_memory,
										false, result->setDesc,
										"unexpected columns");
	}
	if (SPI_execute_extended(ak_sql_qualify(query), &options) != SPI_OK_SELECT)
		elog(ERROR, "could not execute a query: %s", query);
	processed = SPI_processed;
	SPI_finish();
	return processed;
}

AK_FUNCTION_INFO_V1(apikey_reach);
Datum
apikey_reach(PG_FUNCTION_ARGS)
{
	ParamListInfo arguments = makeParamList(1);

	ak_arg_refuse_null(fcinfo, 0, "key_id");
	ak_schema_accept();
	InitMaterializedSRF(fcinfo, 0);
	arguments->numParams = 0;
	add_argument(arguments, UUIDOID, PG_GETARG_DATUM(0));
	if (run(REACH, arguments, (ReturnSetInfo *) fcinfo->resultinfo) == 0 &&
		run(KEY, arguments, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("API key does not exist"),
				 errdetail("There is no key with id %s.",
						   ak_options_print_id(PG_GETARG_UUID_P(0)))));
	return (Datum) 0;
}

AK_FUNCTION_INFO_V1(apikey_who_can);
Datum
apikey_who_can(PG_FUNCTION_ARGS)
{
	ParamListInfo arguments = makeParamList(3);
	AkIdentType args[2] = {0};
	AkName		names[2];
	AkLevel		wanted;

	ak_schema_accept();
	InitMaterializedSRF(fcinfo, 0);
	wanted = ak_arg_verb(fcinfo, 2);
	arguments->numParams = 0;
	for (int i = 0; i < 2; i++)
	{
		if (!ak_arg_name(fcinfo, i, &args[i], &names[i]))
			return (Datum) 0;
		add_argument(arguments, TEXTOID, ak_name_to_text(&names[i]));
	}
	if (wanted == AK_LEVEL_NONE)
		return (Datum) 0;
	add_argument(arguments, TEXTOID,
				 CStringGetTextDatum(ak_level_name(wanted)));
	run(WHO, arguments, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

AK_FUNCTION_INFO_V1(apikey_unused);
Datum
apikey_unused(PG_FUNCTION_ARGS)
{
	ParamListInfo arguments = makeParamList(1);
	Datum		now = TimestampTzGetDatum(ak_clock_now());
	Datum		before;

	ak_arg_refuse_null(fcinfo, 0, "idle");
	ak_counts_require("counts of use");
	before = DirectFunctionCall2(timestamptz_mi_interval, now,
								 PG_GETARG_DATUM(0));
	if (DatumGetTimestampTz(before) > DatumGetTimestampTz(now))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("interval is negative"),
				 errhint("Give the time for which a key was not used, for example '90 days'.")));
	ak_schema_accept();
	InitMaterializedSRF(fcinfo, 0);
	arguments->numParams = 0;
	add_argument(arguments, TIMESTAMPTZOID, before);
	run(UNUSED, arguments, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
