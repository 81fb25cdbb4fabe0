/*
 * registry.c
 *		The registry cache; see registry.h.
 */
#include "postgres.h"

#include "auth/registry.h"

#include "base/inval.h"
#include "table/store.h"
#include "utils/memutils.h"

#define BUCKETS		4096

typedef struct Pair
{
	struct Pair *next;
	uint32		hash;
	uint16		project_len;
	uint16		environment_len;
	uint16		organization_len;	/* 0: not registered */
	char		names[FLEXIBLE_ARRAY_MEMBER];	/* the three, one after
												 * another */
} Pair;

Size		ak_registry_bytes;

static MemoryContext context;	/* holds buckets and pairs, nothing else */
static Pair **buckets;
static uint64 buckets_generation;

/* Start anew if what is cached is outdated, too much, or nothing yet. */
static void
prepare_buckets(void)
{
	if (buckets != NULL && ak_registry_bytes < AK_REGISTRY_BYTES &&
		buckets_generation == ak_inval_generation(AK_TOPIC_REGISTRY))
		return;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey registry",
										ALLOCSET_DEFAULT_SIZES);
	buckets = NULL;
	MemoryContextReset(context);
	ak_registry_bytes = BUCKETS * sizeof(Pair *);
	buckets = MemoryContextAllocZero(context, ak_registry_bytes);
	buckets_generation = ak_inval_generation(AK_TOPIC_REGISTRY);
}

static Pair *
find_pair(uint32 hash, const AkName *project, const AkName *environment)
{
	Pair	   *pair = buckets[hash % BUCKETS];

	while (pair != NULL &&
		   !(pair->hash == hash && pair->project_len == project->len &&
			 pair->environment_len == environment->len &&
			 memcmp(pair->names, project->data, project->len) == 0 &&
			 memcmp(pair->names + project->len, environment->data,
					environment->len) == 0))
		pair = pair->next;
	return pair;
}

static Pair *
cache_pair(uint32 hash, const AkName *project, const AkName *environment,
		   const AkName *organization)
{
	Size		size = offsetof(Pair, names) + project->len +
	environment->len + organization->len;
	Pair	   *pair = MemoryContextAlloc(context, size);
	char	   *names = pair->names;

	pair->hash = hash;
	pair->project_len = project->len;
	pair->environment_len = environment->len;
	pair->organization_len = organization->len;
	memcpy(names, project->data, project->len);
	names += project->len;
	memcpy(names, environment->data, environment->len);
	names += environment->len;
	memcpy(names, organization->data, organization->len);
	pair->next = buckets[hash % BUCKETS];
	buckets[hash % BUCKETS] = pair;
	ak_registry_bytes += size;
	return pair;
}

/* Read the pair from the table, and cache it. */
static Pair *
read_pair(uint32 hash, const AkName *project, const AkName *environment)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey registry scan",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	Snapshot	snapshot;
	AkEnvironmentRow row;
	Pair	   *pair;

	AK_STORE_READ(snapshot)
	{
		row.organization = ak_name_make("", 0);
		(void) ak_store_environment(snapshot, project, environment, &row);
	}
	pair = cache_pair(hash, project, environment, &row.organization);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	return pair;
}

bool
ak_registry_contains(const AkName *organization, uint32 hash,
					 const AkName *project, const AkName *environment)
{
	Pair	   *pair;

	if (project->len > AK_NAME_MAX || environment->len > AK_NAME_MAX ||
		ak_name_equal(environment, &ak_name_all))
		return false;
	prepare_buckets();
	pair = find_pair(hash, project, environment);
	if (pair == NULL)
		pair = read_pair(hash, project, environment);
	return pair->organization_len > 0 &&
		pair->organization_len == organization->len &&
		memcmp(pair->names + pair->project_len + pair->environment_len,
			   organization->data, organization->len) == 0;
}
