/*
 * authn.c
 *		From the text of a key to a key that has proved itself, or to none;
 *		see authn.h.
 */
#include "postgres.h"

#include "auth/authn.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "auth/imported.h"
#include "auth/lineage.h"
#include "auth/lookup.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/guc.h"
#include "base/hide.h"
#include "table/rehash.h"
#include "table/schema.h"
#include "table/store.h"
#include "utils/memutils.h"

/*
 * Is "bytes" this secret, by one of our hashes?  The same is computed for one that
 * does not exist ("secret" NULL) or cannot be checked: how long a refusal takes
 * does not tell them apart.
 */
static bool
proves_hmac(const AkSecret *secret, const void *bytes, int len)
{
	static const uint8 zeroes[AK_HASH_LEN];
	AkScheme	scheme =
	secret != NULL && secret->scheme != AK_SCHEME_NATIVE_PEPPER ?
	AK_SCHEME_NATIVE : AK_SCHEME_NATIVE_PEPPER;
	bool		usable = secret != NULL && secret->scheme == scheme &&
	secret->salt.len == AK_SALT_LEN && secret->verifier.len == AK_HASH_LEN;
	const void *salt = usable ? secret->salt.data : (const char *) zeroes;
	const void *verifier = usable ? secret->verifier.data : (const char *) zeroes;
	uint8		actual[AK_HASH_LEN];
	bool		computed = ak_secret_verifier(scheme, salt, bytes, len, actual);
	bool		equal = ak_secret_equal(actual, verifier, AK_HASH_LEN);

	explicit_bzero(actual, sizeof(actual));
	return usable && computed && equal;
}

/*
 * The key is proved by this secret, which is not the newest: is it still good?  One
 * that is superseded stays so, unless a message says otherwise.
 */
static void
prove_by_other(AkKey *key, const AkSecret *secret)
{
	key->uncommitted = secret->uncommitted;
	key->old_secret = !secret->imported || secret->expires_at != DT_NOEND;
	key->superseded = secret->expires_at <= ak_clock_now();
	key->proof_ends = key->superseded ? DT_NOEND : secret->expires_at;
	key->version = secret->xmin;
}

/*
 * Verify a text of a native key's form: by the newest secret of the key, else by
 * the other one.  What does not prove itself takes the same steps, whatever is
 * wrong with it, except that an id that exists has rows to be read; ids are no
 * secret.
 */
static bool
verify_native(Snapshot snapshot, const AkToken *token, AkKey *key,
			  AkKeyRow *row)
{
	AkSecret	other;
	bool		named = ak_store_key(snapshot, &token->id, row) &&
	row->prefix.len == token->prefix_len &&
	memcmp(row->prefix.data, token->prefix, token->prefix_len) == 0;

	key->id = token->id;
	key->proof_ends = DT_NOEND;
	if (proves_hmac(named ? &row->secret : NULL, token->secret, AK_SECRET_LEN))
		return true;

	named = ak_store_secret(snapshot, &token->id, &other) && named &&
		!other.imported;
	if (!proves_hmac(named ? &other : NULL, token->secret, AK_SECRET_LEN))
		return false;
	prove_by_other(key, &other);
	return true;
}

/* Verify any other text: it may be an imported key. */
static bool
verify_imported(Snapshot snapshot, const char *token, int len,
				AkKey *key, AkKeyRow *row)
{
	AkSecret	secret;
	AkName		part;

	/* a bcrypt may have been replaced by a hash of ours */
	if (!ak_lookup_find(snapshot, token, len, key->digest, &secret, &part) ||
		!(ak_imported_proves(&secret, &part) ||
		  proves_hmac(&secret, part.data, part.len)) ||
		!ak_store_key(snapshot, &secret.key_id, row))
		return false;
	key->id = secret.key_id;
	prove_by_other(key, &secret);
	key->slow = secret.scheme == AK_SCHEME_BCRYPT;
	return true;
}

/*
 * Is the organization of this key suspended, or the database quarantined since it was
 * made, and why?
 */
static void
find_suspension(Snapshot snapshot, AkKey *key, TimestampTz made)
{
	AkName		reason;
	TimestampTz since;

	if (!ak_store_may_have_suspensions())
		return;
	key->suspended = ak_store_suspension(snapshot, &key->organization, &since,
										 &reason);
	if (!key->suspended)
	{
		key->quarantined = ak_store_suspension(snapshot, &ak_name_all, &since,
											   &reason) && made <= since;
		key->suspended = key->quarantined;
	}
	if (key->suspended && !key->revoked && !key->disabled && reason.len > 0)
		ak_keycache_extra(key)->note = reason;
}

/*
 * A database without keys that is asked about one, by the checksum, was to have some: it
 * would refuse them all in silence.
 */
static void
warn_of_no_keys(void)
{
	static TimestampTz said;
	TimestampTz now = ak_clock_now();

	if ((said != 0 && now - said < USECS_PER_MINUTE) || ak_store_may_have_keys())
		return;
	said = now;
	AK_HIDE_FROM_CLIENT(ereport(WARNING,
								(errmsg("this database has no API keys"),
								 errhint("If it should have those of another, subscribe to them."),
								 errhidestmt(true))));
}

/*
 * Verify against the tables, and cache the key if it proves itself, in place of its
 * outdated entry, which may be NULL.  "parsed" is NULL if the text has not the form of a
 * native key.
 */
static const AkKey *
verify_by_tables(const AkToken *parsed, const char *token, int len,
				 const uint8 *digest, const AkKey *outdated)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey verification",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	AkKey		found;
	AkKeyRow	row;
	Snapshot	snapshot;
	bool		proved = false;
	const AkKey *key = NULL;

	AK_STORE_READ(snapshot)
	{
		memset(&found, 0, sizeof(found));
		memcpy(found.digest, digest, AK_HASH_LEN);
		/* no message can have come in since the snapshot was taken */
		found.number = ak_inval_number;
		proved = parsed != NULL ?
			verify_native(snapshot, parsed, &found, &row) :
			verify_imported(snapshot, token, len, &found, &row);
		proved = proved && ak_lineage_read(snapshot, &row, &found);
		if (proved)
		{
			find_suspension(snapshot, &found, row.since);
			if (!ak_keycache_keep_grants(&found, outdated))
				ak_lineage_grants(snapshot, &found);
		}
	}
	if (proved)
		key = ak_keycache_add(&found, outdated);
	else if (outdated != NULL)
		ak_keycache_discard(outdated);
	if (!proved && parsed != NULL)
		warn_of_no_keys();
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	return key;
}

/* Verify a text that is in no cache. */
static const AkKey *
verify_text(const char *token, int len, const uint8 *digest, const AkKey *outdated)
{
	AkToken		parsed;
	const AkKey *key = NULL;

	/* the checksum: a random string costs no look at the tables */
	if (ak_token_parse(token, len, &parsed) != AK_TOKEN_VALID)
		return ak_lookup_any() ?
			verify_by_tables(NULL, token, len, digest, outdated) : NULL;
	PG_TRY();
	{
		key = verify_by_tables(&parsed, token, len, digest, outdated);
	}
	PG_FINALLY();
	{
		explicit_bzero(&parsed, sizeof(parsed));
	}
	PG_END_TRY();
	return key;
}

const AkKey *
ak_authn_find(const char *token, int len)
{
	uint8		digest[AK_HASH_LEN];
	const AkKey *key;
	const AkKey *outdated;

	if (len <= 0 || len > AK_KEY_TEXT_MAX)
		return NULL;
	if ((len < AK_TOKEN_MIN || len > AK_TOKEN_MAX) && !ak_lookup_any())
		return NULL;
	ak_secret_digest(token, len, digest);
	key = ak_keycache_find(digest, &outdated);
	return key != NULL ? key : verify_text(token, len, digest, outdated);
}

const AkKey *
ak_authn_recall(AkFinding *finding, const char *token, int len)
{
	if (!ak_authn_holds(finding))
	{
		memset(finding, 0, sizeof(AkFinding));	/* an error leaves nothing */
		finding->key = ak_authn_find(token, len);
		finding->epoch = ak_keycache_epoch;
		ak_inval_set_moment(&finding->moment);
	}
	if (unlikely(finding->key == NULL && !finding->counted))
		finding->counted = ak_use_guessed(token, len);
	return finding->key;
}

/* ---------------------------------------------------------- session's key */

const AkKey *
ak_authn_session(void)
{
	static AkFinding finding;
	static uint64 serial;		/* ak_guc_key_serial then */
	int			len;
	const char *token;

	if (serial != ak_guc_key_serial)
		memset(&finding, 0, sizeof(finding));
	serial = ak_guc_key_serial;
	if (finding.key != NULL && ak_authn_holds(&finding))
		return finding.key;
	token = ak_guc_key(&len);
	return ak_authn_recall(&finding, token, len);
}

bool
ak_authn_has_session(void)
{
	int			len;

	(void) ak_guc_key(&len);
	return len > 0;
}

void
ak_authn_require_session(int sqlerrcode)
{
	AkVerdict	verdict = {.reason = AK_REASON_NO_KEY};

	if (!ak_authn_has_session())
		ereport(ERROR,
				(errcode(sqlerrcode),
				 errmsg_internal("%s", ak_authz_reason(&verdict, NULL)),
				 errhint("Log in by apikey_login, and work in the same transaction.")));
}

/* --------------------------------------------------------------- arguments */

const AkKey *
ak_authn_argument(FunctionCallInfo fcinfo, int argno, AkGuess guess)
{
	AkName		token;
	const AkKey *key;

	ak_schema_accept();
	if (argno < 0)
		return ak_authn_session();
	token = ak_arg_token(fcinfo, argno);
	key = ak_authn_find(token.data, token.len);
	if (key == NULL && guess == AK_GUESS_BY_CALL)
		ak_use_guess_called(token.len);
	else if (key == NULL)
		(void) ak_use_guessed(token.data, token.len);
	return key;
}

const AkKey *
ak_authn_require(FunctionCallInfo fcinfo, int argno)
{
	const AkKey *key = ak_authn_argument(fcinfo, argno, AK_GUESS_BY_CALL);
	AkReason	reason = ak_authz_check_key(key);

	ak_use_asked(key, reason);
	if (reason == AK_REASON_GOOD)
		return key;
	if (argno < 0)
		ak_authn_require_session(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION);
	ak_authz_refuse(key);
}

void
ak_authn_rehash(const AkKey *key, const char *token, int len)
{
	static const AkScheme slow = AK_SCHEME_BCRYPT;
	AkSecret	secret;
	AkName		part;
	Snapshot	snapshot;
	bool		found = false;
	uint8		salt[AK_SALT_LEN];
	uint8		verifier[AK_HASH_LEN];
	AkScheme	scheme;

	if (!key->slow || XactReadOnly || RecoveryInProgress() ||
		IsInParallelMode())
		return;
	AK_STORE_READ(snapshot)
		found = ak_store_secret(snapshot, &key->id, &secret) &&
		secret.scheme == slow &&
		ak_lookup_part(&secret.rule, token, len, &part);
	if (!found)
		return;
	ak_secret_random(salt, sizeof(salt));
	scheme = ak_secret_new_verifier(salt, part.data, part.len, verifier);
	ak_rehash_store(&key->id, slow, scheme, salt, verifier);
}
