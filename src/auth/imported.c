/*
 * imported.c
 *		Keys of other systems, by their hashes; see imported.h.
 */
#include "postgres.h"

#include "auth/imported.h"

#include "base/compat.h"
#include "base/inval.h"
#include "common/base64.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define FORMBRICKS_PREFIX	"fbk_"
#define FORMBRICKS_LEN		4

#define BCRYPT_LEN			60	/* $2b$12$, then 22 + 31 characters */
#define HEX_LEN				(2 * AK_HASH_LEN)
#define BASE64_LEN			44	/* of 32 bytes, padded */

static const char hex_digits[] = "0123456789abcdefABCDEF";
static const char bcrypt_digits[] =
"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* ------------------------------------------------------------- outcomes */

typedef struct Outcome
{
	uint8		pair[AK_HASH_LEN];	/* digest of text and hash */
	bool		proved;
} Outcome;

static Outcome *outcomes;		/* a ring: the oldest goes first */
static int	noutcomes;
static int	next_outcome;

static const Outcome *
find_outcome(const uint8 *pair)
{
	for (int i = 0; i < noutcomes; i++)
		if (memcmp(outcomes[i].pair, pair, AK_HASH_LEN) == 0)
			return &outcomes[i];
	return NULL;
}

static void
cache_outcome(const uint8 *pair, bool proved)
{
	Outcome    *outcome;

	if (outcomes == NULL)
		outcomes = MemoryContextAlloc(TopMemoryContext,
									  AK_IMPORTED_OUTCOMES * sizeof(Outcome));
	outcome = &outcomes[next_outcome];
	memcpy(outcome->pair, pair, AK_HASH_LEN);
	outcome->proved = proved;
	next_outcome = (next_outcome + 1) % AK_IMPORTED_OUTCOMES;
	noutcomes = Min(noutcomes + 1, AK_IMPORTED_OUTCOMES);
}

/* ------------------------------------------------------------- verifying */

static bool
has_formbricks_prefix(const char *token, int len)
{
	return len > FORMBRICKS_LEN &&
		memcmp(token, FORMBRICKS_PREFIX, FORMBRICKS_LEN) == 0;
}

bool
ak_imported_any(void)
{
	static bool any;
	static uint64 any_generation;	/* 0: not looked yet */
	uint64		generation = ak_inval_generation(AK_TOPIC_KEYS);

	if (any_generation != generation)
	{
		Snapshot	snapshot;

		AK_STORE_READ(snapshot)
			any = ak_store_any(snapshot, AK_INDEX_SECRET_LOOKUP,
							   Anum_apikey_secret_lookup);
		any_generation = generation;
	}
	return any;
}

void
ak_imported_bcrypt_lookup(const char *token, int len,
						  uint8 lookup[AK_HASH_LEN])
{
	ak_secret_digest(token + FORMBRICKS_LEN, len - FORMBRICKS_LEN, lookup);
}

bool
ak_imported_find(Snapshot snapshot, const char *token, int len,
				 const uint8 digest[AK_HASH_LEN], AkSecret *secret)
{
	uint8		lookup[AK_HASH_LEN];

	if (ak_store_lookup(snapshot, digest, secret))
		return true;
	if (!has_formbricks_prefix(token, len))
		return false;
	ak_imported_bcrypt_lookup(token, len, lookup);
	return ak_store_lookup(snapshot, lookup, secret);
}

/* Has it the form of a bcrypt hash, of a cost that a server can bear? */
static bool
is_bcrypt(const char *hash, int len)
{
	int			cost;

	if (len != BCRYPT_LEN || strspn(hash, "$") != 1 || hash[1] != '2' ||
		strchr("aby", hash[2]) == NULL || hash[3] != '$' ||
		!isdigit((unsigned char) hash[4]) ||
		!isdigit((unsigned char) hash[5]) || hash[6] != '$')
		return false;
	cost = atoi(hash + 4);
	return cost >= 4 && cost <= AK_BCRYPT_COST_MAX &&
		strspn(hash + 7, bcrypt_digits) == BCRYPT_LEN - 7;
}

static bool
proves_bcrypt(const AkSecret *secret, const char *token, int len,
			  const uint8 *digest)
{
	uint8		both[AK_HASH_LEN + BCRYPT_LEN];
	uint8		pair[AK_HASH_LEN];
	char	   *hash = pnstrdup(secret->verifier.data, secret->verifier.len);
	const Outcome *outcome;
	bool		proved;

	if (!has_formbricks_prefix(token, len) || !is_bcrypt(hash, strlen(hash)))
		return false;
	memcpy(both, digest, AK_HASH_LEN);
	memcpy(both + AK_HASH_LEN, hash, BCRYPT_LEN);
	ak_secret_digest((char *) both, sizeof(both), pair);
	outcome = find_outcome(pair);
	if (outcome != NULL)
		return outcome->proved;
	proved = ak_secret_bcrypt(ak_schema_crypt(), token + FORMBRICKS_LEN,
							  len - FORMBRICKS_LEN, hash);
	cache_outcome(pair, proved);
	return proved;
}

bool
ak_imported_proves(const AkSecret *secret, const char *token, int len,
				   const uint8 digest[AK_HASH_LEN])
{
	if (secret->scheme == AK_SCHEME_FORMBRICKS_V2)
		return proves_bcrypt(secret, token, len, digest);
	return (secret->scheme == AK_SCHEME_FORMBRICKS_V1 ||
			secret->scheme == AK_SCHEME_SHA256) &&
		secret->verifier.len == AK_HASH_LEN &&
		ak_secret_equal(secret->verifier.data, digest, AK_HASH_LEN);
}

/* --------------------------------------------------------------- reading */

pg_noreturn static void
refuse_hash(const char *what, const char *scheme, const char *form)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s for scheme \"%s\"", what, scheme),
			 errdetail("%s", form),
			 errhidestmt(true)));
}

static bool
read_hex(const char *digits, uint8 *bytes)
{
	if (strlen(digits) != HEX_LEN || strspn(digits, hex_digits) != HEX_LEN)
		return false;
	hex_decode(digits, HEX_LEN, (char *) bytes);
	return true;
}

/* Either alphabet, padded or not.  An invalid character makes it fail. */
static bool
read_base64(const char *digits, uint8 *bytes)
{
	char		plain[BASE64_LEN + 1] = "";
	int			len = strlen(digits);

	if (len == BASE64_LEN && digits[len - 1] == '=')
		len--;
	if (len != BASE64_LEN - 1)
		return false;
	for (int i = 0; i < len; i++)
		plain[i] = digits[i] == '-' ? '+' : digits[i] == '_' ? '/' : digits[i];
	plain[len] = '=';
	return pg_b64_decode(plain, BASE64_LEN, (void *) bytes,
						 AK_HASH_LEN) == AK_HASH_LEN;
}

void
ak_imported_read(const char *scheme, const char *hash, const char *lookup,
				 AkSecret *secret, uint8 digest[AK_HASH_LEN])
{
	AkName		name = ak_name_make(scheme, strlen(scheme));

	memset(secret, 0, sizeof(AkSecret));
	secret->scheme = ak_secret_scheme(&name);
	secret->salt.data = "";
	if (secret->scheme == AK_SCHEME_FORMBRICKS_V2)
	{
		if (!is_bcrypt(hash, strlen(hash)))
			refuse_hash("hash", scheme,
						psprintf("It must be a bcrypt hash of cost 4 to %d.",
								 AK_BCRYPT_COST_MAX));
		if (lookup == NULL || !read_hex(lookup, digest))
			refuse_hash("lookup digest", scheme,
						"It must be 64 hexadecimal digits.");
		secret->verifier = ak_name_make(pstrdup(hash), BCRYPT_LEN);
	}
	else if (secret->scheme == AK_SCHEME_FORMBRICKS_V1 ||
			 secret->scheme == AK_SCHEME_SHA256)
	{
		bool		any = secret->scheme == AK_SCHEME_SHA256;

		if (!read_hex(hash, digest) && !(any && read_base64(hash, digest)))
			refuse_hash("hash", scheme, any ?
						"It must be a SHA-256 hash: 64 hexadecimal digits, or base64 or base64url." :
						"It must be 64 hexadecimal digits.");
		if (lookup != NULL)
			refuse_hash("lookup digest", scheme,
						"It must be null: the hash itself is what keys are looked up by.");
		secret->verifier = ak_name_make(memcpy(palloc(AK_HASH_LEN), digest,
											   AK_HASH_LEN), AK_HASH_LEN);
	}
	else

		/*
		 * it is not repeated: arguments in another order would make it the
		 * hash
		 */
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown scheme of hashes"),
				 errhint("Use formbricks-v1, formbricks-v2 or sha256."),
				 errhidestmt(true)));
}
