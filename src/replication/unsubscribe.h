/*
 * unsubscribe.h
 *		The end of a subscription: no key of the publisher stays.
 */
#ifndef AK_UNSUBSCRIBE_H
#define AK_UNSUBSCRIBE_H

#include "postgres.h"

#include "table/schema.h"

/*
 * The tables that are emptied: those that are published, what refers to them, and then the
 * use of the keys, which is no reason not to subscribe.
 */
#define AK_UNSUBSCRIBE_KEYS		AK_PUBLISHED
#define AK_UNSUBSCRIBE_TABLES	(AK_UNSUBSCRIBE_KEYS + 2)

extern const AkTable ak_unsubscribe_tables[AK_UNSUBSCRIBE_TABLES];

/* The statement that empties them, palloc'd. */
extern char *ak_unsubscribe_truncate(void);

#endif							/* AK_UNSUBSCRIBE_H */
