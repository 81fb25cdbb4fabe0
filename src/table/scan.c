/*
 * scan.c
 *		Scans of our tables by an index; see scan.h.
 */
#include "postgres.h"

#include "table/scan.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "base/compat.h"
#include "utils/rel.h"

#define MAX_KEYS	2

void
ak_scan_begin(AkScan *scan, AkIndex index, ScanDirection direction,
			  Snapshot snapshot, int nkeys, const ScanKeyData *keys)
{
	ScanKeyData placed[MAX_KEYS];

	Assert(nkeys <= MAX_KEYS);
	scan->table = ak_layout_table(index);
	scan->rel = ak_layout_open(scan->table, AccessShareLock);
	scan->direction = direction;
	scan->index = NULL;
	for (int i = 0; i < nkeys; i++)
	{
		placed[i] = keys[i];
		placed[i].sk_attno = ak_layout_columns(scan->table)[keys[i].sk_attno - 1];
	}
	if (direction == NoMovementScanDirection)
	{
		scan->desc = systable_beginscan(scan->rel, ak_layout_index(scan->rel, index), true,
										snapshot, nkeys, placed);
		return;
	}
	scan->index = index_open(ak_layout_index(scan->rel, index), AccessShareLock);
	scan->desc = systable_beginscan_ordered(scan->rel, scan->index, snapshot,
											nkeys, placed);
}

void
ak_scan_table(AkScan *scan, AkTable table, Snapshot snapshot)
{
	scan->table = table;
	scan->rel = ak_layout_open(table, AccessShareLock);
	scan->direction = NoMovementScanDirection;
	scan->index = NULL;
	scan->desc = systable_beginscan(scan->rel, InvalidOid, false, snapshot, 0,
									NULL);
}

bool
ak_scan_any(AkTable table)
{
	AkScan		scan;
	bool		any;

	ak_scan_table(&scan, table, NULL);
	any = ak_scan_next(&scan);
	ak_scan_end(&scan);
	return any;
}

bool
ak_scan_one(AkScan *scan, AkIndex index, Snapshot snapshot, AttrNumber column,
			RegProcedure equal, Datum value)
{
	ScanKeyData key;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, equal, value);
	ak_scan_begin(scan, index, NoMovementScanDirection, snapshot, 1, &key);
	return ak_scan_next(scan);
}

bool
ak_scan_next(AkScan *scan)
{
	scan->tuple = scan->index == NULL ? systable_getnext(scan->desc) :
		systable_getnext_ordered(scan->desc, scan->direction);
	return HeapTupleIsValid(scan->tuple);
}

void
ak_scan_read(const AkScan *scan, AkRow *row)
{
	ak_layout_read(scan->table, scan->rel, scan->tuple, row);
}

Datum
ak_scan_value(const AkScan *scan, AttrNumber column, bool *isnull)
{
	return heap_getattr(scan->tuple,
						ak_layout_columns(scan->table)[column - 1],
						RelationGetDescr(scan->rel), isnull);
}

void
ak_scan_end(AkScan *scan)
{
	if (scan->index == NULL)
		systable_endscan(scan->desc);
	else
	{
		systable_endscan_ordered(scan->desc);
		index_close(scan->index, AccessShareLock);
	}
	table_close(scan->rel, AccessShareLock);
}
