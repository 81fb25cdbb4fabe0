/*
 * queue.c
 *		Moves the head of the NOTIFY queue, for 025_notify.pl: up to PostgreSQL 16 it
 *		holds 8 GB, which takes too long to fill.
 *
 * What is full then is PostgreSQL's own queue, as its own code sees it; only that
 * there is nothing in it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

typedef struct QueuePosition
{
	int			page;
	int			offset;
} QueuePosition;

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(move_head);

/*
 * Takes the size of the shared memory and the new position, or NULL; returns the
 * old one.
 */
Datum
move_head(PG_FUNCTION_ARGS)
{
	bool		found;
	/* the head stands first in it */
	QueuePosition *head = ShmemInitStruct("Async Queue Control",
										  PG_GETARG_INT64(0), &found);
	int64		position;

	if (!found)
		elog(ERROR, "there is no NOTIFY queue");
	LWLockAcquire(NotifyQueueLock, LW_EXCLUSIVE);
	position = (int64) head->page * BLCKSZ + head->offset;
	if (!PG_ARGISNULL(1))
	{
		head->page = PG_GETARG_INT64(1) / BLCKSZ;
		head->offset = PG_GETARG_INT64(1) % BLCKSZ;
	}
	LWLockRelease(NotifyQueueLock);
	PG_RETURN_INT64(position);
}
