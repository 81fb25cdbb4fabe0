/*
 * scans.c
 *		How would a query read its tables, and why not by an ordered scan?
 *
 * The query is planned, as the caller, who needs the rights that it would take to run
 * it; it is not executed.  But planning calls functions: those in the query, its input
 * functions, those in indexes, constraints and policies of its tables.  EXPLAIN calls
 * them as well; here they run besides in a security-restricted operation, read-only.
 * Whoever bypasses row-level security is refused: the plan would not be the one that is
 * asked about, and owners of tables would have their functions called by a superuser.
 */
#include "postgres.h"

#include "auth/authn.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/redact.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "planner/choice.h"
#include "planner/notes.h"
#include "planner/plans.h"
#include "planner/trial.h"
#include "planner/walk.h"
#include "table/ddl.h"
#include "table/schema.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

/* The columns of the result. */
enum
{
	RELATION,
	ALIAS,
	SCAN,
	WHY_NOT,
	ADVICE,
	COLUMNS
};

/* How a table is read; if by several scans, by the last one of these. */
typedef enum Way
{
	WAY_NONE = 0,
	WAY_OTHER,
	WAY_ALL_ROWS,
	WAY_INDEX,
	WAY_INDEX_BY_KEY,
	WAY_CHOICE,
	WAY_ORDERED
} Way;

static const char *const ways[] = {
	NULL, "other", "all rows", "index", "index by key", "choice", "ordered scan"
};

typedef struct QueryPlans
{
	const char *query;
	List	   *statements;		/* PlannedStmts */
	ReturnSetInfo *result;
	List	   *rows;			/* their texts, of those that were returned */
} QueryPlans;

/* -------------------------------------------------------------------- planning */

/* Errors of the parser point into the query, not into the statement that has it. */
static void
point_into_query(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(arg);
	}
}

static void
refuse_query(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("query is not a single SELECT, INSERT, UPDATE, DELETE or MERGE")));
}

/* What a rule adds may be a NOTIFY, which has no plan. */
static List *
parse_query(const char *string)
{
	List	   *parsed = pg_parse_query(string);
	Oid		   *types = NULL;
	int			count = 0;
	List	   *queries;

	if (list_length(parsed) != 1)
		refuse_query();
	queries = pg_analyze_and_rewrite_varparams(linitial_node(RawStmt, parsed), string,
											   &types, &count, NULL);
	if (list_length(queries) == 1 &&
		linitial_node(Query, queries)->commandType == CMD_UTILITY)
		refuse_query();
	return queries;
}

/* Without values for parameters: as a plan is made that is kept. */
static List *
plan_text(const char *string)
{
	List	   *statements = NIL;
	ListCell   *cell;

	foreach(cell, parse_query(string))
	{
		Query	   *query = lfirst_node(Query, cell);
		PlannedStmt *statement;

		if (query->commandType == CMD_UTILITY)
			continue;
		statement = pg_plan_query(query, string, CURSOR_OPT_PARALLEL_OK,
								  NULL AK_NO_EXPLAIN);
		AK_CHECK_PERMISSIONS(statement);
		statements = lappend(statements, statement);
	}
	return statements;
}

/*
 * Errors repeat what is wrong, and it may be a key.  So a query with a key in it is planned
 * without that first: what is wrong is found there.  The plan to explain is another one: it
 * goes by what the key can reach.
 */
static void
plan_query(void *arg)
{
	QueryPlans *plans = arg;
	char	   *shown = pstrdup(plans->query);
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = point_into_query,
		.arg = shown
	};

	error_context_stack = &callback;
	if (ak_redact(shown, strlen(shown), &ak_guc_mask_prefixes))
		(void) plan_text(shown);
	plans->statements = plan_text(plans->query);
	error_context_stack = callback.previous;
}

/* ------------------------------------------------------------------- the plans */

/* A function that an index condition calls for what a key can do. */
static bool
is_of_key(Oid function, void *context)
{
	const AkSchema *schema = ak_schema_get();
	Oid			namespace = get_func_namespace(function);

	return namespace == schema->internal ||
		(namespace == schema->namespace &&
		 strncmp(get_func_name(function), "apikey_", strlen("apikey_")) == 0);
}

static bool
calls_of_key(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_of_key, context) ||
		expression_tree_walker(node, calls_of_key, context);
}

static Way
get_way_by_index(List *conditions)
{
	return calls_of_key((Node *) conditions, NULL) ? WAY_INDEX_BY_KEY : WAY_INDEX;
}

static Way
get_way_by_node(const CustomScan *scan)
{
	return scan->methods == &ak_walk_methods ? WAY_ORDERED :
		scan->methods == &ak_choice_methods ? WAY_CHOICE : WAY_OTHER;
}

static Way
get_way(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
			return WAY_ALL_ROWS;
		case T_IndexScan:
			return get_way_by_index(((const IndexScan *) plan)->indexqualorig);
		case T_IndexOnlyScan:
			return get_way_by_index(((const IndexOnlyScan *) plan)->indexqual);
		case T_BitmapIndexScan:
			return get_way_by_index(((const BitmapIndexScan *) plan)->indexqualorig);
		case T_CustomScan:
			return get_way_by_node((const CustomScan *) plan);
		case T_SampleScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_ForeignScan:
			return WAY_OTHER;
		default:
			return WAY_NONE;
	}
}

/* Note how each entry of the range table is read in a plan, in an array of Ways. */
static bool
find_ways(Plan *plan, void *found)
{
	Way			way = get_way(plan);

	if (way != WAY_NONE)
	{
		Way		   *of_table = &((Way *) found)[((Scan *) plan)->scanrelid];

		*of_table = Max(*of_table, way);
	}
	/* what is below these is a part of them */
	if (way == WAY_ORDERED || way == WAY_CHOICE)
		return false;
	return ak_plans_walk_below(plan, find_ways, found);
}

/* ------------------------------------------------------------------ the answer */

static const char *
explain_no_call(const AkNote *note)
{
	if (note->by_organization)
		return "It is filtered by organization: an index on that and the order has the rows in order by itself.";
	if (!note->filtered)
		return "No policies apply to it here, and no condition of the query calls apikey_authorize.";
	return "No policy calls apikey_authorize on its own: there is none, or another one is joined to it by OR.";
}

static const char *
explain_refusal(const AkNote *note)
{
	switch (note->refusal)
	{
		case AK_ORDERED_OFFERED:
			return note->all ?
				"The query has no LIMIT, and to sort all rows is expected to be quicker." :
				"Another way is expected to be quicker.";
		case AK_ORDERED_NO_CALL:
			return explain_no_call(note);
		case AK_ORDERED_BEHIND:
			return "A restrictive policy is checked before, and the call of apikey_authorize is not leakproof.";
		case AK_ORDERED_NO_ORDER:
			return "The query asks for no order.";
		case AK_ORDERED_OFF:
			return "apikey.enable_ordered_scan is off.";
		case AK_ORDERED_NO_INDEX_SCAN:
			return "enable_indexscan is off.";
		case AK_ORDERED_SAMPLED:
			return "What is read of it depends on a sample, or on other tables.";
		case AK_ORDERED_VOLATILE:
			return "A condition on it is volatile.";
		case AK_ORDERED_NO_INDEX:
			if (note->foreign)
				return "The order does not begin with a column of this table.";
			if (note->all)
				return "The query has no LIMIT: it sorts all rows.";
			return "No index has the order behind the project.";
		case AK_ORDERED_NOT_FIXED:
			return "An index has the order, but behind a column that the query does not fix.";
		case AK_ORDERED_NO_LIST:
			return "An index has the order, but the key's projects are not looked for: the query fixes the project, or its type has no list.";
	}
	return NULL;
}

/*
 * The last one that is about this entry.  But min() and max() are planned twice: first as
 * if they were the first row in an order, and if no index has that, without one.
 */
static const AkNote *
find_note(const List *notes, const RangeTblEntry *entry)
{
	const AkNote *found = NULL;
	ListCell   *cell;

	foreach(cell, notes)
	{
		const AkNote *note = lfirst(cell);

		if (note->table != entry->relid)
			continue;
		if (note->names == entry->eref)
			found = note;
	}
	if (found == NULL || found->refusal != AK_ORDERED_NO_ORDER)
		return found;
	foreach(cell, notes)
	{
		const AkNote *note = lfirst(cell);

		if (note->table == entry->relid && note->refusal == AK_ORDERED_NO_INDEX &&
			strcmp(note->alias, found->alias) == 0)
			return note;
	}
	return found;
}

/* Partitions that are read alike are told of once. */
static void
put_row(QueryPlans *plans, const AkNote *note, Way way)
{
	const char *why_not = way == WAY_ORDERED ? NULL : explain_refusal(note);
	const char *advice = note->index == NULL || way == WAY_ORDERED ||
	(note->refusal == AK_ORDERED_NO_ORDER && way != WAY_ALL_ROWS) ? NULL :
	psprintf("CREATE INDEX ON %s (%s);", ak_ddl_table_name(note->relation),
			 note->index);
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	String	   *row = makeString(psprintf("%u %s\n%s\n%s\n%s", note->relation, note->alias,
										  ways[way], why_not ? why_not : "",
										  advice ? advice : ""));

	if (list_member(plans->rows, row))
		return;
	plans->rows = lappend(plans->rows, row);
	values[RELATION] = ObjectIdGetDatum(note->relation);
	values[ALIAS] = CStringGetTextDatum(note->alias);
	values[SCAN] = CStringGetTextDatum(ways[way]);
	nulls[WHY_NOT] = why_not == NULL;
	if (why_not != NULL)
		values[WHY_NOT] = CStringGetTextDatum(why_not);
	nulls[ADVICE] = advice == NULL;
	if (advice != NULL)
		values[ADVICE] = CStringGetTextDatum(advice);
	tuplestore_putvalues(plans->result->setResult, plans->result->setDesc, values,
						 nulls);
}

static void
explain_statement(QueryPlans *plans, const PlannedStmt *statement, const List *notes)
{
	Way		   *found = palloc0((list_length(statement->rtable) + 1) * sizeof(Way));
	ListCell   *cell;
	Index		relid = 0;

	(void) find_ways(statement->planTree, found);
	(void) ak_plans_walk(statement->subplans, find_ways, found);
	foreach(cell, statement->rtable)
	{
		const AkNote *note;

		if (found[++relid] == WAY_NONE)
			continue;
		note = find_note(notes, lfirst_node(RangeTblEntry, cell));
		if (note != NULL)
			put_row(plans, note, found[relid]);
	}
}

static void
explain_query(void *arg)
{
	QueryPlans *plans = arg;
	AkTrial		trial;
	List	   *notes;
	ListCell   *cell;

	ak_trial_begin(&trial, GetUserId());
	notes = ak_notes_collect(plan_query, plans);
	ak_trial_end(&trial);
	foreach(cell, plans->statements)
		explain_statement(plans, lfirst_node(PlannedStmt, cell), notes);
}

AK_FUNCTION_INFO_V1(apikey_explain_query);
Datum
apikey_explain_query(PG_FUNCTION_ARGS)
{
	QueryPlans	plans = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	Size		len;
	int			level;

	ak_arg_refuse_null(fcinfo, 0, "query");
	plans.query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (has_bypassrls_privilege(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" bypasses row-level security",
						GetUserNameFromId(GetUserId(), false)),
				 errhint("Ask as the role of the application, by SET ROLE.")));
	ak_schema_accept();
	InitMaterializedSRF(fcinfo, 0);
	level = ak_trial_set_key(fcinfo, 1, &len);
	(void) ak_authn_session();	/* what is no key counts as a guess */
	ak_use_uncounted(explain_query, &plans);
	ak_trial_reset_key(level);
	return (Datum) 0;
}
