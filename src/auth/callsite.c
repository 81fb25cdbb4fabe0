/*
 * callsite.c
 *		What a call site caches, and the functions that are called for each row of a
 *		scan: apikey_authorize, apikey_authorize_organization and what the planner
 *		makes of the latter; see callsite.h.
 *
 * Of apikey_authorize every nanosecond counts.  What it has found out about the key is
 * *settled*: it holds within a statement until something changes, and messages about
 * changes are taken in at the first row and every ACCEPT_EVERY rows after that.  All
 * others take them in at each call, which lets a revocation reach loops inside one
 * statement.
 */
#include "postgres.h"

#include "auth/callsite.h"

#include "access/xact.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/ident.h"
#include "base/inval.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "table/schema.h"
#include "utils/lsyscache.h"

#define ACCEPT_EVERY	256

/* Environments of a project whose levels are remembered. */
#define ENVIRONMENTS	4

typedef struct CallSite
{
	/* good while nothing changes, see is_settled() */
	const AkKey *settled;		/* a good key; NULL: there is none */
	uint64		changes;
	TimestampTz statement;
	int			left;			/* decisions before messages are taken in */
	bool		hit;			/* did a row have what is remembered? */
	AkBits		project;		/* of the last row that was */
	int			nremembered;	/* environments of it so far */
	AkBits		environments[ENVIRONMENTS]; /* the last of them */
	AkLevel		levels[ENVIRONMENTS];

	AkLevel		wanted;			/* of "verb" */
	int			verb_len;
	char		verb[8];
	bool		constant[AK_CALLSITE_ARGS]; /* is this argument a constant? */
	bool		rows;			/* are there arguments from rows? */
	AkIdentType types[AK_CALLSITE_ARGS];

	/* the key's organization, as a value of the type of the first argument */
	AkName		organization;	/* zeroed: none yet */
	bool		has_value;		/* is there one of that type? */
	Datum		value;

	/* the key, if that is an argument */
	AkFinding	finding;
	int			token_len;		/* 0: nothing yet */
	char	   *token;			/* room for "room" bytes */
	int			room;
	char		short_token[AK_TOKEN_MAX];	/* of any native key */
	MemoryContextCallback at_end;	/* wipes it */
} CallSite;

static void
wipe_token(void *site)
{
	explicit_bzero(((CallSite *) site)->token, ((CallSite *) site)->room);
}

/* A constant argument need not be compared with that of the row before. */
static void
look_at_arguments(FmgrInfo *flinfo, CallSite *site)
{
	FuncExpr   *expression = (FuncExpr *) flinfo->fn_expr;

	if (expression == NULL || !IsA(expression, FuncExpr))
		return;
	for (int i = 0; i < Min(list_length(expression->args), AK_CALLSITE_ARGS); i++)
	{
		Node	   *arg = list_nth(expression->args, i);

		site->constant[i] = IsA(arg, Const);
		if (!site->constant[i])
			site->rows |= IsA(arg, Var) || contain_var_clause(arg);
	}
}

static inline CallSite *
get_call_site(FunctionCallInfo fcinfo)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	CallSite   *site = flinfo->fn_extra;

	if (unlikely(site == NULL))
	{
		site = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(CallSite));
		site->token = site->short_token;
		site->room = sizeof(site->short_token);
		site->at_end.func = wipe_token;
		site->at_end.arg = site;
		MemoryContextRegisterResetCallback(flinfo->fn_mcxt, &site->at_end);
		look_at_arguments(flinfo, site);
		flinfo->fn_extra = site;
	}
	return site;
}

bool
ak_callsite_name(FunctionCallInfo fcinfo, int argno, AkName *name)
{
	return ak_arg_name(fcinfo, argno, &get_call_site(fcinfo)->types[argno], name);
}

AkLevel
ak_callsite_verb(FunctionCallInfo fcinfo, int argno)
{
	CallSite   *site = get_call_site(fcinfo);
	struct varlena *verb;

	if (PG_ARGISNULL(argno))
		return AK_LEVEL_NONE;
	if (site->constant[argno] && site->verb_len > 0)
		return site->wanted;
	verb = (struct varlena *) PG_GETARG_POINTER(argno);
	if (VARATT_IS_EXTERNAL(verb) || VARATT_IS_COMPRESSED(verb))
		return ak_arg_verb(fcinfo, argno);
	if (site->verb_len == 0 ||
		site->verb_len != (int) VARSIZE_ANY_EXHDR(verb) ||
		memcmp(site->verb, VARDATA_ANY(verb), site->verb_len) != 0)
	{
		site->verb_len = 0;		/* so that an error leaves nothing valid */
		site->wanted = ak_arg_verb(fcinfo, argno);
		if (VARSIZE_ANY_EXHDR(verb) <= sizeof(site->verb))
		{
			site->verb_len = VARSIZE_ANY_EXHDR(verb);
			memcpy(site->verb, VARDATA_ANY(verb), site->verb_len);
		}
	}
	return site->wanted;
}

/* ------------------------------------------------------------------- key */

/* A longer text than any before takes the place of all of them. */
static void
keep_token(MemoryContext context, CallSite *site, const AkName *token)
{
	site->token_len = 0;		/* so that an error leaves nothing valid */
	memset(&site->finding, 0, sizeof(AkFinding));
	if (token->len > site->room)
	{
		char	   *larger = MemoryContextAlloc(context, token->len);

		wipe_token(site);
		if (site->token != site->short_token)
			pfree(site->token);
		site->token = larger;
		site->room = token->len;
	}
	memcpy(site->token, token->data, token->len);
	site->token_len = token->len;
}

const AkKey *
ak_callsite_key(FunctionCallInfo fcinfo, int argno)
{
	CallSite   *site = get_call_site(fcinfo);

	ak_schema_accept();
	if (argno < 0)
		return ak_authn_session();
	if (!site->constant[argno] || site->token_len == 0)
	{
		AkName		token = ak_arg_token(fcinfo, argno);

		if (token.data == NULL)
		{
			(void) ak_use_guessed(NULL, token.len);
			return NULL;
		}
		if (site->token_len != token.len ||
			memcmp(site->token, token.data, token.len) != 0)
			keep_token(fcinfo->flinfo->fn_mcxt, site, &token);
	}
	return ak_authn_recall(&site->finding, site->token, site->token_len);
}

const AkKey *
ak_callsite_asked_key(FunctionCallInfo fcinfo, int argno)
{
	const AkKey *key = ak_callsite_key(fcinfo, argno);

	ak_use_asked(key, ak_authz_check_key(key));
	return key;
}

void
ak_callsite_refused(FunctionCallInfo fcinfo, const AkKey *key)
{
	if (!get_call_site(fcinfo)->rows)
		ak_use_refused(key, AK_REASON_NO_GRANT);
}

/* ------------------------------------------------------ apikey_authorize */

/*
 * Counts up with everything that can change a decision: a message of whatever kind, the
 * key cache, the session's key, and, within a statement, the time that counts.  Each of
 * these only counts up, and so the sum stays the same only if all of them do.
 */
static inline uint64
count_changes(void)
{
	return ak_inval_number + ak_inval_transaction + ak_keycache_epoch +
		ak_guc_key_serial;
}

/*
 * Is what the last decision found out about the key still true?  Within a
 * statement nothing but a change can end it, and messages about those are
 * taken in every now and then: at each call unless this is a scan.
 */
static inline bool
is_settled(FunctionCallInfo fcinfo, int key_argno, CallSite *site)
{
	if (--site->left < 0 || site->changes != count_changes() ||
		site->statement != GetCurrentStatementStartTimestamp())
		return false;
	if (unlikely(key_argno >= 0 && !site->constant[key_argno]))
	{
		AkName		token = ak_arg_token(fcinfo, key_argno);

		return token.data != NULL && token.len == site->token_len &&
			memcmp(token.data, site->token, token.len) == 0;
	}
	return true;
}

/*
 * Find out about the key; returns it.  What rests on rows written by this
 * transaction is not settled: it can be undone without a message.
 */
static const AkKey *
settle(FunctionCallInfo fcinfo, int key_argno, CallSite *site)
{
	const AkKey *before = site->settled;
	const AkKey *key;
	AkReason	reason;

	site->settled = NULL;
	key = ak_callsite_key(fcinfo, key_argno);
	reason = ak_authz_check_key(key);
	ak_use_asked(key, reason);
	if (reason != AK_REASON_GOOD || key->uncommitted)
		return key;
	if (key != before || site->changes != count_changes())
	{
		site->project.kind = AK_BITS_NONE;
		site->hit = true;
	}
	site->changes = count_changes();
	site->statement = GetCurrentStatementStartTimestamp();
	site->left = site->rows ? ACCEPT_EVERY : 0;
	site->settled = key;
	return key;
}

/* The key, settled if it can be; it need not be good. */
static const AkKey *
find_key(FunctionCallInfo fcinfo, int key_argno, CallSite *site)
{
	if (site->settled != NULL && is_settled(fcinfo, key_argno, site))
		return site->settled;
	return settle(fcinfo, key_argno, site);
}

/* The bits of an argument. */
static void
keep_argument(FunctionCallInfo fcinfo, int argno, CallSite *site, AkBits *bits)
{
	if (site->constant[argno])
		bits->kind = AK_BITS_CONSTANT;
	else
		ak_ident_keep(bits, &site->types[argno], PG_GETARG_DATUM(argno));
}

/*
 * Remember a level.  Rows of a project often come in runs, but not sorted by environment.
 * Where they do not come in runs none is worth it, except that one of eight is, to notice
 * when they do.
 */
static void
remember_level(FunctionCallInfo fcinfo, int first, CallSite *site, bool same, AkLevel level)
{
	int			at;

	if ((!same || site->nremembered >= ENVIRONMENTS) && !site->hit && site->left % 8 != 0)
		return;
	site->hit = false;
	if (!same)
	{
		site->nremembered = 0;
		keep_argument(fcinfo, first, site, &site->project);
	}
	at = site->nremembered++ % ENVIRONMENTS;
	keep_argument(fcinfo, first + 1, site, &site->environments[at]);
	site->levels[at] = level;
}

/*
 * The level of a settled key on project and environment, from "first" on; is the project
 * the same as is remembered?
 */
static pg_noinline AkLevel
find_level(FunctionCallInfo fcinfo, int first, CallSite *site, bool same)
{
	AkName		names[2];
	AkLevel		level;

	for (int i = 0; i < 2; i++)
	{
		int			argno = first + i;
		AkIdentType *type = &site->types[argno];

		if (PG_ARGISNULL(argno) ||
			(!ak_ident_short_text(type, PG_GETARG_DATUM(argno), &names[i]) &&
			 !ak_arg_name(fcinfo, argno, type, &names[i])))
			return AK_LEVEL_NONE;
	}
	level = ak_authz_level(site->settled, &names[0], &names[1]);
	remember_level(fcinfo, first, site, same, level);
	return level;
}

/* The same, but looking at what is remembered first. */
static pg_attribute_always_inline AkLevel
get_level(FunctionCallInfo fcinfo, int first, CallSite *site)
{
	bool		same = !PG_ARGISNULL(first) && !PG_ARGISNULL(first + 1) &&
	ak_ident_same(&site->project, PG_GETARG_DATUM(first));

	if (same)
	{
		for (int i = 0; i < Min(site->nremembered, ENVIRONMENTS); i++)
			if (ak_ident_same(&site->environments[i], PG_GETARG_DATUM(first + 1)))
			{
				site->hit = true;
				return site->levels[i];
			}
	}
	return find_level(fcinfo, first, site, same);
}

/*
 * A decision that is the first, or by a verb that is no constant, or about a
 * key that is not settled.
 */
static pg_noinline bool
decide(FunctionCallInfo fcinfo, int key_argno, int first)
{
	CallSite   *site = get_call_site(fcinfo);
	AkLevel		wanted = ak_callsite_verb(fcinfo, first + 2);
	const AkKey *key = find_key(fcinfo, key_argno, site);
	AkName		project;
	AkName		environment;
	bool		allowed;

	if (site->settled != NULL)
		allowed = wanted != AK_LEVEL_NONE &&
			get_level(fcinfo, first, site) >= wanted;
	else
		allowed = ak_callsite_name(fcinfo, first, &project) &&
			ak_callsite_name(fcinfo, first + 1, &environment) &&
			ak_authz_project(key, &project, &environment,
							 wanted).reason == AK_REASON_GRANTED;
	if (!allowed)
		ak_callsite_refused(fcinfo, key);
	return allowed;
}

/* Arguments project, environment, verb from "first" on. */
static pg_attribute_always_inline bool
authorize(FunctionCallInfo fcinfo, int key_argno, int first)
{
	CallSite   *site = fcinfo->flinfo->fn_extra;

	if (unlikely(site == NULL || !site->constant[first + 2] ||
				 site->verb_len == 0 || site->settled == NULL))
		return decide(fcinfo, key_argno, first);
	if (unlikely(!is_settled(fcinfo, key_argno, site)))
	{
		(void) settle(fcinfo, key_argno, site);
		if (site->settled == NULL)
			return decide(fcinfo, key_argno, first);
	}
	if (likely(get_level(fcinfo, first, site) >= site->wanted))
		return true;
	if (!site->rows)
		ak_use_refused(site->settled, AK_REASON_NO_GRANT);
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

/*
 * Is this a call of the form that may be marked LEAKPROOF, see planner/leakproof.c?
 * Whether it is does not depend on any row.
 */
static void
check_leakproof(FunctionCallInfo fcinfo)
{
	CallSite   *site = get_call_site(fcinfo);
	bool		leakproof = site->rows && site->constant[2];

	for (int i = 0; i < 2; i++)
	{
		Oid			type = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, i));

		leakproof = leakproof && ak_ident_listable(type) && !type_is_enum(type);
	}
	if (!leakproof)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("apikey_internal.authorize is for policies alone"),
				 errhint("Call apikey_authorize.")));
}

/* The same for the planner to put into the place of such calls. */
AK_FUNCTION_INFO_V1(apikey_authorize_leakproof);
Datum
apikey_authorize_leakproof(PG_FUNCTION_ARGS)
{
	if (unlikely(fcinfo->flinfo->fn_extra == NULL))
		check_leakproof(fcinfo);
	return apikey_authorize_session(fcinfo);
}

/* ----------------------------------------- apikey_authorize_organization */

/* Arguments organization, verb from "first" on. */
static Datum
authorize_organization(FunctionCallInfo fcinfo, int key_argno, int first)
{
	AkLevel		wanted = ak_callsite_verb(fcinfo, first + 1);
	AkName		organization;
	bool		named = ak_callsite_name(fcinfo, first, &organization);
	const AkKey *key = find_key(fcinfo, key_argno, get_call_site(fcinfo));
	bool		allowed = ak_authz_organization(key, named ? &organization : NULL,
												wanted);

	if (!allowed)
		ak_callsite_refused(fcinfo, key);
	PG_RETURN_BOOL(allowed);
}

AK_VARIANTS(apikey_authorize_organization_key,
			apikey_authorize_organization_session, authorize_organization, 0)

/*
 * Have the value that stands for this organization, which may be another one than
 * before, as keys may be.  It lives as long as the call site.
 */
static void
make_value(FunctionCallInfo fcinfo, CallSite *site, const AkName *organization)
{
	AkIdentType *type = &site->types[0];
	MemoryContext before = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

	if (!OidIsValid(type->type))
	{
		Oid			oid = get_fn_expr_argtype(fcinfo->flinfo, 0);

		ak_ident_check_listable(oid);
		ak_ident_prepare(type, oid, CurrentMemoryContext);
	}
	if (site->has_value && !type->by_value)
		pfree(DatumGetPointer(site->value));
	site->has_value = false;
	if (site->organization.len > 0)
		pfree(unconstify(char *, site->organization.data));
	site->organization.len = 0;
	site->has_value = ak_ident_value(type, organization, &site->value);
	site->organization = ak_name_copy(*organization);
	MemoryContextSwitchTo(before);
}

/*
 * The key's organization if it has the level, else null; the verb is argument
 * "first".  Arguments are constants, and yet it may be called for each row.
 */
static Datum
get_organization(FunctionCallInfo fcinfo, int key_argno, int first)
{
	CallSite   *site = get_call_site(fcinfo);
	AkLevel		wanted = ak_callsite_verb(fcinfo, first);
	const AkKey *key;

	site->rows = true;
	key = find_key(fcinfo, key_argno, site);
	if (key == NULL || !ak_authz_organization(key, &key->organization, wanted))
		PG_RETURN_NULL();
	if (!ak_name_equal(&site->organization, &key->organization))
		make_value(fcinfo, site, &key->organization);
	if (!site->has_value)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(site->value);
}

AK_VARIANTS(apikey_organization_key, apikey_organization_session,
			get_organization, 1)

/* Null.  What returns a record is not evaluated by the planner. */
AK_FUNCTION_INFO_V1(apikey_unknown);
Datum
apikey_unknown(PG_FUNCTION_ARGS)
{
	PG_RETURN_NULL();
}
