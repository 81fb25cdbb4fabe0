/*
 * guess.c
 *		Guesses by address; see guess.h.
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
count_addresses(void)
{
	return ADDRESSES;
}

static AkSharedTable addresses = {
	.name = "apikey addresses",
	.row_size = sizeof(AddressRow),
	.count = count_addresses
};

void
ak_guess_init(void)
{
	ak_shared_table(&addresses);
}

/* Make room for another one.  Under the exclusive lock. */
static void
evict_address(const AkPlace *place)
{
	const AkSharedTable *table = place->table;
	AddressRow *oldest = ak_shared_row(table, place->partition, 0);

	if (table->partitions[place->partition].free >= 0)
		return;
	for (int i = 1; i < table->nrows; i++)
	{
		AddressRow *row = ak_shared_row(table, place->partition, i);

		if (row->last < oldest->last)
			oldest = row;
	}
	ak_shared_discard(table, oldest);
}

bool
ak_guess_count(const uint8 address[AK_ADDRESS_LEN])
{
	AkPlace		place = ak_shared_place(&addresses, MyDatabaseId, address);
	AkRateLimit limit = {
		.count = ak_guc_guess_limit,
		.burst = ak_guc_guess_limit,
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
		evict_address(&place);
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

typedef struct GuessList
{
	AkGuesses  *guesses;
	int			count;
} GuessList;

static void
collect_address(void *found, void *arg)
{
	AddressRow *row = found;
	GuessList  *list = arg;
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
	GuessList	list = {0};

	list.guesses = palloc(sizeof(AkGuesses) * addresses.npartitions *
						  addresses.nrows);
	ak_shared_each(&addresses, MyDatabaseId, LW_SHARED, collect_address, &list);
	*guesses = list.guesses;
	return list.count;
}
