/*
 * layout.c
 *		Columns and indexes of our tables; see layout.h.
 */
#include "postgres.h"

#include "table/layout.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "port/pg_bitutils.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* The most columns in C that an index begins with */
#define MAX_INDEX_COLUMNS	4

static const struct
{
	AkTable		table;
	const char *name;
	int			columns[MAX_INDEX_COLUMNS];
}			indexes[AK_INDEXES] =

{
#define AK_INDEX(symbol, table, name, ...) \
	[AK_INDEX_##symbol] = {AK_TABLE_##table, #name, {__VA_ARGS__}},
#include "table/tablelist.h"
};

/* What was found, by the relcache entry of a generation; 0: nothing yet. */
static struct
{
	uint64		generation;
	AttrNumber	columns[AK_COLUMNS_MAX];
}			layouts[AK_TABLES];
static struct
{
	uint64		generation;
	Oid			oid;
}			found_indexes[AK_INDEXES];

pg_noreturn static void
refuse_layout(const char *kind, const char *name, Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s \"%s\" of table \"%s\" is missing or not what it was",
					kind, name, RelationGetRelationName(rel)),
			 errhint("If this library is newer than the extension, run ALTER EXTENSION apikey UPDATE; else restore what was dropped or changed."),
			 errhidestmt(true)));
}

/* Columns mostly have the order of tablelist.h: so begin behind the one found last. */
static AttrNumber
find_layout_column(Relation rel, const AkColumn *column, AttrNumber last)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			type = column->type == AK_LEVEL_TYPE ? ak_schema_get()->level : column->type;

	for (int i = 0; i < desc->natts; i++)
	{
		int			at = (last + i) % desc->natts;
		Form_pg_attribute attribute = TupleDescAttr(desc, at);

		if (attribute->atttypid == type && !attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), column->name) == 0)
			return at + 1;
	}
	refuse_layout("column", column->name, rel);
}

/* Are all rows in it, or all but those with a null in its first column? */
static bool
is_complete(Relation index)
{
	List	   *predicate = RelationGetIndexPredicate(index);
	NullTest   *test = predicate == NIL ? NULL : linitial(predicate);

	return predicate == NIL ||
		(list_length(predicate) == 1 && IsA(test, NullTest) &&
		 test->nulltesttype == IS_NOT_NULL && IsA(test->arg, Var) &&
		 ((Var *) test->arg)->varattno == index->rd_index->indkey.values[0]);
}

/* Is it a valid btree that begins with the columns that it should? */
static bool
is_as_listed(Relation index, AkIndex which)
{
	Form_pg_index form = index->rd_index;
	const AttrNumber *columns = layouts[indexes[which].table].columns;

	if (!form->indisvalid || index->rd_rel->relam != BTREE_AM_OID ||
		!is_complete(index))
		return false;
	for (int i = 0; i < MAX_INDEX_COLUMNS && indexes[which].columns[i] > 0; i++)
		if (i >= form->indnatts ||
			form->indkey.values[i] != columns[indexes[which].columns[i] - 1])
			return false;
	return true;
}

static Oid
find_layout_index(Relation rel, AkIndex which)
{
	Oid			oid = get_relname_relid(indexes[which].name,
										ak_schema_get()->namespace);
	Relation	index;
	bool		good;

	if (!OidIsValid(oid) || IndexGetRelation(oid, true) != RelationGetRelid(rel))
		refuse_layout("index", indexes[which].name, rel);
	index = index_open(oid, AccessShareLock);
	good = is_as_listed(index, which);
	index_close(index, AccessShareLock);
	if (!good)
		refuse_layout("index", indexes[which].name, rel);
	return oid;
}

static void
find_layout(AkTable table, Relation rel)
{
	AttrNumber	last = 0;

	layouts[table].generation = 0;	/* as it stays after an error */
	for (int i = 0; i < ak_schema_tables[table].ncolumns; i++)
	{
		last = find_layout_column(rel, &ak_schema_tables[table].columns[i], last);
		layouts[table].columns[i] = last;
	}
}

/*
 * Under the lock nothing of it can change.  A message about it that comes in while
 * we look is an old one, but may hide that what was looked up before it was old too.
 */
Relation
ak_layout_open(AkTable table, LOCKMODE mode)
{
	Relation	rel = table_open(ak_schema_lock(table, mode), NoLock);
	uint64		generation;

	while (layouts[table].generation !=
		   (generation = ak_inval_schema))
	{
		find_layout(table, rel);
		layouts[table].generation = generation;
	}
	return rel;
}

const AttrNumber *
ak_layout_columns(AkTable table)
{
	return layouts[table].columns;
}

Oid
ak_layout_index(Relation rel, AkIndex index)
{
	uint64		generation;

	while (found_indexes[index].generation !=
		   (generation = ak_inval_schema))
	{
		found_indexes[index].oid = find_layout_index(rel, index);
		found_indexes[index].generation = generation;
	}
	return found_indexes[index].oid;
}

AkTable
ak_layout_table(AkIndex index)
{
	return indexes[index].table;
}

bool
ak_layout_shows(Relation rel, const char *column)
{
	AkTable		table;

	if (!ak_schema_find_table(RelationGetRelid(rel), &table))
		return false;
	for (int i = 0; i < ak_schema_tables[table].ncolumns; i++)
		if (strcmp(ak_schema_tables[table].columns[i].name, column) == 0)
			return ak_schema_tables[table].columns[i].type != BYTEAOID;
	return false;
}

/* Room for all columns of a row, whoever added them. */
static Datum *
get_room(int count, bool **nulls)
{
	static Datum *room;
	static int	size;

	if (count > size)
	{
		int			wanted = pg_nextpower2_32(Max(count, 32));

		if (room != NULL)
			pfree(room);
		size = 0;
		room = NULL;
		room = MemoryContextAlloc(TopMemoryContext,
								  wanted * (sizeof(Datum) + sizeof(bool)));
		size = wanted;
	}
	*nulls = (bool *) &room[size];
	return room;
}

void
ak_layout_read(AkTable table, Relation rel, HeapTuple tuple, AkRow *row)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool	   *all_nulls;
	Datum	   *all = get_room(desc->natts, &all_nulls);

	heap_deform_tuple(tuple, desc, all, all_nulls);
	for (int i = 0; i < ak_schema_tables[table].ncolumns; i++)
	{
		int			from = layouts[table].columns[i] - 1;

		row->values[i] = all[from];
		row->nulls[i] = all_nulls[from];
		if (unlikely(row->nulls[i] && !ak_schema_tables[table].columns[i].nullable))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("null value in column \"%s\" of table \"%s\"",
							ak_schema_tables[table].columns[i].name,
							RelationGetRelationName(rel)),
					 errhidestmt(true)));
	}
}
