/*
 * keycache.h
 *		The key cache: keys that this backend has verified, by the digest of their
 *		text.
 *
 * An entry holds what decisions need of a key that has proved itself, whether it
 * may be used or not.  It never changes, except for what use.c counts.  It is
 * usable while no message has come in about the key, its grants, those of the keys that
 * it is derived from, or the suspension of its organization; while the secret
 * that proved it is as good as it was, and, if the key has networks, the client's
 * address is the same; if it rests on rows written by this transaction, only at the
 * moment at which it was made.
 *
 * A pointer to an entry stays good while ak_keycache_epoch stays the same: any call
 * of ak_keycache_find() or ak_keycache_add() may end it.
 *
 * The least recently used go when apikey.cache_size is full; the newest always
 * stays.
 */
#ifndef AK_KEYCACHE_H
#define AK_KEYCACHE_H

#include "postgres.h"

#include "base/clock.h"
#include "base/grants.h"
#include "base/guc.h"
#include "base/inval.h"
#include "base/secret.h"
#include "lib/ilist.h"
#include "table/store.h"

/* So many ancestors a key may have: what is derived from one that has them is refused. */
#define AK_ANCESTORS_MAX	4

/* What use.c counted of a key, in which statement last, and where. */
typedef struct AkUse
{
	TimestampTz statement;
	int32		last;			/* see ak_counts_add() */
	bool		asked;
	bool		refused;
} AkUse;

/* What few keys have. */
typedef struct AkKeyExtra
{
	AkName		note;			/* why revoked, else disabled, else suspended
								 * or quarantined */
	uint32		inherited;		/* bits of AkReasons that are an ancestor's */
	int			nancestors;
	pg_uuid_t	ancestors[AK_ANCESTORS_MAX];	/* the parent first */
	int32		last[AK_ANCESTORS_MAX]; /* the same of them as in AkUse */
	AkRateLimit limit;			/* count 0: there is none */
	AkMoment	moment;			/* at which it was cached, if uncommitted */
} AkKeyExtra;

/*
 * With one grant on a project of a short name it takes 256 bytes with all that belongs to
 * it, and twice as much if it were longer: an AllocSet rounds up.
 */
typedef struct AkKey
{
	/* private to keycache.c */
	dlist_node	recency;
	struct AkKey *next;			/* in the same bucket */

	/* what it takes to be found, and usable */
	uint8		digest[AK_HASH_LEN];
	TimestampTz proof_ends;		/* the secret is as good until then */
	uint64		address;		/* serial of the client's address, 0 for any */
	uint64		number;			/* of the last message of which it is known
								 * that it did not end it */
	pg_uuid_t	id;
	bool		uncommitted;	/* rests on rows written by this transaction */

	bool		slow;			/* proved by a slow hash */
	bool		old_secret;		/* proved by the secret before a rotation ... */
	bool		superseded;		/* ... whose overlap is over: it opens nothing */
	bool		revoked;
	bool		disabled;
	bool		suspended;		/* its organization is, or ... */
	bool		quarantined;	/* ... the database, since it was made */
	bool		outside_networks;	/* the client is in none of its networks */
	AkLevel		organization_level;
	uint32		organization_hash;	/* see inval.h */
	uint32		version;		/* of the rows but for grants and suspension */
	TimestampTz expires_at;		/* DT_NOEND: never */
	AkName		organization;
	AkKeyExtra *extra;			/* NULL: nothing of that */
	const AkGrants *grants;		/* of it and its ancestors, worked out */
	uint64		grants_serial;	/* another one each time that they are read */
	AkUse		use;			/* what changes, with extra->last */
} AkKey;

extern uint64 ak_keycache_epoch;

/* Have all messages come in about something else?  Then it is as good as read now. */
extern bool ak_keycache_renew(const AkKey *key);

static inline bool
ak_keycache_usable(const AkKey *key)
{
	return (key->number == ak_inval_number || ak_keycache_renew(key)) &&
		(key->proof_ends == DT_NOEND ||
		 key->proof_ends > ak_clock_now()) &&
		(key->address == 0 || key->address == ak_guc_address_serial) &&
		(!key->uncommitted || ak_inval_is_moment(&key->extra->moment));
}

/* Its rate limit; NULL for none. */
static inline const AkRateLimit *
ak_keycache_limit(const AkKey *key)
{
	return key->extra != NULL && key->extra->limit.count > 0 ?
		&key->extra->limit : NULL;
}

/* How many keys is it derived from? */
static inline int
ak_keycache_ancestors(const AkKey *key)
{
	return key->extra != NULL ? key->extra->nancestors : 0;
}

/* Whose limit and budget does it draw from?  It may be the key itself. */
static inline const pg_uuid_t *
ak_keycache_root(const AkKey *key)
{
	int			count = ak_keycache_ancestors(key);

	return count > 0 ? &key->extra->ancestors[count - 1] : &key->id;
}

/* Room for what few keys have, of a key that is still to be added; palloc'd. */
extern AkKeyExtra *ak_keycache_extra(AkKey *key);

/*
 * The usable key of this digest, or NULL.  Then *outdated is the entry that it had, or
 * NULL.
 */
extern const AkKey *ak_keycache_find(const uint8 digest[AK_HASH_LEN],
									 const AkKey **outdated);

/*
 * May a key that has just been read, all but its grants, have those of its outdated
 * entry?  If so, gives it them.
 */
extern bool ak_keycache_keep_grants(AkKey *key, const AkKey *outdated);

/*
 * Add a copy of a key of which all is filled in but what is private to keycache.c, in
 * place of the outdated entry, unless that is NULL.
 */
extern const AkKey *ak_keycache_add(AkKey *from, const AkKey *outdated);

/* Discard an outdated entry. */
extern void ak_keycache_discard(const AkKey *outdated);

typedef struct AkCacheStats
{
	int64		keys;			/* that are in it now */
	int64		bytes;
	int64		hits;			/* since the backend started, and so on */
	int64		builds;
	int64		evictions;
} AkCacheStats;

/* Read by others. */
extern AkCacheStats ak_keycache_stats;

#endif							/* AK_KEYCACHE_H */
