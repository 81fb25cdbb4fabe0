/*
 * login.c
 *		Log-ins, and the row about a key.
 *
 * What lets a key in counts as a use of it, and holds it to its rate limit.  The
 * contract of each function stands beside its name in the SQL script.
 */
#include "postgres.h"

#include "access/xact.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/citus.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/ratelimit.h"
#include "base/result.h"
#include "catalog/pg_type.h"
#include "executor/execdesc.h"
#include "table/schema.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * The row about a key that may be used; for any other *reason is why not.  The
 * level is shown as text: some drivers cannot read an enum in a row.  A derived key
 * expires when the first of those does that it comes from.
 */
static bool
fill_profile(const AkKey *key, Datum *values, bool *nulls, AkReason *reason)
{
	Datum	   *level = &values[AK_PROFILE_ORGANIZATION_LEVEL];
	Snapshot	snapshot;
	bool		found = false;

	*reason = ak_authz_check_key(key);
	if (*reason != AK_REASON_GOOD)
		return false;
	AK_STORE_READ(snapshot)
		found = ak_store_profile(snapshot, &key->id, values, nulls);
	if (ak_keycache_ancestors(key) > 0)
		values[AK_PROFILE_EXPIRES_AT] = TimestampTzGetDatum(key->expires_at);
	if (!found)					/* deleted since it was verified */
		*reason = AK_REASON_INVALID_KEY;
	else if (!nulls[AK_PROFILE_ORGANIZATION_LEVEL])
	{
		AkLevel		value = ak_schema_level(DatumGetObjectId(*level));

		*level = CStringGetTextDatum(ak_level_name(value));
	}
	return found;
}

/* "code" is for a key over its limit. */
pg_noreturn static void
refuse_login(const AkKey *key, AkReason reason, int64 wait, int code)
{
	if (reason == AK_REASON_OVER_LIMIT)
		ereport(ERROR,
				(errcode(code),
				 errmsg("API key is over its rate limit"),
				 errdetail("retry_after=%s", ak_ratelimit_print_wait(wait)),
				 errhidestmt(true)));
	ak_authz_refuse(key);
}

/*
 * May this key, whose text is "token", be let in?  NULL is a text that is not a key.
 * For functions that may write.
 */
static AkReason
admit_key(const AkKey *key, const char *token, int len, int64 *wait)
{
	AkReason	reason = ak_authz_check_key(key);

	*wait = 0;
	if (reason == AK_REASON_GOOD)
		reason = ak_use_limit(key, wait, NULL);
	if (key != NULL)
		ak_use_called(key, reason);
	if (reason == AK_REASON_GOOD)
		ak_authn_rehash(key, token, len);
	return reason;
}

/*
 * The row about *key, that in argument 0, which is used.  NULL is a text that is not a
 * key, or is none any more.
 */
static AkReason
fill_used(FunctionCallInfo fcinfo, Datum *values, bool *nulls, const AkKey **key,
		  int64 *wait)
{
	AkName		token = ak_arg_token(fcinfo, 0);
	AkReason	reason;

	*key = ak_authn_argument(fcinfo, 0, AK_GUESS_BY_CALL);
	reason = admit_key(*key, token.data, token.len, wait);
	if (reason == AK_REASON_GOOD)
		(void) fill_profile(*key, values, nulls, &reason);
	if (reason == AK_REASON_INVALID_KEY)
		*key = NULL;
	return reason;
}

static bool
fill_verify(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	const AkKey *key;
	int64		wait;

	return fill_used(fcinfo, values, nulls, &key, &wait) == AK_REASON_GOOD;
}

AK_ROW_FUNCTION(apikey_verify, fill_verify)

static bool
fill_whoami(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	AkReason	reason;

	return fill_profile(ak_authn_argument(fcinfo, -1, AK_GUESS_BY_STATEMENT),
						values, nulls, &reason);
}

AK_ROW_FUNCTION(apikey_whoami, fill_whoami)

AK_FUNCTION_INFO_V1(apikey_key_id);
Datum
apikey_key_id(PG_FUNCTION_ARGS)
{
	const AkKey *key = ak_authn_argument(fcinfo, -1, AK_GUESS_BY_STATEMENT);

	if (ak_authz_check_key(key) != AK_REASON_GOOD)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(memcpy(palloc(sizeof(pg_uuid_t)), &key->id,
							sizeof(pg_uuid_t)));
}

/*
 * Is the function called by what the client has sent, not by another function or
 * command?
 */
static bool
is_top_level(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	QueryDesc  *query = ActivePortal == NULL ? NULL : ActivePortal->queryDesc;

	return query != NULL && result != NULL && IsA(result, ReturnSetInfo) &&
		result->econtext->ecxt_estate == query->estate;
}

/* Two keys in one transaction may be two customers in one. */
static void
warn_of_other_key(const pg_uuid_t *id)
{
	const AkKey *before = ak_authn_session();

	if (ak_authz_check_key(before) == AK_REASON_GOOD &&
		memcmp(&before->id, id, sizeof(pg_uuid_t)) != 0)
		ereport(NOTICE,
				(errmsg("another API key was logged in before"),
				 errhint("If that was intended, call apikey_logout first; otherwise end the transaction."),
				 errhidestmt(true)));
}

static bool
fill_login(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	const AkKey *key;
	int64		wait;
	AkReason	reason = fill_used(fcinfo, values, nulls, &key, &wait);
	char	   *token;

	if (reason != AK_REASON_GOOD)
		refuse_login(key, reason, wait, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED);
	warn_of_other_key(DatumGetUUIDP(values[AK_PROFILE_KEY_ID]));
	token = TextDatumGetCString(PG_GETARG_DATUM(0));
	ak_citus_set_key(token);
	explicit_bzero(token, strlen(token));
	WarnNoTransactionBlock(is_top_level(fcinfo), "apikey_login");
	return true;
}

AK_ROW_FUNCTION(apikey_login, fill_login)

AK_FUNCTION_INFO_V1(apikey_logout);
Datum
apikey_logout(PG_FUNCTION_ARGS)
{
	ak_citus_set_key("");
	PG_RETURN_VOID();
}

/* The string under "name" in the JSON object of all headers; NULL if none. */
static char *
get_header(Jsonb *headers, const char *name)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(headers) ||
		getKeyJsonValueFromContainer(&headers->root, name, strlen(name),
									 &value) == NULL ||
		value.type != jbvString || value.val.string.len == 0)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * Is a bearer token a key, or at least of a native key's form?  One of another form
 * is a key only if it was imported.
 */
static bool
is_bearer_key(const char *bearer)
{
	AkToken		token;
	AkTokenForm form = ak_token_parse(bearer, strlen(bearer), &token);

	explicit_bzero(&token, sizeof(token));
	if (form != AK_TOKEN_OTHER)
		return true;
	ak_schema_accept();
	return ak_authn_find(bearer, strlen(bearer)) != NULL;
}

/* The key that an HTTP request brings, palloc'd; NULL if it brings none. */
static char *
get_request_key(void)
{
	static const char bearer[] = "bearer ";
	const char *setting = GetConfigOption("request.headers", true, false);
	Jsonb	   *headers;
	char	   *key;

	if (setting == NULL || setting[0] == '\0')
		return NULL;
	headers = ak_arg_parse_json(setting);
	if (headers == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("request.headers is not valid JSON"),
				 errhidestmt(true)));
	key = get_header(headers, "x-api-key");
	if (key != NULL)
		return key;
	key = get_header(headers, "authorization");
	if (key == NULL || pg_strncasecmp(key, bearer, strlen(bearer)) != 0)
		return NULL;
	key += strlen(bearer);
	key += strspn(key, " ");
	return is_bearer_key(key) ? key : NULL;
}

AK_FUNCTION_INFO_V1(apikey_pre_request);
Datum
apikey_pre_request(PG_FUNCTION_ARGS)
{
	char	   *token = get_request_key();

	if (token != NULL)
	{
		int			len = strlen(token);
		const AkKey *key;
		AkReason	reason;
		int64		wait;

		ak_schema_accept();
		key = ak_authn_find(token, len);
		if (key == NULL)
			ak_use_guess_called(len);
		reason = admit_key(key, token, len, &wait);
		/* PostgREST makes the HTTP status of it */
		if (reason != AK_REASON_GOOD)
			refuse_login(key, reason, wait,
						 MAKE_SQLSTATE('P', 'T', '4', '2', '9'));
	}
	ak_citus_set_key(token == NULL ? "" : token);
	if (token != NULL)
		explicit_bzero(token, strlen(token));
	PG_RETURN_VOID();
}

/*
 * A row for a key that apikey_login would let in but for its rate limit, if it
 * has one.
 */
static bool
fill_rate_limit(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	enum
	{
		RATE_LIMIT, REMAINING, RETRY_AFTER
	};
	const AkKey *key = ak_authn_argument(fcinfo, 0, AK_GUESS_BY_STATEMENT);
	int64		wait;
	int64		remaining;

	if (ak_authz_check_key(key) != AK_REASON_GOOD || ak_keycache_limit(key) == NULL)
		return false;
	(void) ak_use_limit(key, &wait, &remaining);
	values[RATE_LIMIT] = CStringGetTextDatum(ak_ratelimit_print(ak_keycache_limit(key)));
	values[REMAINING] = Int64GetDatum(remaining);
	values[RETRY_AFTER] = Float8GetDatum((wait + 999) / 1000 /
										 (double) USECS_PER_SEC);
	return true;
}

AK_ROW_FUNCTION(apikey_rate_limit, fill_rate_limit)
