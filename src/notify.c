/*
 * notify.c
 *		NOTIFY as the transaction commits; see notify.h.
 */
#include "postgres.h"

#include "notify.h"

#include "access/xact.h"
#include "commands/async.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#define CHANNEL		"apikey"

typedef struct Message
{
	int			level;			/* of the transaction within transactions */
	char		payload[FLEXIBLE_ARRAY_MEMBER];
} Message;

static List *messages;			/* in TopTransactionContext; deepest last */

static void
transaction_callback(XactEvent event, void *arg)
{
	ListCell   *cell;

	if (event == XACT_EVENT_PRE_COMMIT)
		foreach(cell, messages)
			Async_Notify(CHANNEL, ((Message *) lfirst(cell))->payload);
	messages = NIL;
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
	MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);
	Message    *message = palloc(offsetof(Message, payload) +
								 strlen(payload) + 1);

	message->level = GetCurrentTransactionNestLevel();
	strcpy(message->payload, payload);
	messages = lappend(messages, message);
	MemoryContextSwitchTo(before);
}
