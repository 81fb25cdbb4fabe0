/*
 * authz.c
 *		What may this key do?  See authz.h.
 */
#include "postgres.h"

#include "authz.h"

#include "access/xact.h"
#include "registry.h"
#include "store.h"

AkReason
ak_authz_alive(const AkKey *key)
{
	if (key == NULL)
		return AK_REASON_INVALID_KEY;
	if (unlikely(key->revoked))
		return AK_REASON_REVOKED;
	if (key->expires_at != DT_NOEND &&
		key->expires_at <= GetCurrentStatementStartTimestamp())
		return AK_REASON_EXPIRED;
	if (unlikely(key->disabled))
		return AK_REASON_DISABLED;
	if (unlikely(key->elsewhere))
		return AK_REASON_ELSEWHERE;
	return AK_REASON_ALIVE;
}

static bool
memo_matches(const AkPairMemo *memo, const AkKey *key, const AkName *project,
			 const AkName *environment)
{
	return memo->key == key && memo->key_epoch == ak_keycache_epoch &&
		memo->registry_generation == ak_inval_generation(AK_TOPIC_REGISTRY) &&
		memo->project_len == project->len &&
		memo->environment_len == environment->len &&
		memcmp(memo->names, project->data, project->len) == 0 &&
		memcmp(memo->names + project->len, environment->data,
			   environment->len) == 0;
}

/*
 * The level on a pair, and whether it is registered for the organization.
 * Where the key has no grant the registry is not asked: "registered" is true.
 */
static AkLevel
find_level(const AkKey *key, const AkName *project, const AkName *environment,
		   bool *registered)
{
	uint32		hash = ak_scope_hash(project, environment);
	AkLevel		level = ak_grants_level(key->grants, hash, project,
										environment);

	*registered = level == AK_LEVEL_NONE ||
		ak_registry_contains(&key->organization, hash, project, environment);
	return *registered ? level : AK_LEVEL_NONE;
}

AkVerdict
ak_authz_project(const AkKey *key, AkPairMemo *memo, const AkName *project,
				 const AkName *environment, AkLevel wanted)
{
	AkVerdict	verdict = {ak_authz_alive(key), AK_LEVEL_NONE};
	bool		registered;

	if (verdict.reason != AK_REASON_ALIVE)
		return verdict;
	verdict.reason = AK_REASON_NOTHING_ASKED;
	if (project == NULL || environment == NULL || wanted == AK_LEVEL_NONE)
		return verdict;

	if (memo_matches(memo, key, project, environment))
	{
		verdict.level = memo->level;
		registered = memo->registered;
	}
	else
	{
		uint64		generation = ak_inval_generation(AK_TOPIC_REGISTRY);

		memo->key = NULL;
		verdict.level = find_level(key, project, environment, &registered);
		if (project->len + environment->len <= (int) sizeof(memo->names))
		{
			memcpy(memo->names, project->data, project->len);
			memcpy(memo->names + project->len, environment->data,
				   environment->len);
			memo->project_len = project->len;
			memo->environment_len = environment->len;
			memo->level = verdict.level;
			memo->registered = registered;
			memo->registry_generation = generation;
			memo->key_epoch = ak_keycache_epoch;
			memo->key = key;
		}
	}

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
	AkPairMemo	memo = {0};
	AkVerdict	verdict = ak_authz_project(key, &memo, project, environment,
										   wanted);

	if (verdict.reason == AK_REASON_NO_GRANT &&
		!ak_registry_contains(&key->organization,
							  ak_scope_hash(project, environment), project,
							  environment))
		verdict.reason = AK_REASON_UNREGISTERED;
	return verdict;
}

bool
ak_authz_organization(const AkKey *key, const AkName *organization,
					  AkLevel wanted)
{
	return ak_authz_alive(key) == AK_REASON_ALIVE && organization != NULL &&
		wanted != AK_LEVEL_NONE && key->organization_level >= wanted &&
		ak_name_equal(organization, &key->organization);
}

/* Collects project names. */
typedef struct Names
{
	AkName	   *data;
	int			count;
	int			room;
} Names;

static void
add_name(Names *names, const AkName *name)
{
	if (names->count == names->room)
	{
		names->room *= 2;
		names->data = repalloc_huge(names->data,
									names->room * sizeof(AkName));
	}
	names->data[names->count++] = *name;
}

static int
compare_names(const void *a, const void *b)
{
	const AkName *x = a;
	const AkName *y = b;
	int			order = memcmp(x->data, y->data, Min(x->len, y->len));

	return order != 0 ? order : x->len - y->len;
}

/* Add the projects of those rows where the key has the level. */
static void
add_rows(Names *names, const AkKey *key, AkLevel wanted,
		 const AkName *environment, const AkEnvironmentRow *rows, int count)
{
	for (int i = 0; i < count; i++)
	{
		const AkEnvironmentRow *row = &rows[i];

		if (ak_name_equal(&row->organization, &key->organization) &&
			(environment == NULL ||
			 ak_name_equal(&row->environment, environment)) &&
			ak_grants_level(key->grants,
							ak_scope_hash(&row->project, &row->environment),
							&row->project, &row->environment) >= wanted)
			add_name(names, &row->project);
	}
}

/* Add the project of one grant, which is not on '*'. */
static void
add_grant(Names *names, const AkKey *key, AkLevel wanted,
		  const AkName *environment, const AkGrant *grant, Snapshot snapshot)
{
	bool		all = ak_name_equal(&grant->environment, &ak_scope_all);
	const AkName *asked = all ? environment : &grant->environment;

	if (grant->level < wanted)
		return;
	if (asked == NULL)
	{
		AkEnvironmentRow *rows;
		int			count = ak_store_project(snapshot, &grant->project, &rows);

		add_rows(names, key, wanted, NULL, rows, count);
	}
	else if ((environment == NULL || ak_name_equal(asked, environment)) &&
			 ak_registry_contains(&key->organization,
								  ak_scope_hash(&grant->project, asked),
								  &grant->project, asked))
		add_name(names, &grant->project);
}

int
ak_authz_projects(const AkKey *key, AkLevel wanted, const AkName *environment,
				  AkName **projects)
{
	Names		names = {palloc(16 * sizeof(AkName)), 0, 16};
	Snapshot	snapshot;
	int			unique = 0;

	*projects = names.data;
	if (ak_authz_alive(key) != AK_REASON_ALIVE || wanted == AK_LEVEL_NONE)
		return 0;

	snapshot = ak_store_snapshot();
	if (key->grants->any_project)
	{
		AkEnvironmentRow *rows;
		int			count = ak_store_organization(snapshot,
												  &key->organization, &rows);

		add_rows(&names, key, wanted, environment, rows, count);
	}
	else
	{
		AkGrant		grant;

		for (uint32 i = 0; i <= key->grants->mask; i++)
			if (ak_grants_slot(key->grants, i, &grant))
				add_grant(&names, key, wanted, environment, &grant, snapshot);
	}
	ak_store_release(snapshot);

	qsort(names.data, names.count, sizeof(AkName), compare_names);
	for (int i = 0; i < names.count; i++)
		if (unique == 0 ||
			!ak_name_equal(&names.data[i], &names.data[unique - 1]))
			names.data[unique++] = names.data[i];
	*projects = names.data;
	return unique;
}

char *
ak_authz_reason(const AkVerdict *verdict)
{
	const char *level = ak_scope_level_name(verdict->level);

	switch (verdict->reason)
	{
		case AK_REASON_INVALID_KEY:
			return pstrdup("invalid key");
		case AK_REASON_REVOKED:
			return pstrdup("key is revoked");
		case AK_REASON_EXPIRED:
			return pstrdup("key is expired");
		case AK_REASON_DISABLED:
			return pstrdup("key is disabled");
		case AK_REASON_ELSEWHERE:
			return pstrdup("address is not in the key's networks");
		case AK_REASON_ALIVE:
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
