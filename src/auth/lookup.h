/*
 * lookup.h
 *		How the text of an imported key leads to its row.
 *
 * Another system has hashed a text, or a part of it, in one of several ways.  The way is
 * a *rule*, stored beside the hash: a text fits a rule if it begins with strip_prefix,
 * holds "after" behind that, and goes on behind that again; what goes on is the part
 * that is hashed.  The first AK_HASH_LEN bytes of the hash are the lookup digest.
 *
 * A few rules hold for all imported keys.  Each backend caches the list, and looks a
 * text up by every rule that it fits, one index search each: unknown texts and wrong
 * ones take the same steps.  A secret that is found by another rule than its own
 * does not count.
 *
 * A new secret sends a message only if its rule is new, that is, if no other secret has it
 * that is committed.  So a list must never miss the rule of a secret that is still to be
 * committed, or it would go on to do so: it is made of all entries of the index, visible
 * or not.  What was written before the list was made is in it; whatever is written
 * afterwards sends a message, unless the rule was in use, and so in the list.
 */
#ifndef AK_LOOKUP_H
#define AK_LOOKUP_H

#include "postgres.h"

#include "table/store.h"

/* How many rules importing may add up to, and bytes of strip_prefix and "after". */
#define AK_LOOKUP_RULES			32
#define AK_LOOKUP_BYTES			64

/* Is there any imported key?  If not, no text needs to be looked up. */
extern bool ak_lookup_any(void);

/* Is there this rule, or room for it? */
extern bool ak_lookup_has_room(const AkRule *rule);

/* The part of a text, which is pointed into; false if the text does not fit. */
extern bool ak_lookup_part(const AkRule *rule, const char *token, int len,
						   AkName *part);

/*
 * The secret that a text may be the key of, and the part of it that is to prove it;
 * "digest" is the text's.  False if there is none.  After ak_lookup_any().
 */
extern bool ak_lookup_find(Snapshot snapshot, const char *token, int len,
						   const uint8 digest[AK_HASH_LEN], AkSecret *secret,
						   AkName *part);

/* Must the secret that was just written send a message, for its rule is new? */
extern bool ak_lookup_is_new(const AkRule *rule);

#endif							/* AK_LOOKUP_H */
