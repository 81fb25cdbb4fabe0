/*
 * rehash.c
 *		Another hash of the same secret in the place of a slow one; see rehash.h.
 */
#include "postgres.h"

#include "table/rehash.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/indexing.h"
#include "catalog/pg_index.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "table/layout.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

/*
 * What the extension has put on the table itself, or a foreign key of ours.  The
 * relcache may make its own copy anew whenever something is looked up.
 */
static bool
has_only_our_triggers(Relation rel)
{
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (!triggers->triggers[i].tgisinternal &&
			!ak_schema_has_function(triggers->triggers[i].tgfoid))
			return false;
	return true;
}

static bool
has_only_plain_indexes(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	bool		plain = true;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		HeapTuple	tuple = index->rd_indextuple;

		plain = plain && index->rd_index->indimmediate &&
			!index->rd_index->indisexclusion &&
			heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
		index_close(index, AccessShareLock);
	}
	return plain;
}

/* Can a row be changed as that of a catalog is? */
static bool
is_plain(Relation rel)
{
	TupleConstr *constraints = RelationGetDescr(rel)->constr;

	return (constraints == NULL ||
			(constraints->num_check == 0 &&
			 !constraints->has_generated_stored)) &&
		has_only_our_triggers(rel) && has_only_plain_indexes(rel);
}

/* Is this how the verifier in the row was made? */
static bool
has_scheme(Relation rel, HeapTuple tuple, AkScheme scheme)
{
	Datum		values[Natts_apikey_secret];
	bool		nulls[Natts_apikey_secret];
	AkName		name;

	ak_layout_read(AK_TABLE_SECRET, rel, tuple, values, nulls);
	name = ak_name_of_text(values[Anum_apikey_secret_scheme - 1]);
	return ak_secret_scheme(&name) == scheme;
}

/*
 * Find the row and lock it, into the slot; false if that means to wait, or if it is
 * not what it was.  The snapshot keeps its place from being given to another row.
 */
static bool
lock_row(Relation rel, Snapshot snapshot, const uint8 *lookup, AkScheme old,
		 TupleTableSlot *slot)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	ItemPointerData tid;
	TM_FailureData failure;
	bool		found;

	ScanKeyInit(&key,
				ak_layout_columns(AK_TABLE_SECRET)[Anum_apikey_secret_lookup - 1],
				BTEqualStrategyNumber, F_BYTEAEQ,
				PointerGetDatum(cstring_to_text_with_len((const char *) lookup,
														 AK_HASH_LEN)));
	scan = systable_beginscan(rel, ak_layout_index(AK_INDEX_SECRET_LOOKUP),
							  true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple) && has_scheme(rel, tuple, old);
	if (found)
		tid = tuple->t_self;
	systable_endscan(scan);
	return found &&
		table_tuple_lock(rel, &tid, snapshot, slot, GetCurrentCommandId(true),
						 LockTupleNoKeyExclusive, LockWaitSkip, 0,
						 &failure) == TM_Ok;
}

/* Write the row anew, with another secret. */
static void
update_row(Relation rel, TupleTableSlot *slot, AkScheme scheme,
		   const uint8 *salt, const uint8 *verifier)
{
	const AttrNumber *columns = ak_layout_columns(AK_TABLE_SECRET);
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc0(desc->natts * sizeof(bool));
	bool	   *replaces = palloc0(desc->natts * sizeof(bool));
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);

#define REPLACE(name, value) \
	(values[columns[Anum_apikey_secret_##name - 1] - 1] = PointerGetDatum(value), \
	 replaces[columns[Anum_apikey_secret_##name - 1] - 1] = true)
	REPLACE(scheme, cstring_to_text(ak_secret_scheme_name(scheme)));
	REPLACE(salt, cstring_to_text_with_len((const char *) salt, AK_SALT_LEN));
	REPLACE(verifier, cstring_to_text_with_len((const char *) verifier,
											   AK_HASH_LEN));
#undef REPLACE
	CatalogTupleUpdate(rel, &slot->tts_tid,
					   heap_modify_tuple(tuple, desc, values, nulls,
										 replaces));
}

void
ak_rehash_store(const uint8 lookup[AK_HASH_LEN], AkScheme old,
				AkScheme scheme, const uint8 salt[AK_SALT_LEN],
				const uint8 verifier[AK_HASH_LEN])
{
	Relation	rel;

	/* once it is locked, opening it takes no more waiting */
	if (!ConditionalLockRelationOid(ak_schema_get()->tables[AK_TABLE_SECRET],
									RowExclusiveLock))
		return;
	rel = ak_layout_open(AK_TABLE_SECRET, RowExclusiveLock);
	if (is_plain(rel))
	{
		Snapshot	snapshot = ak_store_snapshot();
		TupleTableSlot *slot = table_slot_create(rel, NULL);

		if (lock_row(rel, snapshot, lookup, old, slot))
			update_row(rel, slot, scheme, salt, verifier);
		ExecDropSingleTupleTableSlot(slot);
		ak_store_release(snapshot);
	}
	table_close(rel, NoLock);
}
