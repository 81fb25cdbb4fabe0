/*
 * insert.h
 *		Adding rows to our tables without a plan.
 *
 * Indexes, foreign keys and triggers do their work as they do for an INSERT; it
 * is the executor's way of adding the rows of a subscription.  CHECK and NOT NULL
 * constraints are left to the caller.  It costs a third of a statement through
 * SPI, and making a key adds three rows.
 *
 * The rows of one insertion may go to several tables.  Triggers, foreign keys
 * among them, fire at its end, which is also the end of a command: what comes
 * later sees the rows.  An error in between is cleaned up by the transaction.
 *
 * A READ ONLY transaction is refused, but no privilege is asked for.
 * ak_schema_accept() must have been called.
 */
#ifndef AK_INSERT_H
#define AK_INSERT_H

#include "postgres.h"

typedef struct EState AkInsertion;

extern AkInsertion *ak_insert_begin(void);

/* The first "count" columns of the table; others are null. */
extern void ak_insert_row(AkInsertion *insertion, Oid table, int count,
						  const Datum *values, const bool *nulls);

extern void ak_insert_end(AkInsertion *insertion);

#endif							/* AK_INSERT_H */
