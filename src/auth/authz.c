/*
 * authz.c
 *		What may this key do?  See authz.h.
 */
#include "postgres.h"

#include "auth/authz.h"

#include "auth/registry.h"
#include "base/clock.h"

AkReason
ak_authz_check_key(const AkKey *key)
{
	if (key == NULL)
		return AK_REASON_INVALID_KEY;
	if (unlikely(key->revoked))
		return AK_REASON_REVOKED;
	if (key->expires_at != DT_NOEND &&
		key->expires_at <= ak_clock_now())
		return AK_REASON_EXPIRED;
	if (unlikely(key->disabled))
		return AK_REASON_DISABLED;
	if (unlikely(key->outside_networks))
		return AK_REASON_OUTSIDE_NETWORKS;
	return AK_REASON_GOOD;
}

/*
 * The level on a pair, and whether it is registered for the organization.
 * Where the key has no grant the registry is not asked: "registered" is true.
 */
static inline AkLevel
find_level(const AkKey *key, const AkName *project, const AkName *environment,
		   bool *registered)
{
	uint32		hash = ak_grants_hash(project, environment);
	AkLevel		level = ak_grants_level(key->grants, hash, project,
										environment);

	*registered = level == AK_LEVEL_NONE ||
		ak_registry_contains(&key->organization, hash, project, environment);
	return *registered ? level : AK_LEVEL_NONE;
}

AkLevel
ak_authz_level(const AkKey *key, const AkName *project,
			   const AkName *environment)
{
	bool		registered;

	return find_level(key, project, environment, &registered);
}

AkVerdict
ak_authz_project(const AkKey *key, const AkName *project,
				 const AkName *environment, AkLevel wanted)
{
	AkVerdict	verdict = {ak_authz_check_key(key), AK_LEVEL_NONE};
	bool		registered;

	if (verdict.reason != AK_REASON_GOOD)
		return verdict;
	verdict.reason = AK_REASON_NOTHING_ASKED;
	if (project == NULL || environment == NULL || wanted == AK_LEVEL_NONE)
		return verdict;

	verdict.level = find_level(key, project, environment, &registered);
	verdict.reason = AK_REASON_UNREGISTERED;
	if (!registered)
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

AkVerdict
ak_authz_explain(const AkKey *key, const AkName *project,
				 const AkName *environment, AkLevel wanted)
{
	AkVerdict	verdict = ak_authz_project(key, project, environment, wanted);

	if (verdict.reason == AK_REASON_NO_GRANT &&
		!ak_registry_contains(&key->organization,
							  ak_grants_hash(project, environment), project,
							  environment))
		verdict.reason = AK_REASON_UNREGISTERED;
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
ak_authz_refuse(AkReason reason)
{
	AkVerdict	verdict = {reason, AK_LEVEL_NONE};

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("invalid API key"),
			 errdetail_log("%s", ak_authz_reason(&verdict)),
			 errhidestmt(true)));
}

char *
ak_authz_reason(const AkVerdict *verdict)
{
	const char *level = ak_level_name(verdict->level);

	switch (verdict->reason)
	{
		case AK_REASON_INVALID_KEY:
			return pstrdup("invalid key");
		case AK_REASON_NO_KEY:
			return pstrdup("no API key is logged in");
		case AK_REASON_REVOKED:
			return pstrdup("key is revoked");
		case AK_REASON_EXPIRED:
			return pstrdup("key is expired");
		case AK_REASON_DISABLED:
			return pstrdup("key is disabled");
		case AK_REASON_OUTSIDE_NETWORKS:
			return pstrdup("address is not in the key's networks");
		case AK_REASON_OVER_LIMIT:
			return pstrdup("key is over its rate limit");
		case AK_REASON_GOOD:
		case AK_REASON_NOTHING_ASKED:
			return pstrdup("project, environment or verb is null");
		case AK_REASON_UNREGISTERED:
			return pstrdup("project or environment is not registered for the organization of the key");
		case AK_REASON_NO_GRANT:
			return pstrdup("no grant on the project and environment");
		case AK_REASON_LOW_LEVEL:
			return psprintf("highest grant is %s", level);
		case AK_REASON_GRANTED:
			return psprintf("granted: %s", level);
	}
	pg_unreachable();
}
