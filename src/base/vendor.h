/*
 * vendor.h
 *		Prefixes of keys that are another vendor's.
 */
#ifndef AK_VENDOR_H
#define AK_VENDOR_H

#include "postgres.h"

/*
 * Warn if keys with this prefix, which is valid, look like those of another vendor, to
 * people and to secret scanners.
 */
extern void ak_vendor_warn(const char *prefix);

#endif							/* AK_VENDOR_H */
