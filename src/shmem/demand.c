/*
 * demand.c
 *		Backends that count and processes that flush wake each other; see demand.h.
 */
#include "postgres.h"

#include "shmem/demand.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "shmem/shared.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#define ROOM_TIMEOUT	1000	/* ms */

typedef struct Demand
{
	pg_atomic_uint32 pending;	/* did something become so, unseen? */
	pg_atomic_uint32 requests;	/* count up */
	pg_atomic_uint32 room;		/* likewise, when some was made */
	pg_atomic_uint32 stuck;		/* none came: nobody waits for it now */
	ConditionVariable wanted;	/* wakes those who flush */
	ConditionVariable made;		/* wakes those who wait for room */
} Demand;

static Demand *demand;

void
ak_demand_pending(void)
{
	if (pg_atomic_read_u32(&demand->pending) == 0 &&
		pg_atomic_exchange_u32(&demand->pending, 1) == 0)
		ConditionVariableBroadcast(&demand->wanted);
}

void
ak_demand_request(void)
{
	pg_atomic_fetch_add_u32(&demand->requests, 1);
	ConditionVariableBroadcast(&demand->wanted);
}

uint32
ak_demand_room(void)
{
	uint32		room = pg_atomic_read_u32(&demand->room);

	pg_memory_barrier();
	return room;
}

bool
ak_demand_wait_for_room(uint32 room)
{
	bool		in_vain = false;

	if (RecoveryInProgress())
		return false;
	ak_demand_request();
	if (pg_atomic_read_u32(&demand->stuck) != 0)
		return pg_atomic_read_u32(&demand->room) != room;

	/* not before: to broadcast ends that */
	ConditionVariablePrepareToSleep(&demand->made);
	while (pg_atomic_read_u32(&demand->room) == room && !in_vain)
		in_vain = ConditionVariableTimedSleep(&demand->made, ROOM_TIMEOUT,
											  PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	if (in_vain)
		pg_atomic_write_u32(&demand->stuck, 1);
	return !in_vain;
}

void
ak_demand_made_room(void)
{
	pg_atomic_write_u32(&demand->stuck, 0);
	pg_atomic_fetch_add_u32(&demand->room, 1);
	ConditionVariableBroadcast(&demand->made);
}

uint32
ak_demand_requests(void)
{
	return pg_atomic_read_u32(&demand->requests);
}

void
ak_demand_reset(void)
{
	pg_atomic_write_u32(&demand->pending, 0);
	pg_memory_barrier();
}

void
ak_demand_rest(long timeout, uint32 requests, bool pending)
{
	ConditionVariablePrepareToSleep(&demand->wanted);
	if (ak_demand_requests() == requests &&
		!(pending && pg_atomic_read_u32(&demand->pending) != 0))
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	ConditionVariableCancelSleep();
}

static Size
demand_size(void)
{
	return sizeof(Demand);
}

static void
init_demand(void *at, bool fresh)
{
	demand = at;
	if (!fresh)
		return;
	/* there may be something from before the start */
	pg_atomic_init_u32(&demand->pending, 1);
	pg_atomic_init_u32(&demand->requests, 0);
	pg_atomic_init_u32(&demand->room, 0);
	pg_atomic_init_u32(&demand->stuck, 0);
	ConditionVariableInit(&demand->wanted);
	ConditionVariableInit(&demand->made);
}

static AkArea area = {
	.name = "apikey demand",
	.size = demand_size,
	.startup = init_demand
};

void
ak_demand_init(void)
{
	ak_shared_area(&area);
}
