/*
 * grants.h
 *		The grants of one key, compiled into a hash table.
 *
 * AkGrants answers "which level on this project and environment?" by hash
 * probes: one for the exact pair, and one more for each kind of '*' that the
 * key has at all.  It is one piece of memory, which may be copied, and does not change.
 *
 * Whether a pair is registered, and for which organization, is for registry.h
 * to say.
 */
#ifndef AK_GRANTS_H
#define AK_GRANTS_H

#include "postgres.h"

#include "base/level.h"
#include "base/name.h"

typedef struct AkGrant
{
	AkName		project;		/* "*": all */
	AkName		environment;	/* "*": all */
	AkLevel		level;
} AkGrant;

typedef struct AkGrantSlot
{
	uint32		hash;
	uint32		names;			/* offset of project, then environment */
	uint16		project_len;
	uint16		environment_len;
	AkLevel		level;			/* AK_LEVEL_NONE: the slot is free */
} AkGrantSlot;

typedef struct AkGrants
{
	uint32		size;			/* bytes of all of it */
	uint32		count;
	uint32		mask;			/* number of slots, a power of two, less 1 */
	bool		any_project;	/* is there a grant on project '*'? */
	bool		any_environment;	/* is there one on environment '*'? */
	AkGrantSlot slots[FLEXIBLE_ARRAY_MEMBER];
} AkGrants;

/* Of several grants on one pair the highest counts.  palloc'd. */
extern AkGrants *ak_grants_make(const AkGrant *grants, int count);

/* The highest level of all grants that match; "hash" is ak_grants_hash's. */
extern AkLevel ak_grants_level(const AkGrants *grants, uint32 hash,
							   const AkName *project,
							   const AkName *environment);

/*
 * What two keys may both do: grants that give each pair the lower of the levels that
 * these give it.  palloc'd; the names are theirs.
 */
extern AkGrant *ak_grants_intersect(const AkGrant *a, int acount,
									const AkGrant *b, int bcount, int *count);

/* The grant in slot "i" <= mask; false if the slot is free. */
extern bool ak_grants_slot(const AkGrants *grants, uint32 i, AkGrant *grant);

/*
 * Hash of a project and an environment: eight bytes at a time by multiplying
 * and folding, which for names costs a third of hash_bytes().  The last eight
 * may overlap those before; of shorter names all bytes are in the word.
 */
static inline uint64
ak_grants_hash_word(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
	return hash ^ (hash >> 32);
}

static inline uint64
ak_grants_hash_add(uint64 hash, const char *data, int len)
{
	uint64		word = 0;
	uint32		ends[2];

	hash += len;
	if (len >= 8)
	{
		for (int i = 0; i < len - 8; i += 8)
		{
			memcpy(&word, data + i, 8);
			hash = ak_grants_hash_word(hash, word);
		}
		memcpy(&word, data + len - 8, 8);
	}
	else if (len >= 4)
	{
		memcpy(&ends[0], data, 4);
		memcpy(&ends[1], data + len - 4, 4);
		word = (uint64) ends[0] << 32 | ends[1];
	}
	else if (len > 0)
		word = (uint64) (uint8) data[0] << 16 |
			(uint64) (uint8) data[len / 2] << 8 | (uint8) data[len - 1];
	return ak_grants_hash_word(hash, word);
}

static inline uint32
ak_grants_hash(const AkName *project, const AkName *environment)
{
	uint64		hash = ak_grants_hash_add(0, project->data, project->len);

	return (uint32) ak_grants_hash_add(hash, environment->data,
									   environment->len);
}

#endif							/* AK_GRANTS_H */
