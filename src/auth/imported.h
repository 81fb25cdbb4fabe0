/*
 * imported.h
 *		Imported keys, verified by the hashes that other systems kept of them.
 *
 *		formbricks-v2	fbk_<secret>: bcrypt of the secret, found by its SHA-256
 *		formbricks-v1	SHA-256 of the whole text, in hexadecimal digits
 *		sha256			the same, in hexadecimal digits, base64 or base64url:
 *						what Unkey, better-auth and most home-made tables keep
 *
 * Their text has up to AK_KEY_TEXT_MAX bytes and any form but that of native keys,
 * which are looked up by the id in them.  It is looked up by its SHA-256 digest,
 * or for fbk_ by that of the rest: only somebody who holds a key can make the
 * server compute a bcrypt.  The last AK_IMPORTED_OUTCOMES outcomes of that are
 * cached, by text and hash, on which alone they depend.
 */
#ifndef AK_IMPORTED_H
#define AK_IMPORTED_H

#include "postgres.h"

#include "table/store.h"

#define AK_IMPORTED_OUTCOMES	1024

/* Bcrypt's cost: the logarithm of the number of rounds. */
#define AK_BCRYPT_COST_MAX		15

/* Is there any imported key?  If not, no text needs to be looked up. */
extern bool ak_imported_any(void);

/*
 * The secret that a text may be the key of; "digest" is its SHA-256.  False if
 * there is none.
 */
extern bool ak_imported_find(Snapshot snapshot, const char *token, int len,
							 const uint8 digest[AK_HASH_LEN],
							 AkSecret *secret);

/* Is it, by a scheme above?  A malformed hash proves nothing. */
extern bool ak_imported_proves(const AkSecret *secret, const char *token,
							   int len, const uint8 digest[AK_HASH_LEN]);

/* The digest that the key of a bcrypt hash, fbk_..., is looked up by. */
extern void ak_imported_bcrypt_lookup(const char *token, int len,
									  uint8 lookup[AK_HASH_LEN]);

/*
 * Read what another system kept: fill in scheme and, palloc'd, verifier, and the
 * lookup digest.  "lookup" may be NULL.  Raises 22023 for a malformed hash.
 */
extern void ak_imported_read(const char *scheme, const char *hash,
							 const char *lookup, AkSecret *secret,
							 uint8 digest[AK_HASH_LEN]);

#endif							/* AK_IMPORTED_H */
