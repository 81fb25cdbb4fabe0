/*
 * store.c
 *		Rows of our tables; see store.h.
 */
#include "postgres.h"

#include "table/store.h"

#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/inval.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "table/scan.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/*
 * A catalog snapshot of one of our tables is always fresh, and unlike that of
 * GetLatestSnapshot() it may be taken in parallel mode.
 */
Snapshot
ak_store_snapshot(void)
{
	return RegisterSnapshot(GetCatalogSnapshot(ak_schema_table(AK_TABLE_KEY)));
}

void
ak_store_release(Snapshot snapshot)
{
	UnregisterSnapshot(snapshot);
}

uint64
ak_store_read(Snapshot *snapshot)
{
	uint64		generation = ak_inval_schema;

	*snapshot = ak_store_snapshot();
	return generation;
}

uint64
ak_store_reread(Snapshot *snapshot, uint64 before)
{
	ak_store_release(*snapshot);
	if (before == ak_inval_schema)
		return 0;
	CHECK_FOR_INTERRUPTS();
	return ak_store_read(snapshot);
}

/* The bytes of a value, in memory that outlives the scan. */
static AkName
copy_bytes(Datum value)
{
	return ak_name_copy(ak_name_of_text(value));
}

static bool
is_uncommitted(HeapTuple tuple)
{
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
}

/* An array with room for one row more; it may move. */
static void *
make_room(void *rows, int count, int *room, Size row_size)
{
	if (count < *room)
		return rows;
	*room *= 2;
	return repalloc_huge(rows, *room * row_size);
}

/* ------------------------------------------------------- keys and secrets */

#define KEY(column)				AK_VALUE(key, apikey_key, column)
#define KEY_ISNULL(column)		AK_ISNULL(key, apikey_key, column)

/* Scan for one key. */
static bool
begin_key(AkScan *scan, Snapshot snapshot, const pg_uuid_t *id)
{
	return ak_scan_one(scan, AK_INDEX_KEY_PKEY, snapshot,
					   Anum_apikey_key_key_id, F_UUID_EQ, UUIDPGetDatum(id));
}

static void
set_proof(AkSecret *secret, Datum scheme, Datum salt, Datum verifier)
{
	AkName		name = ak_name_of_text(scheme);

	secret->scheme = ak_secret_scheme(&name);
	secret->salt = copy_bytes(salt);
	secret->verifier = copy_bytes(verifier);
}

static void
read_limit(AkRateLimit *limit, const AkRow *key)
{
	if (KEY_ISNULL(rate_count) && KEY_ISNULL(rate_interval) &&
		KEY_ISNULL(rate_burst))
		limit->count = 0;
	else if (KEY_ISNULL(rate_count) || KEY_ISNULL(rate_interval) ||
			 KEY_ISNULL(rate_burst) ||
			 !ak_ratelimit_read(limit, DatumGetInt32(KEY(rate_count)),
								DatumGetIntervalP(KEY(rate_interval)),
								DatumGetInt32(KEY(rate_burst))))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored rate limit of an API key is invalid"),
				 errdetail("The id of the key is %s.",
						   DatumGetCString(DirectFunctionCall1(uuid_out,
															   KEY(key_id)))),
				 errhint("Set another one by apikey_update."),
				 errhidestmt(true)));
}

/* A reason that SQL has made longer than ours may be is cut off. */
static AkName
copy_reason(Datum value)
{
	AkName		reason = ak_name_of_text(value);

	reason.len = pg_mbcliplen(reason.data, reason.len, AK_STORE_REASON_MAX);
	return ak_name_copy(reason);
}

static void
read_state(AkKeyRow *row, const AkRow *key)
{
	row->disabled = !KEY_ISNULL(disabled_at);
	row->revoked = !KEY_ISNULL(revoked_at);
	row->reason = ak_name_make("", 0);
	if (row->revoked && !KEY_ISNULL(revoked_reason))
		row->reason = copy_reason(KEY(revoked_reason));
	else if (!row->revoked && row->disabled && !KEY_ISNULL(disabled_reason))
		row->reason = copy_reason(KEY(disabled_reason));
}

static void
read_key(AkKeyRow *row, const AkRow *key, HeapTuple tuple)
{
	row->organization = copy_bytes(KEY(organization));
	row->prefix = copy_bytes(KEY(prefix));
	memset(&row->secret, 0, sizeof(AkSecret));
	row->secret.key_id = *DatumGetUUIDP(KEY(key_id));
	row->secret.expires_at = DT_NOEND;
	row->secret.uncommitted = is_uncommitted(tuple);
	row->secret.xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	if (!KEY_ISNULL(scheme) && !KEY_ISNULL(salt) && !KEY_ISNULL(verifier))
		set_proof(&row->secret, KEY(scheme), KEY(salt), KEY(verifier));
	row->organization_level = KEY_ISNULL(organization_level) ? AK_LEVEL_NONE :
		ak_schema_level(DatumGetObjectId(KEY(organization_level)));
	row->expires_at = KEY_ISNULL(expires_at) ? DT_NOEND :
		DatumGetTimestampTz(KEY(expires_at));
	read_state(row, key);
	row->allowed_networks = KEY_ISNULL(allowed_networks) ? (Datum) 0 :
		PointerGetDatum(PG_DETOAST_DATUM_COPY(KEY(allowed_networks)));
	read_limit(&row->limit, key);
	row->since = DatumGetTimestampTz(KEY(created_at));
	if (!KEY_ISNULL(imported_at))
		row->since = Max(row->since, DatumGetTimestampTz(KEY(imported_at)));
	row->derived = !KEY_ISNULL(parent_id);
	if (row->derived)
		row->parent_id = *DatumGetUUIDP(KEY(parent_id));
}

bool
ak_store_key(Snapshot snapshot, const pg_uuid_t *id, AkKeyRow *row)
{
	AkScan		scan;
	bool		found = begin_key(&scan, snapshot, id);

	if (found)
	{
		AkRow		key;

		ak_scan_read(&scan, &key);
		read_key(row, &key, scan.tuple);
	}
	ak_scan_end(&scan);
	return found;
}

/* The value of a column in C, in memory that outlives the scan. */
static void
copy_column(const AkScan *scan, AttrNumber column, const AkRow *row,
			Datum *value, bool *isnull)
{
	AttrNumber	number = ak_layout_columns(AK_TABLE_KEY)[column - 1];
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(scan->rel),
												number - 1);

	*isnull = row->nulls[column - 1];
	if (*isnull)
		return;
	*value = row->values[column - 1];
	if (attribute->attlen == -1)
		*value = PointerGetDatum(PG_DETOAST_DATUM_COPY(*value));
	else
		*value = datumCopy(*value, attribute->attbyval, attribute->attlen);
}

bool
ak_store_profile(Snapshot snapshot, const pg_uuid_t *id, Datum *values,
				 bool *nulls)
{
	static const AttrNumber columns[] = {
		[AK_PROFILE_KEY_ID] = Anum_apikey_key_key_id,
		[AK_PROFILE_ORGANIZATION] = Anum_apikey_key_organization,
		[AK_PROFILE_ORGANIZATION_LEVEL] = Anum_apikey_key_organization_level,
		[AK_PROFILE_LABEL] = Anum_apikey_key_label,
		[AK_PROFILE_EXPIRES_AT] = Anum_apikey_key_expires_at,
		[AK_PROFILE_CREATED_AT] = Anum_apikey_key_created_at,
		[AK_PROFILE_CREATED_BY] = Anum_apikey_key_created_by,
		[AK_PROFILE_METADATA] = Anum_apikey_key_metadata
	};
	AkScan		scan;
	bool		found = begin_key(&scan, snapshot, id);

	if (found)
	{
		AkRow		key;

		ak_scan_read(&scan, &key);
		for (int i = 0; i < (int) lengthof(columns); i++)
			copy_column(&scan, columns[i], &key, &values[i], &nulls[i]);
	}
	ak_scan_end(&scan);
	return found;
}

bool
ak_store_key_is_uncommitted(Snapshot snapshot, const pg_uuid_t *id)
{
	AkScan		scan;
	bool		result = begin_key(&scan, snapshot, id) &&
	is_uncommitted(scan.tuple);

	ak_scan_end(&scan);
	return result;
}

int
ak_store_derived(Snapshot snapshot, const pg_uuid_t *parent, pg_uuid_t **ids)
{
	ScanKeyData keys[2];
	AkScan		scan;
	int			count = 0;
	int			room = 16;

	*ids = palloc(room * sizeof(pg_uuid_t));
	ScanKeyInit(&keys[0], Anum_apikey_key_parent_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(parent));
	ScanKeyInit(&keys[1], Anum_apikey_key_expires_at, BTGreaterStrategyNumber,
				F_TIMESTAMPTZ_GT, TimestampTzGetDatum(ak_clock_now()));
	ak_scan_begin(&scan, AK_INDEX_KEY_PARENT, NoMovementScanDirection, snapshot,
				  2, keys);
	while (ak_scan_next(&scan))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		(void) ak_scan_value(&scan, Anum_apikey_key_revoked_at, &isnull);
		if (!isnull)
			continue;
		*ids = make_room(*ids, count, &room, sizeof(pg_uuid_t));
		(*ids)[count++] =
			*DatumGetUUIDP(ak_scan_value(&scan, Anum_apikey_key_key_id, &isnull));
	}
	ak_scan_end(&scan);
	return count;
}

int
ak_store_max_derived(Snapshot snapshot, const pg_uuid_t *id)
{
	AkScan		scan;
	int			result = 0;
	bool		isnull;

	if (ak_scan_one(&scan, AK_INDEX_DERIVATION_PKEY, snapshot,
					Anum_apikey_derivation_key_id, F_UUID_EQ, UUIDPGetDatum(id)))
		result = DatumGetInt32(ak_scan_value(&scan, Anum_apikey_derivation_max_derived,
											 &isnull));
	ak_scan_end(&scan);
	return result;
}

AkRule
ak_store_read_rule(Datum value)
{
	AkRule		rule = {AK_SCHEME_UNKNOWN};
	AkName		hash;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	deconstruct_array(DatumGetArrayTypePCopy(value), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (nulls[i])
			return rule;
	if (count != 3)
		return rule;
	hash = ak_name_of_text(elements[0]);
	rule.hash = ak_secret_scheme(&hash);
	rule.strip_prefix = copy_bytes(elements[1]);
	rule.after = copy_bytes(elements[2]);
	return rule;
}

/* The row of apikey_secret that a scan is at, if there is one; ends the scan. */
static bool
end_secret(AkScan *scan, AkSecret *secret)
{
	bool		found = HeapTupleIsValid(scan->tuple);

	if (found)
	{
		AkRow		row;

		ak_scan_read(scan, &row);
		secret->key_id = *DatumGetUUIDP(AK_VALUE(&row, apikey_secret, key_id));
		secret->expires_at = AK_ISNULL(&row, apikey_secret, expires_at) ? DT_NOEND :
			DatumGetTimestampTz(AK_VALUE(&row, apikey_secret, expires_at));
		secret->imported = !AK_ISNULL(&row, apikey_secret, lookup);
		memset(&secret->rule, 0, sizeof(AkRule));
		if (!AK_ISNULL(&row, apikey_secret, lookup_rule))
			secret->rule = ak_store_read_rule(AK_VALUE(&row, apikey_secret, lookup_rule));
		secret->uncommitted = is_uncommitted(scan->tuple);
		secret->xmin = HeapTupleHeaderGetRawXmin(scan->tuple->t_data);
		secret->tid = scan->tuple->t_self;
		set_proof(secret, AK_VALUE(&row, apikey_secret, scheme),
				  AK_VALUE(&row, apikey_secret, salt),
				  AK_VALUE(&row, apikey_secret, verifier));
	}
	ak_scan_end(scan);
	return found;
}

bool
ak_store_secret(Snapshot snapshot, const pg_uuid_t *id, AkSecret *secret)
{
	AkScan		scan;

	(void) ak_scan_one(&scan, AK_INDEX_SECRET_PKEY, snapshot,
					   Anum_apikey_secret_key_id, F_UUID_EQ, UUIDPGetDatum(id));
	return end_secret(&scan, secret);
}

bool
ak_store_lookup(Snapshot snapshot, const uint8 lookup[AK_HASH_LEN],
				AkSecret *secret)
{
	AkName		digest = {(const char *) lookup, AK_HASH_LEN};
	AkScan		scan;

	(void) ak_scan_one(&scan, AK_INDEX_SECRET_LOOKUP, snapshot,
					   Anum_apikey_secret_lookup, F_BYTEAEQ,
					   ak_name_to_text(&digest));
	return end_secret(&scan, secret);
}

/* ------------------------------------------------------------------ rules */

Datum
ak_store_rule(const AkRule *rule)
{
	Datum		elements[] = {
		CStringGetTextDatum(ak_secret_scheme_name(rule->hash)),
		ak_name_to_text(&rule->strip_prefix), ak_name_to_text(&rule->after)
	};

	return PointerGetDatum(construct_array(elements, lengthof(elements),
										   TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * From each entry of the index to the first greater one.  Entries are taken whether
 * the row is visible or not: see lookup.h.
 */
int
ak_store_rules(AkRule **rules)
{
	Relation	rel = ak_layout_open(AK_TABLE_SECRET, AccessShareLock);
	Relation	index = index_open(ak_layout_index(rel, AK_INDEX_SECRET_RULE),
								   AccessShareLock);
	IndexScanDesc scan = index_beginscan(rel, index, SnapshotAny, NULL, 1, 0,
										 SO_NONE);
	ScanKeyData key;
	int			count = 0;
	int			room = 4;

	*rules = palloc(room * sizeof(AkRule));
	ScanKeyEntryInitialize(&key, SK_ISNULL | SK_SEARCHNOTNULL, 1,
						   InvalidStrategy, InvalidOid, InvalidOid,
						   InvalidOid, (Datum) 0);
	scan->xs_want_itup = true;
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool		isnull;
		Datum		value = index_getattr(scan->xs_itup, 1, scan->xs_itupdesc,
										  &isnull);

		CHECK_FOR_INTERRUPTS();
		*rules = make_room(*rules, count, &room, sizeof(AkRule));
		(*rules)[count] = ak_store_read_rule(value);
		if ((*rules)[count].hash != AK_SCHEME_UNKNOWN)
			count++;
		ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_ARRAY_GT,
					PointerGetDatum(PG_DETOAST_DATUM_COPY(value)));
		index_rescan(scan, &key, 1, NULL, 0);
	}
	index_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return count;
}

bool
ak_store_has_rule(const AkRule *rule, bool uncommitted)
{
	AkScan		scan;
	Snapshot	snapshot;
	bool		found = false;

	AK_STORE_READ(snapshot)
	{
		found = ak_scan_one(&scan, AK_INDEX_SECRET_RULE, snapshot,
							Anum_apikey_secret_lookup_rule, F_ARRAY_EQ,
							ak_store_rule(rule)) &&
			(uncommitted || !is_uncommitted(scan.tuple));
		ak_scan_end(&scan);
	}
	return found;
}

/* ----------------------------------------------------------------- grants */

/* Columns of the index apikey_grant_key, which has no others. */
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
read_grant_entry(IndexScanDesc scan, ItemPointer tid, Buffer *map,
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
	Relation	index = index_open(ak_layout_index(rel, AK_INDEX_GRANT_KEY),
								   AccessShareLock);
	IndexScanDesc scan = index_beginscan(rel, index, snapshot, NULL, 1, 0,
										 SO_NONE);
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
		if (!read_grant_entry(scan, tid, &map, &slot, values, nulls, uncommitted))
			continue;
		*grants = make_room(*grants, count, &room, sizeof(AkGrant));
		grant = &(*grants)[count];
		grant->project = nulls[Anum_apikey_grant_key_project - 1] ?
			ak_name_all : copy_bytes(values[Anum_apikey_grant_key_project - 1]);
		grant->environment =
			copy_bytes(values[Anum_apikey_grant_key_environment - 1]);
		grant->level =
			ak_schema_level(DatumGetObjectId(values[Anum_apikey_grant_key_level - 1]));
		/* nothing is registered under a longer name */
		if (grant->project.len <= AK_NAME_MAX &&
			grant->environment.len <= AK_NAME_MAX)
			count++;
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

/* --------------------------------------------------------------- registry */

/*
 * All rows of apikey_environment that match but '*'; returns how many, or -1 if
 * there are more than "limit".
 */
static int
read_environments(Snapshot snapshot, AkIndex index, int nkeys,
				  const ScanKeyData *keys, int limit, AkEnvironmentRow **rows)
{
	AkScan		scan;
	int			count = 0;
	int			room = 4;

	*rows = palloc(room * sizeof(AkEnvironmentRow));
	ak_scan_begin(&scan, index, NoMovementScanDirection, snapshot, nkeys, keys);
	while (count <= limit && ak_scan_next(&scan))
	{
		AkRow		row;
		AkEnvironmentRow *result;

		ak_scan_read(&scan, &row);
		*rows = make_room(*rows, count, &room, sizeof(AkEnvironmentRow));
		result = &(*rows)[count];
		result->project =
			copy_bytes(AK_VALUE(&row, apikey_environment, project));
		result->environment =
			copy_bytes(AK_VALUE(&row, apikey_environment, environment));
		result->organization =
			copy_bytes(AK_VALUE(&row, apikey_environment, organization));
		if (!ak_name_equal(&result->environment, &ak_name_all))
			count++;
	}
	ak_scan_end(&scan);
	return count <= limit ? count : -1;
}

static void
init_name_key(ScanKey key, AttrNumber column, const AkName *name)
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

	init_name_key(&keys[0], Anum_apikey_environment_project, project);
	init_name_key(&keys[1], Anum_apikey_environment_environment, environment);
	if (read_environments(snapshot, AK_INDEX_ENVIRONMENT_PKEY, 2, keys,
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

	init_name_key(&key, Anum_apikey_environment_project, project);
	return read_environments(snapshot, AK_INDEX_ENVIRONMENT_PKEY, 1, &key,
							 AK_STORE_NO_LIMIT, rows);
}

int
ak_store_organization(Snapshot snapshot, const AkName *organization, int limit,
					  AkEnvironmentRow **rows)
{
	ScanKeyData key;

	init_name_key(&key, Anum_apikey_environment_organization, organization);
	return read_environments(snapshot, AK_INDEX_ENVIRONMENT_ORGANIZATION, 1,
							 &key, limit, rows);
}

/* A table that never had a row has no page: to see that costs half of a search. */
static bool
has_page(AkTable table)
{
	Relation	rel = ak_layout_open(table, AccessShareLock);
	bool		has = RelationGetNumberOfBlocks(rel) > 0;

	table_close(rel, AccessShareLock);
	return has;
}

bool
ak_store_may_have_keys(void)
{
	return has_page(AK_TABLE_KEY);
}

bool
ak_store_may_have_suspensions(void)
{
	return has_page(AK_TABLE_SUSPENSION);
}

bool
ak_store_suspension(Snapshot snapshot, const AkName *organization,
					TimestampTz *since, AkName *reason)
{
	AkScan		scan;
	bool		found;

	*reason = ak_name_make("", 0);
	found = ak_scan_one(&scan, AK_INDEX_SUSPENSION_PKEY, snapshot,
						Anum_apikey_suspension_organization, F_TEXTEQ,
						ak_name_to_text(organization));
	if (found)
	{
		AkRow		row;

		ak_scan_read(&scan, &row);
		*since = DatumGetTimestampTz(AK_VALUE(&row, apikey_suspension,
											  suspended_at));
		if (!AK_ISNULL(&row, apikey_suspension, reason))
			*reason = copy_reason(AK_VALUE(&row, apikey_suspension, reason));
	}
	ak_scan_end(&scan);
	return found;
}

/* -------------------------------------------------------- budgets and use */

bool
ak_store_has_budget(Snapshot snapshot, const pg_uuid_t *id)
{
	AkScan		scan;
	bool		found = ak_scan_one(&scan, AK_INDEX_BUDGET_PKEY, snapshot,
									Anum_apikey_budget_key_id, F_UUID_EQ,
									UUIDPGetDatum(id));

	ak_scan_end(&scan);
	return found;
}

/* 0 for a time that is null */
#define USE_TIME(column) \
	(AK_ISNULL(&row, apikey_use, column) ? 0 : \
	 DatumGetTimestampTz(AK_VALUE(&row, apikey_use, column)))

void
ak_store_use(Snapshot snapshot, const pg_uuid_t *id, AkUseRow *use)
{
	AkScan		scan;

	memset(use, 0, sizeof(AkUseRow));
	if (ak_scan_one(&scan, AK_INDEX_USE_PKEY, snapshot, Anum_apikey_use_key_id,
					F_UUID_EQ, UUIDPGetDatum(id)))
	{
		AkRow		row;

		ak_scan_read(&scan, &row);
		use->uses = DatumGetInt64(AK_VALUE(&row, apikey_use, uses));
		use->refusals = DatumGetInt64(AK_VALUE(&row, apikey_use, refusals));
		use->last_used = USE_TIME(last_used_at);
		if (!AK_ISNULL(&row, apikey_use, last_used_from))
			use->last_from = ak_client_of_inet(AK_VALUE(&row, apikey_use,
														last_used_from));
		use->old_secret_used = USE_TIME(old_secret_used_at);
		use->last_refused = USE_TIME(last_refused_at);
		use->limit_until = USE_TIME(limit_until);
	}
	ak_scan_end(&scan);
}

int
ak_store_use_hours(Snapshot snapshot, const pg_uuid_t *id, AkUseHourRow **rows)
{
	AkScan		scan;
	ScanKeyData key;
	int			room = 64;
	int			count = 0;

	*rows = palloc(room * sizeof(AkUseHourRow));
	ScanKeyInit(&key, Anum_apikey_use_hour_key_id, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(id));
	ak_scan_begin(&scan, AK_INDEX_USE_HOUR_PKEY, ForwardScanDirection, snapshot,
				  1, &key);
	while (ak_scan_next(&scan))
	{
		AkRow		row;
		AkUseHourRow *result;

		ak_scan_read(&scan, &row);
		*rows = make_room(*rows, count, &room, sizeof(AkUseHourRow));
		result = &(*rows)[count++];
		result->hour = DatumGetTimestampTz(AK_VALUE(&row, apikey_use_hour, hour));
		result->uses = DatumGetInt64(AK_VALUE(&row, apikey_use_hour, uses));
		result->refusals =
			DatumGetInt64(AK_VALUE(&row, apikey_use_hour, refusals));
	}
	ak_scan_end(&scan);
	return count;
}
