/*
 * merge.c
 *		The rows of each project of a key, merged; see merge.h.
 *
 * A run has the rows of one project.  All share an index scan: each has a batch of index
 * entries, copied from it, and a heap has the runs by their first entries.  A run whose
 * batch is used up begins anew behind its last entry, unless the index scan is still its
 * own.  Among entries that are equal in the index a place is known by their TIDs, which are
 * in no order there: an entry of several TIDs has them ascending even in a backward scan.
 * So memory and pins do not grow with what is read, but for these.  A row is fetched when
 * its entry has come first, so no more than are returned.
 */
#include "postgres.h"

#include "planner/merge.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "executor/executor.h"
#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "planner/resume.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sortsupport.h"

/* Index entries that are copied for a run at a time. */
#define MIN_BATCH			4
#define MAX_BATCH			256

typedef struct RunEntry
{
	IndexTuple	tuple;
	bool		visible;		/* the row need not be fetched */
} RunEntry;

/* The rows of a project. */
typedef struct Run
{
	Datum		project;
	RunEntry   *entries;		/* the batch */
	int			count;
	int			next;
	bool		last;			/* no batch follows */
	bool		again;			/* its scan began anew: skip what was read */
	ItemPointerData *equals;	/* of the entries so far that are equal to the
								 * batch's last one */
	int			nequals;
	Datum		value;			/* of the next entry's first column of the
								 * order */
	bool		isnull;
} Run;

struct AkMerge
{
	AkReader   *reader;
	int			project;		/* column of the index */
	TupleTableSlot *fetched;	/* for rows of the table */
	TupleTableSlot *made;		/* for those that are not fetched */
	int			array;			/* scan key that is an array of projects */
	int			ncolumns;		/* columns to sort by, after it */
	SortSupport sort;
	ScanKey		keys;			/* of one run */
	ScanKey		resumed_keys;	/* with these besides */
	AkResume	resume;			/* of the scan of resumed runs */
	IndexScanDesc scans[2];		/* of new and of resumed runs */
	IndexFetchTableData *fetch;

	MemoryContext context;		/* of all that follows */
	const AkPlace *place;		/* skip what is before, or NULL */
	int			nruns;
	Run		   *runs;
	Run		   *owners[2];		/* whose the scans are, or NULL */
	IndexTuple	end;			/* entry with the values of "resume" */
	binaryheap *heap;
	Run		   *current;		/* whose entry was returned; to be settled */
	int			first_batch;	/* size of it */
	bool		single;			/* only one run, of which nothing is skipped */

	int64		searches;
};

/* --------------------------------------------------------- index entries */

/* Let what is allocated live as long as a row is looked at. */
static MemoryContext
enter_row(const AkMerge *merge)
{
	return MemoryContextSwitchTo(merge->reader->state->ps.ps_ExprContext->ecxt_per_tuple_memory);
}

static TupleDesc
get_entry_desc(const AkMerge *merge)
{
	return RelationGetDescr(merge->reader->index);
}

/* The value of a column of the order, from 0. */
static Datum
get_sort_value(const AkMerge *merge, IndexTuple entry, int column, bool *isnull)
{
	return index_getattr(entry, merge->project + 2 + column,
						 get_entry_desc(merge), isnull);
}

/* Order of two values as the scan returns them. */
static int
compare_values(const AkMerge *merge, int column, Datum a, bool anull, Datum b,
			   bool bnull)
{
	int			result = ApplySortComparator(a, anull, b, bnull,
											 &merge->sort[column]);

	return ScanDirectionIsBackward(merge->reader->direction) ? -result : result;
}

/* Order of two entries that are equal in the first "equal" columns. */
static int
compare_entries(const AkMerge *merge, IndexTuple a, IndexTuple b, int equal)
{
	int			result = 0;

	for (int i = equal; result == 0 && i < merge->ncolumns; i++)
	{
		bool		anull;
		bool		bnull;
		Datum		avalue = get_sort_value(merge, a, i, &anull);
		Datum		bvalue = get_sort_value(merge, b, i, &bnull);

		result = compare_values(merge, i, avalue, anull, bvalue, bnull);
	}
	return result;
}

int
ak_merge_compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

static bool
has_tid(const ItemPointerData *tids, int count, IndexTuple entry)
{
	return count > 0 && bsearch(&entry->t_tid, tids, count, sizeof(ItemPointerData),
								ak_merge_compare_tids) != NULL;
}

/* Was the row of an entry, which is not before the place, returned there? */
static bool
is_visited(const AkMerge *merge, IndexTuple entry)
{
	if (merge->place == NULL)
		return false;
	for (int i = 0; i < merge->place->columns; i++)
	{
		bool		isnull;
		Datum		value = get_sort_value(merge, entry, i, &isnull);
		int			order = compare_values(merge, i, value, isnull,
										   merge->place->values[i],
										   merge->place->nulls[i]);

		if (order != 0)
			return false;
	}
	return has_tid(merge->place->visited, merge->place->nvisited, entry);
}

/* Was an entry, which is not before the last batch of the run, in a batch? */
static bool
was_read(const AkMerge *merge, const Run *run, IndexTuple entry)
{
	return compare_entries(merge, entry, run->entries[run->count - 1].tuple, 0) == 0 &&
		has_tid(run->equals, run->nequals, entry);
}

/* ------------------------------------------------------------------- runs */

/* Scan entries of a run by so many keys, with the scan of new, or of resumed, runs. */
static void
scan_run(AkMerge *merge, Run *run, bool resumed, ScanKey keys, int nkeys)
{
	if (merge->scans[resumed] == NULL)
		merge->scans[resumed] = ak_reader_begin(merge->reader, nkeys);
	merge->scans[resumed]->xs_want_itup = !merge->single || merge->reader->only;
	index_rescan(merge->scans[resumed], keys, nkeys, NULL, 0);
	merge->owners[resumed] = run;
	if (merge->owners[!resumed] == run)
		merge->owners[!resumed] = NULL;
	merge->searches++;
}

/* Let the scan of resumed runs go on with what comes next; false if there is nothing. */
static bool
scan_next(AkMerge *merge, Run *run)
{
	ScanKeyData more[INDEX_MAX_KEYS];
	int			nkeys = merge->reader->nkeys;
	int			i = 0;
	int			j = 0;

	if (!ak_resume_next(&merge->resume, more))
		return false;
	/* keys must be in the order of columns */
	while (i + j < nkeys + merge->ncolumns)
	{
		bool		own = j == merge->ncolumns ||
		(i < nkeys && merge->keys[i].sk_attno <= more[j].sk_attno);

		merge->resumed_keys[i + j] = own ? merge->keys[i] : more[j];
		if (own)
			i++;
		else
			j++;
	}
	scan_run(merge, run, true, merge->resumed_keys, nkeys + merge->ncolumns);
	return true;
}

/* Keep where a run is to go on, as long as a scan may look at it. */
static void
resume_at_end(AkMerge *merge, Run *run)
{
	MemoryContext before = MemoryContextSwitchTo(merge->context);

	if (merge->end != NULL)
		pfree(merge->end);
	merge->end = CopyIndexTuple(run->entries[run->count - 1].tuple);
	MemoryContextSwitchTo(before);
	for (int i = 0; i < merge->ncolumns; i++)
		merge->resume.values[i] = get_sort_value(merge, merge->end, i,
												 &merge->resume.nulls[i]);
	ak_resume_begin(&merge->resume, merge->ncolumns);
}

static void
resume_at_place(AkMerge *merge)
{
	const AkPlace *place = merge->place;

	memcpy(merge->resume.values, place->values, place->columns * sizeof(Datum));
	memcpy(merge->resume.nulls, place->nulls, place->columns * sizeof(bool));
	ak_resume_begin(&merge->resume, place->columns);
}

/* Begin to scan the entries of a run, from its last one or the place on; returns the scan. */
static IndexScanDesc
begin_scan(AkMerge *merge, Run *run)
{
	bool		resumed = run->count > 0 || merge->place != NULL;

	memcpy(merge->keys, merge->reader->keys, merge->reader->nkeys * sizeof(ScanKeyData));
	merge->keys[merge->array].sk_flags &= ~(SK_SEARCHARRAY | SK_ISNULL);
	merge->keys[merge->array].sk_argument = run->project;
	if (run->count > 0)
		resume_at_end(merge, run);
	else if (resumed)
		resume_at_place(merge);
	if (resumed)
		(void) scan_next(merge, run);	/* the first time there is something */
	else
		scan_run(merge, run, false, merge->keys, merge->reader->nkeys);
	return merge->scans[resumed];
}

/* Put a copy of an entry at the end of the batch, while its page is pinned. */
static void
add_entry(AkMerge *merge, IndexScanDesc from, RunEntry *to)
{
	MemoryContext before = MemoryContextSwitchTo(merge->context);

	to->tuple = CopyIndexTuple(from->xs_itup);
	to->tuple->t_tid = from->xs_heaptid;
	MemoryContextSwitchTo(before);
	to->visible = ak_reader_is_visible(merge->reader, from);
}

/* Note the TIDs of entries that are equal to the last of a new batch, which is not empty. */
static void
note_equals(AkMerge *merge, Run *run, RunEntry *entries, int count)
{
	IndexTuple	last = entries[count - 1].tuple;
	MemoryContext before = enter_row(merge);
	int			first = count - 1;

	while (first > 0 && compare_entries(merge, entries[first - 1].tuple, last, 0) == 0)
		first--;
	if (first > 0 || run->count == 0 ||
		compare_entries(merge, run->entries[run->count - 1].tuple, last, 0) != 0)
		run->nequals = 0;
	MemoryContextSwitchTo(before);

	run->equals = run->equals == NULL ?
		MemoryContextAlloc(merge->context, count * sizeof(ItemPointerData)) :
		repalloc_huge(run->equals,
					  (run->nequals + count) * sizeof(ItemPointerData));
	for (int i = first; i < count; i++)
		run->equals[run->nequals++] = entries[i].tuple->t_tid;
}

/* Get the next batch of a run; there may be no more. */
static void
fill(AkMerge *merge, Run *run)
{
	bool		new = run->count == 0;
	int			size = new ? merge->first_batch : Min(run->count * 2, MAX_BATCH);
	int			count = 0;
	IndexScanDesc from;
	RunEntry   *entries;

	if (run->last)
	{
		run->count = run->next = 0;
		return;
	}
	if (merge->owners[false] == run && !new)
		from = merge->scans[false];
	else if (merge->owners[true] == run && !new)
		from = merge->scans[true];
	else
	{
		from = begin_scan(merge, run);
		run->again = !new;
	}
	if (run->again)
		qsort(run->equals, run->nequals, sizeof(ItemPointerData), ak_merge_compare_tids);
	entries = MemoryContextAlloc(merge->context, size * sizeof(RunEntry));
	while (count < size)
	{
		MemoryContext before;
		bool		skip;

		CHECK_FOR_INTERRUPTS();
		if (index_getnext_tid(from, merge->reader->direction) == NULL)
		{
			if (from == merge->scans[true] && scan_next(merge, run))
				continue;
			run->last = true;
			break;
		}
		add_entry(merge, from, &entries[count]);
		before = enter_row(merge);
		skip = is_visited(merge, entries[count].tuple) ||
			(run->again && was_read(merge, run, entries[count].tuple));
		MemoryContextSwitchTo(before);
		if (skip)
			pfree(entries[count].tuple);
		else
			count++;
	}
	if (!run->last)
		note_equals(merge, run, entries, count);
	if (!new)
	{
		for (int i = 0; i < run->count; i++)
			pfree(run->entries[i].tuple);
		pfree(run->entries);
	}
	run->entries = entries;
	run->count = count;
	run->next = 0;
}

/* Go to the next entry of a run; false if there is none. */
static bool
advance(AkMerge *merge, Run *run)
{
	run->next++;
	if (run->next >= run->count)
		fill(merge, run);
	if (run->count == 0)
		return false;
	run->value = get_sort_value(merge, run->entries[run->next].tuple, 0, &run->isnull);
	return true;
}

/* What comes first is the greatest to a heap. */
static int
compare_runs(Datum a, Datum b, void *arg)
{
	const AkMerge *merge = arg;
	const Run  *x = (const Run *) DatumGetPointer(a);
	const Run  *y = (const Run *) DatumGetPointer(b);
	int			result = compare_values(merge, 0, x->value, x->isnull, y->value,
										y->isnull);

	if (result == 0)
		result = compare_entries(merge, x->entries[x->next].tuple, y->entries[y->next].tuple, 1);
	return -result;
}

/* Bring the run whose entry was returned into its place. */
static void
settle_current(AkMerge *merge)
{
	bool		more = advance(merge, merge->current);
	MemoryContext before = enter_row(merge);

	if (more)
		binaryheap_replace_first(merge->heap, PointerGetDatum(merge->current));
	else
		(void) binaryheap_remove_first(merge->heap);
	MemoryContextSwitchTo(before);
	merge->current = NULL;
}

/* -------------------------------------------------------------- interface */

/* How the index sorts what follows the project. */
static void
prepare_sort(AkMerge *merge)
{
	Relation	index = merge->reader->index;

	merge->sort = palloc0(merge->ncolumns * sizeof(SortSupportData));
	for (int i = 0; i < merge->ncolumns; i++)
	{
		SortSupport sort = &merge->sort[i];
		int			column = merge->project + 1 + i;
		int16		option = index->rd_indoption[column];

		sort->ssup_cxt = CurrentMemoryContext;
		sort->ssup_collation = index->rd_indcollation[column];
		sort->ssup_nulls_first = (option & INDOPTION_NULLS_FIRST) != 0;
		sort->ssup_attno = column + 1;
		PrepareSortSupportFromIndexRel(index, (option & INDOPTION_DESC) != 0, sort);
	}
}

AkMerge *
ak_merge_create(AkReader *reader, int project, TupleTableSlot *fetched,
				TupleTableSlot *made)
{
	AkMerge    *merge = palloc0(sizeof(AkMerge));

	merge->reader = reader;
	merge->project = project;
	merge->fetched = fetched;
	merge->made = made;
	while ((reader->keys[merge->array].sk_flags & SK_SEARCHARRAY) == 0)
		merge->array++;
	merge->ncolumns = reader->index->rd_index->indnkeyatts - project - 1;
	merge->keys = palloc(reader->nkeys * sizeof(ScanKeyData));
	merge->resumed_keys = palloc((reader->nkeys + merge->ncolumns) * sizeof(ScanKeyData));
	merge->resume.reader = reader;
	merge->resume.first = project + 1;
	merge->context = AllocSetContextCreate(reader->state->ps.state->es_query_cxt,
										   "apikey merge", ALLOCSET_DEFAULT_SIZES);
	return merge;
}

int
ak_merge_list(AkMerge *merge)
{
	MemoryContext before = MemoryContextSwitchTo(merge->context);
	ScanKey		key = &merge->reader->keys[merge->array];

	ak_reader_evaluate(merge->reader);
	merge->nruns = 0;
	if ((key->sk_flags & SK_ISNULL) == 0)
	{
		ArrayType  *array = DatumGetArrayTypeP(key->sk_argument);
		int16		len;
		bool		byval;
		char		align;
		Datum	   *values;
		bool	   *nulls;
		int			count;

		get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
		deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, &values, &nulls,
						  &count);
		merge->runs = palloc0(Max(count, 1) * sizeof(Run));
		for (int i = 0; i < count; i++)
			if (!nulls[i])
				merge->runs[merge->nruns++].project = values[i];
	}
	MemoryContextSwitchTo(before);
	return merge->nruns;
}

void
ak_merge_begin(AkMerge *merge, const AkPlace *place, int wanted)
{
	MemoryContext before = MemoryContextSwitchTo(merge->reader->state->ps.state->es_query_cxt);

	merge->place = place;
	merge->single = place == NULL && merge->nruns == 1;
	if (merge->single)
	{
		begin_scan(merge, &merge->runs[0]);
		MemoryContextSwitchTo(before);
		return;
	}
	if (merge->sort == NULL)
		prepare_sort(merge);
	/* twice the average of the runs; without an idea, some */
	merge->first_batch = wanted == 0 ? 2 * MIN_BATCH :
		Min(MIN_BATCH + 2 * (wanted / Max(merge->nruns, 1)), MAX_BATCH);
	if (merge->fetch == NULL)
		merge->fetch = table_index_fetch_begin(merge->reader->state->ss_currentRelation,
											   SO_NONE);
	MemoryContextSwitchTo(merge->context);
	merge->heap = binaryheap_allocate(Max(merge->nruns, 1), compare_runs, merge);
	MemoryContextSwitchTo(merge->reader->state->ps.state->es_query_cxt);
	for (int i = 0; i < merge->nruns; i++)
		if (advance(merge, &merge->runs[i]))
			binaryheap_add_unordered(merge->heap, PointerGetDatum(&merge->runs[i]));
	enter_row(merge);
	binaryheap_build(merge->heap);
	MemoryContextSwitchTo(before);
}

/* The rows of the only project are those of the index scan. */
static pg_noinline TupleTableSlot *
next_of_single(AkMerge *merge)
{
	TupleTableSlot *slot = merge->fetched;

	while (index_getnext_tid(merge->scans[false], merge->reader->direction) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (ak_reader_is_visible(merge->reader, merge->scans[false]))
		{
			ak_reader_store(merge->reader, merge->scans[false]->xs_itup,
							&merge->scans[false]->xs_heaptid, merge->made);
			return merge->made;
		}
		if (index_fetch_heap(merge->scans[false], slot))
			return slot;
	}
	return ExecClearTuple(slot);
}

TupleTableSlot *
ak_merge_next(AkMerge *merge)
{
	ScanState  *state = merge->reader->state;
	TupleTableSlot *slot = merge->fetched;

	if (merge->single)
		return next_of_single(merge);
	for (;;)
	{
		bool		again = false;
		bool		all_dead;
		ItemPointerData tid;
		RunEntry   *entry;

		CHECK_FOR_INTERRUPTS();
		if (merge->current != NULL)
			settle_current(merge);
		if (binaryheap_empty(merge->heap))
			return ExecClearTuple(slot);
		merge->current = (Run *) DatumGetPointer(binaryheap_first(merge->heap));
		entry = &merge->current->entries[merge->current->next];
		tid = entry->tuple->t_tid;
		if (entry->visible)
		{
			ak_reader_store(merge->reader, entry->tuple, &tid, merge->made);
			return merge->made;
		}
		if (table_index_fetch_tuple(merge->fetch, &tid, state->ps.state->es_snapshot,
									slot, &again, &all_dead))
		{
			pgstat_count_heap_fetch(merge->reader->index);
			return slot;
		}
	}
}

void
ak_merge_reset(AkMerge *merge)
{
	if (merge->fetch != NULL)
		table_index_fetch_reset(merge->fetch);
	merge->place = NULL;
	merge->nruns = 0;
	merge->owners[false] = merge->owners[true] = NULL;
	merge->current = NULL;
	merge->end = NULL;
	MemoryContextReset(merge->context);
}

void
ak_merge_end(AkMerge *merge)
{
	if (merge->fetch != NULL)
		table_index_fetch_end(merge->fetch);
	for (int i = 0; i < (int) lengthof(merge->scans); i++)
		if (merge->scans[i] != NULL)
			index_endscan(merge->scans[i]);
}

int64
ak_merge_searches(const AkMerge *merge)
{
	return merge->searches;
}
