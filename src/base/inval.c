/*
 * inval.c
 *		When must a backend forget what it has cached, and what of it?  See inval.h.
 */
#include "postgres.h"

#include "base/inval.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "utils/inval.h"

/* The OID of the first part; that of the last is the last before FirstNormalObjectId. */
#define FIRST_PART	((Oid) (FirstNormalObjectId - AK_PARTS))

uint64		ak_inval_number = 1;
uint64		ak_inval_named[AK_PARTS];
uint64		ak_inval_schema = 1;
uint64		ak_inval_transaction = 1;

uint64		ak_inval_flushes;
uint64		ak_inval_messages;

static const Oid *watched;
static int	nwatched;
static Oid	lowest_watched = PG_UINT32_MAX;
static Oid	highest_watched = InvalidOid;

static void
end_part(AkPart part)
{
	ak_inval_flushes++;
	ak_inval_named[part] = ++ak_inval_number;
}

void
ak_inval_forget(void)
{
	end_part(AK_PART_ALL);
	ak_inval_schema++;
}

/* Called for every message about any relation.  An invalid one stands for all. */
static void
count_message(Datum arg, Oid relation)
{
	ak_inval_messages++;
	if (relation == FIRST_PART + AK_PART_ALL || !OidIsValid(relation))
		ak_inval_forget();
	else if (relation >= FIRST_PART && relation < FIRST_PART + AK_PARTS)
		end_part(relation - FIRST_PART);
	else if (relation >= lowest_watched && relation <= highest_watched)
		for (int i = 0; i < nwatched; i++)
			if (watched[i] == relation)
			{
				ak_inval_number++;
				ak_inval_schema++;
				return;
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
ak_inval_watch(const Oid *relations, int count)
{
	watched = relations;
	nwatched = count;
	lowest_watched = PG_UINT32_MAX;
	highest_watched = InvalidOid;
	for (int i = 0; i < count; i++)
		if (OidIsValid(relations[i]))
		{
			lowest_watched = Min(lowest_watched, relations[i]);
			highest_watched = Max(highest_watched, relations[i]);
		}
}

/*
 * PostgreSQL takes the relation's OID, or its row of pg_class.  By OID it would look for
 * the row, of which it reads no more than what is set here.
 */
void
ak_inval_announce(AkPart part)
{
	union
	{
		HeapTupleHeaderData header;
		char		bytes[MAXALIGN(SizeofHeapTupleHeader) + sizeof(FormData_pg_class)];
	}			row;
	HeapTupleData tuple = {.t_data = &row.header};
	Form_pg_class form;

	memset(&row, 0, sizeof(row));
	row.header.t_hoff = MAXALIGN(SizeofHeapTupleHeader);
	form = (Form_pg_class) GETSTRUCT(&tuple);
	form->oid = FIRST_PART + part;
	form->relisshared = false;
	CacheInvalidateRelcacheByTuple(&tuple);
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
