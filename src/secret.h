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

#include "token.h"

#define AK_SALT_LEN			16
#define AK_HASH_LEN			32	/* SHA-256 */

extern void ak_secret_random(void *buf, size_t len);

/*
 * SHA-256 of a whole key: names it in memory, and to a scanner that found it; is
 * never stored.
 */
extern void ak_secret_digest(const char *text, int len,
							 uint8 digest[AK_HASH_LEN]);

extern void ak_secret_verifier(const uint8 *pepper, int pepper_len,
							   const uint8 salt[AK_SALT_LEN],
							   const uint8 secret[AK_SECRET_LEN],
							   uint8 verifier[AK_HASH_LEN]);

/* Equal?  In time that depends on "len" alone. */
extern bool ak_secret_equal(const void *a, const void *b, size_t len);

#endif							/* AK_SECRET_H */
