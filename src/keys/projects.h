/*
 * projects.h
 *		The registry: adding and removing projects.
 */
#ifndef AK_PROJECTS_H
#define AK_PROJECTS_H

#include "postgres.h"

#include "base/grants.h"
#include "fmgr.h"

/*
 * The environments in argument "argno", a text[], not null; palloc'd.  Returns how
 * many.  Raises 22023 and 22004 for what cannot be one, and 22023 if there is none.
 */
extern int	ak_projects_environments(FunctionCallInfo fcinfo, int argno,
									 AkName **environments);

/*
 * Register projects, each of one organization, with these environments; what
 * is registered already is completed.  Raises 23505 if another organization
 * has one, 22023 for "*".
 */
extern void ak_projects_add(const AkName *organizations,
							const AkName *projects, int count,
							const AkName *environments, int nenvironments);

/*
 * Remove those that are registered for these organizations, with all grants on
 * them.
 */
extern void ak_projects_remove(const AkName *organizations,
							   const AkName *projects, int count);

/*
 * Raise 23503 for a grant on what is not registered for the organization.
 * Whether another organization has it makes no difference.
 */
extern void ak_projects_check(const AkName *organization,
							  const AkGrant *grant);

#endif							/* AK_PROJECTS_H */
