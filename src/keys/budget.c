/*
 * budget.c
 *		What a key may spend.
 *
 * A budget is a row of apikey_budget.  Spending updates it in the transaction of the
 * caller, so that a rollback gives back what was spent, with the work that it was for.
 * The row stays locked until the end of the transaction: others wait that spend from
 * the same budget, and go by what is left then.  A refill that is due is made when the
 * key spends next: nothing runs in the background.
 *
 * Periods follow each other without a gap: that of number n, from 0, begins n lengths
 * after the first, by the calendar of UTC.  A month that lacks a day ends with its
 * last: what began on the 31st comes round on the 30th of April, and on the 31st of
 * May.
 *
 * A derived key spends from the budget of its root.
 *
 * No decision rests on budgets: spending sends no message, and no key is forgotten.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/hide.h"
#include "base/ratelimit.h"
#include "base/result.h"
#include "common/int.h"
#include "keys/admin.h"
#include "miscadmin.h"
#include "table/sql.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#define BUDGET_MAX	INT64CONST(1000000000000000)

/* No code of PostgreSQL's: one of the class "insufficient resources". */
#define ERRCODE_BUDGET	MAKE_SQLSTATE('5', '3', 'B', '0', '0')

#define USECS_PER_MONTH	(365.2425 / 12 * USECS_PER_DAY) /* on average */

typedef struct Budget
{
	int64		budget;			/* after a refill that is due */
	int64		remaining;
	TimestampTz refills_at;		/* DT_NOEND: never */
} Budget;

typedef enum Spending
{
	SPENDING_REFUSED = 0,
	SPENDING_DONE,
	SPENDING_UNLIMITED			/* the key has no budget */
} Spending;

/* --------------------------------------------------------------- periods */

/* Days of UTC are all of a length. */
static int64
get_days_and_time(const Interval *length)
{
	return length->day * USECS_PER_DAY + length->time;
}

/* About how long is it?  Cannot overflow. */
static double
estimate_length(const Interval *length)
{
	return length->month * USECS_PER_MONTH +
		(double) length->day * USECS_PER_DAY + (double) length->time;
}

/* Raises 22023 unless it is from a second to ten years, and negative in no part. */
static void
check_refill(const Interval *length)
{
	double		time = (double) length->day * USECS_PER_DAY + (double) length->time;

	if (estimate_length(length) < USECS_PER_SEC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("refill must be at least a second"),
				 errhint("Write it like '1 month' or '12 hours'.")));
	if (length->month < 0 || time < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("refill must not be negative in any field")));
	/* ten years may have three leap days */
	if (length->month > 120 || abs(length->day) > 3653 ||
		estimate_length(length) > 3653.0 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("refill must be at most ten years")));
}

pg_noreturn static void
refuse_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("timestamp out of range")));
}

/* When does period "n" begin?  A timestamptz is a timestamp of UTC. */
static TimestampTz
get_period_begin(TimestampTz first, const Interval *length, int64 n)
{
	Interval	span = {.month = n * length->month};

	if (pg_mul_s64_overflow(n, get_days_and_time(length), &span.time))
		refuse_range();
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval,
												 TimestampGetDatum(first),
												 IntervalPGetDatum(&span)));
}

AK_FUNCTION_INFO_V1(apikey_budget_period);
Datum
apikey_budget_period(PG_FUNCTION_ARGS)
{
	TimestampTz first = PG_GETARG_TIMESTAMPTZ(0);
	const Interval *length = PG_GETARG_INTERVAL_P(1);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	Datum		values[2];
	bool		nulls[2] = {false, false};
	int64		n;

	check_refill(length);
	if (TIMESTAMP_NOT_FINITE(first) || TIMESTAMP_NOT_FINITE(at))
		refuse_range();
	/* a guess that is one or two off, as months are longer or shorter */
	n = (int64) Max(0, floor(((double) at - (double) first) / estimate_length(length)));
	while (n > 0 && get_period_begin(first, length, n) > at)
		n--;
	while (get_period_begin(first, length, n + 1) <= at)
		n++;
	values[0] = TimestampTzGetDatum(get_period_begin(first, length, n));
	values[1] = TimestampTzGetDatum(get_period_begin(first, length, n + 1));
	return ak_result_record(fcinfo, values, nulls);
}

/* --------------------------------------------------------------- setting */

/* It is filled up as often as this, or never if that is null. */
static AkValue
get_refill(FunctionCallInfo fcinfo, int argno)
{
	if (!PG_ARGISNULL(argno))
		check_refill(PG_GETARG_INTERVAL_P(argno));
	return ak_value_nullable(INTERVALOID, fcinfo->args[argno]);
}

static int64
get_budget(FunctionCallInfo fcinfo, int argno)
{
	int64		budget = PG_GETARG_INT64(argno);

	if (budget < 1 || budget > BUDGET_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("budget must be between 1 and %lld",
						(long long) BUDGET_MAX),
				 errhint("Null takes the budget away; to let a key do nothing, disable it.")));
	return budget;
}

/* The statements that go by the end of a period. */
#define DUE \
"refills_at <= " AK_SQL_NOW
#define REFILLED \
"CASE WHEN " DUE " THEN budget ELSE remaining END"
#define REFILLS_AT(first, length) \
"(apikey_internal.budget_period(" first ", " length ", " AK_SQL_NOW ")).refills_at"

/*
 * All of it is there from now on.  A limit must hold after a crash: it takes something
 * away.  What is spent is only as durable as the work that it pays for.
 */
static void
write_budget(const AkChange *change, int64 budget, const AkValue *refill)
{
	static AkSql upsert_budget = {
		AK_TABLE_BUDGET, 0,
		.query = "INSERT INTO $S.apikey_budget"
		" (key_id, budget, remaining, refill, started_at, refills_at, organization)"
		" VALUES ($1, $2, $2, $3, " AK_SQL_NOW ", "
		REFILLS_AT(AK_SQL_NOW, "$3") ", $4)"
		" ON CONFLICT (key_id) DO UPDATE SET budget = excluded.budget,"
		" remaining = excluded.remaining, refill = excluded.refill,"
		" started_at = excluded.started_at, refills_at = excluded.refills_at"
	};

	if (ak_sql_run(&upsert_budget, ak_value_uuid(&change->id),
				   ak_value_int8(budget), *refill,
				   ak_value_name(&change->organization)) == 0)
		ak_sql_refuse_trigger(AK_TABLE_BUDGET);
	ForceSyncCommit();
}

/* False if there is none. */
static bool
remove_budget(const pg_uuid_t *id)
{
	static AkSql delete_budget = {
		AK_TABLE_BUDGET, AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_budget WHERE key_id = $1"
	};

	return ak_sql_run(&delete_budget, ak_value_uuid(id)) > 0;
}

/* palloc'd, whatever IntervalStyle is. */
static char *
print_interval(Interval *interval)
{
	struct pg_itm itm;
	char		printed[MAXDATELEN + 1];

	interval2itm(*interval, &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, printed);
	return pstrdup(printed);
}

/*
 * A budget is what the application gives, or sells: no key has a say in it.  Setting
 * it starts a new period, even if it was the same before.
 */
AK_FUNCTION_INFO_V1(apikey_set_budget);
Datum
apikey_set_budget(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkValue		refill;
	int64		budget;
	AkDetail	detail;

	ak_actor_refuse_key();
	ak_admin_begin_giving(fcinfo, &change);
	refill = get_refill(fcinfo, 2);
	ak_detail_begin(&detail);
	if (PG_ARGISNULL(1))
	{
		if (!refill.isnull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("refill needs a budget")));
		if (!remove_budget(&change.id))
			PG_RETURN_VOID();
		ak_detail_add(&detail, "budget", NULL);
	}
	else
	{
		budget = get_budget(fcinfo, 1);
		write_budget(&change, budget, &refill);
		ak_detail_add(&detail, "budget", psprintf(INT64_FORMAT, budget));
		if (!refill.isnull)
			ak_detail_add(&detail, "refill",
						  print_interval(DatumGetIntervalP(refill.value)));
	}
	ak_admin_record(&change, "set_budget", &detail);
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- spending */

/* False if it is not enough, or there is no budget. */
static bool
take_amount(const pg_uuid_t *id, int64 amount, Budget *budget)
{
	static AkSql take = {
		AK_TABLE_BUDGET, 0,
		.query = "UPDATE $S.apikey_budget SET remaining = " REFILLED " - $2,"
		" refills_at = CASE WHEN " DUE " THEN " REFILLS_AT("started_at", "refill")
		" ELSE refills_at END"
		" WHERE key_id = $1 AND " REFILLED " >= $2 RETURNING remaining"
	};
	bool		taken;

	ak_sql_begin();
	taken = ak_sql_execute(&take, ak_value_uuid(id), ak_value_int8(amount)) > 0;
	if (taken)
		budget->remaining = ak_sql_int64(0, 1);
	ak_sql_end();
	return taken;
}

/* False if there is none. */
static bool
read_budget(const pg_uuid_t *id, Budget *budget)
{
	static AkSql look = {
		AK_TABLE_BUDGET, AK_SQL_LATEST,
		.query = "SELECT budget, " REFILLED ", coalesce(CASE WHEN " DUE
		" THEN " REFILLS_AT("started_at", "refill") " ELSE refills_at END,"
		" 'infinity') FROM $S.apikey_budget WHERE key_id = $1"
	};
	bool		found;

	ak_sql_begin();
	found = ak_sql_execute(&look, ak_value_uuid(id)) > 0;
	if (found)
	{
		budget->budget = ak_sql_int64(0, 1);
		budget->remaining = ak_sql_int64(0, 2);
		budget->refills_at = ak_sql_int64(0, 3);
	}
	ak_sql_end();
	return found;
}

/*
 * Take an amount from the budget of a key, which need not be locked.  Done, "remaining"
 * is what is left; refused, all of the budget is filled in.
 *
 * The update takes all or nothing, and what is refused neither waits nor writes.
 * Only then is the reason looked for, by a snapshot of now: an older one would
 * not show a budget that was set since, and so no limit.  If that shows that there
 * is enough after all, it tries again, but not in a transaction that must see
 * nothing newer.
 */
static Spending
spend_amount(const pg_uuid_t *id, int64 amount, Budget *budget)
{
	for (int attempts = 0; attempts <= 1000; attempts++)
	{
		if (take_amount(id, amount, budget))
			return SPENDING_DONE;
		if (!read_budget(id, budget))
			return SPENDING_UNLIMITED;
		if (budget->remaining < amount)
			return SPENDING_REFUSED;
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
		CHECK_FOR_INTERRUPTS();
	}
	ak_sql_refuse_trigger(AK_TABLE_BUDGET);
}

static int64
get_amount(FunctionCallInfo fcinfo, int argno)
{
	ak_arg_refuse_null(fcinfo, argno, "amount");
	if (PG_GETARG_INT64(argno) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("amount must be at least 1"),
				 errhint("To give back what was spent, roll the transaction back.")));
	return PG_GETARG_INT64(argno);
}

/* For machines: the seconds until there is enough, if ever, and how much there is. */
pg_noreturn static void
refuse_amount(int64 amount, const Budget *budget)
{
	const char *wait = "";

	if (amount <= budget->budget && budget->refills_at != DT_NOEND)
		wait = psprintf("retry_after=%s ",
						ak_ratelimit_print_wait((budget->refills_at -
												 ak_clock_now()) * 1000));
	ereport(ERROR,
			(errcode(ERRCODE_BUDGET),
			 errmsg("API key has spent its budget"),
			 errdetail("%sremaining=%lld budget=%lld", wait,
					   (long long) budget->remaining,
					   (long long) budget->budget)));
}

/* What remains of the budget of its root, or null.  The amount is argument "first". */
static Datum
spend_argument(FunctionCallInfo fcinfo, int key_argno, int first)
{
	Spending	spending;
	Budget		budget;
	const AkKey *key;
	pg_uuid_t	id;
	int64		amount;

	PreventCommandIfReadOnly("apikey_spend()");
	amount = get_amount(fcinfo, first);
	id = *ak_keycache_root(ak_authn_require(fcinfo, key_argno));
	spending = spend_amount(&id, amount, &budget);
	/* it may have waited for long */
	key = ak_authn_require(fcinfo, key_argno);
	if (spending == SPENDING_REFUSED)
	{
		ak_use_refused(key, AK_REASON_OVER_BUDGET);
		refuse_amount(amount, &budget);
	}
	if (spending == SPENDING_UNLIMITED)
		PG_RETURN_NULL();
	PG_RETURN_INT64(budget.remaining);
}

/* The statement may have the key in it. */
static Datum
spend_hidden(FunctionCallInfo fcinfo, int key_argno, int first)
{
	ErrorContextCallback hide;
	Datum		result;

	ak_hide_begin(&hide, ak_hide_statement);
	result = spend_argument(fcinfo, key_argno, first);
	ak_hide_end(&hide);
	return result;
}

AK_VARIANTS(apikey_spend_key, apikey_spend_session, spend_hidden, 0)
