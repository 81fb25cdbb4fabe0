/*
 * step.h
 *		Procedures that go by steps: each is a transaction.
 *
 * A procedure that commits can neither be SECURITY DEFINER nor have a SET clause.  So it
 * takes a superuser, and each step sets what such a clause would.
 */
#ifndef AK_STEP_H
#define AK_STEP_H

#include "postgres.h"

#include "fmgr.h"

/*
 * For a procedure that commits.  Raises 25001 where it could not, or would commit something
 * else as well; and 25006 on a standby.
 */
extern void ak_step_check(FunctionCallInfo fcinfo);

/*
 * The same, and begin the first step.  Raises 42501 unless the caller is a superuser, in a
 * session without a key.
 */
extern void ak_step_first(FunctionCallInfo fcinfo);

/* Commit, and begin the next. */
extern void ak_step_next(void);

/* End the last one: the caller commits. */
extern void ak_step_last(void);

/*
 * Wait so many milliseconds, or until this process is told something.  Raises what
 * interrupts it.
 */
extern void ak_step_rest(long timeout);

#endif							/* AK_STEP_H */
