/*
 * unsubscribe.h
 *		The end of a subscription: no key of the publisher stays.
 */
#ifndef AK_UNSUBSCRIBE_H
#define AK_UNSUBSCRIBE_H

#include "postgres.h"

#include "base/compat.h"

/*
 * The statement that empties what is published, and the use of the keys, palloc'd.
 * "schema" is quoted where it has to be.
 */
extern char *ak_unsubscribe_truncate(const char *schema);

/* Raises 42704 for the name of a subscription that is none of ours. */
pg_noreturn extern void ak_unsubscribe_refuse(const char *name);

#endif							/* AK_UNSUBSCRIBE_H */
