/*
 * plans.c
 *		Going through plans; see plans.h.
 */
#include "postgres.h"

#include "planner/plans.h"

#include "miscadmin.h"

bool
ak_plans_walk(List *plans, AkPlanWalker walker, void *context)
{
	ListCell   *cell;

	foreach(cell, plans)
	{
		/* there may be gaps in a list of subplans */
		if (lfirst(cell) != NULL && walker(lfirst(cell), context))
			return true;
	}
	return false;
}

/* Those of a node that may have more than two. */
static List *
get_others(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
			return ((const Append *) plan)->appendplans;
		case T_MergeAppend:
			return ((const MergeAppend *) plan)->mergeplans;
		case T_BitmapAnd:
			return ((const BitmapAnd *) plan)->bitmapplans;
		case T_BitmapOr:
			return ((const BitmapOr *) plan)->bitmapplans;
		case T_CustomScan:
			return ((const CustomScan *) plan)->custom_plans;
		default:
			return NIL;
	}
}

bool
ak_plans_walk_below(Plan *plan, AkPlanWalker walker, void *context)
{
	check_stack_depth();
	if (outerPlan(plan) != NULL && walker(outerPlan(plan), context))
		return true;
	if (innerPlan(plan) != NULL && walker(innerPlan(plan), context))
		return true;
	if (IsA(plan, SubqueryScan) && walker(((SubqueryScan *) plan)->subplan, context))
		return true;
	return ak_plans_walk(get_others(plan), walker, context);
}
