/*
 * ratelimit.h
 *		The rate limit of a key: its text, its bounds, its arithmetic.
 *
 * "n per interval [burst b]": '100 per minute', '5 per 10 seconds burst 20',
 * '10/second'.  The interval is what the type interval takes, a unit alone means
 * one of it, a day is 24 hours.  Left out, b is n.
 *
 * At most b pass at once; then one each interval/n.  So in any time t at most
 * b + n * t/interval pass, and b after a long rest.  This is GCRA: the only
 * state of a key is one time, its "tat" (theoretical arrival time), when
 * it will have rested long enough for b at once.  interval/n is rounded up to
 * nanoseconds: that takes up to a thousandth of the rate, where this is a million
 * a second, and never adds to it.
 */
#ifndef AK_RATELIMIT_H
#define AK_RATELIMIT_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct AkRateLimit
{
	int32		count;			/* n; 0: no limit, the rest counts for nothing */
	int32		burst;			/* b */
	int64		interval;		/* microseconds */
} AkRateLimit;

/* The bounds; besides no more than one a microsecond, and b within 366 days. */
#define AK_RATE_COUNT_MAX		1000000000	/* n, and b as well */
#define AK_RATE_INTERVAL_MIN	INT64CONST(1000)
#define AK_RATE_INTERVAL_MAX	(366 * USECS_PER_DAY)

/* Raises 22023, with detail and hint, for any other text. */
extern void ak_ratelimit_parse(AkRateLimit *limit, const char *str);

/* The shortest such text, palloc'd; the same whatever the settings. */
extern char *ak_ratelimit_print(const AkRateLimit *limit);

/*
 * As a table keeps it.  The first raises 22023 for what is out of bounds, the
 * second returns false.
 */
extern void ak_ratelimit_require(AkRateLimit *limit, int32 count,
								 const Interval *interval, int32 burst);
extern bool ak_ratelimit_read(AkRateLimit *limit, int32 count,
							  const Interval *interval, int32 burst);

/* And back: days and the rest; palloc'd. */
extern Interval *ak_ratelimit_interval(const AkRateLimit *limit);

/* Does "inner" never let pass what "outer" would not? */
extern bool ak_ratelimit_within(const AkRateLimit *inner,
								const AkRateLimit *outer);

/*
 * May one pass now?  Times are nanoseconds since 2000-01-01; the "tat" of a key
 * that was never seen is 0.  If so, "tat" moves on, and "wait" is 0; else "wait"
 * is how long until it would.  Not for a count of 0.
 *
 * A "tat" further in the future than b makes it, for the clock was set back or
 * the limit was another one, is brought back to that, and must be stored then
 * even if nothing passed: else the key would be refused until the clock is there
 * again.
 */
extern bool ak_ratelimit_take(const AkRateLimit *limit, int64 now, int64 *tat,
							  int64 *wait);

/* How many would pass at once now. */
extern int64 ak_ratelimit_remaining(const AkRateLimit *limit, int64 now,
									int64 tat);

/* A wait of so many nanoseconds, in seconds, rounded up to ms: "0.250"; palloc'd. */
extern char *ak_ratelimit_print_wait(int64 wait);

#endif							/* AK_RATELIMIT_H */
