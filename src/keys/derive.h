/*
 * derive.h
 *		Keys derived from others.
 */
#ifndef AK_DERIVE_H
#define AK_DERIVE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/*
 * Delete the derived keys that expired before this time, or now if that is earlier, and
 * add an event; returns how many.
 */
extern uint64 ak_derive_purge(TimestampTz before);

/*
 * Lock the row that says how many keys may be derived from this one, if there is one;
 * what was waited for may have put another one in its place.  To be called before the
 * key itself is locked: a bearer can hold this lock, and must not keep the key from
 * being revoked.
 */
extern void ak_derive_lock(const pg_uuid_t *root);

/* To be called when such a row was changed. */
extern void ak_derive_forget(void);

#endif							/* AK_DERIVE_H */
