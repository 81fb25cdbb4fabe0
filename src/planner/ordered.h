/*
 * ordered.h
 *		Rows of a key in an order, from the projects that it reaches.
 */
#ifndef AK_ORDERED_H
#define AK_ORDERED_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/* To be called by _PG_init. */
extern void ak_ordered_init(void);

/*
 * Add the ordered scans of a table, not one with partitions, that a call of
 * apikey_authorize among its conditions makes possible.
 */
extern void ak_ordered_add_paths(PlannerInfo *root, RelOptInfo *rel,
								 RangeTblEntry *entry);

#endif							/* AK_ORDERED_H */
