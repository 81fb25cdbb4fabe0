/*
 * options.c
 *		Arguments that say what a key is to be like; see options.h.
 */
#include "postgres.h"

#include "keys/options.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/period.h"
#include "catalog/pg_collation.h"
#include "shmem/counts.h"
#include "table/schema.h"
#include "table/store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

char *
ak_options_print_id(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* An apikey_level; NONE for a null. */
AkLevel
ak_options_level(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? AK_LEVEL_NONE :
		ak_schema_level(ak_schema_get(), PG_GETARG_OID(argno));
}

AkLevel
ak_options_organization_level(FunctionCallInfo fcinfo, int argno)
{
	AkLevel		level = ak_options_level(fcinfo, argno);

	if (level > AK_LEVEL_WRITE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("organization level must be read, write or null")));
	return level;
}

/* Quick to say yes to what is not blank for a letter of ASCII in it. */
static bool
is_blank(Datum label)
{
	AkName		value = ak_name_of_text(label);

	for (int i = 0; i < value.len; i++)
		if (!IS_HIGHBIT_SET(value.data[i]) &&
			isalnum((unsigned char) value.data[i]))
			return false;
	return !DatumGetBool(DirectFunctionCall2Coll(textregexeq,
												 DEFAULT_COLLATION_OID, label,
												 CStringGetTextDatum("[^[:space:]]")));
}

Datum
ak_options_label(FunctionCallInfo fcinfo, int argno)
{
	ak_arg_refuse_null(fcinfo, argno, "label");
	if (is_blank(PG_GETARG_DATUM(argno)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label must not be blank")));
	return PG_GETARG_DATUM(argno);
}

NullableDatum
ak_options_expiry(FunctionCallInfo fcinfo, int argno)
{
	if (!PG_ARGISNULL(argno) &&
		PG_GETARG_TIMESTAMPTZ(argno) <= ak_clock_now())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expiry must be in the future")));
	return fcinfo->args[argno];
}

NullableDatum
ak_options_networks(FunctionCallInfo fcinfo, int argno)
{
	ArrayType  *networks;

	if (PG_ARGISNULL(argno))
		return fcinfo->args[argno];
	networks = PG_GETARG_ARRAYTYPE_P(argno);
	if (ArrayGetNItems(ARR_NDIM(networks), ARR_DIMS(networks)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("allowed networks must not be empty"),
				 errhint("To allow any address, leave it out, or remove it by apikey_update.")));
	if (array_contains_nulls(networks))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("allowed networks must not contain nulls")));
	return fcinfo->args[argno];
}

NullableDatum
ak_options_metadata(FunctionCallInfo fcinfo, int argno)
{
	NullableDatum metadata = fcinfo->args[argno];

	if (!metadata.isnull)
		metadata.value = JsonbPGetDatum(ak_arg_json(fcinfo, argno, JB_FOBJECT));
	return metadata;
}

void
ak_options_rate_limit(FunctionCallInfo fcinfo, int argno, AkRateLimit *limit)
{
	memset(limit, 0, sizeof(AkRateLimit));
	if (PG_ARGISNULL(argno))
		return;
	ak_ratelimit_parse(limit, TextDatumGetCString(PG_GETARG_DATUM(argno)));
	ak_counts_require("rate limits");
}

AK_FUNCTION_INFO_V1(apikey_rate_limit_text);
Datum
apikey_rate_limit_text(PG_FUNCTION_ARGS)
{
	AkRateLimit limit;

	ak_ratelimit_require(&limit, PG_GETARG_INT32(0), PG_GETARG_INTERVAL_P(1),
						 PG_GETARG_INT32(2));
	PG_RETURN_TEXT_P(cstring_to_text(ak_ratelimit_print(&limit)));
}

int64
ak_options_budget(FunctionCallInfo fcinfo, int argno)
{
	int64		budget = PG_GETARG_INT64(argno);

	if (budget < 1 || budget > AK_BUDGET_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("budget must be between 1 and %lld",
						(long long) AK_BUDGET_MAX),
				 errhint("Null takes the budget away; to let a key do nothing, disable it.")));
	return budget;
}

NullableDatum
ak_options_refill(FunctionCallInfo fcinfo, int argno)
{
	if (!PG_ARGISNULL(argno))
		ak_period_check(PG_GETARG_INTERVAL_P(argno), "refill");
	return fcinfo->args[argno];
}

TimestampTz
ak_options_end(NullableDatum expires_at)
{
	return expires_at.isnull ? DT_NOEND :
		DatumGetTimestampTz(expires_at.value);
}

Datum
ak_options_array(NullableDatum array)
{
	return array.isnull ? (Datum) 0 : array.value;
}
