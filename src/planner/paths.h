/*
 * paths.h
 *		Ways of our own to read tables, offered to the planner.
 */
#ifndef AK_PATHS_H
#define AK_PATHS_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/* To be called by _PG_init. */
extern void ak_paths_init(void);

/*
 * The condition of a table that is a call of apikey_authorize on it, as strict as any
 * other one, and that may be checked before all others; NULL if there is none.
 */
extern RestrictInfo *ak_paths_call(RelOptInfo *rel);

#endif							/* AK_PATHS_H */
