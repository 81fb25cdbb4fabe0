/*
 * rowerror.h
 *		Errors about a row, without the row.
 *
 * The detail of a violated constraint shows the row, or what an index has of it: salt,
 * verifier or lookup digest.  Between the two calls it is left out, for the client and
 * for the log.  Foreign keys, which have no secret in them, keep theirs.
 */
#ifndef AK_ROWERROR_H
#define AK_ROWERROR_H

#include "postgres.h"

extern void ak_rowerror_begin(ErrorContextCallback *callback);

/* An error ends it, too. */
extern void ak_rowerror_end(const ErrorContextCallback *callback);

#endif							/* AK_ROWERROR_H */
