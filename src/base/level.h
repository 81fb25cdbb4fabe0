/*
 * level.h
 *		The levels of a grant, and the verbs that ask for them.
 */
#ifndef AK_LEVEL_H
#define AK_LEVEL_H

#include "postgres.h"

/* Each includes those before it. */
typedef enum AkLevel
{
	AK_LEVEL_NONE = 0,
	AK_LEVEL_READ,
	AK_LEVEL_WRITE,
	AK_LEVEL_MANAGE
} AkLevel;

#define AK_LEVELS			4

/* The level that a verb asks for, in upper or lower case; NONE for an unknown verb. */
extern AkLevel ak_level_of_verb(const char *verb, int len);

/* "none", "read", "write" or "manage". */
extern const char *ak_level_name(AkLevel level);

#endif							/* AK_LEVEL_H */
