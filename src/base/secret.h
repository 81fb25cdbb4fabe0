/*
 * secret.h
 *		All cryptography: random bytes, hashes, the pepper, comparison.
 *
 * The verifier of a native key is HMAC-SHA-256 over salt and secret, keyed by the
 * pepper, or by the empty key if none is configured.  The secret has 256 random bits,
 * so a slow hash would add nothing.
 *
 * The pepper is what the file named by apikey.pepper_file holds, of AK_PEPPER_MIN to
 * AK_PEPPER_MAX bytes; a newline at its end does not count.  It is read when it is
 * first needed, and again when the setting changes.  Without it a copy of the tables
 * can neither be attacked nor used.  What needs a pepper that cannot be read, or has
 * another length, raises F0000.  The file of apikey.hmac_key_file, with the key of
 * another system's hashes, is read, and refused, in the same way.
 *
 * Each function does its work or raises XX000: no result is left uncomputed.  The
 * caller wipes what it passes in, by explicit_bzero.
 */
#ifndef AK_SECRET_H
#define AK_SECRET_H

#include "postgres.h"

#include "base/name.h"
#include "base/token.h"
#include "datatype/timestamp.h"

#define AK_PEPPER_MIN		16
#define AK_PEPPER_MAX		1024

#define AK_SALT_LEN			16
#define AK_HASH_LEN			32	/* SHA-256 */
#define AK_HASH_MAX			64	/* SHA-512 */

/* How a verifier was made, as the column "scheme" has it. */
typedef enum AkScheme
{
	AK_SCHEME_UNKNOWN = 0,
	/* native keys */
	AK_SCHEME_NATIVE,			/* no pepper */
	AK_SCHEME_NATIVE_PEPPER,
	/* imported ones, see imported.h */
	AK_SCHEME_BCRYPT,
	AK_SCHEME_SHA256,
	AK_SCHEME_SHA512,
	AK_SCHEME_HMAC_SHA256
} AkScheme;

#define AK_SCHEMES			(AK_SCHEME_HMAC_SHA256 + 1)

extern const char *ak_secret_scheme_name(AkScheme scheme);

/* AK_SCHEME_UNKNOWN if there is none of this name. */
extern AkScheme ak_secret_scheme(const AkName *name);

extern void ak_secret_random(void *buf, size_t len);

/*
 * A version 7 UUID (RFC 9562): milliseconds since 1970, their fraction, 62 random
 * bits.  So what is made at one time stands side by side in the indexes.  In one
 * session each is greater than the one before, whatever the clock does.
 */
extern void ak_secret_uuid(pg_uuid_t *id, TimestampTz now);

/*
 * Make what hashing needs, which takes OpenSSL longer than a decision takes us.  To be
 * called by _PG_init where the extension is preloaded: sessions inherit it.
 */
extern void ak_secret_init(void);

/* SHA-256 of the text of a key.  That of a native key is in no table. */
extern void ak_secret_digest(const char *str, int len,
							 uint8 digest[AK_HASH_LEN]);

/* The verifier of a new secret; returns the scheme that is configured. */
extern AkScheme ak_secret_new_verifier(const uint8 salt[AK_SALT_LEN],
									   const void *secret, int len,
									   uint8 verifier[AK_HASH_LEN]);

/*
 * The verifier by AK_SCHEME_NATIVE or AK_SCHEME_NATIVE_PEPPER.  False if that needs a
 * pepper and none is configured: the verifier then proves nothing, and has taken as
 * long.
 */
extern bool ak_secret_verifier(AkScheme scheme, const uint8 salt[AK_SALT_LEN],
							   const void *secret, int len,
							   uint8 verifier[AK_HASH_LEN]);

/* Can it be computed?  Only AK_SCHEME_HMAC_SHA256 needs what may not be there. */
extern bool ak_secret_has_key(AkScheme scheme);

/*
 * The hash of a text as other systems have it, by AK_SCHEME_SHA256, AK_SCHEME_SHA512
 * or AK_SCHEME_HMAC_SHA256; returns its length.  0 for another scheme, and if it needs
 * a key and none is configured.
 */
extern int	ak_secret_hash(AkScheme scheme, const char *str, int len,
						   uint8 hash[AK_HASH_MAX]);

/*
 * What tells the key in the file of AK_SCHEME_NATIVE_PEPPER or AK_SCHEME_HMAC_SHA256 from
 * another one, and nothing else about it; false if there is no file.  Another server that
 * has the same file comes to the same.
 */
#define AK_FINGERPRINT_LEN	8

extern bool ak_secret_fingerprint(AkScheme keyed,
								  uint8 fingerprint[AK_FINGERPRINT_LEN]);

/*
 * Is this the bcrypt hash of the text?  "hash" has the form $2b$<cost>$<53
 * characters>; "crypt" is pgcrypto's function.  Takes 200 ms at cost 12.
 */
extern bool ak_secret_bcrypt(Oid crypt, const char *str, int len,
							 const char *hash);

/* Equal?  In time that depends on "len" alone. */
extern bool ak_secret_equal(const void *a, const void *b, size_t len);

#endif							/* AK_SECRET_H */
