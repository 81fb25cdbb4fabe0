/*
 * session.h
 *		Who acts: the key of the session.
 *
 * It is the key in apikey.key, verified at each use like any other.
 */
#ifndef AK_SESSION_H
#define AK_SESSION_H

#include "postgres.h"

#include "auth/authn.h"

/*
 * The session's key if it proves itself, else NULL.  What was found out last is
 * remembered until the setting changes, without the text of the key.  One that does
 * not counts as a guess.
 */
extern const AkKey *ak_session_key(void);

/* Is there any text in apikey.key, good or bad? */
extern bool ak_session_has_text(void);

/* Raises an error that says so, of this SQLSTATE, if there is none. */
extern void ak_session_require_text(int sqlerrcode);

#endif							/* AK_SESSION_H */
