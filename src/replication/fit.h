/*
 * fit.h
 *		Does a publisher fit this database?
 */
#ifndef AK_FIT_H
#define AK_FIT_H

#include "postgres.h"

#include "base/compat.h"
#include "replication/publisher.h"

/* The replication slot of a subscription that is being made */
typedef enum AkSlotState
{
	AK_SLOT_NONE = 0,
	AK_SLOT_WANTED,				/* its making was asked for, and not answered
								 * yet */
	AK_SLOT_MADE
}			AkSlotState;

/* The subscription */
typedef struct AkMaking
{
	const char *connection;
	const char *name;			/* of the slot, too */
	const char *publication;
	Interval   *max_staleness;	/* NULL: any */
	AkPublisher *publisher;
	bool		failover;		/* can its slot go along to a standby? */
	AkSlotState slot;
	Oid			oid;
}			AkMaking;

/*
 * Raises 22023, 55000, 42704, 42710, 42501 or 55006 unless it has the extension, of a
 * version that fits, a publication of just what decides, the same key files, a heartbeat
 * that comes often enough, and room for a slot of this name.  Fills in "failover".
 */
extern void ak_fit_check(AkMaking * making);

/*
 * How long ago was its heartbeat, in microseconds?  "every" is 0 if it does not come again.
 * False if there is none.  Raises 55000 if the key files differ.
 */
extern bool ak_fit_heartbeat(const AkMaking * making, int64 *age, int64 *every);

/*
 * Raises 55000 or 22023 if heartbeats that come so often, in microseconds, 0 for never, do
 * not allow for this max_staleness.
 */
extern void ak_fit_staleness(const Interval *max_staleness, int64 every);

/* Raises 55000. */
pg_noreturn extern void ak_fit_refuse(const char *message, const char *hint);

#endif							/* AK_FIT_H */
