/*
 * keycache.c
 *		The key cache; see keycache.h.
 *
 * A chained hash table whose chains and order of use run through the entries,
 * so that adding one can fail only before anything has changed.
 */
#include "postgres.h"

#include "auth/keycache.h"

#include "shmem/tally.h"
#include "utils/memutils.h"

#define MIN_BUCKETS		1024

uint64		ak_keycache_epoch = 1;
AkCacheStats ak_keycache_stats;

static MemoryContext context;
static AkKey **buckets;
static uint32 nbuckets;			/* a power of two */
static dlist_head recency = DLIST_STATIC_INIT(recency); /* newest first */
static uint64 last_serial;		/* of grants */

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

void
ak_keycache_discard(const AkKey *outdated)
{
	AkKey	   *key = unconstify(AkKey *, outdated);
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

/* Has this topic ended, since the entry was read, for the key or one of its ancestors? */
static bool
has_ended(const AkKey *key, AkTopic topic)
{
	uint32		hash = ak_inval_hash(&key->id, sizeof(pg_uuid_t));

	if (ak_inval_ended(ak_inval_part(topic, hash), key->number))
		return true;
	for (int i = 0; i < ak_keycache_ancestors(key); i++)
	{
		hash = ak_inval_hash(&key->extra->ancestors[i], sizeof(pg_uuid_t));
		if (ak_inval_ended(ak_inval_part(topic, hash), key->number))
			return true;
	}
	return false;
}

static bool
has_suspension_ended(const AkKey *key)
{
	return ak_inval_ended(ak_inval_part(AK_TOPIC_SUSPENSION,
										key->organization_hash), key->number);
}

bool
ak_keycache_renew(const AkKey *key)
{
	if (has_ended(key, AK_TOPIC_KEY) || has_ended(key, AK_TOPIC_GRANTS) ||
		has_suspension_ended(key))
		return false;
	unconstify(AkKey *, key)->number = ak_inval_number;
	return true;
}

/*
 * No message has named the grants.  But the key was read by a snapshot that may see a
 * commit whose message is still to come: of the key and its grants, it may have changed
 * both.  So all else must be what it was, too: then the entry is, as a whole, what was
 * true before that commit.  That there is no suspension may be so anew, which no version
 * shows.
 */
bool
ak_keycache_keep_grants(AkKey *key, const AkKey *outdated)
{
	if (outdated == NULL || outdated->uncommitted || key->uncommitted ||
		outdated->version != key->version ||
		outdated->suspended != key->suspended ||
		has_suspension_ended(outdated) || has_ended(outdated, AK_TOPIC_GRANTS))
		return false;
	key->grants = outdated->grants;
	key->grants_serial = outdated->grants_serial;
	return true;
}

const AkKey *
ak_keycache_find(const uint8 digest[AK_HASH_LEN], const AkKey **outdated)
{
	AkKey	   *key;

	*outdated = NULL;
	if (nbuckets == 0)
		return NULL;
	key = *bucket_of(digest);
	while (key != NULL && memcmp(key->digest, digest, AK_HASH_LEN) != 0)
		key = key->next;
	if (key == NULL)
		return NULL;
	if (!ak_keycache_usable(key))
	{
		*outdated = key;
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

/* One allocation: the key, its grants, its organization, and what few keys have. */
static AkKey *
make_entry(const AkKey *from)
{
	Size		size = MAXALIGN(sizeof(AkKey)) + MAXALIGN(from->grants->size) +
	MAXALIGN(from->organization.len) +
	(from->extra ? MAXALIGN(sizeof(AkKeyExtra)) +
	 MAXALIGN(from->extra->note.len) : 0);
	char	   *to = MemoryContextAllocHuge(context, size);
	AkKey	   *key = put_bytes(&to, from, sizeof(AkKey));

	key->grants = put_bytes(&to, from->grants, from->grants->size);
	if (key->grants_serial == 0)
		key->grants_serial = ++last_serial;
	key->organization.data = put_bytes(&to, from->organization.data,
									   from->organization.len);
	if (from->extra != NULL)
	{
		key->extra = put_bytes(&to, from->extra, sizeof(AkKeyExtra));
		key->extra->note.data = put_bytes(&to, from->extra->note.data,
										  from->extra->note.len);
	}
	return key;
}

const AkKey *
ak_keycache_add(AkKey *from, const AkKey *outdated)
{
	AkKey	   *key;
	AkKey	  **bucket;

	if (from->uncommitted)
		ak_inval_set_moment(&ak_keycache_extra(from)->moment);
	grow_buckets();
	key = make_entry(from);
	if (outdated != NULL)
		ak_keycache_discard(outdated);
	bucket = bucket_of(key->digest);
	key->next = *bucket;
	*bucket = key;
	dlist_push_head(&recency, &key->recency);
	ak_keycache_stats.keys++;
	ak_keycache_stats.bytes += GetMemoryChunkSpace(key);
	ak_keycache_stats.builds++;
	ak_tally_count(AK_TALLY_BUILDS);

	while (ak_keycache_stats.bytes > (int64) ak_guc_cache_size * 1024 &&
		   ak_keycache_stats.keys > 1)
	{
		ak_keycache_discard(dlist_container(AkKey, recency,
											dlist_tail_node(&recency)));
		ak_keycache_stats.evictions++;
		ak_tally_count(AK_TALLY_EVICTIONS);
	}
	return key;
}
