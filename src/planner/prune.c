/*
 * prune.c
 *		Partitions without a project of the key are not read; see prune.h.
 *
 * When execution starts PostgreSQL leaves out partitions by conditions on the partition
 * key.  Those compare it with values that are known by then; an array must be written as
 * its elements.  So a table that is partitioned by the project is given the condition
 *
 *		project = ANY (ARRAY[apikey_internal.project_in(type, table, partition, verb), ...])
 *
 * with an element for each partition: a project of the key that is there, any, or null;
 * see partition.c.  It holds nothing that was looked up.
 *
 * It is added when all paths have been made, to the table but not to its partitions.  So it
 * is never checked for a row, nor shown, and changes no cost: what is left of it in the plan
 * are the steps by which PostgreSQL finds the partitions.  These look at the conditions of
 * the topmost table alone, whatever the level of partitions that is by project: so the
 * elements are about all of them, and each is a project of the key wherever it is compared.
 *
 * When the plan is made, its steps are gone through once more; a backend that is loading the
 * library, while it plans a query, leaves that query as it is.
 *
 * - Below a Gather they go, and so do those by organization.c's equality.  Each process
 *   would call the function, with what is committed by then, and must not come to other
 *   partitions than the leader: in a parallel Append they tell each other *numbers* of
 *   partitions.
 * - So do those for each rescan, by what a join has found: what they could leave out is
 *   gone since the start.
 */
#include "postgres.h"

#include "planner/prune.h"

#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "partitioning/partbounds.h"
#include "planner/condition.h"
#include "planner/support.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define PROJECT_IN	"project_in"

/* How many values may be compared at most, at all levels: an element with each table. */
#define MAX_COMPARISONS	16384

static planner_hook_type next_planner;

/*
 * Has a condition been added to the query that is being planned?  NULL: nothing is planned,
 * or a query by which the library was loaded; the hook below has not seen that.
 */
static bool *added;

/* The tables with partitions by the project, all levels, among which there are ... */
typedef struct Levels
{
	PlannerInfo *root;
	Oid			type;			/* that the column is compared as */
	Oid			equality;
	Oid			collation;
	List	   *tables;			/* RelOptInfos, no two with the same
								 * partitions */
	int			count;			/* of tables, with the others */
	int			partitions;		/* of "tables" */
} Levels;

/* ------------------------------------------------------------ the condition */

static bool
is_parameter_of_execution(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC))
		return true;
	return expression_tree_walker(node, is_parameter_of_execution, context);
}

/* Can this be evaluated before any node is executed? */
static bool
is_known_at_start(Node *expression)
{
	return is_pseudo_constant_clause(expression) &&
		!is_parameter_of_execution(expression, NULL);
}

/* Would PostgreSQL find partitions of this table by column = value? */
static bool
is_by_column(const Levels *levels, RelOptInfo *rel, Node *column)
{
	PartitionScheme scheme = rel->part_scheme;
	Oid			type = scheme->partopcintype[0];

	if (scheme->strategy == PARTITION_STRATEGY_HASH && scheme->partnatts > 1)
		return false;
	if (IsA(column, RelabelType))
		column = (Node *) ((RelabelType *) column)->arg;
	return equal(column, linitial(rel->partexprs[0])) &&
		(type == levels->type ||
		 (type == ANYENUMOID && type_is_enum(levels->type))) &&
		op_in_opfamily(levels->equality, scheme->partopfamily[0]) &&
		(!OidIsValid(scheme->partcollation[0]) ||
		 scheme->partcollation[0] == levels->collation);
}

static bool
have_same_partitions(RelOptInfo *a, RelOptInfo *b)
{
	PartitionScheme scheme = a->part_scheme;

	return scheme == b->part_scheme &&
		bms_equal(a->live_parts, b->live_parts) &&
		partition_bounds_equal(scheme->partnatts, scheme->parttyplen,
							   scheme->parttypbyval, a->boundinfo,
							   b->boundinfo);
}

/* "column" is what is compared, as the table "rel" has it. */
static void
find_partitioned(Levels *levels, RelOptInfo *rel, Node *column)
{
	int			i = -1;

	check_stack_depth();
	if (is_by_column(levels, rel, column))
	{
		bool		known = false;
		ListCell   *cell;

		levels->count++;
		foreach(cell, levels->tables)
			known |= have_same_partitions(lfirst(cell), rel);
		if (!known)
		{
			levels->tables = lappend(levels->tables, rel);
			levels->partitions += bms_num_members(rel->live_parts);
		}
	}
	while ((i = bms_next_member(rel->live_parts, i)) >= 0)
	{
		RelOptInfo *part = rel->part_rels[i];

		if (part != NULL && IS_PARTITIONED_REL(part))
			find_partitioned(levels, part,
							 adjust_appendrel_attrs(levels->root, column, 1,
													&levels->root->append_rel_array[part->relid]));
	}
}

static Node *
make_oid(Oid oid)
{
	return (Node *) makeConst(OIDOID, -1, InvalidOid, sizeof(Oid),
							  ObjectIdGetDatum(oid), false, true);
}

/* The elements, with these arguments after type, table and partition. */
static List *
make_elements(const Levels *levels, Oid function, List *args)
{
	List	   *elements = NIL;
	ListCell   *cell;

	foreach(cell, levels->tables)
	{
		RelOptInfo *table = lfirst(cell);
		int			i = -1;

		while ((i = bms_next_member(table->live_parts, i)) >= 0)
		{
			List	   *all = list_make3(makeNullConst(levels->type, -1,
													   levels->collation),
										 make_oid(planner_rt_fetch(table->relid,
																   levels->root)->relid),
										 make_oid(planner_rt_fetch(table->part_rels[i]->relid,
																   levels->root)->relid));

			elements = lappend(elements,
							   makeFuncExpr(function, levels->type,
											list_concat(all, args),
											levels->collation,
											DEFAULT_COLLATION_OID,
											COERCE_EXPLICIT_CALL));
		}
	}
	return elements;
}

/* column = ANY (ARRAY[elements]) */
static Node *
make_partition_condition(const Levels *levels, Node *column, List *elements)
{
	ArrayExpr  *array = makeNode(ArrayExpr);
	ScalarArrayOpExpr *condition = makeNode(ScalarArrayOpExpr);

	array->array_typeid = get_array_type(levels->type);
	array->array_collid = levels->collation;
	array->element_typeid = levels->type;
	array->elements = elements;
	array->location = -1;
	condition->opno = levels->equality;
	condition->opfuncid = get_opcode(levels->equality);
	condition->useOr = true;
	condition->inputcollid = levels->collation;
	condition->args = list_make2(column, array);
	condition->location = -1;
	return (Node *) condition;
}

/* What a call comes to for the partitions of "rel"; NULL if none can be left out. */
static Node *
get_partition_condition(PlannerInfo *root, RelOptInfo *rel, const AkCall *call)
{
	Node	   *column = call->names[AK_REACH_PROJECTS];
	Node	   *environment = call->names[AK_REACH_ENVIRONMENTS];
	Node	   *verb = call->verb;
	Levels		levels = {.root = root};
	List	   *args = NIL;
	Oid			types[6] = {ANYELEMENTOID, OIDOID, OIDOID};
	int			count = 3;
	Oid			function;

	if (!ak_condition_type(column, &levels.type, &levels.equality))
		return NULL;
	levels.collation = exprCollation(column);
	column = ak_condition_column(column, levels.type);
	find_partitioned(&levels, rel, column);
	if (levels.partitions < 2 ||
		(int64) levels.partitions * levels.count > MAX_COMPARISONS)
		return NULL;

	if (call->key != NULL)
	{
		if (!is_known_at_start(call->key))
			return NULL;
		args = lappend(args, call->key);
		types[count++] = TEXTOID;
	}
	if (!IsA(verb, Const))
		/* the least that any verb asks for */
		verb = (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
								  CStringGetTextDatum("read"), false, false);
	else if (call->level == AK_LEVEL_NONE)
		return NULL;
	args = lappend(args, verb);
	types[count++] = TEXTOID;
	if (is_known_at_start(environment))
	{
		args = lappend(args, environment);
		types[count++] = ANYOID;
	}
	function = ak_condition_function(ak_schema_get()->internal,
									 call->key ? PROJECT_IN "_of" : PROJECT_IN,
									 types, count);
	if (!OidIsValid(function))
		return NULL;
	return make_partition_condition(&levels, column, make_elements(&levels, function, args));
}

void
ak_prune_add(PlannerInfo *root, RelOptInfo *rel)
{
	List	   *conditions = NIL;
	ListCell   *cell;

	if (added == NULL || rel->reloptkind != RELOPT_BASEREL ||
		!IS_PARTITIONED_REL(rel))
		return;
	foreach(cell, rel->baserestrictinfo)
	{
		Node	   *clause = (Node *) lfirst_node(RestrictInfo, cell)->clause;
		AkCall		call;
		Node	   *condition;
		RestrictInfo *rinfo;

		if (!ak_support_is_call(clause) || contain_volatile_functions(clause))
			continue;
		call = ak_support_call(((FuncExpr *) clause)->args);
		if (ak_support_is_implied(rel, ((FuncExpr *) clause)->args, call.level))
			continue;
		ak_schema_accept();
		condition = get_partition_condition(root, rel, &call);
		if (condition == NULL)
			continue;
		rinfo = make_simple_restrictinfo(root, (Expr *) condition);
		/* so that nobody evaluates it */
		rinfo->norm_selec = rinfo->outer_selec = 1.0;
		rinfo->eval_cost.startup = rinfo->eval_cost.per_tuple = 0.0;
		conditions = lappend(conditions, rinfo);
		*added = true;
	}
	rel->baserestrictinfo = list_concat(rel->baserestrictinfo, conditions);
}

void
ak_prune_note(PlannerInfo *root)
{
	if (added != NULL)
		*added = true;
	else
		root->glob->parallelModeOK = false;
}

/* ----------------------------------------------------------- in the plan */

/* Does a step go by what such a function returns; if not "any", for a partition? */
static bool
calls_us(PartitionPruneStepOp *step, bool any)
{
	ListCell   *cell;

	foreach(cell, step->exprs)
	{
		Node	   *expression = lfirst(cell);
		Oid			function;

		if (IsA(expression, RelabelType))
			expression = (Node *) ((RelabelType *) expression)->arg;
		if (!IsA(expression, FuncExpr))
			continue;
		function = ((FuncExpr *) expression)->funcid;
		if (get_func_namespace(function) == ak_schema_get()->internal &&
			(any || strncmp(get_func_name(function), PROJECT_IN,
							strlen(PROJECT_IN)) == 0))
			return true;
	}
	return false;
}

/* Without the steps that call us, and what combines these alone. */
static List *
remove_our_steps(List *steps, bool any)
{
	int		   *numbers = palloc(list_length(steps) * sizeof(int));
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, steps)
	{
		PartitionPruneStep *step = lfirst(cell);
		bool		ours = false;

		if (IsA(step, PartitionPruneStepOp))
			ours = calls_us((PartitionPruneStepOp *) step, any);
		else
		{
			PartitionPruneStepCombine *combine = (PartitionPruneStepCombine *) step;
			List	   *sources = NIL;
			ListCell   *source;

			foreach(source, combine->source_stepids)
			{
				int			number = numbers[lfirst_int(source)];

				if (number >= 0)
					sources = lappend_int(sources, number);
			}
			ours = sources == NIL && combine->source_stepids != NIL;
			combine->source_stepids = sources;
		}
		numbers[step->step_id] = ours ? -1 : list_length(result);
		if (ours)
			continue;
		step->step_id = list_length(result);
		result = lappend(result, step);
	}
	return result;
}

static void
clean_steps(PlannedStmt *statement, PartitionPruneInfo *info, bool parallel)
{
	ListCell   *hierarchy;
	ListCell   *cell;

	if (info == NULL)
		return;
	foreach(hierarchy, info->prune_infos)
	{
		foreach(cell, lfirst(hierarchy))
		{
			PartitionedRelPruneInfo *table = lfirst(cell);

			if (parallel && table->initial_pruning_steps != NIL)
			{
				table->initial_pruning_steps =
					remove_our_steps(table->initial_pruning_steps, true);
				if (table->initial_pruning_steps == NIL)
					ak_keep_partitions(statement, table);
			}
			table->exec_pruning_steps =
				remove_our_steps(table->exec_pruning_steps, parallel);
		}
	}
}

static void clean_plan(PlannedStmt *statement, Plan *plan, bool parallel);

static void
clean_plans(PlannedStmt *statement, List *plans, bool parallel)
{
	ListCell   *cell;

	foreach(cell, plans)
		clean_plan(statement, lfirst(cell), parallel);
}

static void
clean_plan(PlannedStmt *statement, Plan *plan, bool parallel)
{
	if (plan == NULL)
		return;
	check_stack_depth();
	switch (nodeTag(plan))
	{
		case T_Gather:
		case T_GatherMerge:
			parallel = true;
			break;
		case T_Append:
			clean_steps(statement, AK_PRUNE_INFO(statement, (Append *) plan), parallel);
			clean_plans(statement, ((Append *) plan)->appendplans, parallel);
			break;
		case T_MergeAppend:
			clean_steps(statement, AK_PRUNE_INFO(statement, (MergeAppend *) plan),
						parallel);
			clean_plans(statement, ((MergeAppend *) plan)->mergeplans, parallel);
			break;
		case T_SubqueryScan:
			clean_plan(statement, ((SubqueryScan *) plan)->subplan, parallel);
			break;
		case T_CustomScan:
			clean_plans(statement, ((CustomScan *) plan)->custom_plans, parallel);
			break;
		default:
			break;
	}
	clean_plan(statement, plan->lefttree, parallel);
	clean_plan(statement, plan->righttree, parallel);
}

static PlannedStmt *
plan_with_partitions(Query *query, const char *string, int options,
					 ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	bool	   *before = added;
	volatile bool here = false;
	PlannedStmt *result;

	added = unvolatize(bool *, &here);
	PG_TRY();
	{
		result = next_planner(query, string, options,
							  params AK_EXPLAIN_ARGUMENT);
	}
	PG_FINALLY();
	{
		added = before;
	}
	PG_END_TRY();
	if (here)
	{
		clean_plan(result, result->planTree, false);
		/* a subquery may be of an expression below a Gather */
		clean_plans(result, result->subplans, result->parallelModeNeeded);
	}
	return result;
}

void
ak_prune_init(void)
{
	next_planner = planner_hook ? planner_hook : standard_planner;
	planner_hook = plan_with_partitions;
}
