/*
 * secret.h
 *		All cryptography: random bytes, hashes, comparison.
 *
 * The verifier of a key is HMAC-SHA-256 (RFC 2104, FIPS 180-4) over salt and
 * secret, keyed by the pepper, or by the empty key if there is none.  The
 * secret has 256 random bits, so a slow hash would add nothing.
 *
 * Every function either does its work or raises XX000; none ever returns a
 * result that was not computed.  The caller wipes what it passes in, with
 * explicit_bzero.
 */
#ifndef AK_SECRET_H
#define AK_SECRET_H

#include "postgres.h"

#include "base/token.h"
#include "datatype/timestamp.h"

#define AK_SALT_LEN			16
#define AK_HASH_LEN			32	/* SHA-256 */

extern void ak_secret_random(void *buf, size_t len);

/*
 * A version 7 UUID (RFC 9562, section 5.7): the milliseconds since 1970 come
 * first, then their fraction (6.2, method 3), then 62 random bits.  So ids of
 * different microseconds are in the order of time, and what is made at one time
 * stands side by side in the indexes.  In one session each is greater than the one
 * before, whatever the clock does.
 */
extern void ak_secret_uuid(pg_uuid_t *id, TimestampTz now);

/*
 * SHA-256 of a whole key: names it in memory, and to a scanner that found it.  Of
 * ours it is never stored.
 */
extern void ak_secret_digest(const char *text, int len,
							 uint8 digest[AK_HASH_LEN]);

extern void ak_secret_verifier(const uint8 *pepper, int pepper_len,
							   const uint8 salt[AK_SALT_LEN],
							   const void *secret, int len,
							   uint8 verifier[AK_HASH_LEN]);

/*
 * Is this the bcrypt hash of "text"?  "hash" has the form
 * $2b$<cost>$<53 characters>, "crypt" is pgcrypto's function, which knows that as
 * $2a$.  Takes 200 ms at cost 12.
 */
extern bool ak_secret_bcrypt(Oid crypt, const char *text, int len,
							 const char *hash);

/* Equal?  In time that depends on "len" alone. */
extern bool ak_secret_equal(const void *a, const void *b, size_t len);

#endif							/* AK_SECRET_H */
