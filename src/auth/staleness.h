/*
 * staleness.h
 *		A database that subscribes to the keys of another one refuses every key until it
 *		has all, and when it has heard nothing for too long; and any database does while
 *		a trigger by which its backends hear of changes does not fire.
 *
 * The publisher renews the one row of apikey_heartbeat, by its own clock.  It is stale when
 * it is older, by our clock, than the max_staleness of a subscription in
 * apikey_subscription, when it is as much later, and when it is missing.  Why it was not renewed does not matter: no
 * connection, an error that stops the apply worker, a subscription that is disabled or
 * dropped, a publisher that is dead.
 *
 * No message comes when time passes.  So a backend keeps until when it need not look again,
 * and reads the row anew only after that, once a statement.  A change of apikey_subscription
 * names all parts, see inval.h.
 *
 * Triggers are looked at with the tables that a backend has looked up, see schema.h, and after
 * each message about one of these: ALTER TABLE sends one.  Those that a restored dump has fire
 * for changes by SQL alone, which is enough where nothing is replicated.
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

typedef enum AkStale
{
	AK_STALE_NOT = 0,
	AK_STALE_COPYING,			/* keys are still being copied */
	AK_STALE_UNHEARD,			/* nothing was heard for too long */
	AK_STALE_DEAF				/* a trigger does not fire */
} AkStale;

/* As of the last look: why are they refused? */
extern AkStale ak_staleness_why;

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
