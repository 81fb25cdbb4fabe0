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
	uint64		number;			/* of the last message of which it is known
								 * that it did not end the answer */
	uint32		hash;			/* of all three */
	AkPart		part;			/* of the registry, that it rests on */
	bool		registered;		/* the answer */
	uint16		organization_len;
	uint16		project_len;
	uint16		environment_len;
	char		names[FLEXIBLE_ARRAY_MEMBER];	/* the three, one after
												 * another */
} Pair;

/* What is asked. */
typedef struct Question
{
	const AkName *organization;
	const AkName *project;
	const AkName *environment;
	uint32		organization_hash;
	uint32		hash;			/* of all three */
} Question;

Size		ak_registry_bytes;

static MemoryContext context;	/* holds buckets and pairs, nothing else */
static Pair **buckets;

/* Start anew if what is cached is too much, or nothing yet. */
static void
prepare_buckets(void)
{
	if (buckets != NULL && ak_registry_bytes < AK_REGISTRY_BYTES)
		return;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey registry",
										ALLOCSET_DEFAULT_SIZES);
	buckets = NULL;
	MemoryContextReset(context);
	ak_registry_bytes = BUCKETS * sizeof(Pair *);
	buckets = MemoryContextAllocZero(context, ak_registry_bytes);
}

static Pair *
find_pair(const Question *question)
{
	const AkName *organization = question->organization;
	const AkName *project = question->project;
	const AkName *environment = question->environment;
	Pair	   *pair = buckets[question->hash % BUCKETS];

	while (pair != NULL &&
		   !(pair->hash == question->hash &&
			 pair->organization_len == organization->len &&
			 pair->project_len == project->len &&
			 pair->environment_len == environment->len &&
			 memcmp(pair->names, organization->data, organization->len) == 0 &&
			 memcmp(pair->names + organization->len, project->data,
					project->len) == 0 &&
			 memcmp(pair->names + organization->len + project->len,
					environment->data, environment->len) == 0))
		pair = pair->next;
	return pair;
}

/* Cache a pair whose answer is not known yet. */
static Pair *
cache_pair(const Question *question)
{
	const AkName *organization = question->organization;
	const AkName *project = question->project;
	const AkName *environment = question->environment;
	Size		size = offsetof(Pair, names) + organization->len + project->len +
	environment->len;
	Pair	   *pair = MemoryContextAlloc(context, size);
	char	   *names = pair->names;

	pair->number = 0;
	pair->hash = question->hash;
	pair->part = ak_inval_part(AK_TOPIC_REGISTRY, question->organization_hash);
	pair->registered = false;
	pair->organization_len = organization->len;
	pair->project_len = project->len;
	pair->environment_len = environment->len;
	memcpy(names, organization->data, organization->len);
	names += organization->len;
	memcpy(names, project->data, project->len);
	names += project->len;
	memcpy(names, environment->data, environment->len);
	pair->next = buckets[question->hash % BUCKETS];
	buckets[question->hash % BUCKETS] = pair;
	ak_registry_bytes += size;
	return pair;
}

/* Read the answer from the table. */
static void
read_answer(const Question *question, Pair *pair)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey registry scan",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	Snapshot	snapshot;
	AkEnvironmentRow row;
	uint64		number = 0;
	bool		registered = false;

	AK_STORE_READ(snapshot)
	{
		number = ak_inval_number;
		registered = ak_store_environment(snapshot, question->project,
										  question->environment, &row) &&
			ak_name_equal(&row.organization, question->organization);
	}
	pair->registered = registered;
	pair->number = number;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
}

bool
ak_registry_contains(const AkName *organization, uint32 organization_hash,
					 uint32 hash, const AkName *project,
					 const AkName *environment)
{
	Question	question = {
		organization, project, environment, organization_hash,
		hash + organization_hash
	};
	Pair	   *pair;

	if (organization->len > AK_NAME_MAX || project->len > AK_NAME_MAX ||
		environment->len > AK_NAME_MAX ||
		ak_name_equal(environment, &ak_name_all))
		return false;
	prepare_buckets();
	pair = find_pair(&question);
	if (pair == NULL)
		pair = cache_pair(&question);
	if (unlikely(pair->number != ak_inval_number))
	{
		if (pair->number == 0 || ak_inval_ended(pair->part, pair->number))
			read_answer(&question, pair);
		else
			pair->number = ak_inval_number;
	}
	return pair->registered;
}
