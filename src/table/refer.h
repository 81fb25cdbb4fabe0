/*
 * refer.h
 *		The foreign keys of our tables, where a row is new.
 *
 * The tables of an extension come into a restored database empty, but with their
 * foreign keys.  Then pg_restore -j fills them in any order.  So what COPY brings
 * in may come before what it refers to, but not against it: a row and what it
 * refers to are of the same organization, whichever is first.  A row that refers
 * to nothing opens nothing, for no decision rests on the foreign keys alone.
 *
 * Like foreign keys, it is silent while session_replication_role = replica.
 */
#ifndef AK_REFER_H
#define AK_REFER_H

#include "postgres.h"

#include "commands/trigger.h"

/*
 * To be called after each change of a row, "copied" by COPY itself or not.  Raises
 * 23503 if the row is new and what it refers to is not there, or if rows refer
 * to it that are of another organization.  ak_schema_accept() must have been
 * called.
 */
extern void ak_refer_check(TriggerData *trigger, bool copied);

#endif							/* AK_REFER_H */
