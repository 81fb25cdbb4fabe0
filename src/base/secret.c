/*
 * secret.c
 *		All cryptography and the pepper; see secret.h.
 */
#include "postgres.h"

#include "base/secret.h"

#include "base/compat.h"
#include "base/guc.h"
#include "common/cryptohash.h"
#include "common/hmac.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static const char *const schemes[AK_SCHEMES] = {
	[AK_SCHEME_UNKNOWN] = "",
	[AK_SCHEME_NATIVE] = "apikey",
	[AK_SCHEME_NATIVE_PEPPER] = "apikey-pepper",
	[AK_SCHEME_BCRYPT] = "bcrypt",
	[AK_SCHEME_SHA256] = "sha256",
	[AK_SCHEME_SHA512] = "sha512",
	[AK_SCHEME_HMAC_SHA256] = "hmac-sha256"
};

const char *
ak_secret_scheme_name(AkScheme scheme)
{
	return schemes[scheme];
}

AkScheme
ak_secret_scheme(const AkName *name)
{
	for (int scheme = AK_SCHEME_NATIVE; scheme < AK_SCHEMES; scheme++)
		if (ak_name_is(name, schemes[scheme]))
			return scheme;
	return AK_SCHEME_UNKNOWN;
}

void
ak_secret_random(void *buf, size_t len)
{
	if (!pg_strong_random(buf, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes"),
				 errhidestmt(true)));
}

void
ak_secret_uuid(pg_uuid_t *id, TimestampTz now)
{
	static TimestampTz last;
	const int64 epoch = POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE;	/* days */
	uint64		us;
	uint64		ms;
	uint64		fraction;

	last = Max(now, last + 1);
	us = last + epoch * USECS_PER_DAY;
	ms = us / 1000;
	fraction = us % 1000 * 4096 / 1000;
	ak_secret_random(id, sizeof(pg_uuid_t));
	for (int i = 0; i < 6; i++)
		id->data[i] = (uint8) (ms >> (8 * (5 - i)));
	id->data[6] = (uint8) (0x70 | fraction >> 8);
	id->data[7] = (uint8) fraction;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

/* -------------------------------------------------------------- key files */

/* What the file that a setting names holds. */
typedef struct KeyFile
{
	const char *setting;		/* its name, and its value */
	char	  **path;
	char	   *read_path;		/* where "bytes" came from, or NULL */
	int			len;
	uint8		bytes[AK_PEPPER_MAX + 2];	/* and a newline */
} KeyFile;

static KeyFile pepper =
{
	.setting = "apikey.pepper_file",
	.path = &ak_guc_pepper_file
};

static KeyFile hmac_key =
{
	.setting = "apikey.hmac_key_file",
	.path = &ak_guc_hmac_key_file
};

/* Raises F0000, and names the file in the log alone. */
static void
read_file(KeyFile *key)
{
	FILE	   *file = AllocateFile(*key->path, PG_BINARY_R);
	int			len;

	if (file == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not open the file of \"%s\"", key->setting),
				 errdetail_log("%s: %m", *key->path),
				 errhidestmt(true)));
	len = fread(key->bytes, 1, sizeof(key->bytes), file);
	if (ferror(file))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not read the file of \"%s\"", key->setting),
				 errdetail_log("%s: %m", *key->path),
				 errhidestmt(true)));
	FreeFile(file);
	if (len > 0 && key->bytes[len - 1] == '\n')
		len--;
	if (len > 0 && key->bytes[len - 1] == '\r')
		len--;
	if (len < AK_PEPPER_MIN || len > AK_PEPPER_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the file of \"%s\" must hold %d to %d bytes",
						key->setting, AK_PEPPER_MIN, AK_PEPPER_MAX),
				 errhidestmt(true)));
	key->len = len;
}

/* Is there such a key?  Then it has been read. */
static bool
has_file_key(KeyFile *key)
{
	if (key->read_path == NULL || strcmp(key->read_path, *key->path) != 0)
	{
		if (key->read_path != NULL)
			pfree(key->read_path);
		key->read_path = NULL;
		key->len = 0;
		explicit_bzero(key->bytes, sizeof(key->bytes));
		if ((*key->path)[0] != '\0')
			read_file(key);
		key->read_path = MemoryContextStrdup(TopMemoryContext, *key->path);
	}
	return key->len > 0;
}

/* ----------------------------------------------------------------- hashes */

/*
 * Contexts that live as long as the backend: making one costs as much as the
 * hash of a key.  PostgreSQL hands each to a resource owner, so they have one
 * that is never released.  Starting a hash anew forgets the one before, even
 * if that broke off.
 */
static pg_cryptohash_ctx *sha256;
static pg_cryptohash_ctx *sha512;
static pg_hmac_ctx *hmac;

static void
create_contexts(void)
{
	static ResourceOwner lasting;
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);

	if (lasting == NULL)
		lasting = ResourceOwnerCreate(NULL, "apikey");
	CurrentResourceOwner = lasting;
	PG_TRY();
	{
		if (sha256 == NULL)
			sha256 = pg_cryptohash_create(PG_SHA256);
		if (sha512 == NULL)
			sha512 = pg_cryptohash_create(PG_SHA512);
		if (hmac == NULL)
			hmac = pg_hmac_create(PG_SHA256);
	}
	PG_FINALLY();
	{
		CurrentResourceOwner = owner;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

void
ak_secret_digest(const char *str, int len, uint8 digest[AK_HASH_LEN])
{
	if (sha256 == NULL)
		create_contexts();
	if (pg_cryptohash_init(sha256) < 0 ||
		pg_cryptohash_update(sha256, (const uint8 *) str, len) < 0 ||
		pg_cryptohash_final(sha256, digest, AK_HASH_LEN) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute SHA-256 hash"),
				 errhidestmt(true)));
}

/* Of salt and secret, keyed by "key", or by the empty key if that is NULL. */
static void
compute_hmac(const KeyFile *key, const uint8 *salt, int salt_len,
			 const void *secret, int len, uint8 *verifier)
{
	/* to OpenSSL a null key means "as before", not the empty key */
	const uint8 *bytes = key != NULL ? key->bytes : (const uint8 *) "";

	if (hmac == NULL)
		create_contexts();
	if (pg_hmac_init(hmac, bytes, key != NULL ? key->len : 0) < 0 ||
		(salt_len > 0 && pg_hmac_update(hmac, salt, salt_len) < 0) ||
		pg_hmac_update(hmac, secret, len) < 0 ||
		pg_hmac_final(hmac, verifier, AK_HASH_LEN) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute HMAC-SHA-256"),
				 errhidestmt(true)));
}

void
ak_secret_init(void)
{
	uint8		hash[AK_HASH_LEN];

	ak_secret_digest("", 0, hash);
	compute_hmac(NULL, NULL, 0, "", 0, hash);
}

AkScheme
ak_secret_new_verifier(const uint8 salt[AK_SALT_LEN], const void *secret,
					   int len, uint8 verifier[AK_HASH_LEN])
{
	bool		peppered = has_file_key(&pepper);

	compute_hmac(peppered ? &pepper : NULL, salt, AK_SALT_LEN, secret, len,
				 verifier);
	return peppered ? AK_SCHEME_NATIVE_PEPPER : AK_SCHEME_NATIVE;
}

bool
ak_secret_verifier(AkScheme scheme, const uint8 salt[AK_SALT_LEN],
				   const void *secret, int len, uint8 verifier[AK_HASH_LEN])
{
	bool		peppered = scheme == AK_SCHEME_NATIVE_PEPPER && has_file_key(&pepper);

	compute_hmac(peppered ? &pepper : NULL, salt, AK_SALT_LEN, secret, len,
				 verifier);
	return scheme == AK_SCHEME_NATIVE || peppered;
}

bool
ak_secret_has_key(AkScheme scheme)
{
	return scheme != AK_SCHEME_HMAC_SHA256 || has_file_key(&hmac_key);
}

int
ak_secret_hash(AkScheme scheme, const char *str, int len,
			   uint8 hash[AK_HASH_MAX])
{
	switch (scheme)
	{
		case AK_SCHEME_SHA256:
			ak_secret_digest(str, len, hash);
			return AK_HASH_LEN;
		case AK_SCHEME_SHA512:
			if (sha512 == NULL)
				create_contexts();
			if (pg_cryptohash_init(sha512) < 0 ||
				pg_cryptohash_update(sha512, (const uint8 *) str, len) < 0 ||
				pg_cryptohash_final(sha512, hash, AK_HASH_MAX) < 0)
				ereport(ERROR,
						(errcode(ERRCODE_INTERNAL_ERROR),
						 errmsg("could not compute SHA-512 hash"),
						 errhidestmt(true)));
			return AK_HASH_MAX;
		case AK_SCHEME_HMAC_SHA256:
			if (!has_file_key(&hmac_key))
				return 0;
			compute_hmac(&hmac_key, NULL, 0, str, len, hash);
			return AK_HASH_LEN;
		default:
			return 0;
	}
}

bool
ak_secret_fingerprint(AkScheme keyed, uint8 fingerprint[AK_FINGERPRINT_LEN])
{
	static const char fixed[] = "apikey fingerprint of a key file";
	KeyFile    *key = keyed == AK_SCHEME_NATIVE_PEPPER ? &pepper : &hmac_key;
	uint8		whole[AK_HASH_LEN];

	if (!has_file_key(key))
		return false;
	compute_hmac(key, NULL, 0, fixed, sizeof(fixed) - 1, whole);
	memcpy(fingerprint, whole, AK_FINGERPRINT_LEN);
	return true;
}

bool
ak_secret_bcrypt(Oid crypt, const char *str, int len, const char *hash)
{
	struct varlena *secret = cstring_to_text_with_len(str, len);
	char	   *setting = pstrdup(hash);
	struct varlena *actual;
	bool		equal;

	/*
	 * $2a$, $2b$ and $2y$ differ in what they say about old mistakes of some
	 * implementations, not in what they compute.  pgcrypto takes $2b$ for
	 * another algorithm.
	 */
	setting[2] = 'a';
	actual = (struct varlena *)
		DatumGetPointer(OidFunctionCall2(crypt, PointerGetDatum(secret),
										 CStringGetTextDatum(setting)));
	equal = VARSIZE_ANY_EXHDR(actual) == strlen(setting) &&
		ak_secret_equal(VARDATA_ANY(actual), setting, strlen(setting));
	explicit_bzero(VARDATA_ANY(secret), len);
	return equal;
}

bool
ak_secret_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8 *x = a;
	const volatile uint8 *y = b;
	uint8		difference = 0;

	for (size_t i = 0; i < len; i++)
		difference |= x[i] ^ y[i];
	return difference == 0;
}
