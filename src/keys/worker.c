/*
 * worker.c
 *		Background workers that write use counts to the tables; see worker.h.
 *
 * A worker that fails leaves all pending, and the launcher starts another one.
 */
#include "postgres.h"

#include "keys/worker.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/guc.h"
#include "catalog/pg_class.h"
#include "keys/derive.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shmem/demand.h"
#include "shmem/counts.h"
#include "shmem/shared.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "table/follow.h"
#include "table/heartbeat.h"
#include "table/sql.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* An advisory lock of a kind that SQL does not know: its own are 1 and 2. */
#define FLUSH_LOCK		0x6170696b
#define FLUSH_LOCK_KIND	0xa4

/* How often the launcher looks for work at most, and when there is no room */
#define LOOK_EVERY		500		/* ms */
#define LOOK_SOON		20		/* ms */

/* What the launcher knows of a database. */
typedef struct Flush
{
	Oid			database;
	BackgroundWorkerHandle *handle; /* NULL: no worker */
	bool		wanted;
	TimestampTz started;		/* the last one */
	uint32		requests;		/* when that was started */
	int64		purged;			/* hour when one was last told to clean up */
} Flush;

/* What it tells a worker. */
typedef struct Order
{
	bool		purge;
	uint32		requests;		/* that had been made before */
} Order;

static Flush *flushes;
static int	nflushes;
static uint32 first_requests;	/* when the launcher started */
static bool no_worker;			/* is that in the log already? */

/* --------------------------------------------------------- what is written */

/* A column of the rows that one statement adds. */
typedef struct Column
{
	Oid			type;
	Datum	   *values;
	bool	   *nulls;
} Column;

static Column
make_column(Oid type, int rows)
{
	Column		column;

	column.type = type;
	column.values = palloc_extended(rows * sizeof(Datum), MCXT_ALLOC_HUGE);
	column.nulls = palloc_extended(rows * sizeof(bool),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	return column;
}

static AkValue
get_array(const Column *column, int rows)
{
	return ak_value_array(column->type, column->values, column->nulls, rows);
}

/* A time, or a null for 0. */
static void
set_time(Column *column, int row, TimestampTz time)
{
	column->values[row] = TimestampTzGetDatum(time);
	column->nulls[row] = time == 0;
}

static void
set_address(Column *column, int row, const AkAddress *address)
{
	column->nulls[row] = !ak_client_inet(address, &column->values[row]);
}

/* By hour, but none older than this many days. */
static void
write_hours(const AkCounts *counts, int count, int days)
{
	static AkSql add_hours = {
		AK_TABLE_USE_HOUR, 0,
		.query = "INSERT INTO $S.apikey_use_hour AS old (key_id, hour, uses, refusals)"
		" SELECT * FROM unnest($1, $2, $3, $4)"
		" AS new (key_id, hour, uses, refusals) WHERE hour > $5"
		" ON CONFLICT (key_id, hour) DO UPDATE SET uses = old.uses + excluded.uses,"
		" refusals = old.refusals + excluded.refusals"
	};
	TimestampTz oldest = GetCurrentTimestamp() - days * USECS_PER_DAY;
	Column		key_id;
	Column		hour;
	Column		uses;
	Column		refusals;
	int			rows = 0;
	int			row = 0;

	for (int i = 0; i < count; i++)
		rows += counts[i].nhours;
	key_id = make_column(UUIDOID, rows);
	hour = make_column(TIMESTAMPTZOID, rows);
	uses = make_column(INT8OID, rows);
	refusals = make_column(INT8OID, rows);
	for (int i = 0; i < count; i++)
		for (int j = 0; j < counts[i].nhours; j++, row++)
		{
			const AkCountsHour *counted = &counts[i].hours[j];

			key_id.values[row] = UUIDPGetDatum(&counts[i].id);
			hour.values[row] = TimestampTzGetDatum(counted->hour * USECS_PER_HOUR);
			uses.values[row] = Int64GetDatum(counted->uses);
			refusals.values[row] = Int64GetDatum(counted->refusals);
		}
	ak_sql_run(&add_hours, get_array(&key_id, rows), get_array(&hour, rows),
			   get_array(&uses, rows), get_array(&refusals, rows),
			   ak_value_time(oldest));
}

static void
write_keys(const AkCounts *counts, int count)
{
	static AkSql add_uses = {
		AK_TABLE_USE, 0,
		.query = "INSERT INTO $S.apikey_use AS old (key_id, uses, refusals,"
		" last_used_at, last_used_from, old_secret_used_at, last_refused_at,"
		" limit_until)"
		" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT (key_id) DO UPDATE SET uses = old.uses + excluded.uses,"
		" refusals = old.refusals + excluded.refusals,"
		" last_used_from = CASE WHEN old.last_used_at > excluded.last_used_at"
		" THEN old.last_used_from ELSE excluded.last_used_from END,"
		" last_used_at = greatest(old.last_used_at, excluded.last_used_at),"
		" old_secret_used_at = greatest(old.old_secret_used_at,"
		" excluded.old_secret_used_at),"
		" last_refused_at = greatest(old.last_refused_at, excluded.last_refused_at),"
		" limit_until = coalesce(excluded.limit_until, old.limit_until)"
	};
	Column		key_id = make_column(UUIDOID, count);
	Column		uses = make_column(INT8OID, count);
	Column		refusals = make_column(INT8OID, count);
	Column		last_used = make_column(TIMESTAMPTZOID, count);
	Column		last_from = make_column(INETOID, count);
	Column		old_secret_used = make_column(TIMESTAMPTZOID, count);
	Column		last_refused = make_column(TIMESTAMPTZOID, count);
	Column		limit_until = make_column(TIMESTAMPTZOID, count);

	for (int i = 0; i < count; i++)
	{
		const AkCounts *key = &counts[i];
		int64		used = 0;
		int64		refused = 0;

		for (int j = 0; j < key->nhours; j++)
		{
			used += key->hours[j].uses;
			refused += key->hours[j].refusals;
		}
		key_id.values[i] = UUIDPGetDatum(&key->id);
		uses.values[i] = Int64GetDatum(used);
		refusals.values[i] = Int64GetDatum(refused);
		set_time(&last_used, i, key->last_used);
		set_address(&last_from, i, &key->last_from);
		set_time(&old_secret_used, i, key->old_secret_used);
		set_time(&last_refused, i, key->last_refused);
		/* from nanoseconds, rounded up; 1 says that nothing was taken */
		set_time(&limit_until, i, key->limit_until <= 1 ? 0 :
				 (key->limit_until + 999) / 1000);
	}
	ak_sql_run(&add_uses, get_array(&key_id, count), get_array(&uses, count),
			   get_array(&refusals, count), get_array(&last_used, count),
			   get_array(&last_from, count), get_array(&old_secret_used, count),
			   get_array(&last_refused, count), get_array(&limit_until, count));
}

/*
 * Remove hours of days before that, and what belongs to no key and is a day old: a
 * key that is not there may not be committed yet.
 */
static void
purge_uses(int days)
{
	static AkSql delete_hours = {
		AK_TABLE_USE_HOUR, 0,
		.query = "DELETE FROM $S.apikey_use_hour WHERE hour < $1"
	};
	static AkSql delete_uses = {
		AK_TABLE_USE, 0,
		.query = "DELETE FROM $S.apikey_use u WHERE NOT EXISTS"
		" (SELECT FROM $S.apikey_key k WHERE k.key_id = u.key_id)"
		" AND coalesce(greatest(last_used_at, last_refused_at) < $1, true)"
	};
	TimestampTz now = GetCurrentTimestamp();

	ak_sql_run(&delete_hours, ak_value_time(now - days * USECS_PER_DAY));
	ak_sql_run(&delete_uses, ak_value_time(now - USECS_PER_DAY));
}

/* ---------------------------------------------------------------- worker */

static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* Triggers that others have put on our tables get no more rights than their owner's. */
static void
become_owner(AkTable table)
{
	Oid			oid = ak_schema_table(table);
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", oid);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(tuple))->relowner,
						   SECURITY_RESTRICTED_OPERATION);
	ReleaseSysCache(tuple);
}

/*
 * One at a time, or both would write the same.  The lock is held until the process
 * ends, for what is written is taken from shared memory after the commit.
 */
static void
lock_out_others(Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, FLUSH_LOCK, 0, FLUSH_LOCK_KIND);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
}

/* Begin a transaction as the owner of a table; false, and none, if we have none. */
static bool
begin_as_owner(AkTable table, const char *activity)
{
	/* the owner's rights last until deferred triggers have fired, and longer */
	SetUserIdAndSecContext(GetSessionUserId(), 0);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	if (!ak_schema_hold())
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
		return false;
	}
	ak_schema_accept();
	become_owner(table);
	return true;
}

static void
flush_database(Oid database, bool purge)
{
	TimestampTz now = GetCurrentTimestamp();
	AkCounts   *counts;
	int			count;

	if (!begin_as_owner(AK_TABLE_USE, "writing the use of API keys"))
	{
		ak_counts_forget(database, now);
		return;
	}
	lock_out_others(database);
	MemoryContextSwitchTo(TopMemoryContext);
	count = ak_counts_pending(database, &counts);
	MemoryContextSwitchTo(CurTransactionContext);
	if (count > 0)
		write_keys(counts, count);
	if (count > 0 && ak_guc_usage_days > 0)
		write_hours(counts, count, ak_guc_usage_days);
	if (purge)
		purge_uses(ak_guc_usage_days);
	PopActiveSnapshot();
	ak_counts_flush_begins();
	CommitTransactionCommand();
	ak_counts_flushed(database, counts, count);
}

/*
 * For those that subscribe.  A key file that cannot be read ends the worker, but the
 * heartbeat is written by then.
 */
static void
renew_heartbeat(void)
{
	static void (*const steps[]) (void) = {ak_heartbeat_renew, ak_heartbeat_tell_files};

	for (int i = 0; i < (int) lengthof(steps); i++)
	{
		if (!begin_as_owner(AK_TABLE_HEARTBEAT, "telling those that subscribe to API keys"))
			return;
		if (!ak_follow_is_on())
			steps[i] ();
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
}

/*
 * Whoever refers to a key may keep it, or goes with it: foreign keys hold here, too.  An
 * error ends the worker, but what was counted is written by then.
 */
static void
purge_derived(void)
{
	TimestampTz now = GetCurrentTimestamp();

	set_option("session_replication_role", "origin");
	if (!begin_as_owner(AK_TABLE_KEY, "deleting derived API keys that have expired"))
		return;
	if (!ak_follow_is_on())
		ak_derive_purge(now - ak_guc_derived_retention * USECS_PER_SEC);
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Each wait resets the latch: whatever it was set for is seen to at once. */
static void
wait_and_reload(long timeout, uint32 requests, bool pending)
{
	if (!ShutdownRequestPending)
		ak_demand_rest(timeout, requests, pending);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Wait for the time, a request, or the end. */
static void
wait_to_flush(uint32 requests)
{
	TimestampTz began = GetCurrentTimestamp();

	while (!ShutdownRequestPending && ak_demand_requests() == requests)
	{
		TimestampTz until = TimestampTzPlusMilliseconds(began,
														ak_guc_flush_interval * INT64CONST(1000) -
														LOOK_EVERY);
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   until);

		if (left <= 0)
			break;
		wait_and_reload(left, requests, false);
	}
}

void
apikey_flush_main(Datum database)
{
	Order		order;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	wait_to_flush(order.requests);

	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database),
											  InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);

	/*
	 * whatever is set for the database; and no triggers that a role may have
	 * put on our tables
	 */
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("default_transaction_read_only", "off");
	set_option("default_transaction_isolation", "read committed");
	set_option("session_replication_role", "replica");
	set_option("synchronous_commit", "local");
	set_option("statement_timeout", "0");
	set_option("lock_timeout", "10s");
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		set_option("transaction_timeout", "0");
	flush_database(DatumGetObjectId(database), order.purge);
	renew_heartbeat();
	if (order.purge && ak_guc_derived_retention >= 0)
		purge_derived();
}

/* -------------------------------------------------------------- launcher */

static Flush *
get_flush(Oid database)
{
	Flush		flush = {
		.database = database,
		.requests = first_requests
	};

	for (int i = 0; i < nflushes; i++)
		if (flushes[i].database == database)
			return &flushes[i];
	flushes = flushes == NULL ? palloc(sizeof(Flush)) :
		repalloc(flushes, (nflushes + 1) * sizeof(Flush));
	flushes[nflushes] = flush;
	return &flushes[nflushes++];
}

static bool
is_worker_running(Flush *flush)
{
	pid_t		pid;

	if (flush->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(flush->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(flush->handle);
	flush->handle = NULL;
	return false;
}

/*
 * Start a worker; false if none is free.  It is told how many requests there were when
 * the one before it was started: so none is missed.
 */
static bool
start_worker(Flush *flush, uint32 requests)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		hour = now / USECS_PER_HOUR;
	Order		order = {flush->purged != hour, flush->requests};
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "apikey",
		.bgw_function_name = "apikey_flush_main",
		.bgw_main_arg = ObjectIdGetDatum(flush->database),
		.bgw_notify_pid = MyProcPid
	};

	strlcpy(worker.bgw_type, "apikey flush", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "apikey flush of database %u",
			 flush->database);
	memcpy(worker.bgw_extra, &order, sizeof(order));
	if (!RegisterDynamicBackgroundWorker(&worker, &flush->handle))
	{
		if (!no_worker)
			ereport(LOG,
					(errmsg("no background worker is free to write the use of API keys"),
					 errhint("Increase the setting \"max_worker_processes\".")));
		no_worker = true;
		return false;
	}
	no_worker = false;
	flush->started = now;
	flush->requests = requests;
	flush->purged = hour;
	return true;
}

static bool
database_exists(Oid database)
{
	bool		result;

	StartTransactionCommand();
	result = ak_schema_has_database(database);
	CommitTransactionCommand();
	return result;
}

/* The database that has waited longest for a worker; NULL if none does. */
static Flush *
pick_flush(void)
{
	Flush	   *picked = NULL;

	for (int i = 0; i < nflushes; i++)
		if (flushes[i].wanted &&
			(picked == NULL || flushes[i].started < picked->started))
			picked = &flushes[i];
	if (picked != NULL)
		picked->wanted = false;
	return picked;
}

/* False if there are fewer workers than databases. */
static bool
start_workers(uint32 requests)
{
	Oid		   *databases;
	Oid		   *published;
	int			count = ak_counts_databases(&databases);
	int			npublished = ak_shared_slot_databases(&published);
	bool		enough = true;
	Flush	   *flush;

	for (int i = 0; i < nflushes; i++)
		flushes[i].wanted = false;
	for (int i = 0; i < count; i++)
	{
		flush = get_flush(databases[i]);
		flush->wanted = !is_worker_running(flush);
	}
	for (int i = 0; i < npublished; i++)
	{
		flush = get_flush(published[i]);
		flush->wanted = !is_worker_running(flush);
	}
	while (enough && (flush = pick_flush()) != NULL)
	{
		if (database_exists(flush->database))
			enough = start_worker(flush, requests);
		else
			ak_counts_forget(flush->database, DT_NOEND);
	}
	pfree(databases);
	pfree(published);
	return enough;
}

void
apikey_launcher_main(Datum arg)
{
	uint32		requests;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	MemoryContextSwitchTo(TopMemoryContext);
	first_requests = requests = ak_demand_requests();

	while (!ShutdownRequestPending)
	{
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_SOON,
						 PG_WAIT_EXTENSION);
		wait_and_reload(LOOK_EVERY, requests, false);
		requests = ak_demand_requests();
		if (start_workers(requests))
			wait_and_reload(ak_guc_flush_interval * INT64CONST(1000), requests, true);
		else
		{
			/* workers that wait for their time make way for others */
			ak_demand_request();
			requests = ak_demand_requests();
		}
	}
	/* to be started again, unless the server stops */
	proc_exit(1);
}

void
ak_worker_init(void)
{
	BackgroundWorker launcher = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = 5,
		.bgw_library_name = "apikey",
		.bgw_function_name = "apikey_launcher_main",
		.bgw_name = "apikey launcher",
		.bgw_type = "apikey launcher"
	};

	if (!IsBinaryUpgrade)
		RegisterBackgroundWorker(&launcher);
}
