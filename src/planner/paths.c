/*
 * paths.c
 *		Ways of our own to read tables, offered to the planner; see paths.h.
 *
 * Here is the hook, which is called for each table when PostgreSQL has collected its own
 * ways to read it; for one with partitions, after these.
 */
#include "postgres.h"

#include "planner/paths.h"

#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "planner/choice.h"
#include "planner/ordered.h"
#include "planner/prune.h"
#include "planner/support.h"

static set_rel_pathlist_hook_type next_add_paths;

RestrictInfo *
ak_paths_call(RelOptInfo *rel)
{
	RestrictInfo *result = NULL;
	AkLevel		level = AK_LEVEL_NONE;
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		AkCall		call;

		if (!ak_support_is_call((Node *) rinfo->clause) ||
			!restriction_is_securely_promotable(rinfo, rel))
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
add_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *entry)
{
	RestrictInfo *call;

	if (next_add_paths != NULL)
		next_add_paths(root, rel, rti, entry);
	if (entry->rtekind != RTE_RELATION)
		return;
	ak_prune_add(root, rel);
	call = ak_paths_call(rel);
	if (call == NULL)
		return;
	ak_ordered_add_paths(root, rel, entry);
	ak_choice_add_paths(root, rel, call);
}

void
ak_paths_init(void)
{
	next_add_paths = set_rel_pathlist_hook;
	set_rel_pathlist_hook = add_paths;
}
