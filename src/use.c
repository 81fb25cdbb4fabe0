/*
 * use.c
 *		Counting that a key was used; see use.h.
 */
#include "postgres.h"

#include "use.h"

#include "client.h"
#include "common/hashfn.h"
#include "guc.h"
#include "guess.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "store.h"
#include "usage.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* What processes of a parallel query tell each other; see ak_usage_first(). */
#define MARK_USED		0
#define MARK_REFUSED	1
#define MARK_GUESSED	2

bool		ak_use_counts;

static int	planning;
static planner_hook_type next_planner;

/* Functions that are asked while a plan is made decide nothing. */
static PlannedStmt *
plan(Query * query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *result;

	planning++;
	PG_TRY();
	{
		result = next_planner ? next_planner(query, text, options, params) :
			standard_planner(query, text, options, params);
	}
	PG_FINALLY();
	{
		planning--;
	}
	PG_END_TRY();
	return result;
}

void
ak_use_init(void)
{
	ak_use_counts = true;
	next_planner = planner_hook;
	planner_hook = plan;
}

/*
 * The last keys that were counted in a statement, as used or as refused.  What a key remembers of that
 * itself is gone if it had to be verified anew meanwhile.
 */
#define RECENT	8

typedef struct Recent
{
	TimestampTz statement;
	int			next;
	pg_uuid_t	ids[RECENT];
} Recent;

static Recent recents[AK_USAGE_MARKS];

static bool
is_recent(int mark, const pg_uuid_t *id)
{
	Recent	   *recent = &recents[mark];
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (recent->statement != statement)
		memset(recent, 0, sizeof(Recent));
	recent->statement = statement;
	for (int i = 0; i < RECENT; i++)
		if (memcmp(&recent->ids[i], id, sizeof(pg_uuid_t)) == 0)
			return true;
	recent->ids[recent->next++ % RECENT] = *id;
	return false;
}

/* Is it new in this statement, to all processes of a parallel query? */
static bool
is_new(int mark, const pg_uuid_t *id)
{
	uint64		statement = GetCurrentStatementStartTimestamp();

	return !is_recent(mark, id) &&
		ak_usage_first(mark, hash_bytes_extended(id->data, UUID_LEN,
												 statement) | 1);
}

/* Something that is no key; true if there are too many of them. */
static bool
note_guess(void)
{
	uint8		place[AK_ADDRESS_LEN];

	ak_client_place(place);
	return ak_guess_count(place);
}

void
ak_use_note_asked(const AkKey *key, AkReason reason)
{
	static TimestampTz guessed;
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (planning > 0)
		return;
	if (key == NULL)
	{
		if (guessed != statement && ak_usage_first(MARK_GUESSED, statement))
			(void) note_guess();
		guessed = statement;
		return;
	}
	key->use->asked = statement;
	if (reason != AK_REASON_ALIVE)
		ak_use_note_refused(key);
	else if (is_new(MARK_USED, &key->id))
		ak_usage_count(&key->id, statement, true, false);
}

void
ak_use_note_refused(const AkKey *key)
{
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (planning > 0)
		return;
	key->use->refused = statement;
	if (is_new(MARK_REFUSED, &key->id))
		ak_usage_count(&key->id, statement, false, true);
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
	TimestampTz statement = GetCurrentStatementStartTimestamp();
	bool		good = reason == AK_REASON_ALIVE;

	if (key == NULL)
	{
		if (note_guess() && ak_guc_guess_delay > 0)
			delay();
		return;
	}
	/* what decides in the same statement does not count once more */
	key->use->asked = statement;
	if (good)
		(void) is_recent(MARK_USED, &key->id);
	else
	{
		key->use->refused = statement;
		(void) is_recent(MARK_REFUSED, &key->id);
	}
	ak_usage_count(&key->id, statement, good, !good);
}

/* Any later, and there were no nanoseconds for it. */
#define UNTIL_MAX	(PG_INT64_MAX / 1000 - 1)

/* How far the limit was used up when that was last written down. */
static void
remember_limit(const AkKey *key)
{
	uint32		epoch = ak_usage_epoch();
	Snapshot	snapshot = ak_store_snapshot();
	AkUseRow	row;

	ak_store_use(snapshot, &key->id, &row);
	ak_store_release(snapshot);
	row.limit_until = Max(0, Min(row.limit_until, UNTIL_MAX));
	ak_usage_know(&key->id, row.limit_until * 1000, epoch);
	CHECK_FOR_INTERRUPTS();
}

AkReason
ak_use_check_limit(const AkKey *key, int64 *wait)
{
	AkUsageLimit result;

	*wait = 0;
	if (key->limit.count == 0)
		return AK_REASON_ALIVE;
	ak_usage_require("rate limits");
	while ((result = ak_usage_take(&key->id, &key->limit, wait)) ==
		   AK_USAGE_UNKNOWN)
		remember_limit(key);
	return result == AK_USAGE_WITHIN ? AK_REASON_ALIVE : AK_REASON_OVER_LIMIT;
}

AkReason
ak_use_look_at_limit(const AkKey *key, int64 *wait, int64 *remaining)
{
	AkUsageLimit result;

	*wait = 0;
	*remaining = 0;
	if (key->limit.count == 0)
		return AK_REASON_ALIVE;
	ak_usage_require("rate limits");
	while ((result = ak_usage_peek(&key->id, &key->limit, wait, remaining)) ==
		   AK_USAGE_UNKNOWN)
		remember_limit(key);
	return result == AK_USAGE_WITHIN ? AK_REASON_ALIVE : AK_REASON_OVER_LIMIT;
}
