/*
 * use.c
 *		Counting that a key was used; see use.h.
 */
#include "postgres.h"

#include "auth/use.h"

#include "base/client.h"
#include "base/guc.h"
#include "base/hide.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "pgstat.h"
#include "shmem/counts.h"
#include "shmem/guess.h"
#include "shmem/marks.h"
#include "shmem/tally.h"
#include "storage/latch.h"
#include "table/store.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Any later time of a limit would have no nanoseconds. */
#define UNTIL_MAX	(PG_INT64_MAX / 1000 - 1)

StaticAssertDecl(AK_REASONS <= AK_TALLY_OUTCOMES, "each reason has a tally");

bool		ak_use_counts;

static int	uncounted;			/* how many reasons there are not to count now */
static planner_hook_type next_planner;
static ExecutorStart_hook_type next_start;

/* Nested, for a plan may be made while another is. */
#define UNCOUNTED(statement) \
do { \
	uncounted++; \
	PG_TRY(); \
	{ \
		statement; \
	} \
	PG_FINALLY(); \
	{ \
		uncounted--; \
	} \
	PG_END_TRY(); \
} while (0)

void
ak_use_uncounted(void (*action) (void *), void *arg)
{
	UNCOUNTED(action(arg));
}

/* Functions that are asked while a plan is made decide nothing. */
static PlannedStmt *
plan_uncounted(Query *query, const char *string, int options,
			   ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	PlannedStmt *result;

	UNCOUNTED(result = next_planner(query, string, options,
									params AK_EXPLAIN_ARGUMENT));
	return result;
}

/* Nor for EXPLAIN, which looks for partitions that need no scan. */
static void
start_executor(QueryDesc *query, int flags)
{
	if ((flags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
	{
		UNCOUNTED(next_start(query, flags));
		return;
	}
	if (query->plannedstmt->parallelModeNeeded)
		ak_marks_share(ak_clock_now());
	next_start(query, flags);
}

void
ak_use_init(void)
{
	ak_use_counts = true;
	next_planner = planner_hook ? planner_hook : standard_planner;
	planner_hook = plan_uncounted;
	next_start = ExecutorStart_hook ? ExecutorStart_hook :
		standard_ExecutorStart;
	ExecutorStart_hook = start_executor;
}

/* ------------------------------------------------------------------ keys */

/* What this statement has counted of a key, to be changed. */
static AkUse *
use_in_statement(const AkKey *key)
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

/*
 * Count a use of a key or a refusal, for it and for each of its ancestors: a call each
 * time, else what this statement has not counted yet.  But a use by the new secret does
 * not hide one by the old.
 */
static void
count_use(const AkKey *key, AkReason reason, bool call)
{
	bool		good = reason == AK_REASON_GOOD;
	AkMarkKind	kind = good ? AK_MARK_USED : AK_MARK_REFUSED;
	AkUse	   *done = use_in_statement(key);
	AkCountsUse use = {
		.at = ak_clock_now(),
		.old_secret = good && key->old_secret
	};

	if (ak_guc_usage_address)
		use.from = *ak_client_address();
	for (int i = 0; i <= ak_keycache_ancestors(key); i++)
	{
		const pg_uuid_t *id = i == 0 ? &key->id : &key->extra->ancestors[i - 1];
		bool		first = ak_marks_first(kind, id, use.at);

		use.used = good && (first || call);
		use.refused = !good && (first || call);
		if (use.used || use.refused || use.old_secret)
			ak_counts_add(id, &use, i == 0 ? &done->last : &key->extra->last[i - 1]);
		/* one statement of the client, however many keys it counts for */
		if (i == 0 && (use.used || use.refused))
			ak_tally_count(reason);
		use.old_secret = false;
	}
}

void
ak_use_note_asked(const AkKey *key, AkReason reason)
{
	if (uncounted > 0)
		return;
	use_in_statement(key)->asked = true;
	if (reason == AK_REASON_GOOD)
		count_use(key, reason, false);
	else
		ak_use_note_refused(key, reason);
}

void
ak_use_note_refused(const AkKey *key, AkReason reason)
{
	if (uncounted > 0)
		return;
	use_in_statement(key)->refused = true;
	count_use(key, reason, false);
}

void
ak_use_called(const AkKey *key, AkReason reason)
{
	AkUse	   *use;

	if (!ak_use_counts)
		return;
	/* a decision in the same statement does not count again */
	use = use_in_statement(key);
	use->asked = true;
	use->refused |= reason != AK_REASON_GOOD;
	count_use(key, reason, true);
}

/* --------------------------------------------------------------- guesses */

/* True if there are too many of them. */
static bool
count_guess(void)
{
	uint8		place[AK_ADDRESS_LEN];

	ak_tally_count(AK_REASON_INVALID_KEY);
	ak_client_place(place);
	return ak_guess_count(place);
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
		(void) count_guess();
	return true;
}

/* Cancelling it must not put the statement, and what is in it, into the log. */
static void
delay_guesser(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													ak_guc_guess_delay);
	ErrorContextCallback hide;
	long		left;

	ak_hide_begin(&hide, ak_hide_statement);
	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												   until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	ak_hide_end(&hide);
}

void
ak_use_guess_called(int len)
{
	if (ak_use_counts && len > 0 && count_guess() && ak_guc_guess_delay > 0)
		delay_guesser();
}

/* ---------------------------------------------------------------- limits */

/* Share how far the limit was used up when that was last written to the table. */
static void
share_limit(const AkKey *key)
{
	uint32		epoch = ak_counts_epoch();
	Snapshot	snapshot;
	AkUseRow	row;

	AK_STORE_READ(snapshot)
		ak_store_use(snapshot, ak_keycache_root(key), &row);
	row.limit_until = Max(0, Min(row.limit_until, UNTIL_MAX));
	ak_counts_know(ak_keycache_root(key), row.limit_until * 1000, epoch);
	CHECK_FOR_INTERRUPTS();
}

AkReason
ak_use_limit(const AkKey *key, int64 *wait, int64 *remaining)
{
	const AkRateLimit *limit = ak_keycache_limit(key);

	*wait = 0;
	if (remaining != NULL)
		*remaining = 0;
	if (limit == NULL)
		return AK_REASON_GOOD;
	ak_counts_require("rate limits");
	for (;;)
	{
		switch (ak_counts_limit(ak_keycache_root(key), limit, wait, remaining))
		{
			case AK_COUNTS_WITHIN:
				return AK_REASON_GOOD;
			case AK_COUNTS_OVER:
				return AK_REASON_OVER_LIMIT;
			case AK_COUNTS_UNKNOWN:
				share_limit(key);
		}
	}
}
