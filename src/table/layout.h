/*
 * layout.h
 *		Where the columns and indexes of our tables are, in this database.
 *
 * They are found by name, whatever columns users or another version of the extension
 * have added or dropped.  A column that is missing, or of another type, raises 55000 when
 * its table is opened, an index when it is needed: other tables still work.
 */
#ifndef AK_LAYOUT_H
#define AK_LAYOUT_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "table/schema.h"
#include "utils/relcache.h"

typedef enum AkIndex
{
#define AK_INDEX(symbol, table, name, ...) AK_INDEX_##symbol,
#include "table/tablelist.h"
	AK_INDEXES
} AkIndex;

/*
 * Open a table under a lock of this mode, to be closed by table_close().  The functions
 * below are for one that is open.
 */
extern Relation ak_layout_open(AkTable table, LOCKMODE mode);

/* The numbers of its columns in the table, of column 1 in C at [0]. */
extern const AttrNumber *ak_layout_columns(AkTable table);

/* The columns in C of a row; values point into the row. */
typedef struct AkRow
{
	Datum		values[AK_COLUMNS_MAX];
	bool		nulls[AK_COLUMNS_MAX];
} AkRow;

#define AK_VALUE(row, table, column) ((row)->values[Anum_##table##_##column - 1])
#define AK_ISNULL(row, table, column) ((row)->nulls[Anum_##table##_##column - 1])

/* Raises XX001 for a null in a column that allows none. */
extern void ak_layout_read(AkTable table, Relation rel, HeapTuple tuple,
						   AkRow *row);

/* May the column be shown: is it one in C, without a salt, hash or digest in it? */
extern bool ak_layout_shows(Relation rel, const char *column);

/* An index of the table, which is looked up when it is first needed. */
extern Oid	ak_layout_index(Relation rel, AkIndex index);

/* Which table is that? */
extern AkTable ak_layout_table(AkIndex index);

#endif							/* AK_LAYOUT_H */
