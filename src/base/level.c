/*
 * level.c
 *		The levels of a grant, and the verbs that ask for them; see level.h.
 */
#include "postgres.h"

#include "base/level.h"

typedef struct Verb
{
	const char *name;
	AkLevel		level;
} Verb;

static const Verb verbs[] =
{
	{"read", AK_LEVEL_READ},
	{"write", AK_LEVEL_WRITE},
	{"manage", AK_LEVEL_MANAGE},
	/* HTTP methods */
	{"get", AK_LEVEL_READ},
	{"head", AK_LEVEL_READ},
	{"options", AK_LEVEL_READ},
	{"post", AK_LEVEL_WRITE},
	{"put", AK_LEVEL_WRITE},
	{"patch", AK_LEVEL_WRITE},
	/* SQL commands; DELETE is both */
	{"select", AK_LEVEL_READ},
	{"insert", AK_LEVEL_WRITE},
	{"update", AK_LEVEL_WRITE},
	{"delete", AK_LEVEL_MANAGE},
};

AkLevel
ak_level_of_verb(const char *verb, int len)
{
	for (int i = 0; i < (int) lengthof(verbs); i++)
		if ((int) strlen(verbs[i].name) == len &&
			pg_strncasecmp(verbs[i].name, verb, len) == 0)
			return verbs[i].level;
	return AK_LEVEL_NONE;
}

const char *
ak_level_name(AkLevel level)
{
	static const char *const names[AK_LEVELS] =
	{"none", "read", "write", "manage"};

	return names[level];
}
