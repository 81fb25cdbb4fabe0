/*
 * notify.h
 *		NOTIFY as the transaction commits.
 *
 * A transaction that has notified can no more be prepared for two-phase commit, and
 * a revocation should not keep it from that.  So the messages wait here until the
 * commit, and those of a transaction that is prepared are not sent.  What a rollback
 * to a savepoint undoes is forgotten.
 *
 * PostgreSQL fails a commit when its queue is full, and any role can fill that.  No
 * revocation may depend on it: where the queue is half full nothing is sent, and a
 * WARNING says so.  Nor does one transaction fill much of it: of more than a thousand
 * messages all that is sent is {"action": "many"}.
 */
#ifndef AK_NOTIFY_H
#define AK_NOTIFY_H

#include "postgres.h"

extern void ak_notify_init(void);

/* Send this on channel "apikey" at the commit.  It is copied. */
extern void ak_notify_queue(const char *payload);

#endif							/* AK_NOTIFY_H */
