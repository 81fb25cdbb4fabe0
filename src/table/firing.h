/*
 * firing.h
 *		Do the triggers fire by which backends hear of changes of our tables?
 *
 * ALTER TABLE can have a trigger fire for all changes, as the script does; for those by SQL
 * alone, which is what pg_restore --disable-triggers leaves; for those that are replicated
 * alone; or never.
 */
#ifndef AK_FIRING_H
#define AK_FIRING_H

#include "postgres.h"

#define AK_FIRING_TRIGGERS	2	/* of apikey_changed, on each table */

typedef struct AkFiring
{
	bool		known;
	char		enabled[AK_FIRING_TRIGGERS];	/* as in pg_trigger; 0: there
												 * is none */
	TransactionId written[AK_FIRING_TRIGGERS];	/* who altered it last */
} AkFiring;

/* Read about the triggers of one of our tables: all bytes of "firing" are filled in. */
extern void ak_firing_read(Oid relation, AkFiring *firing);

/*
 * The name of one that does not fire for each change by SQL; or, if rows are "replicated",
 * for each at all.  NULL: there is none.
 */
extern const char *ak_firing_silent(const AkFiring *firing, bool replicated);

#endif							/* AK_FIRING_H */
