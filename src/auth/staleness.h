/*
 * staleness.h
 *		A database that subscribes to the keys of another one refuses every key until it
 *		has all, and when it has heard nothing for too long.
 *
 * The publisher renews the one row of apikey_heartbeat, by its own clock.  It is stale when
 * it is older, by our clock, than the max_staleness of a subscription in
 * apikey_subscription, and when it is missing.  Why it was not renewed does not matter: no
 * connection, an error that stops the apply worker, a subscription that is disabled or
 * dropped, a publisher that is dead.
 *
 * No message comes when time passes.  So a backend keeps until when it need not look again,
 * and reads the row anew only after that, once a statement.  A change of apikey_subscription
 * names all parts, see inval.h.
 */
#ifndef AK_STALENESS_H
#define AK_STALENESS_H

#include "postgres.h"

#include "base/clock.h"
#include "base/inval.h"

/* Private to staleness.c, and the function below. */
extern uint64 ak_staleness_generation;
extern TimestampTz ak_staleness_look_at;	/* DT_NOEND: never */
extern bool ak_staleness_look(void);

/* As of the last look: does it refuse them because they are still being copied? */
extern bool ak_staleness_copying;

/*
 * Is every key to be refused?  ak_schema_accept() must have been called.  Where the
 * database does not subscribe, or has heard something lately, two comparisons.
 */
static inline bool
ak_staleness_refuses(void)
{
	if (likely(ak_staleness_generation == ak_inval_schema &&
			   (ak_staleness_look_at == DT_NOEND ||
				ak_staleness_look_at >= ak_clock_now())))
		return false;
	return ak_staleness_look();
}

/*
 * An interval of a fixed length, in microseconds: a day has 24 hours.  0 for one that has
 * none, is not positive, or longer than AK_STALENESS_MAX.
 */
extern int64 ak_staleness_span(const Interval *interval);

#define AK_STALENESS_MAX	(366 * USECS_PER_DAY)

#endif							/* AK_STALENESS_H */
