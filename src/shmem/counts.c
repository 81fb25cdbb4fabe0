/*
 * counts.c
 *		Use counts and limits of keys; see counts.h.
 *
 * A table of shared.h.  Its shared locks are enough to count a use, for what that
 * changes is under the row's spinlock; the exclusive ones are for rows that come and go,
 * for a new hour in one, and for what has been flushed to be taken from it.
 *
 * What every use of a key touches shares one cache line.
 */
#include "postgres.h"

#include "shmem/counts.h"

#include "access/xlog.h"
#include "base/guc.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "shmem/demand.h"
#include "shmem/shared.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

typedef struct KeyRow
{
	AkShared	row;
	int32		hour;			/* that uses and refusals belong to */
	slock_t		lock;			/* of what follows, until limit_until */
	bool		pending;		/* is there anything that no table has? */
	AkAddress	last_from;		/* belongs to last_used */
	int64		uses;
	TimestampTz last_used;
	/* a cache line ends here */
	int64		refusals;
	TimestampTz last_refused;
	TimestampTz old_secret_used;
	pg_atomic_uint64 limit_until;	/* 0: not known */
	int64		limit_saved;	/* what the table has of it */
	AkCountsHour earlier;		/* than those in "past" */
	AkCountsHour past[AK_COUNTS_HOURS]; /* by hour, modulo their number: those
										 * before "hour" */
} KeyRow;

typedef struct CountsState
{
	pg_atomic_uint32 begun;		/* flushes that were about to end */
	pg_atomic_uint32 ended;
	pg_atomic_uint32 written;	/* flushes that were committed, of which rows
								 * may have gone since */
	pg_atomic_uint64 uses;		/* that found none */
	pg_atomic_uint64 refusals;
	pg_atomic_uint64 flushed;
} CountsState;

static void copy_counts(AkCounts *counts, KeyRow *key);

static bool on;
static CountsState *state;
static AkSharedTable keys;

bool
ak_counts_is_on(void)
{
	return on;
}

void
ak_counts_require(const char *what)
{
	if (!on)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s need the extension to be preloaded", what),
				 errhint("Add apikey to shared_preload_libraries and restart the server."),
				 errhidestmt(true)));
}

/* ----------------------------------------------------------------- keys */

/* A clock may be wrong, but an hour is never less than 1. */
static inline int32
hour_of(TimestampTz at)
{
	return Max(at / USECS_PER_HOUR, 1);
}

/*
 * Something is pending now.  True if nothing was: ak_demand_pending() is due.  Under the
 * spinlock.
 */
static inline bool
set_pending(KeyRow *key)
{
	bool		first = !key->pending;

	key->pending = true;
	return first;
}

/* Statements do not come in order: the address is that of the latest. */
static inline bool
count_in(KeyRow *key, const AkCountsUse *use)
{
	bool		first;

	ak_shared_spin(&key->lock);
	key->uses += use->used;
	key->refusals += use->refused;
	if (use->used && use->at >= key->last_used)
	{
		key->last_used = use->at;
		key->last_from = use->from;
	}
	if (use->refused)
		key->last_refused = Max(key->last_refused, use->at);
	if (use->old_secret)
		key->old_secret_used = Max(key->old_secret_used, use->at);
	first = set_pending(key);
	ak_shared_unspin(&key->lock);
	return first;
}

/* Count: the last thing that is done under a lock. */
static inline void
count_and_unlock(const AkPlace *place, KeyRow *key, const AkCountsUse *use)
{
	bool		first = count_in(key, use);

	ak_shared_unlock(place);
	if (first)
		ak_demand_pending();
}

/* Add the second to the first, and leave it empty; the later hour counts. */
static void
move_hour(AkCountsHour *sum, AkCountsHour *hour)
{
	if (hour->uses != 0 || hour->refusals != 0)
	{
		if (sum->uses == 0 && sum->refusals == 0)
			sum->hour = 0;
		sum->hour = Max(sum->hour, hour->hour);
		sum->uses += hour->uses;
		sum->refusals += hour->refusals;
	}
	memset(hour, 0, sizeof(AkCountsHour));
}

/*
 * Under the exclusive lock.  Hours that are too old leave "past" for "earlier": what
 * stays is later than that, and in order when one begins with that after the
 * current hour.
 */
static void
begin_hour(KeyRow *key, int32 hour)
{
	AkCountsHour last = {key->hour, key->uses, key->refusals};

	move_hour(&key->past[last.hour % AK_COUNTS_HOURS], &last);
	key->uses = 0;
	key->refusals = 0;
	key->hour = hour;
	for (int i = 0; i < AK_COUNTS_HOURS; i++)
		if (key->past[i].hour <= hour - AK_COUNTS_HOURS)
			move_hour(&key->earlier, &key->past[i]);
}

/*
 * May this key make room for another?  "Needed" says that nobody will write down
 * what is pending: then that goes to the totals, unless the limit is used up in
 * part.
 */
static bool
may_evict(KeyRow *key, bool needed)
{
	AkCounts	counts;

	if (!key->pending)
		return true;
	if (!needed)
		return false;
	copy_counts(&counts, key);
	if (counts.limit_until > GetCurrentTimestamp() * 1000)
		return false;
	for (int i = 0; i < counts.nhours; i++)
	{
		pg_atomic_fetch_add_u64(&state->uses, counts.hours[i].uses);
		pg_atomic_fetch_add_u64(&state->refusals, counts.hours[i].refusals);
	}
	return true;
}

/*
 * Make room for another key.  Under the exclusive lock.  If it is hard to find, ask for a
 * flush before there is none at all.
 */
static void
evict_key(const AkPlace *place, bool needed)
{
	const AkSharedTable *table = place->table;
	AkPartition *partition = &table->partitions[place->partition];

	for (int i = 0; i < table->nrows && partition->free < 0; i++)
	{
		int32		number = partition->hand;
		KeyRow	   *key = ak_shared_row(table, place->partition, number);

		partition->hand = (number + 1) % table->nrows;
		if (may_evict(key, needed))
			ak_shared_discard(table, key);
		if (i == table->nrows / 2)
			ak_demand_request();
	}
}

/* The row of a key, made if need be; NULL if there is no room. */
static KeyRow *
find_or_add(const AkPlace *place, int32 hour, bool needed)
{
	KeyRow	   *key = ak_shared_find(place);

	if (key != NULL)
		return key;
	evict_key(place, needed);
	key = ak_shared_add(place);
	if (key == NULL)
		return NULL;
	memset((char *) key + sizeof(AkShared), 0, sizeof(KeyRow) - sizeof(AkShared));
	key->hour = hour;
	ak_shared_init_spin(&key->lock);
	pg_atomic_init_u64(&key->limit_until, 0);
	return key;
}

/* The rest of ak_counts_add: a new key, or a new hour. */
static pg_noinline void
count_slowly(const AkPlace *place, const AkCountsUse *use)
{
	int32		hour = hour_of(use->at);
	uint32		made;

	do
	{
		KeyRow	   *key;

		made = ak_demand_room();
		ak_shared_lock(place, LW_EXCLUSIVE);
		key = find_or_add(place, hour, false);
		if (key != NULL)
		{
			if (key->hour < hour)
				begin_hour(key, hour);
			count_and_unlock(place, key, use);
			return;
		}
		ak_shared_unlock(place);
	} while (ak_demand_wait_for_room(made));
	pg_atomic_fetch_add_u64(&state->uses, use->used);
	pg_atomic_fetch_add_u64(&state->refusals, use->refused);
}

/* The same for a row that has moved. */
static pg_noinline void
count_moved_row(const pg_uuid_t *id, const AkCountsUse *use, int32 *last)
{
	AkPlace		place = ak_shared_place(&keys, MyDatabaseId, id->data);
	KeyRow	   *key;

	ak_shared_lock(&place, LW_SHARED);
	key = ak_shared_find(&place);
	if (key == NULL || key->hour < hour_of(use->at))
	{
		ak_shared_unlock(&place);
		count_slowly(&place, use);
		return;
	}
	*last = ak_shared_number(&keys, key);
	count_and_unlock(&place, key, use);
}

/* Looking in the same place first saves going through the bucket. */
void
ak_counts_add(const pg_uuid_t *id, const AkCountsUse *use, int32 *last)
{
	AkPlace		place = {
		.table = &keys,
		.partition = *last / keys.nrows
	};
	KeyRow	   *key = ak_shared_row(&keys, 0, *last);

	ak_shared_lock(&place, LW_SHARED);
	if (unlikely(key->row.database != MyDatabaseId ||
				 memcmp(key->row.name, id->data, UUID_LEN) != 0 ||
				 key->hour < hour_of(use->at)))
	{
		ak_shared_unlock(&place);
		count_moved_row(id, use, last);
		return;
	}
	count_and_unlock(&place, key, use);
}

/* --------------------------------------------------------------- limits */

/*
 * The clock is read after the time that it is compared with, which was made from an
 * earlier reading: more than a burst ahead means that the clock was set back or the
 * limit was changed, never that a backend was slow.
 */
AkCountsLimit
ak_counts_limit(const pg_uuid_t *id, const AkRateLimit *limit, int64 *wait,
				int64 *remaining)
{
	AkPlace		place = ak_shared_place(&keys, MyDatabaseId, id->data);
	AkCountsLimit result = AK_COUNTS_UNKNOWN;
	bool		first = false;
	KeyRow	   *key;

	ak_shared_lock(&place, LW_SHARED);
	key = ak_shared_find(&place);
	if (key != NULL)
	{
		uint64		before = pg_atomic_read_u64(&key->limit_until);

		while (before != 0)
		{
			int64		until = before;
			int64		now;

			pg_read_barrier();
			now = GetCurrentTimestamp() * 1000;
			if (remaining != NULL)
				*remaining = ak_ratelimit_remaining(limit, now, until);
			result = ak_ratelimit_take(limit, now, &until, wait) ?
				AK_COUNTS_WITHIN : AK_COUNTS_OVER;
			if ((uint64) until == before ||
				(result == AK_COUNTS_WITHIN && remaining != NULL))
				break;
			if (pg_atomic_compare_exchange_u64(&key->limit_until, &before,
											   until))
			{
				ak_shared_spin(&key->lock);
				first = set_pending(key);
				ak_shared_unspin(&key->lock);
				break;
			}
		}
	}
	ak_shared_unlock(&place);
	if (first)
		ak_demand_pending();
	return result;
}

uint32
ak_counts_epoch(void)
{
	uint32		epoch = pg_atomic_read_u32(&state->written);

	pg_memory_barrier();
	return epoch;
}

void
ak_counts_know(const pg_uuid_t *id, int64 until, uint32 epoch)
{
	AkPlace		place = ak_shared_place(&keys, MyDatabaseId, id->data);
	uint32		made;

	do
	{
		KeyRow	   *key;

		made = ak_demand_room();
		ak_shared_lock(&place, LW_EXCLUSIVE);
		if (ak_counts_epoch() != epoch)
		{
			ak_shared_unlock(&place);
			return;
		}
		/* a key that cannot be limited is refused: worse than lost counts */
		key = find_or_add(&place, 0, RecoveryInProgress());
		if (key != NULL)
		{
			if (pg_atomic_read_u64(&key->limit_until) == 0)
			{
				key->limit_saved = Max(until, 1);
				pg_atomic_write_u64(&key->limit_until, key->limit_saved);
			}
			ak_shared_unlock(&place);
			return;
		}
		ak_shared_unlock(&place);
	} while (ak_demand_wait_for_room(made));
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no shared memory for the rate limit of an API key"),
			 errhint("Increase the setting \"apikey.usage_size\"."),
			 errhidestmt(true)));
}

/* -------------------------------------------------------------- reading */

static void
copy_hour(AkCounts *counts, const AkCountsHour *hour)
{
	if (hour->uses != 0 || hour->refusals != 0)
		counts->hours[counts->nhours++] = *hour;
}

/* Under any lock. */
static void
copy_counts(AkCounts *counts, KeyRow *key)
{
	AkCountsHour now = {.hour = key->hour};

	memcpy(counts->id.data, key->row.name, sizeof(counts->id.data));
	ak_shared_spin(&key->lock);
	now.uses = key->uses;
	now.refusals = key->refusals;
	counts->last_used = key->last_used;
	counts->last_from = key->last_from;
	counts->old_secret_used = key->old_secret_used;
	counts->last_refused = key->last_refused;
	ak_shared_unspin(&key->lock);
	if (!ak_guc_usage_address)
		memset(&counts->last_from, 0, sizeof(AkAddress));
	counts->limit_until = pg_atomic_read_u64(&key->limit_until);
	counts->nhours = 0;
	copy_hour(counts, &key->earlier);
	/* the oldest stands where the next one would be put */
	for (int i = 0; i < AK_COUNTS_HOURS; i++)
		copy_hour(counts, &key->past[(key->hour + i) % AK_COUNTS_HOURS]);
	copy_hour(counts, &now);
}

bool
ak_counts_get(const pg_uuid_t *id, AkCounts *counts)
{
	AkPlace		place = ak_shared_place(&keys, MyDatabaseId, id->data);
	KeyRow	   *key;

	ak_shared_lock(&place, LW_SHARED);
	key = ak_shared_find(&place);
	if (key != NULL)
		copy_counts(counts, key);
	ak_shared_unlock(&place);
	return key != NULL;
}

bool
ak_counts_is_quiet(uint32 *epoch)
{
	uint32		ended;

	pg_memory_barrier();
	ended = pg_atomic_read_u32(&state->ended);
	pg_memory_barrier();
	*epoch = pg_atomic_read_u32(&state->begun);
	pg_memory_barrier();
	return ended == *epoch;
}

static void
count_row(void *row, void *arg)
{
	KeyRow	   *key = row;
	AkCountsTotals *totals = arg;

	totals->keys++;
	totals->pending += key->pending;
}

void
ak_counts_totals(AkCountsTotals *totals)
{
	memset(totals, 0, sizeof(AkCountsTotals));
	totals->capacity = (int64) keys.npartitions * keys.nrows;
	totals->bytes = ak_shared_size(&keys);
	totals->uses = pg_atomic_read_u64(&state->uses);
	totals->refusals = pg_atomic_read_u64(&state->refusals);
	totals->flushed = pg_atomic_read_u64(&state->flushed);
	ak_shared_each(&keys, InvalidOid, LW_SHARED, count_row, totals);
}

static void
note_any(void *row, void *arg)
{
	*(bool *) arg = true;
}

bool
ak_counts_any(void)
{
	bool		any = false;

	if (ak_counts_is_on())
		ak_shared_each(&keys, MyDatabaseId, LW_SHARED, note_any, &any);
	return any;
}

/* ------------------------------------------------------------- flushing */

typedef struct Databases
{
	Oid		   *oids;
	int			count;
} Databases;

static void
collect_database(void *row, void *arg)
{
	Databases  *found = arg;
	KeyRow	   *key = row;

	if (!key->pending)
		return;
	for (int i = found->count - 1; i >= 0; i--)
		if (found->oids[i] == key->row.database)
			return;
	/* as many as there are rows, at most */
	found->oids[found->count++] = key->row.database;
}

int
ak_counts_databases(Oid **databases)
{
	Databases	found = {
		palloc(sizeof(Oid) * keys.npartitions * keys.nrows), 0
	};

	ak_demand_reset();
	ak_shared_each(&keys, InvalidOid, LW_SHARED, collect_database, &found);
	*databases = found.oids;
	return found.count;
}

typedef struct CountsList
{
	AkCounts   *counts;
	int			count;
} CountsList;

static void
count_pending(void *row, void *arg)
{
	KeyRow	   *key = row;
	CountsList *found = arg;

	found->count += key->pending;
}

static void
collect_pending(void *row, void *arg)
{
	KeyRow	   *key = row;
	CountsList *found = arg;

	/* what has become pending since it was counted waits for the next time */
	if (found->count > 0 && key->pending)
		copy_counts(&found->counts[--found->count], key);
}

int
ak_counts_pending(Oid database, AkCounts **counts)
{
	CountsList	found = {0};
	int			count;

	ak_shared_each(&keys, database, LW_SHARED, count_pending, &found);
	count = found.count;
	found.counts = MemoryContextAllocHuge(CurrentMemoryContext,
										  Max(count, 1) * sizeof(AkCounts));
	ak_shared_each(&keys, database, LW_SHARED, collect_pending, &found);
	*counts = found.counts + found.count;
	return count - found.count;
}

static bool ending;

static void
end_flush(int code, Datum arg)
{
	if (ending)
		pg_atomic_fetch_add_u32(&state->ended, 1);
	ending = false;
}

void
ak_counts_flush_begins(void)
{
	before_shmem_exit(end_flush, (Datum) 0);
	ending = true;
	pg_atomic_fetch_add_u32(&state->begun, 1);
	pg_memory_barrier();
}

/* What was flushed of this hour goes. */
static void
take_hour(KeyRow *key, const AkCountsHour *flushed)
{
	AkCountsHour *hour = &key->past[flushed->hour % AK_COUNTS_HOURS];

	if (key->hour == flushed->hour)
	{
		key->uses -= flushed->uses;
		key->refusals -= flushed->refusals;
		return;
	}
	/* a new hour may have begun since, and pushed it out */
	if (hour->hour != flushed->hour)
		hour = &key->earlier;
	hour->uses -= flushed->uses;
	hour->refusals -= flushed->refusals;
}

/* Is nothing pending of it but what was flushed? */
static bool
has_no_more(KeyRow *key, const AkCounts *flushed)
{
	AkCounts	counts;

	copy_counts(&counts, key);
	return counts.nhours == 0 &&
		counts.old_secret_used == flushed->old_secret_used &&
		counts.limit_until == key->limit_saved;
}

void
ak_counts_flushed(Oid database, const AkCounts *counts, int count)
{
	pg_atomic_fetch_add_u32(&state->written, 1);
	for (int i = 0; i < count; i++)
	{
		const AkCounts *written = &counts[i];
		AkPlace		place = ak_shared_place(&keys, database, written->id.data);
		KeyRow	   *key;

		ak_shared_lock(&place, LW_EXCLUSIVE);
		key = ak_shared_find(&place);
		if (key != NULL)
		{
			for (int j = 0; j < written->nhours; j++)
				take_hour(key, &written->hours[j]);
			key->limit_saved = written->limit_until;
			if (has_no_more(key, written))
				key->pending = false;
		}
		ak_shared_unlock(&place);
	}
	pg_memory_barrier();
	end_flush(0, (Datum) 0);
	pg_atomic_write_u64(&state->flushed, GetCurrentTimestamp());
	ak_demand_made_room();
}

static void
forget_key(void *row, void *arg)
{
	KeyRow	   *key = row;
	TimestampTz before = *(TimestampTz *) arg;

	if (key->last_used < before && key->last_refused < before)
		ak_shared_discard(&keys, key);
}

void
ak_counts_forget(Oid database, TimestampTz before)
{
	ak_shared_each(&keys, database, LW_EXCLUSIVE, forget_key, &before);
	ak_demand_made_room();
}

/* ---------------------------------------------------------------- start */

static bool
is_pending(const void *row)
{
	return ((const KeyRow *) row)->pending;
}

/* As many as fit with their buckets, of which there may be twice as many. */
static Size
count_key_rows(void)
{
	Size		row = TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(KeyRow));

	return (Size) ak_guc_usage_size * 1024 / (row + 2 * sizeof(int32));
}

static Size
counts_size(void)
{
	return sizeof(CountsState);
}

static void
init_counts(void *at, bool fresh)
{
	state = at;
	if (fresh)
	{
		pg_atomic_init_u32(&state->begun, 0);
		pg_atomic_init_u32(&state->ended, 0);
		pg_atomic_init_u32(&state->written, 0);
		pg_atomic_init_u64(&state->uses, 0);
		pg_atomic_init_u64(&state->refusals, 0);
		pg_atomic_init_u64(&state->flushed, 0);
	}
}

static AkArea area = {
	.name = "apikey usage",
	.size = counts_size,
	.startup = init_counts
};

static AkSharedTable keys = {
	.name = "apikey keys",
	.row_size = sizeof(KeyRow),
	.count = count_key_rows,
	.file = "apikey.stat",
	.keep = is_pending
};

void
ak_counts_init(void)
{
	on = process_shared_preload_libraries_in_progress;
	if (!on)
		return;
	ak_shared_area(&area);
	ak_shared_table(&keys);
}
