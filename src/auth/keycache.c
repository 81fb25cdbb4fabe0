/*
 * keycache.c
 *		The key cache; see keycache.h.
 *
 * A chained hash table whose chains and order of use run through the entries,
 * so that adding one can fail only before anything has changed.
 */
#include "postgres.h"

#include "auth/keycache.h"

#include "utils/memutils.h"

#define MIN_BUCKETS		1024

uint64		ak_keycache_epoch = 1;

static MemoryContext context;
static AkKey **buckets;
static uint32 nbuckets;			/* a power of two */
static dlist_head recency = DLIST_STATIC_INIT(recency); /* newest first */
static AkCacheStats counts;

/* The digest is as good as random. */
static AkKey **
bucket_of(const uint8 *digest)
{
	uint32		hash;

	memcpy(&hash, digest, sizeof(hash));
	return &buckets[hash & (nbuckets - 1)];
}

/* Make room in the table for one more; if memory is short, chains get longer. */
static void
grow_buckets(void)
{
	uint32		wanted = nbuckets == 0 ? MIN_BUCKETS : nbuckets * 2;
	AkKey	  **old = buckets;
	AkKey	  **new;
	dlist_iter	iter;

	if (nbuckets > 0 && counts.keys < nbuckets)
		return;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey keys",
										ALLOCSET_DEFAULT_SIZES);
	new = MemoryContextAllocExtended(context, wanted * sizeof(AkKey *),
									 MCXT_ALLOC_ZERO |
									 (old ? MCXT_ALLOC_NO_OOM : 0));
	if (new == NULL)
		return;
	counts.bytes += wanted * sizeof(AkKey *) - nbuckets * sizeof(AkKey *);
	buckets = new;
	nbuckets = wanted;
	dlist_foreach(iter, &recency)
	{
		AkKey	   *key = dlist_container(AkKey, recency, iter.cur);
		AkKey	  **bucket = bucket_of(key->digest);

		key->next = *bucket;
		*bucket = key;
	}
	if (old)
		pfree(old);
}

static void
discard_key(AkKey *key)
{
	AkKey	  **link = bucket_of(key->digest);

	while (*link != key)
		link = &(*link)->next;
	*link = key->next;
	dlist_delete(&key->recency);
	counts.keys--;
	counts.bytes -= GetMemoryChunkSpace(key);
	ak_keycache_epoch++;
	pfree(key);
}

const AkKey *
ak_keycache_find(const uint8 digest[AK_HASH_LEN])
{
	AkKey	   *key;

	if (nbuckets == 0)
		return NULL;
	key = *bucket_of(digest);
	while (key != NULL && memcmp(key->digest, digest, AK_HASH_LEN) != 0)
		key = key->next;
	if (key == NULL)
		return NULL;
	if (!ak_keycache_usable(key))
	{
		discard_key(key);
		return NULL;
	}
	dlist_move_head(&recency, &key->recency);
	counts.hits++;
	return key;
}

/*
 * One allocation: the key, its grants, its organization, and what most keys do not
 * have, a moment and a limit.
 */
static AkKey *
make_entry(const AkVerified *verified)
{
	const AkKeyRow *row = &verified->row;
	Size		grants = MAXALIGN(sizeof(AkKey));
	Size		organization = grants +
	MAXALIGN(ak_grants_size(verified->grants, verified->ngrants));
	Size		moment = organization + MAXALIGN(row->organization.len);
	Size		limit = moment +
	(verified->uncommitted ? MAXALIGN(sizeof(AkMoment)) : 0);
	char	   *memory = MemoryContextAllocHuge(context, limit +
												(row->limit.count > 0 ?
												 sizeof(AkRateLimit) : 0));
	AkKey	   *key = memset(memory, 0, sizeof(AkKey));

	key->generation = verified->generation;
	key->proof_ends = verified->proof_ends;
	key->address = verified->address;
	key->slow = verified->slow;
	key->uncommitted = verified->uncommitted;
	key->id = verified->id;
	key->revoked = row->revoked;
	key->disabled = row->disabled;
	key->outside_networks = verified->outside_networks;
	key->organization_level = row->organization_level;
	key->expires_at = row->expires_at;
	key->grants = (AkGrants *) (memory + grants);
	ak_grants_compile(key->grants, verified->grants, verified->ngrants);
	key->organization.data = memcpy(memory + organization,
									row->organization.data,
									row->organization.len);
	key->organization.len = row->organization.len;
	if (verified->uncommitted)
	{
		key->moment = (AkMoment *) (memory + moment);
		ak_inval_set_moment((AkMoment *) (memory + moment));
	}
	if (row->limit.count > 0)
		key->limit = memcpy(memory + limit, &row->limit, sizeof(AkRateLimit));
	return key;
}

const AkKey *
ak_keycache_add(const uint8 digest[AK_HASH_LEN], const AkVerified *verified)
{
	AkKey	   *key;
	AkKey	  **bucket;

	grow_buckets();
	key = make_entry(verified);
	memcpy(key->digest, digest, AK_HASH_LEN);
	bucket = bucket_of(digest);
	key->next = *bucket;
	*bucket = key;
	dlist_push_head(&recency, &key->recency);
	counts.keys++;
	counts.bytes += GetMemoryChunkSpace(key);
	counts.builds++;

	while (counts.bytes > (int64) ak_guc_cache_size * 1024 && counts.keys > 1)
	{
		discard_key(dlist_container(AkKey, recency, dlist_tail_node(&recency)));
		counts.evictions++;
	}
	return key;
}

AkCacheStats
ak_keycache_stats(void)
{
	return counts;
}
