/*
 * report.c
 *		What the views show of the use of keys: the tables, and what the shared
 *		memory of this server has besides.
 *
 * Both are read while no flush ends, so nothing is seen twice or not at all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "auth/authz.h"
#include "base/client.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/result.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "keys/actor.h"
#include "miscadmin.h"
#include "shmem/guess.h"
#include "shmem/counts.h"
#include "shmem/tally.h"
#include "table/schema.h"
#include "table/store.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define FLUSH_ENDS_WITHIN	1000	/* ms */

/*
 * A snapshot of the tables, and what shared memory had at that moment; false if it had
 * nothing.  We wait for a flush to end, but not for one that hangs: where a statement has
 * waited in vain, it waits no more.
 */
static bool
get_usage(const pg_uuid_t *id, AkCounts *usage, Snapshot *snapshot)
{
	static TimestampTz in_vain;
	TimestampTz statement = ak_clock_now();

	for (int i = in_vain == statement ? FLUSH_ENDS_WITHIN : 0;; i++)
	{
		uint32		before;
		uint32		after;
		bool		quiet = ak_counts_is_quiet(&before);
		bool		found = ak_counts_get(id, usage);

		*snapshot = ak_store_snapshot();
		if (quiet && ak_counts_is_quiet(&after) && before == after)
			return found;
		if (i >= FLUSH_ENDS_WITHIN)
		{
			in_vain = statement;
			return found;
		}
		ak_store_release(*snapshot);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
}

/* What tables and shared memory know of a key, added up. */
static void
get_sum(const pg_uuid_t *id, AkUseRow *sum)
{
	AkCounts	usage;
	bool		found = false;
	Snapshot	snapshot;

	if (ak_counts_is_on())
		found = get_usage(id, &usage, &snapshot);
	else
		snapshot = ak_store_snapshot();
	ak_store_use(snapshot, id, sum);
	ak_store_release(snapshot);
	if (!found)
		return;
	for (int i = 0; i < usage.nhours; i++)
	{
		sum->uses += usage.hours[i].uses;
		sum->refusals += usage.hours[i].refusals;
	}
	if (usage.last_used >= sum->last_used)
	{
		sum->last_used = usage.last_used;
		sum->last_from = usage.last_from;
	}
	sum->old_secret_used = Max(sum->old_secret_used, usage.old_secret_used);
	sum->last_refused = Max(sum->last_refused, usage.last_refused);
}

AK_FUNCTION_INFO_V1(apikey_last_used);
Datum
apikey_last_used(PG_FUNCTION_ARGS)
{
	AkUseRow	sum;

	ak_schema_accept();
	get_sum(PG_GETARG_UUID_P(0), &sum);
	if (sum.last_used == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(sum.last_used);
}

AK_FUNCTION_INFO_V1(apikey_last_used_from);
Datum
apikey_last_used_from(PG_FUNCTION_ARGS)
{
	AkUseRow	sum;
	Datum		address;

	ak_schema_accept();
	get_sum(PG_GETARG_UUID_P(0), &sum);
	if (!ak_client_inet(&sum.last_from, &address))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(address);
}

static Datum
return_sum(FunctionCallInfo fcinfo, const AkUseRow *sum)
{
	Datum		address;
	bool		unknown = !ak_client_inet(&sum->last_from, &address);
	Datum		values[] = {
		Int64GetDatum(sum->uses), Int64GetDatum(sum->refusals),
		TimestampTzGetDatum(sum->last_used), unknown ? (Datum) 0 : address,
		TimestampTzGetDatum(sum->old_secret_used),
		TimestampTzGetDatum(sum->last_refused)
	};
	bool		nulls[] = {
		false, false, sum->last_used == 0, unknown, sum->old_secret_used == 0,
		sum->last_refused == 0
	};

	return ak_result_record(fcinfo, values, nulls);
}

AK_FUNCTION_INFO_V1(apikey_usage_of);
Datum
apikey_usage_of(PG_FUNCTION_ARGS)
{
	AkUseRow	sum;

	ak_schema_accept();
	ak_counts_require("counts of use");
	get_sum(PG_GETARG_UUID_P(0), &sum);
	return return_sum(fcinfo, &sum);
}

static void
put_hour(ReturnSetInfo *result, TimestampTz hour, int64 uses, int64 refusals)
{
	Datum		values[] = {
		TimestampTzGetDatum(hour), Int64GetDatum(uses), Int64GetDatum(refusals)
	};
	bool		nulls[lengthof(values)] = {0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

AK_FUNCTION_INFO_V1(apikey_usage_hours_of);
Datum
apikey_usage_hours_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);
	AkCounts	usage;
	Snapshot	snapshot;
	AkUseHourRow *rows;
	int			nrows;
	int			next = 0;

	ak_schema_accept();
	ak_counts_require("counts of use");
	InitMaterializedSRF(fcinfo, 0);
	if (!get_usage(id, &usage, &snapshot))
		usage.nhours = 0;
	nrows = ak_store_use_hours(snapshot, id, &rows);
	ak_store_release(snapshot);

	/* both are in order */
	for (int i = 0; i < usage.nhours; i++)
	{
		AkCountsHour *hour = &usage.hours[i];
		TimestampTz time = hour->hour * USECS_PER_HOUR;

		for (; next < nrows && rows[next].hour < time; next++)
			put_hour(result, rows[next].hour, rows[next].uses,
					 rows[next].refusals);
		if (next < nrows && rows[next].hour == time)
		{
			hour->uses += rows[next].uses;
			hour->refusals += rows[next++].refusals;
		}
		put_hour(result, time, hour->uses, hour->refusals);
	}
	for (; next < nrows; next++)
		put_hour(result, rows[next].hour, rows[next].uses, rows[next].refusals);
	return (Datum) 0;
}

static void
put_guess(ReturnSetInfo *result, const AkGuesses *guess)
{
	Datum		address;
	bool		unknown = !ak_client_place_inet(guess->address, &address);
	Datum		values[] = {
		unknown ? (Datum) 0 : address, Int64GetDatum(guess->refusals),
		Int64GetDatum(guess->over), TimestampTzGetDatum(guess->first),
		TimestampTzGetDatum(guess->last)
	};
	bool		nulls[lengthof(values)] = {unknown};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

AK_FUNCTION_INFO_V1(apikey_guesses_here);
Datum
apikey_guesses_here(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AkGuesses  *guesses;
	int			count;

	ak_schema_accept();
	ak_counts_require("counts of refusals");
	InitMaterializedSRF(fcinfo, 0);
	count = ak_guess_list(&guesses);
	for (int i = 0; i < count; i++)
		put_guess(result, &guesses[i]);
	return (Datum) 0;
}

/* What is shown of the tallies: the counter, and of a refusal why. */
static const struct
{
	int			what;
	const char *counter;
	const char *reason;
}			counters[] = {
	{AK_REASON_GOOD, "uses", NULL},
	{AK_REASON_INVALID_KEY, "guesses", NULL},
	{AK_REASON_SUPERSEDED, "refusals", "superseded"},
	{AK_REASON_REVOKED, "refusals", "revoked"},
	{AK_REASON_EXPIRED, "refusals", "expired"},
	{AK_REASON_DISABLED, "refusals", "disabled"},
	{AK_REASON_SUSPENDED, "refusals", "suspended"},
	{AK_REASON_QUARANTINED, "refusals", "quarantined"},
	{AK_REASON_OUTSIDE_NETWORKS, "refusals", "networks"},
	{AK_REASON_COPYING, "refusals", "copying"},
	{AK_REASON_STALE, "refusals", "stale"},
	{AK_REASON_DEAF, "refusals", "trigger"},
	{AK_REASON_OVER_LIMIT, "refusals", "rate_limit"},
	{AK_REASON_OVER_BUDGET, "refusals", "budget"},
	{AK_REASON_NO_GRANT, "refusals", "grant"},
	{AK_TALLY_BUILDS, "cache_builds", NULL},
	{AK_TALLY_EVICTIONS, "cache_evictions", NULL}
};

AK_FUNCTION_INFO_V1(apikey_counters_here);
Datum
apikey_counters_here(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		sums[AK_TALLIES];

	InitMaterializedSRF(fcinfo, 0);
	if (!ak_counts_is_on())
		return (Datum) 0;
	ak_tally_sum(sums);
	for (Size i = 0; i < lengthof(counters); i++)
	{
		const char *reason = counters[i].reason;
		Datum		values[] = {
			CStringGetTextDatum(counters[i].counter),
			reason == NULL ? (Datum) 0 : CStringGetTextDatum(reason),
			Int64GetDatum(sums[counters[i].what])
		};
		bool		nulls[] = {false, reason == NULL, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static Datum
return_totals(FunctionCallInfo fcinfo, const AkCountsTotals *totals)
{
	Datum		values[] = {
		Int64GetDatum(totals->keys), Int64GetDatum(totals->pending),
		Int64GetDatum(totals->capacity), Int64GetDatum(totals->bytes),
		Int64GetDatum(totals->uses), Int64GetDatum(totals->refusals),
		TimestampTzGetDatum(totals->flushed)
	};
	bool		nulls[] = {
		false, false, false, false, false, false, totals->flushed == 0
	};

	return ak_result_record(fcinfo, values, nulls);
}

AK_FUNCTION_INFO_V1(apikey_usage_stats);
Datum
apikey_usage_stats(PG_FUNCTION_ARGS)
{
	AkCountsTotals totals;

	ak_actor_refuse_key();
	ak_counts_require("counts of use");
	ak_counts_totals(&totals);
	return return_totals(fcinfo, &totals);
}
