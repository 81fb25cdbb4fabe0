/*
 * insert.h
 *		Adding rows to our tables without a plan.
 *
 * Constraints, defaults, generated columns, indexes, foreign keys and triggers, the
 * extension's own and those that users have put there, work as they do for an
 * INSERT; rows are added as COPY does it.  It costs a third of a statement through
 * SPI, and making a key adds three rows.
 *
 * The rows of one insertion may go to several tables.  Triggers AFTER it, foreign
 * keys among them, fire at its end, which is also the end of a command: what comes
 * later sees the rows.  An error in between is cleaned up by the transaction.
 *
 * A READ ONLY transaction is refused, and all but an event where the database subscribes
 * to keys (follow.h), but no privilege is asked for.  A row that a
 * trigger keeps from being stored raises 09000.  ak_schema_accept() must have been
 * called.
 */
#ifndef AK_INSERT_H
#define AK_INSERT_H

#include "postgres.h"

#include "table/layout.h"
#include "table/value.h"

typedef struct AkInsertion AkInsertion;

/* What it is for.  One for AK_INSERT_RENAME has no rows, but holds triggers back. */
typedef enum AkInsertKind
{
	AK_INSERT_EVENT = 0,
	AK_INSERT_KEY,				/* with its grants, and the event */
	AK_INSERT_RENAME
} AkInsertKind;

#define AK_INSERT_KINDS	(AK_INSERT_RENAME + 1)

extern AkInsertion *ak_insert_begin(AkInsertKind kind);

/* All columns in C of the table, column 1 at [0]; others have their defaults. */
extern void ak_insert_row(AkInsertion *insertion, AkTable table,
						  const AkValue *row);

extern void ak_insert_end(AkInsertion *insertion);

/* Are the triggers at the end of such an insertion being fired? */
extern bool ak_insert_fires(AkInsertKind kind);

#endif							/* AK_INSERT_H */
