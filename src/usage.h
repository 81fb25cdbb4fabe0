/*
 * usage.h
 *		What all backends of the server know of keys: the shared memory.
 *
 * There is some only where shared_preload_libraries has the extension.
 */
#ifndef AK_USAGE_H
#define AK_USAGE_H

#include "postgres.h"

/* Is the extension preloaded? */
extern bool ak_usage_is_on(void);

/*
 * Raises 55000, with a hint, unless it is; "what" needs it: "rate limits need
 * the extension to be preloaded".
 */
extern void ak_usage_require(const char *what);

/* To be called by _PG_init. */
extern void ak_usage_init(void);

#endif							/* AK_USAGE_H */
