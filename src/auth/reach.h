/*
 * reach.h
 *		How far does a key reach: in which projects, or environments, may it do
 *		this?
 *
 * The same rules as in authz.h, for all that is registered at once.  The
 * lists made last are cached, as long as the grants of the key and the registry of its
 * organization stay what they were: a query asks again for each scan, and each rescan, of
 * a table.
 */
#ifndef AK_REACH_H
#define AK_REACH_H

#include "postgres.h"

#include "auth/keycache.h"
#include "base/level.h"
#include "base/name.h"

/* Bytes that may be cached; the newest list stays even if it is larger. */
#define AK_REACH_BYTES		(1024 * 1024)

typedef enum AkReachOf
{
	AK_REACH_PROJECTS = 0,
	AK_REACH_ENVIRONMENTS
} AkReachOf;

/*
 * The projects where this key, NULL for a bad one, has the level: in the
 * environment "within" or, if that is NULL, in any.  Or the environments where
 * it has it, in the project "within" or in any.  Returns how many; they are
 * sorted bytewise, without duplicates, and good until the next call.
 */
extern int	ak_reach_list(const AkKey *key, AkLevel level, AkReachOf of,
						  const AkName *within, const AkName **names);

/* Is the name in such a list? */
extern bool ak_reach_contains(const AkName *names, int count,
							  const AkName *name);

extern Size ak_reach_bytes(void);

#endif							/* AK_REACH_H */
