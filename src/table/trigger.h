/*
 * trigger.h
 *		What triggers read of a row, and what events tell of it.
 *
 * Columns are read by name, and only as what they are: others may have added, dropped
 * and put back some.  ak_schema_accept() must have been called.
 */
#ifndef AK_TRIGGER_H
#define AK_TRIGGER_H

#include "postgres.h"

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "table/event.h"
#include "utils/rel.h"

/*
 * The number of the column of this name, 0 if there is none.  Raises 55000 if it has
 * another type.
 */
extern AttrNumber ak_trigger_column(Relation rel, const char *name, Oid type);

/* Is this column the same in both rows? */
extern bool ak_trigger_same(TupleTableSlot *a, TupleTableSlot *b,
							AttrNumber column);

/*
 * For an event: which row it is, and after an UPDATE the new values of what was changed,
 * as text; of salts, hashes and columns that others have added only that they were.
 * Nothing for a trigger by statement.
 */
extern void ak_trigger_describe(const TriggerData *trigger, AkDetail *detail);

#endif							/* AK_TRIGGER_H */
