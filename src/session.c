/*
 * session.c
 *		Who acts: the key of the session; see session.h.
 */
#include "postgres.h"

#include "session.h"

#include "guc.h"

const AkKey *
ak_session_key(AkMemo *memo)
{
	const char *token;
	int			len;
	const AkKey *key;

	if (memo->setting == ak_guc_key_serial)
		return ak_authn_again(memo);	/* set no more since */
	token = ak_guc_key(&len);
	key = ak_authn_key(memo, token, len);
	memo->setting = memo->len > 0 ? ak_guc_key_serial : 0;
	return key;
}
