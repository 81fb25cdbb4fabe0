/*
 * reader.c
 *		An index that an ordered scan reads; see reader.h.
 */
#include "postgres.h"

#include "planner/reader.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "executor/executor.h"
#include "executor/nodeIndexscan.h"
#include "nodes/makefuncs.h"
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
}

void
ak_reader_evaluate(AkReader *reader)
{
	ResetExprContext(reader->context);
	ExecIndexEvalRuntimeKeys(reader->context, reader->runtime, reader->nruntime);
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
	if (reader->index != NULL)
		index_close(reader->index, NoLock);
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
	if (quals != NIL)
	{
		List	   *context = set_deparse_context_plan(es->deparse_cxt, reader->plan,
													   ancestors);
		bool		qualified = list_length(es->rtable) > 1 || es->verbose;

		ExplainPropertyText(condition_label,
							deparse_expression((Node *) make_ands_explicit(quals),
											   context, qualified, false),
							es);
	}
}
