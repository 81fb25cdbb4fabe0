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
 * Does another call on the table "rel" let no row through that a call with these
 * arguments does not, as it asks for more of the same, or for as much and stands before?
 */
extern bool ak_support_is_implied(RelOptInfo *rel, List *args, AkLevel level);

#endif							/* AK_SUPPORT_H */
