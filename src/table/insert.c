/*
 * insert.c
 *		Adding rows to our tables without a plan; see insert.h.
 */
#include "postgres.h"

#include "table/insert.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/hide.h"
#include "base/inval.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "table/follow.h"
#include "table/rowerror.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* A column that is not known in C, and what a row has there. */
typedef struct Default
{
	AttrNumber	number;
	ExprState  *value;
} Default;

/* A table that rows are added to. */
typedef struct Target
{
	AkTable		table;
	ResultRelInfo *info;
	TransitionCaptureState *transition;
	Default    *defaults;
	int			ndefaults;
	struct Target *next;
} Target;

struct AkInsertion
{
	AkInsertKind kind;
	EState	   *estate;
	Target	   *targets;
};

/*
 * CHECK constraints made ready to run, which takes as long as all else about a key.
 * They are good for one statement, as those of any statement are.
 */
static struct
{
	MemoryContext context;		/* NULL: there are none */
	uint64		generation;
	TimestampTz statement;
	ExprState **exprs[AK_TABLES];
}			checks;
static bool checking;

static int	firing[AK_INSERT_KINDS];	/* one within the other */

AkInsertion *
ak_insert_begin(AkInsertKind kind)
{
	AkInsertion *insertion = palloc0(sizeof(AkInsertion));

	insertion->kind = kind;
	PreventCommandIfReadOnly("INSERT");
	if (kind != AK_INSERT_EVENT)
		ak_follow_refuse_change(false);
	insertion->estate = CreateExecutorState();
	AfterTriggerBeginQuery();
	insertion->estate->es_output_cid = GetCurrentCommandId(true);
	return insertion;
}

/*
 * The default of a column; NULL if that is null.  A domain may refuse that: then it
 * is an expression, too.
 */
static Expr *
get_default(Relation rel, Form_pg_attribute attribute)
{
	Node	   *node = build_column_default(rel, attribute->attnum);

	if (node == NULL && getBaseType(attribute->atttypid) != attribute->atttypid)
		node = coerce_to_domain((Node *) makeNullConst(getBaseType(attribute->atttypid),
													   -1,
													   attribute->attcollation),
								InvalidOid, -1, attribute->atttypid,
								COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1,
								false);
	return (Expr *) node;
}

static void
collect_defaults(EState *estate, Target *target)
{
	Relation	rel = target->info->ri_RelationDesc;
	TupleDesc	desc = RelationGetDescr(rel);
	const AttrNumber *columns = ak_layout_columns(target->table);
	int			count = ak_schema_tables[target->table].ncolumns;

	if (desc->natts == count)
		return;
	target->defaults = palloc(desc->natts * sizeof(Default));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		known = attribute->attisdropped;
		Expr	   *expression;

		known |= attribute->attgenerated != '\0';
		for (int j = 0; !known && j < count; j++)
			known = columns[j] == attribute->attnum;
		expression = known ? NULL : get_default(rel, attribute);
		if (expression != NULL)
		{
			Default    *added = &target->defaults[target->ndefaults++];

			added->number = attribute->attnum;
			added->value = ExecPrepareExpr(expression, estate);
		}
	}
}

static Target *
open_target(AkInsertion *insertion, AkTable table)
{
	EState	   *estate = insertion->estate;
	MemoryContext before = MemoryContextSwitchTo(estate->es_query_cxt);
	Relation	rel = ak_layout_open(table, RowExclusiveLock);
	Target	   *target = palloc0(sizeof(Target));

	target->table = table;
	target->info = makeNode(ResultRelInfo);
	InitResultRelInfo(target->info, rel, 0, NULL, 0);
	ExecOpenIndices(target->info, false);
	target->info->ri_newTupleSlot = table_slot_create(rel,
													  &estate->es_tupleTable);
	target->transition = MakeTransitionCaptureState(rel->trigdesc,
													RelationGetRelid(rel),
													CMD_INSERT);
	collect_defaults(estate, target);
	ExecBSInsertTriggers(estate, target->info);
	target->next = insertion->targets;
	insertion->targets = target;
	estate->es_opened_result_relations =
		lappend(estate->es_opened_result_relations, target->info);
	MemoryContextSwitchTo(before);
	return target;
}

static Target *
get_target(AkInsertion *insertion, AkTable table)
{
	Target	   *target = insertion->targets;

	while (target != NULL && target->table != table)
		target = target->next;
	return target != NULL ? target : open_target(insertion, table);
}

/* What is given, and defaults. */
static void
fill_slot(EState *estate, const Target *target, TupleTableSlot *slot,
		  const AkValue *row)
{
	const AttrNumber *columns = ak_layout_columns(target->table);

	ExecStoreAllNullTuple(slot);
	for (int i = 0; i < ak_schema_tables[target->table].ncolumns; i++)
	{
		slot->tts_values[columns[i] - 1] = row[i].value;
		slot->tts_isnull[columns[i] - 1] = row[i].isnull ||
			row[i].type == InvalidOid;
	}
	for (int i = 0; i < target->ndefaults; i++)
	{
		int			to = target->defaults[i].number - 1;

		slot->tts_values[to] =
			ExecEvalExprSwitchContext(target->defaults[i].value,
									  GetPerTupleExprContext(estate),
									  &slot->tts_isnull[to]);
	}
}

static void
forget_checks(void *arg)
{
	checks.context = NULL;
}

/* Start anew in another statement, or if a table may be another. */
static void
prepare_checks(void)
{
	uint64		generation = ak_inval_schema;
	TimestampTz statement = ak_clock_now();
	MemoryContextCallback *callback;

	if (checks.context != NULL && checks.generation == generation &&
		checks.statement == statement)
		return;
	if (checks.context != NULL)
		MemoryContextDelete(checks.context);
	memset(checks.exprs, 0, sizeof(checks.exprs));
	checks.context = AllocSetContextCreate(TopTransactionContext,
										   "apikey checks",
										   ALLOCSET_SMALL_SIZES);
	callback = MemoryContextAlloc(checks.context,
								  sizeof(MemoryContextCallback));
	callback->func = forget_checks;
	MemoryContextRegisterResetCallback(checks.context, callback);
	checks.generation = generation;
	checks.statement = statement;
}

/*
 * Raise an error if the row violates a constraint.  The executor makes ready what it
 * does not find, in the memory of the query: here that is ours.  Not so where a
 * function in a constraint adds a row itself.
 */
static void
check_row(EState *estate, const Target *target, TupleTableSlot *slot)
{
	ResultRelInfo *info = target->info;
	MemoryContext query = estate->es_query_cxt;

	if (checking)
	{
		ExecConstraints(info, slot, estate);
		return;
	}
	(void) GetPerTupleExprContext(estate);
	prepare_checks();
	checking = true;
	PG_TRY();
	{
		AK_CHECK_EXPRS(info) = checks.exprs[target->table];
		estate->es_query_cxt = checks.context;
		ExecConstraints(info, slot, estate);
		checks.exprs[target->table] = AK_CHECK_EXPRS(info);
	}
	PG_FINALLY();
	{
		estate->es_query_cxt = query;
		checking = false;
	}
	PG_END_TRY();
}

/* As a row of COPY is stored, see copyfrom.c. */
static void
store_row(EState *estate, const Target *target, TupleTableSlot *slot)
{
	ResultRelInfo *info = target->info;
	Relation	rel = info->ri_RelationDesc;
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	List	   *recheck;

	if (rel->trigdesc != NULL && rel->trigdesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, info, slot))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a trigger on table \"%s\" keeps a row from being stored",
						RelationGetRelationName(rel)),
				 errhidestmt(true)));
	slot->tts_tableOid = RelationGetRelid(rel);
	if (constraints != NULL && constraints->has_generated_stored)
		ExecComputeStoredGenerated(info, estate, slot, CMD_INSERT);
	if (constraints != NULL)
		check_row(estate, target, slot);
	simple_table_tuple_insert(rel, slot);
	recheck = ak_insert_index_entries(info, slot, estate);
	ExecARInsertTriggers(estate, info, slot, recheck, target->transition);
	list_free(recheck);
}

void
ak_insert_row(AkInsertion *insertion, AkTable table, const AkValue *row)
{
	ErrorContextCallback hide;
	Target	   *target;

	ak_hide_begin(&hide, ak_rowerror_hide);
	target = get_target(insertion, table);
	fill_slot(insertion->estate, target, target->info->ri_newTupleSlot, row);
	store_row(insertion->estate, target, target->info->ri_newTupleSlot);
	ResetPerTupleExprContext(insertion->estate);
	ak_hide_end(&hide);
}

/* Those AFTER it, foreign keys among them. */
static void
fire_triggers(AkInsertion *insertion)
{
	EState	   *estate = insertion->estate;

	firing[insertion->kind]++;
	PG_TRY();
	{
		for (Target *target = insertion->targets; target; target = target->next)
			ExecASInsertTriggers(estate, target->info, target->transition);
		AfterTriggerEndQuery(estate);
	}
	PG_FINALLY();
	{
		firing[insertion->kind]--;
	}
	PG_END_TRY();
}

void
ak_insert_end(AkInsertion *insertion)
{
	EState	   *estate = insertion->estate;
	ErrorContextCallback hide;

	ak_hide_begin(&hide, ak_rowerror_hide);
	CommandCounterIncrement();
	fire_triggers(insertion);
	for (Target *target = insertion->targets; target; target = target->next)
	{
		ExecCloseIndices(target->info);
		table_close(target->info->ri_RelationDesc, NoLock);
	}
	estate->es_opened_result_relations = NIL;
	ExecCloseResultRelations(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
	CommandCounterIncrement();
	ak_hide_end(&hide);
	pfree(insertion);
}

bool
ak_insert_fires(AkInsertKind kind)
{
	return firing[kind] > 0;
}
