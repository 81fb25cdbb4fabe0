/*
 * leakproof.h
 *		Calls of apikey_authorize behind a restrictive policy.
 */
#ifndef AK_LEAKPROOF_H
#define AK_LEAKPROOF_H

#include "postgres.h"

/* To be called by _PG_init. */
extern void ak_leakproof_init(void);

#endif							/* AK_LEAKPROOF_H */
