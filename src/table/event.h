/*
 * event.h
 *		The history: what was changed, by whom, when, and from where.
 *
 * An event is a row of apikey_event, added in the transaction of the change.  It
 * holds nothing that a key could be made from.
 *
 * With it goes a NOTIFY on channel "apikey", so that what remembers keys outside
 * of the database can forget them: {"action": …, "key_id": …}, and no more, for any
 * role can listen.  Not about a new key, which nobody can remember; nor if
 * apikey.notify is off, nor in the cases that notify.h tells.
 *
 * ak_schema_accept() must have been called.
 */
#ifndef AK_EVENT_H
#define AK_EVENT_H

#include "postgres.h"

#include "base/name.h"
#include "datatype/timestamp.h"
#include "table/insert.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* JSON that is being made: more about an event, in an object. */
typedef struct AkDetail
{
	JsonbParseState *state;
} AkDetail;

extern void ak_detail_begin(AkDetail *detail);

/* "value" may be NULL; it must last as long as the detail. */
extern void ak_detail_add(AkDetail *detail, const char *field,
						  const char *value);
extern void ak_detail_add_name(AkDetail *detail, const char *field,
							   const AkName *value);
extern void ak_detail_add_names(AkDetail *detail, const char *field,
								const AkName *values, int count);
extern void ak_detail_add_time(AkDetail *detail, const char *field,
							   TimestampTz value);
extern void ak_detail_add_jsonb(AkDetail *detail, const char *field,
								Jsonb *value);
extern void ak_detail_add_true(AkDetail *detail, const char *field);

/* What is added between the two goes into an object of its own. */
extern void ak_detail_open(AkDetail *detail, const char *field);
extern void ak_detail_close(AkDetail *detail);

typedef struct AkEvent
{
	const char *action;
	const pg_uuid_t *key_id;	/* or NULL */
	const AkName *organization; /* or NULL */
	const pg_uuid_t *acting_key;	/* or NULL */
	AkDetail   *detail;			/* or NULL */
	bool		is_new;			/* nobody can remember the key */
} AkEvent;

/* Closes the detail.  "insertion" may be NULL. */
extern void ak_event_append(AkInsertion *insertion, const AkEvent *event);

#endif							/* AK_EVENT_H */
