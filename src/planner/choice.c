/*
 * choice.c
 *		Two ways to read a table: which one, is chosen when a plan is begun; see
 *		choice.h.
 *
 * Planning.  The two are *many*, which reads all rows and asks the function about each,
 * and *few*, by the index and the list of the key's projects.  Few is planned by
 * PostgreSQL itself, on a copy of the table's RelOptInfo, as for a key that sees little.
 * If that is cheaper than many, the node goes to the front of the paths, with the cost of
 * many; many stays behind it, for what needs a path that each process of a parallel query
 * can run for itself.  What the node keeps are the statistics on the projects, and the
 * share of rows up to which few is cheaper.
 *
 * Execution.  The node begins only the chosen plan, hands on what that returns, and does
 * nothing else: conditions, projection, rechecks of EvalPlanQual, directions of a cursor
 * are all the chosen plan's.
 *
 * In a parallel query many is a parallel sequential scan, and few is run by the process
 * that comes first.  The leader chooses, for a worker could do so by a list that is not
 * the same any more; so workers begin their plan when they hear of the choice.
 *
 * A plan for a key that sees little has no such node: for one that sees much it takes a
 * few times as long as the best, not hundreds of times.
 */
#include "postgres.h"

#include "planner/choice.h"

#include "access/parallel.h"
#include "auth/authn.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "planner/copy.h"
#include "planner/support.h"
#include "port/atomics.h"
#include "table/schema.h"

/* So much must be saved by few: mostly, the cost of 1,000 pages read in order. */
#define WORTH_IT	1000.0

/* The two plans of a node, by their places. */
#define MANY	0
#define FEW		1

/* ------------------------------------------------------------------ planning */

/* A table whose paths by the list are wanted. */
typedef struct FewPaths
{
	PlannerInfo *root;
	RelOptInfo *rel;			/* a copy */
	AkCall		call;
	Path	   *few;			/* the cheapest; NULL: none */
	double		share;			/* of the rows, that it finds */
} FewPaths;

/* Does an index find rows by the list of a call? */
static bool
has_list(List *indexclauses)
{
	ListCell   *cell;

	foreach(cell, indexclauses)
	{
		IndexClause *clause = lfirst_node(IndexClause, cell);

		if (ak_support_is_call((Node *) clause->rinfo->clause))
			return true;
	}
	return false;
}

/* Does a path? */
static bool
is_by_list(Path *path)
{
	ListCell   *cell;

	if (IsA(path, IndexPath))
		return has_list(((IndexPath *) path)->indexclauses);
	if (IsA(path, BitmapHeapPath))
		return is_by_list(((BitmapHeapPath *) path)->bitmapqual);
	if (!IsA(path, BitmapAndPath))
		return false;
	foreach(cell, ((BitmapAndPath *) path)->bitmapquals)
	{
		if (is_by_list(lfirst(cell)))
			return true;
	}
	return false;
}

/* Without what estimates for the key of the moment have left. */
static List *
copy_conditions(List *conditions)
{
	List	   *copies = NIL;
	ListCell   *cell;

	foreach(cell, conditions)
	{
		RestrictInfo *copy = makeNode(RestrictInfo);

		*copy = *lfirst_node(RestrictInfo, cell);
		copy->norm_selec = -1;
		copy->outer_selec = -1;
		copies = lappend(copies, copy);
	}
	return copies;
}

/* The copies of these conditions. */
static List *
find_copies(List *conditions, RelOptInfo *rel, RelOptInfo *copy)
{
	List	   *copies = NIL;
	ListCell   *from;
	ListCell   *to;

	forboth(from, rel->baserestrictinfo, to, copy->baserestrictinfo)
	{
		if (list_member_ptr(conditions, lfirst(from)))
			copies = lappend(copies, lfirst(to));
	}
	return copies;
}

/* A table with all its indexes, whose conditions are estimated anew. */
static RelOptInfo *
copy_table(RelOptInfo *rel)
{
	RelOptInfo *copy = ak_copy_table(rel);
	ListCell   *cell;

	copy->baserestrictinfo = copy_conditions(rel->baserestrictinfo);
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = ak_copy_index(copy, lfirst(cell));

		index->indrestrictinfo = find_copies(index->indrestrictinfo, rel, copy);
	}
	return copy;
}

static void
find_few(void *arg)
{
	FewPaths   *paths = arg;
	ListCell   *cell;

	create_index_paths(paths->root, paths->rel);
	foreach(cell, paths->rel->pathlist)
	{
		Path	   *path = lfirst(cell);

		if (is_by_list(path) &&
			(paths->few == NULL || path->total_cost < paths->few->total_cost))
			paths->few = path;
	}
	paths->share = ak_estimate_list(paths->root, paths->rel->relid, &paths->call,
									AK_REACH_PROJECTS);
}

/* The cheapest path, if it reads all rows in no order and costs enough; else NULL. */
static Path *
find_many(List *pathlist)
{
	Path	   *cheapest = NULL;
	ListCell   *cell;

	foreach(cell, pathlist)
	{
		Path	   *path = lfirst(cell);

		if (path->param_info == NULL &&
			(cheapest == NULL || path->total_cost < cheapest->total_cost))
			cheapest = path;
	}
	if (cheapest == NULL || cheapest->pathtype != T_SeqScan ||
		cheapest->total_cost < WORTH_IT)
		return NULL;
	return cheapest;
}

static Plan *plan_choice(PlannerInfo *root, RelOptInfo *rel,
						 CustomPath *best_path, List *tlist, List *clauses,
						 List *custom_plans);

static const CustomPathMethods path_methods = {
	.CustomName = "apikey choice",
	.PlanCustomPath = plan_choice
};

/*
 * A node that stands for many.  Its child is a copy, for the planner frees a path for
 * which it finds a better one.
 */
static Path *
make_choice(Path *many, const FewPaths *paths, List *saved)
{
	CustomPath *choice = makeNode(CustomPath);
	Path	   *copy = makeNode(Path);
	double		limit = paths->share * many->total_cost / paths->few->total_cost;

	*copy = *many;
	choice->path = *many;
	choice->path.type = T_CustomPath;
	choice->path.pathtype = T_CustomScan;
	/* else processes could choose differently */
	choice->path.parallel_safe = many->parallel_aware;
	choice->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	if (IsA(paths->few, IndexPath))
		choice->flags |= CUSTOMPATH_SUPPORT_BACKWARD_SCAN;
	choice->custom_paths = list_make2(copy, paths->few);
	choice->custom_private =
		list_make3(ak_estimate_save_number(limit),
				   makeInteger(paths->call.level), saved);
	choice->methods = &path_methods;
	return (Path *) choice;
}

/* Is it worth a choice between many, which may be NULL, and few? */
static bool
is_worth_it(const Path *many, const FewPaths *paths)
{
	return many != NULL && paths->few != NULL && paths->few->total_cost > 0 &&
		many->total_cost - paths->few->total_cost >= WORTH_IT;
}

void
ak_choice_add_paths(PlannerInfo *root, RelOptInfo *rel, RestrictInfo *call)
{
	Path	   *many = find_many(rel->pathlist);
	Path	   *partial = find_many(rel->partial_pathlist);
	FewPaths	paths = {
		.root = root,
		.call = ak_support_call(((FuncExpr *) call->clause)->args)
	};
	List	   *saved;

	/* which are checked in a node of their own, over each plan */
	if (root->hasPseudoConstantQuals)
		return;
	if ((many == NULL && partial == NULL) || paths.call.key != NULL)
		return;
	paths.rel = copy_table(rel);
	ak_estimate_as_little(find_few, &paths);
	if (!is_worth_it(many, &paths) && !is_worth_it(partial, &paths))
		return;
	saved = ak_estimate_save(root, rel->relid, &paths.call);
	if (saved == NIL)
		return;
	if (is_worth_it(many, &paths))
		rel->pathlist = lcons(make_choice(many, &paths, saved), rel->pathlist);
	if (is_worth_it(partial, &paths) && paths.few->parallel_safe)
		rel->partial_pathlist = lcons(make_choice(partial, &paths, saved),
									  rel->partial_pathlist);
}

static Node *create_choice_state(CustomScan *scan);

const CustomScanMethods ak_choice_methods = {
	.CustomName = "apikey choice",
	.CreateCustomScanState = create_choice_state
};

/*
 * The conditions are those of the two plans.  The target list may be replaced by another
 * one of the table's columns, which the two do not hear of: see get_plan().
 */
static Plan *
plan_choice(PlannerInfo *root, RelOptInfo *rel, CustomPath *best_path,
			List *tlist, List *clauses, List *custom_plans)
{
	CustomScan *scan = makeNode(CustomScan);

	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = rel->relid;
	scan->flags = best_path->flags;
	scan->custom_plans = custom_plans;
	scan->custom_private = best_path->custom_private;
	scan->methods = &ak_choice_methods;
	return &scan->scan.plan;
}

/* ----------------------------------------------------------------- execution */

/* What the processes of a parallel query share. */
typedef struct SharedChoice
{
	int			chosen;
	pg_atomic_uint32 taken;		/* few, by one of them */
} SharedChoice;

typedef struct ChoiceState
{
	CustomScanState custom;
	int			chosen;
	PlanState  *plan;			/* the chosen one; NULL: not chosen yet */
	SharedChoice *shared;		/* NULL in a query that is not parallel */
	bool		mine;			/* few, that was taken here */
} ChoiceState;

static int
choose(CustomScan *scan)
{
	double		share;

	ak_schema_accept();
	share = ak_estimate_saved(lthird(scan->custom_private), ak_authn_session(),
							  intVal(lsecond(scan->custom_private)));
	return share <= floatVal(linitial(scan->custom_private)) ? FEW : MANY;
}

/* An expression on the table as one on the index that has all of it. */
static Node *
make_index_only(Node *node, void *columns)
{
	ListCell   *cell;

	if (node == NULL)
		return NULL;
	foreach(cell, (List *) columns)
	{
		TargetEntry *column = lfirst_node(TargetEntry, cell);

		if (!column->resjunk && equal(node, column->expr))
			return (Node *) makeVarFromTargetEntry(INDEX_VAR, column);
	}
	return expression_tree_mutator(node, make_index_only, columns);
}

/* The chosen plan, with the target list of the node. */
static Plan *
get_plan(CustomScan *scan, int chosen)
{
	Plan	   *plan = copyObject(list_nth(scan->custom_plans, chosen));
	Node	   *targets = (Node *) scan->scan.plan.targetlist;

	if (IsA(plan, IndexOnlyScan))
		targets = make_index_only(targets, ((IndexOnlyScan *) plan)->indextlist);
	plan->targetlist = (List *) targets;
	return plan;
}

/* The chosen plan's row is the one that WHERE CURRENT OF means, too. */
static void
begin_plan(ChoiceState *state, int chosen, EState *estate, int eflags)
{
	CustomScan *scan = (CustomScan *) state->custom.ss.ps.plan;

	state->chosen = chosen;
	state->plan = ExecInitNode(get_plan(scan, chosen), estate, eflags);
	state->custom.custom_ps = list_make1(state->plan);
	state->custom.ss.ss_ScanTupleSlot =
		((ScanState *) state->plan)->ss_ScanTupleSlot;
}

/* Few is for one process; which one that is shows when the first comes for a row. */
static bool
is_mine(ChoiceState *state)
{
	if (!state->mine)
		state->mine = pg_atomic_exchange_u32(&state->shared->taken, 1) == 0;
	return state->mine;
}

static TupleTableSlot *
get_row(PlanState *node)
{
	ChoiceState *state = (ChoiceState *) node;

	if (unlikely(state->shared != NULL && state->chosen == FEW &&
				 !is_mine(state)))
		return NULL;
	return ExecProcNode(state->plan);
}

static TupleTableSlot *
exec_choice(CustomScanState *node)
{
	return get_row(&node->ss.ps);
}

static void
begin_choice(CustomScanState *node, EState *estate, int eflags)
{
	ChoiceState *state = (ChoiceState *) node;

	/* slots are the chosen plan's, of whatever kind */
	node->ss.ps.resultopsset = true;
	node->ss.ps.resultopsfixed = false;
	node->ss.ps.ExecProcNode = get_row;
	if (node->ss.ps.plan->parallel_aware && IsParallelWorker())
		return;
	begin_plan(state, choose((CustomScan *) node->ss.ps.plan), estate, eflags);
}

static void
end_choice(CustomScanState *node)
{
	ChoiceState *state = (ChoiceState *) node;

	if (state->plan != NULL)
		ExecEndNode(state->plan);
}

/* It was chosen for the whole statement. */
static void
rescan_choice(CustomScanState *node)
{
	ChoiceState *state = (ChoiceState *) node;

	state->mine = false;
	if (node->ss.ps.chgParam != NULL)
		UpdateChangedParamSet(state->plan, node->ss.ps.chgParam);
	if (state->plan->chgParam == NULL)
		ExecReScan(state->plan);
}

static Size
estimate_shared_choice(CustomScanState *node, ParallelContext *context)
{
	return sizeof(SharedChoice);
}

static void
share_choice(CustomScanState *node, ParallelContext *context, void *coordinate)
{
	ChoiceState *state = (ChoiceState *) node;

	state->shared = coordinate;
	state->shared->chosen = state->chosen;
	pg_atomic_init_u32(&state->shared->taken, 0);
}

static void
share_choice_again(CustomScanState *node, ParallelContext *context,
				   void *coordinate)
{
	pg_atomic_write_u32(&((SharedChoice *) coordinate)->taken, 0);
}

static void
hear_of_choice(CustomScanState *node, shm_toc *toc, void *coordinate)
{
	ChoiceState *state = (ChoiceState *) node;
	EState	   *estate = node->ss.ps.state;
	MemoryContext before = MemoryContextSwitchTo(estate->es_query_cxt);

	state->shared = coordinate;
	begin_plan(state, state->shared->chosen, estate, estate->es_top_eflags);
	MemoryContextSwitchTo(before);
}

static const CustomExecMethods exec_methods = {
	.CustomName = "apikey choice",
	.BeginCustomScan = begin_choice,
	.ExecCustomScan = exec_choice,
	.EndCustomScan = end_choice,
	.ReScanCustomScan = rescan_choice,
	.EstimateDSMCustomScan = estimate_shared_choice,
	.InitializeDSMCustomScan = share_choice,
	.ReInitializeDSMCustomScan = share_choice_again,
	.InitializeWorkerCustomScan = hear_of_choice
};

static Node *
create_choice_state(CustomScan *scan)
{
	ChoiceState *state = palloc0(sizeof(ChoiceState));

	NodeSetTag(state, T_CustomScanState);
	state->custom.methods = &exec_methods;
	return (Node *) state;
}

void
ak_choice_init(void)
{
	RegisterCustomScanMethods(&ak_choice_methods);
}
