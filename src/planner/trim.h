/*
 * trim.h
 *		A plan is begun without the partitions that the key has no projects in.
 */
#ifndef AK_TRIM_H
#define AK_TRIM_H

#include "postgres.h"

/* To be called by _PG_init. */
extern void ak_trim_init(void);

#endif							/* AK_TRIM_H */
