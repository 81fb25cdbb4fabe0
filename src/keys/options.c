/*
 * options.c
 *		Arguments that describe a key; see options.h.
 */
#include "postgres.h"

#include "keys/options.h"

#include "access/detoast.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/redact.h"
#include "catalog/pg_collation.h"
#include "shmem/counts.h"
#include "table/schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

char *
ak_options_print_id(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

AkLevel
ak_options_level(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? AK_LEVEL_NONE :
		ak_schema_level(PG_GETARG_OID(argno));
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

AkValue
ak_options_label(FunctionCallInfo fcinfo, int argno)
{
	ak_arg_refuse_null(fcinfo, argno, "label");
	if (is_blank(PG_GETARG_DATUM(argno)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label must not be blank")));
	return ak_value(TEXTOID, PG_GETARG_DATUM(argno));
}

AkValue
ak_options_reason(FunctionCallInfo fcinfo, int argno)
{
	AkName		reason;
	char	   *copy;

	if (PG_ARGISNULL(argno))
		return ak_value_null(TEXTOID);
	if (toast_raw_datum_size(PG_GETARG_DATUM(argno)) - VARHDRSZ > AK_STORE_REASON_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reason must have at most %d bytes", AK_STORE_REASON_MAX)));
	if (is_blank(PG_GETARG_DATUM(argno)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reason must not be blank"),
				 errhint("Leave it out, or give null, if there is none.")));
	reason = ak_name_of_text(PG_GETARG_DATUM(argno));
	copy = pnstrdup(reason.data, reason.len);
	(void) ak_redact(copy, reason.len, &ak_guc_mask_prefixes);
	return ak_value_string(copy);
}

AkValue
ak_options_expiry(FunctionCallInfo fcinfo, int argno)
{
	if (!PG_ARGISNULL(argno) &&
		PG_GETARG_TIMESTAMPTZ(argno) <= ak_clock_now())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expiry must be in the future")));
	return ak_value_nullable(TIMESTAMPTZOID, fcinfo->args[argno]);
}

AkValue
ak_options_networks(FunctionCallInfo fcinfo, int argno)
{
	ArrayType  *networks;

	if (PG_ARGISNULL(argno))
		return ak_value_null(CIDRARRAYOID);
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
	return ak_value(CIDRARRAYOID, PG_GETARG_DATUM(argno));
}

AkValue
ak_options_metadata(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? ak_value_null(JSONBOID) :
		ak_value(JSONBOID,
				 JsonbPGetDatum(ak_arg_json(fcinfo, argno, JB_FOBJECT)));
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

/* They are counted one by one when there is no more room. */
#define MAX_DERIVED		1000000

int
ak_options_max_derived(FunctionCallInfo fcinfo, int argno)
{
	int			max = PG_ARGISNULL(argno) ? 0 : PG_GETARG_INT32(argno);

	if (max < 0 || max > MAX_DERIVED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_derived must be between 0 and %d", MAX_DERIVED)));
	return max;
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

TimestampTz
ak_options_end(const AkValue *expires_at)
{
	return expires_at->isnull ? DT_NOEND :
		DatumGetTimestampTz(expires_at->value);
}

/* ---------------------------------------------------------------- grants */

static const char *const fields[] = {"project", "environment", "level"};

pg_noreturn static void
refuse_grants(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", problem),
			 errhint("Grants have the form [{\"project\": \"web\", \"environment\": \"production\", \"level\": \"write\"}].")));
}

static AkName
get_json_string(const JsonbValue *value)
{
	return ak_name_make(value->val.string.val, value->val.string.len);
}

static AkName
read_grant_name(const JsonbValue *value, int element, const char *field)
{
	AkName		name;

	if (value->type == jbvString)
		name = get_json_string(value);
	else if (value->type == jbvNumeric)
	{
		name.data =
			DatumGetCString(DirectFunctionCall1(numeric_out,
												NumericGetDatum(value->val.numeric)));
		name.len = strlen(name.data);
	}
	else
		refuse_grants(psprintf("grants[%d]: \"%s\" must be a string or a number",
							   element, field));
	if (name.len == 0)
		refuse_grants(psprintf("grants[%d]: \"%s\" must not be empty", element,
							   field));
	if (name.len > AK_NAME_MAX)
		refuse_grants(psprintf("grants[%d]: \"%s\" has more than %d bytes", element,
							   field, AK_NAME_MAX));
	return name;
}

/* One of the three levels: no other verb will do here. */
static AkLevel
read_grant_level(const JsonbValue *value, int element)
{
	AkName		name = ak_name_make("", 0);

	if (value->type == jbvString)
		name = get_json_string(value);
	for (int level = AK_LEVEL_READ; level < AK_LEVELS; level++)
		if (ak_name_is(&name, ak_level_name(level)))
			return level;
	refuse_grants(psprintf("grants[%d]: \"level\" must be \"read\", \"write\" or \"manage\"",
						   element));
}

static bool
is_grant_field(const AkName *name)
{
	for (int i = 0; i < (int) lengthof(fields); i++)
		if (ak_name_is(name, fields[i]))
			return true;
	return false;
}

static void
read_grant(JsonbContainer *object, int element, AkGrant *grant)
{
	JsonbValue	values[lengthof(fields)];
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;
	AkName		name;

	for (int i = 0; i < (int) lengthof(fields); i++)
		if (getKeyJsonValueFromContainer(object, fields[i], strlen(fields[i]),
										 &values[i]) == NULL)
			refuse_grants(psprintf("grants[%d]: \"%s\" is missing", element,
								   fields[i]));
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			name = get_json_string(&key);
			if (!is_grant_field(&name))
				refuse_grants(psprintf("grants[%d]: unknown field \"%s\"", element,
									   ak_redact_name(&name)));
		}
	grant->project = read_grant_name(&values[0], element, fields[0]);
	grant->environment = read_grant_name(&values[1], element, fields[1]);
	grant->level = read_grant_level(&values[2], element);
}

static int
compare_grants(const void *a, const void *b)
{
	const AkGrant *x = a;
	const AkGrant *y = b;
	int			order = ak_name_compare(&x->project, &y->project);

	return order != 0 ? order : ak_name_compare(&x->environment, &y->environment);
}

int
ak_options_grants(Jsonb *json, AkGrant **grants)
{
	int			count;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		refuse_grants("grants must be a JSON array of objects");
	count = JB_ROOT_COUNT(json);
	*grants = palloc(Max(count, 1) * sizeof(AkGrant));
	for (int i = 0; i < count; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&json->root, i);

		if (value->type != jbvBinary ||
			!JsonContainerIsObject(value->val.binary.data))
			refuse_grants(psprintf("grants[%d] must be an object", i));
		read_grant(value->val.binary.data, i, &(*grants)[i]);
	}

	qsort(*grants, count, sizeof(AkGrant), compare_grants);
	for (int i = 1; i < count; i++)
	{
		const AkGrant *grant = &(*grants)[i];

		if (compare_grants(grant, grant - 1) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("more than one grant on project \"%s\", environment \"%s\"",
							ak_redact_name(&grant->project),
							ak_redact_name(&grant->environment))));
	}
	return count;
}
