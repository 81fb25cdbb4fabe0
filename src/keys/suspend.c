/*
 * suspend.c
 *		Suspending an organization: one row, and every key of it is refused.
 *
 * Both functions are SECURITY DEFINER and closed to PUBLIC; their contracts stand
 * beside their names in the SQL script.  They are for the application alone: no key
 * may suspend its own organization, and certainly not resume it.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/redact.h"
#include "common/hashfn.h"
#include "keys/actor.h"
#include "keys/options.h"
#include "keys/suspend.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "table/event.h"
#include "table/schema.h"
#include "table/sql.h"

void
ak_suspend_lock(const AkName *organization)
{
	PreventCommandIfReadOnly("INSERT");
	LockDatabaseObject(ak_schema_table(AK_TABLE_SUSPENSION),
					   hash_bytes((const unsigned char *) organization->data,
								  organization->len), 0, ExclusiveLock);
	ak_schema_accept();
}

/* The organization in argument 0, locked. */
static AkName
begin_with_organization(FunctionCallInfo fcinfo)
{
	AkName		organization;

	ak_actor_refuse_key();
	ak_schema_accept();
	organization = ak_arg_required_name(fcinfo, 0, "organization");
	ak_arg_refuse_all(&organization, "organization");
	ak_suspend_lock(&organization);
	return organization;
}

/* Raises 42704 unless there is anything of it: a typing error must not pass for done. */
static void
check_organization(const AkName *organization)
{
	static AkSql find_organization = {
		AK_TABLE_SUSPENSION, AK_SQL_LATEST,
		.query = "SELECT WHERE EXISTS (SELECT FROM $S.apikey_suspension WHERE organization = $1)"
		" OR EXISTS (SELECT FROM $S.apikey_project WHERE organization = $1)"
		" OR EXISTS (SELECT FROM $S.apikey_key WHERE organization = $1)"
	};

	if (ak_sql_run(&find_organization, ak_value_name(organization)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("organization \"%s\" does not exist",
						ak_redact_name(organization)),
				 errdetail("It has neither projects nor keys.")));
}

/* "reason" may be NULL. */
static void
record_suspension(const char *action, const AkName *organization,
				  const char *reason)
{
	AkDetail	detail;
	AkEvent		event = {
		.action = action,
		.organization = organization,
		.detail = &detail
	};

	ak_detail_begin(&detail);
	if (reason != NULL)
		ak_detail_add(&detail, "reason", reason);
	ak_actor_record(&event);
}

AK_FUNCTION_INFO_V1(apikey_suspend);
Datum
apikey_suspend(PG_FUNCTION_ARGS)
{
	static AkSql upsert_suspension = {
		AK_TABLE_SUSPENSION, AK_SQL_LATEST,
		.query = "INSERT INTO $S.apikey_suspension AS old (organization, suspended_at, reason)"
		" VALUES ($1, now(), $2) ON CONFLICT (organization)"
		" DO UPDATE SET reason = excluded.reason"
		" WHERE old.reason IS DISTINCT FROM coalesce(excluded.reason, old.reason)"
	};
	static AkSql find_suspension = {
		AK_TABLE_SUSPENSION, AK_SQL_LATEST,
		.query = "SELECT FROM $S.apikey_suspension WHERE organization = $1"
		" AND reason IS NOT DISTINCT FROM coalesce($2, reason)"
	};
	AkName		organization = begin_with_organization(fcinfo);
	AkValue		reason = ak_options_reason(fcinfo, 1);
	AkValue		values[] = {ak_value_name(&organization), reason};

	check_organization(&organization);
	if (ak_sql_run_values(&upsert_suspension, values, lengthof(values)) > 0)
		record_suspension("suspend", &organization, reason.isnull ? NULL :
						  TextDatumGetCString(reason.value));
	else if (ak_sql_run_values(&find_suspension, values, lengthof(values)) == 0)
		ak_sql_refuse_trigger(AK_TABLE_SUSPENSION);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_resume);
Datum
apikey_resume(PG_FUNCTION_ARGS)
{
	static AkSql delete_suspension = {
		AK_TABLE_SUSPENSION, AK_SQL_LATEST | AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_suspension WHERE organization = $1"
	};
	AkName		organization = begin_with_organization(fcinfo);

	check_organization(&organization);
	if (ak_sql_run(&delete_suspension, ak_value_name(&organization)) > 0)
		record_suspension("resume", &organization, NULL);
	PG_RETURN_VOID();
}
