/*
 * protect.h
 *		Row-level security on a table of the application.
 */
#ifndef AK_PROTECT_H
#define AK_PROTECT_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/nodes.h"

/*
 * What apikey_protect lets read of a table, palloc'd, as the condition of a query
 * of this table alone; and its columns, project and environment.  NULL if the table
 * is not under apikey_protect.  It calls nothing but apikey_authorize.
 */
extern Node *ak_protect_condition(Oid relation, AttrNumber *columns);

/* Does a usable index of all rows begin with this column? */
extern bool ak_protect_has_index(Oid relation, AttrNumber column);

#endif							/* AK_PROTECT_H */
