/*
 * event.h
 *		The history: what was changed, by whom, when, and from where.
 *
 * An event is a row of apikey_event, added in the transaction of the change.  It
 * holds nothing that a key could be made from.
 *
 * With it goes a NOTIFY on channel "apikey", so that caches outside of the database
 * can forget the key: {"action": ..., "key_id": ...}, and no more, for any role can
 * listen.  None is sent about a new key, which is in no cache, or if apikey.notify is off.
 *
 * A transaction that has notified can no longer be prepared for two-phase commit, and
 * that should not stand in the way of a revocation.  So messages wait here until the
 * commit, and those of a transaction that is prepared are not sent, nor those that
 * a rollback to a savepoint undoes.
 *
 * PostgreSQL fails a commit when its queue is full, and any role can fill that.  No
 * revocation may depend on it: where the queue is half full nothing is sent, and a
 * WARNING says so.  And no transaction fills much of it: instead of more than a
 * thousand messages it sends one, {"action": "many"}.
 */
#ifndef AK_EVENT_H
#define AK_EVENT_H

#include "postgres.h"

#include "base/detail.h"
#include "base/name.h"
#include "nodes/pg_list.h"
#include "table/insert.h"
#include "utils/uuid.h"

typedef struct AkEvent
{
	const char *action;
	const pg_uuid_t *key_id;	/* or NULL */
	const AkName *organization; /* or NULL */
	const pg_uuid_t *acting_key;	/* or NULL */
	AkDetail   *detail;			/* or NULL; ended here */
	bool		is_new;			/* it is in no cache: no NOTIFY */
} AkEvent;

/* Called by _PG_init. */
extern void ak_event_init(void);

/*
 * Add one, as a row of this insertion, or alone if that is NULL.  ak_schema_accept()
 * must have been called.
 */
extern void ak_event_append(AkInsertion *insertion, const AkEvent *event);

/*
 * For a COMMIT that cannot wait for those of others, as those wait for each other that
 * notify: where one is on its way, take back what this one would send, and return it, in
 * the current memory context; else NIL.  Within a later transaction the second one sends
 * it, at its COMMIT; false if it would still have to wait.  If it is to be given up, the
 * third one says so.
 */
extern List *ak_event_postpone(void);
extern bool ak_event_notify(const List *payloads);
extern void ak_event_warn(void);

#endif							/* AK_EVENT_H */
