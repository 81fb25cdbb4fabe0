/*
 * imported.h
 *		Imported keys, verified by the hashes that other systems kept of them.
 *
 *		sha256			SHA-256 of the text: Unkey, better-auth, most tables of one's own
 *		sha512			the same by SHA-512
 *		hmac-sha256		HMAC-SHA-256, keyed by what apikey.hmac_key_file holds
 *		bcrypt			has a salt, so it takes the SHA-256 as well, to be found by
 *		formbricks-v2	fbk_<secret>: bcrypt of the secret
 *		formbricks-v1	sha256
 *
 * Their text has up to AK_KEY_TEXT_MAX bytes and any form but that of native keys,
 * which are looked up by the id in them.  What is hashed may be a part of it, see
 * lookup.h.  Bcrypt looks at the first 72 bytes, the SHA-256 at all of them; only
 * somebody who holds a key can make the server compute a bcrypt.  The last
 * AK_IMPORTED_OUTCOMES outcomes of that are cached, by what was hashed and the hash, on
 * which alone they depend.
 */
#ifndef AK_IMPORTED_H
#define AK_IMPORTED_H

#include "postgres.h"

#include "table/store.h"

#define AK_IMPORTED_OUTCOMES	1024

/* Bcrypt's cost: the logarithm of the number of rounds. */
#define AK_BCRYPT_COST_MAX		15

/*
 * Is this the secret's, by one of these schemes?  "part" is what ak_lookup_find() has made
 * of a text.  A malformed hash proves nothing.
 */
extern bool ak_imported_proves(const AkSecret *secret, const AkName *part);

/* The same, which leaves nothing in the cache. */
extern bool ak_imported_would_prove(const AkSecret *secret, const AkName *part);

/* What another system kept, as it is given; NULL for what is not. */
typedef struct AkImported
{
	const char *scheme;
	const char *hash;
	const char *lookup;
	const char *strip_prefix;
	const char *after;
} AkImported;

/* What is wrong with it: "what" must be "form". */
typedef struct AkImportedFault
{
	const char *what;
	const char *form;
	const char *hint;			/* or NULL */
} AkImportedFault;

/*
 * Read it: fill in scheme, rule and, palloc'd, verifier of the secret, and the lookup
 * digest; false for what can never work.  Raises 22023 for an unknown scheme.
 */
extern bool ak_imported_read(const AkImported *from, AkSecret *secret,
							 uint8 digest[AK_HASH_LEN],
							 AkImportedFault *fault);

#endif							/* AK_IMPORTED_H */
