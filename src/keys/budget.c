/*
 * budget.c
 *		What a key may spend; see budget.h.
 */
#include "postgres.h"

#include "keys/budget.h"

#include "access/xact.h"
#include "auth/authz.h"
#include "auth/session.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/period.h"
#include "base/ratelimit.h"
#include "base/result.h"
#include "table/schema.h"
#include "table/write.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * The key in argument "argno", or the session's if that is negative.  Refuses any
 * that may not act now, as apikey_login does.  To spend is to use it.
 */
static const AkKey *
get_key(FunctionCallInfo fcinfo, int argno)
{
	AkReason	reason;
	AkFinding	finding = {0};
	AkName		token;

	ak_schema_accept();
	if (argno < 0)
		finding.key = ak_session_key();
	else
	{
		token = ak_arg_token(fcinfo, argno);
		ak_authn_find(&finding, token.data, token.len);
	}
	reason = ak_authz_check_key(finding.key);
	if (finding.key != NULL)
		ak_use_asked(finding.key, reason);
	else if (argno >= 0 && token.len > 0)
		ak_use_called(NULL, reason);
	if (reason == AK_REASON_GOOD)
		return finding.key;
	if (argno < 0)
		ak_session_require_text(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION);
	ak_authz_refuse(reason);
}

/* Like ak_arg_refuse_null(), but the statement may have a key in it. */
static int64
get_amount(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("amount must not be null"),
				 errhidestmt(true)));
	if (PG_GETARG_INT64(argno) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("amount must be at least 1"),
				 errhint("To give back what was spent, roll the transaction back."),
				 errhidestmt(true)));
	return PG_GETARG_INT64(argno);
}

/* For machines: the seconds until there is enough, if ever, and how much there is. */
pg_noreturn static void
refuse(int64 amount, const AkBudget *budget)
{
	const char *wait = "";

	if (amount <= budget->budget && budget->refills_at != DT_NOEND)
		wait = psprintf("retry_after=%s ",
						ak_ratelimit_print_wait((budget->refills_at -
												 ak_clock_now()) * 1000));
	ereport(ERROR,
			(errcode(AK_ERRCODE_BUDGET),
			 errmsg("API key has spent its budget"),
			 errdetail("%sremaining=%lld budget=%lld", wait,
					   (long long) budget->remaining,
					   (long long) budget->budget),
			 errhidestmt(true)));
}

/* What remains of the budget, or null. */
static Datum
spend(FunctionCallInfo fcinfo, int key_argno)
{
	AkSpending	spending;
	AkBudget	budget;
	const AkKey *key;
	pg_uuid_t	id;
	int64		amount;

	/* what PostgreSQL would say, but the statement may have a key in it */
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s in a read-only transaction",
						"apikey_spend()"),
				 errhidestmt(true)));
	amount = get_amount(fcinfo, key_argno + 1);
	id = get_key(fcinfo, key_argno)->id;
	spending = ak_write_spend(&id, amount, &budget);
	/* it may have waited for long */
	key = get_key(fcinfo, key_argno);
	if (spending == AK_SPENDING_REFUSED)
	{
		ak_use_refused(key);
		refuse(amount, &budget);
	}
	if (spending == AK_SPENDING_UNLIMITED)
		PG_RETURN_NULL();
	PG_RETURN_INT64(budget.remaining);
}

AK_FUNCTION_INFO_V1(apikey_spend_key);
Datum
apikey_spend_key(PG_FUNCTION_ARGS)
{
	return spend(fcinfo, 0);
}

AK_FUNCTION_INFO_V1(apikey_spend_session);
Datum
apikey_spend_session(PG_FUNCTION_ARGS)
{
	return spend(fcinfo, -1);
}

AK_FUNCTION_INFO_V1(apikey_budget_period);
Datum
apikey_budget_period(PG_FUNCTION_ARGS)
{
	AkPeriod	period;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	ak_period_check(PG_GETARG_INTERVAL_P(1), "refill");
	period = ak_period_find(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_INTERVAL_P(1),
							PG_GETARG_TIMESTAMPTZ(2));
	values[0] = TimestampTzGetDatum(period.begins);
	values[1] = TimestampTzGetDatum(period.ends);
	return ak_result_record(fcinfo, values, nulls);
}
