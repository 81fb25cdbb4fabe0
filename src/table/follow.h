/*
 * follow.h
 *		Does this database subscribe to the keys of another one?
 *
 * It does as long as one of the tables that keys rest on is in a subscription, however
 * that was made, and as long as apikey_subscription has a row.  What such a database
 * changed by itself would be undone, or never heard of where the keys come from: so all
 * changes of these tables are refused, but for those that a subscription applies or
 * copies.  What is local goes on: use, rate limits, events of its own.
 *
 * The answer is cached, and a message ends it; ak_schema_accept() must have been called.
 */
#ifndef AK_FOLLOW_H
#define AK_FOLLOW_H

#include "postgres.h"

#include "table/schema.h"

/* The tables whose rows are the publisher's; AK_TABLES is one that is not known. */
static inline bool
ak_follow_has_table(AkTable table)
{
	return table < AK_PUBLISHED || table == AK_TABLES;
}

/* A few nanoseconds, most often. */
extern bool ak_follow_is_on(void);

/*
 * Is one of these tables still being copied?  Tables are copied one by one, so that a
 * suspension, for one, may come after the keys.
 */
extern bool ak_follow_is_copying(void);

/*
 * Raises 55000 in such a database, unless a subscription is at work here; or, for a row that
 * is "copied" by COPY, one is to be: so a dump of such a database can be restored.
 */
extern void ak_follow_refuse_change(bool copied);

#endif							/* AK_FOLLOW_H */
