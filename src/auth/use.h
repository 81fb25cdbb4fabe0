/*
 * use.h
 *		Counting that a key was used, and holding it to its rate limit.
 *
 * A *use* is a statement in which a good key was asked what it may do, or a call of
 * apikey_verify and its like.  A *refusal* is one in which a key that proved itself
 * was told no, because of its state, its rate limit or its grants; but requests from
 * the rows of a scan are filtered, not refused.  What did not prove itself is a
 * *guess*, and counts for the client's address.
 *
 * A use or a refusal of a derived key is one of each of its ancestors as well, and its
 * rate limit is that of its root.
 *
 * A statement is a message of the client, or a transaction in one that commits; in a
 * parallel query it is one for all processes.  What the planner and EXPLAIN ask does
 * not count.  What lets a key in does, even in a function that the planner calls:
 * what it says is as good there.
 *
 * Where the extension is not preloaded nothing is counted, and only ak_use_limit()
 * does anything.
 */
#ifndef AK_USE_H
#define AK_USE_H

#include "postgres.h"

#include "auth/authz.h"
#include "auth/keycache.h"
#include "base/clock.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_use_init(void);

/* Is it? */
extern bool ak_use_counts;

/* The rest of the three functions below. */
extern void ak_use_note_asked(const AkKey *key, AkReason reason);
extern void ak_use_note_refused(const AkKey *key, AkReason reason);
extern bool ak_use_note_guessed(const char *token, int len);

/*
 * A deciding function asked for this key, of which ak_authz_check_key() said
 * "reason".  NULL does not count.
 */
static inline void
ak_use_asked(const AkKey *key, AkReason reason)
{
	if (ak_use_counts && key != NULL &&
		(!key->use.asked || key->use.statement != ak_clock_now()))
		ak_use_note_asked(key, reason);
}

/*
 * The answer to a request was no.  "reason" is for the totals of the server.  NULL does
 * not count.
 */
static inline void
ak_use_refused(const AkKey *key, AkReason reason)
{
	if (ak_use_counts && key != NULL &&
		(!key->use.refused || key->use.statement != ak_clock_now()))
		ak_use_note_refused(key, reason);
}

/*
 * A function was asked about this text, which is not a key; NULL for one longer than
 * any key.  An empty one does not count.  True if it need not be said again in this
 * statement.
 */
static inline bool
ak_use_guessed(const char *token, int len)
{
	return !ak_use_counts || len <= 0 || ak_use_note_guessed(token, len);
}

/*
 * apikey_verify or its like was called with a text of this length, which is not a
 * key.  Delays whoever guesses too often, if apikey.guess_delay says so.
 */
extern void ak_use_guess_called(int len);

/* It was called with this key, and "reason" is the answer. */
extern void ak_use_called(const AkKey *key, AkReason reason);

/*
 * Do this, which may ask keys what they may do: it does not count.  Not for what a
 * parallel query could be in.
 */
extern void ak_use_uncounted(void (*action) (void *), void *arg);

/*
 * One more call of a good key: AK_REASON_GOOD, or AK_REASON_OVER_LIMIT; then
 * *wait is how many nanoseconds it takes until it would not be, else 0.  If
 * "remaining" is not NULL nothing is taken, and it becomes the number of calls that
 * would be within the limit now.  Raises 55000 for a limited key where the extension
 * is not preloaded, 53400 where there is no shared memory: a call that cannot be
 * counted is not let in.
 */
extern AkReason ak_use_limit(const AkKey *key, int64 *wait, int64 *remaining);

#endif							/* AK_USE_H */
