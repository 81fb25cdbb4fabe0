/*
 * walk.c
 *		The node of a plan that is an ordered scan; see ordered.c.
 *
 * It begins with the walk.  A row that fails the conditions was passed in vain.  When
 * that was so for some, the projects of the key are listed; when it was for so many as
 * it costs to begin the runs of these, they are merged from the place on where the walk
 * is, unless it has returned so many rows that it will soon be at its end.  So the scan
 * takes at most about twice as long as the better of the two.  A key of few grants has its
 * projects listed at once; for a single one there is no walk.
 *
 * The conditions that the index scans do not see to are checked for each row, in the order
 * in which PostgreSQL wants them checked.  The call is one of them.
 */
#include "postgres.h"

#include "planner/walk.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "auth/authn.h"
#include "base/compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "planner/merge.h"
#include "planner/reader.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/*
 * Rows that the walk may pass in vain before the projects are listed, which costs about as
 * much as to pass a row for 20 of them: so many for each grant, within bounds ...
 */
#define FREE_ROWS_OF_GRANT	2
#define MIN_FREE_ROWS		32
#define MAX_FREE_ROWS		512

/*
 * ... and for each project before they are merged.  To find its first rows costs as much:
 * a descent, and a page of which all entries are looked at.
 */
#define ROWS_OF_PROJECT		56

/* A row that is merged costs as much as so many that are walked. */
#define ROWS_OF_MERGED		2

/* Grants whose projects are listed as fast as such rows are passed. */
#define FEW_GRANTS			8

typedef struct OrderedScan OrderedScan;
struct OrderedScan
{
	CustomScanState css;
	TupleTableSlot *(*next) (OrderedScan *scan);
	AkReader	runs_reader;
	AkReader	walk_reader;
	AkMerge    *merge;
	int			project;		/* see AkWalkPrivate */
	int			expected;
	bool		of_session;
	ExprState  *recheck;		/* for EvalPlanQual */
	bool		listed;			/* the projects */
	int			nprojects;		/* of these */

	/* the walk */
	IndexScanDesc walk;
	TupleTableSlot *fetched;	/* for rows of the table */
	TupleTableSlot *spare;		/* another one */
	TupleTableSlot *made;		/* for rows that are not fetched */
	TupleTableSlot *latest;		/* the one with the last row, or NULL */
	AkPlace		place;
	int			room;			/* of place.visited */
	int			dead;			/* entries without a row */
	int			wanted;			/* rows that were asked for */
	int64		limit;			/* rows passed in vain */
	MemoryContext context;		/* of the place */

	/* for EXPLAIN ANALYZE */
	int64		total_walked;
	int64		total_walks;
	int64		total_projects;
};

/* Remember the place of the walk for the merge. */
static void
note_place(OrderedScan *scan)
{
	AkPlace    *place = &scan->place;
	Relation	index = scan->runs_reader.index;
	MemoryContext before = MemoryContextSwitchTo(scan->context);

	place->values = palloc(place->columns * sizeof(Datum));
	place->nulls = palloc(place->columns * sizeof(bool));
	for (int i = 0; i < place->columns; i++)
	{
		AttrNumber	attno = index->rd_index->indkey.values[scan->project + 1 + i];
		Form_pg_attribute attribute = TupleDescAttr(scan->latest->tts_tupleDescriptor,
													attno - 1);

		place->values[i] = slot_getattr(scan->latest, attno, &place->nulls[i]);
		if (!place->nulls[i])
			place->values[i] = datumCopy(place->values[i], attribute->attbyval,
										 attribute->attlen);
	}
	qsort(place->visited, place->nvisited, sizeof(ItemPointerData),
		  ak_merge_compare_tids);
	MemoryContextSwitchTo(before);
}

/* What a key that sees much never needs is made when it is. */
static void
list_once(OrderedScan *scan)
{
	MemoryContext before;

	if (scan->listed)
		return;
	scan->listed = true;
	if (scan->merge == NULL)
	{
		before = MemoryContextSwitchTo(scan->css.ss.ps.state->es_query_cxt);
		ak_reader_open(&scan->runs_reader);
		scan->merge = ak_merge_create(&scan->runs_reader, scan->project,
									  scan->fetched, scan->made);
		MemoryContextSwitchTo(before);
	}
	scan->nprojects = ak_merge_list(scan->merge);
}

static TupleTableSlot *
next_of_merge(OrderedScan *scan)
{
	return ak_merge_next(scan->merge);
}

static void
begin_merge(OrderedScan *scan)
{
	list_once(scan);
	scan->total_projects += scan->nprojects;
	scan->next = next_of_merge;
	if (scan->latest != NULL)
		note_place(scan);
	ak_merge_begin(scan->merge, scan->latest != NULL ? &scan->place : NULL,
				   Max(scan->expected - scan->wanted, 0));
}

/*
 * How many rows the walk may pass in vain: as many as it costs to begin the runs, and as many
 * more where the rest of the walk is expected to cost less than the merge.
 */
static int64
get_limit(const OrderedScan *scan, int64 vain)
{
	int64		price = scan->nprojects > 1 ? (int64) ROWS_OF_PROJECT * scan->nprojects : 0;
	int64		rest = scan->expected - scan->wanted;

	if (vain >= price && rest > 0 &&
		vain * rest < (price + ROWS_OF_MERGED * rest) * scan->wanted)
		return vain + price;
	return price;
}

/* How many rows the walk of a key, which may be unknown, may pass before that. */
static int64
get_free_rows(const AkKey *key)
{
	if (key == NULL || key->grants->any_project)
		return MIN_FREE_ROWS;
	return Min(Max(key->grants->count * FREE_ROWS_OF_GRANT, MIN_FREE_ROWS), MAX_FREE_ROWS);
}

/* Has the walk passed too many rows in vain? */
static bool
is_over(OrderedScan *scan)
{
	int64		vain = (int64) scan->place.nvisited + scan->dead - scan->wanted;

	if (likely(vain < scan->limit))
		return false;
	list_once(scan);
	scan->limit = get_limit(scan, vain);
	return vain >= scan->limit;
}

static void
add_visited(OrderedScan *scan, ItemPointer entry)
{
	AkPlace    *place = &scan->place;

	if (place->nvisited == scan->room)
	{
		scan->room = Max(64, scan->room * 2);
		place->visited = place->visited == NULL ?
			MemoryContextAlloc(scan->context, scan->room * sizeof(ItemPointerData)) :
			repalloc_huge(place->visited, scan->room * sizeof(ItemPointerData));
	}
	place->visited[place->nvisited++] = *entry;
}

/* The next row of the walk or, when that is over before its end, of the merge. */
static TupleTableSlot *
next_of_walk(OrderedScan *scan)
{
	/* a fetch that finds nothing spoils what the slot had */
	TupleTableSlot *slot = scan->latest == scan->spare ?
	scan->fetched : scan->spare;
	bool		moved = false;

	/* what was made of an entry is lost when the next one is on another page */
	while ((moved && scan->latest == scan->made && scan->made != NULL) ||
		   !is_over(scan))
	{
		ItemPointer tid;
		ItemPointerData entry;

		CHECK_FOR_INTERRUPTS();
		moved = true;
		tid = index_getnext_tid(scan->walk, scan->walk_reader.direction);
		if (tid == NULL)
			return ExecClearTuple(slot);
		entry = *tid;
		scan->total_walked++;
		if (ak_reader_is_visible(&scan->walk_reader, scan->walk))
		{
			slot = scan->made;
			ak_reader_store(&scan->walk_reader, scan->walk->xs_itup, &entry, slot);
			add_visited(scan, &entry);
			scan->latest = slot;
			return slot;
		}
		if (index_fetch_heap(scan->walk, slot))
		{
			add_visited(scan, &entry);
			scan->latest = slot;
			return slot;
		}
		scan->dead++;
	}
	begin_merge(scan);
	return next_of_merge(scan);
}

static void
begin_walk(OrderedScan *scan, const AkKey *key)
{
	AkReader   *reader = &scan->walk_reader;
	MemoryContext before = MemoryContextSwitchTo(scan->css.ss.ps.state->es_query_cxt);

	if (scan->walk == NULL)
	{
		ak_reader_open(reader);
		scan->walk = ak_reader_begin(reader, reader->nkeys);
		scan->walk->xs_want_itup = reader->only;
		scan->context = AllocSetContextCreate(CurrentMemoryContext,
											  "apikey ordered scan",
											  ALLOCSET_SMALL_SIZES);
	}
	ak_reader_evaluate(reader);
	index_rescan(scan->walk, reader->keys, reader->nkeys, NULL, 0);
	scan->total_walks++;
	scan->limit = get_free_rows(key);
	scan->next = next_of_walk;
	MemoryContextSwitchTo(before);
}

/* Is it known at once that the walk is not worth to begin? */
static bool
is_for_one(OrderedScan *scan, const AkKey *key)
{
	if (!scan->of_session ||
		(key != NULL && (key->grants->any_project || key->grants->count > FEW_GRANTS)))
		return false;
	list_once(scan);
	return scan->nprojects <= 1;
}

/* --------------------------------------------------------------- the node */

static TupleTableSlot *
first_row(OrderedScan *scan)
{
	const AkKey *key = scan->of_session ? ak_authn_session() : NULL;

	if (!IsMVCCSnapshot(scan->css.ss.ps.state->es_snapshot))
		elog(ERROR, "ordered scans need an MVCC snapshot");
	if (scan->walk_reader.plan == NULL || is_for_one(scan, key))
		begin_merge(scan);
	else
		begin_walk(scan, key);
	return scan->next(scan);
}

static TupleTableSlot *
next_row(ScanState *state)
{
	OrderedScan *scan = (OrderedScan *) state;

	return scan->next(scan);
}

/* Does a row that did not come from an index meet what one looks for? */
static bool
recheck_row(ScanState *state, TupleTableSlot *slot)
{
	ExprContext *context = state->ps.ps_ExprContext;

	context->ecxt_scantuple = slot;
	return ExecQual(((OrderedScan *) state)->recheck, context);
}

static TupleTableSlot *
exec_ordered(CustomScanState *node)
{
	OrderedScan *scan = (OrderedScan *) node;
	TupleTableSlot *slot = ExecScan(&node->ss, next_row, recheck_row);

	if (TupIsNull(slot))
		return slot;
	scan->wanted++;
	/* WHERE CURRENT OF looks there for the row */
	if (node->ss.ps.state->es_epq_active == NULL)
		node->ss.ss_ScanTupleSlot = node->ss.ps.ps_ExprContext->ecxt_scantuple;
	return slot;
}

static void
begin_ordered(CustomScanState *node, EState *estate, int eflags)
{
	OrderedScan *scan = (OrderedScan *) node;
	ScanState  *state = &node->ss;
	CustomScan *plan = (CustomScan *) state->ps.plan;
	TupleDesc	desc = RelationGetDescr(state->ss_currentRelation);
	const		TupleTableSlotOps *ops = table_slot_callbacks(state->ss_currentRelation);

	scan->next = first_row;
	scan->project = list_nth_int(plan->custom_private, AK_WALK_PROJECT);
	scan->place.columns = list_nth_int(plan->custom_private, AK_WALK_COLUMNS);
	scan->expected = list_nth_int(plan->custom_private, AK_WALK_WANTED);
	scan->of_session = list_nth_int(plan->custom_private, AK_WALK_SESSION);
	ak_reader_init(&scan->runs_reader, state,
				   list_nth(plan->custom_plans, AK_WALK_RUNS));
	if (list_length(plan->custom_plans) > AK_WALK_ALL)
		ak_reader_init(&scan->walk_reader, state,
					   list_nth(plan->custom_plans, AK_WALK_ALL));

	/* expressions have been made for another kind of slot */
	ExecInitScanTupleSlot(estate, state, desc, ops, 0);
	scan->fetched = state->ss_ScanTupleSlot;
	if (IsA(scan->runs_reader.plan, IndexOnlyScan) ||
		(scan->walk_reader.plan != NULL && IsA(scan->walk_reader.plan, IndexOnlyScan)))
	{
		scan->made = ExecInitExtraTupleSlot(estate, desc, &TTSOpsVirtual);
		state->ps.scanopsfixed = false;
	}
	ExecAssignScanProjectionInfoWithVarno(state, plan->scan.scanrelid);
	state->ps.qual = ExecInitQual(list_nth(plan->custom_exprs, AK_WALK_CHECKED),
								  &state->ps);
	if (estate->es_epq_active != NULL)
		scan->recheck = ExecInitQual(list_nth(plan->custom_exprs, AK_WALK_MET),
									 &state->ps);
	scan->spare = ExecInitExtraTupleSlot(estate, desc, ops);
}

static void
rescan_ordered(CustomScanState *node)
{
	OrderedScan *scan = (OrderedScan *) node;

	ExecScanReScan(&node->ss);
	if (scan->next == first_row)
		return;
	node->ss.ss_ScanTupleSlot = scan->fetched;
	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	ExecClearTuple(scan->spare);
	if (scan->made != NULL)
		ExecClearTuple(scan->made);
	scan->next = first_row;
	scan->listed = false;
	scan->latest = NULL;
	scan->place.visited = NULL;
	scan->place.nvisited = scan->room = scan->dead = scan->wanted = 0;
	if (scan->merge != NULL)
		ak_merge_reset(scan->merge);
	if (scan->context != NULL)
		MemoryContextReset(scan->context);
}

static void
end_ordered(CustomScanState *node)
{
	OrderedScan *scan = (OrderedScan *) node;

	if (scan->merge != NULL)
		ak_merge_end(scan->merge);
	if (scan->walk != NULL)
		index_endscan(scan->walk);
	ak_reader_close(&scan->runs_reader);
	ak_reader_close(&scan->walk_reader);
}

/* As PostgreSQL shows the conditions of a scan. */
static void
explain_filter(const OrderedScan *scan, List *conditions, List *ancestors,
			   ExplainState * es)
{
	const PlanState *state = &scan->css.ss.ps;
	double		removed;
	double		loops;

	ak_reader_explain_condition(state->plan, "Filter", conditions, ancestors, es);
	if (!es->analyze || state->instrument == NULL)
		return;
	removed = state->instrument->nfiltered1;
	loops = state->instrument->nloops;
	if (removed > 0 || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyFloat("Rows Removed by Filter", NULL,
							 loops > 0 ? removed / loops : 0.0, 0, es);
}

static void
explain_ordered(CustomScanState *node, List *ancestors, ExplainState * es)
{
	OrderedScan *scan = (OrderedScan *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	bool		walks = scan->walk_reader.plan != NULL;

	explain_filter(scan, list_nth(plan->custom_exprs, AK_WALK_CHECKED), ancestors, es);
	ak_reader_explain(&scan->runs_reader, "Merged Index", "Index Cond", ancestors, es);
	if (walks)
		ak_reader_explain(&scan->walk_reader, "Walked Index", "Walk Cond", ancestors, es);
	if (!es->analyze)
		return;
	if (walks)
		ExplainPropertyInteger("Rows Walked", NULL, scan->total_walked, es);
	ExplainPropertyInteger("Projects Merged", NULL, scan->total_projects, es);
	ExplainPropertyInteger("Index Searches", NULL,
						   scan->total_walks +
						   (scan->merge != NULL ? ak_merge_searches(scan->merge) : 0),
						   es);
	if (scan->made != NULL)
		ExplainPropertyInteger("Heap Fetches", NULL,
							   scan->walk_reader.fetches + scan->runs_reader.fetches, es);
}

static const CustomExecMethods exec_methods = {
	.CustomName = "apikey ordered scan",
	.BeginCustomScan = begin_ordered,
	.ExecCustomScan = exec_ordered,
	.EndCustomScan = end_ordered,
	.ReScanCustomScan = rescan_ordered,
	.ExplainCustomScan = explain_ordered
};

static Node *
create_state(CustomScan *plan)
{
	OrderedScan *scan = palloc0(sizeof(OrderedScan));

	NodeSetTag(scan, T_CustomScanState);
	scan->css.methods = &exec_methods;
	return (Node *) scan;
}

const CustomScanMethods ak_walk_methods = {
	.CustomName = "apikey ordered scan",
	.CreateCustomScanState = create_state
};
