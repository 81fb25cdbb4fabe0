/*
 * guess.h
 *		Who sends what is no key: refusals by address, in shared memory.
 *
 * As in counts.h, there is some only where the extension is preloaded.  Of many
 * addresses the one that was silent for longest makes room for another; nothing
 * is kept when the server stops.
 */
#ifndef AK_GUESS_H
#define AK_GUESS_H

#include "postgres.h"

#include "base/client.h"
#include "datatype/timestamp.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_guess_init(void);

/*
 * Somebody sent something that is no key, now: not at the time of the statement,
 * for one could begin a statement, wait, and go on in it.  True if that was more
 * than apikey.guess_limit a minute from there; as many may come at once.
 */
extern bool ak_guess_count(const uint8 address[AK_ADDRESS_LEN]);

typedef struct AkGuesses
{
	uint8		address[AK_ADDRESS_LEN];
	int64		refusals;
	int64		over;			/* those over the limit */
	TimestampTz first;
	TimestampTz last;
} AkGuesses;

/* Of this database; palloc'd. */
extern int	ak_guess_list(AkGuesses **guesses);

#endif							/* AK_GUESS_H */
