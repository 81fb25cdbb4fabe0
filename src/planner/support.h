/*
 * support.h
 *		Calls of apikey_authorize in a query.
 */
#ifndef AK_SUPPORT_H
#define AK_SUPPORT_H

#include "postgres.h"

#include "planner/estimate.h"

/*
 * Is this a call of apikey_authorize?  A backend that plans a query with one has called
 * its support function before it looks at any table, and so knows.
 */
extern bool ak_support_is_call(Node *clause);

/* The arguments of such a call, with or without a key. */
extern AkCall ak_support_call(List *args);

/*
 * A call of the function that lists the projects, or environments, of a call, as an array
 * of this type: within the other of its names, or if that is NULL, in any.  NULL if it may
 * not be called.
 */
extern Node *ak_support_list(const AkCall *call, AkReachOf of, Oid type, Oid collation);

/* The verb that asks for no more than any other. */
extern Node *ak_support_least_verb(void);

/*
 * Does another call on the table "rel" let no row through that a call with these
 * arguments does not, as it asks for more of the same, or for as much and stands before?
 */
extern bool ak_support_is_implied(RelOptInfo *rel, List *args, AkLevel level);

#endif							/* AK_SUPPORT_H */
