/*
 * notes.c
 *		What the planner has found out about each table of a query; see notes.h.
 */
#include "postgres.h"

#include "planner/notes.h"

#include "base/compat.h"
#include "catalog/pg_am.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "parser/parsetree.h"
#include "planner/condition.h"
#include "planner/indexes.h"
#include "planner/support.h"
#include "rewrite/rewriteManip.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

typedef struct Collection
{
	MemoryContext context;
	List	   *notes;
} Collection;

static Collection *collection;	/* NULL: nobody asks */

List *
ak_notes_collect(void (*plan) (void *), void *arg)
{
	Collection *before = collection;
	Collection	mine = {.context = CurrentMemoryContext};

	collection = &mine;
	PG_TRY();
	{
		plan(arg);
	}
	PG_FINALLY();
	{
		collection = before;
	}
	PG_END_TRY();
	return mine.notes;
}

/* --------------------------------------------------------- columns of an index */

/* What cannot stand in an index. */
static bool
is_no_column(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) || IsA(node, PlaceHolderVar) || IsA(node, SubPlan) ||
		(IsA(node, Var) && ((Var *) node)->varattno < 0))
		return true;
	return expression_tree_walker(node, is_no_column, context);
}

/* As an index has it. */
static const Node *
strip_relabels(const Node *expression)
{
	while (IsA(expression, RelabelType))
		expression = (const Node *) ((const RelabelType *) expression)->arg;
	return expression;
}

/* An expression on the table "varno" as a column of an index; NULL if it cannot be one. */
static char *
get_index_column(const PlannerInfo *root, const Node *expression, Index varno)
{
	Oid			table = planner_rt_fetch(varno, root)->relid;
	Node	   *copy = copyObject(unconstify(Node *, strip_relabels(expression)));
	char	   *sql;

	if (contain_mutable_functions(copy) || is_no_column(copy, NULL))
		return NULL;
	ChangeVarNodes(copy, varno, 1, 0);
	sql = deparse_expression(copy,
							 deparse_context_for(get_rel_name(table), table),
							 false, false);
	return IsA(copy, Var) ? sql : psprintf("(%s)", sql);
}

/* The table that the query names, if this is a child of it. */
static RelOptInfo *
get_named(PlannerInfo *root, RelOptInfo *rel)
{
	int			relid;

	if (!bms_get_singleton_member(rel->top_parent_relids, &relid))
		return rel;
	return find_base_rel(root, relid);
}

/* What the table is ordered by there, of which "varno" it is; NULL: by another table's. */
static Node *
get_ordering(PlannerInfo *root, RelOptInfo *rel, const PathKey *pathkey,
			 Index *varno)
{
	RelOptInfo *named = get_named(root, rel);
	ListCell   *cell;

	foreach(cell, pathkey->pk_eclass->ec_members)
	{
		EquivalenceMember *member = lfirst(cell);
		AppendRelInfo *info;

		if (!bms_equal(member->em_relids, named->relids) || member->em_is_const)
			continue;
		*varno = named->relid;
		if (named->rtekind == RTE_RELATION)
			return (Node *) member->em_expr;
		/* a branch of UNION ALL */
		info = root->append_rel_array[rel->relid];
		if (info->parent_relid != named->relid)
			return NULL;
		*varno = rel->relid;
		return adjust_appendrel_attrs(root, (Node *) member->em_expr, 1, &info);
	}
	return NULL;
}

/*
 * One more column of an index, for this order; or for the reverse one, as each can be read
 * in both directions.  Returns whether it can be.
 */
static bool
append_ordering(PlannerInfo *root, StringInfo columns, const Node *expression,
				Index varno, const PathKey *pathkey, bool reverse)
{
	Oid			opclass = GetDefaultOpClass(exprType(expression), BTREE_AM_OID);
	Oid			collation = pathkey->pk_eclass->ec_collation;
	bool		descending = AK_IS_DESCENDING(pathkey) != reverse;
	bool		nulls_first = pathkey->pk_nulls_first != reverse;
	char	   *column = get_index_column(root, expression, varno);

	if (column == NULL || !OidIsValid(opclass) ||
		get_opclass_family(opclass) != pathkey->pk_opfamily)
		return false;
	appendStringInfo(columns, ", %s", column);
	if (OidIsValid(collation) &&
		collation != exprCollation(strip_relabels(expression)))
		appendStringInfo(columns, " COLLATE %s",
						 generate_collation_name(collation));
	if (descending)
		appendStringInfoString(columns, " DESC");
	if (nulls_first != descending)
		appendStringInfo(columns, " NULLS %s", nulls_first ? "FIRST" : "LAST");
	return true;
}

/*
 * The columns of an index that begins with the project of the call, and goes on with the
 * order that the query asks for, as far as that is of the table; NULL if there can be
 * none.
 */
static char *
get_ordered_index(PlannerInfo *root, RelOptInfo *rel, const AkCall *call)
{
	Node	   *project = call->names[AK_REACH_PROJECTS];
	Oid			collation = exprCollation(project);
	char	   *first = get_index_column(root, project, rel->relid);
	bool		reverse =
	AK_IS_DESCENDING(linitial_node(PathKey, root->query_pathkeys));
	StringInfoData columns;
	bool		found = false;
	Oid			type;
	Oid			equality;
	ListCell   *cell;

	if (first == NULL || !ak_condition_type(project, &type, &equality) ||
		(OidIsValid(collation) && !get_collation_isdeterministic(collation)))
		return NULL;
	initStringInfo(&columns);
	appendStringInfoString(&columns, first);
	foreach(cell, root->query_pathkeys)
	{
		const PathKey *pathkey = lfirst_node(PathKey, cell);
		Index		varno;
		Node	   *expression = get_ordering(root, rel, pathkey, &varno);

		if (expression == NULL ||
			!append_ordering(root, &columns, expression, varno, pathkey, reverse))
			break;
		found = true;
	}
	return found ? columns.data : NULL;
}

/* Those of an index that begins with the project of the call, if it is a column. */
static char *
get_project_index(const PlannerInfo *root, const RelOptInfo *rel,
				  const AkCall *call)
{
	Node	   *project = call->names[AK_REACH_PROJECTS];
	Node	   *environment = call->names[AK_REACH_ENVIRONMENTS];
	Oid			table = planner_rt_fetch(rel->relid, root)->relid;
	char	   *first = get_index_column(root, project, rel->relid);
	char	   *second;
	Oid			type;
	Oid			equality;

	if (first == NULL || !IsA(project, Var) ||
		!ak_condition_type(project, &type, &equality) ||
		ak_indexes_begin_with(table, ((Var *) project)->varattno))
		return NULL;
	second = IsA(environment, Var) ?
		get_index_column(root, environment, rel->relid) : NULL;
	return second == NULL ? first : psprintf("%s, %s", first, second);
}

/* ------------------------------------------------------------------- the notes */

/* Is it a call of a function that returns a key's organization? */
static bool
has_organization(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr))
	{
		Oid			function = ((FuncExpr *) node)->funcid;

		if (get_func_namespace(function) == ak_schema_get()->internal &&
			strncmp(get_func_name(function), "organization",
					strlen("organization")) == 0)
			return true;
	}
	return expression_tree_walker(node, has_organization, context);
}

static bool
is_by_organization(const RelOptInfo *rel)
{
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		if (has_organization((Node *) lfirst_node(RestrictInfo, cell)->clause, NULL))
			return true;
	}
	return false;
}

static AkNote *
make_note(PlannerInfo *root, RelOptInfo *rel, AkOrderedRefusal refusal,
		  const RestrictInfo *rinfo)
{
	RangeTblEntry *entry = planner_rt_fetch(rel->relid, root);
	RelOptInfo *named = get_named(root, rel);
	RangeTblEntry *named_entry = named->rtekind == RTE_RELATION ?
	planner_rt_fetch(named->relid, root) : entry;
	bool		ordered = root->query_pathkeys != NIL;
	AkNote	   *note = palloc0(sizeof(AkNote));
	Index		varno;
	AkCall		call;

	note->names = entry->eref;
	note->table = entry->relid;
	note->alias = pstrdup(named_entry->eref->aliasname);
	note->relation = named_entry->relid;
	/* an order may be of use for a join, too */
	note->refusal = refusal == AK_ORDERED_NO_INDEX && !ordered ?
		AK_ORDERED_NO_ORDER : refusal;
	note->filtered = named_entry->securityQuals != NIL;
	note->by_organization = is_by_organization(rel);
	note->all = root->tuple_fraction <= 0.0 && root->limit_tuples <= 0.0;
	note->foreign = ordered &&
		get_ordering(root, rel, linitial_node(PathKey, root->query_pathkeys),
					 &varno) == NULL;
	if (rinfo == NULL)
		return note;
	call = ak_support_call(((FuncExpr *) rinfo->clause)->args);
	if (note->refusal == AK_ORDERED_NO_ORDER || note->all)
		note->index = get_project_index(root, rel, &call);
	else if (note->refusal == AK_ORDERED_NO_INDEX ||
			 note->refusal == AK_ORDERED_NOT_FIXED)
		note->index = get_ordered_index(root, rel, &call);
	return note;
}

void
ak_notes_add(PlannerInfo *root, RelOptInfo *rel, AkOrderedRefusal refusal,
			 const RestrictInfo *call)
{
	MemoryContext before;

	if (collection == NULL)
		return;
	before = MemoryContextSwitchTo(collection->context);
	collection->notes = lappend(collection->notes,
								make_note(root, rel, refusal, call));
	MemoryContextSwitchTo(before);
}
