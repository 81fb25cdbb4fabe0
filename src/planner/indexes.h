/*
 * indexes.h
 *		Which indexes a protected table has, and which would help.
 */
#ifndef AK_INDEXES_H
#define AK_INDEXES_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/pg_list.h"

/* Does a usable index of all rows begin with this column? */
extern bool ak_indexes_begin_with(Oid relation, AttrNumber column);

/*
 * What pages of a key's rows in the order of time lack, where "column" tells whose a row
 * is: for each btree index of all rows that begins with a date or timestamp, if no index
 * has the same behind "column", the columns of such an index, palloc'd and quoted.  A
 * List of strings.
 */
extern List *ak_indexes_for_pages(Oid relation, AttrNumber column);

#endif							/* AK_INDEXES_H */
