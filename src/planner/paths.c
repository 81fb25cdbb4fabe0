/*
 * paths.c
 *		What the planner is told of a table; see paths.h.
 *
 * Here are the hooks.  One is called for each table of a query when the planner has
 * simplified all expressions, but has not looked at any condition.  A backend that has not
 * loaded the library has done so by then: to simplify a call, it called its support
 * function.  The other is called when PostgreSQL has collected its own ways to read the
 * table; for one with partitions, after these.
 */
#include "postgres.h"

#include "planner/paths.h"

#include "base/compat.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "optimizer/restrictinfo.h"
#include "planner/choice.h"
#include "planner/leakproof.h"
#include "planner/notes.h"
#include "planner/ordered.h"
#include "planner/organization.h"
#include "planner/prune.h"
#include "planner/support.h"

static build_simple_rel_hook_type next_build_rel;
static set_rel_pathlist_hook_type next_add_paths;

/*
 * The condition of a table that is a call of apikey_authorize on it, as strict as any
 * other one, and that may be checked before all others; NULL, and why, if there is none.
 */
static RestrictInfo *
find_strictest_call(RelOptInfo *rel, AkOrderedRefusal *refusal)
{
	RestrictInfo *result = NULL;
	AkLevel		level = AK_LEVEL_NONE;
	ListCell   *cell;

	*refusal = AK_ORDERED_NO_CALL;
	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		AkCall		call;

		if (!ak_support_is_call((Node *) rinfo->clause))
			continue;
		*refusal = AK_ORDERED_BEHIND;
		if (!restriction_is_securely_promotable(rinfo, rel))
			continue;
		call = ak_support_call(((FuncExpr *) rinfo->clause)->args);
		if (result == NULL || call.level > level)
		{
			result = rinfo;
			level = call.level;
		}
	}
	return result;
}

static void
replace_calls(PlannerInfo *root, AK_BUILD_REL_PARAMETERS)
{
	if (next_build_rel != NULL)
		next_build_rel(root, AK_BUILD_REL_ARGUMENTS);
	if (rel->rtekind != RTE_RELATION)
		return;
	ak_organization_replace(root, rel);
	ak_leakproof_replace(root, rel);
}

static void
add_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *entry)
{
	AkOrderedRefusal refusal;
	RestrictInfo *call;

	if (next_add_paths != NULL)
		next_add_paths(root, rel, rti, entry);
	if (entry->rtekind != RTE_RELATION)
		return;
	ak_prune_add(root, rel);
	call = find_strictest_call(rel, &refusal);
	if (call != NULL)
	{
		refusal = ak_ordered_add_paths(root, rel, entry);
		ak_choice_add_paths(root, rel, call);
	}
	ak_notes_add(root, rel, refusal, call);
}

void
ak_paths_init(void)
{
	next_build_rel = build_simple_rel_hook;
	build_simple_rel_hook = replace_calls;
	next_add_paths = set_rel_pathlist_hook;
	set_rel_pathlist_hook = add_paths;
}
