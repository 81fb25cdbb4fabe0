/*
 * rowerror.h
 *		Errors about a row, without the row.
 *
 * The message of a violated constraint tells the whole row, or what an index has of
 * it: here that may be salt, verifier and lookup digest.  Between the two calls such a
 * detail is left out, for the client and for the log; foreign keys, which have no
 * secret in them, keep theirs.
 */
#ifndef AK_ROWERROR_H
#define AK_ROWERROR_H

#include "postgres.h"

extern void ak_rowerror_begin(ErrorContextCallback *callback);

/* An error ends it, too. */
extern void ak_rowerror_end(const ErrorContextCallback *callback);

#endif							/* AK_ROWERROR_H */
