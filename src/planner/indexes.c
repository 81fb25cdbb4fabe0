/*
 * indexes.c
 *		Which indexes a protected table has, and which would help; see indexes.h.
 */
#include "postgres.h"

#include "planner/indexes.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* An index of all rows that may be used: its key columns, 0 for expressions. */
typedef struct TableIndex
{
	bool		btree;
	int			count;
	AttrNumber	columns[INDEX_MAX_KEYS];
	bool		descending[INDEX_MAX_KEYS];
} TableIndex;

/* A List of TableIndexes. */
static List *
list_indexes(Oid relation)
{
	Relation	rel = relation_open(relation, AccessShareLock);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		TableIndex *found = palloc(sizeof(TableIndex));

		found->btree = index->rd_rel->relam == BTREE_AM_OID;
		found->count = index->rd_index->indnkeyatts;
		for (int i = 0; i < found->count; i++)
		{
			found->columns[i] = index->rd_index->indkey.values[i];
			found->descending[i] = (index->rd_indoption[i] & INDOPTION_DESC) != 0;
		}
		if (index->rd_index->indisvalid &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			result = lappend(result, found);
		index_close(index, AccessShareLock);
	}
	relation_close(rel, AccessShareLock);
	return result;
}

bool
ak_indexes_begin_with(Oid relation, AttrNumber column)
{
	ListCell   *cell;

	foreach(cell, list_indexes(relation))
	{
		if (((TableIndex *) lfirst(cell))->columns[0] == column)
			return true;
	}
	return false;
}

/* Of plain columns, of which none is "column", and a date or timestamp is the first? */
static bool
is_by_time(const TableIndex *index, Oid relation, AttrNumber column)
{
	Oid			type;

	if (!index->btree)
		return false;
	for (int i = 0; i < index->count; i++)
		if (index->columns[i] <= 0 || index->columns[i] == column)
			return false;
	type = getBaseType(get_atttype(relation, index->columns[0]));
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

/* Is there an index on this column and, behind it, that one? */
static bool
has_order(const List *indexes, AttrNumber column, AttrNumber behind)
{
	ListCell   *cell;

	foreach(cell, indexes)
	{
		const TableIndex *index = lfirst(cell);

		if (index->btree && index->count > 1 && index->columns[0] == column &&
			index->columns[1] == behind)
			return true;
	}
	return false;
}

List *
ak_indexes_for_pages(Oid relation, AttrNumber column)
{
	List	   *indexes = list_indexes(relation);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		const TableIndex *index = lfirst(cell);
		StringInfoData columns;

		if (!is_by_time(index, relation, column) ||
			has_order(indexes, column, index->columns[0]))
			continue;
		initStringInfo(&columns);
		appendStringInfoString(&columns,
							   quote_identifier(get_attname(relation, column, false)));
		for (int i = 0; i < index->count; i++)
			appendStringInfo(&columns, ", %s%s",
							 quote_identifier(get_attname(relation,
														  index->columns[i],
														  false)),
							 index->descending[i] ? " DESC" : "");
		result = lappend(result, columns.data);
	}
	return result;
}
