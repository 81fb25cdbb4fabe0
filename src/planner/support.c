/*
 * support.c
 *		The planner support function of apikey_authorize.
 *
 * It lets the planner answer apikey_authorize(project, environment, verb) on a
 * column by an index on it: project = ANY (apikey_projects(verb)), evaluated
 * when a scan begins.  The condition holds nothing that was looked up, so a plan
 * serves any key.  It is exact where the environment is the same for all rows;
 * else it only narrows the scan, and the function is called for each row found.
 * The same goes for an index on the environment column.
 *
 * An array in an index condition is a promise that the planner does not know
 * it makes: it sees a function call.  So what it would do about an array of the
 * query's own is done here.
 *
 * - An index that takes no arrays, such as a hash index, could be scanned only
 *   by bitmap, one element after the other.
 * - Before PostgreSQL 17 a btree is scanned anew for each element, and its order
 *   is kept only if all columns before are fixed.
 * - To estimate what an index finds, the planner would make the array, and ask
 *   the statistics about each element.
 * - The processes of a parallel index scan tell each other *numbers* of elements.
 *   They evaluate the array each for itself, from what is committed by then, and
 *   must not do that: it could be another array.
 *
 * For estimates see estimate.h.
 */
#include "postgres.h"

#include "planner/support.h"

#include "access/amapi.h"
#include "access/stratnum.h"
#include "auth/reach.h"
#include "base/compat.h"
#include "base/level.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "planner/condition.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* What the planner calls: the OID of our function; none before the first call. */
static Oid	support_function;

bool
ak_support_is_call(Node *clause)
{
	return OidIsValid(support_function) && IsA(clause, FuncExpr) &&
		get_func_support(((FuncExpr *) clause)->funcid) == support_function;
}

AkCall
ak_support_call(List *args)
{
	int			first = list_length(args) - 3;
	AkCall		call;

	call.key = first > 0 ? linitial(args) : NULL;
	call.names[AK_REACH_PROJECTS] = list_nth(args, first);
	call.names[AK_REACH_ENVIRONMENTS] = list_nth(args, first + 1);
	call.verb = list_nth(args, first + 2);
	call.level = ak_condition_level(call.verb);
	return call;
}

/*
 * Does another call on the same table ask for more of the same column, "of", or for as
 * much and stands before?  One of them is enough for an index condition: before
 * PostgreSQL 17 a btree is scanned for each pair of elements of two arrays.
 *
 * Or, without a column, does it let no row through that this one does not?  An UPDATE
 * that reads what it changes is asked for "write" and for "read".
 */
static bool
another_asks_for_more(RelOptInfo *rel, List *args, AkLevel level,
					  const AkReachOf *of)
{
	AkCall		call = ak_support_call(args);
	bool		before = true;
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		AkCall		other;
		bool		same;

		if (!ak_support_is_call((Node *) rinfo->clause))
			continue;
		if (((FuncExpr *) rinfo->clause)->args == args)
		{
			before = false;
			continue;
		}
		other = ak_support_call(((FuncExpr *) rinfo->clause)->args);
		if (of != NULL)
			same = restriction_is_securely_promotable(rinfo, rel) &&
				equal(other.names[*of], call.names[*of]);
		else
			same = equal(other.key, call.key) &&
				equal(other.names[AK_REACH_PROJECTS],
					  call.names[AK_REACH_PROJECTS]) &&
				equal(other.names[AK_REACH_ENVIRONMENTS],
					  call.names[AK_REACH_ENVIRONMENTS]);
		if (same &&
			(other.level > level || (other.level == level && before)))
			return true;
	}
	return false;
}

bool
ak_support_is_implied(RelOptInfo *rel, List *args, AkLevel level)
{
	return another_asks_for_more(rel, args, level, NULL);
}

/*
 * Is this column of the index fixed to one value, or to an array of them, by
 * another condition on the table?  "equality" is the strategy of that.
 */
static bool
column_is_fixed(PlannerInfo *root, IndexOptInfo *index, int column,
				int equality, bool or_array)
{
	ListCell   *cell;

	foreach(cell, index->rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		List	   *args;
		Oid			operator;
		Oid			collation;
		Node	   *value;

		if (!restriction_is_securely_promotable(rinfo, index->rel))
			continue;
		if (IsA(rinfo->clause, OpExpr))
		{
			OpExpr	   *clause = (OpExpr *) rinfo->clause;

			args = clause->args;
			operator = clause->opno;
			collation = clause->inputcollid;
		}
		else if (IsA(rinfo->clause, ScalarArrayOpExpr) && or_array)
		{
			ScalarArrayOpExpr *clause = (ScalarArrayOpExpr *) rinfo->clause;

			if (!clause->useOr)
				continue;
			args = clause->args;
			operator = clause->opno;
			collation = clause->inputcollid;
		}
		else
			continue;
		if (list_length(args) != 2 ||
			(OidIsValid(index->indexcollations[column]) &&
			 collation != index->indexcollations[column]))
			continue;

		value = lsecond(args);
		if (!match_index_to_operand(linitial(args), column, index))
		{
			if (!IsA(rinfo->clause, OpExpr) ||
				!match_index_to_operand(lsecond(args), column, index))
				continue;
			value = linitial(args);
			operator = get_commutator(operator);
		}
		if (OidIsValid(operator) &&
			get_op_opfamily_strategy(operator,
									 index->opfamily[column]) == equality &&
			is_pseudo_constant_for_index(root, value, index))
			return true;
	}
	return false;
}

/* Is this expression a key column of the index, after "column"? */
static bool
column_follows(IndexOptInfo *index, int column, Node *expression)
{
	while (++column < index->nkeycolumns)
		if (match_index_to_operand(expression, column, index))
			return true;
	return false;
}

/* More elements than these make no difference. */
#define MANY_ELEMENTS	10000

/* A condition with a list, to an estimator: it counts the elements of a constructed array. */
static Expr *
show_elements(const ScalarArrayOpExpr *condition, double count)
{
	ScalarArrayOpExpr *result = makeNode(ScalarArrayOpExpr);
	ArrayExpr  *array = makeNode(ArrayExpr);
	Node	   *list = lsecond(condition->args);
	List	   *elements;

	array->array_typeid = exprType(list);
	array->element_typeid = get_element_type(array->array_typeid);
	elements = list_make1(makeNullConst(array->element_typeid, -1, InvalidOid));
	count = Max(Min(count, MANY_ELEMENTS), 1.0);
	while (list_length(elements) < count)
		elements = list_concat(elements, elements);
	array->elements = list_truncate(elements, count);
	linitial(array->elements) = list;	/* its cost counts, too */
	*result = *condition;
	result->args = list_make2(linitial(condition->args), array);
	return (Expr *) result;
}

/* The condition again. */
static void
hide_elements(RestrictInfo *rinfo, Expr *condition)
{
	ScalarArrayOpExpr *shown = castNode(ScalarArrayOpExpr, rinfo->clause);

	list_free(lsecond_node(ArrayExpr, shown->args)->elements);
	rinfo->clause = condition;
}

/*
 * What an index scan costs, by the index's own estimator.  It takes the shares
 * of rows from here: otherwise it would make the list and ask the statistics
 * about each value in it.  Where a condition is exact its share is known.  And it
 * is shown how many elements the list has: otherwise it would think of ten.
 */
static void
estimate_index_cost(PlannerInfo *root, IndexPath *path, double loop_count,
					Cost *startup, Cost *total, Selectivity *selectivity,
					double *correlation, double *pages)
{
	IndexOptInfo *index = path->indexinfo;
	List	   *shown = NIL;
	List	   *conditions = NIL;
	ListCell   *cell;
	ListCell   *condition;

	foreach(cell, path->indexclauses)
	{
		IndexClause *iclause = lfirst_node(IndexClause, cell);
		Node	   *clause = (Node *) iclause->rinfo->clause;
		RestrictInfo *rinfo;
		AkCall		call;
		AkReachOf	of;

		if (!ak_support_is_call(clause))
			continue;
		rinfo = linitial_node(RestrictInfo, iclause->indexquals);
		call = ak_support_call(((FuncExpr *) clause)->args);
		of = match_index_to_operand(call.names[AK_REACH_PROJECTS], iclause->indexcol, index) ?
			AK_REACH_PROJECTS : AK_REACH_ENVIRONMENTS;
		if (rinfo->norm_selec < 0)
			rinfo->norm_selec = !iclause->lossy && iclause->rinfo->norm_selec >= 0 ?
				iclause->rinfo->norm_selec :
				ak_estimate_list(root, index->rel->relid, &call, of);
		shown = lappend(shown, rinfo);
		conditions = lappend(conditions, rinfo->clause);
		rinfo->clause = show_elements(castNode(ScalarArrayOpExpr, rinfo->clause),
									  ak_estimate_elements(root, index->rel->relid,
														   &call, of));
	}
	GetIndexAmRoutineByAmId(index->relam, false)->amcostestimate(root, path,
																 loop_count,
																 startup,
																 total,
																 selectivity,
																 correlation,
																 pages);
	forboth(cell, shown, condition, conditions)
		hide_elements(lfirst_node(RestrictInfo, cell), lfirst(condition));
}

/*
 * Can the index take an array for this column?  Then rule out the scans that cannot:
 * IndexOptInfo belongs to the query that is being planned.
 */
static bool
prepare_index(PlannerInfo *root, IndexOptInfo *index, int column)
{
	if (!index->amsearcharray)
	{
		if (!index->amhasgetbitmap || index->amcanorderbyop)
			return false;
		index->amhasgettuple = false;
	}
	else if (!AK_ARRAYS_KEEP_ORDER && index->sortopfamily != NULL)
		for (int i = 0; i < column; i++)
			if (!column_is_fixed(root, index, i, BTEqualStrategyNumber, false))
				return false;
	index->amcanparallel = false;
	index->amcostestimate = AK_COST_ESTIMATOR(estimate_index_cost);
	return true;
}

/*
 * The function that lists what the condition needs; InvalidOid if it may not be
 * called.  Projects as text have one that users know.
 */
static Oid
find_list_function(AkReachOf of, bool keyed, Oid element, Oid within)
{
	const AkSchema *schema = ak_schema_get();
	bool		public = of == AK_REACH_PROJECTS && element == TEXTOID;
	const char *name = psprintf("%s%s%s", public ? "apikey_" : "",
								of == AK_REACH_PROJECTS ? "projects" : "environments",
								keyed ? "_of" : "");
	Oid			types[4];
	int			count = 0;

	if (!public)
		types[count++] = ANYELEMENTOID;
	if (keyed)
		types[count++] = TEXTOID;
	types[count++] = TEXTOID;
	if (OidIsValid(within))
		types[count++] = public && within == TEXTOID ? TEXTOID : ANYOID;
	return ak_condition_function(public ? schema->namespace : schema->internal,
								 name, types, count);
}

Node *
ak_support_list(const AkCall *call, AkReachOf of, Oid type, Oid collation)
{
	Node	   *within = call->names[of == AK_REACH_PROJECTS ?
									 AK_REACH_ENVIRONMENTS : AK_REACH_PROJECTS];
	Oid			function = find_list_function(of, call->key != NULL, type,
											  within ? exprType(within) : InvalidOid);
	List	   *args = NIL;

	if (!OidIsValid(function))
		return NULL;
	if (of == AK_REACH_ENVIRONMENTS || type != TEXTOID)
		args = lappend(args, makeNullConst(type, -1, collation));
	if (call->key != NULL)
		args = lappend(args, call->key);
	args = lappend(args, call->verb);
	if (within != NULL)
		args = lappend(args, within);
	return (Node *) makeFuncExpr(function, get_array_type(type), args,
								 type == TEXTOID ? collation : InvalidOid,
								 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
}

Node *
ak_support_least_verb(void)
{
	return (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
							  CStringGetTextDatum("read"), false, false);
}

/* column = ANY (list) */
static Node *
make_condition(Node *column, Oid element, Oid operator, Node *list,
			   Oid collation)
{
	ScalarArrayOpExpr *condition = makeNode(ScalarArrayOpExpr);

	condition->opno = operator;
	condition->opfuncid = get_opcode(operator);
	condition->useOr = true;
	condition->inputcollid = collation;
	condition->args = list_make2(ak_condition_column(column, element), list);
	condition->location = -1;
	return (Node *) condition;
}

static Node *
index_condition(SupportRequestIndexCondition *req)
{
	IndexOptInfo *index = req->index;
	List	   *call_args;
	AkCall		call;
	AkReachOf	of;
	Node	   *column;
	Node	  **within;
	Node	   *projects;
	Oid			element;
	Oid			operator;
	Node	   *list;
	Oid			collation = req->indexcollation;
	bool		exact = true;

	if (!IsA(req->node, FuncExpr))
		return NULL;
	call_args = ((FuncExpr *) req->node)->args;
	call = ak_support_call(call_args);
	column = list_nth(call_args, req->indexarg);
	if (column == call.names[AK_REACH_PROJECTS])
		of = AK_REACH_PROJECTS;
	else if (column == call.names[AK_REACH_ENVIRONMENTS])
		of = AK_REACH_ENVIRONMENTS;
	else
		return NULL;

	if (!ak_condition_type(column, &element, &operator) ||
		!op_in_opfamily(operator, req->opfamily))
		return NULL;
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		exact = false;

	/* these must be known when the scan begins */
	if (call.key != NULL &&
		!is_pseudo_constant_for_index(req->root, call.key, index))
		return NULL;
	within = &call.names[of == AK_REACH_PROJECTS ? AK_REACH_ENVIRONMENTS :
						 AK_REACH_PROJECTS];
	projects = call.names[AK_REACH_PROJECTS];
	if (!is_pseudo_constant_for_index(req->root, *within, index))
	{
		*within = NULL;
		exact = false;
	}
	if (!is_pseudo_constant_for_index(req->root, call.verb, index))
	{
		call.verb = ak_support_least_verb();
		exact = false;
	}
	else if (IsA(call.verb, Const) && call.level == AK_LEVEL_NONE)
		return NULL;

	/* would it help? */
	if (column_is_fixed(req->root, index, req->indexcol,
						get_op_opfamily_strategy(operator, req->opfamily),
						!AK_ARRAYS_KEEP_ORDER) ||
		another_asks_for_more(index->rel, call_args, call.level, &of) ||
		(of == AK_REACH_ENVIRONMENTS && AK_ARRAYS_KEEP_ORDER &&
		 column_follows(index, req->indexcol, projects)))
		return NULL;

	ak_schema_accept();
	list = ak_support_list(&call, of, element, collation);
	if (list == NULL || !prepare_index(req->root, index, req->indexcol))
		return NULL;
	req->lossy = !exact;
	return make_condition(column, element, operator, list, collation);
}

/* The share of rows that a call lets through, if no other has done so already. */
static Selectivity
estimate_call(SupportRequestSelectivity *req)
{
	PlannerInfo *root = req->root;
	AkCall		call = ak_support_call(req->args);
	Relids		relids = pull_varnos(root, (Node *) req->args);
	RelOptInfo *rel = NULL;
	int			relid;

	call.level = ak_condition_level(estimate_expression_value(root, call.verb));
	if (bms_get_singleton_member(relids, &relid) &&
		relid < root->simple_rel_array_size)
		rel = root->simple_rel_array[relid];
	if (rel != NULL && ak_support_is_implied(rel, req->args, call.level))
		return 1.0;
	return ak_estimate_call(root, req->varRelid, &call);
}

AK_FUNCTION_INFO_V1(apikey_support);
Datum
apikey_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *answer = NULL;

	support_function = fcinfo->flinfo->fn_oid;
	if (IsA(request, SupportRequestIndexCondition))
	{
		Node	   *condition =
		index_condition((SupportRequestIndexCondition *) request);

		if (condition != NULL)
			answer = (Node *) list_make1(condition);
	}
	else if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *req = (SupportRequestSelectivity *) request;

		req->selectivity = estimate_call(req);
		answer = request;
	}
	else if (IsA(request, SupportRequestCost))
	{
		SupportRequestCost *req = (SupportRequestCost *) request;
		bool		known = req->node != NULL && IsA(req->node, FuncExpr);
		AkCall		call;

		if (known)
			call = ak_support_call(((FuncExpr *) req->node)->args);
		ak_estimate_cost(known ? &call : NULL, &req->startup, &req->per_tuple);
		answer = request;
	}
	PG_RETURN_POINTER(answer);
}
