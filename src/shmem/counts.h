/*
 * counts.h
 *		Use counts and limits of keys, as all backends know them.
 *
 * For each key that was used lately: when last and from where, how often in which hour,
 * and how far its rate limit is used up.  What is *pending* is in no table yet; a worker
 * takes it there.  A key of which nothing is pending makes room for another.  A standby
 * has counts of its own.
 *
 * Only the first three functions may be called where the extension is not preloaded.
 *
 * Times are in microseconds as TimestampTz; those of rate limits in nanoseconds since
 * the same day.  An hour is a number of hours since then.
 */
#ifndef AK_COUNTS_H
#define AK_COUNTS_H

#include "postgres.h"

#include "base/client.h"
#include "base/ratelimit.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* To be called by _PG_init. */
extern void ak_counts_init(void);

/* Is the extension preloaded? */
extern bool ak_counts_is_on(void);

/* Raises 55000 unless it is: "<what> need the extension to be preloaded". */
extern void ak_counts_require(const char *what);

/* ------------------------------------------------------------ recording */

/* What a statement did with a key. */
typedef struct AkCountsUse
{
	TimestampTz at;
	bool		used;			/* is it to be counted? */
	bool		refused;		/* likewise */
	bool		old_secret;		/* that is what a good key was proved by */
	AkAddress	from;
} AkCountsUse;

/*
 * Count it for a key of this database.  Where there is no room it waits for some; if none
 * comes, the count goes to AkCountsTotals alone.  "last" is where this backend looks
 * first, 0 at first.
 */
extern void ak_counts_add(const pg_uuid_t *id, const AkCountsUse *use,
						  int32 *last);

typedef enum AkCountsLimit
{
	AK_COUNTS_UNKNOWN = 0,		/* ak_counts_know() is due */
	AK_COUNTS_OVER,
	AK_COUNTS_WITHIN
} AkCountsLimit;

/*
 * One more call now by a key with this limit.  If that is over it, *wait is how many
 * nanoseconds until it would not be.  Where "remaining" is not NULL nothing is taken, and
 * it becomes how many more would be within the limit.
 */
extern AkCountsLimit ak_counts_limit(const pg_uuid_t *id,
									 const AkRateLimit *limit, int64 *wait,
									 int64 *remaining);

/*
 * How far the limit was used up when that was last written to the table, 0 for never.
 * "epoch" is that before the table was read.  Does nothing if something was flushed
 * since, or if it is known.  Raises 53400 if there is no room.
 */
extern uint32 ak_counts_epoch(void);
extern void ak_counts_know(const pg_uuid_t *id, int64 until, uint32 epoch);

/* -------------------------------------------------------------- reading */

/* The last hours are kept apart; the sum of those before counts as the latest of them. */
#define AK_COUNTS_HOURS	24
#define AK_COUNTS_ALL_HOURS	(AK_COUNTS_HOURS + 2)

typedef struct AkCountsHour
{
	int32		hour;
	int64		uses;
	int64		refusals;
} AkCountsHour;

/* What is pending of a key */
typedef struct AkCounts
{
	pg_uuid_t	id;
	TimestampTz last_used;		/* 0: not known here */
	AkAddress	last_from;		/* of that use */
	TimestampTz old_secret_used;
	TimestampTz last_refused;
	int64		limit_until;	/* 0: not known here */
	int			nhours;
	AkCountsHour hours[AK_COUNTS_ALL_HOURS];	/* oldest first */
} AkCounts;

/* Of a key of this database; false if nothing is known. */
extern bool ak_counts_get(const pg_uuid_t *id, AkCounts *counts);

/* Was any key of this database used here, or refused, as far as is still known? */
extern bool ak_counts_any(void);

/*
 * What was read from the table and from here belongs together if this was true, with
 * the same epoch, before and after: no flush was about to end.
 */
extern bool ak_counts_is_quiet(uint32 *epoch);

typedef struct AkCountsTotals
{
	int64		keys;			/* known now */
	int64		pending;		/* of which something is pending */
	int64		capacity;		/* how many keys there is room for */
	int64		bytes;			/* of shared memory */
	int64		uses;			/* lost for want of room, since the server
								 * started */
	int64		refusals;		/* likewise */
	TimestampTz flushed;		/* last; 0: not yet */
} AkCountsTotals;

extern void ak_counts_totals(AkCountsTotals *totals);

/* ------------------------------------------------------------- flushing */

/* Databases where something is pending; palloc'd. */
extern int	ak_counts_databases(Oid **databases);

/* All that is pending in a database; palloc'd, may be huge. */
extern int	ak_counts_pending(Oid database, AkCounts **counts);

/* To be called right before the commit of a transaction that wrote it down. */
extern void ak_counts_flush_begins(void);

/* And right after: that is not pending any more. */
extern void ak_counts_flushed(Oid database, const AkCounts *counts, int count);

/* What was counted in this database before then does not matter any more. */
extern void ak_counts_forget(Oid database, TimestampTz before);

#endif							/* AK_COUNTS_H */
