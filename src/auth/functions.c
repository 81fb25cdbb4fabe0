/*
 * functions.c
 *		The deciding functions; those about who comes with a key are in login.c.
 *
 * Each unpacks its arguments, makes one call to authz.h, and packs the
 * result; its contract stands beside its name in the SQL script.  A call site
 * keeps a Call in fn_extra, so that what does not change from row to row is
 * not worked out again.
 *
 * Every function first takes in what other backends have sent, which lets a
 * revoke reach loops inside one statement.  Only apikey_authorize, of which each
 * nanosecond is spent for each row, does so at the first row of a scan in a
 * statement and every few hundred rows after that.
 */
#include "postgres.h"

#include "access/xact.h"
#include "auth/authz.h"
#include "auth/reach.h"
#include "auth/registry.h"
#include "auth/session.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/inval.h"
#include "base/result.h"
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "table/schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

/* After so many rows of a scan a call site takes messages in again. */
#define ACCEPT_EVERY	256

/* What one call site remembers. */
typedef struct Call
{
	/* good while nothing changes, see is_settled() */
	const AkKey *settled;		/* a good key; NULL: there is none */
	uint64		changes;
	TimestampTz statement;
	int			left;			/* decisions before messages are taken in */
	AkLevel		level;			/* on project and environment in "values" */
	bool		hit;			/* did a row have the same as "values"? */

	AkLevel		wanted;			/* of "verb" */
	int			verb_len;
	char		verb[8];
	bool		constant[4];	/* is this argument a constant? */
	bool		rows;			/* are there arguments from rows? */
	AkMemo	   *key;			/* NULL: that of the session */
	AkBits		values[2];		/* of the last row */
	AkIdentType names[2];
} Call;

/* The memo of a key, and what wipes it. */
typedef struct CallKey
{
	AkMemo		memo;
	MemoryContextCallback at_end;
} CallKey;

static void
wipe_key(void *arg)
{
	explicit_bzero(arg, sizeof(AkMemo));
}

static AkMemo *
make_key(MemoryContext context)
{
	CallKey    *key = MemoryContextAllocZero(context, sizeof(CallKey));

	key->at_end.func = wipe_key;
	key->at_end.arg = &key->memo;
	MemoryContextRegisterResetCallback(context, &key->at_end);
	return &key->memo;
}

/* A constant argument need not be compared with that of the row before. */
static void
look_at_arguments(FmgrInfo *flinfo, Call *call)
{
	FuncExpr   *expression = (FuncExpr *) flinfo->fn_expr;

	if (expression == NULL || !IsA(expression, FuncExpr))
		return;
	for (int i = 0; i < Min(list_length(expression->args), 4); i++)
	{
		Node	   *arg = list_nth(expression->args, i);

		call->constant[i] = IsA(arg, Const);
		if (!call->constant[i])
			call->rows |= IsA(arg, Var) || contain_var_clause(arg);
	}
}

static inline Call *
get_call(FunctionCallInfo fcinfo)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	Call	   *call = flinfo->fn_extra;

	if (unlikely(call == NULL))
	{
		call = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Call));
		look_at_arguments(flinfo, call);
		flinfo->fn_extra = call;
	}
	return call;
}

/* ak_arg_verb() with the last verb remembered. */
static inline AkLevel
get_verb(FunctionCallInfo fcinfo, int argno, Call *call)
{
	struct varlena *verb;

	if (PG_ARGISNULL(argno))
		return AK_LEVEL_NONE;
	if (call->constant[argno] && call->verb_len > 0)
		return call->wanted;
	verb = (struct varlena *) PG_GETARG_POINTER(argno);
	if (VARATT_IS_EXTERNAL(verb) || VARATT_IS_COMPRESSED(verb))
		return ak_arg_verb(fcinfo, argno);
	if (call->verb_len == 0 ||
		call->verb_len != (int) VARSIZE_ANY_EXHDR(verb) ||
		memcmp(call->verb, VARDATA_ANY(verb), call->verb_len) != 0)
	{
		call->verb_len = 0;
		call->wanted = ak_arg_verb(fcinfo, argno);
		if (VARSIZE_ANY_EXHDR(verb) <= sizeof(call->verb))
		{
			call->verb_len = VARSIZE_ANY_EXHDR(verb);
			memcpy(call->verb, VARDATA_ANY(verb), call->verb_len);
		}
	}
	return call->wanted;
}

/*
 * The key in argument "argno", or the session's if "argno" is negative; NULL
 * unless it proves itself, which counts as a guess.
 */
static inline const AkKey *
get_call_key(FunctionCallInfo fcinfo, int argno, Call *call)
{
	const AkKey *key;
	AkMemo	   *memo;
	AkName		token;

	ak_schema_accept();
	if (argno < 0)
		return ak_session_key();
	if (call->key == NULL)
		call->key = make_key(fcinfo->flinfo->fn_mcxt);
	memo = call->key;
	if (call->constant[argno] && memo->len > 0)
		key = ak_authn_again(memo);
	else if ((token = ak_arg_token(fcinfo, argno)).data != NULL)
		key = ak_authn_key(memo, token.data, token.len);
	else
	{
		ak_use_guessed_argument(fcinfo, argno);
		return NULL;
	}
	if (unlikely(key == NULL && !memo->finding.counted))
		memo->finding.counted = ak_use_guessed(memo->token, memo->len);
	return key;
}

/* The same for a function that decides: it counts. */
static const AkKey *
get_asked_key(FunctionCallInfo fcinfo, int argno, Call *call,
			  AkReason *reason)
{
	const AkKey *key = get_call_key(fcinfo, argno, call);

	*reason = ak_authz_check_key(key);
	if (key != NULL)
		ak_use_asked(key, *reason);
	return key;
}

/*
 * Counts up with everything that can change a decision: keys, grants, the
 * registry, the extension itself, what is remembered of keys, the session's key,
 * and, within a statement, the time that counts.
 */
static inline uint64
count_changes(void)
{
	return ak_inval_generation(AK_TOPIC_SCHEMA) +
		ak_inval_generation(AK_TOPIC_KEYS) +
		ak_inval_generation(AK_TOPIC_REGISTRY) +
		ak_inval_transaction + ak_keycache_epoch + ak_guc_key_serial;
}

/*
 * Is what the last decision found out about the key still true?  Within a
 * statement nothing but a change can end it, and messages about those are
 * taken in every now and then: at each call unless this is a scan.
 */
static inline bool
is_settled(FunctionCallInfo fcinfo, int key_argno, Call *call)
{
	if (--call->left < 0 || call->changes != count_changes() ||
		call->statement != GetCurrentStatementStartTimestamp())
		return false;
	if (unlikely(key_argno >= 0 && !call->constant[key_argno]))
	{
		AkName		token = ak_arg_token(fcinfo, key_argno);

		return token.data != NULL && token.len == call->key->len &&
			memcmp(token.data, call->key->token, token.len) == 0;
	}
	return true;
}

/*
 * Find out about the key; returns it.  What rests on the own transaction is not
 * settled: it can be undone without a message.
 */
static const AkKey *
settle(FunctionCallInfo fcinfo, int key_argno, Call *call)
{
	const AkKey *before = call->settled;
	const AkKey *key;
	AkReason	reason;

	call->settled = NULL;
	key = get_asked_key(fcinfo, key_argno, call, &reason);
	if (reason != AK_REASON_GOOD || key->transient)
		return key;
	if (key != before || call->changes != count_changes())
	{
		call->values[0].kind = AK_BITS_NONE;
		call->hit = true;
	}
	call->changes = count_changes();
	call->statement = GetCurrentStatementStartTimestamp();
	call->left = call->rows ? ACCEPT_EVERY : 0;
	call->settled = key;
	return key;
}

/*
 * The level of a settled key on project and environment, from "first" on.  Where
 * rows do not come in runs the last one is not worth keeping.
 */
static pg_noinline AkLevel
find_level(FunctionCallInfo fcinfo, int first, Call *call)
{
	AkName		names[2];
	AkLevel		level;

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(first + i) ||
			(!ak_ident_short_text(&call->names[i], PG_GETARG_DATUM(first + i),
								  &names[i]) &&
			 !ak_arg_name(fcinfo, first + i, &call->names[i], &names[i])))
			return AK_LEVEL_NONE;
	level = ak_authz_level(call->settled, &names[0], &names[1]);
	if (!call->hit && call->left % 8 != 0)
		return level;
	call->hit = false;
	call->level = level;
	for (int i = 0; i < 2; i++)
		if (call->constant[first + i])
			call->values[i].kind = AK_BITS_CONSTANT;
		else
			ak_ident_keep(&call->values[i], &call->names[i],
						  PG_GETARG_DATUM(first + i));
	return level;
}

/* The same, but looking at the last row first. */
static pg_attribute_always_inline AkLevel
get_level(FunctionCallInfo fcinfo, int first, Call *call)
{
	if (!PG_ARGISNULL(first) && !PG_ARGISNULL(first + 1) &&
		ak_ident_same(&call->values[0], PG_GETARG_DATUM(first)) &&
		ak_ident_same(&call->values[1], PG_GETARG_DATUM(first + 1)))
	{
		call->hit = true;
		return call->level;
	}
	return find_level(fcinfo, first, call);
}

/*
 * A decision that is the first, or by a verb that is no constant, or about a
 * key that is not settled.
 */
static pg_noinline bool
decide(FunctionCallInfo fcinfo, int key_argno, int first)
{
	Call	   *call = get_call(fcinfo);
	AkLevel		wanted = get_verb(fcinfo, first + 2, call);
	const AkKey *key = call->settled;
	AkName		names[2];
	bool		allowed;

	if (key == NULL || !is_settled(fcinfo, key_argno, call))
		key = settle(fcinfo, key_argno, call);
	if (call->settled != NULL)
		allowed = wanted != AK_LEVEL_NONE &&
			get_level(fcinfo, first, call) >= wanted;
	else
		allowed = ak_arg_name(fcinfo, first, &call->names[0], &names[0]) &&
			ak_arg_name(fcinfo, first + 1, &call->names[1], &names[1]) &&
			ak_authz_project(key, &names[0], &names[1],
							 wanted).reason == AK_REASON_GRANTED;
	if (!allowed && !call->rows)
		ak_use_refused(key);
	return allowed;
}

/* Arguments project, environment, verb from "first" on. */
static pg_attribute_always_inline bool
authorize(FunctionCallInfo fcinfo, int key_argno, int first)
{
	Call	   *call = fcinfo->flinfo->fn_extra;

	if (unlikely(call == NULL || !call->constant[first + 2] ||
				 call->verb_len == 0 || call->settled == NULL))
		return decide(fcinfo, key_argno, first);
	if (unlikely(!is_settled(fcinfo, key_argno, call)))
	{
		(void) settle(fcinfo, key_argno, call);
		if (call->settled == NULL)
			return decide(fcinfo, key_argno, first);
	}
	if (likely(get_level(fcinfo, first, call) >= call->wanted))
		return true;
	if (!call->rows)
		ak_use_refused(call->settled);
	return false;
}

AK_FUNCTION_INFO_V1(apikey_authorize_key);
Datum
apikey_authorize_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(authorize(fcinfo, 0, 1));
}

AK_FUNCTION_INFO_V1(apikey_authorize_session);
Datum
apikey_authorize_session(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(authorize(fcinfo, -1, 0));
}

/* The verdict and the rule that made it, and whose it is. */
static AkVerdict
get_verdict(FunctionCallInfo fcinfo, int key_argno, int first, const AkKey **key)
{
	Call	   *call = get_call(fcinfo);
	AkLevel		wanted = get_verb(fcinfo, first + 2, call);
	AkName		project;
	AkName		environment;
	bool		named = ak_arg_name(fcinfo, first, &call->names[0], &project) &&
	ak_arg_name(fcinfo, first + 1, &call->names[1], &environment);

	*key = get_call_key(fcinfo, key_argno, call);
	return ak_authz_explain(*key, named ? &project : NULL,
							named ? &environment : NULL, wanted);
}

/* The reason goes to the server log alone, but for a key that was forgotten. */
static Datum
require(FunctionCallInfo fcinfo, int key_argno, int first)
{
	const AkKey *key;
	AkVerdict	verdict;

	if (authorize(fcinfo, key_argno, first))
		PG_RETURN_BOOL(true);
	verdict = get_verdict(fcinfo, key_argno, first, &key);
	ak_use_refused(key);
	if (key_argno < 0)
		ak_session_require_text(ERRCODE_INSUFFICIENT_PRIVILEGE);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied by API key"),
			 errdetail_log("%s", ak_authz_reason(&verdict)),
			 errhidestmt(true)));
}

AK_FUNCTION_INFO_V1(apikey_require_key);
Datum
apikey_require_key(PG_FUNCTION_ARGS)
{
	return require(fcinfo, 0, 1);
}

AK_FUNCTION_INFO_V1(apikey_require_session);
Datum
apikey_require_session(PG_FUNCTION_ARGS)
{
	return require(fcinfo, -1, 0);
}

/* What apikey_login would say of a good key's rate limit, if anything. */
static const char *
explain_limit(const AkKey *key)
{
	int64		wait;
	int64		remaining;

	if (key->limit == NULL)
		return "";
	if (!ak_use_counts)
		return "; no log-in, as the rate limit needs the extension to be preloaded";
	if (ak_use_look_at_limit(key, &wait, &remaining) == AK_REASON_GOOD)
		return "";
	return psprintf("; no log-in, over the rate limit, retry after %s seconds",
					ak_ratelimit_print_wait(wait));
}

static Datum
explain(FunctionCallInfo fcinfo, int key_argno, int first)
{
	const AkKey *key;
	AkVerdict	verdict = get_verdict(fcinfo, key_argno, first, &key);
	char	   *reason;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (key_argno < 0 && !ak_session_has_text())
		verdict.reason = AK_REASON_NO_KEY;
	reason = ak_authz_reason(&verdict);
	if (ak_authz_check_key(key) == AK_REASON_GOOD)
		reason = psprintf("%s%s", reason, explain_limit(key));
	values[0] = BoolGetDatum(verdict.reason == AK_REASON_GRANTED);
	values[1] = CStringGetTextDatum(reason);
	return ak_result_record(fcinfo, values, nulls);
}

AK_FUNCTION_INFO_V1(apikey_explain_key);
Datum
apikey_explain_key(PG_FUNCTION_ARGS)
{
	return explain(fcinfo, 0, 1);
}

AK_FUNCTION_INFO_V1(apikey_explain_session);
Datum
apikey_explain_session(PG_FUNCTION_ARGS)
{
	return explain(fcinfo, -1, 0);
}

/* Arguments organization, verb from "first" on. */
static bool
authorize_organization(FunctionCallInfo fcinfo, int key_argno, int first)
{
	Call	   *call = get_call(fcinfo);
	AkLevel		wanted = get_verb(fcinfo, first + 1, call);
	AkName		organization;
	bool		named = ak_arg_name(fcinfo, first, &call->names[0],
									&organization);

	AkReason	reason;
	const AkKey *key = get_asked_key(fcinfo, key_argno, call, &reason);

	if (ak_authz_organization(key, named ? &organization : NULL, wanted))
		return true;
	if (!call->rows)
		ak_use_refused(key);
	return false;
}

AK_FUNCTION_INFO_V1(apikey_authorize_organization_key);
Datum
apikey_authorize_organization_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(authorize_organization(fcinfo, 0, 1));
}

AK_FUNCTION_INFO_V1(apikey_authorize_organization_session);
Datum
apikey_authorize_organization_session(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(authorize_organization(fcinfo, -1, 0));
}

/*
 * Arguments verb and, in one variant, an environment or project from "first"
 * on.
 */
static Datum
list(FunctionCallInfo fcinfo, AkReachOf of, Oid type, int key_argno, int first)
{
	Call	   *call = get_call(fcinfo);
	AkLevel		wanted = get_verb(fcinfo, first, call);
	bool		anywhere = PG_NARGS() == first + 1;
	AkName		within = {"", 0};
	bool		named = anywhere ||
	ak_arg_name(fcinfo, first + 1, &call->names[0], &within);
	AkReason	reason;
	const AkKey *key = get_asked_key(fcinfo, key_argno, call, &reason);
	const AkName *names = NULL;
	int			count = 0;

	if (named)
		count = ak_reach_list(key, wanted, of, anywhere ? NULL : &within,
							  &names);
	return PointerGetDatum(ak_ident_array(type, names, count));
}

/* The same after an argument whose type is that of the elements. */
static Datum
list_as(FunctionCallInfo fcinfo, AkReachOf of, int key_argno, int first)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

	if (!ak_ident_listable(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("identifiers cannot be listed as type %s",
						format_type_be(type)),
				 errhint("Use text, varchar, uuid, smallint, integer, bigint or an enum.")));
	return list(fcinfo, of, type, key_argno, first);
}

AK_FUNCTION_INFO_V1(apikey_projects_key);
Datum
apikey_projects_key(PG_FUNCTION_ARGS)
{
	return list(fcinfo, AK_REACH_PROJECTS, TEXTOID, 0, 1);
}

AK_FUNCTION_INFO_V1(apikey_projects_session);
Datum
apikey_projects_session(PG_FUNCTION_ARGS)
{
	return list(fcinfo, AK_REACH_PROJECTS, TEXTOID, -1, 0);
}

AK_FUNCTION_INFO_V1(apikey_projects_as_key);
Datum
apikey_projects_as_key(PG_FUNCTION_ARGS)
{
	return list_as(fcinfo, AK_REACH_PROJECTS, 1, 2);
}

AK_FUNCTION_INFO_V1(apikey_projects_as_session);
Datum
apikey_projects_as_session(PG_FUNCTION_ARGS)
{
	return list_as(fcinfo, AK_REACH_PROJECTS, -1, 1);
}

AK_FUNCTION_INFO_V1(apikey_environments_as_key);
Datum
apikey_environments_as_key(PG_FUNCTION_ARGS)
{
	return list_as(fcinfo, AK_REACH_ENVIRONMENTS, 1, 2);
}

AK_FUNCTION_INFO_V1(apikey_environments_as_session);
Datum
apikey_environments_as_session(PG_FUNCTION_ARGS)
{
	return list_as(fcinfo, AK_REACH_ENVIRONMENTS, -1, 1);
}

AK_FUNCTION_INFO_V1(apikey_masked);
Datum
apikey_masked(PG_FUNCTION_ARGS)
{
	text	   *prefix = PG_GETARG_TEXT_PP(0);

	PG_RETURN_TEXT_P(cstring_to_text(ak_token_mask(VARDATA_ANY(prefix),
												   VARSIZE_ANY_EXHDR(prefix),
												   PG_GETARG_UUID_P(1))));
}

AK_FUNCTION_INFO_V1(apikey_cache_stats);
Datum
apikey_cache_stats(PG_FUNCTION_ARGS)
{
	AkCacheStats stats;
	Datum		values[6];
	bool		nulls[6] = {0};

	ak_keycache_stats(&stats);
	values[0] = Int64GetDatum(stats.keys);
	values[1] = Int64GetDatum(stats.bytes + (int64) ak_registry_bytes() +
							  (int64) ak_reach_bytes());
	values[2] = Int64GetDatum(stats.hits);
	values[3] = Int64GetDatum(stats.builds);
	values[4] = Int64GetDatum((int64) ak_inval_flushes);
	values[5] = Int64GetDatum(stats.evictions);
	return ak_result_record(fcinfo, values, nulls);
}
