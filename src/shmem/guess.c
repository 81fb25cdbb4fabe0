/*
 * guess.c
 *		Refusals by address; see guess.h.
 */
#include "postgres.h"

#include "shmem/guess.h"

#include "base/guc.h"
#include "base/ratelimit.h"
#include "miscadmin.h"
#include "shmem/shared.h"
#include "utils/timestamp.h"

#define ADDRESSES	1024

typedef struct AddressRow
{
	AkShared	row;
	int64		refusals;
	int64		over;
	TimestampTz first;
	TimestampTz last;
	int64		limit_until;	/* as in ratelimit.h */
} AddressRow;

static Size
count_rows(void)
{
	return ADDRESSES;
}

static AkSharedTable addresses = {
	.name = "apikey addresses",.row_size = sizeof(AddressRow),
	.count = count_rows
};

void
ak_guess_init(void)
{
	ak_shared_table(&addresses);
}

/* Make room for another one.  Under the exclusive lock. */
static void
evict(const AkPlace *place)
{
	const AkSharedTable *table = place->table;
	int32		oldest = 0;
	TimestampTz least = PG_INT64_MAX;

	if (table->partitions[place->partition].free >= 0)
		return;
	for (int i = 0; i < table->nrows; i++)
	{
		AddressRow *row = ak_shared_row(table, place->partition, i);

		if (row->last < least)
		{
			least = row->last;
			oldest = i;
		}
	}
	ak_shared_discard(table, place->partition, oldest);
}

bool
ak_guess_count(const uint8 address[AK_ADDRESS_LEN])
{
	AkPlace		place = ak_shared_place(&addresses, MyDatabaseId, address);
	AkRateLimit limit = {
		.count = ak_guc_guess_limit,.burst = ak_guc_guess_limit,
		.interval = USECS_PER_MINUTE
	};
	AddressRow *row;
	TimestampTz now;
	int64		wait;
	bool		over;

	ak_shared_lock(&place, LW_EXCLUSIVE);
	now = GetCurrentTimestamp();
	row = ak_shared_find(&place);
	if (row == NULL)
	{
		evict(&place);
		row = ak_shared_add(&place);
		memset((char *) row + sizeof(AkShared), 0,
			   sizeof(AddressRow) - sizeof(AkShared));
		row->first = now;
	}
	over = !ak_ratelimit_take(&limit, now * 1000, &row->limit_until, &wait);
	row->refusals++;
	row->over += over;
	row->last = now;
	ak_shared_unlock(&place);
	return over;
}

typedef struct List
{
	AkGuesses  *guesses;
	int			count;
} List;

static void
collect(const AkSharedTable *table, int partition, int32 number, void *arg)
{
	AddressRow *row = ak_shared_row(table, partition, number);
	List	   *list = arg;
	AkGuesses  *guesses = &list->guesses[list->count++];

	memcpy(guesses->address, row->row.name, AK_ADDRESS_LEN);
	guesses->refusals = row->refusals;
	guesses->over = row->over;
	guesses->first = row->first;
	guesses->last = row->last;
}

int
ak_guess_list(AkGuesses **guesses)
{
	List		list = {
		palloc(sizeof(AkGuesses) * addresses.npartitions * addresses.nrows), 0
	};

	ak_shared_each(&addresses, MyDatabaseId, LW_SHARED, collect, &list);
	*guesses = list.guesses;
	return list.count;
}
