/*
 * authn.c
 *		From the text of a key to a key that has proved itself; see authn.h.
 */
#include "postgres.h"

#include "authn.h"

#include "client.h"
#include "pepper.h"
#include "store.h"
#include "utils/memutils.h"

/*
 * Does the secret belong to the row?  The same hash is computed for a row that
 * does not exist or cannot be checked ("row" NULL or unusable).
 */
static bool
proves(const AkToken *token, const AkKeyRow *row)
{
	static const uint8 zeroes[AK_HASH_LEN];
	uint8		actual[AK_HASH_LEN];
	const uint8 *pepper = NULL;
	int			pepper_len = 0;
	bool		usable = row != NULL && row->hashed &&
	row->scheme != AK_SCHEME_UNKNOWN &&
	row->prefix.len == token->prefix_len &&
	memcmp(row->prefix.data, token->prefix, token->prefix_len) == 0;
	bool		equal;

	if (row == NULL || row->scheme == AK_SCHEME_HMAC_PEPPER)
		pepper = ak_pepper_get(&pepper_len);
	if (row != NULL && row->scheme == AK_SCHEME_HMAC_PEPPER && pepper == NULL)
		usable = false;
	ak_secret_verifier(pepper, pepper_len, usable ? row->salt : zeroes,
					   token->secret, actual);
	equal = ak_secret_equal(actual, usable ? row->verifier : zeroes,
							AK_HASH_LEN);
	explicit_bzero(actual, sizeof(actual));
	return usable && equal;
}

/* Verify against the tables, and remember the key if it is good. */
static const AkKey *
load(const AkToken *token, const uint8 *digest)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey verification",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	uint64		generation = ak_inval_generation(AK_TOPIC_KEYS);
	Snapshot	snapshot = ak_store_snapshot();
	AkKeyRow	row;
	bool		found = ak_store_key(snapshot, &token->id, &row);
	const AkKey *key = NULL;

	if (proves(token, found ? &row : NULL))
	{
		AkGrant    *grants;
		bool		own = row.own;
		int			ngrants = ak_store_grants(snapshot, &token->id, &grants,
											  &own);
		bool		elsewhere = row.allowed_networks != (Datum) 0 &&
		!ak_client_in_networks(row.allowed_networks);

		key = ak_keycache_add(digest, &token->id, &row, grants, ngrants,
							  elsewhere, own, generation);
	}
	ak_store_release(snapshot);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	return key;
}

/* A text that nobody has verified yet: parse it, and go to the tables. */
static const AkKey *
verify(const char *text, int len, const uint8 *digest)
{
	AkToken		token;
	const AkKey *key = NULL;

	if (ak_token_parse(text, len, &token) != AK_TOKEN_VALID)
		return NULL;
	PG_TRY();
	{
		key = load(&token, digest);
	}
	PG_FINALLY();
	{
		explicit_bzero(&token, sizeof(token));
	}
	PG_END_TRY();
	return key;
}

void
ak_authn_find(AkFinding *finding, const char *token, int len)
{
	uint8		digest[AK_HASH_LEN];

	finding->key = NULL;
	if (len >= AK_TOKEN_MIN && len <= AK_TOKEN_MAX)
	{
		ak_secret_digest(token, len, digest);
		finding->key = ak_keycache_find(digest);
		if (finding->key == NULL)
			finding->key = verify(token, len, digest);
	}
	finding->epoch = ak_keycache_epoch;
	ak_inval_set_mark(&finding->mark);
}

/* Find out anew about a key whose text stands in "memo" already. */
static const AkKey *
fill_memo(AkMemo *memo)
{
	int			len = memo->len;

	memo->len = 0;				/* an error leaves nothing to believe */
	ak_authn_find(&memo->finding, memo->token, len);
	memo->len = len;
	return memo->finding.key;
}

const AkKey *
ak_authn_key(AkMemo *memo, const char *token, int len)
{
	if (len < AK_TOKEN_MIN || len > AK_TOKEN_MAX)
	{
		memo->len = 0;
		return NULL;
	}
	if (memo->len == len && memcmp(memo->token, token, len) == 0)
		return ak_authn_again(memo);
	memcpy(memo->token, token, len);
	memo->len = len;
	return fill_memo(memo);
}

const AkKey *
ak_authn_again(AkMemo *memo)
{
	return ak_authn_holds(&memo->finding) ? memo->finding.key :
		fill_memo(memo);
}
