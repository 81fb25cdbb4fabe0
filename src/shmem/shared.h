/*
 * shared.h
 *		Areas of shared memory, and hash tables of a fixed size in it.
 *
 * An area is just memory, for what is atomic.  A row of a table is found by a database
 * and 16 bytes.  A table is divided into partitions, each with a lock: shared to look
 * for a row and to change what is atomic in it or has a spinlock, exclusive for all else.
 * Nothing may be waited for under a lock.
 */
#ifndef AK_SHARED_H
#define AK_SHARED_H

#include "postgres.h"

#include "storage/lwlock.h"
#include "storage/spin.h"

/* What each row begins with */
typedef struct AkShared
{
	Oid			database;		/* InvalidOid: free */
	int32		next;
	uint8		name[16];
} AkShared;

typedef union AkPartition
{
	struct
	{
		int32		free;		/* first of the free rows; -1: none */
		int32		hand;		/* where to look for one to reuse */
	};
	char		pad[PG_CACHE_LINE_SIZE];
} AkPartition;

/*
 * A table, as its owner describes it.  Rows to be kept go to a file when the server
 * stops, and come back from it at the start; a crash or an immediate stop loses them.
 */
typedef struct AkSharedTable
{
	const char *name;
	Size		row_size;
	Size		(*count) (void);	/* rows wanted, once settings are known */
	const char *file;			/* NULL: none is kept */
	bool		(*keep) (const void *row);	/* should it be kept? */

	/* private to shared.c, but for npartitions and nrows */
	struct AkSharedTable *next;
	int			npartitions;	/* a power of two */
	int			nrows;			/* in each partition */
	int			nbuckets;		/* likewise, a power of two */
	LWLockPadded *locks;
	AkPartition *partitions;
	int32	   *buckets;		/* first row, -1: none */
	char	   *rows;
} AkSharedTable;

typedef struct AkArea
{
	const char *name;
	Size		(*size) (void);
	void		(*startup) (void *at, bool fresh);	/* in each process; fresh:
													 * zeroes */
	struct AkArea *next;		/* private to shared.c */
} AkArea;

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_shared_area(AkArea *area);
extern void ak_shared_table(AkSharedTable *table);

/* Bytes of shared memory that it takes. */
extern Size ak_shared_size(const AkSharedTable *table);

/* Where a row is, or would be */
typedef struct AkPlace
{
	const AkSharedTable *table;
	Oid			database;
	const uint8 *name;
	int			partition;
	int32	   *bucket;
} AkPlace;

extern AkPlace ak_shared_place(const AkSharedTable *table, Oid database,
							   const uint8 name[16]);

static inline void
ak_shared_lock(const AkPlace *place, LWLockMode mode)
{
	LWLockAcquire(&place->table->locks[place->partition].lock, mode);
}

static inline void
ak_shared_unlock(const AkPlace *place)
{
	LWLockRelease(&place->table->locks[place->partition].lock);
}

/*
 * A spinlock in a row: for a few instructions that change what belongs together.  One
 * that comes from a file is free.
 */
static inline void
ak_shared_spin(slock_t * lock)
{
	SpinLockAcquire(lock);
}

static inline void
ak_shared_unspin(slock_t * lock)
{
	SpinLockRelease(lock);
}

static inline void
ak_shared_init_spin(slock_t * lock)
{
	SpinLockInit(lock);
}

/* The row there, NULL if there is none.  Under any lock. */
extern void *ak_shared_find(const AkPlace *place);

/*
 * A new row there, whose other bytes the caller fills in; NULL if none is free.
 * Under the exclusive lock.
 */
extern void *ak_shared_add(const AkPlace *place);

/* The rows of the place's partition by number. */
static inline void *
ak_shared_row(const AkSharedTable *table, int partition, int32 number)
{
	return table->rows + ((Size) partition * table->nrows + number) *
		table->row_size;
}

/* Its number, counted through all partitions. */
static inline int32
ak_shared_number(const AkSharedTable *table, const void *row)
{
	return ((const char *) row - table->rows) / table->row_size;
}

/* Free a row.  Under the exclusive lock. */
extern void ak_shared_discard(const AkSharedTable *table, void *row);

/* Do this to each row of a database, or of all, under such a lock. */
typedef void (*AkSharedAction) (void *row, void *arg);

extern void ak_shared_each(const AkSharedTable *table, Oid database,
						   LWLockMode mode, AkSharedAction action, void *arg);

/* The databases with logical replication slots, palloc'd, perhaps twice; returns how many. */
extern int	ak_shared_slot_databases(Oid **databases);

#endif							/* AK_SHARED_H */
