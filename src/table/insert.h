/*
 * insert.h
 *		Adding rows to our tables without a plan.
 *
 * Constraints, defaults, generated columns, indexes, foreign keys and triggers, the
 * extension's own and those that users have put there, do their work as they do for
 * an INSERT; it is the way that COPY goes.  It costs a third of a statement through
 * SPI, and making a key adds three rows.
 *
 * The rows of one insertion may go to several tables.  Triggers AFTER it, foreign
 * keys among them, fire at its end, which is also the end of a command: what comes
 * later sees the rows.  An error in between is cleaned up by the transaction.
 *
 * A READ ONLY transaction is refused, but no privilege is asked for.  A row that a
 * trigger keeps from being stored raises 09000.  ak_schema_accept() must have been
 * called.
 */
#ifndef AK_INSERT_H
#define AK_INSERT_H

#include "postgres.h"

#include "table/layout.h"

typedef struct AkInsertion AkInsertion;

extern AkInsertion *ak_insert_begin(void);

/* All columns in C of the table; others have their defaults. */
extern void ak_insert_row(AkInsertion *insertion, AkTable table,
						  const Datum *values, const bool *nulls);

extern void ak_insert_end(AkInsertion *insertion);

#endif							/* AK_INSERT_H */
