/*
 * authn.h
 *		Authentication: from the text of a key to a key that has proved itself,
 *		or to none.
 *
 * Whatever does not prove itself is refused in one way: unknown, wrong secret,
 * wrong prefix, deleted, malformed.  A key that is revoked, disabled, expired or
 * outside its networks does prove itself, and so does one by a superseded secret, which
 * gives no right to anything; ask ak_authz_check_key().
 *
 * ak_schema_accept() must have been called.  Raises what the tables, the
 * cryptography and the pepper file raise, never because of the key.
 */
#ifndef AK_AUTHN_H
#define AK_AUTHN_H

#include "postgres.h"

#include "auth/keycache.h"
#include "base/compat.h"
#include "fmgr.h"

/* The key of a text of any length, or NULL.  Nothing is counted. */
extern const AkKey *ak_authn_find(const char *token, int len);

/* What was found out about some text.  Zeroed: nothing. */
typedef struct AkFinding
{
	const AkKey *key;			/* NULL: it is no key */
	uint64		epoch;
	AkMoment	moment;
	bool		counted;		/* as a guess, or need not be */
} AkFinding;

/*
 * Is it still true?  That a text is no key holds for the statement only, since a
 * new key sends no message.
 */
static inline bool
ak_authn_holds(const AkFinding *finding)
{
	if (finding->key == NULL)
		return ak_inval_is_moment(&finding->moment);
	return finding->epoch == ak_keycache_epoch &&
		ak_keycache_usable(finding->key);
}

/*
 * The key of the text that "finding" is about, or NULL; found out anew unless it
 * holds.  A text that is not a key counts as one guess per statement.
 */
extern const AkKey *ak_authn_recall(AkFinding *finding, const char *token,
									int len);

/* The same of apikey.key: the session's key.  Its text is not kept. */
extern const AkKey *ak_authn_session(void);

/* Is there any text in apikey.key, good or bad? */
extern bool ak_authn_has_session(void);

/* Raises an error of this SQLSTATE if there is none. */
extern void ak_authn_require_session(int sqlerrcode);

typedef enum AkGuess
{
	AK_GUESS_BY_STATEMENT = 0,	/* each text counts once per statement */
	AK_GUESS_BY_CALL			/* each call does, and may be delayed */
} AkGuess;

/*
 * The key in an argument, or the session's if "argno" is negative; NULL unless it
 * proves itself.  A text in the argument that does not counts as a guess.  Calls
 * ak_schema_accept() itself.
 */
extern const AkKey *ak_authn_argument(FunctionCallInfo fcinfo, int argno,
									  AkGuess guess);

/*
 * The same, but raises 28000, as apikey_login does, unless the key may act now.  To be
 * asked for is a use of it.
 */
extern const AkKey *ak_authn_require(FunctionCallInfo fcinfo, int argno);

/*
 * The two variants of a function: the key is an argument, after "before" others, or
 * that of the session.  "function" takes the key's place, negative for the
 * session's, and that of the first argument after it.
 */
#define AK_VARIANTS(of_key, of_session, function, before) \
AK_FUNCTION_INFO_V1(of_key); \
Datum \
of_key(PG_FUNCTION_ARGS) \
{ \
	return function(fcinfo, before, before + 1); \
} \
AK_FUNCTION_INFO_V1(of_session); \
Datum \
of_session(PG_FUNCTION_ARGS) \
{ \
	return function(fcinfo, -1, before); \
}

/*
 * If a slow hash proved this key, whose text is "token", put one of ours in its
 * place, where the transaction may write and nobody else has the row locked.
 * Not for functions that promise not to write.
 */
extern void ak_authn_rehash(const AkKey *key, const char *token, int len);

#endif							/* AK_AUTHN_H */
