/*
 * store.c
 *		Reading our tables; see store.h.
 */
#include "postgres.h"

#include "table/store.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/inval.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "table/layout.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* An index scan under way. */
typedef struct StoreScan
{
	AkTable		table;
	Relation	rel;
	SysScanDesc desc;
} StoreScan;

/*
 * A catalog snapshot of one of our tables is always a fresh one, and other
 * than GetLatestSnapshot() it may be taken in parallel mode.
 */
Snapshot
ak_store_snapshot(void)
{
	return RegisterSnapshot(GetCatalogSnapshot(ak_schema_get()->tables[AK_TABLE_KEY]));
}

void
ak_store_release(Snapshot snapshot)
{
	UnregisterSnapshot(snapshot);
}

uint64
ak_store_read(Snapshot *snapshot)
{
	uint64		generation = ak_inval_generation(AK_TOPIC_SCHEMA);

	*snapshot = ak_store_snapshot();
	return generation;
}

uint64
ak_store_reread(Snapshot *snapshot, uint64 before)
{
	ak_store_release(*snapshot);
	if (before == ak_inval_generation(AK_TOPIC_SCHEMA))
		return 0;
	CHECK_FOR_INTERRUPTS();
	return ak_store_read(snapshot);
}

/* The bytes of a text in memory that outlives the scan. */
static AkName
copy_name(Datum text)
{
	AkName		name = ak_name_of_text(text);
	char	   *copy = palloc(name.len + 1);

	memcpy(copy, name.data, name.len);
	return (AkName)
	{
		copy, name.len
	};
}

/* Columns in C, which keys are of, as those of the table. */
static void
place_keys(AkTable table, int nkeys, ScanKey keys)
{
	const AttrNumber *columns = ak_layout_columns(table);

	for (int i = 0; i < nkeys; i++)
		keys[i].sk_attno = columns[keys[i].sk_attno - 1];
}

static void
scan_begin(StoreScan *scan, AkTable table, AkIndex index, Snapshot snapshot,
		   int nkeys, ScanKey keys)
{
	scan->table = table;
	scan->rel = ak_layout_open(table, AccessShareLock);
	place_keys(table, nkeys, keys);
	scan->desc = systable_beginscan(scan->rel, ak_layout_index(index), true,
									snapshot, nkeys, keys);
}

/* The columns in C of a row that it has found. */
static void
scan_read(const StoreScan *scan, HeapTuple tuple, Datum *values, bool *nulls)
{
	ak_layout_read(scan->table, scan->rel, tuple, values, nulls);
}

static void
scan_end(StoreScan *scan)
{
	systable_endscan(scan->desc);
	table_close(scan->rel, AccessShareLock);
}

static bool
is_uncommitted(HeapTuple tuple)
{
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
}

/* Start to scan for one key, and fetch its row; NULL if there is none. */
static HeapTuple
key_begin(StoreScan *scan, Snapshot snapshot, const pg_uuid_t *id)
{
	ScanKeyData key;

	ScanKeyInit(&key, Anum_apikey_key_key_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(id));
	scan_begin(scan, AK_TABLE_KEY, AK_INDEX_KEY_PKEY, snapshot, 1, &key);
	return systable_getnext(scan->desc);
}

/* Scheme, salt and verifier, which may be null. */
static void
copy_secret(AkSecret *secret, const Datum *values, const bool *nulls)
{
	AkName		name;

	secret->scheme = AK_SCHEME_UNKNOWN;
	if (nulls[0] || nulls[1] || nulls[2])
		return;
	name = ak_name_of_text(values[0]);
	secret->scheme = ak_secret_scheme(&name);
	secret->salt = copy_name(values[1]);
	secret->verifier = copy_name(values[2]);
}

/* The rate limit from these three columns, of which one at least is not null. */
static void
read_limit(AkRateLimit *limit, const pg_uuid_t *id, const Datum *values,
		   const bool *nulls)
{
	if (nulls[0] || nulls[1] || nulls[2] ||
		!ak_ratelimit_read(limit, DatumGetInt32(values[0]),
						   DatumGetIntervalP(values[1]),
						   DatumGetInt32(values[2])))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored rate limit of an API key is invalid"),
				 errdetail("The id of the key is %s.",
						   DatumGetCString(DirectFunctionCall1(uuid_out,
															   UUIDPGetDatum(id)))),
				 errhint("Set another one by apikey_update."),
				 errhidestmt(true)));
}

bool
ak_store_key(Snapshot snapshot, const pg_uuid_t *id, AkKeyRow *row)
{
	StoreScan	scan;
	HeapTuple	tuple = key_begin(&scan, snapshot, id);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
	{
		Datum		values[Natts_apikey_key];
		bool		nulls[Natts_apikey_key];

#define VALUE(column) values[Anum_apikey_key_##column - 1]
#define ISNULL(column) nulls[Anum_apikey_key_##column - 1]
		scan_read(&scan, tuple, values, nulls);
		row->organization = copy_name(VALUE(organization));
		row->prefix = copy_name(VALUE(prefix));
		row->secret = (AkSecret)
		{
			.key_id = *id,.expires_at = DT_NOEND,.uncommitted = is_uncommitted(tuple)
		};
		copy_secret(&row->secret, &VALUE(scheme), &ISNULL(scheme));
		row->organization_level = ISNULL(organization_level) ? AK_LEVEL_NONE :
			ak_schema_level(ak_schema_get(),
							DatumGetObjectId(VALUE(organization_level)));
		row->expires_at = ISNULL(expires_at) ? DT_NOEND :
			DatumGetTimestampTz(VALUE(expires_at));
		row->disabled = !ISNULL(disabled_at);
		row->revoked = !ISNULL(revoked_at);
		row->allowed_networks = ISNULL(allowed_networks) ? (Datum) 0 :
			PointerGetDatum(PG_DETOAST_DATUM_COPY(VALUE(allowed_networks)));
		row->limit.count = 0;
		if (!ISNULL(rate_count) || !ISNULL(rate_interval) ||
			!ISNULL(rate_burst))
			read_limit(&row->limit, id, &VALUE(rate_count),
					   &ISNULL(rate_count));
#undef VALUE
#undef ISNULL
	}
	scan_end(&scan);
	return found;
}

/* The row of apikey_secret that matches, and its place. */
static bool
find_secret(Snapshot snapshot, AkIndex index, ScanKey key, AkSecret *secret)
{
	StoreScan	scan;
	HeapTuple	tuple;
	Datum		values[Natts_apikey_secret];
	bool		nulls[Natts_apikey_secret];

	scan_begin(&scan, AK_TABLE_SECRET, index, snapshot, 1, key);
	tuple = systable_getnext(scan.desc);
	if (HeapTupleIsValid(tuple))
	{
		scan_read(&scan, tuple, values, nulls);
#define COLUMN(name) (Anum_apikey_secret_##name - 1)
		secret->key_id = *DatumGetUUIDP(values[COLUMN(key_id)]);
		secret->expires_at = nulls[COLUMN(expires_at)] ? DT_NOEND :
			DatumGetTimestampTz(values[COLUMN(expires_at)]);
		copy_secret(secret, &values[COLUMN(scheme)], &nulls[COLUMN(scheme)]);
		secret->imported = !nulls[COLUMN(lookup)];
		secret->uncommitted = is_uncommitted(tuple);
#undef COLUMN
	}
	scan_end(&scan);
	return HeapTupleIsValid(tuple);
}

bool
ak_store_secret(Snapshot snapshot, const pg_uuid_t *id, AkSecret *secret)
{
	ScanKeyData key;

	ScanKeyInit(&key, Anum_apikey_secret_key_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(id));
	return find_secret(snapshot, AK_INDEX_SECRET_PKEY, &key, secret);
}

static void
lookup_key(ScanKey key, const uint8 *lookup)
{
	ScanKeyInit(key, Anum_apikey_secret_lookup, BTEqualStrategyNumber,
				F_BYTEAEQ,
				PointerGetDatum(cstring_to_text_with_len((const char *) lookup,
														 AK_HASH_LEN)));
}

bool
ak_store_lookup(Snapshot snapshot, const uint8 lookup[AK_HASH_LEN],
				AkSecret *secret)
{
	ScanKeyData key;

	lookup_key(&key, lookup);
	return find_secret(snapshot, AK_INDEX_SECRET_LOOKUP, &key,
					   secret);
}

bool
ak_store_any_lookup(Snapshot snapshot)
{
	ScanKeyData key;
	AkSecret	secret;

	ScanKeyEntryInitialize(&key, SK_ISNULL | SK_SEARCHNOTNULL,
						   Anum_apikey_secret_lookup, InvalidStrategy,
						   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	return find_secret(snapshot, AK_INDEX_SECRET_LOOKUP, &key,
					   &secret);
}

/* The value of a column in C, in memory that outlives the scan. */
static void
copy_column(const StoreScan *scan, AttrNumber column, const Datum *values,
			const bool *nulls, Datum *value, bool *isnull)
{
	AttrNumber	number = ak_layout_columns(scan->table)[column - 1];
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(scan->rel),
												number - 1);

	*isnull = nulls[column - 1];
	if (*isnull)
		return;
	*value = values[column - 1];
	if (attribute->attlen == -1)
		*value = PointerGetDatum(PG_DETOAST_DATUM_COPY(*value));
	else
		*value = datumCopy(*value, attribute->attbyval, attribute->attlen);
}

bool
ak_store_profile(Snapshot snapshot, const pg_uuid_t *id, AkProfile *profile)
{
	static const AttrNumber columns[AK_PROFILE_COLUMNS] = {
		Anum_apikey_key_key_id, Anum_apikey_key_organization,
		Anum_apikey_key_organization_level, Anum_apikey_key_label,
		Anum_apikey_key_expires_at, Anum_apikey_key_created_at,
		Anum_apikey_key_created_by, Anum_apikey_key_metadata
	};
	StoreScan	scan;
	HeapTuple	tuple = key_begin(&scan, snapshot, id);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
	{
		Datum		values[Natts_apikey_key];
		bool		nulls[Natts_apikey_key];

		scan_read(&scan, tuple, values, nulls);
		for (int i = 0; i < AK_PROFILE_COLUMNS; i++)
			copy_column(&scan, columns[i], values, nulls, &profile->values[i],
						&profile->nulls[i]);
	}
	scan_end(&scan);
	return found;
}

bool
ak_store_key_is_uncommitted(Snapshot snapshot, const pg_uuid_t *id)
{
	StoreScan	scan;
	HeapTuple	tuple = key_begin(&scan, snapshot, id);
	bool		uncommitted = HeapTupleIsValid(tuple) && is_uncommitted(tuple);

	scan_end(&scan);
	return uncommitted;
}

/* Columns of the index apikey_grant_key: it has no others. */
enum
{
	Anum_apikey_grant_key_key_id = 1,
	Anum_apikey_grant_key_project,
	Anum_apikey_grant_key_environment,
	Anum_apikey_grant_key_level,
	Natts_apikey_grant_key = Anum_apikey_grant_key_level
};

/*
 * The columns of the index for the entry that "scan" stands at, and whether this
 * transaction wrote the row; false if the row is not visible.  Where all of
 * a page is visible to everybody the table is not read: an index-only scan, as
 * in nodeIndexonlyscan.c.
 */
static bool
read_grant(IndexScanDesc scan, ItemPointer tid, Buffer *map,
		   TupleTableSlot **slot, Datum *values, bool *nulls, bool *uncommitted)
{
	Relation	rel = scan->heapRelation;

	if (!VM_ALL_VISIBLE(rel, ItemPointerGetBlockNumber(tid), map))
	{
		bool		should_free;
		HeapTuple	tuple;

		if (*slot == NULL)
			*slot = table_slot_create(rel, NULL);
		if (!index_fetch_heap(scan, *slot))
			return false;
		tuple = ExecFetchSlotHeapTuple(*slot, false, &should_free);
		if (is_uncommitted(tuple))
			*uncommitted = true;
	}
	index_deform_tuple(scan->xs_itup, scan->xs_itupdesc, values, nulls);
	return true;
}

int
ak_store_grants(Snapshot snapshot, const pg_uuid_t *id, AkGrant **grants,
				bool *uncommitted)
{
	Relation	rel = ak_layout_open(AK_TABLE_GRANT, AccessShareLock);
	Relation	index = index_open(ak_layout_index(AK_INDEX_GRANT_KEY),
								   AccessShareLock);
	IndexScanDesc scan = index_beginscan(rel, index, snapshot, NULL, 1, 0);
	ScanKeyData key;
	ItemPointer tid;
	Buffer		map = InvalidBuffer;
	TupleTableSlot *slot = NULL;
	int			count = 0;
	int			room = 4;

	*grants = palloc(room * sizeof(AkGrant));
	ScanKeyInit(&key, Anum_apikey_grant_key_key_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(id));
	scan->xs_want_itup = true;
	index_rescan(scan, &key, 1, NULL, 0);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		Datum		values[Natts_apikey_grant_key];
		bool		nulls[Natts_apikey_grant_key];
		AkGrant    *grant;

		CHECK_FOR_INTERRUPTS();
		if (!read_grant(scan, tid, &map, &slot, values, nulls, uncommitted))
			continue;
		if (count == room)
		{
			room *= 2;
			*grants = repalloc_huge(*grants, room * sizeof(AkGrant));
		}
		grant = &(*grants)[count++];
		grant->project = nulls[Anum_apikey_grant_key_project - 1] ?
			ak_name_all : copy_name(values[Anum_apikey_grant_key_project - 1]);
		grant->environment =
			copy_name(values[Anum_apikey_grant_key_environment - 1]);
		grant->level =
			ak_schema_level(ak_schema_get(),
							DatumGetObjectId(values[Anum_apikey_grant_key_level - 1]));
		/* none is registered under so long a name */
		if (grant->project.len > AK_NAME_MAX ||
			grant->environment.len > AK_NAME_MAX)
			count--;
	}
	if (slot != NULL)
		ExecDropSingleTupleTableSlot(slot);
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	index_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return count;
}

bool
ak_store_has_budget(Snapshot snapshot, const pg_uuid_t *id)
{
	StoreScan	scan;
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, Anum_apikey_budget_key_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(id));
	scan_begin(&scan, AK_TABLE_BUDGET, AK_INDEX_BUDGET_PKEY, snapshot, 1,
			   &key);
	found = HeapTupleIsValid(systable_getnext(scan.desc));
	scan_end(&scan);
	return found;
}

/*
 * All rows of apikey_environment that match but '*'; returns how many, or -1 if
 * there are more than "limit".
 */
static int
scan_environments(Snapshot snapshot, AkIndex index, int nkeys, ScanKey keys,
				  int limit, AkEnvironmentRow **rows)
{
	StoreScan	scan;
	HeapTuple	tuple;
	int			count = 0;
	int			room = 4;

	*rows = palloc(room * sizeof(AkEnvironmentRow));
	scan_begin(&scan, AK_TABLE_ENVIRONMENT, index, snapshot, nkeys, keys);
	while (count <= limit &&
		   HeapTupleIsValid(tuple = systable_getnext(scan.desc)))
	{
		Datum		values[Natts_apikey_environment];
		bool		nulls[Natts_apikey_environment];
		AkEnvironmentRow *row;

		if (count == room)
		{
			room *= 2;
			*rows = repalloc_huge(*rows, room * sizeof(AkEnvironmentRow));
		}
		scan_read(&scan, tuple, values, nulls);
		row = &(*rows)[count++];
		row->project =
			copy_name(values[Anum_apikey_environment_project - 1]);
		row->environment =
			copy_name(values[Anum_apikey_environment_environment - 1]);
		row->organization =
			copy_name(values[Anum_apikey_environment_organization - 1]);
		if (ak_name_equal(&row->environment, &ak_name_all))
			count--;
	}
	scan_end(&scan);
	return count <= limit ? count : -1;
}

static void
name_key(ScanKey key, AttrNumber column, const AkName *name)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_TEXTEQ,
				ak_name_to_text(name));
}

bool
ak_store_environment(Snapshot snapshot, const AkName *project,
					 const AkName *environment, AkEnvironmentRow *row)
{
	ScanKeyData keys[2];
	AkEnvironmentRow *rows;

	name_key(&keys[0], Anum_apikey_environment_project, project);
	name_key(&keys[1], Anum_apikey_environment_environment, environment);
	if (scan_environments(snapshot, AK_INDEX_ENVIRONMENT_PKEY, 2, keys,
						  AK_STORE_NO_LIMIT, &rows) == 0)
		return false;
	*row = rows[0];
	return true;
}

int
ak_store_project(Snapshot snapshot, const AkName *project,
				 AkEnvironmentRow **rows)
{
	ScanKeyData key;

	name_key(&key, Anum_apikey_environment_project, project);
	return scan_environments(snapshot, AK_INDEX_ENVIRONMENT_PKEY, 1,
							 &key, AK_STORE_NO_LIMIT, rows);
}

int
ak_store_organization(Snapshot snapshot, const AkName *organization, int limit,
					  AkEnvironmentRow **rows)
{
	ScanKeyData key;

	name_key(&key, Anum_apikey_environment_organization, organization);
	return scan_environments(snapshot,
							 AK_INDEX_ENVIRONMENT_ORGANIZATION, 1,
							 &key, limit, rows);
}

void
ak_store_use(Snapshot snapshot, const pg_uuid_t *id, AkUseRow *row)
{
	StoreScan	scan;
	ScanKeyData key;
	HeapTuple	tuple;

	memset(row, 0, sizeof(AkUseRow));
	ScanKeyInit(&key, Anum_apikey_use_key_id, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(id));
	scan_begin(&scan, AK_TABLE_USE, AK_INDEX_USE_PKEY, snapshot, 1, &key);
	tuple = systable_getnext(scan.desc);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[Natts_apikey_use];
		bool		nulls[Natts_apikey_use];

#define TIME(column) \
	(nulls[Anum_apikey_use_##column - 1] ? 0 : \
	 DatumGetTimestampTz(values[Anum_apikey_use_##column - 1]))
		scan_read(&scan, tuple, values, nulls);
		row->uses = DatumGetInt64(values[Anum_apikey_use_uses - 1]);
		row->refusals = DatumGetInt64(values[Anum_apikey_use_refusals - 1]);
		row->last_used = TIME(last_used_at);
		row->last_refused = TIME(last_refused_at);
		row->limit_until = TIME(limit_until);
#undef TIME
	}
	scan_end(&scan);
}

int
ak_store_use_hours(Snapshot snapshot, const pg_uuid_t *id, AkUseHourRow **rows)
{
	Relation	rel = ak_layout_open(AK_TABLE_USE_HOUR, AccessShareLock);
	Relation	index = index_open(ak_layout_index(AK_INDEX_USE_HOUR_PKEY),
								   AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	int			size = 64;
	int			count = 0;

	*rows = palloc(size * sizeof(AkUseHourRow));
	ScanKeyInit(&key, Anum_apikey_use_hour_key_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(id));
	place_keys(AK_TABLE_USE_HOUR, 1, &key);
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 ForwardScanDirection)))
	{
		Datum		values[Natts_apikey_use_hour];
		bool		nulls[Natts_apikey_use_hour];

		if (count == size)
		{
			size *= 2;
			*rows = repalloc_huge(*rows, size * sizeof(AkUseHourRow));
		}
		ak_layout_read(AK_TABLE_USE_HOUR, rel, tuple, values, nulls);
		(*rows)[count++] = (AkUseHourRow)
		{
			DatumGetTimestampTz(values[Anum_apikey_use_hour_hour - 1]),
				DatumGetInt64(values[Anum_apikey_use_hour_uses - 1]),
				DatumGetInt64(values[Anum_apikey_use_hour_refusals - 1])
		};
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return count;
}
