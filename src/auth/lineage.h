/*
 * lineage.h
 *		A key together with those that it is derived from.
 *
 * At each moment a derived key may do what its own row and grants say, and what its
 * parent may do.  All of that is read at once, by one snapshot, and worked out into one
 * entry of the key cache: a decision costs what it costs for any key.  What changes an
 * ancestor ends the entry, as a change of the key itself does.
 */
#ifndef AK_LINEAGE_H
#define AK_LINEAGE_H

#include "postgres.h"

#include "auth/keycache.h"
#include "base/grants.h"
#include "table/store.h"

/*
 * Fill in what "row" says of a key, of which "key" has the id, and its ancestors; all but
 * the grants.  row->since becomes that of the oldest.  False, and no key, where an
 * ancestor is missing, is of another organization, or is one too many: no foreign key lets
 * such a row in.
 */
extern bool ak_lineage_read(Snapshot snapshot, AkKeyRow *row, AkKey *key);

/* And their grants, palloc'd. */
extern void ak_lineage_grants(Snapshot snapshot, AkKey *key);

/*
 * Read the one that a key, whose row is in "row", comes from in the end: it takes that
 * row's place, and its id is *id.  False as above.
 */
extern bool ak_lineage_root(Snapshot snapshot, pg_uuid_t *id, AkKeyRow *row);

#endif							/* AK_LINEAGE_H */
