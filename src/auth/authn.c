/*
 * authn.c
 *		From the text of a key to a key that has proved itself; see authn.h.
 */
#include "postgres.h"

#include "auth/authn.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "auth/imported.h"
#include "base/client.h"
#include "base/clock.h"
#include "table/rehash.h"
#include "table/store.h"
#include "utils/memutils.h"

/*
 * Is this a secret of ours, and is it "bytes"?  The same hash is computed for one
 * that does not exist or cannot be checked ("secret" NULL or unusable).
 */
static bool
proves(const AkSecret *secret, const void *bytes, int len)
{
	static const uint8 zeroes[AK_HASH_LEN];
	uint8		actual[AK_HASH_LEN];
	AkScheme	scheme =
	secret != NULL && secret->scheme != AK_SCHEME_HMAC_PEPPER ?
	AK_SCHEME_HMAC : AK_SCHEME_HMAC_PEPPER;
	bool		usable = secret != NULL &&
	secret->scheme == scheme &&
	secret->salt.len == AK_SALT_LEN &&
	secret->verifier.len == AK_HASH_LEN &&
	secret->expires_at > ak_clock_now();
	bool		equal;

	if (!ak_secret_verifier(scheme,
							usable ? (const uint8 *) secret->salt.data : zeroes,
							bytes, len, actual))
		usable = false;
	equal = ak_secret_equal(actual, usable ?
							(const uint8 *) secret->verifier.data : zeroes,
							AK_HASH_LEN);
	explicit_bzero(actual, sizeof(actual));
	return usable && equal;
}

/*
 * Verify a text of our form: by the newest secret of the key, else by the other
 * one.  What does not prove itself takes the same steps, whatever is wrong with it; the
 * row of an id that there is has to be read besides, and an id is no secret.
 */
static bool
verify_own(Snapshot snapshot, const AkToken *token, AkVerified *verified)
{
	AkKeyRow   *row = &verified->row;
	AkSecret	other;
	bool		named = ak_store_key(snapshot, &token->id, row) &&
	row->prefix.len == token->prefix_len &&
	memcmp(row->prefix.data, token->prefix, token->prefix_len) == 0;

	verified->id = token->id;
	verified->proof_ends = DT_NOEND;
	if (proves(named ? &row->secret : NULL, token->secret, AK_SECRET_LEN))
		return true;

	named = ak_store_secret(snapshot, &token->id, &other) && named &&
		!other.imported;
	if (!proves(named ? &other : NULL, token->secret, AK_SECRET_LEN))
		return false;
	verified->proof_ends = other.expires_at;
	verified->own = other.uncommitted;
	return true;
}

/* Verify any other text: it may be a key of another system. */
static bool
verify_imported(Snapshot snapshot, const char *text, int len,
				const uint8 *digest, AkVerified *verified)
{
	AkSecret	secret;

	if (!ak_imported_find(snapshot, text, len, digest, &secret) ||
		secret.expires_at <= ak_clock_now() ||
		!(ak_imported_proves(&secret, text, len, digest) ||
		  proves(&secret, text, len)) ||
		!ak_store_key(snapshot, &secret.key_id, &verified->row))
		return false;
	verified->id = secret.key_id;
	verified->proof_ends = secret.expires_at;
	verified->own = secret.uncommitted;
	verified->slow = secret.scheme == AK_SCHEME_FORMBRICKS_V2;
	return true;
}

/* Is the client where the key may be used? */
static void
look_at_address(AkVerified *verified)
{
	Datum		networks = verified->row.allowed_networks;

	if (networks == (Datum) 0)
		return;
	verified->address = ak_guc_address_serial;
	verified->outside_networks = !ak_client_in_networks(networks);
}

/*
 * Verify against the tables, and remember the key if it is good.  "token" is the
 * text parsed, NULL if it is not of our form.
 */
static const AkKey *
load(const AkToken *token, const char *text, int len, const uint8 *digest)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey verification",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	AkVerified	verified;
	Snapshot	snapshot;
	bool		proved = false;
	const AkKey *key = NULL;

	AK_STORE_READ(snapshot)
	{
		memset(&verified, 0, sizeof(verified));
		/* no message can have come in since the snapshot was taken */
		verified.generation = ak_inval_generation(AK_TOPIC_KEYS);
		proved = token != NULL ? verify_own(snapshot, token, &verified) :
			verify_imported(snapshot, text, len, digest, &verified);
		if (proved)
		{
			verified.own |= verified.row.secret.uncommitted;
			verified.ngrants = ak_store_grants(snapshot, &verified.id,
											   &verified.grants,
											   &verified.own);
		}
	}
	if (proved)
	{
		look_at_address(&verified);
		key = ak_keycache_add(digest, &verified);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	return key;
}

/* A text that nobody has verified yet: parse it, and go to the tables. */
static const AkKey *
verify(const char *text, int len, const uint8 *digest)
{
	AkToken		token;
	AkTokenForm form = ak_token_parse(text, len, &token);
	const AkKey *key = NULL;

	if (form != AK_TOKEN_VALID)
		return ak_imported_any() ? load(NULL, text, len, digest) : NULL;
	PG_TRY();
	{
		key = load(&token, text, len, digest);
	}
	PG_FINALLY();
	{
		explicit_bzero(&token, sizeof(token));
	}
	PG_END_TRY();
	return key;
}

/* Can a text of this length be a key? */
static bool
is_possible(int len)
{
	if (len >= AK_TOKEN_MIN && len <= AK_TOKEN_MAX)
		return true;
	return len > 0 && len <= AK_KEY_TEXT_MAX && ak_imported_any();
}

void
ak_authn_find(AkFinding *finding, const char *token, int len)
{
	uint8		digest[AK_HASH_LEN];

	finding->key = NULL;
	if (is_possible(len))
	{
		ak_secret_digest(token, len, digest);
		finding->key = ak_keycache_find(digest);
		if (finding->key == NULL)
			finding->key = verify(token, len, digest);
	}
	finding->counted = false;
	finding->epoch = ak_keycache_epoch;
	ak_inval_set_moment(&finding->moment);
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
	if (len <= 0 || len > AK_KEY_TEXT_MAX)
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

void
ak_authn_rehash(const AkKey *key, const char *token, int len)
{
	static const AkScheme slow = AK_SCHEME_FORMBRICKS_V2;
	uint8		lookup[AK_HASH_LEN];
	uint8		salt[AK_SALT_LEN];
	uint8		verifier[AK_HASH_LEN];
	AkScheme	scheme;

	if (!key->slow || XactReadOnly || RecoveryInProgress() ||
		IsInParallelMode())
		return;
	ak_imported_lookup(slow, token, len, lookup);
	ak_secret_random(salt, sizeof(salt));
	scheme = ak_secret_new_verifier(salt, token, len, verifier);
	ak_rehash_store(lookup, slow, scheme, salt, verifier);
}
