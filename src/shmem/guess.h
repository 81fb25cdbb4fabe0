/*
 * guess.h
 *		Guesses: refusals of texts that are not keys, by the address of the client.
 *
 * The address that was silent for longest makes room for another.  Nothing is kept when
 * the server stops.
 */
#ifndef AK_GUESS_H
#define AK_GUESS_H

#include "postgres.h"

#include "base/client.h"
#include "datatype/timestamp.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_guess_init(void);

/*
 * Count a refusal, by the clock: a statement can begin, wait and go on.  True if this is
 * more than apikey.guess_limit a minute from there; as many may come at once.
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

/* Those of this database, palloc'd; returns how many. */
extern int	ak_guess_list(AkGuesses **guesses);

#endif							/* AK_GUESS_H */
