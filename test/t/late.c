/*
 * late.c
 *		Holds up a COMMIT, for 048_late.pl: when others can see what it has done, and
 *		before it sends its invalidation messages.
 *
 * PostgreSQL calls these callbacks in between.  There nothing can fail, nor wait for a lock.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(hold_next_commit);

static char held_by[MAXPGPATH]; /* as long as there is this file */

static void
hold_commit(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT)
		return;
	while (held_by[0] != '\0' && access(held_by, F_OK) == 0)
		pg_usleep(10 * 1000L);
	held_by[0] = '\0';
}

/* Takes the path of a file, as a C string. */
Datum
hold_next_commit(PG_FUNCTION_ARGS)
{
	static bool registered;

	if (!registered)
		RegisterXactCallback(hold_commit, NULL);
	registered = true;
	strlcpy(held_by, PG_GETARG_CSTRING(0), sizeof(held_by));
	PG_RETURN_VOID();
}
