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

Size
ak_grants_size(const AkGrant *grants, int count)
{
	Size		size = offsetof(AkGrants, slots) +
	slot_count(count) * sizeof(AkGrantSlot);

	for (int i = 0; i < count; i++)
		size += grants[i].project.len + grants[i].environment.len;
	return size;
}

void
ak_grants_compile(AkGrants *result, const AkGrant *grants, int count)
{
	uint32		nslots = slot_count(count);
	Size		names = offsetof(AkGrants, slots) +
	nslots * sizeof(AkGrantSlot);

	memset(result, 0, names);
	result->count = count;
	result->mask = nslots - 1;
	for (int i = 0; i < count; i++)
	{
		const AkGrant *grant = &grants[i];
		uint32		hash = ak_grants_hash(&grant->project,
										  &grant->environment);
		uint32		at = hash & result->mask;
		AkGrantSlot *slot;

		while (result->slots[at].level != AK_LEVEL_NONE)
			at = (at + 1) & result->mask;
		slot = &result->slots[at];
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
		const AkGrantSlot *slot = &grants->slots[at];
		const char *names = (const char *) grants + slot->names;

		if (slot->level == AK_LEVEL_NONE)
			return AK_LEVEL_NONE;
		if (slot->hash == hash && slot->project_len == project->len &&
			slot->environment_len == environment->len &&
			memcmp(names, project->data, project->len) == 0 &&
			memcmp(names + project->len, environment->data,
				   environment->len) == 0)
			return slot->level;
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
