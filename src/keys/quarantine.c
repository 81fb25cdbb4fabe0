/*
 * quarantine.c
 *		Quarantine of a copy: one row, and every key that it came with is refused.
 *
 * The row is that of "*" in apikey_suspension.  It refuses the keys that were there when
 * it was made; a copy for staging has keys of its own later.
 *
 * The original has the same tables, and a copy of its files the same system identifier,
 * so nothing that is stored tells them apart.  What keeps it from being quarantined by
 * accident is, first, that its server and database are not called what the copy is
 * called; second, what only the original has at that moment: others follow it, and its
 * keys are in use.  Whoever insists then passes the start of the server, which no script
 * for a copy has by chance.
 *
 * Both functions are SECURITY DEFINER and closed to PUBLIC; their contracts stand beside
 * their names in the SQL script.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/redact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "keys/actor.h"
#include "keys/options.h"
#include "keys/suspend.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "shmem/counts.h"
#include "table/event.h"
#include "table/schema.h"
#include "table/sql.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* Arguments of apikey_quarantine */
enum
{
	SERVER, DATABASE, REASON, INSIST
};

static void
begin_quarantine(void)
{
	ak_actor_refuse_key();
	ak_schema_accept();
	ak_suspend_lock(&ak_name_all);
}

/* Raises 22023 unless the caller knows where this is. */
static void
check_where(FunctionCallInfo fcinfo)
{
	const char *database = get_database_name(MyDatabaseId);

	ak_arg_refuse_null(fcinfo, SERVER, "server");
	ak_arg_refuse_null(fcinfo, DATABASE, "database");
	if (strcmp(ak_arg_string(fcinfo, SERVER), cluster_name) == 0 &&
		strcmp(ak_arg_string(fcinfo, DATABASE), database) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("this is another server or database"),
			 errdetail("It is database \"%s\" of server \"%s\".", database,
					   cluster_name),
			 errhint("The server has its name from \"cluster_name\": give the copy one of its own.")));
}

/* What the original has, and a copy has not, as sentences; empty if nothing. */
static char *
find_signs(void)
{
	static AkSql count_followers = {
		AK_TABLE_SUSPENSION, 0,
		.query = "SELECT (SELECT count(*) FROM pg_catalog.pg_stat_get_wal_senders()),"
		" (SELECT count(*) FROM pg_catalog.pg_get_replication_slots()"
		" WHERE coalesce(datoid, $1) = $1)"
	};
	StringInfoData signs;
	int64		senders;
	int64		slots;

	initStringInfo(&signs);
	ak_sql_begin();
	(void) ak_sql_execute(&count_followers, ak_value(OIDOID, ObjectIdGetDatum(MyDatabaseId)));
	senders = ak_sql_int64(0, 1);
	slots = ak_sql_int64(0, 2);
	ak_sql_end();
	if (*cluster_name == '\0')
		appendStringInfoString(&signs, " The server has no name of its own.");
	if (senders > 0)
		appendStringInfo(&signs, " Standbys, subscribers or backups are connected to it: " INT64_FORMAT ".",
						 senders);
	if (slots > 0)
		appendStringInfo(&signs, " It has replication slots: " INT64_FORMAT ".",
						 slots);
	if (ak_counts_any())
		appendStringInfoString(&signs, " Its keys were asked for on this server.");
	return signs.len > 0 ? signs.data + 1 : signs.data;
}

/* Raises 55000 where this may be the original, unless the caller insists. */
static void
check_copy(FunctionCallInfo fcinfo)
{
	const char *signs;

	if (!PG_ARGISNULL(INSIST) && PG_GETARG_TIMESTAMPTZ(INSIST) == PgStartTime)
		return;
	signs = find_signs();
	if (*signs != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this may be the original, not a copy"),
				 errdetail_internal("%s", signs),
				 errhint("If it is a copy all the same, call apikey_quarantine with insist => '%s', the start of this server.",
						 timestamptz_to_str(PgStartTime))));
}

/* "reason" may be NULL. */
static void
record_quarantine(const char *action, const char *reason)
{
	AkDetail	detail;
	AkEvent		event = {.action = action,
		.detail = &detail
	};

	ak_detail_begin(&detail);
	ak_detail_add(&detail, "database", get_database_name(MyDatabaseId));
	ak_detail_add(&detail, "server", cluster_name);
	if (reason != NULL)
		ak_detail_add(&detail, "reason", reason);
	ak_actor_record(&event);
}

/*
 * The clock may be behind that of the original, whose keys the row must be later than.
 */
AK_FUNCTION_INFO_V1(apikey_quarantine);
Datum
apikey_quarantine(PG_FUNCTION_ARGS)
{
	static AkSql upsert_quarantine = {
		AK_TABLE_SUSPENSION, AK_SQL_LATEST,
		.query = "INSERT INTO $S.apikey_suspension AS old (organization, suspended_at, reason)"
		" SELECT '*', greatest(now(), max(greatest(created_at, imported_at))), $1"
		" FROM $S.apikey_key ON CONFLICT (organization) DO UPDATE"
		" SET suspended_at = excluded.suspended_at, reason = coalesce(excluded.reason, old.reason)"
	};
	AkValue		reason;

	begin_quarantine();
	check_where(fcinfo);
	reason = ak_options_reason(fcinfo, REASON);
	check_copy(fcinfo);
	if (ak_sql_run(&upsert_quarantine, reason) == 0)
		ak_sql_refuse_trigger(AK_TABLE_SUSPENSION);
	record_quarantine("quarantine", reason.isnull ? NULL :
					  TextDatumGetCString(reason.value));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_lift_quarantine);
Datum
apikey_lift_quarantine(PG_FUNCTION_ARGS)
{
	static AkSql delete_quarantine = {
		AK_TABLE_SUSPENSION, AK_SQL_LATEST | AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_suspension WHERE organization = $1"
	};

	begin_quarantine();
	if (ak_sql_run(&delete_quarantine, ak_value_name(&ak_name_all)) > 0)
		record_quarantine("lift_quarantine", NULL);
	PG_RETURN_VOID();
}
