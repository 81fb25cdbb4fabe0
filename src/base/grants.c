/*
 * grants.c
 *		The compiled grants of one key; see grants.h.
 */
#include "postgres.h"

#include "base/grants.h"

#include "port/pg_bitutils.h"

/* Number of slots for so many grants: at most two thirds are taken. */
static uint32
slot_count(int count)
{
	return pg_nextpower2_32(count + count / 2 + 1);
}

/* Is the slot, which is taken, that of this pair? */
static inline bool
is_slot_of(const AkGrants *grants, uint32 at, uint32 hash, const AkName *project,
		   const AkName *environment)
{
	const AkGrantSlot *slot = &grants->slots[at];
	const char *names = (const char *) grants + slot->names;

	return slot->hash == hash && slot->project_len == project->len &&
		slot->environment_len == environment->len &&
		memcmp(names, project->data, project->len) == 0 &&
		memcmp(names + project->len, environment->data, environment->len) == 0;
}

static Size
size_of_grants(const AkGrant *grants, int count)
{
	Size		size = offsetof(AkGrants, slots) +
	slot_count(count) * sizeof(AkGrantSlot);

	for (int i = 0; i < count; i++)
		size += grants[i].project.len + grants[i].environment.len;
	return size;
}

AkGrants *
ak_grants_make(const AkGrant *grants, int count)
{
	Size		size = size_of_grants(grants, count);
	AkGrants   *result = palloc_extended(size, MCXT_ALLOC_HUGE);
	uint32		nslots = slot_count(count);
	Size		names = offsetof(AkGrants, slots) +
	nslots * sizeof(AkGrantSlot);

	memset(result, 0, names);
	result->size = size;
	result->count = count;
	result->mask = nslots - 1;
	for (int i = 0; i < count; i++)
	{
		const AkGrant *grant = &grants[i];
		uint32		hash = ak_grants_hash(&grant->project,
										  &grant->environment);
		uint32		at = hash & result->mask;
		AkGrantSlot *slot;

		while (result->slots[at].level != AK_LEVEL_NONE &&
			   !is_slot_of(result, at, hash, &grant->project, &grant->environment))
			at = (at + 1) & result->mask;
		slot = &result->slots[at];
		if (slot->level != AK_LEVEL_NONE)
		{
			slot->level = Max(slot->level, grant->level);
			result->count--;
			continue;
		}
		slot->hash = hash;
		slot->names = names;
		slot->project_len = grant->project.len;
		slot->environment_len = grant->environment.len;
		slot->level = grant->level;
		memcpy((char *) result + names, grant->project.data,
			   grant->project.len);
		names += grant->project.len;
		memcpy((char *) result + names, grant->environment.data,
			   grant->environment.len);
		names += grant->environment.len;

		if (ak_name_equal(&grant->project, &ak_name_all))
			result->any_project = true;
		if (ak_name_equal(&grant->environment, &ak_name_all))
			result->any_environment = true;
	}
	return result;
}

bool
ak_grants_slot(const AkGrants *grants, uint32 i, AkGrant *grant)
{
	const AkGrantSlot *slot = &grants->slots[i];

	if (slot->level == AK_LEVEL_NONE)
		return false;
	grant->project.data = (const char *) grants + slot->names;
	grant->project.len = slot->project_len;
	grant->environment.data = grant->project.data + slot->project_len;
	grant->environment.len = slot->environment_len;
	grant->level = slot->level;
	return true;
}

/* The level of the one grant on just this pair. */
static inline AkLevel
probe_grant(const AkGrants *grants, uint32 hash, const AkName *project,
			const AkName *environment)
{
	for (uint32 at = hash & grants->mask;; at = (at + 1) & grants->mask)
	{
		if (grants->slots[at].level == AK_LEVEL_NONE)
			return AK_LEVEL_NONE;
		if (is_slot_of(grants, at, hash, project, environment))
			return grants->slots[at].level;
	}
}

static AkLevel
probe_grant_on_all(const AkGrants *grants, const AkName *project,
				   const AkName *environment)
{
	return probe_grant(grants, ak_grants_hash(project, environment), project,
					   environment);
}

AkLevel
ak_grants_level(const AkGrants *grants, uint32 hash, const AkName *project,
				const AkName *environment)
{
	AkLevel		level = probe_grant(grants, hash, project, environment);

	if (grants->any_environment)
		level = Max(level, probe_grant_on_all(grants, project, &ak_name_all));
	if (grants->any_project)
		level = Max(level, probe_grant_on_all(grants, &ak_name_all, environment));
	if (grants->any_project && grants->any_environment)
		level = Max(level, probe_grant_on_all(grants, &ak_name_all, &ak_name_all));
	return level;
}

/* ---------------------------------------------------------- intersection */

/*
 * A pair that both give is in a grant of one that the other gives as a whole, or in a
 * grant on all environments of a project and one on an environment of all projects.
 */
typedef struct Intersection
{
	AkGrant    *grants;
	int			count;
} Intersection;

static void
add_grant_of_both(Intersection *both, const AkName *project,
				  const AkName *environment, AkLevel level)
{
	AkGrant    *grant = &both->grants[both->count];

	if (level == AK_LEVEL_NONE)
		return;
	grant->project = *project;
	grant->environment = *environment;
	grant->level = level;
	both->count++;
}

/* Those of "from" that the other key has, up to the level that it has there. */
static void
add_given(Intersection *both, const AkGrant *from, int count,
		  const AkGrants *other)
{
	for (int i = 0; i < count; i++)
	{
		const AkGrant *grant = &from[i];
		AkLevel		level = ak_grants_level(other,
											ak_grants_hash(&grant->project,
														   &grant->environment),
											&grant->project, &grant->environment);

		add_grant_of_both(both, &grant->project, &grant->environment,
						  Min(level, grant->level));
	}
}

static bool
is_on_project(const AkGrant *grant)
{
	return !ak_name_equal(&grant->project, &ak_name_all) &&
		ak_name_equal(&grant->environment, &ak_name_all);
}

static bool
is_on_environment(const AkGrant *grant)
{
	return ak_name_equal(&grant->project, &ak_name_all) &&
		!ak_name_equal(&grant->environment, &ak_name_all);
}

static int
count_grants(const AkGrant *grants, int count, bool (*of_kind) (const AkGrant *))
{
	int			result = 0;

	for (int i = 0; i < count; i++)
		result += of_kind(&grants[i]);
	return result;
}

/* All environments of a project in one, an environment of all projects in the other. */
static void
add_crossing(Intersection *both, const AkGrant *on_projects, int projects,
			 const AkGrant *on_environments, int environments)
{
	for (int i = 0; i < projects; i++)
		for (int j = 0; is_on_project(&on_projects[i]) && j < environments; j++)
			if (is_on_environment(&on_environments[j]))
				add_grant_of_both(both, &on_projects[i].project,
								  &on_environments[j].environment,
								  Min(on_projects[i].level,
									  on_environments[j].level));
}

AkGrant *
ak_grants_intersect(const AkGrant *a, int acount, const AkGrant *b, int bcount,
					int *count)
{
	Size		room = (Size) acount + bcount +
	(Size) count_grants(a, acount, is_on_project) *
	count_grants(b, bcount, is_on_environment) +
	(Size) count_grants(b, bcount, is_on_project) *
	count_grants(a, acount, is_on_environment);
	Intersection both = {
		palloc_extended(room * sizeof(AkGrant), MCXT_ALLOC_HUGE), 0
	};

	add_given(&both, a, acount, ak_grants_make(b, bcount));
	add_given(&both, b, bcount, ak_grants_make(a, acount));
	add_crossing(&both, a, acount, b, bcount);
	add_crossing(&both, b, bcount, a, acount);
	*count = both.count;
	return both.grants;
}
