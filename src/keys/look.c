/*
 * look.c
 *		What the SQL functions that look at keys ask of C: arguments that make no
 *		sense, raised as errors.  The queries stand in the SQL script.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/guc.h"
#include "keys/options.h"
#include "shmem/counts.h"
#include "table/schema.h"
#include "table/store.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

AK_FUNCTION_INFO_V1(apikey_check_key);
Datum
apikey_check_key(PG_FUNCTION_ARGS)
{
	ak_arg_refuse_null(fcinfo, 0, "key_id");
	if (!PG_GETARG_BOOL(1))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("API key does not exist"),
				 errdetail("There is no key with id %s.",
						   ak_options_print_id(PG_GETARG_UUID_P(0)))));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_told);
Datum
apikey_told(PG_FUNCTION_ARGS)
{
	AkName		organization;
	Snapshot	snapshot;
	AkKeyRow	row;
	bool		found = false;

	if (!ak_guc_goes_by_key())
		PG_RETURN_BOOL(true);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	ak_schema_accept();
	organization = ak_name_of_text(PG_GETARG_DATUM(0));
	AK_STORE_READ(snapshot)
		found = ak_store_key(snapshot, PG_GETARG_UUID_P(1), &row);
	PG_RETURN_BOOL(found && ak_name_equal(&row.organization, &organization));
}

AK_FUNCTION_INFO_V1(apikey_level_of);
Datum
apikey_level_of(PG_FUNCTION_ARGS)
{
	AkLevel		level;

	ak_schema_accept();
	level = ak_arg_verb(fcinfo, 0);
	if (level == AK_LEVEL_NONE)
		PG_RETURN_NULL();
	PG_RETURN_OID(ak_schema_get()->levels[level]);
}

AK_FUNCTION_INFO_V1(apikey_idle_since);
Datum
apikey_idle_since(PG_FUNCTION_ARGS)
{
	TimestampTz now = ak_clock_now();
	TimestampTz since;

	ak_arg_refuse_null(fcinfo, 0, "idle");
	ak_counts_require("counts of use");
	since = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													TimestampTzGetDatum(now),
													PG_GETARG_DATUM(0)));
	if (since > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("idle must not be negative"),
				 errhint("Give the time for which a key was not used, for example '90 days'.")));
	PG_RETURN_TIMESTAMPTZ(since);
}
