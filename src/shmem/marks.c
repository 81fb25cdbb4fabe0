/*
 * marks.c
 *		What was counted already in a statement; see marks.h.
 *
 * Each backend has marks, which its parallel workers use as well.  A mark is made of
 * the statement and the key; one of another statement counts as free.  Writing one
 * takes longer than all else here, so only parallel queries do it.
 */
#include "postgres.h"

#include "shmem/marks.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "shmem/shared.h"
#include "storage/proc.h"

#define KINDS	(AK_MARK_GUESSED + 1)
#define KEYS	16
#define MARKS	(KINDS * KEYS)	/* of each backend */

static pg_atomic_uint64 *all_marks;

/* What this process has counted, by kind */
static struct
{
	TimestampTz statement;
	uint32		count;
	pg_uuid_t	ids[KEYS];		/* the last ones */
}			counted[KINDS];

/* The last statement with a parallel query */
static TimestampTz shared_statement;

/* Make a mark; false if it is there. */
static bool
make_mark(AkMarkKind kind, const pg_uuid_t *id, TimestampTz statement)
{
	PGPROC	   *leader = MyProc->lockGroupLeader;
	Size		number = (leader == NULL ? MyProc : leader) - ProcGlobal->allProcs;
	uint64		begin = (uint64) murmurhash32(statement ^ statement >> 32) << 32;
	uint64		mark = begin | (hash_bytes(id->data, UUID_LEN) | 1);
	pg_atomic_uint64 *marks;

	if (number >= (Size) MaxBackends)
		return true;			/* no backend */
	marks = &all_marks[number * MARKS + kind * KEYS];
	for (int i = 0; i < KEYS; i++)
	{
		uint64		before = pg_atomic_read_u64(&marks[i]);

		while ((before ^ begin) >> 32 != 0 || before == 0)
			if (pg_atomic_compare_exchange_u64(&marks[i], &before, mark))
				return true;
		if (before == mark)
			return false;
	}
	return pg_atomic_exchange_u64(&marks[mark / 2 % KEYS], mark) != mark;
}

/* Of many, that which is asked for again goes last: a parent with many children. */
static inline void
keep_mark(AkMarkKind kind, uint32 number)
{
	pg_uuid_t  *ids = counted[kind].ids;
	uint32		newest = (counted[kind].count - 1) % KEYS;
	pg_uuid_t	id = ids[number];

	ids[number] = ids[newest];
	ids[newest] = id;
}

void
ak_marks_share(TimestampTz statement)
{
	shared_statement = statement;
	for (int kind = 0; kind < KINDS; kind++)
		if (counted[kind].statement == statement)
			for (uint32 i = 0; i < Min(counted[kind].count, KEYS); i++)
				(void) make_mark(kind, &counted[kind].ids[i], statement);
}

bool
ak_marks_first(AkMarkKind kind, const pg_uuid_t *id, TimestampTz statement)
{
	if (counted[kind].statement != statement)
	{
		counted[kind].statement = statement;
		counted[kind].count = 0;
	}
	for (uint32 i = 0; i < Min(counted[kind].count, KEYS); i++)
		if (memcmp(&counted[kind].ids[i], id, sizeof(pg_uuid_t)) == 0)
		{
			keep_mark(kind, i);
			return false;
		}
	counted[kind].ids[counted[kind].count++ % KEYS] = *id;

	/* a portal's statement is another one than when its query began */
	if (IsInParallelMode())
		shared_statement = statement;
	return shared_statement != statement || make_mark(kind, id, statement);
}

static Size
marks_size(void)
{
	return mul_size(MaxBackends * MARKS, sizeof(pg_atomic_uint64));
}

static void
init_marks(void *at, bool fresh)
{
	all_marks = at;
	for (int i = 0; fresh && i < MaxBackends * MARKS; i++)
		pg_atomic_init_u64(&all_marks[i], 0);
}

static AkArea area = {
	.name = "apikey marks",
	.size = marks_size,
	.startup = init_marks
};

void
ak_marks_init(void)
{
	ak_shared_area(&area);
}
