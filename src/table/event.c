/*
 * event.c
 *		The history: what was changed, by whom, when; see event.h.
 */
#include "postgres.h"

#include "table/event.h"

#include "access/xact.h"
#include "base/client.h"
#include "base/guc.h"
#include "base/secret.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type_d.h"
#include "commands/async.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

/* ---------------------------------------------------------------- NOTIFY */

#define CHANNEL			"apikey"

/*
 * The smallest queue that PostgreSQL can be set to has 64 pages; so many messages
 * take 13 of them.
 */
#define MAX_MESSAGES	1000
#define MANY			"{\"action\": \"many\"}"

typedef struct Message
{
	int			level;			/* of the transaction within transactions */
	char		payload[FLEXIBLE_ARRAY_MEMBER];
} Message;

static List *messages;			/* in TopTransactionContext; deepest last */
static bool many;				/* there were more, some perhaps undone */

/*
 * Raises nothing because of others: what fails here would undo a revocation.  What
 * PostgreSQL itself does with the messages afterwards fails where the queue is full.
 * Anybody can fill it, but hardly its other half between this look and that moment.
 * To hold the lock of its writers so long would be certain, but other modules may commit
 * on other servers then, and a connection from there back to this one would wait for that
 * lock for ever.
 */
static void
send_messages(void)
{
	ListCell   *cell;

	if (messages == NIL && !many)
		return;
	if (DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE)) >= 0.5)
		ereport(WARNING,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("channel \"%s\" was not notified", CHANNEL),
				 errdetail("The NOTIFY queue is half full."),
				 errhint("Clear all caches of keys outside of the database. A session that listens, and stays in one transaction, keeps the queue full."),
				 errhidestmt(true)));
	else if (many)
		Async_Notify(CHANNEL, MANY);
	else
		foreach(cell, messages)
			Async_Notify(CHANNEL, ((Message *) lfirst(cell))->payload);
}

/*
 * PostgreSQL puts messages into the queue under this lock, and keeps it until the end of
 * the transaction: a COMMIT that waits for a standby has it all the while.  False if
 * somebody has it.
 */
static bool
lock_queue(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
	return LockAcquire(&tag, AccessExclusiveLock, false, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

static void
transaction_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT)
		send_messages();
	messages = NIL;
	many = false;
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId subid,
						SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (int i = list_length(messages) - 1; i >= 0; i--)
	{
		Message    *message = list_nth(messages, i);

		if (message->level < level)
			break;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			message->level = level - 1;
		else
			messages = list_delete_last(messages);
	}
}

void
ak_event_init(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}

/* Send this at the commit; it is copied. */
static void
queue_message(const char *payload)
{
	MemoryContext before;
	Message    *message;

	if (list_length(messages) >= MAX_MESSAGES)
		many = true;
	if (many)
		return;
	before = MemoryContextSwitchTo(TopTransactionContext);
	message = palloc(offsetof(Message, payload) + strlen(payload) + 1);
	message->level = GetCurrentTransactionNestLevel();
	strcpy(message->payload, payload);
	messages = lappend(messages, message);
	MemoryContextSwitchTo(before);
}

List *
ak_event_postpone(void)
{
	List	   *payloads = NIL;
	ListCell   *cell;

	if ((messages == NIL && !many) || lock_queue())
		return NIL;
	if (many)
		payloads = list_make1(pstrdup(MANY));
	else
		foreach(cell, messages)
			payloads = lappend(payloads, pstrdup(((Message *) lfirst(cell))->payload));
	messages = NIL;
	many = false;
	return payloads;
}

bool
ak_event_notify(const List *payloads)
{
	ListCell   *cell;

	if (!lock_queue())
		return false;
	foreach(cell, payloads)
		queue_message(lfirst(cell));
	return true;
}

void
ak_event_warn(void)
{
	ereport(WARNING,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("channel \"%s\" was not notified", CHANNEL),
			 errdetail("Another transaction that notifies has not ended its COMMIT."),
			 errhint("Clear all caches of keys outside of the database.")));
}

static void
notify_of_event(const AkEvent *event)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"action\": \"%s\"", event->action);
	if (event->key_id != NULL)
		appendStringInfo(&payload, ", \"key_id\": \"%s\"",
						 DatumGetCString(DirectFunctionCall1(uuid_out,
															 UUIDPGetDatum(event->key_id))));
	appendStringInfoChar(&payload, '}');
	queue_message(payload.data);
	pfree(payload.data);
}

/* ------------------------------------------------------------------- row */

/*
 * The time of an event; of two in one session, that of the later one is later,
 * and so they stand in the order in which they happened.
 */
static TimestampTz
get_event_time(void)
{
	static TimestampTz last;
	TimestampTz now = GetCurrentTimestamp();

	last = Max(now, last + 1);
	return last;
}

/*
 * A string that may not be in the encoding of the database, from the options of
 * the connection or another database; a null if it is empty.
 */
static AkValue
get_valid_string(const char *string)
{
	char	   *clean;

	if (string[0] == '\0')
		return ak_value_null(TEXTOID);
	if (pg_verifymbstr(string, strlen(string), true))
		return ak_value_string(string);
	clean = pstrdup(string);
	for (char *p = clean; *p != '\0'; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	return ak_value_string(clean);
}

static AkValue
get_address(void)
{
	Datum		address;

	return ak_client_inet(ak_client_address(), &address) ?
		ak_value(INETOID, address) : ak_value_null(INETOID);
}

static void
insert_event(AkInsertion *insertion, const AkEvent *event)
{
	TimestampTz at = get_event_time();
	const char *role = GetUserNameFromId(GetOuterUserId(), false);
	pg_uuid_t	id;
	AkValue		row[Natts_apikey_event] = {
		[Anum_apikey_event_at - 1] = ak_value_time(at),
		[Anum_apikey_event_event_id - 1] = ak_value_uuid(&id),
		[Anum_apikey_event_action - 1] = ak_value_string(event->action),
		[Anum_apikey_event_key_id - 1] = ak_value_uuid(event->key_id),
		[Anum_apikey_event_organization - 1] =
		ak_value_name(event->organization),
		[Anum_apikey_event_role - 1] = get_valid_string(role),
		[Anum_apikey_event_application_user - 1] =
		get_valid_string(ak_guc_application_user),
		[Anum_apikey_event_acting_key - 1] =
		ak_value_uuid(event->acting_key),
		[Anum_apikey_event_address - 1] = get_address(),
		[Anum_apikey_event_detail - 1] =
		ak_value(JSONBOID, JsonbPGetDatum(ak_detail_end(event->detail)))
	};

	ak_secret_uuid(&id, at);
	ak_insert_row(insertion, AK_TABLE_EVENT, row);
}

void
ak_event_append(AkInsertion *insertion, const AkEvent *event)
{
	AkInsertion *alone;

	if (insertion != NULL)
		insert_event(insertion, event);
	else
	{
		alone = ak_insert_begin(AK_INSERT_EVENT);
		insert_event(alone, event);
		ak_insert_end(alone);
	}
	if (ak_guc_notify && !event->is_new)
		notify_of_event(event);
}
