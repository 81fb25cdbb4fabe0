/*
 * functions.c
 *		Functions that say what a key may do; those that are called for each row are
 *		in callsite.c, log-ins are in login.c.
 *
 * Each unpacks its arguments, makes one call, and packs the result; its contract
 * stands beside its name in the SQL script.
 */
#include "postgres.h"

#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/callsite.h"
#include "auth/reach.h"
#include "auth/registry.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/ident.h"
#include "base/result.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

/* The verdict, with the rule that made it, and on which key. */
static AkVerdict
get_verdict(FunctionCallInfo fcinfo, int key_argno, int first, const AkKey **key)
{
	AkLevel		wanted = ak_callsite_verb(fcinfo, first + 2);
	AkName		project;
	AkName		environment;
	bool		named = ak_callsite_name(fcinfo, first, &project) &&
	ak_callsite_name(fcinfo, first + 1, &environment);

	*key = ak_callsite_key(fcinfo, key_argno);
	return ak_authz_project(*key, named ? &project : NULL,
							named ? &environment : NULL, wanted);
}

/* The reason goes to the server log alone, except that nobody is logged in. */
static Datum
require_verdict(FunctionCallInfo fcinfo, int key_argno, int first)
{
	Datum		allowed = key_argno < 0 ? apikey_authorize_session(fcinfo) :
	apikey_authorize_key(fcinfo);
	const AkKey *key;
	AkVerdict	verdict;

	if (DatumGetBool(allowed))
		return allowed;
	verdict = get_verdict(fcinfo, key_argno, first, &key);
	ak_use_refused(key, AK_REASON_NO_GRANT);
	if (key_argno < 0)
		ak_authn_require_session(ERRCODE_INSUFFICIENT_PRIVILEGE);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied by API key"),
			 errdetail_log("%s", ak_authz_reason(&verdict, key)),
			 errhidestmt(true)));
}

AK_VARIANTS(apikey_require_key, apikey_require_session, require_verdict, 0)

/* What apikey_login would say of a good key's rate limit, if anything. */
static const char *
explain_limit(const AkKey *key)
{
	int64		wait;
	int64		remaining;

	if (ak_keycache_limit(key) == NULL)
		return "";
	if (!ak_use_counts)
		return "; no log-in, as the rate limit needs the extension to be preloaded";
	if (ak_use_limit(key, &wait, &remaining) == AK_REASON_GOOD)
		return "";
	return psprintf("; no log-in, over the rate limit, retry after %s seconds",
					ak_ratelimit_print_wait(wait));
}

/* The length of the text of a key: in an argument, or the session's. */
static Size
get_length(FunctionCallInfo fcinfo, int key_argno)
{
	int			len;

	if (key_argno >= 0)
		return ak_arg_token(fcinfo, key_argno).len;
	(void) ak_guc_key(&len);
	return len;
}

static Datum
explain_verdict(FunctionCallInfo fcinfo, int key_argno, int first)
{
	const AkKey *key;
	AkVerdict	verdict = get_verdict(fcinfo, key_argno, first, &key);
	const char *limit = "";
	const char *reason;
	Datum		values[2];		/* allowed, reason */
	bool		nulls[2] = {false, false};

	if (key == NULL)
		verdict.reason = ak_authz_why_none(key_argno >= 0,
										   get_length(fcinfo, key_argno));
	if (ak_authz_check_key(key) == AK_REASON_GOOD)
		limit = explain_limit(key);
	reason = ak_authz_reason(&verdict,
							 ak_authz_tells("apikey_keys") ? key : NULL);
	values[0] = BoolGetDatum(verdict.reason == AK_REASON_GRANTED);
	values[1] = CStringGetTextDatum(psprintf("%s%s", reason, limit));
	return ak_result_record(fcinfo, values, nulls);
}

AK_VARIANTS(apikey_explain_key, apikey_explain_session, explain_verdict, 0)

/*
 * Arguments verb and, in one variant, an environment or project from "first"
 * on.
 */
static Datum
list_reach(FunctionCallInfo fcinfo, AkReachOf of, Oid type, int key_argno,
		   int first)
{
	AkLevel		wanted = ak_callsite_verb(fcinfo, first);
	bool		anywhere = PG_NARGS() == first + 1;
	AkName		within;
	bool		named = anywhere || ak_callsite_name(fcinfo, first + 1, &within);
	const AkKey *key = ak_callsite_asked_key(fcinfo, key_argno);
	const AkName *names = NULL;
	int			count = 0;

	if (named)
		count = ak_reach_list(key, wanted, of, anywhere ? NULL : &within,
							  &names);
	return PointerGetDatum(ak_ident_array(type, names, count));
}

/* The same after an argument whose type is that of the elements. */
static Datum
list_reach_as(FunctionCallInfo fcinfo, AkReachOf of, int key_argno, int first)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

	ak_ident_check_listable(type);
	return list_reach(fcinfo, of, type, key_argno, first);
}

static Datum
list_projects(FunctionCallInfo fcinfo, int key_argno, int first)
{
	return list_reach(fcinfo, AK_REACH_PROJECTS, TEXTOID, key_argno, first);
}

static Datum
list_projects_as(FunctionCallInfo fcinfo, int key_argno, int first)
{
	return list_reach_as(fcinfo, AK_REACH_PROJECTS, key_argno, first);
}

static Datum
list_environments_as(FunctionCallInfo fcinfo, int key_argno, int first)
{
	return list_reach_as(fcinfo, AK_REACH_ENVIRONMENTS, key_argno, first);
}

AK_VARIANTS(apikey_projects_key, apikey_projects_session, list_projects, 0)
AK_VARIANTS(apikey_projects_as_key, apikey_projects_as_session,
			list_projects_as, 1)
AK_VARIANTS(apikey_environments_as_key, apikey_environments_as_session,
			list_environments_as, 1)

/* ----------------------------------------------------- what the views show */

/* Looking is no use of the session's key. */
AK_FUNCTION_INFO_V1(apikey_sees);
Datum
apikey_sees(PG_FUNCTION_ARGS)
{
	AkName		organization;

	if (!ak_guc_goes_by_key())
		PG_RETURN_BOOL(true);
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	organization = ak_name_of_text(PG_GETARG_DATUM(0));
	PG_RETURN_BOOL(ak_authz_organization(ak_callsite_key(fcinfo, -1), &organization,
										 AK_LEVEL_READ));
}

/* No name is longer than AK_NAME_MAX: so all sort before. */
static Datum
get_last_name(void)
{
	char		bytes[AK_NAME_MAX + 1];
	AkName		last = ak_name_make(bytes, sizeof(bytes));

	memset(bytes, 0xFF, sizeof(bytes));
	return ak_name_to_text(&last);
}

AK_FUNCTION_INFO_V1(apikey_seen);
Datum
apikey_seen(PG_FUNCTION_ARGS)
{
	const AkKey *key;

	if (!ak_guc_goes_by_key())
		PG_RETURN_DATUM(PG_GETARG_BOOL(0) ? get_last_name() :
						CStringGetTextDatum(""));
	key = ak_callsite_key(fcinfo, -1);
	if (key == NULL ||
		!ak_authz_organization(key, &key->organization, AK_LEVEL_READ))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(ak_name_to_text(&key->organization));
}

/* ---------------------------------------------------------------- others */

AK_FUNCTION_INFO_V1(apikey_masked);
Datum
apikey_masked(PG_FUNCTION_ARGS)
{
	AkName		prefix = ak_name_of_text(PG_GETARG_DATUM(0));

	PG_RETURN_TEXT_P(cstring_to_text(ak_token_mask(prefix.data, prefix.len,
												   PG_GETARG_UUID_P(1))));
}

AK_FUNCTION_INFO_V1(apikey_cache_stats);
Datum
apikey_cache_stats(PG_FUNCTION_ARGS)
{
	const AkCacheStats *stats = &ak_keycache_stats;
	Datum		values[] = {
		Int64GetDatum(stats->keys),
		Int64GetDatum(stats->bytes + (int64) ak_registry_bytes +
					  (int64) ak_reach_bytes()),
		Int64GetDatum(stats->hits),
		Int64GetDatum(stats->builds),
		Int64GetDatum((int64) ak_inval_flushes),
		Int64GetDatum(stats->evictions)
	};
	bool		nulls[lengthof(values)] = {false};

	return ak_result_record(fcinfo, values, nulls);
}
