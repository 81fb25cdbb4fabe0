/*
 * scope.h
 *		Levels, verbs, and the compiled grants of one key.
 *
 * AkGrants answers "which level on this project and environment?" by hash
 * probes: one for the exact pair, and one more for each kind of '*' that the
 * key has at all.  It is one flat piece of memory without pointers into
 * itself but the offsets of its names, made by ak_grants_compile() in memory
 * of the caller's, and immutable.
 *
 * Whether a pair is registered, and for which organization, is not known
 * here: see registry.h.
 */
#ifndef AK_SCOPE_H
#define AK_SCOPE_H

#include "postgres.h"

/* Bytes that an organization, project or environment may have. */
#define AK_NAME_MAX			512

typedef enum AkLevel
{
	AK_LEVEL_NONE = 0,
	AK_LEVEL_READ,
	AK_LEVEL_WRITE,
	AK_LEVEL_MANAGE
} AkLevel;

#define AK_LEVELS			4

/* A string with its length, not NUL-terminated, not owned. */
typedef struct AkName
{
	const char *data;
	int			len;
} AkName;

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
	uint32		count;
	uint32		mask;			/* number of slots, a power of two, less 1 */
	bool		any_project;	/* is there a grant on project '*'? */
	bool		any_environment;	/* is there one on environment '*'? */
	AkGrantSlot slots[FLEXIBLE_ARRAY_MEMBER];
} AkGrants;

extern const AkName ak_scope_all;	/* "*" */

/* Level that a verb asks for, or AK_LEVEL_NONE if there is no such verb. */
extern AkLevel ak_scope_verb(const char *verb, int len);

/* "none", "read", "write" or "manage". */
extern const char *ak_scope_level_name(AkLevel level);

extern Size ak_grants_size(const AkGrant *grants, int count);
extern void ak_grants_compile(AkGrants *result, const AkGrant *grants,
							  int count);

/* The highest level of all grants that match; "hash" is ak_scope_hash's. */
extern AkLevel ak_grants_level(const AkGrants *grants, uint32 hash,
							   const AkName *project,
							   const AkName *environment);

/* The grant in slot "i" <= mask; false if the slot is free. */
extern bool ak_grants_slot(const AkGrants *grants, uint32 i, AkGrant *grant);

static inline bool
ak_name_equal(const AkName *a, const AkName *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Bytewise. */
static inline int
ak_name_compare(const AkName *a, const AkName *b)
{
	int			order = memcmp(a->data, b->data, Min(a->len, b->len));

	return order != 0 ? order : a->len - b->len;
}

/*
 * Hash of a project and an environment: eight bytes at a time by multiplying
 * and folding, which for names costs a third of hash_bytes().  The last eight
 * may overlap those before; of shorter names all bytes are in the word.
 */
static inline uint64
ak_scope_hash_word(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
	return hash ^ (hash >> 32);
}

static inline uint64
ak_scope_hash_add(uint64 hash, const char *data, int len)
{
	uint64		word = 0;
	uint32		ends[2];

	hash += len;
	if (len >= 8)
	{
		for (int i = 0; i < len - 8; i += 8)
		{
			memcpy(&word, data + i, 8);
			hash = ak_scope_hash_word(hash, word);
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
	return ak_scope_hash_word(hash, word);
}

static inline uint32
ak_scope_hash(const AkName *project, const AkName *environment)
{
	uint64		hash = ak_scope_hash_add(0, project->data, project->len);

	return (uint32) ak_scope_hash_add(hash, environment->data,
									  environment->len);
}

#endif							/* AK_SCOPE_H */
