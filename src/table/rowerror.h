/*
 * rowerror.h
 *		Errors about a row, without the row.
 *
 * The detail of a violated constraint shows the row, or what an index has of it: salt,
 * verifier or lookup digest.  With this function given to ak_hide_begin() it is left
 * out, for the client and for the log.  Foreign keys, which have no secret in them, keep
 * theirs.
 */
#ifndef AK_ROWERROR_H
#define AK_ROWERROR_H

#include "postgres.h"

extern void ak_rowerror_hide(void *arg);

#endif							/* AK_ROWERROR_H */
