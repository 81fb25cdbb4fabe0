/*
 * scope.c
 *		Levels, verbs, and the compiled grants of one key; see scope.h.
 */
#include "postgres.h"

#include "base/scope.h"

#include "port/pg_bitutils.h"

const AkName ak_scope_all = {"*", 1};

static const struct
{
	const char *verb;
	AkLevel		level;
}			verbs[] =

{
	{"read", AK_LEVEL_READ},
	{"write", AK_LEVEL_WRITE},
	{"manage", AK_LEVEL_MANAGE},
	/* HTTP methods */
	{"get", AK_LEVEL_READ},
	{"head", AK_LEVEL_READ},
	{"options", AK_LEVEL_READ},
	{"post", AK_LEVEL_WRITE},
	{"put", AK_LEVEL_WRITE},
	{"patch", AK_LEVEL_WRITE},
	/* SQL commands; DELETE is both */
	{"select", AK_LEVEL_READ},
	{"insert", AK_LEVEL_WRITE},
	{"update", AK_LEVEL_WRITE},
	{"delete", AK_LEVEL_MANAGE},
};

AkLevel
ak_scope_verb(const char *verb, int len)
{
	for (int i = 0; i < (int) lengthof(verbs); i++)
		if ((int) strlen(verbs[i].verb) == len &&
			pg_strncasecmp(verbs[i].verb, verb, len) == 0)
			return verbs[i].level;
	return AK_LEVEL_NONE;
}

const char *
ak_scope_level_name(AkLevel level)
{
	static const char *const names[AK_LEVELS] =
	{"none", "read", "write", "manage"};

	return names[level];
}

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
		uint32		hash = ak_scope_hash(&grant->project,
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

		if (ak_name_equal(&grant->project, &ak_scope_all))
			result->any_project = true;
		if (ak_name_equal(&grant->environment, &ak_scope_all))
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
probe(const AkGrants *grants, uint32 hash, const AkName *project,
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
probe_all(const AkGrants *grants, const AkName *project,
		  const AkName *environment)
{
	return probe(grants, ak_scope_hash(project, environment), project,
				 environment);
}

AkLevel
ak_grants_level(const AkGrants *grants, uint32 hash, const AkName *project,
				const AkName *environment)
{
	AkLevel		level = probe(grants, hash, project, environment);

	if (grants->any_environment)
		level = Max(level, probe_all(grants, project, &ak_scope_all));
	if (grants->any_project)
		level = Max(level, probe_all(grants, &ak_scope_all, environment));
	if (grants->any_project && grants->any_environment)
		level = Max(level, probe_all(grants, &ak_scope_all, &ak_scope_all));
	return level;
}
