/*
 * actor.c
 *		Changes of keys: by the application, or by a key?  See actor.h.
 */
#include "postgres.h"

#include "keys/actor.h"

#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/lineage.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/redact.h"
#include "catalog/pg_type.h"
#include "table/schema.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"

pg_noreturn static void
refuse_actor(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied by API key"),
			 errdetail("%s", detail),
			 errhidestmt(true)));	/* the log-in may be part of it */
}

void
ak_actor_refuse_key(void)
{
	if (!ak_guc_goes_by_key())
		return;
	if (!ak_authn_has_session())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied in a session that must have an API key"),
				 errdetail("This is for the application itself.")));
	refuse_actor("This is for the application itself, not for a session with a key.");
}

void
ak_actor_record(const AkEvent *event)
{
	const AkKey *key = ak_guc_goes_by_key() ? ak_authn_session() : NULL;
	AkEvent		complete = *event;
	pg_uuid_t	id;

	/* whoever has a superseded secret does not act for the key */
	if (key != NULL && !key->superseded)
	{
		id = key->id;			/* the key may be forgotten meanwhile */
		complete.acting_key = &id;
	}
	ak_event_append(NULL, &complete);
}

void
ak_actor_get(AkActor *actor)
{
	AkKeyRow	row;
	Snapshot	snapshot;
	bool		found = false;

	memset(actor, 0, sizeof(AkActor));
	ak_schema_accept();
	if (!ak_guc_goes_by_key())
		return;
	actor->limited = true;
	actor->key = ak_authn_session();
	ak_authn_require_session(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION);
	if (ak_authz_check_key(actor->key) != AK_REASON_GOOD)
		ak_authz_refuse(actor->key);
	if (actor->key->organization_level < AK_LEVEL_WRITE)
		refuse_actor("Changing keys takes organization level write.");
	actor->key_id = actor->key->id;

	AK_STORE_READ(snapshot)
	{
		found = ak_store_key(snapshot, &actor->key_id, &row);
		actor->has_budget = ak_store_has_budget(snapshot, &actor->key_id);
		actor->max_derived = ak_store_max_derived(snapshot, &actor->key_id);
	}
	if (!found)
		refuse_actor("The key of the session has just been deleted.");
	actor->networks = row.allowed_networks;
}

void
ak_actor_check_new(const AkActor *actor)
{
	if (actor->has_budget)
		refuse_actor("The key of the session has a budget, and makes or changes no other key.");
}

void
ak_actor_check_organization(const AkActor *actor, const AkName *organization)
{
	if (actor->limited &&
		!ak_name_equal(organization, &actor->key->organization))
		refuse_actor("The key of the session belongs to another organization.");
}

/*
 * Does the actor hold this?  As names of the pair, '*' finds just the grants on
 * '*', which are those that cover all.
 */
static bool
holds_grant(const AkActor *actor, const AkGrant *grant)
{
	return ak_grants_level(actor->key->grants,
						   ak_grants_hash(&grant->project, &grant->environment),
						   &grant->project,
						   &grant->environment) >= grant->level;
}

void
ak_actor_check_grant(const AkActor *actor, const AkGrant *grant)
{
	if (actor->limited && !holds_grant(actor, grant))
		refuse_actor(psprintf("The key of the session has no level %s on project \"%s\", environment \"%s\".",
							  ak_level_name(grant->level),
							  ak_redact_name(&grant->project),
							  ak_redact_name(&grant->environment)));
}

void
ak_actor_check_level(const AkActor *actor, AkLevel level)
{
	if (actor->limited && level > actor->key->organization_level)
		refuse_actor("The key of the session has a lower organization level.");
}

void
ak_actor_check_expiry(const AkActor *actor, TimestampTz expires_at)
{
	if (actor->limited && expires_at > actor->key->expires_at)
		refuse_actor("The key of the session expires earlier.");
}

/* Is each of the inner networks within one of the outer ones? */
static bool
are_networks_within(Datum inner, Datum outer)
{
	Datum	   *networks[2];
	bool	   *nulls[2];
	int			count[2];
	Datum		both[2] = {inner, outer};

	for (int i = 0; i < 2; i++)
		deconstruct_array(DatumGetArrayTypeP(both[i]), CIDROID, -1, false,
						  TYPALIGN_INT, &networks[i], &nulls[i], &count[i]);
	for (int i = 0; i < count[0]; i++)
	{
		bool		found = nulls[0][i];	/* no client is in a null */

		for (int j = 0; !found && j < count[1]; j++)
			found = !nulls[1][j] &&
				DatumGetBool(DirectFunctionCall2(network_subeq,
												 networks[0][i],
												 networks[1][j]));
		if (!found)
			return false;
	}
	return true;
}

void
ak_actor_check_networks(const AkActor *actor, Datum networks)
{
	if (actor->limited && actor->networks != (Datum) 0 &&
		(networks == (Datum) 0 || !are_networks_within(networks, actor->networks)))
		refuse_actor("The key of the session is limited to other networks.");
}

void
ak_actor_check_limit(const AkActor *actor, const AkRateLimit *limit)
{
	const AkRateLimit *own = actor->limited ? ak_keycache_limit(actor->key) : NULL;

	if (own != NULL && !ak_ratelimit_within(limit, own))
		refuse_actor("The key of the session has a lower rate limit.");
}

void
ak_actor_check_derived(const AkActor *actor, int max_derived)
{
	if (actor->limited && max_derived > actor->max_derived)
		refuse_actor("No more keys may be derived from the key of the session.");
}

bool
ak_actor_check_key(const AkActor *actor, const pg_uuid_t *key_id)
{
	pg_uuid_t	id = *key_id;
	Snapshot	snapshot;
	AkKeyRow	row;
	AkGrant    *grants;
	int			ngrants = 0;
	int			max_derived = 0;
	bool		uncommitted = false;
	bool		found = false;

	if (!actor->limited)
		return true;
	AK_STORE_READ(snapshot)
	{
		id = *key_id;
		found = ak_store_key(snapshot, &id, &row) &&
			ak_lineage_root(snapshot, &id, &row);
		ngrants = ak_store_grants(snapshot, &id, &grants, &uncommitted);
		max_derived = ak_store_max_derived(snapshot, &id);
	}
	if (!found ||
		!ak_name_equal(&row.organization, &actor->key->organization))
		return false;

	if (memcmp(&id, &actor->key_id, sizeof(pg_uuid_t)) != 0)
		ak_actor_check_new(actor);
	ak_actor_check_level(actor, row.organization_level);
	ak_actor_check_expiry(actor, row.expires_at);
	ak_actor_check_networks(actor, row.allowed_networks);
	ak_actor_check_limit(actor, &row.limit);
	ak_actor_check_derived(actor, max_derived);
	for (int i = 0; i < ngrants; i++)
		ak_actor_check_grant(actor, &grants[i]);
	return true;
}
