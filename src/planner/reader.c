/*
 * reader.c
 *		An index that an ordered scan reads; see reader.h.
 */
#include "postgres.h"

#include "planner/reader.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "base/compat.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "executor/nodeIndexscan.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

void
ak_reader_init(AkReader *reader, ScanState *state, Plan *plan)
{
	reader->state = state;
	reader->plan = plan;
	if (IsA(plan, IndexOnlyScan))
	{
		reader->indexid = ((IndexOnlyScan *) plan)->indexid;
		reader->direction = ((IndexOnlyScan *) plan)->indexorderdir;
	}
	else
	{
		reader->indexid = castNode(IndexScan, plan)->indexid;
		reader->direction = castNode(IndexScan, plan)->indexorderdir;
	}
}

/*
 * Has the index what the conditions need, as it is in the table?  PostgreSQL leaves out of
 * account what follows from the predicate of an index; a name is stored as another type.
 */
static bool
has_all(const AkReader *reader)
{
	TupleDesc	desc = RelationGetDescr(reader->index);
	TupleDesc	table = RelationGetDescr(reader->state->ss_currentRelation);

	if (!heap_attisnull(reader->index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		int			column = reader->index->rd_index->indkey.values[i] - 1;

		if (column >= 0 && TupleDescAttr(desc, i)->atttypid !=
			TupleDescAttr(table, column)->atttypid)
			return false;
	}
	return true;
}

void
ak_reader_open(AkReader *reader)
{
	EState	   *estate = reader->state->ps.state;
	Index		relid = ((Scan *) reader->state->ps.plan)->scanrelid;
	List	   *quals = IsA(reader->plan, IndexOnlyScan) ?
	((IndexOnlyScan *) reader->plan)->indexqual :
	((IndexScan *) reader->plan)->indexqual;

	reader->index = index_open(reader->indexid,
							   exec_rt_fetch(relid, estate)->rellockmode);
	ExecIndexBuildScanKeys(&reader->state->ps, reader->index, quals, false,
						   &reader->keys, &reader->nkeys,
						   &reader->runtime, &reader->nruntime, NULL, NULL);
	reader->context = CreateExprContext(estate);
	reader->only = IsA(reader->plan, IndexOnlyScan) && has_all(reader);
}

void
ak_reader_evaluate(AkReader *reader)
{
	ResetExprContext(reader->context);
	ExecIndexEvalRuntimeKeys(reader->context, reader->runtime, reader->nruntime);
}

bool
ak_reader_is_visible(AkReader *reader, IndexScanDesc scan)
{
	if (!reader->only)
		return false;
	if (VM_ALL_VISIBLE(reader->state->ss_currentRelation,
					   ItemPointerGetBlockNumber(&scan->xs_heaptid), &reader->map))
		return true;
	reader->fetches++;
	return false;
}

void
ak_reader_store(AkReader *reader, IndexTuple entry, ItemPointer tid,
				TupleTableSlot *slot)
{
	TupleDesc	desc = RelationGetDescr(reader->index);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	for (int i = 0; i < desc->natts; i++)
	{
		int			column = reader->index->rd_index->indkey.values[i] - 1;

		if (column >= 0)
			slot->tts_values[column] = index_getattr(entry, i + 1, desc,
													 &slot->tts_isnull[column]);
	}
	ExecStoreVirtualTuple(slot);
	/* for WHERE CURRENT OF */
	slot->tts_tid = *tid;
	slot->tts_tableOid = RelationGetRelid(reader->state->ss_currentRelation);
	/* as if the row had been fetched */
	PredicateLockPage(reader->state->ss_currentRelation,
					  ItemPointerGetBlockNumber(tid),
					  reader->state->ps.state->es_snapshot);
}

IndexScanDesc
ak_reader_begin(const AkReader *reader, int nkeys)
{
	return index_beginscan(reader->state->ss_currentRelation, reader->index,
						   reader->state->ps.state->es_snapshot, NULL, nkeys, 0,
						   SO_NONE);
}

void
ak_reader_close(AkReader *reader)
{
	if (BufferIsValid(reader->map))
		ReleaseBuffer(reader->map);
	if (reader->index != NULL)
		index_close(reader->index, NoLock);
}

void
ak_reader_explain_condition(const Plan *plan, const char *label, List *conditions,
							List *ancestors, ExplainState * es)
{
	List	   *context;
	bool		qualified = list_length(es->rtable) > 1 || es->verbose;

	if (conditions == NIL)
		return;
	context = set_deparse_context_plan(es->deparse_cxt, unconstify(Plan *, plan), ancestors);
	ExplainPropertyText(label,
						deparse_expression((Node *) make_ands_explicit(conditions),
										   context, qualified, false),
						es);
}

void
ak_reader_explain(const AkReader *reader, const char *label,
				  const char *condition_label, List *ancestors, ExplainState * es)
{
	List	   *quals = IsA(reader->plan, IndexOnlyScan) ?
	((IndexOnlyScan *) reader->plan)->indexqual :
	((IndexScan *) reader->plan)->indexqualorig;
	const char *name = get_rel_name(reader->indexid);
	bool		backward = ScanDirectionIsBackward(reader->direction);

	if (es->format == EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText(label, psprintf("%s%s", quote_identifier(name),
											backward ? " backward" : ""), es);
	else
	{
		ExplainPropertyText(label, name, es);
		ExplainPropertyText(psprintf("%s Direction", label),
							backward ? "Backward" : "Forward", es);
	}
	ak_reader_explain_condition(reader->plan, condition_label, quals, ancestors, es);
}
