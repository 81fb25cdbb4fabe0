/*
 * insert.c
 *		Adding rows to our tables without a plan; see insert.h.
 */
#include "postgres.h"

#include "insert.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/rel.h"

AkInsertion *
ak_insert_begin(void)
{
	AkInsertion *insertion;

	PreventCommandIfReadOnly("INSERT");
	insertion = CreateExecutorState();
	AfterTriggerBeginQuery();
	insertion->es_output_cid = GetCurrentCommandId(true);
	return insertion;
}

static ResultRelInfo *
open_table(AkInsertion *insertion, Oid table)
{
	MemoryContext before = MemoryContextSwitchTo(insertion->es_query_cxt);
	Relation	rel = table_open(table, RowExclusiveLock);
	ResultRelInfo *info = makeNode(ResultRelInfo);

	InitResultRelInfo(info, rel, 0, NULL, 0);
	ExecOpenIndices(info, false);
	info->ri_newTupleSlot = table_slot_create(rel, &insertion->es_tupleTable);
	insertion->es_opened_result_relations =
		lappend(insertion->es_opened_result_relations, info);
	MemoryContextSwitchTo(before);
	return info;
}

static ResultRelInfo *
find_table(AkInsertion *insertion, Oid table)
{
	ListCell   *cell;

	foreach(cell, insertion->es_opened_result_relations)
	{
		ResultRelInfo *info = lfirst(cell);

		if (RelationGetRelid(info->ri_RelationDesc) == table)
			return info;
	}
	return open_table(insertion, table);
}

void
ak_insert_row(AkInsertion *insertion, Oid table, int count,
			  const Datum *values, const bool *nulls)
{
	ResultRelInfo *info = find_table(insertion, table);
	TupleTableSlot *slot = info->ri_newTupleSlot;

	ExecStoreAllNullTuple(slot);
	memcpy(slot->tts_values, values, count * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, count * sizeof(bool));
	ExecSimpleRelationInsert(info, insertion, slot);
	ResetPerTupleExprContext(insertion);
}

void
ak_insert_end(AkInsertion *insertion)
{
	ListCell   *cell;

	CommandCounterIncrement();
	AfterTriggerEndQuery(insertion);
	foreach(cell, insertion->es_opened_result_relations)
	{
		ResultRelInfo *info = lfirst(cell);

		ExecCloseIndices(info);
		table_close(info->ri_RelationDesc, NoLock);
	}
	insertion->es_opened_result_relations = NIL;
	ExecCloseResultRelations(insertion);
	ExecResetTupleTable(insertion->es_tupleTable, false);
	FreeExecutorState(insertion);
	CommandCounterIncrement();
}
