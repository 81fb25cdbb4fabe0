/*
 * use.h
 *		Counting that a key was used, and holding it to its rate limit.
 *
 * A use is a statement in which a good key was asked what it may do, or a call of
 * apikey_verify and its like; a refusal one in which a key that proved itself was
 * told no: because of its state, of its rate limit, or because it has no grant,
 * unless the request came from the rows of a scan, which are filtered and not
 * refused.  What did not prove itself is a guess, and counts for the client's address:
 * each text once a statement, and each call of apikey_verify and its like.
 *
 * A statement is a message of the client, or a transaction in one that commits.  In a
 * parallel query it counts once for all its processes.  What the planner and EXPLAIN ask does not count; but what lets
 * a key in does so, and takes from its limit, also where somebody has hidden it in a
 * function that the planner calls: what it says is as good there.
 *
 * Nothing happens where the extension is not preloaded, but see
 * ak_use_check_limit().
 */
#ifndef AK_USE_H
#define AK_USE_H

#include "postgres.h"

#include "auth/authz.h"
#include "auth/keycache.h"
#include "base/clock.h"
#include "fmgr.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_use_init(void);

/* Is it? */
extern bool ak_use_counts;

extern void ak_use_note_asked(const AkKey *key, AkReason reason);
extern bool ak_use_note_guessed(const char *token, int len);
extern void ak_use_note_refused(const AkKey *key);
extern void ak_use_note_called(const AkKey *key, AkReason reason);

/* A deciding function asked for this key, of which ak_authz_check_key() said "reason". */
static inline void
ak_use_asked(const AkKey *key, AkReason reason)
{
	if (ak_use_counts &&
		(!key->use.asked ||
		 key->use.statement != ak_clock_now()))
		ak_use_note_asked(key, reason);
}

/*
 * Somebody asked about this text, and it is no key.  No text is nobody's guess; NULL
 * with a length is one that is too long to be looked at.  True if it need not be said
 * again in this statement.
 */
static inline bool
ak_use_guessed(const char *token, int len)
{
	return !ak_use_counts || len <= 0 || ak_use_note_guessed(token, len);
}

/* The same of the text in this argument. */
extern void ak_use_guessed_argument(FunctionCallInfo fcinfo, int argno);

/* It was a good one, and the answer to its request is no. */
static inline void
ak_use_refused(const AkKey *key)
{
	if (ak_use_counts && key != NULL &&
		(!key->use.refused ||
		 key->use.statement != ak_clock_now()))
		ak_use_note_refused(key);
}

/*
 * Somebody came with this key, or with none, and "reason" is the answer.  Delays
 * who guesses, if apikey.guess_delay says so.
 */
static inline void
ak_use_called(const AkKey *key, AkReason reason)
{
	if (ak_use_counts)
		ak_use_note_called(key, reason);
}

/*
 * Do this, which may ask keys what they may do: it does not count.  Not for what a
 * parallel query could be in.
 */
extern void ak_use_uncounted(void (*action) (void *), void *arg);

/*
 * One more call of a good key: AK_REASON_GOOD, or AK_REASON_OVER_LIMIT; then
 * *wait is how many nanoseconds it takes until it would not be.  Raises 55000 for
 * a limited key where the extension is not preloaded, 53400 where there is no
 * shared memory: who cannot be counted is not let in.
 */
extern AkReason ak_use_check_limit(const AkKey *key, int64 *wait);

/* The same without a call, and how many would be within the limit now. */
extern AkReason ak_use_look_at_limit(const AkKey *key, int64 *wait,
									 int64 *remaining);

#endif							/* AK_USE_H */
