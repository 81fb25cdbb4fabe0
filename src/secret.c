/*
 * secret.c
 *		All cryptography; see secret.h.
 */
#include "postgres.h"

#include "secret.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

void
ak_secret_random(void *buf, size_t len)
{
	if (!pg_strong_random(buf, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes"),
				 errhidestmt(true)));
}

/*
 * Contexts that live as long as the backend: making one costs as much as the
 * hash of a key.  PostgreSQL hands each to a resource owner, so they have one
 * that is never released.  Starting a hash anew forgets the one before, even
 * if that broke off.
 */
static pg_cryptohash_ctx *sha256;
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
ak_secret_digest(const char *text, int len, uint8 digest[AK_HASH_LEN])
{
	if (sha256 == NULL)
		create_contexts();
	if (pg_cryptohash_init(sha256) < 0 ||
		pg_cryptohash_update(sha256, (const uint8 *) text, len) < 0 ||
		pg_cryptohash_final(sha256, digest, AK_HASH_LEN) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute SHA-256 hash"),
				 errhidestmt(true)));
}

void
ak_secret_verifier(const uint8 *pepper, int pepper_len,
				   const uint8 salt[AK_SALT_LEN],
				   const uint8 secret[AK_SECRET_LEN],
				   uint8 verifier[AK_HASH_LEN])
{
	if (hmac == NULL)
		create_contexts();
	/* to OpenSSL a null key means "as before", not the empty key */
	if (pepper == NULL)
		pepper = (const uint8 *) "";
	if (pg_hmac_init(hmac, pepper, pepper_len) < 0 ||
		pg_hmac_update(hmac, salt, AK_SALT_LEN) < 0 ||
		pg_hmac_update(hmac, secret, AK_SECRET_LEN) < 0 ||
		pg_hmac_final(hmac, verifier, AK_HASH_LEN) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute HMAC-SHA-256"),
				 errhidestmt(true)));
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
