/*
 * grantlist.h
 *		The list of grants that apikey_create takes as JSON.
 */
#ifndef AK_GRANTLIST_H
#define AK_GRANTLIST_H

#include "postgres.h"

#include "base/grants.h"
#include "utils/jsonb.h"

/*
 * Read [{"project": …, "environment": …, "level": …}, …] into a palloc'd array,
 * sorted by project and environment; returns how many.  Identifiers may be
 * strings or numbers.  Raises 22023 for anything else, telling the element
 * and what is wrong with it, and 23505 for two grants on one pair.
 */
extern int	ak_grantlist_read(Jsonb *json, AkGrant **grants);

#endif							/* AK_GRANTLIST_H */
