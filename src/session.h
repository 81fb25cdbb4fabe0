/*
 * session.h
 *		Who acts: the key of the session.
 *
 * It is the key in apikey.key, verified at each use like any other.
 */
#ifndef AK_SESSION_H
#define AK_SESSION_H

#include "postgres.h"

#include "authn.h"

/* The session's key if it proves itself, else NULL. */
extern const AkKey *ak_session_key(AkMemo *memo);

#endif							/* AK_SESSION_H */
