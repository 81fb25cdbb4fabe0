/*
 * trial.h
 *		Trying what a key can see, for those who ask why it sees so little or so slowly.
 *
 * What is tried may call functions of others, with a key that they would not have else.
 */
#ifndef AK_TRIAL_H
#define AK_TRIAL_H

#include "postgres.h"

#include "fmgr.h"

/*
 * Make the key in an argument the session's, if the function was called with so many; a
 * NULL, or what cannot be a key, is none.  "len" is the length of its text, given or not.
 * Returns what the second one needs, to give the session its own key back; an error does
 * that, too.
 */
extern int	ak_trial_set_key(FunctionCallInfo fcinfo, int argno, Size *len);
extern void ak_trial_reset_key(int level);

typedef struct AkTrial
{
	Oid			role;
	int			context;
	int			level;
	bool		read_only;
} AkTrial;

/*
 * From the first to the second everything runs as a role, and can change nothing, neither
 * role nor settings: read-only, in a security-restricted operation.  An error ends it, too.
 */
extern void ak_trial_begin(AkTrial *trial, Oid role);
extern void ak_trial_end(const AkTrial *trial);

#endif							/* AK_TRIAL_H */
