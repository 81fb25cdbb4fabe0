/*
 * shared.h
 *		Areas of shared memory, and tables of a fixed size with their locks.
 *
 * There are some only where shared_preload_libraries has the extension.  An area is
 * just memory, for what is atomic.
 *
 * A row of a table is found by a database and 16 bytes.  A table is divided into
 * partitions, and a partition is a chained hash table with a lock of its own:
 *
 * shared		to look for a row, and to change what is atomic in it;
 * exclusive	for all else.
 *
 * Nothing is allocated after the start of the server, and nothing may be waited
 * for under a lock.
 */
#ifndef AK_SHARED_H
#define AK_SHARED_H

#include "postgres.h"

#include "storage/lwlock.h"

/* What each row begins with. */
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
 * A table, as its owner describes it.  Rows that are to be kept are written to a
 * file when the server stops, and come back from it when it starts; a crash, or an
 * immediate stop, loses them.
 */
typedef struct AkSharedTable
{
	const char *name;
	Size		row_size;
	Size		(*count) (void);	/* rows wanted, asked for once */
	const char *file;			/* where rows wait while the server is stopped */
	bool		(*keep) (const void *row);	/* those that shall */

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
	void		(*startup) (void *at, bool fresh);	/* in each process that
													 * attaches to it */
	struct AkArea *next;		/* private to shared.c */
} AkArea;

/* To be called by _PG_init: there shall be this area; this table. */
extern void ak_shared_area(AkArea *area);
extern void ak_shared_table(AkSharedTable *table);

/* Bytes of shared memory that it takes. */
extern Size ak_shared_size(const AkSharedTable *table);

/* Where a row is, or would be. */
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

/* The row there, NULL if there is none.  Under any lock. */
extern void *ak_shared_find(const AkPlace *place);

/*
 * A new row there, whose other bytes the caller fills in; NULL if none is free.
 * Under the exclusive lock, like the next two.
 */
extern void *ak_shared_add(const AkPlace *place);

/* The rows of the place's partition by number. */
static inline void *
ak_shared_row(const AkSharedTable *table, int partition, int32 number)
{
	return table->rows + ((Size) partition * table->nrows + number) *
		table->row_size;
}

/* The number of a row as if all partitions were one. */
static inline int32
ak_shared_number(const AkSharedTable *table, const void *row)
{
	return ((const char *) row - table->rows) / table->row_size;
}

/* Take a row out: it is free then. */
extern void ak_shared_discard(const AkSharedTable *table, void *row);

/* Call this for each row of a database, or of all, under such a lock. */
typedef void (*AkSharedAction) (void *row, void *arg);

extern void ak_shared_each(const AkSharedTable *table, Oid database,
						   LWLockMode mode, AkSharedAction action, void *arg);

#endif							/* AK_SHARED_H */
