/*
 * protection.h
 *		The two ways to protect a table: by project and environment of a row, or by its
 *		organization.
 */
#ifndef AK_PROTECTION_H
#define AK_PROTECTION_H

#include "postgres.h"

#define AK_PROTECTION_COLUMNS	2	/* at most */

typedef struct AkProtection
{
	const char *function;		/* of SQL, that makes it */
	const char *decide;			/* and the one that is asked about a row */
	int			ncolumns;		/* that this one is given */
	const char *level;			/* what it looks at, in words */
	const char *verb_of_delete; /* all other changes need "write" */
} AkProtection;

extern const AkProtection ak_protection_by_project;
extern const AkProtection ak_protection_by_organization;

#endif							/* AK_PROTECTION_H */
