/*
 * tally.c
 *		What all backends of this server have counted; see tally.h.
 *
 * The counters of a backend are found by its place among the processes.  The one that
 * takes the place when it has ended goes on with them.
 */
#include "postgres.h"

#include "shmem/tally.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "shmem/shared.h"
#include "storage/proc.h"

static pg_atomic_uint64 *tallies;	/* AK_TALLIES of each backend */

void
ak_tally_count(int what)
{
	Size		number;

	if (tallies == NULL || MyProc == NULL)
		return;
	number = MyProc - ProcGlobal->allProcs;
	if (number < (Size) MaxBackends)
	{
		pg_atomic_uint64 *tally = &tallies[number * AK_TALLIES + what];

		/* nobody else writes it */
		pg_atomic_write_u64(tally, pg_atomic_read_u64(tally) + 1);
	}
}

void
ak_tally_sum(int64 sums[AK_TALLIES])
{
	memset(sums, 0, AK_TALLIES * sizeof(int64));
	for (int i = 0; i < MaxBackends; i++)
		for (int what = 0; what < AK_TALLIES; what++)
			sums[what] += pg_atomic_read_u64(&tallies[i * AK_TALLIES + what]);
}

static Size
get_tally_size(void)
{
	return mul_size(MaxBackends * AK_TALLIES, sizeof(pg_atomic_uint64));
}

static void
init_tallies(void *at, bool fresh)
{
	tallies = at;
	for (int i = 0; fresh && i < MaxBackends * AK_TALLIES; i++)
		pg_atomic_init_u64(&tallies[i], 0);
}

static AkArea area = {
	.name = "apikey tallies",
	.size = get_tally_size,
	.startup = init_tallies
};

void
ak_tally_init(void)
{
	ak_shared_area(&area);
}
