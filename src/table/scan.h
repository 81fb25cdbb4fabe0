/*
 * scan.h
 *		Scans of our tables by an index.
 *
 * A scan goes by a snapshot of store.h, or NULL for one of now, taken once the table is
 * locked: AccessShareLock, until the scan ends.  ak_schema_accept() must have been
 * called.
 */
#ifndef AK_SCAN_H
#define AK_SCAN_H

#include "postgres.h"

#include "access/genam.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "table/layout.h"
#include "utils/snapshot.h"

typedef struct AkScan
{
	HeapTuple	tuple;			/* the row that it is at */
	Relation	rel;

	/* private to scan.c */
	AkTable		table;
	Relation	index;			/* NULL: in no order */
	ScanDirection direction;
	SysScanDesc desc;
} AkScan;

/*
 * Keys are of columns in C, as Anum_ has them, and are copied.  Rows come in the order
 * of the index, or with NoMovementScanDirection in any.
 */
extern void ak_scan_begin(AkScan *scan, AkIndex index, ScanDirection direction,
						  Snapshot snapshot, int nkeys, const ScanKeyData *keys);

/* All rows of a table that has few, in no order, without an index. */
extern void ak_scan_table(AkScan *scan, AkTable table, Snapshot snapshot);

/* Has such a table a row, as of now? */
extern bool ak_scan_any(AkTable table);

/* Go to the next row; false if there is none. */
extern bool ak_scan_next(AkScan *scan);

/* Columns of the row, valid until the next: all, by ak_layout_read(), or one. */
extern void ak_scan_read(const AkScan *scan, AkRow *row);
extern Datum ak_scan_value(const AkScan *scan, AttrNumber column, bool *isnull);

extern void ak_scan_end(AkScan *scan);

/* The first row by one key, if there is one; to be ended in either case. */
extern bool ak_scan_one(AkScan *scan, AkIndex index, Snapshot snapshot,
						AttrNumber column, RegProcedure equal, Datum value);

#endif							/* AK_SCAN_H */
