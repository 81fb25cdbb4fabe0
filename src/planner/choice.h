/*
 * choice.h
 *		Two ways to read a table: which one, is chosen when a plan is begun.
 *
 * A plan that is made for a key that sees much may read the whole table, and be kept for
 * keys that see little: a statement without parameters is planned once.  So where the
 * planner would read all of a table that is not small, and an index could find the rows
 * of the key's projects, it is offered a node that has both plans, and chooses by the key
 * that is there.  Cost and rows are those of the plan that it stands for.
 */
#ifndef AK_CHOICE_H
#define AK_CHOICE_H

#include "postgres.h"

#include "nodes/extensible.h"
#include "nodes/pathnodes.h"

/* Of the node. */
extern const CustomScanMethods ak_choice_methods;

/* To be called by _PG_init. */
extern void ak_choice_init(void);

/*
 * Offer such a node for a table, when all other paths are there.  "call" is the condition
 * on it that is a call of apikey_authorize.
 */
extern void ak_choice_add_paths(PlannerInfo *root, RelOptInfo *rel,
								RestrictInfo *call);

#endif							/* AK_CHOICE_H */
