/*
 * plans.h
 *		Going through plans.
 */
#ifndef AK_PLANS_H
#define AK_PLANS_H

#include "postgres.h"

#include "nodes/plannodes.h"

/* Is called with a plan, never NULL; true ends it. */
typedef bool (*AkPlanWalker) (Plan *plan, void *context);

/*
 * Call a function for each plan right below one, but not for subplans of expressions, as
 * planstate_tree_walker() does for those that are being executed.  Returns whether it has
 * returned true.
 */
extern bool ak_plans_walk_below(Plan *plan, AkPlanWalker walker, void *context);

/* For each of a list. */
extern bool ak_plans_walk(List *plans, AkPlanWalker walker, void *context);

#endif							/* AK_PLANS_H */
