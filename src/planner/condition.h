/*
 * condition.h
 *		What the conditions are made of that calls of our functions are turned into.
 */
#ifndef AK_CONDITION_H
#define AK_CONDITION_H

#include "postgres.h"

#include "base/level.h"
#include "nodes/nodes.h"

/* The level that a constant verb asks for; AK_LEVEL_NONE for anything else. */
extern AkLevel ak_condition_level(Node *verb);

/*
 * The type that an argument is compared as, and its equality; false for a type whose
 * values cannot be made of names.
 */
extern bool ak_condition_type(Node *argument, Oid *type, Oid *equality);

/* The argument as such a type, which has the same bits. */
extern Node *ak_condition_column(Node *argument, Oid type);

/* May the current role call this function? */
extern bool ak_condition_may_call(Oid function);

/*
 * A function by its name and its types, of which there are "count"; InvalidOid if it
 * may not be called.
 */
extern Oid	ak_condition_function(Oid namespace, const char *name,
								  const Oid *types, int count);

#endif							/* AK_CONDITION_H */
