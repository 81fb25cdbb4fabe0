/*
 * create.c
 *		New keys, made here or imported.
 *
 * The functions are SECURITY DEFINER and closed to PUBLIC; their contracts stand
 * beside their names in the SQL script.  They check what they are given before
 * they write, so that the messages name what is wrong; the constraints of the
 * tables hold against everybody.  What the session's key may give is decided
 * in actor.c.
 */
#include "postgres.h"

#include "keys/create.h"

#include "auth/imported.h"
#include "auth/lookup.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/token.h"
#include "base/vendor.h"
#include "keys/options.h"
#include "keys/projects.h"
#include "table/event.h"
#include "table/sql.h"
#include "utils/fmgrprotos.h"

/* The arguments that apikey_create and apikey_import have in common, in this order. */
enum
{
	GRANTS,
	ORGANIZATION_LEVEL,
	EXPIRES_AT,
	CREATED_BY,
	ALLOWED_NETWORKS,
	METADATA,
	PREFIX,
	RATE_LIMIT,
	MAX_DERIVED,
	OPTIONS						/* how many there are */
};

/* ---------------------------------------------------------------- secret */

char *
ak_create_secret(AkSecret *secret, const pg_uuid_t *id, const char *prefix)
{
	struct
	{
		uint8		salt[AK_SALT_LEN];
		uint8		secret[AK_SECRET_LEN];
	}			random;
	uint8	   *verifier = palloc(AK_HASH_LEN);
	char	   *token = palloc(AK_TOKEN_MAX + 1);

	ak_secret_random(&random, sizeof(random));
	secret->scheme = ak_secret_new_verifier(random.salt, random.secret,
											AK_SECRET_LEN, verifier);
	ak_token_print(prefix, strlen(prefix), id, random.secret, token);
	secret->salt.data = memcpy(palloc(AK_SALT_LEN), random.salt, AK_SALT_LEN);
	secret->salt.len = AK_SALT_LEN;
	secret->verifier.data = (char *) verifier;
	secret->verifier.len = AK_HASH_LEN;
	explicit_bzero(&random, sizeof(random));
	return token;
}

static pg_uuid_t *
copy_id(const pg_uuid_t *id)
{
	return memcpy(palloc(sizeof(pg_uuid_t)), id, sizeof(pg_uuid_t));
}

bool
ak_create_show(const pg_uuid_t *id, char *token, Datum *values)
{
	values[0] = UUIDPGetDatum(copy_id(id));
	values[1] = CStringGetTextDatum(token);
	explicit_bzero(token, AK_TOKEN_MAX + 1);
	return true;
}

AkValue
ak_create_scheme(const AkSecret *secret)
{
	return ak_value_string(secret->scheme == AK_SCHEME_UNKNOWN ? NULL :
						   ak_secret_scheme_name(secret->scheme));
}

/* -------------------------------------------------------------- creation */

static void
begin_new_key(FunctionCallInfo fcinfo, AkNewKey *key)
{
	memset(key, 0, sizeof(AkNewKey));
	ak_actor_get(&key->actor);
	key->organization = ak_arg_required_name(fcinfo, 0, "organization");
	key->label = ak_options_label(fcinfo, 1);
	ak_secret_uuid(&key->id, GetCurrentTimestamp());
}

/* A key that makes another one is its creator, and passes its own limits on. */
static void
inherit_limits(AkNewKey *key)
{
	const AkActor *actor = &key->actor;

	if (!actor->limited)
		return;
	if (!key->created_by.isnull)
		ak_detail_add(&key->detail, "created_by",
					  TextDatumGetCString(key->created_by.value));
	key->created_by = ak_value_string(ak_options_print_id(&actor->key_id));
	if (key->expires_at.isnull && actor->key->expires_at != DT_NOEND)
		key->expires_at = ak_value_time(actor->key->expires_at);
	if (key->allowed_networks.isnull && actor->networks != (Datum) 0)
		key->allowed_networks = ak_value(CIDRARRAYOID, actor->networks);
	if (key->limit.count == 0 && ak_keycache_limit(actor->key) != NULL)
		key->limit = *ak_keycache_limit(actor->key);
}

static void
check_new_key(const AkNewKey *key)
{
	const AkActor *actor = &key->actor;

	ak_arg_refuse_all(&key->organization, "organization");
	ak_actor_check_organization(actor, &key->organization);
	ak_actor_check_new(actor);
	ak_actor_check_level(actor, key->organization_level);
	ak_actor_check_expiry(actor, ak_options_end(&key->expires_at));
	ak_actor_check_networks(actor, key->allowed_networks.value);
	ak_actor_check_limit(actor, &key->limit);
	ak_actor_check_derived(actor, key->max_derived);
	for (int i = 0; i < key->ngrants; i++)
	{
		/* a key that may not give it is not told whether it is registered */
		ak_actor_check_grant(actor, &key->grants[i]);
		ak_projects_check(&key->organization, &key->grants[i]);
	}
}

/* The arguments from "first" on, see above. */
static void
read_options(FunctionCallInfo fcinfo, int first, AkNewKey *key)
{
	AkDetail   *detail = &key->detail;
	const char *prefix;
	Jsonb	   *grants;

	ak_arg_refuse_null(fcinfo, first + GRANTS, "grants");
	key->organization_level =
		ak_options_organization_level(fcinfo, first + ORGANIZATION_LEVEL);
	key->expires_at = ak_options_expiry(fcinfo, first + EXPIRES_AT);
	key->created_by = ak_value_nullable(TEXTOID,
										fcinfo->args[first + CREATED_BY]);
	key->allowed_networks = ak_options_networks(fcinfo,
												first + ALLOWED_NETWORKS);
	key->metadata = ak_options_metadata(fcinfo, first + METADATA);
	prefix = ak_arg_prefix(fcinfo, first + PREFIX);
	if (prefix != NULL)
		ak_vendor_warn(prefix);
	key->prefix = prefix == NULL ? ak_guc_prefix : prefix;
	ak_options_rate_limit(fcinfo, first + RATE_LIMIT, &key->limit);
	key->max_derived = ak_options_max_derived(fcinfo, first + MAX_DERIVED);
	grants = ak_arg_json(fcinfo, first + GRANTS, JB_FARRAY);
	key->ngrants = ak_options_grants(grants, &key->grants);

	ak_detail_begin(detail);
	if (key->ngrants > 0)
		ak_detail_add_jsonb(detail, "grants", grants);
	if (key->organization_level != AK_LEVEL_NONE)
		ak_detail_add(detail, "organization_level",
					  ak_level_name(key->organization_level));
	if (key->limit.count > 0)
		ak_detail_add(detail, "rate_limit", ak_ratelimit_print(&key->limit));
	if (key->max_derived > 0)
		ak_detail_add(detail, "max_derived", psprintf("%d", key->max_derived));
	inherit_limits(key);
	check_new_key(key);
}

static AkValue
get_level_value(AkLevel level)
{
	const AkSchema *schema = ak_schema_get();

	return level == AK_LEVEL_NONE ? ak_value_null(schema->level) :
		ak_value(schema->level, ObjectIdGetDatum(schema->levels[level]));
}

static void
insert_key(AkInsertion *insertion, const AkNewKey *key)
{
	AkLimitValues limit = ak_value_limit(&key->limit);
	AkValue		now = ak_value_time(GetCurrentTransactionStartTimestamp());
	AkValue		row[Natts_apikey_key] = {
		[Anum_apikey_key_key_id - 1] = ak_value_uuid(&key->id),
		[Anum_apikey_key_expires_at - 1] = key->expires_at,
		[Anum_apikey_key_organization_level - 1] =
		get_level_value(key->organization_level),
		[Anum_apikey_key_organization - 1] = ak_value_name(&key->organization),
		[Anum_apikey_key_prefix - 1] = ak_value_string(key->prefix),
		[Anum_apikey_key_scheme - 1] = ak_create_scheme(&key->secret),
		[Anum_apikey_key_salt - 1] = ak_value_bytes(&key->secret.salt),
		[Anum_apikey_key_verifier - 1] = ak_value_bytes(&key->secret.verifier),
		[Anum_apikey_key_allowed_networks - 1] = key->allowed_networks,
		[Anum_apikey_key_label - 1] = key->label,
		[Anum_apikey_key_created_at - 1] = key->imported ?
		ak_value_time(key->created_at) : now,
		[Anum_apikey_key_created_by - 1] = key->created_by,
		[Anum_apikey_key_metadata - 1] = key->metadata,
		[Anum_apikey_key_rate_count - 1] = limit.count,
		[Anum_apikey_key_rate_interval - 1] = limit.interval,
		[Anum_apikey_key_rate_burst - 1] = limit.burst,
		[Anum_apikey_key_parent_id - 1] = ak_value_uuid(key->parent),
		[Anum_apikey_key_imported_at - 1] = key->imported ?
		now : ak_value_null(TIMESTAMPTZOID)
	};

	if (key->metadata.isnull)
		row[Anum_apikey_key_metadata - 1] =
			ak_value(JSONBOID,
					 DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	ak_insert_row(insertion, AK_TABLE_KEY, row);
}

static void
insert_grant(AkInsertion *insertion, const AkNewKey *key, const AkGrant *grant)
{
	AkValue		row[Natts_apikey_grant] = {
		[Anum_apikey_grant_key_id - 1] = ak_value_uuid(&key->id),
		[Anum_apikey_grant_level - 1] = get_level_value(grant->level),
		[Anum_apikey_grant_project - 1] = ak_value_project(&grant->project),
		[Anum_apikey_grant_environment - 1] =
		ak_value_name(&grant->environment),
		[Anum_apikey_grant_organization - 1] =
		ak_value_name(&key->organization)
	};

	ak_insert_row(insertion, AK_TABLE_GRANT, row);
}

static void
insert_derivation(AkInsertion *insertion, const AkNewKey *key)
{
	AkValue		row[Natts_apikey_derivation] = {
		[Anum_apikey_derivation_key_id - 1] = ak_value_uuid(&key->id),
		[Anum_apikey_derivation_max_derived - 1] =
		ak_value_int4(key->max_derived),
		[Anum_apikey_derivation_counted - 1] = ak_value_int4(0)
	};

	ak_insert_row(insertion, AK_TABLE_DERIVATION, row);
}

void
ak_create_write(const char *action, AkNewKey *key)
{
	AkInsertion *insertion = ak_insert_begin(AK_INSERT_KEY);
	AkEvent		event = {
		.action = action,
		.key_id = &key->id,
		.organization = &key->organization,
		.acting_key = key->actor.limited ? &key->actor.key_id : NULL,
		.detail = &key->detail,
		.is_new = true
	};

	ak_sql_use_indexes();
	insert_key(insertion, key);
	for (int i = 0; i < key->ngrants; i++)
		insert_grant(insertion, key, &key->grants[i]);
	if (key->max_derived > 0)
		insert_derivation(insertion, key);
	ak_event_append(insertion, &event);
	ak_insert_end(insertion);
}

static bool
fill_create(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	AkNewKey	key;
	char	   *token;

	begin_new_key(fcinfo, &key);
	read_options(fcinfo, 2, &key);
	token = ak_create_secret(&key.secret, &key.id, key.prefix);
	ak_create_write("create", &key);
	return ak_create_show(&key.id, token, values);
}

AK_ROW_FUNCTION(apikey_create, fill_create)

/* ---------------------------------------------------------------- import */

/* False if another one has the digest. */
static bool
write_imported(const AkNewKey *key, const AkSecret *secret,
			   const uint8 lookup[AK_HASH_LEN])
{
	static AkSql insert_secret = {
		AK_TABLE_SECRET, 0,
		.query = "INSERT INTO $S.apikey_secret (key_id, organization, scheme, salt, verifier,"
		" lookup, lookup_rule) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (lookup) DO NOTHING"
	};
	AkName		digest = {(const char *) lookup, AK_HASH_LEN};

	return ak_sql_run(&insert_secret, ak_value_uuid(&key->id),
					  ak_value_name(&key->organization), ak_create_scheme(secret),
					  ak_value_bytes(&secret->salt),
					  ak_value_bytes(&secret->verifier),
					  ak_value_bytes(&digest),
					  ak_value(TEXTARRAYOID, ak_store_rule(&secret->rule))) > 0;
}

/* The last arguments of apikey_import */
enum
{
	CREATED_AT = 5 + OPTIONS,
	STRIP_PREFIX,
	AFTER
};

/* Read what was hashed, and how; raises an error if it could never work. */
static void
read_imported(FunctionCallInfo fcinfo, AkImported *from, AkSecret *secret,
			  uint8 lookup[AK_HASH_LEN])
{
	AkImportedFault fault;

	ak_arg_refuse_null(fcinfo, 2, "scheme");
	ak_arg_refuse_null(fcinfo, 3, "hash");
	from->scheme = ak_arg_string(fcinfo, 2);
	from->hash = ak_arg_string(fcinfo, 3);
	from->lookup = ak_arg_string(fcinfo, 4);
	from->strip_prefix = ak_arg_string(fcinfo, STRIP_PREFIX);
	from->after = ak_arg_string(fcinfo, AFTER);
	if (!ak_imported_read(from, secret, lookup, &fault))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s for scheme \"%s\"", fault.what, from->scheme),
				 errdetail("It must be %s.", fault.form),
				 fault.hint != NULL ? errhint("%s", fault.hint) : 0,
				 errhidestmt(true)));
	if (!ak_secret_has_key(secret->scheme))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no key for hashes of scheme \"%s\" is configured",
						from->scheme),
				 errhint("Set apikey.hmac_key_file."),
				 errhidestmt(true)));
	if (!ak_lookup_has_room(&secret->rule))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many ways in which imported keys are hashed"),
				 errdetail("Hash, strip_prefix and after make %d different ones already.",
						   AK_LOOKUP_RULES),
				 errhint("Where what comes first differs from key to key, strip it by after."),
				 errhidestmt(true)));
}

static TimestampTz
get_created_at(FunctionCallInfo fcinfo)
{
	TimestampTz created_at;

	if (PG_ARGISNULL(CREATED_AT))
		return GetCurrentTransactionStartTimestamp();
	created_at = PG_GETARG_TIMESTAMPTZ(CREATED_AT);
	if (TIMESTAMP_NOT_FINITE(created_at) || created_at > ak_clock_now())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("created_at must be finite, and not in the future")));
	return created_at;
}

AK_FUNCTION_INFO_V1(apikey_import);
Datum
apikey_import(PG_FUNCTION_ARGS)
{
	AkNewKey	key;
	AkImported	from;
	AkSecret	secret;
	uint8		lookup[AK_HASH_LEN];

	begin_new_key(fcinfo, &key);
	read_imported(fcinfo, &from, &secret, lookup);
	key.imported = true;
	key.created_at = get_created_at(fcinfo);
	read_options(fcinfo, 5, &key);
	ak_detail_add(&key.detail, "scheme", from.scheme);
	if (from.strip_prefix != NULL)
		ak_detail_add(&key.detail, "strip_prefix", from.strip_prefix);
	if (from.after != NULL)
		ak_detail_add(&key.detail, "after", from.after);
	ak_create_write("import", &key);
	if (!write_imported(&key, &secret, lookup))
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("an API key with this hash was imported before"),
				 errhidestmt(true)));
	PG_RETURN_UUID_P(copy_id(&key.id));
}
