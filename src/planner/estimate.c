/*
 * estimate.c
 *		How many rows will apikey_authorize let through, and what does it cost?
 *		See estimate.h.
 */
#include "postgres.h"

#include "planner/estimate.h"

#include "access/htup_details.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "base/ident.h"
#include "base/level.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "table/schema.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

/* So many of the most common values are decided; the rest is guessed. */
#define SAMPLE_PROJECTS		64
#define SAMPLE_ENVIRONMENTS	4

/* So many projects are expected of an unknown key. */
#define DEFAULT_PROJECTS	10.0

/* Of one that sees little, no more than make this share of all, but at least one. */
#define LITTLE_SHARE		0.01

/* The share of rows of which nothing is known. */
#define DEFAULT_SHARE		0.05

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
	AkIdentType arg = {0};
	int			count = Min(slot->nvalues, max);

	ak_ident_prepare(&arg, slot->valuetype, CurrentMemoryContext);
	for (int i = 0; i < count; i++)
	{
		int			from = slot->numbers ? i : (int64) i * slot->nvalues / count;

		if (!ak_ident_print(&arg, slot->values[from], &names[i]))
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
	if (!ak_ident_listable(getBaseType(variable->atttype)))
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

/* Returns false for an argument that is neither a column nor a constant. */
static bool
take_sample(PlannerInfo *root, Node *argument, int relid, int max,
			Sample *sample)
{
	VariableStatData variable;
	Node	   *value = estimate_expression_value(root, argument);

	memset(sample, 0, sizeof(Sample));
	if (IsA(value, Const))
	{
		AkIdentType arg = {0};

		if (((Const *) value)->constisnull)
			return true;
		ak_ident_prepare(&arg, ((Const *) value)->consttype,
						 CurrentMemoryContext);
		if (ak_ident_print(&arg, ((Const *) value)->constvalue,
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

/* Is every key one that sees little now? */
static bool as_little;

void
ak_estimate_as_little(void (*action) (void *), void *arg)
{
	as_little = true;
	PG_TRY();
	{
		action(arg);
	}
	PG_FINALLY();
	{
		as_little = false;
	}
	PG_END_TRY();
}

/* The key that a call is about, as far as planning can tell, or NULL. */
static const AkKey *
key_of_call(PlannerInfo *root, const AkCall *call)
{
	Const	   *value;
	AkName		token;

	if (as_little)
		return NULL;
	if (call->key == NULL)
		return ak_authn_session();
	value = (Const *) estimate_expression_value(root, call->key);
	if (!IsA(value, Const) || value->constisnull)
		return NULL;
	token = ak_name_of_text(value->constvalue);
	return ak_authn_find(token.data, token.len);
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

static double
count_values(const Sample *sample)
{
	return sample->count + sample->distinct;
}

/* So many projects are expected of an unknown key. */
static double
default_projects(const Sample *sample)
{
	if (as_little && sample->column)
		return Min(DEFAULT_PROJECTS, Max(1.0, LITTLE_SHARE * count_values(sample)));
	return DEFAULT_PROJECTS;
}

/* The share of rows for an unknown key. */
static double
default_share(const Sample *sample)
{
	if (!sample->column)
		return DEFAULT_SHARE;
	return Min(1.0, default_projects(sample) / count_values(sample));
}

Selectivity
ak_estimate_call(PlannerInfo *root, int relid, const AkCall *call)
{
	Sample	   *projects = palloc(sizeof(Sample));
	Sample	   *environments = palloc(sizeof(Sample));
	bool		known;
	const AkKey *key;
	Selectivity result;

	known = take_sample(root, call->names[AK_REACH_PROJECTS], relid,
						SAMPLE_PROJECTS, projects);
	known = take_sample(root, call->names[AK_REACH_ENVIRONMENTS], relid,
						SAMPLE_ENVIRONMENTS, environments) && known;
	ak_schema_accept();
	key = key_of_call(root, call);
	if (known && (projects->column || environments->column) &&
		ak_authz_check_key(key) == AK_REASON_GOOD)
		result = share_of_rows(key, Max(call->level, AK_LEVEL_READ), projects,
							   environments);
	else
		result = default_share(projects->column ? projects : environments);
	CLAMP_PROBABILITY(result);
	return result;
}

/* The share of the rows that have one of these names. */
static double
share_of_list(const Sample *sample, const AkName *names, int count)
{
	int			common = 0;
	double		share = 0.0;

	for (int i = 0; i < sample->count; i++)
		if (ak_reach_contains(names, count, &sample->names[i]))
		{
			share += sample->shares[i];
			common++;
		}
	if (count > common)
		share += sample->rest * Min(1.0, (count - common) / sample->distinct);
	return Min(share, 1.0);
}

Selectivity
ak_estimate_list(PlannerInfo *root, int relid, const AkCall *call, AkReachOf of)
{
	Sample	   *sample = palloc(sizeof(Sample));
	const AkKey *key;
	const AkName *names;
	int			count;

	if (!take_sample(root, call->names[of], relid, SAMPLE_PROJECTS, sample))
		return DEFAULT_SHARE;
	ak_schema_accept();
	key = key_of_call(root, call);
	if (ak_authz_check_key(key) != AK_REASON_GOOD)
		return default_share(sample);
	if (key->grants->any_project && of == AK_REACH_PROJECTS)
		return 1.0;				/* or nearly so */
	count = ak_reach_list(key, Max(call->level, AK_LEVEL_READ), of, NULL,
						  &names);
	return share_of_list(sample, names, count);
}

Node *
ak_estimate_save_number(double number)
{
	return (Node *) makeFloat(psprintf("%.17g", number));
}

List *
ak_estimate_save(PlannerInfo *root, int relid, const AkCall *call)
{
	Sample	   *projects = palloc(sizeof(Sample));
	Sample	   *environment = palloc(sizeof(Sample));
	Node	   *within = NULL;
	List	   *names = NIL;
	List	   *shares = NIL;

	if (!take_sample(root, call->names[AK_REACH_PROJECTS], relid,
					 SAMPLE_PROJECTS, projects) ||
		!projects->column)
		return NIL;
	if (take_sample(root, call->names[AK_REACH_ENVIRONMENTS], relid, 1,
					environment) &&
		!environment->column && environment->count > 0)
		within = (Node *) makeString(pnstrdup(environment->names[0].data,
											  environment->names[0].len));
	for (int i = 0; i < projects->count; i++)
	{
		names = lappend(names, makeString(pnstrdup(projects->names[i].data,
												   projects->names[i].len)));
		shares = lappend(shares, ak_estimate_save_number(projects->shares[i]));
	}
	return list_make5(names, shares, ak_estimate_save_number(projects->rest),
					  ak_estimate_save_number(projects->distinct), within);
}

double
ak_estimate_saved(List *saved, const AkKey *key, AkLevel level)
{
	Sample	   *sample = palloc0(sizeof(Sample));
	const char *within = llast(saved) != NULL ? strVal(llast(saved)) : NULL;
	AkName		environment = ak_name_make(within, within ? strlen(within) : 0);
	const AkName *names;
	int			count;
	ListCell   *name;
	ListCell   *share;

	forboth(name, linitial(saved), share, lsecond(saved))
	{
		const char *string = strVal(lfirst(name));

		sample->names[sample->count] = ak_name_make(string, strlen(string));
		sample->shares[sample->count++] = floatVal(lfirst(share));
	}
	sample->rest = floatVal(lthird(saved));
	sample->distinct = floatVal(lfourth(saved));
	count = ak_reach_list(key, Max(level, AK_LEVEL_READ), AK_REACH_PROJECTS,
						  within ? &environment : NULL, &names);
	return share_of_list(sample, names, count);
}

double
ak_estimate_elements(PlannerInfo *root, int relid, const AkCall *call, AkReachOf of)
{
	Sample	   *sample;
	const AkKey *key;
	const AkName *names;
	bool		good;

	ak_schema_accept();
	key = key_of_call(root, call);
	good = ak_authz_check_key(key) == AK_REASON_GOOD;
	if (good && !(key->grants->any_project && of == AK_REACH_PROJECTS))
		return ak_reach_list(key, Max(call->level, AK_LEVEL_READ), of, NULL, &names);
	sample = palloc(sizeof(Sample));
	(void) take_sample(root, call->names[of], relid, SAMPLE_PROJECTS, sample);
	return good && sample->column ? count_values(sample) : default_projects(sample);
}

double
ak_estimate_projects(PlannerInfo *root, int relid, const AkCall *call)
{
	Sample	   *sample = palloc(sizeof(Sample));
	double		projects = ak_estimate_elements(root, relid, call, AK_REACH_PROJECTS);

	if (take_sample(root, call->names[AK_REACH_PROJECTS], relid,
					SAMPLE_PROJECTS, sample))
		projects = Min(projects, count_values(sample));
	return Max(1.0, projects);
}

/*
 * A decision costs as much as three comparisons, and one more for each
 * identifier that must be printed first; the first one of a query, about a
 * hundred.
 */
void
ak_estimate_cost(const AkCall *call, Cost *startup, Cost *per_row)
{
	*startup = 100 * cpu_operator_cost;
	*per_row = 3 * cpu_operator_cost;
	for (int i = 0; call != NULL && i < (int) lengthof(call->names); i++)
		if (exprType(call->names[i]) != TEXTOID)
			*per_row += cpu_operator_cost;
}
