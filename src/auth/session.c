/*
 * session.c
 *		Who acts: the key of the session; see session.h.
 */
#include "postgres.h"

#include "auth/session.h"

#include "auth/use.h"
#include "base/guc.h"

static AkFinding last;
static uint64 last_serial;		/* ak_guc_key_serial then; 0: nothing yet */

const AkKey *
ak_session_key(void)
{
	const char *token;
	int			len;

	if (last_serial != ak_guc_key_serial || !ak_authn_holds(&last))
	{
		last_serial = 0;		/* an error leaves nothing to believe */
		token = ak_guc_key(&len);
		ak_authn_find(&last, token, len);
		last_serial = ak_guc_key_serial;
	}
	if (unlikely(last.key == NULL && !last.counted))
	{
		token = ak_guc_key(&len);
		last.counted = ak_use_guessed(token, len);
	}
	return last.key;
}

bool
ak_session_has_text(void)
{
	int			len;

	(void) ak_guc_key(&len);
	return len > 0;
}

void
ak_session_require_text(int sqlerrcode)
{
	AkVerdict	verdict = {AK_REASON_NO_KEY, AK_LEVEL_NONE};

	if (!ak_session_has_text())
		ereport(ERROR,
				(errcode(sqlerrcode),
				 errmsg_internal("%s", ak_authz_reason(&verdict)),
				 errhint("Log in by apikey_login, and work in the same transaction.")));
}
