/*
 * admin.c
 *		The life of a key: the functions that change one.
 *
 * All are SECURITY DEFINER and all but apikey_revoke_self closed to PUBLIC; their
 * contracts stand beside their names in the SQL script.  They check what they
 * are given before they write, so that the messages name what is wrong; the
 * constraints of the tables hold against everybody.  What the key of the session
 * may do is known to actor.h.  Each change is recorded; a call that changed
 * nothing is not.
 *
 * A change of a key begins with a lock on its row.  So two changes of one key
 * come one after the other, and a revoke is never overtaken by a grant.
 */
#include "postgres.h"

#include "access/xact.h"
#include "actor.h"
#include "args.h"
#include "authn.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "event.h"
#include "grantlist.h"
#include "guc.h"
#include "imported.h"
#include "pepper.h"
#include "registry.h"
#include "schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "write.h"

/* ------------------------------------------------------------ arguments */

static char *
print_id(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

static NullableDatum
get_nullable(FunctionCallInfo fcinfo, int argno)
{
	return fcinfo->args[argno];
}

/* An apikey_level; NONE for a null. */
static AkLevel
get_level(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? AK_LEVEL_NONE :
		ak_schema_level(ak_schema_get(), PG_GETARG_OID(argno));
}

static AkLevel
get_organization_level(FunctionCallInfo fcinfo, int argno)
{
	AkLevel		level = get_level(fcinfo, argno);

	if (level > AK_LEVEL_WRITE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("organization level must be read, write or null")));
	return level;
}

/* Quick to say yes to what is not blank for a letter of ASCII in it. */
static bool
is_blank(Datum label)
{
	AkName		value = ak_store_name(label);

	for (int i = 0; i < value.len; i++)
		if (!IS_HIGHBIT_SET(value.data[i]) &&
			isalnum((unsigned char) value.data[i]))
			return false;
	return !DatumGetBool(DirectFunctionCall2Coll(textregexeq,
												 DEFAULT_COLLATION_OID, label,
												 CStringGetTextDatum("[^[:space:]]")));
}

static Datum
get_label(FunctionCallInfo fcinfo, int argno)
{
	ak_arg_refuse_null(fcinfo, argno, "label");
	if (is_blank(PG_GETARG_DATUM(argno)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label must not be blank")));
	return PG_GETARG_DATUM(argno);
}

static NullableDatum
get_expiry(FunctionCallInfo fcinfo, int argno)
{
	if (!PG_ARGISNULL(argno) &&
		PG_GETARG_TIMESTAMPTZ(argno) <= GetCurrentStatementStartTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expiry must be in the future")));
	return get_nullable(fcinfo, argno);
}

static NullableDatum
get_networks(FunctionCallInfo fcinfo, int argno)
{
	ArrayType  *networks;

	if (PG_ARGISNULL(argno))
		return get_nullable(fcinfo, argno);
	networks = PG_GETARG_ARRAYTYPE_P(argno);
	if (ArrayGetNItems(ARR_NDIM(networks), ARR_DIMS(networks)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("allowed networks must not be empty"),
				 errhint("Use null to allow any address.")));
	if (array_contains_nulls(networks))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("allowed networks must not contain nulls")));
	return get_nullable(fcinfo, argno);
}

/* The prefix in the argument, else that of the setting. */
static const char *
get_prefix(FunctionCallInfo fcinfo, int argno)
{
	const char *prefix = ak_arg_prefix(fcinfo, argno);

	return prefix == NULL ? ak_guc_prefix : prefix;
}

/* ------------------------------------------------------------- registry */

static bool
is_registered(const AkName *organization, const AkName *project,
			  const AkName *environment)
{
	return ak_registry_contains(organization,
								ak_scope_hash(project, environment), project,
								environment);
}

/* Is there a row of the organization's, with this environment unless NULL? */
static bool
any_row(const AkEnvironmentRow *rows, int count, const AkName *organization,
		const AkName *environment)
{
	for (int i = 0; i < count; i++)
		if (ak_name_equal(&rows[i].organization, organization) &&
			(environment == NULL ||
			 ak_name_equal(&rows[i].environment, environment)))
			return true;
	return false;
}

/*
 * Refuse a grant on what is not registered for the organization.  Whether
 * another organization has it makes no difference.
 */
static void
check_registered(const AkName *organization, const AkGrant *grant)
{
	bool		all_projects = ak_name_equal(&grant->project, &ak_scope_all);
	bool		all_environments = ak_name_equal(&grant->environment,
												 &ak_scope_all);
	AkEnvironmentRow *rows;
	Snapshot	snapshot;
	bool		has_project;
	bool		has_environment;
	int			count;

	if (all_projects && all_environments)
		return;
	if (!all_projects && !all_environments &&
		is_registered(organization, &grant->project, &grant->environment))
		return;

	snapshot = ak_store_snapshot();
	if (all_projects)
		count = ak_store_organization(snapshot, organization,
									  AK_STORE_NO_LIMIT, &rows);
	else
		count = ak_store_project(snapshot, &grant->project, &rows);
	ak_store_release(snapshot);
	has_project = all_projects || any_row(rows, count, organization, NULL);
	has_environment = has_project &&
		(all_environments ||
		 any_row(rows, count, organization, &grant->environment));
	pfree(rows);
	if (!has_project)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("project \"%.*s\" is not registered for organization \"%.*s\"",
						grant->project.len, grant->project.data,
						organization->len, organization->data),
				 errhint("Register it with apikey_add_project.")));
	if (!has_environment)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("environment \"%.*s\" of project \"%.*s\" is not registered for organization \"%.*s\"",
						grant->environment.len, grant->environment.data,
						grant->project.len, grant->project.data,
						organization->len, organization->data),
				 errhint("Register it with apikey_add_project.")));
}

/* -------------------------------------------------------- life of a key */

/*
 * A new secret of the key with this id and prefix; returns the text of the key,
 * palloc'd.
 */
static char *
make_secret(AkSecret *secret, const pg_uuid_t *id, const char *prefix)
{
	struct
	{
		uint8		salt[AK_SALT_LEN];
		uint8		secret[AK_SECRET_LEN];
	}			random;
	uint8	   *verifier = palloc(AK_HASH_LEN);
	char	   *token = palloc(AK_TOKEN_MAX + 1);
	int			pepper_len;
	const uint8 *pepper = ak_pepper_get(&pepper_len);

	ak_secret_random(&random, sizeof(random));
	ak_secret_verifier(pepper, pepper_len, random.salt, random.secret,
					   AK_SECRET_LEN, verifier);
	ak_token_print(prefix, strlen(prefix), id, random.secret, token);
	secret->scheme = pepper == NULL ? AK_SCHEME_HMAC : AK_SCHEME_HMAC_PEPPER;
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

/* The row that shows a key, the only time; wipes the text. */
static bool
show_key(const pg_uuid_t *id, char *token, Datum *values)
{
	values[0] = UUIDPGetDatum(memcpy(palloc(sizeof(pg_uuid_t)), id,
									 sizeof(pg_uuid_t)));
	values[1] = CStringGetTextDatum(token);
	explicit_bzero(token, AK_TOKEN_MAX + 1);
	return true;
}

static TimestampTz
get_end(NullableDatum expires_at)
{
	return expires_at.isnull ? DT_NOEND :
		DatumGetTimestampTz(expires_at.value);
}

static Datum
get_array(NullableDatum array)
{
	return array.isnull ? (Datum) 0 : array.value;
}

/*
 * What apikey_create and apikey_import have in common: the grants and the six
 * arguments after them, from "first" on.  A key that makes another one stands
 * for the creator, and passes its own limits on.
 */
static int
get_options(FunctionCallInfo fcinfo, int first, const AkActor *actor,
			AkNewKey *key, AkGrant **grants, AkDetail *detail)
{
	int			count;

	ak_arg_refuse_null(fcinfo, first, "grants");
	key->organization_level = get_organization_level(fcinfo, first + 1);
	key->expires_at = get_expiry(fcinfo, first + 2);
	key->created_by = get_nullable(fcinfo, first + 3);
	key->allowed_networks = get_networks(fcinfo, first + 4);
	key->metadata = get_nullable(fcinfo, first + 5);
	key->prefix = get_prefix(fcinfo, first + 6);
	count = ak_grantlist_read(PG_GETARG_JSONB_P(first), grants);

	ak_detail_begin(detail);
	if (count > 0)
		ak_detail_add_jsonb(detail, "grants", PG_GETARG_JSONB_P(first));
	if (key->organization_level != AK_LEVEL_NONE)
		ak_detail_add(detail, "organization_level",
					  ak_scope_level_name(key->organization_level));
	if (actor->limited)
	{
		if (!key->created_by.isnull)
			ak_detail_add(detail, "created_by",
						  TextDatumGetCString(key->created_by.value));
		key->created_by.value = CStringGetTextDatum(print_id(&actor->key_id));
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
	}
	ak_actor_check_organization(actor, &key->organization);
	ak_actor_check_level(actor, key->organization_level);
	ak_actor_check_expiry(actor, get_end(key->expires_at));
	ak_actor_check_networks(actor, get_array(key->allowed_networks));
	for (int i = 0; i < count; i++)
	{
		check_registered(&key->organization, &(*grants)[i]);
		ak_actor_check_grant(actor, &(*grants)[i]);
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
	key.label = get_label(fcinfo, 1);
	ngrants = get_options(fcinfo, 2, &actor, &key, &grants, &detail);

	ak_secret_uuid(&key.id, GetCurrentTimestamp());
	token = make_secret(&key.secret, &key.id, key.prefix);
	write_new("create", &actor, &key, grants, ngrants, &detail);
	return show_key(&key.id, token, values);
}

AK_FUNCTION_INFO_V1(apikey_create);
Datum
apikey_create(PG_FUNCTION_ARGS)
{
	return ak_return_row(fcinfo, fill_create);
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
	key.label = get_label(fcinfo, 1);
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

/* A change of a key that exists, under way. */
typedef struct Change
{
	AkActor		actor;
	pg_uuid_t	id;
	AkLockedKey key;
} Change;

/*
 * Lock a key against other changes.  The actor is looked at when that is done: it
 * may have had to wait.
 */
static void
lock_key(Change *change, const pg_uuid_t *id)
{
	bool		found;

	ak_schema_accept();
	change->id = *id;
	found = ak_write_lock_key(id, &change->key);
	ak_actor_get(&change->actor);
	if (!found || !ak_actor_check_key(&change->actor, id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("API key does not exist"),
				 errdetail("There is no key with id %s.", print_id(id))));
}

/* The key in argument 0. */
static void
begin_change(FunctionCallInfo fcinfo, Change *change)
{
	ak_arg_refuse_null(fcinfo, 0, "key_id");
	lock_key(change, PG_GETARG_UUID_P(0));
}

/* The same, refusing a revoked key. */
static void
begin_change_of_good(FunctionCallInfo fcinfo, Change *change)
{
	begin_change(fcinfo, change);
	if (change->key.revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("API key is revoked"),
				 errdetail("The id of the key is %s.", print_id(&change->id)),
				 errhint("A revoked key stays revoked; create another.")));
}

/* "detail" may be NULL. */
static void
record(const Change *change, const char *action, AkDetail *detail)
{
	AkEvent		event = {
		.action = action,.key_id = &change->id,
		.organization = &change->key.organization,
		.acting_key = change->actor.limited ? &change->actor.key_id : NULL,
		.detail = detail
	};

	ak_event_append(NULL, &event);
}

static void
add_pair(AkDetail *detail, const AkGrant *grant)
{
	ak_detail_begin(detail);
	ak_detail_add_name(detail, "project", &grant->project);
	ak_detail_add_name(detail, "environment", &grant->environment);
}

AK_FUNCTION_INFO_V1(apikey_grant);
Datum
apikey_grant(PG_FUNCTION_ARGS)
{
	Change		change;
	AkGrant		grant;
	AkDetail	detail;

	begin_change_of_good(fcinfo, &change);
	grant.project = ak_arg_required_name(fcinfo, 1, "project");
	grant.environment = ak_arg_required_name(fcinfo, 2, "environment");
	ak_arg_refuse_null(fcinfo, 3, "level");
	grant.level = get_level(fcinfo, 3);
	check_registered(&change.key.organization, &grant);
	ak_actor_check_grant(&change.actor, &grant);
	if (ak_write_grant(&change.id, &change.key.organization, &grant))
	{
		add_pair(&detail, &grant);
		ak_detail_add(&detail, "level", ak_scope_level_name(grant.level));
		record(&change, "grant", &detail);
	}
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_ungrant);
Datum
apikey_ungrant(PG_FUNCTION_ARGS)
{
	Change		change;
	AkGrant		grant;
	AkDetail	detail;

	begin_change(fcinfo, &change);
	grant.project = ak_arg_required_name(fcinfo, 1, "project");
	grant.environment = ak_arg_required_name(fcinfo, 2, "environment");
	if (!ak_write_ungrant(&change.id, &grant.project, &grant.environment))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the API key has no grant on project \"%.*s\", environment \"%.*s\"",
						grant.project.len, grant.project.data,
						grant.environment.len, grant.environment.data),
				 errhint("A grant is taken away by the names that it was given by; see apikey_grants.")));
	add_pair(&detail, &grant);
	record(&change, "ungrant", &detail);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_set_organization_level);
Datum
apikey_set_organization_level(PG_FUNCTION_ARGS)
{
	Change		change;
	AkLevel		level;
	AkDetail	detail;

	begin_change_of_good(fcinfo, &change);
	level = get_organization_level(fcinfo, 1);
	ak_actor_check_level(&change.actor, level);
	if (ak_write_organization_level(&change.id, level))
	{
		ak_detail_begin(&detail);
		ak_detail_add(&detail, "level", level == AK_LEVEL_NONE ? NULL :
					  ak_scope_level_name(level));
		record(&change, "set_organization_level", &detail);
	}
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_disable);
Datum
apikey_disable(PG_FUNCTION_ARGS)
{
	Change		change;

	begin_change_of_good(fcinfo, &change);
	if (ak_write_disable(&change.id))
		record(&change, "disable", NULL);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_enable);
Datum
apikey_enable(PG_FUNCTION_ARGS)
{
	Change		change;

	begin_change_of_good(fcinfo, &change);
	if (ak_write_enable(&change.id))
		record(&change, "enable", NULL);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_revoke);
Datum
apikey_revoke(PG_FUNCTION_ARGS)
{
	Change		change;

	begin_change(fcinfo, &change);
	if (ak_write_revoke(&change.id))
		record(&change, "revoke", NULL);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_delete);
Datum
apikey_delete(PG_FUNCTION_ARGS)
{
	Change		change;

	begin_change(fcinfo, &change);
	(void) ak_write_delete(&change.id);
	record(&change, "delete", NULL);
	PG_RETURN_VOID();
}

/*
 * Whoever holds a key may end it, wherever from.  It acts for itself here, and
 * whoever is logged in does not matter.
 */
AK_FUNCTION_INFO_V1(apikey_revoke_self);
Datum
apikey_revoke_self(PG_FUNCTION_ARGS)
{
	AkFinding	finding = {0};
	AkName		token;
	Change		change = {.actor.limited = true};

	ak_schema_accept();
	if (ak_arg_token(fcinfo, 0, &token))
		ak_authn_find(&finding, token.data, token.len);
	if (finding.key != NULL)
		change.id = change.actor.key_id = finding.key->id;
	if (finding.key == NULL || !ak_write_lock_key(&change.id, &change.key))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("invalid API key"),
				 errhidestmt(true)));
	if (ak_write_revoke(&change.id))
		record(&change, "revoke_self", NULL);
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- rotation */

/* When an overlap that begins now ends. */
static TimestampTz
get_overlap_end(FunctionCallInfo fcinfo, int argno)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	TimestampTz end;

	ak_arg_refuse_null(fcinfo, argno, "overlap");
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(now),
												  PG_GETARG_DATUM(argno)));
	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must not be negative")));
	if (TIMESTAMP_NOT_FINITE(end))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must be finite")));
	return end;
}

static bool
fill_rotate(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	Change		change;
	AkSecret	secret;
	AkDetail	detail;
	TimestampTz end;
	char	   *token;

	begin_change_of_good(fcinfo, &change);
	end = get_overlap_end(fcinfo, 1);
	token = make_secret(&secret, &change.id, change.key.prefix);
	ak_write_rotate(&change.id, change.key.has_secret, &secret, end);
	ak_detail_begin(&detail);
	ak_detail_add_time(&detail, "overlap_until", end);
	record(&change, "rotate", &detail);
	return show_key(&change.id, token, values);
}

AK_FUNCTION_INFO_V1(apikey_rotate);
Datum
apikey_rotate(PG_FUNCTION_ARGS)
{
	return ak_return_row(fcinfo, fill_rotate);
}

AK_FUNCTION_INFO_V1(apikey_cancel_rotation);
Datum
apikey_cancel_rotation(PG_FUNCTION_ARGS)
{
	Change		change;

	begin_change_of_good(fcinfo, &change);
	if (!ak_write_unrotate(&change.id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no rotation to cancel"),
				 errdetail("API key %s has one good secret.",
						   print_id(&change.id)),
				 errhint("A rotation can be cancelled while its overlap lasts.")));
	record(&change, "cancel_rotation", NULL);
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------- update */

/*
 * Is this the default of a text argument, "leave it as it is"?  The defaults
 * stand in the SQL script.
 */
static bool
is_default_text(FunctionCallInfo fcinfo, int argno)
{
	text	   *value;

	if (PG_ARGISNULL(argno))
		return false;
	value = PG_GETARG_TEXT_PP(argno);
	return VARSIZE_ANY_EXHDR(value) == 1 && VARDATA_ANY(value)[0] == '\n';
}

static bool
is_default_networks(FunctionCallInfo fcinfo, int argno)
{
	ArrayType  *networks;

	if (PG_ARGISNULL(argno))
		return false;
	networks = PG_GETARG_ARRAYTYPE_P(argno);
	return ArrayGetNItems(ARR_NDIM(networks), ARR_DIMS(networks)) == 1 &&
		array_contains_nulls(networks);
}

static bool
is_default_json(FunctionCallInfo fcinfo, int argno)
{
	Jsonb	   *json;
	JsonbValue	value;

	if (PG_ARGISNULL(argno))
		return false;
	json = PG_GETARG_JSONB_P(argno);
	return JB_ROOT_IS_SCALAR(json) &&
		JsonbExtractScalar(&json->root, &value) &&
		value.type == jbvString && value.val.string.len == 1 &&
		value.val.string.val[0] == '\n';
}

static void
get_changes(FunctionCallInfo fcinfo, AkKeyChanges *changes)
{
	changes->label.change = !is_default_text(fcinfo, 1);
	if (changes->label.change)
		changes->label.value.value = get_label(fcinfo, 1);

	changes->expires_at.change = PG_ARGISNULL(2) ||
		!TIMESTAMP_IS_NOBEGIN(PG_GETARG_TIMESTAMPTZ(2));
	if (changes->expires_at.change)
		changes->expires_at.value = get_expiry(fcinfo, 2);

	changes->created_by.change = !is_default_text(fcinfo, 3);
	changes->created_by.value = get_nullable(fcinfo, 3);

	changes->allowed_networks.change = !is_default_networks(fcinfo, 4);
	if (changes->allowed_networks.change)
		changes->allowed_networks.value = get_networks(fcinfo, 4);

	changes->metadata.change = !is_default_json(fcinfo, 5);
	changes->metadata.value = get_nullable(fcinfo, 5);
}

/* The new value of a column. */
static void
add_change(AkDetail *detail, const char *column, const AkKeyChange *change,
		   Oid type)
{
	Oid			output;
	bool		is_varlena;

	if (!change->change)
		return;
	if (change->value.isnull)
		ak_detail_add(detail, column, NULL);
	else if (type == TIMESTAMPTZOID)
		ak_detail_add_time(detail, column,
						   DatumGetTimestampTz(change->value.value));
	else
	{
		getTypeOutputInfo(type, &output, &is_varlena);
		ak_detail_add(detail, column,
					  OidOutputFunctionCall(output, change->value.value));
	}
}

AK_FUNCTION_INFO_V1(apikey_update);
Datum
apikey_update(PG_FUNCTION_ARGS)
{
	Change		change;
	AkKeyChanges changes = {0};
	AkDetail	detail;

	begin_change_of_good(fcinfo, &change);
	get_changes(fcinfo, &changes);
	if (changes.created_by.change)
		ak_actor_refuse_key();
	if (changes.expires_at.change)
		ak_actor_check_expiry(&change.actor,
							  get_end(changes.expires_at.value));
	if (changes.allowed_networks.change)
		ak_actor_check_networks(&change.actor,
								get_array(changes.allowed_networks.value));
	if (!ak_write_changes(&change.id, &changes))
		PG_RETURN_VOID();

	ak_detail_begin(&detail);
	add_change(&detail, "label", &changes.label, TEXTOID);
	add_change(&detail, "expires_at", &changes.expires_at, TIMESTAMPTZOID);
	add_change(&detail, "created_by", &changes.created_by, TEXTOID);
	add_change(&detail, "allowed_networks", &changes.allowed_networks,
			   CIDRARRAYOID);
	if (changes.metadata.change && !changes.metadata.value.isnull)
		ak_detail_add_jsonb(&detail, "metadata", PG_GETARG_JSONB_P(5));
	else if (changes.metadata.change)
		ak_detail_add(&detail, "metadata", NULL);
	record(&change, "update", &detail);
	PG_RETURN_VOID();
}
