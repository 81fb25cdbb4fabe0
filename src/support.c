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
 * - What it would cost is estimated value by value, for each query anew.
 * - The processes of a parallel index scan tell each other *numbers* of elements.
 *   They evaluate the array each for itself, from what is committed by then, and
 *   must not do that: it could be another array.
 *
 * Estimates are made from the column's statistics and what the key may do now,
 * if it is known.
 */
#include "postgres.h"

#include <math.h>

#include "access/amapi.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "args.h"
#include "authn.h"
#include "authz.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "reach.h"
#include "schema.h"
#include "session.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* What the planner calls: the OID of apikey_support. */
static Oid	support_function;

static void estimate_index_cost(PlannerInfo *root, IndexPath *path,
								double loop_count, Cost *startup, Cost *total,
								Selectivity *selectivity,
								double *correlation, double *pages);

/* The arguments of a call of apikey_authorize. */
typedef struct Question
{
	Node	   *key;			/* NULL: that of the session */
	Node	   *project;
	Node	   *environment;
	Node	   *verb;
} Question;

static Question
get_question(List *args)
{
	int			first = list_length(args) - 3;
	Question	question;

	question.key = first > 0 ? linitial(args) : NULL;
	question.project = list_nth(args, first);
	question.environment = list_nth(args, first + 1);
	question.verb = list_nth(args, first + 2);
	return question;
}

/* The level that a constant verb asks for; AK_LEVEL_NONE for anything else. */
static AkLevel
constant_level(Node *verb)
{
	Const	   *constant = (Const *) verb;
	text	   *value;

	if (!IsA(verb, Const) || constant->constisnull)
		return AK_LEVEL_NONE;
	value = DatumGetTextPP(constant->constvalue);
	return ak_scope_verb(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* ------------------------------------------------------ index conditions */

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

/*
 * Does another call on the same table ask for more of the same column?  One of
 * them is enough for an index condition: before PostgreSQL 17 a btree is
 * scanned for each pair of elements of two arrays.
 */
static bool
another_asks_for_more(SupportRequestIndexCondition *req, Node *column,
					  AkLevel level)
{
	bool		before = true;
	int			from_end = list_length(((FuncExpr *) req->node)->args) -
	req->indexarg;
	ListCell   *cell;

	foreach(cell, req->index->rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		FuncExpr   *call = (FuncExpr *) rinfo->clause;
		AkLevel		other;

		if ((Node *) call == req->node)
		{
			before = false;
			continue;
		}
		if (!IsA(call, FuncExpr) ||
			get_func_support(call->funcid) != support_function ||
			!restriction_is_securely_promotable(rinfo, req->index->rel) ||
			!equal(list_nth(call->args, list_length(call->args) - from_end),
				   column))
			continue;
		other = constant_level(get_question(call->args).verb);
		if (other > level || (other == level && before))
			return true;
	}
	return false;
}

/* Has the index this expression as a key column after "column"? */
static bool
column_follows(IndexOptInfo *index, int column, Node *expression)
{
	while (++column < index->nkeycolumns)
		if (match_index_to_operand(expression, column, index))
			return true;
	return false;
}

/*
 * May the index take an array for this column?  If so, see to it that it is
 * scanned only in ways that can; the planner's idea of the index is this query's
 * own.
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
	index->amcostestimate = estimate_index_cost;
	return true;
}

/* The function that lists what the condition needs; InvalidOid if it may not
 * be called. */
static Oid
find_list_function(Oid authorize, AkReachOf of, bool keyed, Oid element,
				   Oid within)
{
	Oid			types[4];
	int			count = 0;
	const char *name = psprintf("apikey_%s%s%s",
								of == AK_REACH_PROJECTS ? "projects" : "environments",
								keyed ? "_of" : "",
								element == TEXTOID ? "" : "_as");
	Oid			function;

	if (element != TEXTOID)
		types[count++] = ANYELEMENTOID;
	if (keyed)
		types[count++] = TEXTOID;
	types[count++] = TEXTOID;
	if (OidIsValid(within))
		types[count++] = element != TEXTOID ? ANYCOMPATIBLEOID :
			within == TEXTOID ? TEXTOID : ANYELEMENTOID;
	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							   CStringGetDatum(name),
							   PointerGetDatum(buildoidvector(types, count)),
							   ObjectIdGetDatum(get_func_namespace(authorize)));
	if (!OidIsValid(function) ||
		object_aclcheck(ProcedureRelationId, function, GetUserId(),
						ACL_EXECUTE) != ACLCHECK_OK)
		return InvalidOid;
	return function;
}

/* column = ANY (list) */
static Node *
make_condition(Node *column, Oid element, Oid operator, Node *list,
			   Oid collation)
{
	ScalarArrayOpExpr *condition = makeNode(ScalarArrayOpExpr);

	if (exprType(column) != element)
		column = (Node *) makeRelabelType((Expr *) column, element, -1,
										  exprCollation(column),
										  COERCE_IMPLICIT_CAST);
	condition->opno = operator;
	condition->opfuncid = get_opcode(operator);
	condition->useOr = true;
	condition->inputcollid = collation;
	condition->args = list_make2(column, list);
	condition->location = -1;
	return (Node *) condition;
}

static Node *
index_condition(SupportRequestIndexCondition *req)
{
	FuncExpr   *call = (FuncExpr *) req->node;
	IndexOptInfo *index = req->index;
	Question	question;
	AkReachOf	of;
	Node	   *column;
	Node	   *within;
	Node	   *verb;
	Oid			element;
	Oid			operator;
	Oid			list_function;
	List	   *args = NIL;
	Node	   *list;
	Oid			collation = req->indexcollation;
	bool		exact = true;

	if (!IsA(call, FuncExpr))
		return NULL;
	question = get_question(call->args);
	column = list_nth(call->args, req->indexarg);
	if (column == question.project)
		of = AK_REACH_PROJECTS;
	else if (column == question.environment)
		of = AK_REACH_ENVIRONMENTS;
	else
		return NULL;

	/* the type, and its equality */
	element = getBaseType(exprType(column));
	if (element == VARCHAROID)
		element = TEXTOID;
	if (!ak_arg_listable(element))
		return NULL;
	operator = lookup_type_cache(element, TYPECACHE_EQ_OPR)->eq_opr;
	if (!OidIsValid(operator) || !op_in_opfamily(operator, req->opfamily))
		return NULL;
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		exact = false;

	/* what is to be known when the scan begins */
	if (question.key != NULL &&
		!is_pseudo_constant_for_index(req->root, question.key, index))
		return NULL;
	within = of == AK_REACH_PROJECTS ? question.environment : question.project;
	if (!is_pseudo_constant_for_index(req->root, within, index))
	{
		within = NULL;
		exact = false;
	}
	verb = question.verb;
	if (!is_pseudo_constant_for_index(req->root, verb, index))
	{
		/* every verb asks for that at least */
		verb = (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
								  CStringGetTextDatum("read"), false, false);
		exact = false;
	}
	else if (IsA(verb, Const) && constant_level(verb) == AK_LEVEL_NONE)
		return NULL;

	/* is it of use here? */
	if (column_is_fixed(req->root, index, req->indexcol,
						get_op_opfamily_strategy(operator, req->opfamily),
						!AK_ARRAYS_KEEP_ORDER) ||
		another_asks_for_more(req, column, constant_level(question.verb)) ||
		(of == AK_REACH_ENVIRONMENTS && AK_ARRAYS_KEEP_ORDER &&
		 column_follows(index, req->indexcol, question.project)))
		return NULL;

	list_function = find_list_function(req->funcid, of, question.key != NULL,
									   element,
									   within ? exprType(within) : InvalidOid);
	if (!OidIsValid(list_function) ||
		!prepare_index(req->root, index, req->indexcol))
		return NULL;
	if (element != TEXTOID)
		args = lappend(args, makeNullConst(element, -1, InvalidOid));
	if (question.key != NULL)
		args = lappend(args, question.key);
	args = lappend(args, verb);
	if (within != NULL)
		args = lappend(args, within);
	req->lossy = !exact;
	list = (Node *) makeFuncExpr(list_function, get_array_type(element), args,
								 element == TEXTOID ? collation : InvalidOid,
								 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
	return make_condition(column, element, operator, list, collation);
}

/* ------------------------------------------------------------- estimates */

/* So many of the most common values are asked about; the rest is guessed. */
#define SAMPLE_PROJECTS		64
#define SAMPLE_ENVIRONMENTS	4

/* So many projects a key may reach of which nothing is known. */
#define DEFAULT_PROJECTS	10.0

/* What is known of the values of an argument. */
typedef struct Sample
{
	bool		column;			/* else one value for all rows */
	int			count;			/* of the values below */
	AkName		names[SAMPLE_PROJECTS];
	double		shares[SAMPLE_PROJECTS];	/* of all rows */
	double		rest;			/* share of the rows with other values */
	double		distinct;		/* number of other values */
	int			nothers;		/* some of these, as common as each other */
	AkName		others[SAMPLE_PROJECTS];
} Sample;

/* Values of a column as names; evenly chosen if there are more than "max". */
static int
copy_names(const AttStatsSlot *slot, AkName *names, int max)
{
	AkArg		arg = {0};
	int			count = Min(slot->nvalues, max);

	ak_arg_prepare(&arg, slot->valuetype, CurrentMemoryContext);
	for (int i = 0; i < count; i++)
	{
		int			from = slot->numbers ? i : (int64) i * slot->nvalues / count;

		if (!ak_arg_print(&arg, slot->values[from], &names[i]))
			names[i].len = 0;
		names[i].data = pnstrdup(names[i].data, names[i].len);
	}
	return count;
}

static void
sample_column(VariableStatData *variable, Sample *sample, int max)
{
	bool		is_default;
	AttStatsSlot slot;

	sample->column = true;
	sample->rest = 1.0;
	sample->distinct = get_variable_numdistinct(variable, &is_default);
	if (!HeapTupleIsValid(variable->statsTuple))
		return;
	sample->rest -= ((Form_pg_statistic)
					 GETSTRUCT(variable->statsTuple))->stanullfrac;
	if (!ak_arg_listable(getBaseType(variable->atttype)))
		return;
	if (get_attstatsslot(&slot, variable->statsTuple, STATISTIC_KIND_MCV,
						 InvalidOid,
						 ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
	{
		sample->count = copy_names(&slot, sample->names, max);
		for (int i = 0; i < sample->count; i++)
		{
			sample->shares[i] = slot.numbers[i];
			sample->rest -= slot.numbers[i];
		}
		sample->distinct -= sample->count;
		free_attstatsslot(&slot);
	}
	if (get_attstatsslot(&slot, variable->statsTuple,
						 STATISTIC_KIND_HISTOGRAM, InvalidOid,
						 ATTSTATSSLOT_VALUES))
	{
		sample->nothers = copy_names(&slot, sample->others, max);
		free_attstatsslot(&slot);
	}
	sample->rest = Max(sample->rest, 0.0);
	sample->distinct = Max(sample->distinct, 1.0);
}

/* False if nothing is known of the argument, not even how many values it has. */
static bool
take_sample(PlannerInfo *root, Node *argument, int relid, int max,
			Sample *sample)
{
	VariableStatData variable;
	Node	   *value = estimate_expression_value(root, argument);

	memset(sample, 0, sizeof(Sample));
	if (IsA(value, Const))
	{
		AkArg		arg = {0};

		if (((Const *) value)->constisnull)
			return true;
		ak_arg_prepare(&arg, ((Const *) value)->consttype,
					   CurrentMemoryContext);
		if (ak_arg_print(&arg, ((Const *) value)->constvalue,
						 &sample->names[0]))
		{
			sample->names[0].data = pnstrdup(sample->names[0].data,
											 sample->names[0].len);
			sample->shares[0] = 1.0;
			sample->count = 1;
		}
		return true;
	}
	examine_variable(root, argument, relid, &variable);
	if (variable.rel != NULL)
		sample_column(&variable, sample, max);
	ReleaseVariableStats(variable);
	return sample->column;
}

/* The key that a call is about, as far as planning can tell, or NULL. */
static const AkKey *
find_key(PlannerInfo *root, Node *argument)
{
	Const	   *value;
	text	   *token;
	AkFinding	finding;

	if (argument == NULL)
		return ak_session_key();
	value = (Const *) estimate_expression_value(root, argument);
	if (!IsA(value, Const) || value->constisnull)
		return NULL;
	token = DatumGetTextPP(value->constvalue);
	ak_authn_find(&finding, VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token));
	return finding.key;
}

/* The share of all rows of a project that the key may see. */
static double
share_of_project(const AkKey *key, AkLevel level, const AkName *project,
				 const Sample *environments)
{
	double		asked = 0.0;
	double		granted = 0.0;

	for (int i = 0; i < environments->count; i++)
	{
		asked += environments->shares[i];
		if (ak_authz_level(key, project, &environments->names[i]) >= level)
			granted += environments->shares[i];
	}
	if (asked <= 0.0)
		return environments->column ? 1.0 : 0.0;
	/* the other environments are thought to be like these */
	return granted + granted / asked * environments->rest;
}

/* The share of the rows of projects that are not in the sample. */
static double
share_of_rest(const AkKey *key, AkLevel level, const Sample *projects,
			  const Sample *environments, int common, double share)
{
	const AkName *within = environments->column || environments->count == 0 ?
	NULL : &environments->names[0];
	const AkName *names;
	int			count;

	if (projects->rest <= 0.0)
		return 0.0;
	if (key->grants->any_project)
	{
		/* as many as of some of them */
		if (projects->nothers == 0)
			return projects->rest * (projects->count > 0 ? share : 1.0);
		share = 0.0;
		for (int i = 0; i < projects->nothers; i++)
			share += share_of_project(key, level, &projects->others[i],
									  environments) / projects->nothers;
		return projects->rest * share;
	}
	/* as many as the key may see besides */
	count = ak_reach_list(key, level, AK_REACH_PROJECTS, within, &names);
	if (count <= common)
		return 0.0;
	share = share_of_project(key, level, &names[count / 2], environments);
	return projects->rest * Min(1.0, (count - common) / projects->distinct) *
		share;
}

/*
 * The share of rows where the key has the level, the two columns taken as
 * independent.
 */
static double
share_of_rows(const AkKey *key, AkLevel level, const Sample *projects,
			  const Sample *environments)
{
	double		asked = 0.0;
	double		granted = 0.0;
	int			common = 0;		/* projects where it has */

	for (int i = 0; i < projects->count; i++)
	{
		double		share = share_of_project(key, level, &projects->names[i],
											 environments);

		asked += projects->shares[i];
		granted += projects->shares[i] * share;
		if (share > 0.0)
			common++;
	}
	return granted + share_of_rest(key, level, projects, environments, common,
								   asked > 0.0 ? granted / asked : 0.0);
}

/* The same of a key that nothing is known of. */
static double
default_share(const Sample *projects, const Sample *environments)
{
	const Sample *sample = projects->column ? projects : environments;

	if (!sample->column)
		return 0.5;
	return Min(1.0, DEFAULT_PROJECTS / (sample->count + sample->distinct));
}

static Selectivity
selectivity(SupportRequestSelectivity *req)
{
	Question	question = get_question(req->args);
	Sample	   *projects = palloc(sizeof(Sample));
	Sample	   *environments = palloc(sizeof(Sample));
	bool		known = take_sample(req->root, question.project, req->varRelid,
									SAMPLE_PROJECTS, projects);
	AkLevel		level;
	const AkKey *key;
	Selectivity result;

	known = take_sample(req->root, question.environment, req->varRelid,
						SAMPLE_ENVIRONMENTS, environments) && known;
	level = constant_level(estimate_expression_value(req->root, question.verb));
	ak_schema_accept();
	key = find_key(req->root, question.key);
	if (known && (projects->column || environments->column) &&
		ak_authz_alive(key) == AK_REASON_ALIVE)
		result = share_of_rows(key, level != AK_LEVEL_NONE ? level :
							   AK_LEVEL_READ, projects, environments);
	else
		result = default_share(projects, environments);
	CLAMP_PROBABILITY(result);
	return result;
}

/* Is the name in a list made by ak_reach_list()? */
static bool
is_listed(const AkName *name, const AkName *names, int count)
{
	int			low = 0;

	while (low < count)
	{
		int			middle = (low + count) / 2;
		int			order = ak_name_compare(name, &names[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			count = middle;
		else
			low = middle + 1;
	}
	return false;
}

/* The share of rows that an index condition finds, or -1 if it is not known. */
static Selectivity
share_of_list(PlannerInfo *root, IndexOptInfo *index, FuncExpr *call,
			  AkReachOf of)
{
	Question	question = get_question(call->args);
	Node	   *column = of == AK_REACH_PROJECTS ? question.project :
	question.environment;
	Sample	   *sample = palloc(sizeof(Sample));
	AkLevel		level = constant_level(question.verb);
	const AkKey *key;
	const AkName *names;
	int			count;
	int			common = 0;
	double		share = 0.0;

	ak_schema_accept();
	key = find_key(root, question.key);
	if (ak_authz_alive(key) != AK_REASON_ALIVE ||
		!take_sample(root, column, index->rel->relid, SAMPLE_PROJECTS, sample))
		return -1.0;
	if (key->grants->any_project && of == AK_REACH_PROJECTS)
		return 1.0;				/* or nearly so */
	count = ak_reach_list(key, level != AK_LEVEL_NONE ? level : AK_LEVEL_READ,
						  of, NULL, &names);
	for (int i = 0; i < sample->count; i++)
		if (is_listed(&sample->names[i], names, count))
		{
			share += sample->shares[i];
			common++;
		}
	if (count > common)
		share += sample->rest * Min(1.0, (count - common) / sample->distinct);
	return Min(share, 1.0);
}

/*
 * What an index scan costs, by the index's own estimator.  It takes the shares
 * of rows from here: otherwise it would make the list and ask the statistics
 * about each value in it.  Where a condition is exact its share is known.
 */
static void
estimate_index_cost(PlannerInfo *root, IndexPath *path, double loop_count,
					Cost *startup, Cost *total, Selectivity *selectivity,
					double *correlation, double *pages)
{
	IndexOptInfo *index = path->indexinfo;
	ListCell   *cell;

	foreach(cell, path->indexclauses)
	{
		IndexClause *iclause = lfirst_node(IndexClause, cell);
		FuncExpr   *call = (FuncExpr *) iclause->rinfo->clause;
		RestrictInfo *condition;

		if (!IsA(call, FuncExpr) ||
			get_func_support(call->funcid) != support_function)
			continue;
		condition = linitial_node(RestrictInfo, iclause->indexquals);
		if (condition->norm_selec >= 0)
			continue;
		if (!iclause->lossy && iclause->rinfo->norm_selec >= 0)
			condition->norm_selec = iclause->rinfo->norm_selec;
		else
			condition->norm_selec =
				share_of_list(root, index, call,
							  match_index_to_operand(get_question(call->args).project,
													 iclause->indexcol, index) ?
							  AK_REACH_PROJECTS : AK_REACH_ENVIRONMENTS);
	}
	GetIndexAmRoutineByAmId(index->relam, false)->amcostestimate(root, path,
																 loop_count,
																 startup,
																 total,
																 selectivity,
																 correlation,
																 pages);
}

/*
 * A decision costs as much as three comparisons, and one more for each
 * identifier that must be printed first; the first one of a query, about a
 * hundred.
 */
static void
cost(SupportRequestCost *req)
{
	req->startup = 100 * cpu_operator_cost;
	req->per_tuple = 3 * cpu_operator_cost;
	if (req->node != NULL && IsA(req->node, FuncExpr))
	{
		Question	question = get_question(((FuncExpr *) req->node)->args);

		if (exprType(question.project) != TEXTOID)
			req->per_tuple += cpu_operator_cost;
		if (exprType(question.environment) != TEXTOID)
			req->per_tuple += cpu_operator_cost;
	}
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
		((SupportRequestSelectivity *) request)->selectivity =
			selectivity((SupportRequestSelectivity *) request);
		answer = request;
	}
	else if (IsA(request, SupportRequestCost))
	{
		cost((SupportRequestCost *) request);
		answer = request;
	}
	PG_RETURN_POINTER(answer);
}
