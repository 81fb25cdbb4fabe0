/*
 * clock.h
 *		What time is it?
 *
 * The time of the message that the client sent, which is that of its statement; but
 * where a statement has transactions of its own, in a CALL or a DO that commits, the
 * time at which the latest began.  So nothing ends in the midst of a transaction's
 * statement, and nothing goes on for longer than that, however long a procedure runs.
 * The transaction alone would not do: it may have begun long before the statement.
 *
 * In SQL it is greatest(statement_timestamp(), now()).  Parallel workers have both
 * times from their leader.
 */
#ifndef AK_CLOCK_H
#define AK_CLOCK_H

#include "postgres.h"

#include "access/xact.h"

/* It identifies the statement besides, as far as time can. */
static inline TimestampTz
ak_clock_now(void)
{
	return Max(GetCurrentStatementStartTimestamp(),
			   GetCurrentTransactionStartTimestamp());
}

#endif							/* AK_CLOCK_H */
