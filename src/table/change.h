/*
 * change.h
 *		What a trigger is told of a row: columns by name, and what was changed.
 *
 * Others may have added and dropped columns, and may have put back one of another
 * type.  So nothing is read by its place, nor as anything that it is not.
 *
 * ak_schema_accept() must have been called.
 */
#ifndef AK_CHANGE_H
#define AK_CHANGE_H

#include "postgres.h"

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "table/event.h"
#include "utils/rel.h"

/*
 * The number of the column of this name, 0 if there is none.  Raises 55000 if it has
 * another type.
 */
extern AttrNumber ak_change_column(Relation rel, const char *name, Oid type);

/* Is this column the same in both rows? */
extern bool ak_change_same(TupleTableSlot *a, TupleTableSlot *b,
						   AttrNumber column);

/*
 * For an event: which row it is, and after an UPDATE the columns that were changed,
 * with the new values as text.  Of salts and hashes, and of columns that others have
 * added, it is told only that they were.  Nothing for a trigger by statement.
 */
extern void ak_change_describe(const TriggerData *trigger, AkDetail *detail);

#endif							/* AK_CHANGE_H */
