/*
 * admin.c
 *		The life of a key: the functions that change one that there is.
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

#include "auth/authn.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/grants.h"
#include "base/redact.h"
#include "base/result.h"
#include "catalog/pg_type.h"
#include "keys/actor.h"
#include "keys/create.h"
#include "keys/options.h"
#include "keys/projects.h"
#include "table/event.h"
#include "table/schema.h"
#include "table/store.h"
#include "table/write.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* A change of a key that exists, under way. */
typedef struct Change
{
	AkActor		actor;
	pg_uuid_t	id;
	AkLockedKey key;
} Change;

/*
 * Lock the key in argument 0 against other changes.  The actor is looked at when
 * that is done: it may have had to wait.
 */
static void
begin_change(FunctionCallInfo fcinfo, Change *change)
{
	bool		found;

	ak_arg_refuse_null(fcinfo, 0, "key_id");
	ak_schema_accept();
	change->id = *PG_GETARG_UUID_P(0);
	found = ak_write_lock_key(&change->id, &change->key);
	ak_actor_get(&change->actor);
	if (!found || !ak_actor_check_key(&change->actor, &change->id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("API key does not exist"),
				 errdetail("There is no key with id %s.",
						   ak_options_print_id(&change->id))));
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
				 errdetail("The id of the key is %s.", ak_options_print_id(&change->id)),
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
	grant.level = ak_options_level(fcinfo, 3);
	ak_actor_check_grant(&change.actor, &grant);
	ak_projects_check(&change.key.organization, &grant);
	if (ak_write_grant(&change.id, &change.key.organization, &grant))
	{
		add_pair(&detail, &grant);
		ak_detail_add(&detail, "level", ak_level_name(grant.level));
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
				 errmsg("the API key has no grant on project \"%s\", environment \"%s\"",
						ak_redact_name(&grant.project),
						ak_redact_name(&grant.environment)),
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
	level = ak_options_organization_level(fcinfo, 1);
	ak_actor_check_level(&change.actor, level);
	if (ak_write_organization_level(&change.id, level))
	{
		ak_detail_begin(&detail);
		ak_detail_add(&detail, "level", level == AK_LEVEL_NONE ? NULL :
					  ak_level_name(level));
		record(&change, "set_organization_level", &detail);
	}
	PG_RETURN_VOID();
}

/* Whatever IntervalStyle is. */
static void
add_interval(AkDetail *detail, const char *field, NullableDatum value)
{
	struct pg_itm itm;
	char text[	MAXDATELEN + 1];

	if (value.isnull)
		return;
	interval2itm(*DatumGetIntervalP(value.value), &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, text);
	ak_detail_add(detail, field, pstrdup(text));
}

/*
 * A budget is what the application gives, or sells: no key has a say in it.  To
 * set it starts a new period, even if it was the same before.
 */
AK_FUNCTION_INFO_V1(apikey_set_budget);
Datum
apikey_set_budget(PG_FUNCTION_ARGS)
{
	Change		change;
	NullableDatum refill;
	int64		budget;
	AkDetail	detail;

	ak_actor_refuse_key();
	begin_change_of_good(fcinfo, &change);
	refill = ak_options_refill(fcinfo, 2);
	ak_detail_begin(&detail);
	if (PG_ARGISNULL(1))
	{
		if (!refill.isnull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("refill needs a budget")));
		if (!ak_write_no_budget(&change.id))
			PG_RETURN_VOID();
		ak_detail_add(&detail, "budget", NULL);
	}
	else
	{
		budget = ak_options_budget(fcinfo, 1);
		ak_write_budget(&change.id, budget, refill);
		ak_detail_add(&detail, "budget", psprintf(INT64_FORMAT, budget));
		add_interval(&detail, "refill", refill);
	}
	record(&change, "set_budget", &detail);
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
	token = ak_arg_token(fcinfo, 0);
	ak_authn_find(&finding, token.data, token.len);
	if (finding.key != NULL)
		change.id = change.actor.key_id = finding.key->id;
	else if (token.len > 0)
		ak_use_called(NULL, AK_REASON_INVALID_KEY);
	if (finding.key == NULL || !ak_write_lock_key(&change.id, &change.key))
		ak_authz_refuse(AK_REASON_INVALID_KEY);
	if (ak_write_revoke(&change.id))
		record(&change, "revoke_self", NULL);
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- rotation */

/* When an overlap that begins now ends. */
static TimestampTz
get_overlap_end(FunctionCallInfo fcinfo, int argno)
{
	TimestampTz now = ak_clock_now();
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
	token = ak_create_secret(&secret, &change.id, change.key.prefix);
	ak_write_rotate(&change.id, change.key.has_secret, &secret, end);
	ak_detail_begin(&detail);
	ak_detail_add_time(&detail, "overlap_until", end);
	record(&change, "rotate", &detail);
	return ak_create_show(&change.id, token, values);
}

AK_FUNCTION_INFO_V1(apikey_rotate);
Datum
apikey_rotate(PG_FUNCTION_ARGS)
{
	return ak_result_row(fcinfo, fill_rotate);
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
						   ak_options_print_id(&change.id)),
				 errhint("A rotation can be cancelled while its overlap lasts.")));
	record(&change, "cancel_rotation", NULL);
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------- update */

/* What can be taken away, and the arguments that give it. */
static const struct
{
	const char *name;
	int			argno;
}			removable[] =

{
	{"expires_at", 2},
	{"created_by", 3},
	{"allowed_networks", 4},
	{"metadata", 5},
	{"rate_limit", 6}
};

/* The number of the argument that gives a field. */
static int
find_removable(const AkName *name)
{
	for (int i = 0; i < (int) lengthof(removable); i++)
		if (name->len == (int) strlen(removable[i].name) &&
			memcmp(name->data, removable[i].name, name->len) == 0)
			return removable[i].argno;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no field \"%s\" to remove", ak_redact_name(name)),
			 errhint("What can be removed is expires_at, created_by, allowed_networks, metadata and rate_limit.")));
}

/* The fields in an array, as bits of the arguments that give them. */
static uint32
get_removed(FunctionCallInfo fcinfo, int argno)
{
	uint32		removed = 0;
	Datum	   *names;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(argno))
		return 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argno), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		AkName		name;
		int			given;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("field to remove must not be null")));
		name = ak_name_of_text(names[i]);
		given = find_removable(&name);
		if (!PG_ARGISNULL(given))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("field \"%.*s\" is both given and removed",
							name.len, name.data)));
		removed |= 1 << given;
	}
	return removed;
}

/* A null that is not meant to be removed changes nothing. */
static void
get_changes(FunctionCallInfo fcinfo, AkKeyChanges *changes)
{
	uint32		removed = get_removed(fcinfo, 7);

#define CHANGES(argno)	(!PG_ARGISNULL(argno) || (removed & 1 << (argno)) != 0)

	changes->label.change = !PG_ARGISNULL(1);
	if (changes->label.change)
		changes->label.value.value = ak_options_label(fcinfo, 1);

	changes->expires_at.change = CHANGES(2);
	changes->expires_at.value = ak_options_expiry(fcinfo, 2);

	changes->created_by.change = CHANGES(3);
	changes->created_by.value = fcinfo->args[3];

	changes->allowed_networks.change = CHANGES(4);
	changes->allowed_networks.value = ak_options_networks(fcinfo, 4);

	changes->metadata.change = CHANGES(5);
	changes->metadata.value = ak_options_metadata(fcinfo, 5);

	changes->change_limit = CHANGES(6);
	if (changes->change_limit)
		ak_options_rate_limit(fcinfo, 6, &changes->limit);
#undef CHANGES
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
							  ak_options_end(changes.expires_at.value));
	if (changes.allowed_networks.change)
		ak_actor_check_networks(&change.actor,
								ak_options_array(changes.allowed_networks.value));
	if (changes.change_limit)
		ak_actor_check_limit(&change.actor, &changes.limit);
	if (!ak_write_changes(&change.id, &changes))
		PG_RETURN_VOID();

	ak_detail_begin(&detail);
	add_change(&detail, "label", &changes.label, TEXTOID);
	add_change(&detail, "expires_at", &changes.expires_at, TIMESTAMPTZOID);
	add_change(&detail, "created_by", &changes.created_by, TEXTOID);
	add_change(&detail, "allowed_networks", &changes.allowed_networks,
			   CIDRARRAYOID);
	if (changes.metadata.change && !changes.metadata.value.isnull)
		ak_detail_add_jsonb(&detail, "metadata",
							DatumGetJsonbP(changes.metadata.value.value));
	else if (changes.metadata.change)
		ak_detail_add(&detail, "metadata", NULL);
	if (changes.change_limit)
		ak_detail_add(&detail, "rate_limit", changes.limit.count == 0 ? NULL :
					  ak_ratelimit_print(&changes.limit));
	record(&change, "update", &detail);
	PG_RETURN_VOID();
}
