/*
 * refer.h
 *		The foreign keys of our tables, where a row is new.
 *
 * What COPY brings in may come before what it refers to, for pg_restore -j fills tables
 * in any order; but not against it: a row and what it refers to are of the same
 * organization, whichever is first.  A row that refers to nothing opens nothing.
 *
 * Like foreign keys, it is silent while session_replication_role = replica.
 */
#ifndef AK_REFER_H
#define AK_REFER_H

#include "postgres.h"

#include "commands/trigger.h"

/*
 * To be called after each change of a row, "copied" by COPY itself or not.  Raises 23503
 * if the row is new and what it refers to is not there, or if rows of another
 * organization refer to it.  ak_schema_accept() must have been called.
 */
extern void ak_refer_check(TriggerData *trigger, bool copied);

#endif							/* AK_REFER_H */
