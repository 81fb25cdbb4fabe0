/*
 * organization.h
 *		Calls of apikey_authorize_organization in a query.
 */
#ifndef AK_ORGANIZATION_H
#define AK_ORGANIZATION_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/*
 * Replace those that are conditions on a table of a query, before the planner looks at
 * these.
 */
extern void ak_organization_replace(PlannerInfo *root, RelOptInfo *rel);

#endif							/* AK_ORGANIZATION_H */
