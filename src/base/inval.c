/*
 * inval.c
 *		When must a backend drop what it has cached? See inval.h.
 */
#include "postgres.h"

#include "base/inval.h"

#include "access/xact.h"
#include "utils/inval.h"

uint64		ak_inval_generations[AK_TOPICS] = {1, 1, 1};
uint64		ak_inval_transaction = 1;

uint64		ak_inval_flushes;
uint64		ak_inval_messages;

static const AkWatch *watched;
static int	nwatched;

void
ak_inval_forget(void)
{
	ak_inval_flushes++;
	for (int topic = 0; topic < AK_TOPICS; topic++)
		ak_inval_generations[topic]++;
}

/* An invalid "relation" stands for all of them. */
static void
count_message(Datum arg, Oid relation)
{
	ak_inval_messages++;
	if (!OidIsValid(relation))
	{
		ak_inval_forget();
		return;
	}
	for (int i = 0; i < nwatched; i++)
	{
		if (watched[i].relation == relation)
		{
			if (watched[i].topic != AK_TOPIC_SCHEMA)
				ak_inval_flushes++;
			ak_inval_generations[watched[i].topic]++;
			return;
		}
	}
}

static void
count_transaction(XactEvent event, void *arg)
{
	ak_inval_transaction++;
}

static void
count_subtransaction(SubXactEvent event, SubTransactionId subid,
					 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		ak_inval_transaction++;
}

void
ak_inval_init(void)
{
	CacheRegisterRelcacheCallback(count_message, (Datum) 0);
	RegisterXactCallback(count_transaction, NULL);
	RegisterSubXactCallback(count_subtransaction, NULL);
}

void
ak_inval_watch(const AkWatch *relations, int count)
{
	watched = relations;
	nwatched = count;
}

void
ak_inval_announce(Oid relation)
{
	CacheInvalidateRelcacheByRelid(relation);
}

void
ak_inval_set_moment(AkMoment *moment)
{
	moment->statement = GetCurrentStatementStartTimestamp();
	moment->command = GetCurrentCommandId(false);
	moment->transaction = ak_inval_transaction;
}

bool
ak_inval_is_moment(const AkMoment *moment)
{
	return moment->statement == GetCurrentStatementStartTimestamp() &&
		moment->command == GetCurrentCommandId(false) &&
		moment->transaction == ak_inval_transaction;
}
