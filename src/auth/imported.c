/*
 * imported.c
 *		Keys of other systems, by their hashes; see imported.h.
 */
#include "postgres.h"

#include "auth/imported.h"

#include "auth/lookup.h"
#include "base/compat.h"
#include "common/base64.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define BCRYPT_LEN			60	/* $2b$12$, then 22 + 31 characters */

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
proves_bcrypt(const AkSecret *secret, const AkName *part)
{
	char	   *hash = pnstrdup(secret->verifier.data, secret->verifier.len);

	return is_bcrypt(hash, strlen(hash)) &&
		ak_secret_bcrypt(ak_schema_crypt(), part->data, part->len, hash);
}

/* The same, if need be by what it came to before. */
static bool
recall_bcrypt(const AkSecret *secret, const AkName *part)
{
	uint8		both[AK_HASH_LEN + BCRYPT_LEN];
	uint8		pair[AK_HASH_LEN];
	const Outcome *outcome;
	bool		proved;

	if (secret->verifier.len != BCRYPT_LEN)
		return false;
	ak_secret_digest(part->data, part->len, both);
	memcpy(both + AK_HASH_LEN, secret->verifier.data, BCRYPT_LEN);
	ak_secret_digest((char *) both, sizeof(both), pair);
	outcome = find_outcome(pair);
	if (outcome != NULL)
		return outcome->proved;
	proved = proves_bcrypt(secret, part);
	cache_outcome(pair, proved);
	return proved;
}

/* By the other schemes. */
static bool
proves_hash(const AkSecret *secret, const AkName *part)
{
	uint8		hash[AK_HASH_MAX];
	int			len = ak_secret_hash(secret->scheme, part->data, part->len, hash);

	return len > 0 && secret->verifier.len == len &&
		ak_secret_equal(secret->verifier.data, hash, len);
}

bool
ak_imported_proves(const AkSecret *secret, const AkName *part)
{
	return secret->scheme == AK_SCHEME_BCRYPT ? recall_bcrypt(secret, part) :
		proves_hash(secret, part);
}

bool
ak_imported_would_prove(const AkSecret *secret, const AkName *part)
{
	return secret->scheme == AK_SCHEME_BCRYPT ? proves_bcrypt(secret, part) :
		proves_hash(secret, part);
}

/* --------------------------------------------------------------- reading */

/* What may be imported. */
typedef struct ImportScheme
{
	const char *name;
	AkScheme	scheme;
	const char *strip_prefix;	/* Formbricks: it says so itself, and has
								 * hexadecimal digits alone */
} ImportScheme;

static const ImportScheme schemes[] = {
	{"sha256", AK_SCHEME_SHA256, NULL},
	{"sha512", AK_SCHEME_SHA512, NULL},
	{"hmac-sha256", AK_SCHEME_HMAC_SHA256, NULL},
	{"bcrypt", AK_SCHEME_BCRYPT, NULL},
	{"formbricks-v1", AK_SCHEME_SHA256, ""},
	{"formbricks-v2", AK_SCHEME_BCRYPT, "fbk_"}
};

static const char *const hash_forms[AK_SCHEMES] = {
	[AK_SCHEME_SHA256] = "a SHA-256 hash: 64 hexadecimal digits, or base64 or base64url",
	[AK_SCHEME_SHA512] = "a SHA-512 hash: 128 hexadecimal digits, or base64 or base64url",
	[AK_SCHEME_HMAC_SHA256] = "an HMAC-SHA-256: 64 hexadecimal digits, or base64 or base64url",
	[AK_SCHEME_BCRYPT] = "a bcrypt hash of cost 4 to " CppAsString2(AK_BCRYPT_COST_MAX)
};

static const char first_use[] =
"What has a salt in it cannot be searched for: import the SHA-256 of a key when the other system has verified it, at its first use.";

static const ImportScheme *
get_scheme(const char *name)
{
	for (int i = 0; i < (int) lengthof(schemes); i++)
		if (strcmp(schemes[i].name, name) == 0)
			return &schemes[i];

	/* it is not repeated: arguments in another order would make it the hash */
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown scheme of hashes"),
			 errhint("Use sha256, sha512, hmac-sha256, bcrypt, formbricks-v1 or formbricks-v2. %s",
					 first_use),
			 errhidestmt(true)));
}

static bool
find_fault(AkImportedFault *fault, const char *what, const char *form,
		   const char *hint)
{
	fault->what = what;
	fault->form = form;
	fault->hint = hint;
	return false;
}

static bool
read_hex(const char *digits, uint8 *bytes, int len)
{
	int			given = strlen(digits);

	if (given != 2 * len || (int) strspn(digits, hex_digits) != given)
		return false;
	hex_decode(digits, given, (char *) bytes);
	return true;
}

/* Either alphabet, padded or not.  An invalid character makes it fail. */
static bool
read_base64(const char *digits, uint8 *bytes, int len)
{
	char		plain[4 * ((AK_HASH_MAX + 2) / 3) + 1] = "";
	int			padded = 4 * ((len + 2) / 3);
	int			bare = (4 * len + 2) / 3;
	int			given = strlen(digits);

	if (given == padded && strcmp(digits + bare, &"=="[2 - (padded - bare)]) == 0)
		given = bare;
	if (given != bare)
		return false;
	for (int i = 0; i < bare; i++)
		plain[i] = digits[i] == '-' ? '+' : digits[i] == '_' ? '/' : digits[i];
	memset(plain + bare, '=', padded - bare);
	return pg_b64_decode(plain, padded, (void *) bytes, len) == len;
}

/* Is it the hash of nothing?  There is no such key. */
static bool
is_of_nothing(AkScheme hash, const uint8 *bytes)
{
	uint8		nothing[AK_HASH_MAX];

	return ak_secret_hash(hash, "", 0, nothing) > 0 &&
		memcmp(bytes, nothing, AK_HASH_LEN) == 0;
}

static bool
read_imported_rule(const AkImported *from, const ImportScheme *scheme, AkRule *rule,
				   AkImportedFault *fault)
{
	const char *names[] = {"strip_prefix", "after"};
	const char *given[] = {from->strip_prefix, from->after};
	AkName	   *parts[] = {&rule->strip_prefix, &rule->after};

	rule->hash = scheme->scheme == AK_SCHEME_BCRYPT ? AK_SCHEME_SHA256 :
		scheme->scheme;
	for (int i = 0; i < 2; i++)
	{
		const char *part = given[i] != NULL ? given[i] : "";

		if (scheme->strip_prefix != NULL && given[i] != NULL)
			return find_fault(fault, names[i],
							  "null: the scheme says what is hashed", NULL);
		if (strlen(part) > AK_LOOKUP_BYTES)
			return find_fault(fault, names[i],
							  "at most " CppAsString2(AK_LOOKUP_BYTES) " bytes long",
							  NULL);
		*parts[i] = ak_name_make(part, strlen(part));
	}
	if (scheme->strip_prefix != NULL)
		rule->strip_prefix = ak_name_make(scheme->strip_prefix,
										  strlen(scheme->strip_prefix));
	return true;
}

static bool
read_bcrypt(const AkImported *from, AkSecret *secret, uint8 *digest,
			AkImportedFault *fault)
{
	if (!is_bcrypt(from->hash, strlen(from->hash)))
		return find_fault(fault, "hash", hash_forms[AK_SCHEME_BCRYPT], NULL);
	if (from->lookup == NULL || !read_hex(from->lookup, digest, AK_HASH_LEN))
		return find_fault(fault, "lookup digest",
						  "the SHA-256 of what was hashed, 64 hexadecimal digits",
						  from->lookup == NULL ? first_use : NULL);
	secret->verifier = ak_name_make(pstrdup(from->hash), BCRYPT_LEN);
	return true;
}

/* base64 without the end of a line that encode() puts after 76 characters of it */
static const char *
join_base64(const char *digits)
{
	return strlen(digits) > 76 && digits[76] == '\n' ?
		psprintf("%.76s%s", digits, digits + 77) : digits;
}

static bool
read_hash(const AkImported *from, const ImportScheme *scheme, AkSecret *secret,
		  uint8 *digest, AkImportedFault *fault)
{
	int			len = scheme->scheme == AK_SCHEME_SHA512 ? AK_HASH_MAX : AK_HASH_LEN;
	uint8	   *bytes = palloc(len);

	if (!read_hex(from->hash, bytes, len) &&
		(scheme->strip_prefix != NULL ||
		 !read_base64(join_base64(from->hash), bytes, len)))
		return find_fault(fault, "hash", scheme->strip_prefix != NULL ?
						  "64 hexadecimal digits" : hash_forms[scheme->scheme],
						  from->hash[0] == '$' ? first_use : NULL);
	if (from->lookup != NULL)
		return find_fault(fault, "lookup digest",
						  "null: the hash itself is what keys are looked up by",
						  NULL);
	memcpy(digest, bytes, AK_HASH_LEN);
	secret->verifier = ak_name_make((char *) bytes, len);
	return true;
}

bool
ak_imported_read(const AkImported *from, AkSecret *secret,
				 uint8 digest[AK_HASH_LEN], AkImportedFault *fault)
{
	const ImportScheme *scheme = get_scheme(from->scheme);

	memset(secret, 0, sizeof(AkSecret));
	secret->scheme = scheme->scheme;
	secret->salt.data = "";
	if (!read_imported_rule(from, scheme, &secret->rule, fault) ||
		!(scheme->scheme == AK_SCHEME_BCRYPT ?
		  read_bcrypt(from, secret, digest, fault) :
		  read_hash(from, scheme, secret, digest, fault)))
		return false;
	if (is_of_nothing(secret->rule.hash, digest))
		return find_fault(fault, "hash", "the hash of a text that is not empty", NULL);
	return true;
}
