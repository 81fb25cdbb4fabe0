/*
 * quota.c
 *		How many keys may be derived from one; see quota.h.
 *
 * The row in apikey_derivation also says how many were counted.  Of those some may have
 * ended: only when there is no more room are the live ones counted anew, one by one.  So
 * the number is exact, and deriving takes the same however many are live.
 */
#include "postgres.h"

#include "keys/quota.h"

#include "access/xact.h"
#include "auth/keycache.h"
#include "base/compat.h"
#include "base/inval.h"
#include "miscadmin.h"
#include "table/sql.h"

/* All live keys below this one, which is at "depth". */
static int
count_live(Snapshot snapshot, const pg_uuid_t *id, int depth)
{
	pg_uuid_t  *ids;
	int			direct = ak_store_derived(snapshot, id, &ids);
	int			count = direct;

	for (int i = 0; depth + 1 < AK_ANCESTORS_MAX && i < direct; i++)
		count += count_live(snapshot, &ids[i], depth + 1);
	pfree(ids);
	return count;
}

static int
read_max(const pg_uuid_t *root)
{
	Snapshot	snapshot;
	int			max = 0;

	AK_STORE_READ(snapshot)
		max = ak_store_max_derived(snapshot, root);
	return max;
}

void
ak_quota_lock(const pg_uuid_t *root)
{
	static AkSql lock = {
		AK_TABLE_DERIVATION, AK_SQL_LATEST,
		.query = "SELECT FROM $S.apikey_derivation WHERE key_id = $1 FOR UPDATE"
	};

	while (ak_sql_run(&lock, ak_value_uuid(root)) == 0 && read_max(root) > 0)
		CHECK_FOR_INTERRUPTS();
}

/* Count what is live below a root, under the lock; raises 53400 if no more may be. */
static void
recount(const pg_uuid_t *root)
{
	static AkSql set_counted = {
		AK_TABLE_DERIVATION, AK_SQL_LATEST | AK_SQL_ONE,
		.query = "UPDATE $S.apikey_derivation SET counted = $2 WHERE key_id = $1"
		" AND counted <> $2"
	};
	Snapshot	snapshot;
	int			live = 0;
	int			max;

	ak_quota_lock(root);
	ak_schema_accept();
	max = read_max(root);
	if (max == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no keys may be derived from this API key"),
				 errhint("Whoever issues keys may set max_derived by apikey_update.")));
	AK_STORE_READ(snapshot)
		live = count_live(snapshot, root, 0);
	if (live >= max)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no more keys may be derived from this API key"),
				 errdetail("max_derived=%d", max),
				 errhint("Those that expire or are revoked make room.")));
	ak_sql_run(&set_counted, ak_value_uuid(root), ak_value_int4(live));
}

/* Count so many more, if there is room for all of them. */
static bool
reserve(const pg_uuid_t *root, int wanted)
{
	static AkSql add = {
		AK_TABLE_DERIVATION, AK_SQL_LATEST,
		.query = "UPDATE $S.apikey_derivation SET counted = counted + $2"
		" WHERE key_id = $1 AND counted <= max_derived - $2"
	};

	return ak_sql_run(&add, ak_value_uuid(root), ak_value_int4(wanted)) > 0;
}

/*
 * What this transaction has counted in the row and not used yet.  In one transaction
 * a row has as many versions as it was updated: so it counts for twice as many keys each
 * time.  What is left over at the end is found out when they are counted anew.
 */
static struct
{
	pg_uuid_t	root;
	uint64		transaction;	/* 0: nothing */
	int			taken;			/* at once, the last time */
	int			left;
}			reserved;

void
ak_quota_forget(void)
{
	reserved.transaction = 0;
}

void
ak_quota_take(const pg_uuid_t *root)
{
	int			wanted = 1;

	if (reserved.transaction == ak_inval_transaction &&
		memcmp(&reserved.root, root, sizeof(pg_uuid_t)) == 0)
	{
		if (reserved.left-- > 0)
			return;
		wanted = reserved.taken * 2;
	}
	if (!reserve(root, wanted))
	{
		recount(root);
		wanted = 1;
		if (!reserve(root, wanted))
			ak_sql_refuse_trigger(AK_TABLE_DERIVATION);
	}
	/* the update itself has made it forget */
	reserved.root = *root;
	reserved.taken = wanted;
	reserved.left = wanted - 1;
	reserved.transaction = ak_inval_transaction;
}

bool
ak_quota_set(const pg_uuid_t *id, int max_derived)
{
	static AkSql set_max = {
		AK_TABLE_DERIVATION, 0,
		.query = "INSERT INTO $S.apikey_derivation AS old (key_id, max_derived)"
		" VALUES ($1, $2) ON CONFLICT (key_id)"
		" DO UPDATE SET max_derived = excluded.max_derived"
		" WHERE old.max_derived <> excluded.max_derived"
	};
	static AkSql remove_max = {
		AK_TABLE_DERIVATION, AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_derivation WHERE key_id = $1"
	};
	Snapshot	snapshot;
	int			stored = 0;

	/* deriving changes the row too, and may be lost: this may not */
	ForceSyncCommit();
	if (max_derived == 0)
		return ak_sql_run(&remove_max, ak_value_uuid(id)) > 0;
	if (ak_sql_run(&set_max, ak_value_uuid(id), ak_value_int4(max_derived)) > 0)
		return true;
	AK_STORE_READ(snapshot)
		stored = ak_store_max_derived(snapshot, id);
	if (stored != max_derived)
		ak_sql_refuse_trigger(AK_TABLE_DERIVATION);
	return false;
}
