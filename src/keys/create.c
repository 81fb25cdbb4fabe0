/*
 * create.c
 *		New keys: made here, or taken over from elsewhere.
 *
 * The functions are SECURITY DEFINER and closed to PUBLIC; their contracts stand
 * beside their names in the SQL script.  They check what they are given before
 * they write, so that the messages name what is wrong; the constraints of the
 * tables hold against everybody.  What the key of the session may give is known to
 * actor.h.
 */
#include "postgres.h"

#include "keys/create.h"

#include "auth/imported.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/grantlist.h"
#include "base/grants.h"
#include "base/guc.h"
#include "base/result.h"
#include "base/token.h"
#include "keys/actor.h"
#include "keys/options.h"
#include "keys/projects.h"
#include "table/write.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

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
	secret->salt = (AkName)
	{
		memcpy(palloc(AK_SALT_LEN), random.salt, AK_SALT_LEN), AK_SALT_LEN
	};
	secret->verifier = (AkName)
	{
		(char *) verifier, AK_HASH_LEN
	};
	explicit_bzero(&random, sizeof(random));
	return token;
}

bool
ak_create_show(const pg_uuid_t *id, char *token, Datum *values)
{
	values[0] = UUIDPGetDatum(memcpy(palloc(sizeof(pg_uuid_t)), id,
									 sizeof(pg_uuid_t)));
	values[1] = CStringGetTextDatum(token);
	explicit_bzero(token, AK_TOKEN_MAX + 1);
	return true;
}

/* The prefix in the argument, else that of the setting. */
static const char *
get_prefix(FunctionCallInfo fcinfo, int argno)
{
	const char *prefix = ak_arg_prefix(fcinfo, argno);

	return prefix == NULL ? ak_guc_prefix : prefix;
}

/*
 * What apikey_create and apikey_import have in common: the grants and the seven
 * arguments after them, from "first" on.  A key that makes another one stands
 * for the creator, and passes its own limits on.
 */
static int
get_options(FunctionCallInfo fcinfo, int first, const AkActor *actor,
			AkNewKey *key, AkGrant **grants, AkDetail *detail)
{
	Jsonb	   *list;
	int			count;

	ak_arg_refuse_null(fcinfo, first, "grants");
	key->organization_level = ak_options_organization_level(fcinfo, first + 1);
	key->expires_at = ak_options_expiry(fcinfo, first + 2);
	key->created_by = fcinfo->args[first + 3];
	key->allowed_networks = ak_options_networks(fcinfo, first + 4);
	key->metadata = ak_options_metadata(fcinfo, first + 5);
	key->prefix = get_prefix(fcinfo, first + 6);
	ak_options_rate_limit(fcinfo, first + 7, &key->limit);
	list = ak_arg_json(fcinfo, first, JB_FARRAY);
	count = ak_grantlist_read(list, grants);

	ak_detail_begin(detail);
	if (count > 0)
		ak_detail_add_jsonb(detail, "grants", list);
	if (key->organization_level != AK_LEVEL_NONE)
		ak_detail_add(detail, "organization_level",
					  ak_level_name(key->organization_level));
	if (key->limit.count > 0)
		ak_detail_add(detail, "rate_limit", ak_ratelimit_print(&key->limit));
	if (actor->limited)
	{
		if (!key->created_by.isnull)
			ak_detail_add(detail, "created_by",
						  TextDatumGetCString(key->created_by.value));
		key->created_by.value = CStringGetTextDatum(ak_options_print_id(&actor->key_id));
		key->created_by.isnull = false;
		if (key->expires_at.isnull && actor->key->expires_at != DT_NOEND)
		{
			key->expires_at.value =
				TimestampTzGetDatum(actor->key->expires_at);
			key->expires_at.isnull = false;
		}
		if (key->allowed_networks.isnull && actor->networks != (Datum) 0)
		{
			key->allowed_networks.value = actor->networks;
			key->allowed_networks.isnull = false;
		}
		if (key->limit.count == 0 && actor->key->limit != NULL)
			key->limit = *actor->key->limit;
	}
	ak_arg_refuse_all(&key->organization, "organization");
	ak_actor_check_organization(actor, &key->organization);
	ak_actor_check_new(actor);
	ak_actor_check_level(actor, key->organization_level);
	ak_actor_check_expiry(actor, ak_options_end(key->expires_at));
	ak_actor_check_networks(actor, ak_options_array(key->allowed_networks));
	ak_actor_check_limit(actor, &key->limit);
	for (int i = 0; i < count; i++)
	{
		/* who may not give it is not told whether it is registered */
		ak_actor_check_grant(actor, &(*grants)[i]);
		ak_projects_check(&key->organization, &(*grants)[i]);
	}
	return count;
}

static void
write_new(const char *action, const AkActor *actor, const AkNewKey *key,
		  const AkGrant *grants, int count, AkDetail *detail)
{
	AkEvent		event = {
		.action = action,.key_id = &key->id,
		.organization = &key->organization,
		.acting_key = actor->limited ? &actor->key_id : NULL,
		.detail = detail,.is_new = true
	};

	ak_write_key(key, grants, count, &event);
}

static bool
fill_create(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	AkNewKey	key = {0};
	AkActor		actor;
	AkDetail	detail;
	AkGrant    *grants;
	int			ngrants;
	char	   *token;

	ak_actor_get(&actor);
	key.organization = ak_arg_required_name(fcinfo, 0, "organization");
	key.label = ak_options_label(fcinfo, 1);
	ngrants = get_options(fcinfo, 2, &actor, &key, &grants, &detail);

	ak_secret_uuid(&key.id, GetCurrentTimestamp());
	token = ak_create_secret(&key.secret, &key.id, key.prefix);
	write_new("create", &actor, &key, grants, ngrants, &detail);
	return ak_create_show(&key.id, token, values);
}

AK_FUNCTION_INFO_V1(apikey_create);
Datum
apikey_create(PG_FUNCTION_ARGS)
{
	return ak_result_row(fcinfo, fill_create);
}

static char *
get_cstring(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL :
		TextDatumGetCString(PG_GETARG_DATUM(argno));
}

AK_FUNCTION_INFO_V1(apikey_import);
Datum
apikey_import(PG_FUNCTION_ARGS)
{
	AkNewKey	key = {0};
	AkActor		actor;
	AkDetail	detail;
	AkGrant    *grants;
	AkSecret	secret;
	uint8		lookup[AK_HASH_LEN];
	char	   *scheme;
	int			ngrants;

	ak_actor_get(&actor);
	key.organization = ak_arg_required_name(fcinfo, 0, "organization");
	key.label = ak_options_label(fcinfo, 1);
	ak_arg_refuse_null(fcinfo, 2, "scheme");
	ak_arg_refuse_null(fcinfo, 3, "hash");
	scheme = get_cstring(fcinfo, 2);
	ak_imported_read(scheme, get_cstring(fcinfo, 3), get_cstring(fcinfo, 4),
					 &secret, lookup);
	ngrants = get_options(fcinfo, 5, &actor, &key, &grants, &detail);
	ak_detail_add(&detail, "scheme", scheme);

	ak_secret_uuid(&key.id, GetCurrentTimestamp());
	write_new("import", &actor, &key, grants, ngrants, &detail);
	if (!ak_write_imported(&key.id, &secret, lookup))
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("an API key with this hash was imported before"),
				 errhidestmt(true)));
	PG_RETURN_UUID_P(memcpy(palloc(sizeof(pg_uuid_t)), &key.id,
							sizeof(pg_uuid_t)));
}
