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
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "table/follow.h"
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
			!ak_schema_has_member(ProcedureRelationId, triggers->triggers[i].tgfoid))
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

/*
 * Find the row and lock it, into the slot; false if that means to wait, or if it is
 * not what it was.  The snapshot keeps its place from being given to another row.
 */
static bool
lock_secret(Relation rel, Snapshot snapshot, const pg_uuid_t *id, AkScheme old,
			TupleTableSlot *slot)
{
	AkSecret	secret;
	TM_FailureData failure;

	return ak_store_secret(snapshot, id, &secret) && secret.scheme == old &&
		table_tuple_lock(rel, &secret.tid, snapshot, slot,
						 GetCurrentCommandId(true), LockTupleNoKeyExclusive,
						 LockWaitSkip, 0, &failure) == TM_Ok;
}

/* Write the row anew, with another hash. */
static void
update_secret(Relation rel, TupleTableSlot *slot, AkScheme scheme,
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
ak_rehash_store(const pg_uuid_t *id, AkScheme old,
				AkScheme scheme, const uint8 salt[AK_SALT_LEN],
				const uint8 verifier[AK_HASH_LEN])
{
	Relation	rel;

	if (ak_follow_is_on())
		return;
	/* opening a table that is locked does not wait */
	if (!ConditionalLockRelationOid(ak_schema_table(AK_TABLE_SECRET),
									RowExclusiveLock))
		return;
	rel = ak_layout_open(AK_TABLE_SECRET, RowExclusiveLock);
	if (is_plain(rel))
	{
		Snapshot	snapshot = ak_store_snapshot();
		TupleTableSlot *slot = table_slot_create(rel, NULL);

		if (lock_secret(rel, snapshot, id, old, slot))
			update_secret(rel, slot, scheme, salt, verifier);
		ExecDropSingleTupleTableSlot(slot);
		ak_store_release(snapshot);
	}
	table_close(rel, NoLock);
}
