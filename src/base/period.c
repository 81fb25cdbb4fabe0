/*
 * period.c
 *		Periods that follow each other without a gap; see period.h.
 */
#include "postgres.h"

#include "base/period.h"

#include <math.h>

#include "base/compat.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define USECS_PER_MONTH	(365.2425 / 12 * USECS_PER_DAY) /* on average */

/* Days of UTC are all of a length. */
static int64
get_time(const Interval *length)
{
	return length->day * USECS_PER_DAY + length->time;
}

/* About how long is it?  Cannot overflow. */
static double
estimate(const Interval *length)
{
	return length->month * USECS_PER_MONTH +
		(double) length->day * USECS_PER_DAY + (double) length->time;
}

void
ak_period_check(const Interval *length, const char *what)
{
	double		time = (double) length->day * USECS_PER_DAY +
	(double) length->time;

	if (estimate(length) < USECS_PER_SEC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least a second", what),
				 errhint("Write it like '1 month' or '12 hours'.")));
	if (length->month < 0 || time < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative in part", what)));
	/* ten years may have three leap days */
	if (length->month > 120 || abs(length->day) > 3653 ||
		estimate(length) > 3653.0 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at most ten years", what)));
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
get_begin(TimestampTz first, const Interval *length, int64 n)
{
	Interval	span = {.month = n * length->month};

	if (pg_mul_s64_overflow(n, get_time(length), &span.time))
		refuse_range();
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval,
												 TimestampGetDatum(first),
												 IntervalPGetDatum(&span)));
}

AkPeriod
ak_period_find(TimestampTz first, const Interval *length, TimestampTz at)
{
	AkPeriod	period;
	int64		n;

	if (TIMESTAMP_NOT_FINITE(first) || TIMESTAMP_NOT_FINITE(at))
		refuse_range();
	/* a guess that is one or two off, as months are longer or shorter */
	n = (int64) Max(0, floor(((double) at - (double) first) / estimate(length)));
	while (n > 0 && get_begin(first, length, n) > at)
		n--;
	while (get_begin(first, length, n + 1) <= at)
		n++;
	period.begins = get_begin(first, length, n);
	period.ends = get_begin(first, length, n + 1);
	return period;
}
