/*
 * authn.h
 *		From the text of a key to a key that has proved itself, or to none.
 *
 * Everything that does not prove itself is refused in one way: unknown, wrong
 * secret, wrong prefix, deleted, malformed.  A key that is revoked, disabled,
 * expired or used from elsewhere does prove itself; ask ak_authz_alive().
 *
 * ak_schema_accept() must have been called.  Raises what the tables, the
 * cryptography and the pepper file raise, never because of the key.
 */
#ifndef AK_AUTHN_H
#define AK_AUTHN_H

#include "postgres.h"

#include "keycache.h"
#include "token.h"

/*
 * What one caller remembers of the last key that it asked for, so that the
 * same key costs one comparison.  Zeroed at first.  It holds the text of a
 * key: the caller must wipe it with explicit_bzero in the end.
 *
 * A refusal is remembered for the statement only: a new key sends no message.
 */
typedef struct AkMemo
{
	int			len;
	char		token[AK_TOKEN_MAX];
	uint64		setting;		/* ak_guc_key_serial when it came from there */
	const AkKey *key;			/* NULL: refused */
	uint64		epoch;
	AkMark		mark;
} AkMemo;

extern const AkKey *ak_authn_key(AkMemo *memo, const char *token, int len);

/* The same key as in the last call, which must have been one. */
extern const AkKey *ak_authn_again(AkMemo *memo);

#endif							/* AK_AUTHN_H */
