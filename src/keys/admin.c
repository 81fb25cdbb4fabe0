/*
 * admin.c
 *		The life of a key: the functions that change one that exists.
 *
 * All are SECURITY DEFINER and all but apikey_revoke_self closed to PUBLIC; their
 * contracts stand beside their names in the SQL script.  They check what they
 * are given before they write, so that the messages name what is wrong; the
 * constraints of the tables hold against everybody.  What the session's key may do is
 * decided in actor.c.  Each change is recorded; a call that changed nothing is not.
 */
#include "postgres.h"

#include "keys/admin.h"

#include "auth/authn.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/grants.h"
#include "base/hide.h"
#include "base/redact.h"
#include "catalog/pg_type_d.h"
#include "keys/options.h"
#include "keys/projects.h"
#include "keys/quota.h"
#include "table/event.h"
#include "table/sql.h"
#include "utils/lsyscache.h"

bool
ak_admin_lock(AkChange *change)
{
	static AkSql lock_key = {
		AK_TABLE_KEY, 0,
		.query = "SELECT organization, prefix, revoked_at IS NOT NULL, scheme IS NOT NULL,"
		" parent_id IS NOT NULL, coalesce(expires_at, 'infinity')"
		" FROM $S.apikey_key WHERE key_id = $1 FOR NO KEY UPDATE"
	};
	bool		found;

	ak_sql_begin();
	found = ak_sql_execute(&lock_key, ak_value_uuid(&change->id)) > 0;
	if (found)
	{
		change->organization = ak_sql_name(0, 1);
		change->prefix = ak_sql_name(0, 2).data;
		change->revoked = ak_sql_bool(0, 3);
		change->has_secret = ak_sql_bool(0, 4);
		change->derived = ak_sql_bool(0, 5);
		change->expires_at = DatumGetTimestampTz(ak_sql_value(0, 6).value);
	}
	ak_sql_end();
	return found;
}

/* The actor is looked at when the key is locked: that may have taken long. */
void
ak_admin_begin(FunctionCallInfo fcinfo, AkChange *change)
{
	bool		found;

	ak_arg_refuse_null(fcinfo, 0, "key_id");
	ak_schema_accept();
	change->id = *PG_GETARG_UUID_P(0);
	found = ak_admin_lock(change);
	ak_actor_get(&change->actor);
	if (!found || !ak_actor_check_key(&change->actor, &change->id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("API key does not exist"),
				 errdetail("There is no key with id %s.",
						   ak_options_print_id(&change->id))));
}

void
ak_admin_begin_good(FunctionCallInfo fcinfo, AkChange *change)
{
	ak_admin_begin(fcinfo, change);
	if (change->revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("API key is revoked"),
				 errdetail("The id of the key is %s.",
						   ak_options_print_id(&change->id)),
				 errhint("A revoked key stays revoked; create another.")));
}

void
ak_admin_begin_giving(FunctionCallInfo fcinfo, AkChange *change)
{
	ak_admin_begin_good(fcinfo, change);
	if (change->derived)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("API key is derived from another one"),
				 errdetail("The id of the key is %s.",
						   ak_options_print_id(&change->id)),
				 errhint("Change the key that it comes from, or derive another.")));
}

void
ak_admin_record(const AkChange *change, const char *action, AkDetail *detail)
{
	AkEvent		event = {
		.action = action,
		.key_id = &change->id,
		.organization = &change->organization,
		.acting_key = change->actor.limited ? &change->actor.key_id : NULL,
		.detail = detail
	};

	ak_event_append(NULL, &event);
}

/* ---------------------------------------------------------------- grants */

static void
begin_pair_detail(AkDetail *detail, const AkGrant *grant)
{
	ak_detail_begin(detail);
	ak_detail_add_name(detail, "project", &grant->project);
	ak_detail_add_name(detail, "environment", &grant->environment);
}

/* False if it was there. */
static bool
write_grant(const AkChange *change, const AkGrant *grant)
{
	static AkSql upsert_grant = {
		AK_TABLE_GRANT, 0,
		.query = "INSERT INTO $S.apikey_grant AS old"
		" (key_id, organization, project, environment, level)"
		" VALUES ($1, $2, $3, $4, $5::$S.apikey_level)"
		" ON CONFLICT (key_id, project, environment)"
		" DO UPDATE SET level = excluded.level"
		" WHERE old.level <> excluded.level"
	};
	static AkSql find_grant = {
		AK_TABLE_GRANT, 0,
		.query = "SELECT FROM $S.apikey_grant WHERE key_id = $1 AND organization = $2"
		" AND project IS NOT DISTINCT FROM $3"
		" AND environment = $4 AND level = $5::$S.apikey_level"
	};
	AkValue		values[] = {
		ak_value_uuid(&change->id),
		ak_value_name(&change->organization),
		ak_value_project(&grant->project),
		ak_value_name(&grant->environment),
		ak_value_level(grant->level)
	};

	if (ak_sql_run_values(&upsert_grant, values, lengthof(values)) > 0)
		return true;
	if (ak_sql_run_values(&find_grant, values, lengthof(values)) == 0)
		ak_sql_refuse_trigger(AK_TABLE_GRANT);
	return false;
}

/* Give it, recorded unless it was so before. */
static void
give_grant(const AkChange *change, const AkGrant *grant)
{
	AkDetail	detail;

	if (!write_grant(change, grant))
		return;
	begin_pair_detail(&detail, grant);
	ak_detail_add(&detail, "level", ak_level_name(grant->level));
	ak_admin_record(change, "grant", &detail);
}

/* Take it away, recorded; false if there is none. */
static bool
take_grant(const AkChange *change, const AkGrant *grant)
{
	static AkSql delete_grant = {
		AK_TABLE_GRANT, AK_SQL_LATEST | AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_grant WHERE key_id = $1"
		" AND project IS NOT DISTINCT FROM $2 AND environment = $3"
	};
	AkDetail	detail;

	if (ak_sql_run(&delete_grant, ak_value_uuid(&change->id),
				   ak_value_project(&grant->project),
				   ak_value_name(&grant->environment)) == 0)
		return false;
	begin_pair_detail(&detail, grant);
	ak_admin_record(change, "ungrant", &detail);
	return true;
}

static bool
is_among(const AkGrant *grant, const AkGrant *grants, int count)
{
	for (int i = 0; i < count; i++)
		if (ak_name_equal(&grant->project, &grants[i].project) &&
			ak_name_equal(&grant->environment, &grants[i].environment))
			return true;
	return false;
}

/* Take away all but these, and give these. */
static void
replace_grants(const AkChange *change, const AkGrant *grants, int count)
{
	static AkSql list_grants = {
		AK_TABLE_GRANT, AK_SQL_LATEST,
		.query = "SELECT coalesce(project, '*'), environment FROM $S.apikey_grant"
		" WHERE key_id = $1 ORDER BY 1, 2"
	};
	AkGrant    *before;
	int			nbefore;

	ak_sql_begin();
	nbefore = (int) ak_sql_execute(&list_grants, ak_value_uuid(&change->id));
	before = ak_sql_alloc(Max(nbefore, 1) * sizeof(AkGrant));
	for (int i = 0; i < nbefore; i++)
	{
		before[i].project = ak_sql_name(i, 1);
		before[i].environment = ak_sql_name(i, 2);
	}
	ak_sql_end();
	for (int i = 0; i < nbefore; i++)
		if (!is_among(&before[i], grants, count))
			(void) take_grant(change, &before[i]);
	for (int i = 0; i < count; i++)
		give_grant(change, &grants[i]);
}

AK_FUNCTION_INFO_V1(apikey_grant);
Datum
apikey_grant(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkGrant		grant;

	ak_admin_begin_giving(fcinfo, &change);
	grant.project = ak_arg_required_name(fcinfo, 1, "project");
	grant.environment = ak_arg_required_name(fcinfo, 2, "environment");
	ak_arg_refuse_null(fcinfo, 3, "level");
	grant.level = ak_options_level(fcinfo, 3);
	ak_actor_check_grant(&change.actor, &grant);
	ak_projects_check(&change.organization, &grant);
	give_grant(&change, &grant);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_ungrant);
Datum
apikey_ungrant(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkGrant		grant;

	ak_admin_begin(fcinfo, &change);
	grant.project = ak_arg_required_name(fcinfo, 1, "project");
	grant.environment = ak_arg_required_name(fcinfo, 2, "environment");
	if (!take_grant(&change, &grant))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the API key has no grant on project \"%s\", environment \"%s\"",
						ak_redact_name(&grant.project),
						ak_redact_name(&grant.environment)),
				 errhint("Name project and environment as the grant does; see apikey_grants.")));
	PG_RETURN_VOID();
}

static void
write_organization_level(const AkChange *change, AkLevel level)
{
	static AkSql set_level = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_key SET organization_level = $2::$S.apikey_level"
		" WHERE key_id = $1"
		" AND organization_level IS DISTINCT FROM $2::$S.apikey_level"
	};
	AkDetail	detail;

	if (ak_sql_run(&set_level, ak_value_uuid(&change->id),
				   ak_value_level(level)) == 0)
		return;
	ak_detail_begin(&detail);
	ak_detail_add(&detail, "level", level == AK_LEVEL_NONE ? NULL :
				  ak_level_name(level));
	ak_admin_record(change, "set_organization_level", &detail);
}

AK_FUNCTION_INFO_V1(apikey_set_organization_level);
Datum
apikey_set_organization_level(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkLevel		level;

	ak_admin_begin_giving(fcinfo, &change);
	level = ak_options_organization_level(fcinfo, 1);
	ak_actor_check_level(&change.actor, level);
	write_organization_level(&change, level);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------- state */

/* Recorded as "action", unless it was so before. */
static void
set_state(const AkChange *change, AkSql *sql, const char *action)
{
	if (ak_sql_run(sql, ak_value_uuid(&change->id)) > 0)
		ak_admin_record(change, action, NULL);
}

static void
record_reason(const AkChange *change, const char *action, const AkValue *reason)
{
	AkDetail	detail;

	ak_detail_begin(&detail);
	if (!reason->isnull)
		ak_detail_add(&detail, "reason", TextDatumGetCString(reason->value));
	ak_admin_record(change, action, &detail);
}

AK_FUNCTION_INFO_V1(apikey_disable);
Datum
apikey_disable(PG_FUNCTION_ARGS)
{
	static AkSql disable_key = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_key SET disabled_at = coalesce(disabled_at, now()),"
		" disabled_reason = coalesce($2, disabled_reason)"
		" WHERE key_id = $1 AND (disabled_at IS NULL"
		" OR disabled_reason IS DISTINCT FROM coalesce($2, disabled_reason))"
	};
	AkChange	change;
	AkValue		reason;

	ak_admin_begin_good(fcinfo, &change);
	reason = ak_options_reason(fcinfo, 1);
	if (ak_sql_run(&disable_key, ak_value_uuid(&change.id), reason) > 0)
		record_reason(&change, "disable", &reason);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_enable);
Datum
apikey_enable(PG_FUNCTION_ARGS)
{
	static AkSql enable_key = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_key SET disabled_at = NULL, disabled_reason = NULL"
		" WHERE key_id = $1 AND disabled_at IS NOT NULL"
	};
	AkChange	change;

	ak_admin_begin_good(fcinfo, &change);
	set_state(&change, &enable_key, "enable");
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_delete);
Datum
apikey_delete(PG_FUNCTION_ARGS)
{
	static AkSql delete_key = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_key WHERE key_id = $1"
	};
	AkChange	change;

	ak_admin_begin(fcinfo, &change);
	set_state(&change, &delete_key, "delete");
	PG_RETURN_VOID();
}

bool
ak_admin_revoke(const AkChange *change, const AkValue *reason)
{
	static AkSql revoke_key = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_key SET revoked_at = coalesce(revoked_at, now()),"
		" revoked_reason = coalesce($2, revoked_reason)"
		" WHERE key_id = $1 AND (revoked_at IS NULL"
		" OR revoked_reason IS DISTINCT FROM coalesce($2, revoked_reason))"
	};

	return ak_sql_run(&revoke_key, ak_value_uuid(&change->id),
					  reason != NULL ? *reason : ak_value_null(TEXTOID)) > 0;
}

AK_FUNCTION_INFO_V1(apikey_revoke);
Datum
apikey_revoke(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkValue		reason;

	ak_admin_begin(fcinfo, &change);
	reason = ak_options_reason(fcinfo, 1);
	if (ak_admin_revoke(&change, &reason))
		record_reason(&change, "revoke", &reason);
	PG_RETURN_VOID();
}

/* The key in argument 0, unless its secret is superseded.  Raises 28000 otherwise. */
static const AkKey *
get_held_key(FunctionCallInfo fcinfo, AkGuess guess)
{
	const AkKey *key = ak_authn_argument(fcinfo, 0, guess);

	if (key != NULL && !key->superseded)
		return key;
	ak_use_refused(key, AK_REASON_SUPERSEDED);
	ak_authz_refuse(key);
}

/*
 * The bearer of a key may revoke it, from any address.  It acts for itself here, and
 * the session's key does not matter.  Locking it may take so long that it is rotated
 * meanwhile.
 */
AK_FUNCTION_INFO_V1(apikey_revoke_self);
Datum
apikey_revoke_self(PG_FUNCTION_ARGS)
{
	AkChange	change = {.actor.limited = true};
	ErrorContextCallback hide;

	ak_hide_begin(&hide, ak_hide_statement);
	change.id = get_held_key(fcinfo, AK_GUESS_BY_CALL)->id;
	change.actor.key_id = change.id;
	if (!ak_admin_lock(&change))
		ak_authz_refuse(NULL);
	(void) get_held_key(fcinfo, AK_GUESS_BY_STATEMENT);
	if (ak_admin_revoke(&change, NULL))
		ak_admin_record(&change, "revoke_self", NULL);
	ak_hide_end(&hide);
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------- update */

/* The arguments of apikey_update. */
enum
{
	LABEL = 1,
	EXPIRES_AT,
	CREATED_BY,
	ALLOWED_NETWORKS,
	METADATA,
	RATE_LIMIT,
	MAX_DERIVED,
	ORGANIZATION_LEVEL,
	GRANTS,
	REMOVE
};

static const char *const fields[] = {
	[LABEL] = "label",
	[EXPIRES_AT] = "expires_at",
	[CREATED_BY] = "created_by",
	[ALLOWED_NETWORKS] = "allowed_networks",
	[METADATA] = "metadata",
	[RATE_LIMIT] = "rate_limit",
	[MAX_DERIVED] = "max_derived",
	[ORGANIZATION_LEVEL] = "organization_level"
};

typedef struct KeyUpdate
{
	uint32		changed;		/* bits of the arguments above */
	AkValue		values[RATE_LIMIT];
	AkRateLimit limit;
	int			max_derived;
	AkLevel		organization_level;
	AkGrant    *grants;
	int			ngrants;
} KeyUpdate;

static bool
is_changed(const KeyUpdate *update, int field)
{
	return (update->changed & 1 << field) != 0;
}

/* All but the label can be removed, and grants are by giving none. */
static int
find_removable(const AkName *name)
{
	for (int field = EXPIRES_AT; field <= ORGANIZATION_LEVEL; field++)
		if (ak_name_is(name, fields[field]))
			return field;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no field \"%s\" to remove", ak_redact_name(name)),
			 errhint("What can be removed is expires_at, created_by, allowed_networks, metadata, rate_limit, max_derived and organization_level.")));
}

/* The fields in the array, as bits. */
static uint32
get_removed(FunctionCallInfo fcinfo)
{
	uint32		removed = 0;
	AkName	   *names;
	int			count = 0;

	if (!PG_ARGISNULL(REMOVE))
		count = ak_arg_names(fcinfo, REMOVE, "field to remove", &names);
	for (int i = 0; i < count; i++)
	{
		int			field = find_removable(&names[i]);

		if (!PG_ARGISNULL(field))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("field \"%s\" is both given and removed",
							fields[field])));
		removed |= 1 << field;
	}
	return removed;
}

/* A null changes nothing, unless the field is to be removed. */
static void
get_update(FunctionCallInfo fcinfo, KeyUpdate *update)
{
	AkValue    *values = update->values;

	update->changed = get_removed(fcinfo);
	for (int field = LABEL; field <= GRANTS; field++)
		if (!PG_ARGISNULL(field))
			update->changed |= 1 << field;
	values[LABEL] = is_changed(update, LABEL) ?
		ak_options_label(fcinfo, LABEL) : ak_value_null(TEXTOID);
	values[EXPIRES_AT] = ak_options_expiry(fcinfo, EXPIRES_AT);
	values[CREATED_BY] = ak_value_nullable(TEXTOID, fcinfo->args[CREATED_BY]);
	values[ALLOWED_NETWORKS] = ak_options_networks(fcinfo, ALLOWED_NETWORKS);
	values[METADATA] = ak_options_metadata(fcinfo, METADATA);
	ak_options_rate_limit(fcinfo, RATE_LIMIT, &update->limit);
	update->max_derived = ak_options_max_derived(fcinfo, MAX_DERIVED);
	update->organization_level =
		ak_options_organization_level(fcinfo, ORGANIZATION_LEVEL);
	update->ngrants = 0;
	if (is_changed(update, GRANTS))
		update->ngrants = ak_options_grants(ak_arg_json(fcinfo, GRANTS, JB_FARRAY),
											&update->grants);
}

static void
check_update(const AkChange *change, const KeyUpdate *update)
{
	const AkActor *actor = &change->actor;

	if (is_changed(update, CREATED_BY))
		ak_actor_refuse_key();
	if (is_changed(update, EXPIRES_AT))
		ak_actor_check_expiry(actor, ak_options_end(&update->values[EXPIRES_AT]));
	if (is_changed(update, ALLOWED_NETWORKS))
		ak_actor_check_networks(actor, update->values[ALLOWED_NETWORKS].value);
	if (is_changed(update, RATE_LIMIT))
		ak_actor_check_limit(actor, &update->limit);
	if (is_changed(update, MAX_DERIVED))
		ak_actor_check_derived(actor, update->max_derived);
	ak_actor_check_level(actor, update->organization_level);
	for (int i = 0; i < update->ngrants; i++)
	{
		ak_actor_check_grant(actor, &update->grants[i]);
		ak_projects_check(&change->organization, &update->grants[i]);
	}
}

/* The columns and their new values; $2 has the names of the fields that change. */
#define COLUMNS \
"label, expires_at, created_by, allowed_networks, metadata," \
" rate_count, rate_interval, rate_burst"
#define NEW_VALUE(field, value, column) \
"CASE WHEN '" field "' = ANY ($2) THEN " value " ELSE " column " END"
#define NEW_VALUES \
NEW_VALUE("label", "$3", "label") ", " \
NEW_VALUE("expires_at", "$4", "expires_at") ", " \
NEW_VALUE("created_by", "$5", "created_by") ", " \
NEW_VALUE("allowed_networks", "$6", "allowed_networks") ", " \
NEW_VALUE("metadata", "coalesce($7, '{}')", "metadata") ", " \
NEW_VALUE("rate_limit", "$8", "rate_count") ", " \
NEW_VALUE("rate_limit", "$9", "rate_interval") ", " \
NEW_VALUE("rate_limit", "$10", "rate_burst")

/* False if all of it was so before. */
static bool
write_update(const pg_uuid_t *id, const KeyUpdate *update)
{
	static AkSql update_key = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_key SET (" COLUMNS ") = ROW (" NEW_VALUES ")"
		" WHERE key_id = $1 AND (" COLUMNS ") IS DISTINCT FROM (" NEW_VALUES ")"
	};
	const AkValue *values = update->values;
	AkLimitValues limit = ak_value_limit(&update->limit);
	AkName		changed[lengthof(fields)];
	int			count = 0;

	for (int field = LABEL; field <= MAX_DERIVED; field++)
		if (is_changed(update, field))
			changed[count++] = ak_name_make(fields[field], strlen(fields[field]));
	return ak_sql_run(&update_key, ak_value_uuid(id),
					  ak_value_names(changed, count), values[LABEL],
					  values[EXPIRES_AT], values[CREATED_BY],
					  values[ALLOWED_NETWORKS], values[METADATA],
					  limit.count, limit.interval, limit.burst) > 0;
}

/* The new value of a field. */
static void
add_new_value(AkDetail *detail, const char *field, const AkValue *value)
{
	Oid			output;
	bool		is_varlena;

	if (value->isnull)
		ak_detail_add(detail, field, NULL);
	else if (value->type == TIMESTAMPTZOID)
		ak_detail_add_time(detail, field, DatumGetTimestampTz(value->value));
	else if (value->type == JSONBOID)
		ak_detail_add_jsonb(detail, field, DatumGetJsonbP(value->value));
	else
	{
		getTypeOutputInfo(value->type, &output, &is_varlena);
		ak_detail_add(detail, field,
					  OidOutputFunctionCall(output, value->value));
	}
}

static void
record_update(const AkChange *change, const KeyUpdate *update)
{
	AkDetail	detail;

	ak_detail_begin(&detail);
	for (int field = LABEL; field < RATE_LIMIT; field++)
		if (is_changed(update, field))
			add_new_value(&detail, fields[field], &update->values[field]);
	if (is_changed(update, RATE_LIMIT))
		ak_detail_add(&detail, fields[RATE_LIMIT], update->limit.count == 0 ?
					  NULL : ak_ratelimit_print(&update->limit));
	if (is_changed(update, MAX_DERIVED))
		ak_detail_add(&detail, fields[MAX_DERIVED],
					  psprintf("%d", update->max_derived));
	ak_admin_record(change, "update", &detail);
}

AK_FUNCTION_INFO_V1(apikey_update);
Datum
apikey_update(PG_FUNCTION_ARGS)
{
	AkChange	change;
	KeyUpdate	update;
	bool		changed;

	ak_arg_refuse_null(fcinfo, 0, "key_id");
	ak_schema_accept();
	get_update(fcinfo, &update);
	if (is_changed(&update, MAX_DERIVED))
		ak_quota_lock(PG_GETARG_UUID_P(0));
	ak_admin_begin_giving(fcinfo, &change);
	check_update(&change, &update);
	changed = write_update(&change.id, &update);
	if (is_changed(&update, MAX_DERIVED))
		changed |= ak_quota_set(&change.id, update.max_derived);
	if (changed)
		record_update(&change, &update);
	if (is_changed(&update, ORGANIZATION_LEVEL))
		write_organization_level(&change, update.organization_level);
	if (is_changed(&update, GRANTS))
		replace_grants(&change, update.grants, update.ngrants);
	PG_RETURN_VOID();
}
