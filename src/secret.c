/*
 * secret.c
 *		All cryptography; see secret.h.
 */
#include "postgres.h"

#include "secret.h"

#include "common/cryptohash.h"
#include "common/hmac.h"

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
ak_secret_digest(const char *text, int len, uint8 digest[AK_HASH_LEN])
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) text, len) < 0 ||
		pg_cryptohash_final(ctx, digest, AK_HASH_LEN) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute SHA-256 hash"),
				 errhidestmt(true)));
	pg_cryptohash_free(ctx);
}

void
ak_secret_verifier(const uint8 *pepper, int pepper_len,
				   const uint8 salt[AK_SALT_LEN],
				   const uint8 secret[AK_SECRET_LEN],
				   uint8 verifier[AK_HASH_LEN])
{
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	/* to OpenSSL a null key means "as before", not the empty key */
	if (pepper == NULL)
		pepper = (const uint8 *) "";
	if (ctx == NULL || pg_hmac_init(ctx, pepper, pepper_len) < 0 ||
		pg_hmac_update(ctx, salt, AK_SALT_LEN) < 0 ||
		pg_hmac_update(ctx, secret, AK_SECRET_LEN) < 0 ||
		pg_hmac_final(ctx, verifier, AK_HASH_LEN) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute HMAC-SHA-256"),
				 errhidestmt(true)));
	pg_hmac_free(ctx);
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
