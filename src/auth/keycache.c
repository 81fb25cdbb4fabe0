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
AkCacheStats ak_keycache_stats;

static MemoryContext context;
static AkKey **buckets;
static uint32 nbuckets;			/* a power of two */
static dlist_head recency = DLIST_STATIC_INIT(recency); /* newest first */

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

	if (nbuckets > 0 && ak_keycache_stats.keys < nbuckets)
		return;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey keys",
										ALLOCSET_DEFAULT_SIZES);
	new = MemoryContextAllocExtended(context, wanted * sizeof(AkKey *),
									 MCXT_ALLOC_ZERO |
									 (old ? MCXT_ALLOC_NO_OOM : 0));
	if (new == NULL)
		return;
	ak_keycache_stats.bytes += wanted * sizeof(AkKey *) - nbuckets * sizeof(AkKey *);
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
	ak_keycache_stats.keys--;
	ak_keycache_stats.bytes -= GetMemoryChunkSpace(key);
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
	ak_keycache_stats.hits++;
	return key;
}

AkKeyExtra *
ak_keycache_extra(AkKey *key)
{
	if (key->extra == NULL)
		key->extra = palloc0(sizeof(AkKeyExtra));
	return key->extra;
}

/* Copy into what was allocated for an entry, at "*to", which goes on. */
static void *
put_bytes(char **to, const void *from, Size size)
{
	void	   *copy = *to;

	if (size > 0)
		memcpy(copy, from, size);
	*to += MAXALIGN(size);
	return copy;
}

/*
 * One allocation: the key, its grants, its organization, and what most keys do not
 * have.
 */
static AkKey *
make_entry(const AkKey *from, const AkGrant *grants, int ngrants)
{
	Size		grants_size = MAXALIGN(ak_grants_size(grants, ngrants));
	Size		size = MAXALIGN(sizeof(AkKey)) + grants_size +
	MAXALIGN(from->organization.len) +
	(from->extra ? MAXALIGN(sizeof(AkKeyExtra)) +
	 MAXALIGN(from->extra->note.len) : 0) +
	(from->uncommitted ? MAXALIGN(sizeof(AkMoment)) : 0) +
	(from->limit ? MAXALIGN(sizeof(AkRateLimit)) : 0);
	char	   *to = MemoryContextAllocHuge(context, size);
	AkKey	   *key = put_bytes(&to, from, sizeof(AkKey));

	key->grants = (AkGrants *) to;
	ak_grants_compile(key->grants, grants, ngrants);
	to += grants_size;
	key->organization.data = put_bytes(&to, from->organization.data,
									   from->organization.len);
	if (from->extra != NULL)
	{
		key->extra = put_bytes(&to, from->extra, sizeof(AkKeyExtra));
		key->extra->note.data = put_bytes(&to, from->extra->note.data,
										  from->extra->note.len);
	}
	if (from->limit != NULL)
		key->limit = put_bytes(&to, from->limit, sizeof(AkRateLimit));
	if (from->uncommitted)
	{
		key->moment = (AkMoment *) to;
		ak_inval_set_moment((AkMoment *) to);
	}
	return key;
}

const AkKey *
ak_keycache_add(const AkKey *from, const AkGrant *grants, int ngrants)
{
	AkKey	   *key;
	AkKey	  **bucket;

	grow_buckets();
	key = make_entry(from, grants, ngrants);
	bucket = bucket_of(key->digest);
	key->next = *bucket;
	*bucket = key;
	dlist_push_head(&recency, &key->recency);
	ak_keycache_stats.keys++;
	ak_keycache_stats.bytes += GetMemoryChunkSpace(key);
	ak_keycache_stats.builds++;

	while (ak_keycache_stats.bytes > (int64) ak_guc_cache_size * 1024 &&
		   ak_keycache_stats.keys > 1)
	{
		discard_key(dlist_container(AkKey, recency, dlist_tail_node(&recency)));
		ak_keycache_stats.evictions++;
	}
	return key;
}
