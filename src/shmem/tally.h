/*
 * tally.h
 *		What all backends of this server have counted since it started, in whatever
 *		database.
 *
 * Each backend counts for itself, without a lock or an atomic addition: a counter that
 * all of them shared would be a cache line that all of them wait for.  Who asks adds up.
 * What a backend has counted stays when it ends; nothing is kept when the server stops.
 *
 * Only the first may be called where the extension is not preloaded.
 */
#ifndef AK_TALLY_H
#define AK_TALLY_H

#include "postgres.h"

/* What is counted: outcomes, by AkReason of authz.h, and what the key cache does. */
#define AK_TALLY_OUTCOMES	30

typedef enum AkTally
{
	AK_TALLY_BUILDS = AK_TALLY_OUTCOMES,	/* keys that were read into a
											 * cache */
	AK_TALLY_EVICTIONS,			/* and that made room for another one there */
	AK_TALLIES
}			AkTally;

/* One more.  Does nothing where the extension is not preloaded, or in no backend. */
extern void ak_tally_count(int what);

/* How often so far, by any backend. */
extern void ak_tally_sum(int64 sums[AK_TALLIES]);

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_tally_init(void);

#endif							/* AK_TALLY_H */
