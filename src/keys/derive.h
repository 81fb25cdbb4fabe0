/*
 * derive.h
 *		Keys derived from others.
 */
#ifndef AK_DERIVE_H
#define AK_DERIVE_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * Delete the derived keys that expired before this time, or now if that is earlier, and
 * add an event; returns how many.
 */
extern uint64 ak_derive_purge(TimestampTz before);

#endif							/* AK_DERIVE_H */
