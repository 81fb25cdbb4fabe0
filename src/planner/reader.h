/*
 * reader.h
 *		An index that an ordered scan reads, and what it looks for there.
 */
#ifndef AK_READER_H
#define AK_READER_H

#include "postgres.h"

#include "access/genam.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "base/compat.h"
#include "nodes/execnodes.h"
#include "storage/buf.h"

typedef struct AkReader
{
	ScanState  *state;			/* the node that reads */
	Plan	   *plan;			/* an index scan, not executed; NULL: there is
								 * none */
	Oid			indexid;
	ScanDirection direction;

	/* once it is open */
	Relation	index;
	ScanKey		keys;
	int			nkeys;
	ExprContext *context;		/* what they are compared with, if it must be
								 * evaluated */
	IndexRuntimeKeyInfo *runtime;
	int			nruntime;
	bool		only;			/* may rows be made of the index's columns? */
	Buffer		map;			/* page of the visibility map, if so */
	int64		fetches;		/* rows that were fetched all the same */
} AkReader;

/* Take index and direction from an index scan. */
extern void ak_reader_init(AkReader *reader, ScanState *state, Plan *plan);

/* Open the index, as a scan does, and make the scan keys. */
extern void ak_reader_open(AkReader *reader);

/* Evaluate what the scan keys are compared with, anew. */
extern void ak_reader_evaluate(AkReader *reader);

/* Begin a scan with so many scan keys, to be ended by index_endscan. */
extern IndexScanDesc ak_reader_begin(const AkReader *reader, int nkeys);

/* Need the row of the scan's entry not be fetched, as everybody sees it? */
extern bool ak_reader_is_visible(AkReader *reader, IndexScanDesc scan);

/*
 * Make a row of an index entry, with null for what the index does not have, in a slot for
 * virtual tuples of the table.  It points to the entry.
 */
extern void ak_reader_store(AkReader *reader, IndexTuple entry,
							ItemPointer tid, TupleTableSlot *slot);

/* Close the index, if it is open. */
extern void ak_reader_close(AkReader *reader);

/* Show the conditions of a plan, a list, under this label, if there are any. */
extern void ak_reader_explain_condition(const Plan *plan, const char *label,
										List *conditions, List *ancestors,
										ExplainState * es);

/* Show index and condition, under these labels. */
extern void ak_reader_explain(const AkReader *reader, const char *label,
							  const char *condition_label, List *ancestors,
							  ExplainState * es);

#endif							/* AK_READER_H */
