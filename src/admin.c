/*
 * admin.c
 *		The life of a key: the functions that change one, and the trigger that
 *		makes every backend see a change.
 *
 * All but the trigger are SECURITY DEFINER and closed to PUBLIC; their
 * contracts stand beside their names in the SQL script.  They check what they
 * are given before they write, so that the messages name what is wrong; the
 * constraints of the tables hold against everybody.
 *
 * A change of a key begins with a lock on its row.  So two changes of one key
 * come one after the other, and a revoke is never overtaken by a grant.
 */
#include "postgres.h"

#include "access/xact.h"
#include "args.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "grantlist.h"
#include "guc.h"
#include "inval.h"
#include "pepper.h"
#include "registry.h"
#include "schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "write.h"

/* ------------------------------------------------------------ arguments */

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

static Datum
get_label(FunctionCallInfo fcinfo, int argno)
{
	Datum		visible = CStringGetTextDatum("[^[:space:]]");

	ak_arg_refuse_null(fcinfo, argno, "label");
	if (!DatumGetBool(DirectFunctionCall2Coll(textregexeq,
											  DEFAULT_COLLATION_OID,
											  PG_GETARG_DATUM(argno), visible)))
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
	char	   *prefix;

	if (PG_ARGISNULL(argno))
		return ak_guc_prefix;
	prefix = TextDatumGetCString(PG_GETARG_DATUM(argno));
	if (!ak_token_prefix_valid(prefix, strlen(prefix)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid prefix of an API key"),
				 errdetail("A prefix is a lower case letter, then lower case letters, digits and underscores, %d bytes at most.",
						   AK_PREFIX_MAX)));
	return prefix;
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
 * Make random bytes a version 7 UUID (RFC 9562, section 5.7): the milliseconds
 * since 1970 come first, so that new keys stand side by side in the indexes.
 */
static void
stamp_id(pg_uuid_t *id, TimestampTz now)
{
	uint64		ms = (now + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
					  USECS_PER_DAY) / 1000;

	for (int i = 0; i < 6; i++)
		id->data[i] = (uint8) (ms >> (8 * (5 - i)));
	id->data[6] = (id->data[6] & 0x0f) | 0x70;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

/* Id, salt and secret of a new key; returns its text, palloc'd. */
static char *
make_key(AkNewKey *key)
{
	struct
	{
		pg_uuid_t	id;
		uint8		salt[AK_SALT_LEN];
		uint8		secret[AK_SECRET_LEN];
	}			random;
	char	   *token = palloc(AK_TOKEN_MAX + 1);
	int			pepper_len;
	const uint8 *pepper = ak_pepper_get(&pepper_len);

	ak_secret_random(&random, sizeof(random));
	stamp_id(&random.id, GetCurrentTimestamp());
	key->id = random.id;
	memcpy(key->salt, random.salt, AK_SALT_LEN);
	key->scheme = pepper == NULL ? AK_SCHEME_HMAC : AK_SCHEME_HMAC_PEPPER;
	ak_secret_verifier(pepper, pepper_len, key->salt, random.secret,
					   key->verifier);
	ak_token_print(key->prefix, strlen(key->prefix), &key->id, random.secret,
				   token);
	explicit_bzero(&random, sizeof(random));
	return token;
}

static bool
fill_create(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	AkNewKey	key = {0};
	AkGrant    *grants;
	int			ngrants;
	char	   *token;

	ak_schema_accept();
	key.organization = ak_arg_required_name(fcinfo, 0, "organization");
	key.label = get_label(fcinfo, 1);
	ak_arg_refuse_null(fcinfo, 2, "grants");
	key.organization_level = get_organization_level(fcinfo, 3);
	key.expires_at = get_expiry(fcinfo, 4);
	key.created_by = get_nullable(fcinfo, 5);
	key.allowed_networks = get_networks(fcinfo, 6);
	key.metadata = get_nullable(fcinfo, 7);
	key.prefix = get_prefix(fcinfo, 8);
	ngrants = ak_grantlist_read(PG_GETARG_JSONB_P(2), &grants);
	for (int i = 0; i < ngrants; i++)
		check_registered(&key.organization, &grants[i]);

	token = make_key(&key);
	ak_write_key(&key);
	ak_write_grants(&key.id, &key.organization, grants, ngrants);

	values[0] = UUIDPGetDatum(memcpy(palloc(sizeof(pg_uuid_t)), &key.id,
									 sizeof(pg_uuid_t)));
	values[1] = CStringGetTextDatum(token);
	explicit_bzero(token, AK_TOKEN_MAX + 1);
	return true;
}

AK_FUNCTION_INFO_V1(apikey_create);
Datum
apikey_create(PG_FUNCTION_ARGS)
{
	return ak_return_row(fcinfo, fill_create);
}

static char *
print_id(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/*
 * Lock the key in argument 0 against other changes.  Returns its id and
 * whether it is revoked; its organization too unless that is NULL.
 */
static const pg_uuid_t *
lock_key(FunctionCallInfo fcinfo, AkName *organization, bool *revoked)
{
	const pg_uuid_t *id;
	AkName		unused;

	ak_arg_refuse_null(fcinfo, 0, "key_id");
	id = PG_GETARG_UUID_P(0);
	ak_schema_accept();
	if (!ak_write_lock_key(id, organization ? organization : &unused, revoked))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("API key does not exist"),
				 errdetail("There is no key with id %s.", print_id(id))));
	return id;
}

/* The same, refusing a revoked key. */
static const pg_uuid_t *
lock_unrevoked_key(FunctionCallInfo fcinfo, AkName *organization)
{
	bool		revoked;
	const pg_uuid_t *id = lock_key(fcinfo, organization, &revoked);

	if (revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("API key is revoked"),
				 errdetail("The id of the key is %s.", print_id(id)),
				 errhint("A revoked key stays revoked; create another.")));
	return id;
}

AK_FUNCTION_INFO_V1(apikey_grant);
Datum
apikey_grant(PG_FUNCTION_ARGS)
{
	AkName		organization;
	AkGrant		grant;
	const pg_uuid_t *id;

	id = lock_unrevoked_key(fcinfo, &organization);
	grant.project = ak_arg_required_name(fcinfo, 1, "project");
	grant.environment = ak_arg_required_name(fcinfo, 2, "environment");
	ak_arg_refuse_null(fcinfo, 3, "level");
	grant.level = get_level(fcinfo, 3);
	check_registered(&organization, &grant);
	ak_write_grant(id, &organization, &grant);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_ungrant);
Datum
apikey_ungrant(PG_FUNCTION_ARGS)
{
	bool		revoked;
	const pg_uuid_t *id = lock_key(fcinfo, NULL, &revoked);
	AkName		project = ak_arg_required_name(fcinfo, 1, "project");
	AkName		environment = ak_arg_required_name(fcinfo, 2, "environment");

	if (!ak_write_ungrant(id, &project, &environment))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the API key has no grant on project \"%.*s\", environment \"%.*s\"",
						project.len, project.data,
						environment.len, environment.data),
				 errhint("A grant is taken away by the names that it was given by; see apikey_grants.")));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_set_organization_level);
Datum
apikey_set_organization_level(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = lock_unrevoked_key(fcinfo, NULL);

	ak_write_organization_level(id, get_organization_level(fcinfo, 1));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_disable);
Datum
apikey_disable(PG_FUNCTION_ARGS)
{
	ak_write_disable(lock_unrevoked_key(fcinfo, NULL));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_enable);
Datum
apikey_enable(PG_FUNCTION_ARGS)
{
	ak_write_enable(lock_unrevoked_key(fcinfo, NULL));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_revoke);
Datum
apikey_revoke(PG_FUNCTION_ARGS)
{
	bool		revoked;

	ak_write_revoke(lock_key(fcinfo, NULL, &revoked));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_delete);
Datum
apikey_delete(PG_FUNCTION_ARGS)
{
	bool		revoked;

	ak_write_delete(lock_key(fcinfo, NULL, &revoked));
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- trigger */

/*
 * Was the key of a new grant made by this very transaction?  Then no other
 * backend can remember it, and this one remembers it for one statement only.
 */
static bool
belongs_to_new_key(TriggerData *trigger)
{
	bool		isnull;
	Datum		id = heap_getattr(trigger->tg_trigtuple,
								  Anum_apikey_grant_key_id,
								  RelationGetDescr(trigger->tg_relation),
								  &isnull);
	Snapshot	snapshot = ak_store_snapshot();
	bool		own = ak_store_key_is_own(snapshot, DatumGetUUIDP(id));

	ak_store_release(snapshot);
	return own;
}

/*
 * After each change of a row, and after TRUNCATE.  What takes something away
 * must be on disk before COMMIT returns, whatever synchronous_commit says: a
 * crash must not bring a revoked key back.
 */
AK_FUNCTION_INFO_V1(apikey_changed);
Datum
apikey_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const AkSchema *schema;
	Oid			table;
	bool		insert;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("apikey_changed must be called as a trigger")));
	ak_schema_accept();
	schema = ak_schema_get();
	table = RelationGetRelid(trigger->tg_relation);
	insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);

	if (table == schema->project || table == schema->environment)
		ak_inval_announce(schema->registry_proxy);
	else if (table != schema->grant || !insert || !belongs_to_new_key(trigger))
		ak_inval_announce(schema->key_proxy);
	if (!insert)
		ForceSyncCommit();
	return PointerGetDatum(NULL);
}
