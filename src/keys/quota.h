/*
 * quota.h
 *		How many keys may be derived from one.
 *
 * The key that all of a tree come from, its root, has a row in apikey_derivation.  Whoever
 * derives a key counts it there, and so locks the row until the end of the transaction.
 * Nothing else locks it but what changes the number or deletes the key: a bearer who
 * stays in a transaction keeps nobody from revoking, disabling or rotating anything.
 *
 * ak_schema_accept() must have been called.
 */
#ifndef AK_QUOTA_H
#define AK_QUOTA_H

#include "postgres.h"

#include "utils/uuid.h"

/* Count one key more below a root.  Raises 53400 if there may not be one. */
extern void ak_quota_take(const pg_uuid_t *root);

/*
 * Lock the row of a root, if there is one; what was waited for may have put another one
 * in its place.  To be called before the key itself is locked, which must not wait for
 * a bearer.
 */
extern void ak_quota_lock(const pg_uuid_t *root);

/* Let so many be derived from a key, 0 for none; false if it was so before. */
extern bool ak_quota_set(const pg_uuid_t *id, int max_derived);

/* To be called when such a row was changed. */
extern void ak_quota_forget(void);

#endif							/* AK_QUOTA_H */
