/*
 * ordered.c
 *		Rows of a key in an order, from the projects that it reaches.
 *
 * ORDER BY created_at DESC LIMIT 50 has PostgreSQL walk an index on created_at until it
 * has 50 rows of the key, which may be past all rows of others.  An index on (project,
 * created_at) has the rows of each project in that order.  The ordered scan is made of
 *
 * - runs: the rows of each project of the key, by that index, which are merged;
 * - the walk: PostgreSQL's own index scan of that order, if there is one.  It is best for
 *   a key that sees much, and costs little to try.
 *
 * The scan begins with the walk, and goes over to the runs when the walk has passed so
 * many rows in vain as it costs to begin these; see walk.c.  So it needs not be known
 * which is better, and the plan serves any key.
 *
 * What the scans of the indexes look for is left to PostgreSQL, by asking for index paths
 * of a copy of the table that has one index.  These become plans of which the
 * scan keys are taken.
 */
#include "postgres.h"

#include "planner/ordered.h"

#include <limits.h>
#include <math.h>

#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "planner/copy.h"
#include "planner/estimate.h"
#include "planner/support.h"
#include "planner/walk.h"
#include "base/compat.h"
#include "base/guc.h"
#include "utils/lsyscache.h"

/* An ordered scan that is being made. */
typedef struct Ordered
{
	PlannerInfo *root;
	RelOptInfo *rel;
	IndexOptInfo *index;		/* of the runs */
	int			project;		/* its column of the project */
	int			columns;		/* after it that are the order */
	List	   *pathkeys;		/* this order */
	IndexPath  *runs;
	IndexPath  *walk;			/* or NULL */
	double		fraction;		/* of the rows that will be read */
} Ordered;

/* ---------------------------------------------------------------- the runs */

/* Does the condition of an index fix its column to one value? */
static bool
fixes_column(const IndexClause *iclause, const IndexOptInfo *index)
{
	Node	   *clause;

	if (list_length(iclause->indexquals) != 1)
		return false;
	clause = (Node *) linitial_node(RestrictInfo, iclause->indexquals)->clause;
	if (IsA(clause, NullTest))
		return ((NullTest *) clause)->nulltesttype == IS_NULL;
	return IsA(clause, OpExpr) &&
		get_op_opfamily_strategy(((OpExpr *) clause)->opno,
								 index->opfamily[iclause->indexcol]) ==
		BTEqualStrategyNumber;
}

/* Has the condition of an index an array? */
static bool
has_array(const IndexClause *iclause)
{
	ListCell   *cell;

	foreach(cell, iclause->indexquals)
	{
		if (IsA(lfirst_node(RestrictInfo, cell)->clause, ScalarArrayOpExpr))
			return true;
	}
	return false;
}

/*
 * The conditions of an index path as runs need them: those without arrays, as another
 * array would break the order, and the one on the project.  NIL if a column before the
 * project's is not fixed, or the project's has no array.
 */
static List *
choose_clauses(const Ordered *ordered, List *iclauses)
{
	Bitmapset  *fixed = NULL;
	bool		found = false;
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, iclauses)
	{
		IndexClause *iclause = lfirst_node(IndexClause, cell);

		if (iclause->indexcol == ordered->project &&
			ak_support_is_call((Node *) iclause->rinfo->clause))
		{
			if (found || !has_array(iclause))
				return NIL;
			found = true;
		}
		else if (has_array(iclause))
			continue;
		else if (fixes_column(iclause, ordered->index))
			fixed = bms_add_member(fixed, iclause->indexcol);
		result = lappend(result, iclause);
	}
	for (int i = 0; i < ordered->project; i++)
		if (!bms_is_member(i, fixed))
			return NIL;
	return found ? result : NIL;
}

/* A scan of the index with what it can use of the conditions, in this direction. */
static IndexPath *
make_runs(const Ordered *ordered, ScanDirection direction)
{
	RelOptInfo *rel = ak_copy_table(ordered->rel);
	ListCell   *cell;

	ak_copy_index(rel, ordered->index)->amhasgetbitmap = false;
	create_index_paths(ordered->root, rel);

	foreach(cell, rel->pathlist)
	{
		IndexPath  *path = lfirst(cell);
		List	   *clauses;

		if (!IsA(path, IndexPath) || path->path.param_info != NULL)
			continue;
		clauses = choose_clauses(ordered, path->indexclauses);
		if (clauses == NIL)
			continue;
		path->indexinfo = ordered->index;
		path->indexclauses = clauses;
		path->path.parent = ordered->rel;
		path->path.pathkeys = NIL;
		path->indexscandir = direction;
		return path;
	}
	return NULL;
}

/*
 * The order of the rows of one project, by so many of the columns after the project's;
 * only as much of it as is of use.
 */
static List *
get_pathkeys(const Ordered *ordered, ScanDirection direction, int columns)
{
	IndexOptInfo index = *ordered->index;
	int			skip = ordered->project + 1;

	for (int i = 0; i < skip; i++)
		if (index.indexkeys[i] == 0)
			index.indexprs = list_copy_tail(index.indexprs, 1);
	index.indextlist = list_copy_tail(index.indextlist, skip);
	index.ncolumns -= skip;
	index.nkeycolumns = columns;
	index.indexkeys += skip;
	index.indexcollations += skip;
	index.opfamily += skip;
	index.opcintype += skip;
	index.sortopfamily += skip;
	index.reverse_sort += skip;
	index.nulls_first += skip;
	return truncate_useless_pathkeys(ordered->root, ordered->rel,
									 build_index_pathkeys(ordered->root, &index,
														  direction));
}

/* Find the order in this direction; false if it is of no use. */
static bool
find_order(Ordered *ordered, ScanDirection direction)
{
	ordered->pathkeys = get_pathkeys(ordered, direction,
									 ordered->index->nkeycolumns -
									 ordered->project - 1);
	if (ordered->pathkeys == NIL)
		return false;
	ordered->columns = 1;
	while (list_length(get_pathkeys(ordered, direction, ordered->columns)) <
		   list_length(ordered->pathkeys))
		ordered->columns++;
	return true;
}

/* ---------------------------------------------------------------- the walk */

/*
 * Does this path pass the rows by just the columns of the table that are the order, with
 * nothing before them but what its scan fixes?  The walk tells its place by these, in a row
 * that need not meet the conditions: so no column may be in place by a condition alone.
 */
static bool
is_by_columns(const Ordered *ordered, const IndexPath *path)
{
	const int  *order = &ordered->index->indexkeys[ordered->project + 1];
	const IndexOptInfo *index = path->indexinfo;
	int			first = 0;
	ListCell   *cell;

	if (list_length(ordered->pathkeys) != ordered->columns)
		return false;
	foreach(cell, path->indexclauses)
	{
		IndexClause *iclause = lfirst_node(IndexClause, cell);

		if (iclause->indexcol == first && fixes_column(iclause, index))
			first++;
	}
	if (first + ordered->columns > index->nkeycolumns)
		return false;
	for (int i = 0; i < ordered->columns; i++)
		if (order[i] <= 0 || order[i] != index->indexkeys[first + i])
			return false;
	return true;
}

/*
 * The same scan without the lists of our calls.  From 17 on, see AK_ARRAYS_KEEP_ORDER, an
 * index that has the order before the project takes one, too.  But what an index scan does
 * not return the walk cannot count: it would go on to the end of the index.  The costs stay
 * those of PostgreSQL's scan, than which this one can but be better.
 */
static IndexPath *
without_lists(const IndexPath *path)
{
	IndexPath  *result = makeNode(IndexPath);
	ListCell   *cell;

	*result = *path;
	result->indexclauses = NIL;
	foreach(cell, path->indexclauses)
	{
		IndexClause *iclause = lfirst_node(IndexClause, cell);

		if (!ak_support_is_call((Node *) iclause->rinfo->clause))
			result->indexclauses = lappend(result->indexclauses, iclause);
	}
	return result;
}

/* The best index scan that has the order, of those that PostgreSQL has kept. */
static IndexPath *
find_walk(const Ordered *ordered)
{
	IndexPath  *best = NULL;
	ListCell   *cell;

	foreach(cell, ordered->rel->pathlist)
	{
		IndexPath  *path = lfirst(cell);

		if (!IsA(path, IndexPath) || path->path.param_info != NULL ||
			path->indexorderbys != NIL ||
			path->indexinfo->relam != BTREE_AM_OID ||
			!pathkeys_contained_in(ordered->pathkeys, path->path.pathkeys) ||
			!is_by_columns(ordered, path))
			continue;
		if (best == NULL ||
			compare_fractional_path_costs(&path->path, &best->path,
										  ordered->fraction) < 0)
			best = path;
	}
	return best != NULL ? without_lists(best) : NULL;
}

/* ------------------------------------------------------------------- costs */

/* The share of the table's rows that a query with a LIMIT is expected to read. */
static double
get_fraction(PlannerInfo *root, RelOptInfo *rel)
{
	double		fraction = root->tuple_fraction;

	if (fraction >= 1.0)
		fraction /= Max(rel->rows, 1.0);
	if (root->limit_tuples > 0)
		fraction = root->limit_tuples / Max(rel->rows, 1.0);
	return fraction <= 0.0 || fraction > 1.0 ? 1.0 : fraction;
}

/* The call that the projects are of: the one that the index can use. */
static AkCall
get_call(const Ordered *ordered)
{
	Node	   *clause = NULL;
	ListCell   *cell;

	foreach(cell, ordered->runs->indexclauses)
	{
		IndexClause *iclause = lfirst_node(IndexClause, cell);

		clause = (Node *) iclause->rinfo->clause;
		if (iclause->indexcol == ordered->project && ak_support_is_call(clause))
			break;
	}
	return ak_support_call(castNode(FuncExpr, clause)->args);
}

/* What it costs to begin the runs: a descent and the first page of each. */
static Cost
cost_descents(const Ordered *ordered, double projects)
{
	IndexOptInfo *index = ordered->index;
	double		pages = index_pages_fetched(projects, index->pages,
											(double) index->pages, ordered->root);

	return pages * random_page_cost +
		projects * cpu_operator_cost *
		(ceil(log2(Max(index->tuples, 2.0))) + 50.0 * (index->tree_height + 2));
}

/*
 * The cost at the fraction decides who is expected to win.  Where that is the walk, the
 * scan is a little better than it, because it can but get better; 2 percent are more than
 * what PostgreSQL takes for equal.
 */
static void
set_cost(const Ordered *ordered, Path *path)
{
	AkCall		call = get_call(ordered);
	double		projects = ak_estimate_projects(ordered->root, ordered->rel->relid,
												&call);
	Path	   *runs = &ordered->runs->path;
	Cost		startup = cost_descents(ordered, projects);
	Cost		rest = Max(runs->total_cost - runs->startup_cost, 0.0) +
	path->rows * 2.0 * log2(projects + 1.0) * cpu_operator_cost;

	if (ordered->walk != NULL)
	{
		Path	   *walk = &ordered->walk->path;
		Cost		walked = walk->startup_cost +
		ordered->fraction * (walk->total_cost - walk->startup_cost);

		if (walked < startup * 2.0 + ordered->fraction * rest)
		{
			path->startup_cost = 0.98 * walk->startup_cost;
			path->total_cost = 0.98 * walk->total_cost;
			return;
		}
		startup *= 2.0;			/* the walk goes as far as that is worth */
	}
	path->startup_cost = startup;
	path->total_cost = startup + rest;
}

/* -------------------------------------------------------- paths and plans */

/*
 * Divide conditions into those that are checked for each row, and those that all scans of
 * indexes see to, but for EvalPlanQual.  The call is always checked.
 */
static void
divide_clauses(CustomPath *path, List *clauses, List **checked, List **met)
{
	ListCell   *cell;

	foreach(cell, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		bool		is_met = !ak_support_is_call((Node *) rinfo->clause);
		ListCell   *child;

		foreach(child, path->custom_paths)
			is_met = is_met &&
			is_redundant_with_indexclauses(rinfo, lfirst_node(IndexPath, child)->indexclauses);
		if (is_met)
			*met = lappend(*met, rinfo);
		else
			*checked = lappend(*checked, rinfo);
	}
}

/* Called by the planner when it has chosen one. */
static Plan *
plan_ordered(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
			 List *clauses, List *children)
{
	CustomScan *scan = makeNode(CustomScan);
	List	   *checked = NIL;
	List	   *met = NIL;
	ListCell   *cell;

	foreach(cell, children)
	{
		Plan	   *child = lfirst(cell);

		/* what stands above all scans of the table stands above ours, too */
		if (IsA(child, Result))
			child = outerPlan(child);
		child->targetlist = NIL;
		child->qual = NIL;
		lfirst(cell) = child;
	}
	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = rel->relid;
	scan->flags = path->flags;
	scan->custom_plans = children;
	divide_clauses(path, clauses, &checked, &met);
	scan->custom_exprs = list_make2(extract_actual_clauses(checked, false),
									extract_actual_clauses(met, false));
	scan->custom_private = path->custom_private;
	scan->methods = &ak_walk_methods;
	return &scan->scan.plan;
}

static void
add_path_of(const Ordered *ordered)
{
	static const CustomPathMethods methods = {
		.CustomName = "apikey ordered scan",
		.PlanCustomPath = plan_ordered
	};
	CustomPath *path = makeNode(CustomPath);

	path->path.pathtype = T_CustomScan;
	path->path.parent = ordered->rel;
	path->path.pathtarget = ordered->rel->reltarget;
	path->path.rows = ordered->rel->rows;
	path->path.pathkeys = ordered->pathkeys;
	set_cost(ordered, &path->path);
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_paths = list_make1(ordered->runs);
	if (ordered->walk != NULL)
		path->custom_paths = lappend(path->custom_paths, ordered->walk);
	path->custom_private = list_make4_int(ordered->project, ordered->columns,
										  ordered->fraction < 1.0 ?
										  (int) Min(ceil(path->path.rows * ordered->fraction),
													INT_MAX) : 0,
										  get_call(ordered).key == NULL);
	path->methods = &methods;
	add_path(ordered->rel, &path->path);
}

/* The first key column of an index that is the project of a call, or -1. */
static int
find_project(RelOptInfo *rel, IndexOptInfo *index)
{
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		AkCall		call;

		if (!ak_support_is_call((Node *) rinfo->clause))
			continue;
		call = ak_support_call(((FuncExpr *) rinfo->clause)->args);
		for (int i = 0; i < index->nkeycolumns; i++)
			if (match_index_to_operand(call.names[AK_REACH_PROJECTS], i, index))
				return i;
	}
	return -1;
}

/* Could runs of this index have an order? */
static bool
is_suitable(RelOptInfo *rel, IndexOptInfo *index, int *project)
{
	Oid			collation;

	if (index->relam != BTREE_AM_OID || index->hypothetical ||
		(index->indpred != NIL && !index->predOK))
		return false;
	*project = find_project(rel, index);
	if (*project < 0 || *project + 1 >= index->nkeycolumns)
		return false;
	/* runs must not have a row in common */
	collation = index->indexcollations[*project];
	return !OidIsValid(collation) || get_collation_isdeterministic(collation);
}

/* Why a table has none, whatever its indexes. */
static AkOrderedRefusal
find_refusal(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *entry)
{
	if (!has_useful_pathkeys(root, rel))
		return AK_ORDERED_NO_ORDER;
	if (!ak_guc_enable_ordered_scan)
		return AK_ORDERED_OFF;
	if (!enable_indexscan)
		return AK_ORDERED_NO_INDEX_SCAN;
	if (entry->tablesample != NULL || !bms_is_empty(rel->lateral_relids))
		return AK_ORDERED_SAMPLED;
	if (contain_volatile_functions((Node *) rel->baserestrictinfo))
		return AK_ORDERED_VOLATILE;
	return AK_ORDERED_OFFERED;
}

/* Those of one index. */
static AkOrderedRefusal
add_paths_of(Ordered *ordered)
{
	static const ScanDirection directions[] = {ForwardScanDirection, BackwardScanDirection};
	AkOrderedRefusal refusal = AK_ORDERED_NO_INDEX;

	if (!is_suitable(ordered->rel, ordered->index, &ordered->project))
		return refusal;
	for (int i = 0; i < (int) lengthof(directions); i++)
	{
		if (!find_order(ordered, directions[i]))
			continue;
		ordered->runs = make_runs(ordered, directions[i]);
		if (ordered->runs == NULL)
			return ordered->project > 0 ? AK_ORDERED_NOT_FIXED : AK_ORDERED_NO_LIST;
		ordered->walk = find_walk(ordered);
		add_path_of(ordered);
		refusal = AK_ORDERED_OFFERED;
	}
	return refusal;
}

AkOrderedRefusal
ak_ordered_add_paths(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *entry)
{
	AkOrderedRefusal result = find_refusal(root, rel, entry);
	ListCell   *cell;

	if (result != AK_ORDERED_OFFERED || entry->inh)
		return result;
	result = AK_ORDERED_NO_INDEX;
	foreach(cell, rel->indexlist)
	{
		Ordered		ordered = {
			.root = root,
			.rel = rel,
			.index = lfirst_node(IndexOptInfo, cell),
			.fraction = get_fraction(root, rel)
		};
		AkOrderedRefusal refusal = add_paths_of(&ordered);

		if (result != AK_ORDERED_OFFERED && refusal != AK_ORDERED_NO_INDEX)
			result = refusal;
	}
	return result;
}

void
ak_ordered_init(void)
{
	RegisterCustomScanMethods(&ak_walk_methods);
}
