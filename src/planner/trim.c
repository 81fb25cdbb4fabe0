/*
 * trim.c
 *		A plan is begun without the partitions that the key has no projects in; see trim.h.
 *
 * Before a plan that calls us in the steps by which PostgreSQL finds partitions begins, it
 * is copied, as far as it must differ, without what these steps leave out: all those that
 * PostgreSQL would go through at the start, whoever's condition they are of.  Where a step
 * compares with a list, see prune.c, the partitions are those of any of its values.  So
 * all is decided once, before a node of the plan is there:
 *
 * - Of the partitions that are left out nothing is made or opened, but the locks that
 *   PostgreSQL takes on all relations of a plan; an UPDATE or DELETE does not open them as
 *   what it changes, either.
 * - The processes of a parallel query get the leader's plan.  They could find others, by
 *   what is committed by then, and tell each other *numbers* of partitions.
 * - The plan that is kept for the next execution is as it was.
 *
 * What is left is a plan like any other.  Steps that go by what a join finds for each row
 * stay in it, without the lists.
 */
#include "postgres.h"

#include "planner/trim.h"

#include "access/parallel.h"
#include "base/compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "planner/partition.h"
#include "planner/plans.h"
#include "planner/prune.h"
#include "utils/memutils.h"

static ExecutorStart_hook_type next_start;

/* Children of a plan node, for EXPLAIN to count. */
typedef struct Shortened
{
	List	  **children;
	List	   *all;
} Shortened;

typedef struct Trim
{
	const PlannedStmt *whole;
	PlannedStmt *statement;		/* the copy */
	AkPartitions *partitions;
	bool		explained;
	bool		backward;		/* a cursor may be told to go back */
	bool		shared;			/* with other processes, what is being copied */
	List	   *shortened;
	bool		changes;		/* is it a statement that changes tables? */
	Bitmapset  *removed;		/* if so: tables, in the range table */
} Trim;

/* ---------------------------------------------------- is there anything to do? */

static bool
steps_call_us(const PartitionPruneInfo *info)
{
	ListCell   *hierarchy;
	ListCell   *cell;

	if (info == NULL)
		return false;
	foreach(hierarchy, info->prune_infos)
	{
		foreach(cell, lfirst(hierarchy))
		{
			PartitionedRelPruneInfo *table = lfirst(cell);

			if (ak_prune_calls((Node *) table->initial_pruning_steps, NULL) ||
				ak_prune_calls((Node *) table->exec_pruning_steps, NULL))
				return true;
		}
	}
	return false;
}

static PartitionPruneInfo *
get_info(const PlannedStmt *statement, Plan *plan)
{
	if (IsA(plan, Append))
		return AK_PRUNE_INFO(statement, (Append *) plan);
	return AK_PRUNE_INFO(statement, (MergeAppend *) plan);
}

/* Is there a step with a call of ours in this plan of a statement? */
static bool
is_concerned(Plan *plan, void *statement)
{
	if ((IsA(plan, Append) || IsA(plan, MergeAppend)) &&
		steps_call_us(get_info(statement, plan)))
		return true;
	return ak_plans_walk_below(plan, is_concerned, statement);
}

static bool
has_partitions(const PlannedStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->rtable)
	{
		if (lfirst_node(RangeTblEntry, cell)->relkind == RELKIND_PARTITIONED_TABLE)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ the copy */

/* A node that may stand above partitions; NULL for any other. */
static Plan *
copy_node(const Plan *plan)
{
#define COPY(type) \
	case T_##type: \
		return memcpy(palloc(sizeof(type)), plan, sizeof(type))

	switch (nodeTag(plan))
	{
			COPY(Agg);
			COPY(Append);
			COPY(CustomScan);
			COPY(ForeignScan);
			COPY(Gather);
			COPY(GatherMerge);
			COPY(Group);
			COPY(Hash);
			COPY(HashJoin);
			COPY(IncrementalSort);
			COPY(Limit);
			COPY(LockRows);
			COPY(Material);
			COPY(Memoize);
			COPY(MergeAppend);
			COPY(MergeJoin);
			COPY(ModifyTable);
			COPY(NestLoop);
			COPY(ProjectSet);
			COPY(RecursiveUnion);
			COPY(Result);
			COPY(SetOp);
			COPY(Sort);
			COPY(SubqueryScan);
			COPY(Unique);
			COPY(WindowAgg);
		default:
			elog(ERROR, "unrecognized node type: %d", (int) nodeTag(plan));
			return NULL;
	}
#undef COPY
}

static List **
get_children(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
			return &((Append *) plan)->appendplans;
		case T_MergeAppend:
			return &((MergeAppend *) plan)->mergeplans;
		case T_CustomScan:
			return &((CustomScan *) plan)->custom_plans;
		default:
			return NULL;
	}
}

static Plan *trim_plan(Trim *trim, Plan *plan, const Plan *parent);

/* The same list if none of the plans is changed. */
static List *
trim_plans(Trim *trim, List *plans, const Plan *parent)
{
	List	   *result = NIL;
	bool		changed = false;
	ListCell   *cell;

	foreach(cell, plans)
	{
		Plan	   *plan = trim_plan(trim, lfirst(cell), parent);

		changed |= plan != lfirst(cell);
		result = lappend(result, plan);
	}
	return changed ? result : plans;
}

static bool
add_tables(Plan *plan, void *tables)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_CustomScan:
			if (((Scan *) plan)->scanrelid > 0)
				*(Bitmapset **) tables = bms_add_member(*(Bitmapset **) tables,
														((Scan *) plan)->scanrelid);
			break;
		case T_ForeignScan:
			/* of one table, or of several that are joined elsewhere */
			*(Bitmapset **) tables = bms_add_members(*(Bitmapset **) tables,
													 ((ForeignScan *) plan)->fs_base_relids);
			break;
		default:
			break;
	}
	return ak_plans_walk_below(plan, add_tables, tables);
}

/* See to it that the tables of a plan are opened. */
static void
keep_tables(Trim *trim, Plan *plan)
{
	Bitmapset **tables = ak_unprunable_tables(trim->statement);

	if (tables != NULL)
		(void) add_tables(plan, tables);
}

/*
 * No rows, in the place of an Append or MergeAppend.  It goes back where these do: a Result
 * can do so only if there is a plan below it, which is never executed.
 */
static Plan *
make_nothing(Trim *trim, Plan *plan)
{
	Result	   *result = makeNode(Result);
	ListCell   *cell;

	result->plan = *plan;
	result->plan.type = T_Result;
	result->plan.parallel_aware = false;
	result->plan.targetlist = NIL;
	foreach(cell, plan->targetlist)
	{
		TargetEntry *target = flatCopyTargetEntry(lfirst(cell));

		target->expr = (Expr *) makeNullConst(exprType((Node *) target->expr),
											  exprTypmod((Node *) target->expr),
											  exprCollation((Node *) target->expr));
		result->plan.targetlist = lappend(result->plan.targetlist, target);
	}
	result->resconstantqual = (Node *) list_make1(makeBoolConst(false, false));
	if (trim->backward)
	{
		result->plan.lefttree = trim_plan(trim, linitial(*get_children(plan)), &result->plan);
		keep_tables(trim, result->plan.lefttree);
	}
	else
		ak_replace_scan(result, IsA(plan, Append) ? ((Append *) plan)->apprelids :
						((MergeAppend *) plan)->apprelids);
	return &result->plan;
}

/*
 * May a child stand for a node that has no other, with its target list?  Not where names
 * in that matter; nor if EXPLAIN is to tell how many children there were, nor if only one
 * process may execute it.
 */
static bool
may_replace(const Trim *trim, const Plan *plan, const Plan *parent)
{
	return !trim->explained && !plan->parallel_aware && parent != NULL &&
		(IsA(parent, Agg) || IsA(parent, Limit));
}

/* Note the tables of children that are not kept. */
static void
remove_tables(Trim *trim, List *children, const Bitmapset *kept)
{
	ListCell   *cell;

	foreach(cell, children)
	{
		if (!bms_is_member(foreach_current_index(cell), kept))
			(void) add_tables(lfirst(cell), &trim->removed);
	}
}

/* An Append or MergeAppend with steps. */
static Plan *
trim_append(Trim *trim, Plan *plan, const Plan *parent, const PartitionPruneInfo *info)
{
	List	   *children = *get_children(plan);
	Bitmapset  *kept = ak_partition_children(trim->partitions, info);
	List	   *left = NIL;
	int			whole = 0;		/* that one process executes */
	PartitionPruneInfo *later;
	Plan	   *copy;
	int			i = -1;

	while ((i = bms_next_member(kept, i)) >= 0)
	{
		left = lappend(left, list_nth(children, i));
		if (IsA(plan, Append) && i < ((Append *) plan)->first_partial_plan)
			whole++;
	}
	if (trim->changes)
		remove_tables(trim, children, kept);
	if (left == NIL)
		return make_nothing(trim, plan);
	later = ak_partition_later(trim->partitions, info, kept, list_length(children));
	if (later == NULL && list_length(left) == 1 && may_replace(trim, plan, parent))
	{
		keep_tables(trim, linitial(left));
		return trim_plan(trim, linitial(left), parent);
	}
	copy = copy_node(plan);
	*get_children(copy) = trim_plans(trim, left, copy);
	if (IsA(copy, Append))
	{
		((Append *) copy)->first_partial_plan = whole;
		AK_SET_PRUNE_INFO(trim->statement, (Append *) copy, later);
	}
	else
		AK_SET_PRUNE_INFO(trim->statement, (MergeAppend *) copy, later);
	keep_tables(trim, trim->explained ? plan : copy);
	if (trim->explained && !trim->shared)
	{
		Shortened  *shortened = palloc(sizeof(Shortened));

		shortened->children = get_children(copy);
		shortened->all = children;
		trim->shortened = lappend(trim->shortened, shortened);
	}
	return copy;
}

/* The elements of a list, one for each table, that are of these. */
static List *
keep_places(List *list, const Bitmapset *places)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, list)
	{
		if (!bms_is_member(foreach_current_index(cell), places))
			continue;
		result = IsA(list, IntList) ? lappend_int(result, lfirst_int(cell)) :
			lappend(result, lfirst(cell));
	}
	return result;
}

/*
 * Without the tables that are not scanned any more, but with one of them at least.  Rows
 * that move to another partition find it by themselves.
 */
static void
trim_targets(const Trim *trim, ModifyTable *modify)
{
	Bitmapset  *places = NULL;
	ListCell   *cell;

	if (modify->operation == CMD_MERGE || modify->fdwDirectModifyPlans != NULL)
		return;
	foreach(cell, modify->resultRelations)
	{
		if (!bms_is_member(lfirst_int(cell), trim->removed))
			places = bms_add_member(places, foreach_current_index(cell));
	}
	if (places == NULL)
		places = bms_make_singleton(0);
	modify->resultRelations = keep_places(modify->resultRelations, places);
	modify->updateColnosLists = keep_places(modify->updateColnosLists, places);
	modify->withCheckOptionLists = keep_places(modify->withCheckOptionLists, places);
	modify->returningLists = keep_places(modify->returningLists, places);
	modify->fdwPrivLists = keep_places(modify->fdwPrivLists, places);
}

/* The same plan if nothing in it is changed. */
static Plan *
trim_plan(Trim *trim, Plan *plan, const Plan *parent)
{
	Plan	   *left;
	Plan	   *right;
	List	  **children;
	List	   *below = NIL;
	Plan	   *subplan = NULL;
	Plan	   *copy;
	bool		shared = trim->shared;

	if (plan == NULL)
		return NULL;
	check_stack_depth();
	if (IsA(plan, Append) || IsA(plan, MergeAppend))
	{
		const PartitionPruneInfo *info = get_info(trim->whole, plan);

		if (info != NULL)
			return trim_append(trim, plan, parent, info);
	}
	trim->shared |= IsA(plan, Gather) || IsA(plan, GatherMerge);
	left = trim_plan(trim, plan->lefttree, plan);
	right = trim_plan(trim, plan->righttree, plan);
	children = get_children(plan);
	if (children != NULL)
		below = trim_plans(trim, *children, plan);
	if (IsA(plan, SubqueryScan))
		subplan = trim_plan(trim, ((SubqueryScan *) plan)->subplan, plan);
	trim->shared = shared;
	if (left == plan->lefttree && right == plan->righttree &&
		(children == NULL || below == *children) &&
		(!IsA(plan, SubqueryScan) || subplan == ((SubqueryScan *) plan)->subplan))
		return plan;
	copy = copy_node(plan);
	copy->lefttree = left;
	copy->righttree = right;
	if (children != NULL)
		*get_children(copy) = below;
	if (IsA(copy, SubqueryScan))
		((SubqueryScan *) copy)->subplan = subplan;
	if (IsA(copy, ModifyTable))
		trim_targets(trim, (ModifyTable *) copy);
	return copy;
}

static void
trim_statement(Trim *trim)
{
	PlannedStmt *statement = makeNode(PlannedStmt);

	*statement = *trim->whole;
	ak_forget_prune_infos(statement);
	trim->statement = statement;
	trim->changes = statement->commandType != CMD_SELECT || statement->hasModifyingCTE;
	statement->planTree = trim_plan(trim, statement->planTree, NULL);
	/* one may be of an expression below a Gather */
	trim->shared = statement->parallelModeNeeded;
	statement->subplans = trim_plans(trim, statement->subplans, NULL);
}

/* ----------------------------------------------------------------- the start */

/*
 * Begin a copy.  It lives as long as what is made of it.  EXPLAIN, which shows a plan when
 * it has begun, or has been executed, finds all children that there were.
 */
static void
start_copy(QueryDesc *query, int flags)
{
	Trim		trim = {
		.whole = query->plannedstmt,
		.partitions = ak_partition_begin(query->plannedstmt, query->params),
		.explained = (flags & EXEC_FLAG_EXPLAIN_ONLY) != 0 || query->instrument_options != 0,
		.backward = (flags & EXEC_FLAG_BACKWARD) != 0
	};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "apikey plan",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	ListCell   *cell;

	trim_statement(&trim);
	MemoryContextSwitchTo(before);
	ak_partition_end(trim.partitions);
	query->plannedstmt = trim.statement;

	next_start(query, flags);
	foreach(cell, trim.shortened)
	{
		Shortened  *shortened = lfirst(cell);

		*shortened->children = shortened->all;
	}
	MemoryContextSetParent(context, query->estate->es_query_cxt);
}

static void
start_without_partitions(QueryDesc *query, int flags)
{
	PlannedStmt *statement = query->plannedstmt;

	if (!IsParallelWorker() &&
		(flags & EXEC_FLAG_EXPLAIN_GENERIC) == 0 && has_partitions(statement) &&
		(is_concerned(statement->planTree, statement) ||
		 ak_plans_walk(statement->subplans, is_concerned, statement)))
		start_copy(query, flags);
	else
		next_start(query, flags);
}

void
ak_trim_init(void)
{
	next_start = ExecutorStart_hook ? ExecutorStart_hook : standard_ExecutorStart;
	ExecutorStart_hook = start_without_partitions;
}
