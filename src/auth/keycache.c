/*
 * keycache.c
 *		Keys that this backend has verified; see keycache.h.
 *
 * A chained hash table whose chains and order of use run through the entries,
 * so that adding one can fail only before anything has changed.  One entry is
 * one allocation.
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
grow(void)
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
discard(AkKey *key)
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
		discard(key);
		return NULL;
	}
	dlist_move_head(&recency, &key->recency);
	counts.hits++;
	return key;
}

const AkKey *
ak_keycache_add(const uint8 digest[AK_HASH_LEN], const AkVerified *verified)
{
	const AkKeyRow *row = &verified->row;
	Size		grants_size = ak_grants_size(verified->grants,
											 verified->ngrants);
	Size		size = MAXALIGN(sizeof(AkKey)) + MAXALIGN(grants_size) +
	row->organization.len;
	AkKey	   *key;
	AkKey	  **bucket;
	char	   *end;

	/* most keys have neither a moment nor a limit */
	size = MAXALIGN(size) + (verified->own ? MAXALIGN(sizeof(AkMoment)) : 0) +
		(row->limit.count > 0 ? sizeof(AkRateLimit) : 0);
	grow();
	key = MemoryContextAllocHuge(context, size);
	memset(key, 0, sizeof(AkKey));
	memcpy(key->digest, digest, AK_HASH_LEN);
	key->generation = verified->generation;
	key->proof_ends = verified->proof_ends;
	key->address = verified->address;
	key->slow = verified->slow;
	key->transient = verified->own;
	key->id = verified->id;
	key->revoked = row->revoked;
	key->disabled = row->disabled;
	key->outside_networks = verified->outside_networks;
	key->organization_level = row->organization_level;
	key->expires_at = row->expires_at;
	key->grants = (AkGrants *) ((char *) key + MAXALIGN(sizeof(AkKey)));
	ak_grants_compile(key->grants, verified->grants, verified->ngrants);
	end = (char *) key->grants + MAXALIGN(grants_size);
	memcpy(end, row->organization.data, row->organization.len);
	key->organization = ak_name_make(end, row->organization.len);
	end += MAXALIGN(row->organization.len);
	if (verified->own)
	{
		ak_inval_set_moment((AkMoment *) end);
		key->moment = (AkMoment *) end;
		end += MAXALIGN(sizeof(AkMoment));
	}
	if (row->limit.count > 0)
		key->limit = memcpy(end, &row->limit, sizeof(AkRateLimit));

	bucket = bucket_of(digest);
	key->next = *bucket;
	*bucket = key;
	dlist_push_head(&recency, &key->recency);
	counts.keys++;
	counts.bytes += GetMemoryChunkSpace(key);
	counts.builds++;

	while (counts.bytes > (int64) ak_guc_cache_size * 1024 && counts.keys > 1)
	{
		discard(dlist_container(AkKey, recency, dlist_tail_node(&recency)));
		counts.evictions++;
	}
	return key;
}

void
ak_keycache_stats(AkCacheStats *stats)
{
	*stats = counts;
}
