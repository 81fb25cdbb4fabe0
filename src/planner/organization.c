/*
 * organization.c
 *		Calls of apikey_authorize_organization in a query.
 *
 * A key has one organization.  So apikey_authorize_organization(column, verb) says
 * the same as
 *
 *		column = apikey_internal.organization(type, verb)
 *
 * which is the organization of the session's key if that has the level, else null;
 * it is evaluated when a scan begins, or, as a filter, for each row.  The one
 * difference is that the equality can be null where the call is false.  So a call is
 * replaced only where null and false are the same: where it stands alone, or under
 * AND, in WHERE, ON or a policy.
 *
 * It takes an equality in the query itself for the planner to know that the column is
 * the same in all rows: then an index on (column, created_at) has the rows in the
 * order of created_at, and the condition reaches what the column is joined to.  An
 * index condition that a support function supplies comes too late for that.  So calls
 * are replaced by a hook, see paths.c.
 *
 * The support function serves the calls that stay: in an OR, on the columns of a
 * UNION ALL, of another table's key, under a nondeterministic collation, where equality
 * says yes to more.
 *
 * To estimate the share of rows the planner evaluates the function.  Where it returns
 * null now, the plan may be kept for a key that has the level; but of a comparison
 * with null the planner expects no rows.  So it is given a variant with one more
 * argument, unknown(), which it does not evaluate, as that returns a record; then it
 * expects an average organization.
 */
#include "postgres.h"

#include "planner/organization.h"

#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "planner/condition.h"
#include "planner/estimate.h"
#include "planner/prune.h"
#include "table/schema.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

/* What the planner calls: the OID of our function. */
static Oid	organization_support;

/* A call of apikey_authorize_organization: which one, and its arguments. */
typedef struct OrganizationCall
{
	Oid			function;
	Node	   *key;			/* NULL: that of the session */
	Node	   *organization;
	Node	   *verb;
} OrganizationCall;

static bool
is_organization_call(Node *clause)
{
	return IsA(clause, FuncExpr) &&
		get_func_support(((FuncExpr *) clause)->funcid) == organization_support;
}

static OrganizationCall
get_organization_call(Oid function, List *args)
{
	OrganizationCall call;

	call.function = function;
	call.key = list_length(args) > 2 ? linitial(args) : NULL;
	call.organization = list_nth(args, list_length(args) - 2);
	call.verb = llast(args);
	return call;
}

/* A call of a function in the other schema; NULL if it may not be called. */
static Node *
make_internal_call(const char *name, Oid result, List *args, Oid collation,
				   const Oid *types, int count)
{
	Oid			function = ak_condition_function(ak_schema_get()->internal, name,
												 types, count);

	if (!OidIsValid(function))
		return NULL;
	return (Node *) makeFuncExpr(function, result, args, collation,
								 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
}

/* A call of organization or organization_of; NULL if it may not be called. */
static Node *
make_value_call(const OrganizationCall *call, Oid type, Oid collation,
				bool unknown)
{
	List	   *args = list_make1(makeNullConst(type, -1, collation));
	Oid			types[4] = {ANYELEMENTOID};
	int			count = 1;

	if (call->key != NULL)
	{
		args = lappend(args, call->key);
		types[count++] = TEXTOID;
	}
	args = lappend(args, call->verb);
	types[count++] = TEXTOID;
	if (unknown)
	{
		Node	   *record = make_internal_call("unknown", RECORDOID, NIL,
												InvalidOid, NULL, 0);

		if (record == NULL)
			return NULL;
		args = lappend(args, record);
		types[count++] = RECORDOID;
	}
	return make_internal_call(call->key ? "organization_of" : "organization",
							  type, args, collation, types, count);
}

/*
 * organization = value, under this collation; NULL if there is no such condition, or
 * the call would be an error.  It says yes where the call does, and to nothing else if
 * the collation is deterministic.
 */
static Node *
make_equality(PlannerInfo *root, const OrganizationCall *call, Oid collation)
{
	Oid			type;
	Oid			operator;
	Node	   *value;
	Node	   *now;
	Expr	   *equality;

	if ((IsA(call->verb, Const) &&
		 ak_condition_level(call->verb) == AK_LEVEL_NONE) ||
		!ak_condition_may_call(call->function) ||
		!ak_condition_type(call->organization, &type, &operator) ||
		(type_is_collatable(type) && !OidIsValid(collation)))
		return NULL;
	ak_schema_accept();
	value = make_value_call(call, type, collation, false);
	if (value == NULL)
		return NULL;
	now = estimate_expression_value(root, value);
	if (IsA(now, Const) && ((Const *) now)->constisnull)
		value = make_value_call(call, type, collation, true);
	if (value == NULL)
		return NULL;
	equality = make_opclause(operator, BOOLOID, false,
							 (Expr *) ak_condition_column(call->organization, type),
							 (Expr *) value, InvalidOid, collation);
	set_opfuncid((OpExpr *) equality);
	return (Node *) equality;
}

static bool
is_deterministic(Oid collation)
{
	return !OidIsValid(collation) || get_collation_isdeterministic(collation);
}

/* -------------------------------------------------------- in the conditions */

/* What a call that is a condition is replaced by; NULL if it stays. */
static Node *
get_replacement(PlannerInfo *root, Node *clause)
{
	FuncExpr   *function = (FuncExpr *) clause;
	OrganizationCall call = get_organization_call(function->funcid,
												  function->args);
	Oid			collation = exprCollation(call.organization);

	if (!contain_var_clause(call.organization) ||
		contain_var_clause(call.verb) || contain_var_clause(call.key) ||
		contain_volatile_functions(clause) || !is_deterministic(collation))
		return NULL;
	return make_equality(root, &call, collation);
}

/* In the conditions of an AND. */
static void
replace_in_conditions(PlannerInfo *root, Node *conditions)
{
	ListCell   *cell;

	if (conditions == NULL)
		return;
	foreach(cell, castNode(List, conditions))
	{
		Node	   *clause = lfirst(cell);
		Node	   *equality = NULL;

		if (is_organization_call(clause))
			equality = get_replacement(root, clause);
		if (equality != NULL)
			lfirst(cell) = equality;
	}
}

/* In WHERE and ON. */
static void
replace_in_joins(PlannerInfo *root, Node *join)
{
	ListCell   *cell;

	if (IsA(join, FromExpr))
	{
		foreach(cell, ((FromExpr *) join)->fromlist)
			replace_in_joins(root, lfirst(cell));
		replace_in_conditions(root, ((FromExpr *) join)->quals);
	}
	else if (IsA(join, JoinExpr))
	{
		replace_in_joins(root, ((JoinExpr *) join)->larg);
		replace_in_joins(root, ((JoinExpr *) join)->rarg);
		replace_in_conditions(root, ((JoinExpr *) join)->quals);
	}
}

void
ak_organization_replace(PlannerInfo *root, RelOptInfo *rel)
{
	ListCell   *cell;

	if (!OidIsValid(organization_support))
		return;
	if (planner_rt_fetch(rel->relid, root)->relkind == RELKIND_PARTITIONED_TABLE)
		ak_prune_note();
	foreach(cell, planner_rt_fetch(rel->relid, root)->securityQuals)
		replace_in_conditions(root, lfirst(cell));
	if (rel->reloptkind == RELOPT_BASEREL && root->parse->jointree != NULL)
		replace_in_joins(root, (Node *) root->parse->jointree);
}

/* ------------------------------------------------------ the support function */

static Node *
get_index_condition(SupportRequestIndexCondition *req)
{
	FuncExpr   *function = (FuncExpr *) req->node;
	OrganizationCall call;
	Oid			type;
	Oid			operator;

	if (!IsA(function, FuncExpr))
		return NULL;
	call = get_organization_call(function->funcid, function->args);
	if (list_nth(function->args, req->indexarg) != call.organization ||
		!ak_condition_type(call.organization, &type, &operator) ||
		!op_in_opfamily(operator, req->opfamily) ||
		!is_pseudo_constant_for_index(req->root, call.verb, req->index) ||
		(call.key != NULL &&
		 !is_pseudo_constant_for_index(req->root, call.key, req->index)))
		return NULL;
	req->lossy = !is_deterministic(req->indexcollation);
	return make_equality(req->root, &call, req->indexcollation);
}

static Selectivity
estimate_organization_call(SupportRequestSelectivity *req)
{
	OrganizationCall call = get_organization_call(req->funcid, req->args);
	Node	   *equality = make_equality(req->root, &call,
										 exprCollation(call.organization));

	if (equality == NULL)
		return DEFAULT_EQ_SEL;
	return clause_selectivity(req->root, equality, req->varRelid, req->jointype,
							  req->sjinfo);
}

AK_FUNCTION_INFO_V1(apikey_organization_support);
Datum
apikey_organization_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *answer = NULL;

	organization_support = fcinfo->flinfo->fn_oid;
	if (IsA(request, SupportRequestIndexCondition))
	{
		Node	   *condition =
		get_index_condition((SupportRequestIndexCondition *) request);

		if (condition != NULL)
			answer = (Node *) list_make1(condition);
	}
	else if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *req = (SupportRequestSelectivity *) request;

		req->selectivity = estimate_organization_call(req);
		answer = request;
	}
	else if (IsA(request, SupportRequestCost))
	{
		SupportRequestCost *req = (SupportRequestCost *) request;

		ak_estimate_cost(NULL, &req->startup, &req->per_tuple);
		answer = request;
	}
	PG_RETURN_POINTER(answer);
}
