/*
 * protect.h
 *		Row-level security on a table of the application.
 */
#ifndef AK_PROTECT_H
#define AK_PROTECT_H

#include "postgres.h"

#include "access/attnum.h"

/*
 * The columns, project and environment, of a table under apikey_protect; false
 * if it is not.
 */
extern bool ak_protect_columns(Oid relation, AttrNumber *columns);

/* Does a usable index of all rows begin with this column? */
extern bool ak_protect_has_index(Oid relation, AttrNumber column);

#endif							/* AK_PROTECT_H */
