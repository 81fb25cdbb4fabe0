/*
 * follow.c
 *		Does this database subscribe to the keys of another one?  See follow.h.
 */
#include "postgres.h"

#include "table/follow.h"

#include "access/htup_details.h"
#include "base/inval.h"
#include "catalog/pg_subscription_rel.h"
#include "replication/logicalworker.h"
#include "table/scan.h"
#include "utils/catcache.h"
#include "utils/inval.h"
#include "utils/syscache.h"

static bool follows;
static bool subscribed;			/* a table is in a subscription now */
static bool known;				/* is that what it is, but for our tables? */
static uint64 known_generation; /* of these */

/* Whether keys are to be refused may rest on it, see staleness.c. */
static void
forget_subscriptions(Datum arg, int cache, uint32 hash)
{
	known = false;
	ak_inval_schema++;
}

/* Is one of the tables in a subscription; if "copying", one that has not copied it yet? */
static bool
is_subscribed(bool copying)
{
	bool		found = false;

	for (AkTable table = 0; table < AK_TABLES && !found; table++)
	{
		CatCList   *list;

		if (!ak_follow_has_table(table))
			continue;
		list = SearchSysCacheList1(SUBSCRIPTIONRELMAP,
								   ObjectIdGetDatum(ak_schema_table(table)));
		for (int i = 0; i < list->n_members && !found; i++)
			found = !copying || ((Form_pg_subscription_rel)
								 GETSTRUCT(&list->members[i]->tuple))->srsubstate !=
				SUBREL_STATE_READY;
		ReleaseSysCacheList(list);
	}
	return found;
}

/* What changes while it is looked at, is looked at again. */
static void
look_up_subscriptions(void)
{
	static bool listening;

	if (!listening)
		CacheRegisterSyscacheCallback(SUBSCRIPTIONRELMAP, forget_subscriptions, 0);
	listening = true;
	while (!known || known_generation != ak_inval_schema)
	{
		uint64		generation = ak_inval_schema;
		bool		found;

		known = true;
		known_generation = 0;	/* as it stays after an error */
		subscribed = is_subscribed(false);
		found = subscribed || ak_scan_any(AK_TABLE_SUBSCRIPTION);
		follows = found;
		known_generation = generation;
	}
}

bool
ak_follow_is_copying(void)
{
	return is_subscribed(true);
}

bool
ak_follow_is_on(void)
{
	if (unlikely(!known ||
				 known_generation != ak_inval_schema))
		look_up_subscriptions();
	return follows;
}

void
ak_follow_refuse_change(bool copied)
{
	if (likely(!ak_follow_is_on()) || IsLogicalWorker() || (copied && !subscribed))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("API keys cannot be changed in a database that subscribes to those of another"),
			 errdetail("They come from there, where nobody would hear of what is done here."),
			 errhint("Do it at the publisher. If the subscription is to end, apikey_unsubscribe ends it."),
			 errhidestmt(true)));
}
