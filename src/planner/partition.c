/*
 * partition.c
 *		A project of a key that is in a partition, if there is one: what prune.c puts into
 *		a query for each partition.
 *
 * When execution starts the function is called for each partition, one after the other.
 * What the first call finds out about the table is kept until the next command, or
 * message: each project of the key is looked up once, in the way PostgreSQL would, until
 * there is one for each partition.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/stratnum.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/reach.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/ident.h"
#include "base/inval.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "partitioning/partprune.h"
#include "table/schema.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"

/* What is asked about the partitions of a table. */
typedef struct PartitionsOf
{
	Oid			table;
	Oid			type;			/* of the projects */
	const AkKey *key;
	AkLevel		level;
	bool		anywhere;		/* not only within ... */
	AkName		within;
} PartitionsOf;

typedef struct Representative
{
	Oid			partition;
	bool		found;
	Datum		project;
} Representative;

/* The answer: one allocation, with what the projects point to beside it. */
typedef struct Representatives
{
	struct Representatives *next;
	PartitionsOf of;
	int			count;
	Representative partitions[FLEXIBLE_ARRAY_MEMBER];	/* by their OIDs */
} Representatives;

static MemoryContext context;
static Representatives *kept;	/* as of ... */
static AkMoment moment;
static uint64 messages;
static uint64 epoch;			/* of the keys */

static bool
is_same_about_partitions(const PartitionsOf *a, const PartitionsOf *b)
{
	return a->table == b->table && a->type == b->type && a->key == b->key &&
		a->level == b->level && a->anywhere == b->anywhere &&
		(a->anywhere || ak_name_equal(&a->within, &b->within));
}

static int
compare_partitions(const void *a, const void *b)
{
	Oid			one = ((const Representative *) a)->partition;
	Oid			other = ((const Representative *) b)->partition;

	return one < other ? -1 : one > other;
}

/* Forget what is no longer true. */
static void
look_at_changes(void)
{
	if (kept != NULL && ak_inval_is_moment(&moment) &&
		messages == ak_inval_messages && epoch == ak_keycache_epoch)
		return;
	kept = NULL;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey partitions",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	ak_inval_set_moment(&moment);
	messages = ak_inval_messages;
	epoch = ak_keycache_epoch;
}

/*
 * Find the partitions that PostgreSQL would by key = value, for each project, and note it
 * for those that have none yet, by their indexes.
 */
static void
look_up_projects(const PartitionsOf *of, PartitionKey key, PartitionDesc parts,
				 Representative *result)
{
	Const	   *constant = makeNullConst(of->type, -1, key->partcollation[0]);
	PartitionPruneStepOp step = {.step.type = T_PartitionPruneStepOp};
	PartitionPruneContext lookup = {0};
	AkIdentType reader = {0};
	const AkName *names;
	int			count = ak_reach_list(of->key, of->level, AK_REACH_PROJECTS,
									  of->anywhere ? NULL : &of->within,
									  &names);
	int			left = parts->nparts;

	constant->constisnull = false;
	step.opstrategy = key->strategy == PARTITION_STRATEGY_HASH ?
		HTEqualStrategyNumber : BTEqualStrategyNumber;
	step.exprs = list_make1(constant);
	step.cmpfns = list_make1_oid(key->partsupfunc[0].fn_oid);
	lookup.strategy = key->strategy;
	lookup.partnatts = key->partnatts;
	lookup.nparts = parts->nparts;
	lookup.boundinfo = parts->boundinfo;
	lookup.partcollation = key->partcollation;
	lookup.partsupfunc = key->partsupfunc;
	lookup.stepcmpfuncs = palloc0(key->partnatts * sizeof(FmgrInfo));
	lookup.ppccontext = CurrentMemoryContext;
	ak_ident_prepare(&reader, of->type, CurrentMemoryContext);
	for (int i = 0; i < count && left > 0; i++)
	{
		Bitmapset  *found;
		int			part = -1;

		if (!ak_ident_value(&reader, &names[i], &constant->constvalue))
			continue;
		found = get_matching_partitions(&lookup, list_make1(&step));
		while ((part = bms_next_member(found, part)) >= 0)
		{
			if (result[part].found)
				continue;
			result[part].found = true;
			result[part].project = constant->constvalue;
			left--;
		}
		bms_free(found);
	}
}

static bool
is_of_type(PartitionKey key, Oid type)
{
	return key->partopcintype[0] == type ||
		(key->partopcintype[0] == ANYENUMOID && type_is_enum(type));
}

/* One piece, which an error on the way to it leaves nothing of. */
static Representatives *
keep_representatives(const PartitionsOf *of, const Representative *found, int count)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	Representatives *result = palloc(offsetof(Representatives, partitions) +
									 count * sizeof(Representative));
	int16		length;
	bool		by_value;

	get_typlenbyval(of->type, &length, &by_value);
	result->of = *of;
	if (!of->anywhere)
		result->of.within = ak_name_copy(of->within);
	result->count = count;
	for (int i = 0; i < count; i++)
	{
		result->partitions[i] = found[i];
		if (found[i].found)
			result->partitions[i].project = datumCopy(found[i].project, by_value,
													  length);
	}
	qsort(result->partitions, count, sizeof(Representative), compare_partitions);
	result->next = kept;
	kept = result;
	MemoryContextSwitchTo(before);
	return result;
}

/* Of what is no table with partitions by such a type, none. */
static Representatives *
find_representatives(const PartitionsOf *of)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey partitions found",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	Relation	table = try_relation_open(of->table, AccessShareLock);
	Representative *found = NULL;
	int			count = 0;
	Representatives *result;

	if (table != NULL && table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE &&
		is_of_type(RelationGetPartitionKey(table), of->type))
	{
		/* as the executor does, with those that are being detached */
		PartitionDesc parts = RelationGetPartitionDesc(table, false);

		count = parts->nparts;
		found = palloc0(Max(count, 1) * sizeof(Representative));
		for (int i = 0; i < count; i++)
			found[i].partition = parts->oids[i];
		if (count > 0)
			look_up_projects(of, RelationGetPartitionKey(table), parts, found);
	}
	result = keep_representatives(of, found, count);
	if (table != NULL)
		relation_close(table, AccessShareLock);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	return result;
}

static Representatives *
get_representatives(const PartitionsOf *of)
{
	look_at_changes();
	for (Representatives *each = kept; each != NULL; each = each->next)
		if (is_same_about_partitions(&each->of, of))
			return each;
	return find_representatives(of);
}

/* Arguments type, table, partition, the key perhaps, verb and perhaps an environment. */
static Datum
get_project_in(FunctionCallInfo fcinfo, int key_argno, int first)
{
	PartitionsOf of = {
		.table = PG_GETARG_OID(1),
		.type = get_fn_expr_argtype(fcinfo->flinfo, 0)
	};
	Representative wanted = {.partition = PG_GETARG_OID(2)};
	AkIdentType type = {0};
	const Representatives *all;
	const Representative *one;
	int16		length;
	bool		by_value;

	ak_ident_check_listable(of.type);
	of.level = ak_arg_verb(fcinfo, first);
	of.anywhere = PG_NARGS() == first + 1;
	if (!of.anywhere && !ak_arg_name(fcinfo, first + 1, &type, &of.within))
		PG_RETURN_NULL();
	ak_schema_accept();
	of.key = key_argno < 0 ? ak_authn_session() :
		ak_authn_argument(fcinfo, key_argno, AK_GUESS_BY_STATEMENT);
	ak_use_asked(of.key, ak_authz_check_key(of.key));
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || of.key == NULL)
		PG_RETURN_NULL();
	all = get_representatives(&of);
	one = bsearch(&wanted, all->partitions, all->count, sizeof(Representative),
				  compare_partitions);
	if (one == NULL || !one->found)
		PG_RETURN_NULL();
	get_typlenbyval(of.type, &length, &by_value);
	PG_RETURN_DATUM(datumCopy(one->project, by_value, length));
}

AK_VARIANTS(apikey_project_in_key, apikey_project_in_session, get_project_in, 3)
