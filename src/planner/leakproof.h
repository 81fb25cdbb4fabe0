/*
 * leakproof.h
 *		Calls of apikey_authorize behind a restrictive policy.
 */
#ifndef AK_LEAKPROOF_H
#define AK_LEAKPROOF_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/*
 * Replace those in the policies of a table of a query that stand behind others, before the
 * planner looks at its conditions.
 */
extern void ak_leakproof_replace(PlannerInfo *root, RelOptInfo *rel);

#endif							/* AK_LEAKPROOF_H */
