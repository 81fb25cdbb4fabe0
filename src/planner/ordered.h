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

/* Why a table of a query has no ordered scan: what is met first. */
typedef enum AkOrderedRefusal
{
	AK_ORDERED_OFFERED = 0,		/* it has one, if the planner takes that */
	AK_ORDERED_NO_CALL,			/* of apikey_authorize among its conditions */
	AK_ORDERED_BEHIND,			/* all calls are checked after other policies */
	AK_ORDERED_NO_ORDER,		/* is asked for */
	AK_ORDERED_OFF,				/* by apikey.enable_ordered_scan */
	AK_ORDERED_NO_INDEX_SCAN,	/* by enable_indexscan */
	AK_ORDERED_SAMPLED,			/* by TABLESAMPLE, or it depends on others */
	AK_ORDERED_VOLATILE,		/* a condition is */
	AK_ORDERED_NO_INDEX,		/* has the order behind the project */
	AK_ORDERED_NOT_FIXED,		/* but behind a column that the query does not
								 * fix */
	AK_ORDERED_NO_LIST			/* but the key's projects cannot be looked for */
} AkOrderedRefusal;

/*
 * Add the ordered scans of a table, not one with partitions, that a call of
 * apikey_authorize among its conditions makes possible; or say why there is none.
 */
extern AkOrderedRefusal ak_ordered_add_paths(PlannerInfo *root, RelOptInfo *rel,
											 RangeTblEntry *entry);

#endif							/* AK_ORDERED_H */
