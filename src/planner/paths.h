/*
 * paths.h
 *		What the planner is told of a table: other conditions, and ways to read it.
 */
#ifndef AK_PATHS_H
#define AK_PATHS_H

#include "postgres.h"

/* To be called by _PG_init. */
extern void ak_paths_init(void);

#endif							/* AK_PATHS_H */
