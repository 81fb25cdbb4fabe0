/*
 * notify.c
 *		NOTIFY as the transaction commits; see notify.h.
 */
#include "postgres.h"

#include "table/notify.h"

#include "access/xact.h"
#include "commands/async.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

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
 * Anybody can fill it, but not the other half between this look and that moment.
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
				 errhint("What remembers keys outside of the database must forget all. A session that listens, and has been in one transaction for long, keeps the queue full."),
				 errhidestmt(true)));
	else if (many)
		Async_Notify(CHANNEL, MANY);
	else
		foreach(cell, messages)
			Async_Notify(CHANNEL, ((Message *) lfirst(cell))->payload);
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
ak_notify_init(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}

void
ak_notify_queue(const char *payload)
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
