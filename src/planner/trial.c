/*
 * trial.c
 *		Trying what a key can see; see trial.h.
 */
#include "postgres.h"

#include "planner/trial.h"

#include "access/xact.h"
#include "base/args.h"
#include "base/guc.h"
#include "miscadmin.h"
#include "utils/guc.h"

/* The text of the key in an argument; "" if it cannot be one. */
static char *
get_token(FunctionCallInfo fcinfo, int argno, Size *len)
{
	AkName		token = ak_arg_token(fcinfo, argno);

	*len = token.len;
	if (token.data == NULL)
		return pstrdup("");
	return pnstrdup(token.data, token.len);
}

int
ak_trial_set_key(FunctionCallInfo fcinfo, int argno, Size *len)
{
	int			level = NewGUCNestLevel();

	if (PG_NARGS() > argno)
	{
		char	   *token = get_token(fcinfo, argno, len);

		ak_guc_set_key(token);
		explicit_bzero(token, strlen(token));
	}
	else
	{
		int			own;

		(void) ak_guc_key(&own);
		*len = own;
	}
	return level;
}

void
ak_trial_reset_key(int level)
{
	AtEOXact_GUC(false, level);
}

/*
 * Read-only, but not by the setting, which PostgreSQL 16 no longer lets a function
 * change.
 */
void
ak_trial_begin(AkTrial *trial, Oid role)
{
	trial->level = NewGUCNestLevel();
	trial->read_only = XactReadOnly;
	GetUserIdAndSecContext(&trial->role, &trial->context);
	XactReadOnly = true;
	SetUserIdAndSecContext(role,
						   trial->context | SECURITY_RESTRICTED_OPERATION);
}

void
ak_trial_end(const AkTrial *trial)
{
	AtEOXact_GUC(false, trial->level);
	XactReadOnly = trial->read_only;
	SetUserIdAndSecContext(trial->role, trial->context);
}
