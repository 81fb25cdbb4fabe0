/*
 * prune.c
 *		How a plan tells which table is read by its projects; see prune.h.
 *
 * PostgreSQL leaves out partitions by conditions on the partition key, which compare it
 * with single values: by a list that is known when execution starts, it does not.  So a
 * table with partitions is given the condition
 *
 *		project = apikey_internal.any_of(list)
 *
 * where the list is the one of the projects, as in a condition of an index.  It holds
 * nothing that was looked up.  It is added when all paths have been made, to the table but
 * not to its partitions.  So it is never checked for a row, nor shown, and changes no cost:
 * what is left of it are the steps by which PostgreSQL finds the partitions, for each level
 * of partitions, and each way to partition, that it helps with.  These are never executed
 * either: see trim.c.  There may be several, with other lists, but all about one column.
 */
#include "postgres.h"

#include "planner/prune.h"

#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/restrictinfo.h"
#include "planner/condition.h"
#include "planner/support.h"
#include "table/schema.h"
#include "utils/lsyscache.h"

/* The schema of functions that were put into queries, and any_of(); none before that. */
static Oid	internal;
static Oid	any_of;

bool
ak_prune_is_changing(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC))
		return true;
	return expression_tree_walker(node, ak_prune_is_changing, context);
}

/* Can this be evaluated before any node is executed? */
static bool
is_known_at_start(Node *expression)
{
	return is_pseudo_constant_clause(expression) &&
		!ak_prune_is_changing(expression, NULL);
}

/* column = apikey_internal.any_of(list) */
static Node *
make_partition_condition(Node *column, Oid type, Oid equality, Node *list)
{
	Oid			collation = exprCollation(column);
	Node	   *value = (Node *) makeFuncExpr(any_of, type, list_make1(list), collation,
											  collation, COERCE_EXPLICIT_CALL);
	Expr	   *condition = make_opclause(equality, BOOLOID, false,
										  (Expr *) ak_condition_column(column, type),
										  (Expr *) value, InvalidOid, collation);

	set_opfuncid((OpExpr *) condition);
	return (Node *) condition;
}

/* What a call comes to for partitions; NULL if its projects are not known at the start. */
static Node *
get_partition_condition(AkCall call)
{
	static const Oid types[] = {ANYARRAYOID};
	Node	   *column = call.names[AK_REACH_PROJECTS];
	Oid			type;
	Oid			equality;
	Node	   *list;

	if (!ak_condition_type(column, &type, &equality) ||
		(call.key != NULL && !is_known_at_start(call.key)))
		return NULL;
	if (!IsA(call.verb, Const))
		call.verb = ak_support_least_verb();
	else if (call.level == AK_LEVEL_NONE)
		return NULL;
	if (!is_known_at_start(call.names[AK_REACH_ENVIRONMENTS]))
		call.names[AK_REACH_ENVIRONMENTS] = NULL;
	ak_schema_accept();
	any_of = ak_condition_function(ak_schema_get()->internal, "any_of", types, 1);
	list = ak_support_list(&call, AK_REACH_PROJECTS, type, exprCollation(column));
	if (!OidIsValid(any_of) || list == NULL)
		return NULL;
	ak_prune_note();
	return make_partition_condition(column, type, equality, list);
}

void
ak_prune_add(PlannerInfo *root, RelOptInfo *rel)
{
	Node	   *column = NULL;
	List	   *conditions = NIL;
	ListCell   *cell;

	if (rel->reloptkind != RELOPT_BASEREL || !IS_PARTITIONED_REL(rel))
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
		if ((column != NULL && !equal(call.names[AK_REACH_PROJECTS], column)) ||
			ak_support_is_implied(rel, ((FuncExpr *) clause)->args, call.level))
			continue;
		condition = get_partition_condition(call);
		if (condition == NULL)
			continue;
		column = call.names[AK_REACH_PROJECTS];
		rinfo = make_simple_restrictinfo(root, (Expr *) condition);
		/* so that nobody evaluates it */
		rinfo->norm_selec = rinfo->outer_selec = 1.0;
		rinfo->eval_cost.startup = rinfo->eval_cost.per_tuple = 0.0;
		conditions = lappend(conditions, rinfo);
	}
	rel->baserestrictinfo = list_concat(rel->baserestrictinfo, conditions);
}

Expr *
ak_prune_list(Node *expression)
{
	if (IsA(expression, RelabelType))
		expression = (Node *) ((RelabelType *) expression)->arg;
	if (!IsA(expression, FuncExpr) || ((FuncExpr *) expression)->funcid != any_of ||
		!OidIsValid(any_of))
		return NULL;
	return linitial(((FuncExpr *) expression)->args);
}

void
ak_prune_note(void)
{
	ak_schema_accept();
	internal = ak_schema_get()->internal;
}

bool
ak_prune_calls(Node *node, void *context)
{
	if (node == NULL || !OidIsValid(internal))
		return false;
	if (IsA(node, FuncExpr) &&
		get_func_namespace(((FuncExpr *) node)->funcid) == internal)
		return true;
	return expression_tree_walker(node, ak_prune_calls, context);
}

AK_FUNCTION_INFO_V1(apikey_any_of);
Datum
apikey_any_of(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("apikey_internal.any_of is for the planner alone")));
	PG_RETURN_NULL();
}
