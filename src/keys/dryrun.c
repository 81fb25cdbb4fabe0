/*
 * dryrun.c
 *		apikey_check_import: would a key that is known work once its hash is imported?
 *
 * It goes the way that a verification goes, but by a secret that is not stored.  Nothing is
 * written, counted or cached.  What is copied of the key is wiped.
 */
#include "postgres.h"

#include "auth/imported.h"
#include "auth/lookup.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/result.h"
#include "base/token.h"
#include "table/schema.h"
#include "utils/builtins.h"

/* Arguments of apikey_check_import */
enum
{
	SCHEME, HASH, KEY, LOOKUP, STRIP_PREFIX, AFTER
};

/* Why no text with this key's form is ever looked up; NULL if it would be. */
static const char *
check_text(const AkName *key)
{
	AkToken		token;
	AkTokenForm form;

	if (key->len == 0)
		return "key is empty";
	if (key->len > AK_KEY_TEXT_MAX)
		return "key has more than " CppAsString2(AK_KEY_TEXT_MAX) " bytes";
	form = ak_token_parse(key->data, key->len, &token);
	explicit_bzero(&token, sizeof(token));
	return form == AK_TOKEN_VALID ?
		"key has the form of native keys, which are found by the id in them" : NULL;
}

static const char *
check_part(const AkRule *rule, const AkName *key, AkName *part)
{
	const AkName *prefix = &rule->strip_prefix;

	if (ak_lookup_part(rule, key->data, key->len, part))
		return NULL;
	if (key->len < prefix->len ||
		memcmp(key->data, prefix->data, prefix->len) != 0)
		return "key does not begin with strip_prefix";
	return rule->after.len > 0 ? "nothing follows \"after\" in the key" :
		"nothing follows strip_prefix in the key";
}

/*
 * Is it the hash of what follows some character of the key that is neither a letter nor
 * a digit?  Then people have forgotten to say so.  Not tried for bcrypt, which is slow.
 */
static const char *
find_part(const AkSecret *secret, const AkName *part)
{
	for (int i = 0; i < Min(part->len - 1, AK_LOOKUP_BYTES); i++)
	{
		AkName		rest = ak_name_make(part->data + i + 1, part->len - i - 1);

		if (!isalnum((unsigned char) part->data[i]) &&
			!IS_HIGHBIT_SET(part->data[i]) &&
			secret->scheme != AK_SCHEME_BCRYPT &&
			ak_imported_would_prove(secret, &rest))
			return psprintf("hash is that of what follows \"%.*s\"", i + 1,
							part->data);
	}
	return NULL;
}

static const char *
check_hash(const AkSecret *secret, const uint8 *lookup, const AkName *part)
{
	uint8		hash[AK_HASH_MAX];
	const char *reason;

	if (!ak_secret_has_key(secret->scheme))
		return "apikey.hmac_key_file is not set";
	if (secret->scheme == AK_SCHEME_BCRYPT)
	{
		ak_secret_digest(part->data, part->len, hash);
		if (memcmp(hash, lookup, AK_HASH_LEN) != 0)
			return "lookup digest is of another text";
	}
	if (ak_imported_would_prove(secret, part))
		return NULL;
	reason = find_part(secret, part);
	return reason != NULL ? reason : "hash is of another text";
}

static const char *
check_tables(const AkSecret *secret, const uint8 *lookup)
{
	AkSecret	other;
	Snapshot	snapshot;
	bool		found = false;

	if (!ak_lookup_has_room(&secret->rule))
		return "too many ways in which imported keys are hashed";
	AK_STORE_READ(snapshot)
		found = ak_store_lookup(snapshot, lookup, &other);
	return found ? "an API key with this hash was imported before" : NULL;
}

/* Why the key would not work; NULL if it would. */
static const char *
check_import(const AkImported *from, const AkName *key)
{
	AkImportedFault fault;
	AkSecret	secret;
	AkName		part;
	uint8		lookup[AK_HASH_LEN];
	const char *reason;

	if (!ak_imported_read(from, &secret, lookup, &fault))
		return psprintf("%s must be %s", fault.what, fault.form);
	reason = check_text(key);
	if (reason == NULL)
		reason = check_part(&secret.rule, key, &part);
	if (reason == NULL)
		reason = check_hash(&secret, lookup, &part);
	if (reason == NULL)
		reason = check_tables(&secret, lookup);
	return reason;
}

/* The text of a key, of any length: nothing is left of what it was detoasted to. */
static const char *
check_known_key(FunctionCallInfo fcinfo, const AkImported *from)
{
	AkName		key = ak_arg_token(fcinfo, KEY);
	bool		copied = key.data != NULL &&
	(VARATT_IS_EXTERNAL(PG_GETARG_POINTER(KEY)) ||
	 VARATT_IS_COMPRESSED(PG_GETARG_POINTER(KEY)));
	const char *volatile reason = NULL;

	PG_TRY();
	{
		reason = check_import(from, &key);
	}
	PG_FINALLY();
	{
		if (copied)
			explicit_bzero(unconstify(char *, key.data), key.len);
	}
	PG_END_TRY();
	return reason;
}

AK_FUNCTION_INFO_V1(apikey_check_import);
Datum
apikey_check_import(PG_FUNCTION_ARGS)
{
	AkImported	from;
	const char *reason;
	Datum		values[2];		/* works, reason */
	bool		nulls[2] = {false, false};

	ak_arg_refuse_null(fcinfo, SCHEME, "scheme");
	ak_schema_accept();
	from.scheme = ak_arg_string(fcinfo, SCHEME);
	from.hash = PG_ARGISNULL(HASH) ? "" : ak_arg_string(fcinfo, HASH);
	from.lookup = ak_arg_string(fcinfo, LOOKUP);
	from.strip_prefix = ak_arg_string(fcinfo, STRIP_PREFIX);
	from.after = ak_arg_string(fcinfo, AFTER);
	reason = check_known_key(fcinfo, &from);
	values[0] = BoolGetDatum(reason == NULL);
	values[1] = CStringGetTextDatum(reason == NULL ? "good" : reason);
	return ak_result_record(fcinfo, values, nulls);
}
