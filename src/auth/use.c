/*
 * use.c
 *		Counting that a key was used; see use.h.
 */
#include "postgres.h"

#include "auth/use.h"

#include "base/args.h"
#include "base/client.h"
#include "base/guc.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "pgstat.h"
#include "shmem/guess.h"
#include "shmem/marks.h"
#include "shmem/counts.h"
#include "storage/latch.h"
#include "table/store.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

bool		ak_use_counts;

static int	uncounted;			/* what is asked now: so many reasons not to */
static planner_hook_type next_planner;
static ExecutorStart_hook_type next_start;

/* Functions that are asked while a plan is made decide nothing. */
static PlannedStmt *
plan(Query *query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *result;

	uncounted++;
	PG_TRY();
	{
		result = next_planner ? next_planner(query, text, options, params) :
			standard_planner(query, text, options, params);
	}
	PG_FINALLY();
	{
		uncounted--;
	}
	PG_END_TRY();
	return result;
}

static void
start_next(QueryDesc *query, int flags)
{
	if (next_start)
		next_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

/* So it is for EXPLAIN, which looks for partitions that need no scan. */
static void
start(QueryDesc *query, int flags)
{
	if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
	{
		if (query->plannedstmt->parallelModeNeeded)
			ak_marks_share(ak_clock_now());
		start_next(query, flags);
		return;
	}
	uncounted++;
	PG_TRY();
	{
		start_next(query, flags);
	}
	PG_FINALLY();
	{
		uncounted--;
	}
	PG_END_TRY();
}

void
ak_use_uncounted(void (*action) (void *), void *arg)
{
	uncounted++;
	PG_TRY();
	{
		action(arg);
	}
	PG_FINALLY();
	{
		uncounted--;
	}
	PG_END_TRY();
}

void
ak_use_init(void)
{
	ak_use_counts = true;
	next_planner = planner_hook;
	planner_hook = plan;
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
}

/* Something that is no key; true if there are too many of them. */
static bool
note_guess(void)
{
	uint8		place[AK_ADDRESS_LEN];

	ak_client_place(place);
	return ak_guess_count(place);
}

/* What is remembered of a key in this statement, to be changed. */
static AkUse *
set_use(const AkKey *key)
{
	AkUse	   *use = unconstify(AkUse *, &key->use);

	if (use->statement != ak_clock_now())
	{
		use->statement = ak_clock_now();
		use->asked = false;
		use->refused = false;
	}
	return use;
}

void
ak_use_note_asked(const AkKey *key, AkReason reason)
{
	TimestampTz statement = ak_clock_now();

	if (uncounted > 0)
		return;
	set_use(key)->asked = true;
	if (reason != AK_REASON_GOOD)
		ak_use_note_refused(key);
	else if (ak_marks_first(AK_MARK_USED, &key->id, statement))
		ak_counts_add(&key->id, statement, true, false, &set_use(key)->last);
}

bool
ak_use_note_guessed(const char *token, int len)
{
	uint64		hash = 0;
	pg_uuid_t	id = {0};

	if (uncounted > 0)
		return false;
	if (token != NULL)
		hash = hash_bytes_extended((const unsigned char *) token, len, 0);
	memcpy(&id, &hash, sizeof(hash));
	if (ak_marks_first(AK_MARK_GUESSED, &id, ak_clock_now()))
		(void) note_guess();
	return true;
}

void
ak_use_guessed_argument(FunctionCallInfo fcinfo, int argno)
{
	AkName		token = ak_arg_token(fcinfo, argno);

	(void) ak_use_guessed(token.data, token.len);
}

void
ak_use_note_refused(const AkKey *key)
{
	TimestampTz statement = ak_clock_now();

	if (uncounted > 0)
		return;
	set_use(key)->refused = true;
	if (ak_marks_first(AK_MARK_REFUSED, &key->id, statement))
		ak_counts_add(&key->id, statement, false, true, &set_use(key)->last);
}

static void
hide_statement(void *arg)
{
	errhidestmt(true);
}

/* Who cancels it must not bring the statement, and what is in it, into the log. */
static void
delay(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													ak_guc_guess_delay);
	ErrorContextCallback hide = {
		.previous = error_context_stack,.callback = hide_statement
	};

	error_context_stack = &hide;
	for (;;)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   until);

		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	error_context_stack = hide.previous;
}

void
ak_use_note_called(const AkKey *key, AkReason reason)
{
	TimestampTz statement = ak_clock_now();
	bool		good = reason == AK_REASON_GOOD;
	AkUse	   *use;

	if (key == NULL)
	{
		if (note_guess() && ak_guc_guess_delay > 0)
			delay();
		return;
	}
	/* what decides in the same statement does not count once more */
	use = set_use(key);
	use->asked = true;
	if (!good)
		use->refused = true;
	(void) ak_marks_first(good ? AK_MARK_USED : AK_MARK_REFUSED, &key->id, statement);
	ak_counts_add(&key->id, statement, good, !good, &set_use(key)->last);
}

/* Any later, and there were no nanoseconds for it. */
#define UNTIL_MAX	(PG_INT64_MAX / 1000 - 1)

/* How far the limit was used up when that was last written down. */
static void
remember_limit(const AkKey *key)
{
	uint32		epoch = ak_counts_epoch();
	Snapshot	snapshot;
	AkUseRow	row;

	AK_STORE_READ(snapshot)
		ak_store_use(snapshot, &key->id, &row);
	row.limit_until = Max(0, Min(row.limit_until, UNTIL_MAX));
	ak_counts_know(&key->id, row.limit_until * 1000, epoch);
	CHECK_FOR_INTERRUPTS();
}

AkReason
ak_use_check_limit(const AkKey *key, int64 *wait)
{
	AkCountsLimit result;

	*wait = 0;
	if (key->limit == NULL)
		return AK_REASON_GOOD;
	ak_counts_require("rate limits");
	while ((result = ak_counts_take(&key->id, key->limit, wait)) ==
		   AK_COUNTS_UNKNOWN)
		remember_limit(key);
	return result == AK_COUNTS_WITHIN ? AK_REASON_GOOD : AK_REASON_OVER_LIMIT;
}

AkReason
ak_use_look_at_limit(const AkKey *key, int64 *wait, int64 *remaining)
{
	AkCountsLimit result;

	*wait = 0;
	*remaining = 0;
	if (key->limit == NULL)
		return AK_REASON_GOOD;
	ak_counts_require("rate limits");
	while ((result = ak_counts_peek(&key->id, key->limit, wait, remaining)) ==
		   AK_COUNTS_UNKNOWN)
		remember_limit(key);
	return result == AK_COUNTS_WITHIN ? AK_REASON_GOOD : AK_REASON_OVER_LIMIT;
}
