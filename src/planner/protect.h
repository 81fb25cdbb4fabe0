/*
 * protect.h
 *		Row-level security on a table of the application.
 */
#ifndef AK_PROTECT_H
#define AK_PROTECT_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/nodes.h"
#include "planner/protection.h"

/*
 * What the policies of a table let read, palloc'd, as the condition of a query of this
 * table alone; how it is protected, and by which columns.  NULL if it is not.  The
 * condition calls nothing but the function that decides.
 */
extern Node *ak_protect_condition(Oid relation, const AkProtection **protection,
								  AttrNumber *columns);

#endif							/* AK_PROTECT_H */
