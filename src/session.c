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
	int			len;
	const char *token = ak_guc_key(&len);

	return ak_authn_key(memo, token, len);
}
