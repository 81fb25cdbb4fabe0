/*
 * staleness.c
 *		A database that subscribes to the keys of another one; see staleness.h.
 *
 * It also says in the log that a subscription does nothing any more.  Whoever asks about
 * keys looks after it, at least once a minute: where nobody asks, nothing is accepted that
 * should not be.
 */
#include "postgres.h"

#include "auth/staleness.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "base/compat.h"
#include "base/hide.h"
#include "catalog/pg_subscription.h"
#include "common/int.h"
#include "miscadmin.h"
#include "shmem/alarm.h"
#include "table/follow.h"
#include "table/scan.h"
#include "table/store.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define LOOK_AFTER_IT	USECS_PER_MINUTE

/* The publisher is late if so many heartbeats in a row are missing, but not before ... */
#define MISSED_HEARTBEATS	3
#define LATE_AFTER			(30 * USECS_PER_SEC)

/* What our tables say */
typedef struct Heard
{
	const char *silent;			/* trigger that does not fire; NULL: all do */
	AkTable		silent_table;	/* and its table */
	char	   *subscription;	/* NULL: there is none */
	int64		max_staleness;	/* 0: any */
	TimestampTz at;				/* the last heartbeat; DT_NOBEGIN: none */
	int64		every;			/* 0: it does not come */
} Heard;

uint64		ak_staleness_generation;
TimestampTz ak_staleness_look_at;

AkStale		ak_staleness_why;

static TimestampTz looked_at;

int64
ak_staleness_span(const Interval *interval)
{
	int64		span;

	if (interval->month != 0 || interval->day < -366 || interval->day > 366 ||
		pg_add_s64_overflow(interval->time, interval->day * USECS_PER_DAY, &span) ||
		span > AK_STALENESS_MAX)
		return 0;
	return Max(span, 0);
}

/* ---------------------------------------------------------------- reading */

static int64
read_span(const AkScan *scan, AttrNumber column)
{
	bool		isnull;
	Datum		value = ak_scan_value(scan, column, &isnull);

	return isnull ? 0 : ak_staleness_span(DatumGetIntervalP(value));
}

/* Of several subscriptions that which allows least counts. */
static void
read_subscriptions(Snapshot snapshot, Heard *heard)
{
	AkScan		scan;

	ak_scan_table(&scan, AK_TABLE_SUBSCRIPTION, snapshot);
	while (ak_scan_next(&scan))
	{
		int64		span = read_span(&scan, Anum_apikey_subscription_max_staleness);
		bool		isnull;
		Datum		name = ak_scan_value(&scan, Anum_apikey_subscription_name,
										 &isnull);

		if (heard->subscription != NULL &&
			(span == 0 ||
			 (heard->max_staleness > 0 && heard->max_staleness <= span)))
			continue;
		heard->subscription = TextDatumGetCString(name);
		heard->max_staleness = span;
	}
	ak_scan_end(&scan);
}

static void
read_heartbeat(Snapshot snapshot, Heard *heard)
{
	AkScan		scan;

	ak_scan_table(&scan, AK_TABLE_HEARTBEAT, snapshot);
	if (ak_scan_next(&scan))
	{
		bool		isnull;
		Datum		at = ak_scan_value(&scan, Anum_apikey_heartbeat_at, &isnull);

		if (!isnull && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(at)))
			heard->at = DatumGetTimestampTz(at);
		heard->every = read_span(&scan, Anum_apikey_heartbeat_every);
	}
	ak_scan_end(&scan);
}

/* Where triggers do not fire for what is replicated, nothing must be. */
static void
read_triggers_of_tables(Heard *heard)
{
	heard->silent = ak_schema_silent_trigger(true, &heard->silent_table);
	if (heard->silent != NULL && !ak_follow_is_on())
		heard->silent = ak_schema_silent_trigger(false, &heard->silent_table);
}

/* Returns the generation that was current before. */
static uint64
read_tables(Heard *heard)
{
	uint64		generation = 0;
	Snapshot	snapshot;

	AK_STORE_READ(snapshot)
	{
		memset(heard, 0, sizeof(Heard));
		heard->at = DT_NOBEGIN;
		generation = ak_inval_schema;
		read_subscriptions(snapshot, heard);
		if (heard->subscription != NULL)
			read_heartbeat(snapshot, heard);
	}
	read_triggers_of_tables(heard);
	return generation;
}

/* Was nothing heard for so long? */
static bool
is_older(const Heard *heard, int64 span, TimestampTz now)
{
	return heard->at == DT_NOBEGIN || heard->at + span < now;
}

/* Where the clocks differ by more than that, nobody knows. */
static bool
is_stale(const Heard *heard, TimestampTz now)
{
	return is_older(heard, heard->max_staleness, now) ||
		heard->at - heard->max_staleness > now;
}

static AkStale
get_stale(const Heard *heard, TimestampTz now)
{
	if (heard->silent != NULL)
		return AK_STALE_DEAF;
	if (heard->subscription == NULL)
		return AK_STALE_NOT;
	if (ak_follow_is_copying())
		return AK_STALE_COPYING;
	return heard->max_staleness > 0 && is_stale(heard, now) ?
		AK_STALE_UNHEARD : AK_STALE_NOT;
}

/* -------------------------------------------------------------------- log */

/* What is wrong, as a sentence, palloc'd; NULL: nothing. */
static char *
get_trouble(const Heard *heard, TimestampTz now)
{
	HeapTuple	tuple;
	bool		enabled;

	if (heard->silent != NULL)
		return psprintf("Trigger \"%s\" on table \"%s\" is missing, or does not fire for all changes.",
						heard->silent, ak_schema_tables[heard->silent_table].name);
	if (heard->subscription == NULL)
		return NULL;
	tuple = SearchSysCache2(SUBSCRIPTIONNAME, ObjectIdGetDatum(MyDatabaseId),
							CStringGetDatum(heard->subscription));
	if (!HeapTupleIsValid(tuple))
		return psprintf("Subscription \"%s\" does not exist.", heard->subscription);
	enabled = ((Form_pg_subscription) GETSTRUCT(tuple))->subenabled;
	ReleaseSysCache(tuple);
	if (!enabled)
		return psprintf("Subscription \"%s\" is disabled.", heard->subscription);
	if (ak_staleness_why == AK_STALE_COPYING)
		return NULL;
	if (heard->at == DT_NOBEGIN)
		return ak_staleness_why == AK_STALE_UNHEARD ?
			pstrdup("There was no heartbeat of the publisher.") : NULL;
	if (ak_staleness_why == AK_STALE_UNHEARD ||
		(heard->every > 0 &&
		 is_older(heard, Max(heard->every * MISSED_HEARTBEATS, LATE_AFTER), now)))
		return psprintf("The last heartbeat of the publisher is from %s%s.",
						timestamptz_to_str(heard->at),
						heard->at > now ? ", which is still to come here" : "");
	return NULL;
}

static void
warn_of_trouble(const Heard *heard, const char *trouble)
{
	const char *refused = ak_staleness_why != AK_STALE_NOT ? "Every key is refused." :
	"A key that is revoked there is accepted here.";

	if (heard->silent != NULL)
		refused = psprintf("Every key is refused until: ALTER TABLE %s.%s ENABLE ALWAYS TRIGGER %s;",
						   quote_identifier(ak_schema_name()),
						   ak_schema_tables[heard->silent_table].name, heard->silent);
	AK_HIDE_FROM_CLIENT(ereport(WARNING,
								(heard->silent != NULL ?
								 errmsg("this database does not notice changes of its API keys") :
								 errmsg("this database does not follow the publisher of its API keys"),
								 errdetail_internal("%s", trouble),
								 errhint("%s", refused),
								 errhidestmt(true))));
}

static void
look_after(const Heard *heard, TimestampTz now)
{
	char	   *trouble = get_trouble(heard, now);

	if (trouble != NULL && ak_alarm_raise())
		warn_of_trouble(heard, trouble);
	else if (trouble == NULL && ak_alarm_end())
		ereport(LOG_SERVER_ONLY,
				(heard->subscription == NULL ?
				 errmsg("this database notices changes of its API keys again") :
				 errmsg("this database follows the publisher of its API keys again"),
				 errhidestmt(true)));
	if (trouble != NULL)
		pfree(trouble);
}

/* ------------------------------------------------------------------ looking */

bool
ak_staleness_look(void)
{
	TimestampTz now = ak_clock_now();
	AkStale		before = ak_staleness_why;
	Heard		heard = {0};
	uint64		generation;

	if (looked_at == now &&
		ak_staleness_generation == ak_inval_schema)
		return ak_staleness_why != AK_STALE_NOT;

	ak_staleness_generation = 0;	/* as it stays after an error */
	generation = read_tables(&heard);
	ak_staleness_why = get_stale(&heard, now);
	ak_staleness_look_at = DT_NOEND;
	if (ak_staleness_why != AK_STALE_NOT)
		ak_staleness_look_at = DT_NOBEGIN;
	else if (heard.subscription != NULL)
	{
		ak_staleness_look_at = now + LOOK_AFTER_IT;
		if (heard.max_staleness > 0)
			ak_staleness_look_at = Min(ak_staleness_look_at,
									   heard.at + heard.max_staleness);
	}
	if ((heard.subscription != NULL || ak_staleness_why != before) && !IsParallelWorker())
		look_after(&heard, now);
	if (heard.subscription != NULL)
		pfree(heard.subscription);
	looked_at = now;
	ak_staleness_generation = generation;
	return ak_staleness_why != AK_STALE_NOT;
}

AK_FUNCTION_INFO_V1(apikey_refuses_all);
Datum
apikey_refuses_all(PG_FUNCTION_ARGS)
{
	ak_schema_accept();
	PG_RETURN_BOOL(ak_staleness_refuses());
}
