/*
 * authn.h
 *		From the text of a key to a key that has proved itself, or to none.
 *
 * Everything that does not prove itself is refused in one way: unknown, wrong
 * secret, wrong prefix, deleted, malformed.  A key that is revoked, disabled,
 * expired or used from outside its networks does prove itself; ask ak_authz_check_key().
 *
 * ak_schema_accept() must have been called.  Raises what the tables, the
 * cryptography and the pepper file raise, never because of the key.
 */
#ifndef AK_AUTHN_H
#define AK_AUTHN_H

#include "postgres.h"

#include "auth/keycache.h"
#include "base/token.h"

/*
 * What was found out about some text.  A refusal holds for the statement only:
 * a new key sends no message.
 */
typedef struct AkFinding
{
	const AkKey *key;			/* NULL: refused */
	uint64		epoch;
	AkMoment	moment;
	bool		counted;		/* for the caller: as a guess; see use.h */
} AkFinding;

/* Find out about a text of any length. */
extern void ak_authn_find(AkFinding *finding, const char *token, int len);

/* Is it still true? */
static inline bool
ak_authn_holds(const AkFinding *finding)
{
	if (finding->key == NULL)
		return ak_inval_is_moment(&finding->moment);
	return finding->epoch == ak_keycache_epoch &&
		ak_keycache_usable(finding->key);
}

/*
 * What one caller remembers of the last key that it asked for, so that the
 * same key costs one comparison.  Zeroed at first.  It holds the text of a
 * key: the caller must wipe it with explicit_bzero in the end.
 */
typedef struct AkMemo
{
	int			len;
	char		token[AK_KEY_TEXT_MAX];
	AkFinding	finding;
} AkMemo;

extern const AkKey *ak_authn_key(AkMemo *memo, const char *token, int len);

/* The same key as in the last call, which must have been one. */
extern const AkKey *ak_authn_again(AkMemo *memo);

/*
 * If a slow hash proved this key, whose text is "token", put one of ours in its
 * place, where the transaction may write and nobody else has the row locked.
 * Not for functions that promise not to write.
 */
extern void ak_authn_rehash(const AkKey *key, const char *token, int len);

#endif							/* AK_AUTHN_H */
