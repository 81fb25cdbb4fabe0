/*
 * once.c
 *		Once a statement, in whatever process; see once.h.
 *
 * Each backend has marks, which its parallel workers use as well.  A mark is made
 * of the statement and the key; one of another statement is worth nothing.
 */
#include "postgres.h"

#include "once.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "shared.h"
#include "storage/proc.h"

#define KINDS	(AK_ONCE_GUESSED + 1)
#define KEYS	16
#define MARKS	(KINDS * KEYS)	/* of each backend */

static pg_atomic_uint64 *all;

bool
ak_once_first(AkOnce what, const pg_uuid_t *id, TimestampTz statement)
{
	PGPROC	   *leader = MyProc->lockGroupLeader;
	Size		number = (leader == NULL ? MyProc : leader) - ProcGlobal->allProcs;
	uint64		begin = (uint64) murmurhash32(statement ^ statement >> 32) << 32;
	uint64		mark = begin | (hash_bytes(id->data, UUID_LEN) | 1);
	pg_atomic_uint64 *marks;

	if (number >= (Size) MaxBackends)
		return true;			/* no backend */
	marks = &all[number * MARKS + what * KEYS];
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

static Size
size(void)
{
	return mul_size(MaxBackends * MARKS, sizeof(pg_atomic_uint64));
}

static void
startup(void *at, bool fresh)
{
	all = at;
	for (int i = 0; fresh && i < MaxBackends * MARKS; i++)
		pg_atomic_init_u64(&all[i], 0);
}

static const AkArea area = {
	.name = "apikey once",.size = size,.startup = startup
};

void
ak_once_init(void)
{
	ak_shared_area(&area);
}
