/*
 * merge.h
 *		The rows of each project of a key, by an index that has them in an order, merged.
 */
#ifndef AK_MERGE_H
#define AK_MERGE_H

#include "postgres.h"

#include "planner/reader.h"
#include "storage/itemptr.h"

typedef struct AkMerge AkMerge;

/* A place in the order that another scan has come to. */
typedef struct AkPlace
{
	int			columns;		/* of the order, that follow the project */
	Datum	   *values;			/* of the last row there */
	bool	   *nulls;
	ItemPointerData *visited;	/* index entries of rows that were returned,
								 * sorted */
	int			nvisited;
} AkPlace;

/* Comparison for qsort. */
extern int	ak_merge_compare_tids(const void *a, const void *b);

/*
 * Prepare to merge what a reader that is open finds: it has one array among its scan keys,
 * of projects, for column "project" of the index, from 0.  "fetched" is a slot for rows of
 * the table, "made" one for virtual tuples, if the reader is of an index-only scan.
 */
extern AkMerge *ak_merge_create(AkReader *reader, int project,
								TupleTableSlot *fetched,
								TupleTableSlot *made);

/* List the projects; returns how many. */
extern int	ak_merge_list(AkMerge *merge);

/*
 * Begin to merge the rows of the listed projects, from a place on, or all if it is NULL.
 * What it points to must stay.  "wanted" rows will be asked for; 0 if that is not known.
 */
extern void ak_merge_begin(AkMerge *merge, const AkPlace *place, int wanted);

/* The next row, in "fetched" or in "made"; an empty slot at the end. */
extern TupleTableSlot *ak_merge_next(AkMerge *merge);

/* Forget the projects, and free what was read of them. */
extern void ak_merge_reset(AkMerge *merge);

extern void ak_merge_end(AkMerge *merge);

/* Scans of the index so far. */
extern int64 ak_merge_searches(const AkMerge *merge);

#endif							/* AK_MERGE_H */
