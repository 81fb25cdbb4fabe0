/*
 * partition.c
 *		Which partitions do steps of pruning leave?  See partition.h.
 *
 * All steps that PostgreSQL would go through at the start are gone through here, by its own
 * functions: they compare with what is known then.  Where one compares with a list, see
 * prune.h, it is gone through for each of the values.
 */
#include "postgres.h"

#include "planner/partition.h"

#include "access/relation.h"
#include "base/compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "partitioning/partdesc.h"
#include "partitioning/partprune.h"
#include "planner/prune.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"

/* A list that is in steps. */
typedef struct Listed
{
	Expr	   *list;
	int			count;
	Datum	   *values;
	int16		length;			/* of each */
	bool		by_value;
} Listed;

struct AkPartitions
{
	List	   *rtable;
	EState	   *estate;			/* of what is evaluated */
	List	   *lists;			/* Listed */
};

/* The steps of one table, being looked at. */
typedef struct Steps
{
	AkPartitions *partitions;
	List	   *lists;			/* Listed, that are in them */
	Const	   *value;			/* stands for a value of these */
} Steps;

/* ------------------------------------------ steps that compare with constants */

static Datum
evaluate(AkPartitions *partitions, Expr *expression, bool *isnull)
{
	ExprState  *state = ExecInitExprWithParams(expression, partitions->estate->es_param_list_info);

	return ExecEvalExpr(state, GetPerTupleExprContext(partitions->estate), isnull);
}

static Const *
make_constant(AkPartitions *partitions, Expr *expression)
{
	Oid			type = exprType((Node *) expression);
	int16		length;
	bool		by_value;
	bool		isnull;
	Datum		value = evaluate(partitions, expression, &isnull);

	get_typlenbyval(type, &length, &by_value);
	return makeConst(type, -1, exprCollation((Node *) expression), length, value,
					 isnull, by_value);
}

/* The list, of values of a type. */
static Listed *
get_listed(AkPartitions *partitions, Expr *list, Oid type)
{
	Listed	   *listed;
	ListCell   *cell;
	char		align;
	Datum		array;
	bool		isnull;

	foreach(cell, partitions->lists)
	{
		listed = lfirst(cell);
		if (equal(listed->list, list))
			return listed;
	}
	listed = palloc0(sizeof(Listed));
	listed->list = list;
	get_typlenbyvalalign(type, &listed->length, &listed->by_value, &align);
	array = evaluate(partitions, list, &isnull);
	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(array), type, listed->length, listed->by_value,
						  align, &listed->values, NULL, &listed->count);
	partitions->lists = lappend(partitions->lists, listed);
	return listed;
}

/* Steps that compare with constants, as far as that is known now. */
static Node *
freeze(Node *node, void *context)
{
	Steps	   *steps = context;
	Expr	   *list;
	Listed	   *listed;

	if (node == NULL || IsA(node, Const))
		return node;
	if (IsA(node, List) || IsA(node, PartitionPruneStepOp) ||
		IsA(node, PartitionPruneStepCombine))
		return expression_tree_mutator(node, freeze, context);
	list = ak_prune_list(node);
	if (list == NULL)
		return ak_prune_is_changing(node, NULL) ? node :
			(Node *) make_constant(steps->partitions, (Expr *) node);
	listed = get_listed(steps->partitions, list, exprType(node));
	steps->lists = list_append_unique_ptr(steps->lists, listed);
	if (steps->value == NULL)
	{
		steps->value = makeConst(exprType(node), -1, exprCollation(node), listed->length,
								 (Datum) 0, true, listed->by_value);
		steps->value->constisnull = false;
	}
	return (Node *) steps->value;
}

/* What get_matching_partitions() is to be told of a table. */
static PartitionPruneContext *
make_lookup(Relation table, PartitionDesc parts, int steps)
{
	PartitionPruneContext *lookup = palloc0(sizeof(PartitionPruneContext));
	PartitionKey key = RelationGetPartitionKey(table);

	lookup->strategy = key->strategy;
	lookup->partnatts = key->partnatts;
	lookup->nparts = parts->nparts;
	lookup->boundinfo = parts->boundinfo;
	lookup->partcollation = key->partcollation;
	lookup->partsupfunc = key->partsupfunc;
	lookup->stepcmpfuncs = palloc0(steps * key->partnatts * sizeof(FmgrInfo));
	lookup->ppccontext = CurrentMemoryContext;
	return lookup;
}

/* The partitions of any of these values. */
static Bitmapset *
match_list(const Steps *steps, PartitionPruneContext *lookup, List *frozen,
		   const Listed *listed)
{
	ExprContext *work = GetPerTupleExprContext(steps->partitions->estate);
	Bitmapset  *result = NULL;

	for (int i = 0; i < listed->count && bms_num_members(result) < lookup->nparts; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(work->ecxt_per_tuple_memory);
		Bitmapset  *found;

		steps->value->constvalue = listed->values[i];
		found = get_matching_partitions(lookup, frozen);
		MemoryContextSwitchTo(before);
		result = bms_add_members(result, found);
		ResetExprContext(work);
	}
	return result;
}

/* As the plan numbers them: those that were attached later are not in it. */
static Bitmapset *
as_planned(const PartitionedRelPruneInfo *table, PartitionDesc parts, Bitmapset *found)
{
	Bitmapset  *result = NULL;
	int			i = -1;

	while ((i = bms_next_member(found, i)) >= 0)
	{
		int			part = i;

		if (i >= table->nparts || table->relid_map[i] != parts->oids[i])
			for (part = 0; part < table->nparts; part++)
				if (table->relid_map[part] == parts->oids[i])
					break;
		if (part < table->nparts)
			result = bms_add_member(result, part);
	}
	return result;
}

/* The partitions of a table that its steps leave. */
static Bitmapset *
find_partitions(AkPartitions *partitions, const PartitionedRelPruneInfo *table)
{
	Steps		steps = {.partitions = partitions};
	List	   *frozen;
	Relation	relation;
	PartitionDesc parts;
	PartitionPruneContext *lookup;
	Bitmapset  *found = NULL;
	ListCell   *cell;

	if (table->initial_pruning_steps == NIL)
		return table->present_parts;
	frozen = (List *) freeze((Node *) table->initial_pruning_steps, &steps);
	relation = relation_open(rt_fetch(table->rtindex, partitions->rtable)->relid, NoLock);
	/* as the executor does, with those that are being detached */
	parts = RelationGetPartitionDesc(relation, false);
	lookup = make_lookup(relation, parts, list_length(frozen));
	if (steps.lists == NIL)
		found = get_matching_partitions(lookup, frozen);
	foreach(cell, steps.lists)
	{
		Bitmapset  *of_list = match_list(&steps, lookup, frozen, lfirst(cell));

		found = cell == list_head(steps.lists) ? of_list : bms_int_members(found, of_list);
	}
	found = as_planned(table, parts, found);
	relation_close(relation, NoLock);
	return found;
}

/* Add the children that are left of a table, and of those below it, in a hierarchy. */
static Bitmapset *
add_children(AkPartitions *partitions, List *hierarchy, int number, Bitmapset *children)
{
	const PartitionedRelPruneInfo *table = list_nth(hierarchy, number);
	Bitmapset  *parts = find_partitions(partitions, table);
	int			i = -1;

	check_stack_depth();
	while ((i = bms_next_member(parts, i)) >= 0)
	{
		if (table->subplan_map[i] >= 0)
			children = bms_add_member(children, table->subplan_map[i]);
		else if (table->subpart_map[i] >= 0)
			children = add_children(partitions, hierarchy, table->subpart_map[i], children);
	}
	return children;
}

Bitmapset *
ak_partition_children(AkPartitions *partitions, const PartitionPruneInfo *info)
{
	MemoryContext before = MemoryContextSwitchTo(partitions->estate->es_query_cxt);
	Bitmapset  *children = bms_copy(info->other_subplans);
	ListCell   *cell;

	foreach(cell, info->prune_infos)
		children = add_children(partitions, lfirst(cell), 0, children);
	MemoryContextSwitchTo(before);
	return children;
}

/* ------------------------------------------------------- what stays for later */

/* Without the steps that compare with a list, and what combines these alone. */
static List *
remove_lists(List *steps)
{
	int		   *numbers = palloc(list_length(steps) * sizeof(int));
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, steps)
	{
		PartitionPruneStep *step = lfirst(cell);
		bool		remove = false;
		ListCell   *part;

		if (IsA(step, PartitionPruneStepOp))
		{
			foreach(part, ((PartitionPruneStepOp *) step)->exprs)
				remove |= ak_prune_list(lfirst(part)) != NULL;
		}
		else
		{
			PartitionPruneStepCombine *combine = (PartitionPruneStepCombine *) step;
			List	   *sources = NIL;

			foreach(part, combine->source_stepids)
			{
				int			number = numbers[lfirst_int(part)];

				if (number >= 0)
					sources = lappend_int(sources, number);
			}
			remove = sources == NIL && combine->source_stepids != NIL;
			combine->source_stepids = sources;
		}
		numbers[step->step_id] = remove ? -1 : list_length(result);
		if (remove)
			continue;
		step->step_id = list_length(result);
		result = lappend(result, step);
	}
	return result;
}

/* What is left for each rescan; "places" has the new number of each child, or -1. */
static PartitionedRelPruneInfo *
get_later_steps(AkPartitions *partitions, const PartitionedRelPruneInfo *table, const int *places)
{
	PartitionedRelPruneInfo *result = makeNode(PartitionedRelPruneInfo);
	Steps		steps = {.partitions = partitions};
	List	   *later = remove_lists(copyObject(table->exec_pruning_steps));

	*result = *table;
	result->initial_pruning_steps = NIL;
	result->exec_pruning_steps = (List *) freeze((Node *) later, &steps);
	result->subplan_map = palloc(table->nparts * sizeof(int));
	for (int i = 0; i < table->nparts; i++)
	{
		int			child = table->subplan_map[i];

		result->subplan_map[i] = child < 0 ? child : places[child];
	}
	return result;
}

/* Are there steps for each rescan? */
static bool
has_later_steps(const PartitionPruneInfo *info)
{
	ListCell   *hierarchy;
	ListCell   *cell;

	foreach(hierarchy, info->prune_infos)
	{
		foreach(cell, lfirst(hierarchy))
		{
			if (lfirst_node(PartitionedRelPruneInfo, cell)->exec_pruning_steps != NIL)
				return true;
		}
	}
	return false;
}

/* The places of children, of which these are left. */
static int *
get_places(const Bitmapset *left, int children)
{
	int		   *places = palloc(children * sizeof(int));
	int			count = 0;

	for (int i = 0; i < children; i++)
		places[i] = bms_is_member(i, left) ? count++ : -1;
	return places;
}

PartitionPruneInfo *
ak_partition_later(AkPartitions *partitions, const PartitionPruneInfo *info,
				   const Bitmapset *left, int children)
{
	PartitionPruneInfo *result;
	int		   *places;
	bool		any = false;
	ListCell   *hierarchy;
	ListCell   *cell;
	int			i = -1;

	if (!has_later_steps(info))
		return NULL;
	places = get_places(left, children);
	result = makeNode(PartitionPruneInfo);
	*result = *info;
	result->prune_infos = NIL;
	foreach(hierarchy, info->prune_infos)
	{
		List	   *tables = NIL;

		foreach(cell, lfirst(hierarchy))
		{
			PartitionedRelPruneInfo *table = get_later_steps(partitions, lfirst(cell), places);

			any |= table->exec_pruning_steps != NIL;
			tables = lappend(tables, table);
		}
		result->prune_infos = lappend(result->prune_infos, tables);
	}
	result->other_subplans = NULL;
	while ((i = bms_next_member(info->other_subplans, i)) >= 0)
		result->other_subplans = bms_add_member(result->other_subplans, places[i]);
	return any ? result : NULL;
}

/* ------------------------------------------------------------------- interface */

AkPartitions *
ak_partition_begin(const PlannedStmt *statement, ParamListInfo params)
{
	AkPartitions *partitions = palloc0(sizeof(AkPartitions));

	partitions->rtable = statement->rtable;
	partitions->estate = CreateExecutorState();
	partitions->estate->es_param_list_info = params;
	return partitions;
}

void
ak_partition_end(AkPartitions *partitions)
{
	FreeExecutorState(partitions->estate);
	pfree(partitions);
}
