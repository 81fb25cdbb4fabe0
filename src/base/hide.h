/*
 * hide.h
 *		Errors without the statement, where a key may be in it.
 */
#ifndef AK_HIDE_H
#define AK_HIDE_H

#include "postgres.h"

/*
 * From the first to the second, no report has the statement in it: for what raises
 * errors by functions that do not know of a key.  An error ends it, too.
 */
extern void ak_hide_begin(ErrorContextCallback *callback);
extern void ak_hide_end(const ErrorContextCallback *callback);

#endif							/* AK_HIDE_H */
