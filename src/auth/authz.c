/*
 * authz.c
 *		Authorization: what may this key do?  See authz.h.
 */
#include "postgres.h"

#include "auth/authz.h"

#include "auth/registry.h"
#include "auth/staleness.h"
#include "base/clock.h"
#include "base/guc.h"
#include "miscadmin.h"
#include "table/schema.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

/* Why no key is good. */
static const AkReason stale_reasons[] = {
	[AK_STALE_COPYING] = AK_REASON_COPYING,
	[AK_STALE_UNHEARD] = AK_REASON_STALE,
	[AK_STALE_DEAF] = AK_REASON_DEAF
};

AkReason
ak_authz_check_key(const AkKey *key)
{
	if (key == NULL)
		return AK_REASON_INVALID_KEY;
	if (unlikely(key->superseded))
		return AK_REASON_SUPERSEDED;
	if (unlikely(key->revoked))
		return AK_REASON_REVOKED;
	if (key->expires_at != DT_NOEND &&
		key->expires_at <= ak_clock_now())
		return AK_REASON_EXPIRED;
	if (unlikely(key->disabled))
		return AK_REASON_DISABLED;
	if (unlikely(key->suspended))
		return key->quarantined ? AK_REASON_QUARANTINED : AK_REASON_SUSPENDED;
	if (unlikely(key->outside_networks))
		return AK_REASON_OUTSIDE_NETWORKS;
	if (ak_staleness_refuses())
		return stale_reasons[ak_staleness_why];
	return AK_REASON_GOOD;
}

AkReason
ak_authz_why_none(bool given, Size len)
{
	if (!given && len == 0)
		return AK_REASON_NO_KEY;
	return len > AK_KEY_TEXT_MAX ? AK_REASON_TOO_LONG : AK_REASON_INVALID_KEY;
}

AkLevel
ak_authz_level(const AkKey *key, const AkName *project,
			   const AkName *environment)
{
	uint32		hash = ak_grants_hash(project, environment);
	AkLevel		level = ak_grants_level(key->grants, hash, project,
										environment);

	/* foreign keys promise it, but no decision rests on them alone */
	if (level != AK_LEVEL_NONE &&
		!ak_registry_contains(&key->organization, key->organization_hash, hash,
							  project, environment))
		return AK_LEVEL_NONE;
	return level;
}

AkVerdict
ak_authz_judge_key(const AkKey *key)
{
	AkVerdict	verdict = {.reason = ak_authz_check_key(key)};

	verdict.inherited = key != NULL && key->extra != NULL &&
		(key->extra->inherited & 1 << verdict.reason) != 0;
	return verdict;
}

AkVerdict
ak_authz_project(const AkKey *key, const AkName *project,
				 const AkName *environment, AkLevel wanted)
{
	AkVerdict	verdict = ak_authz_judge_key(key);

	if (verdict.reason != AK_REASON_GOOD)
		return verdict;
	verdict.inherited = ak_keycache_ancestors(key) > 0;
	verdict.reason = AK_REASON_NOTHING_ASKED;
	if (project == NULL || environment == NULL || wanted == AK_LEVEL_NONE)
		return verdict;

	verdict.level = ak_authz_level(key, project, environment);
	verdict.reason = AK_REASON_UNREGISTERED;
	if (verdict.level == AK_LEVEL_NONE &&
		!ak_registry_contains(&key->organization, key->organization_hash,
							  ak_grants_hash(project, environment), project,
							  environment))
		return verdict;
	verdict.reason = AK_REASON_NO_GRANT;
	if (verdict.level == AK_LEVEL_NONE)
		return verdict;
	verdict.reason = AK_REASON_LOW_LEVEL;
	if (verdict.level < wanted)
		return verdict;
	verdict.reason = AK_REASON_GRANTED;
	return verdict;
}

bool
ak_authz_organization(const AkKey *key, const AkName *organization,
					  AkLevel wanted)
{
	return ak_authz_check_key(key) == AK_REASON_GOOD && organization != NULL &&
		wanted != AK_LEVEL_NONE && key->organization_level >= wanted &&
		ak_name_equal(organization, &key->organization);
}

void
ak_authz_refuse(const AkKey *key)
{
	AkVerdict	verdict = ak_authz_judge_key(key);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("invalid API key"),
			 errdetail_log("%s", ak_authz_reason(&verdict, key)),
			 errhidestmt(true)));
}

bool
ak_authz_tells(const char *view)
{
	Oid			oid = get_relname_relid(view, ak_schema_get()->namespace);

	return OidIsValid(oid) && !ak_guc_goes_by_key() &&
		pg_class_aclcheck(oid, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* What is said of a key, and of one where those that it is derived from matter. */
static const char *const reasons[AK_REASONS][2] = {
	[AK_REASON_INVALID_KEY] = {"invalid key"},
	[AK_REASON_NO_KEY] = {"no API key is logged in"},
	[AK_REASON_TOO_LONG] = {"key has more than " CppAsString2(AK_KEY_TEXT_MAX) " bytes"},
	[AK_REASON_SUPERSEDED] = {"secret is superseded: the key was given another"},
	[AK_REASON_REVOKED] = {
		"key is revoked", "key is derived from one that is revoked"
	},
	[AK_REASON_EXPIRED] = {
		"key is expired", "key is derived from one that is expired"
	},
	[AK_REASON_DISABLED] = {
		"key is disabled", "key is derived from one that is disabled"
	},
	[AK_REASON_SUSPENDED] = {"organization is suspended"},
	[AK_REASON_QUARANTINED] = {"database is quarantined"},
	[AK_REASON_OUTSIDE_NETWORKS] = {
		"address is not in the key's networks",
		"address is not in the networks of the key that it is derived from"
	},
	[AK_REASON_COPYING] = {"this database has not copied all keys of their publisher yet"},
	[AK_REASON_STALE] = {"this database has not heard from the publisher of its keys for too long"},
	[AK_REASON_DEAF] = {"this database does not notice changes of its keys: a trigger is disabled or missing"},
	[AK_REASON_OVER_LIMIT] = {"key is over its rate limit"},
	[AK_REASON_OVER_BUDGET] = {"key has spent its budget"},
	[AK_REASON_GOOD] = {"good"},
	[AK_REASON_NOTHING_ASKED] = {"project, environment or verb is null"},
	[AK_REASON_UNREGISTERED] = {
		"project or environment is not registered for the organization of the key"
	},
	[AK_REASON_NO_GRANT] = {
		"no grant on the project and environment",
		"no grant on the project and environment that the key shares with its parent"
	},
	[AK_REASON_LOW_LEVEL] = {
		"highest grant is ", "highest grant that the key shares with its parent is "
	},
	[AK_REASON_GRANTED] = {"granted: "}
};

char *
ak_authz_reason(const AkVerdict *verdict, const AkKey *key)
{
	const char *const *texts = reasons[verdict->reason];
	const char *reason = verdict->inherited && texts[1] != NULL ? texts[1] :
	texts[0];
	bool		leveled = verdict->reason >= AK_REASON_LOW_LEVEL;
	const AkName *note = key != NULL && key->extra != NULL ?
	&key->extra->note : NULL;
	bool		noted = note != NULL && note->len > 0 &&
	(verdict->reason == AK_REASON_REVOKED ||
	 verdict->reason == AK_REASON_DISABLED ||
	 verdict->reason == AK_REASON_SUSPENDED ||
	 verdict->reason == AK_REASON_QUARANTINED);

	if (noted)
		return psprintf("%s: %.*s", reason, note->len, note->data);
	return psprintf("%s%s", reason,
					leveled ? ak_level_name(verdict->level) : "");
}
