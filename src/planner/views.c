/*
 * views.c
 *		Queries of the views of this extension, which show what the session's key may see.
 *
 * Each view has the condition apikey_internal.sees(organization), and is a
 * security_barrier: nothing in a query learns of a row before that has let it through,
 * neither a function that leaks nor a look at the statistics of the table.  But PostgreSQL
 * plans such a view for itself.  It does not know that a page is asked for and sorts all
 * rows, and it joins the view as a whole.
 *
 * So a view of one table is turned into what row-level security would make of it: the
 * condition becomes one of the table, which is checked before all others, and the view an
 * ordinary one.  What follows is PostgreSQL's: only what is leakproof is checked, or used
 * for an index, before the condition, and statistics are for estimates that are leakproof
 * alone.  Without the library, so in the first plan of a session that has not loaded it,
 * the view is the barrier.
 *
 * A plan may be kept for sessions with and without a key.  So the support function offers
 * a range of names, whose bounds are found when a scan begins: from that of the key's
 * organization to the same, or over all names.
 */
#include "postgres.h"

#include "planner/views.h"

#include "base/compat.h"
#include "base/guc.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "planner/condition.h"
#include "planner/estimate.h"
#include "table/schema.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

static planner_hook_type next_planner;

/* ------------------------------------------------------------ the views */

/* Is it the condition of a view of ours? */
static bool
is_condition(Node *node)
{
	Oid			namespace;
	char	   *name;

	if (node == NULL || !IsA(node, FuncExpr) ||
		!OidIsValid(get_func_support(((FuncExpr *) node)->funcid)))
		return false;
	namespace = get_namespace_oid("apikey_internal", true);
	if (get_func_namespace(((FuncExpr *) node)->funcid) != namespace)
		return false;
	name = get_func_name(((FuncExpr *) node)->funcid);
	return name != NULL && strcmp(name, "sees") == 0;
}

/* Is it the (SELECT) that keeps a view from being updated? */
static bool
is_empty(const RangeTblEntry *entry)
{
	return entry->rtekind == RTE_SUBQUERY && entry->subquery->rtable == NIL;
}

/* The only table in a FROM list where all else are functions; NULL if there are more. */
static RangeTblEntry *
find_only_table(Query *view, Index *number)
{
	RangeTblEntry *table = NULL;
	ListCell   *cell;

	foreach(cell, view->jointree->fromlist)
	{
		RangeTblEntry *entry;

		if (!IsA(lfirst(cell), RangeTblRef))
			return NULL;
		entry = rt_fetch(((RangeTblRef *) lfirst(cell))->rtindex, view->rtable);
		if (entry->rtekind == RTE_FUNCTION || is_empty(entry))
			continue;
		if (entry->rtekind != RTE_RELATION || table != NULL)
			return NULL;
		table = entry;
		*number = ((RangeTblRef *) lfirst(cell))->rtindex;
	}
	return table;
}

static void
open_view(RangeTblEntry *entry)
{
	Query	   *view;
	RangeTblEntry *table;
	Index		number;

	if (entry->rtekind != RTE_SUBQUERY || !entry->security_barrier)
		return;
	view = entry->subquery;
	if (!is_condition(view->jointree->quals))
		return;
	table = find_only_table(view, &number);
	if (table == NULL || table->relkind != RELKIND_RELATION ||
		!bms_equal(pull_varnos(NULL, view->jointree->quals), bms_make_singleton(number)))
		return;
	table->securityQuals = lcons(view->jointree->quals, table->securityQuals);
	view->jointree->quals = NULL;
	entry->security_barrier = false;
}

static bool
open_views(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		open_view((RangeTblEntry *) node);
		return false;			/* into its subquery, too */
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, open_views, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, open_views, context);
}

/* A view is not a table: most queries are of these alone, and need no look. */
static bool
may_have_views(const Query *query)
{
	ListCell   *cell;

	if (query->hasSubLinks || query->cteList != NIL)
		return true;
	foreach(cell, query->rtable)
	{
		const RangeTblEntry *entry = lfirst(cell);

		if (entry->rtekind == RTE_SUBQUERY)
			return true;
	}
	return false;
}

static PlannedStmt *
plan_with_views(Query *query, const char *string, int options,
				ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	if (may_have_views(query))
		(void) open_views((Node *) query, NULL);
	return next_planner(query, string, options, params AK_EXPLAIN_ARGUMENT);
}

void
ak_views_init(void)
{
	next_planner = planner_hook ? planner_hook : standard_planner;
	planner_hook = plan_with_views;
}

/* ------------------------------------------------------ the support function */

/* The first name that is seen, or the last one; NULL if it may not be called. */
static Node *
make_bound(bool last)
{
	static const Oid types[] = {BOOLOID};
	Oid			seen;

	ak_schema_accept();
	seen = ak_condition_function(ak_schema_get()->internal, "seen", types,
								 lengthof(types));
	if (!OidIsValid(seen))
		return NULL;
	return (Node *) makeFuncExpr(seen, TEXTOID, list_make1(makeBoolConst(last, false)),
								 C_COLLATION_OID, DEFAULT_COLLATION_OID,
								 COERCE_EXPLICIT_CALL);
}

/* organization <operator> bound */
static Node *
make_comparison(Oid operator, Node *organization, Node *bound)
{
	Expr	   *result = make_opclause(operator, BOOLOID, false, (Expr *) organization,
									   (Expr *) bound, InvalidOid, C_COLLATION_OID);

	set_opfuncid((OpExpr *) result);
	return (Node *) result;
}

/* No column that has an index may be null: of these, who sees all would see none. */
static List *
get_range(SupportRequestIndexCondition *req)
{
	Node	   *organization;
	Node	   *first = make_bound(false);
	Node	   *last = make_bound(true);

	if (!IsA(req->node, FuncExpr) || first == NULL || last == NULL ||
		req->index->relam != BTREE_AM_OID || req->indexcollation != C_COLLATION_OID)
		return NIL;
	organization = linitial(((FuncExpr *) req->node)->args);
	req->lossy = false;
	return list_make2(make_comparison(get_opfamily_member(req->opfamily, TEXTOID, TEXTOID,
														  BTGreaterEqualStrategyNumber),
									  organization, first),
					  make_comparison(get_opfamily_member(req->opfamily, TEXTOID, TEXTOID,
														  BTLessEqualStrategyNumber),
									  organization, last));
}

/*
 * The share of the key's organization.  A plan that is made for a key that sees nothing
 * may be kept for others.
 */
static Selectivity
estimate_share(SupportRequestSelectivity *req)
{
	Node	   *first;

	if (!ak_guc_goes_by_key())
		return 1.0;
	first = make_bound(false);
	if (first != NULL)
		first = estimate_expression_value(req->root, first);
	if (first == NULL || !IsA(first, Const) || ((Const *) first)->constisnull)
		return DEFAULT_EQ_SEL;
	return clause_selectivity(req->root,
							  make_comparison(TextEqualOperator, linitial(req->args), first),
							  req->varRelid, req->jointype, req->sjinfo);
}

AK_FUNCTION_INFO_V1(apikey_sees_support);
Datum
apikey_sees_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *answer = NULL;

	if (IsA(request, SupportRequestIndexCondition))
		answer = (Node *) get_range((SupportRequestIndexCondition *) request);
	else if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *req = (SupportRequestSelectivity *) request;

		req->selectivity = estimate_share(req);
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
