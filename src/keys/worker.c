/*
 * worker.c
 *		Who writes down how keys were used; see worker.h.
 *
 * A worker that fails leaves all pending, and the launcher starts another one.
 */
#include "postgres.h"

#include "keys/worker.h"

#include "access/xact.h"
#include "base/guc.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shmem/demand.h"
#include "shmem/counts.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "table/schema.h"
#include "table/write.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* An advisory lock of a kind that SQL does not know: its own are 1 and 2. */
#define FLUSH_LOCK		0x6170696b
#define FLUSH_LOCK_KIND	0xa4

/* The launcher looks for work no more often, and when there is no room: */
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
	uint32		requests;		/* that have been heard */
} Order;

static Flush *flushes;
static int	nflushes;
static uint32 first_requests;	/* when the launcher started */
static bool no_worker;			/* is that in the log already? */

/* ---------------------------------------------------------------- worker */

static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * As the owner of our tables, and no more: somebody may have put triggers on
 * them.
 */
static void
become_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID,
										ObjectIdGetDatum(ak_schema_get()->tables[AK_TABLE_USE]));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", ak_schema_get()->tables[AK_TABLE_USE]);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(tuple))->relowner,
						   SECURITY_RESTRICTED_OPERATION);
	ReleaseSysCache(tuple);
}

/*
 * One at a time: two would write the same down.  Until the process ends, for what
 * is written is taken from shared memory after the commit.
 */
static void
lock_out_others(Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, FLUSH_LOCK, 0, FLUSH_LOCK_KIND);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
}

static void
flush(Oid database, bool purge)
{
	TimestampTz now = GetCurrentTimestamp();
	AkCounts   *usages;
	int			count;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "writing the use of API keys");
	if (!ak_schema_hold())
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
		ak_counts_forget(database, now);
		return;
	}
	ak_schema_accept();
	lock_out_others(database);
	become_owner();
	MemoryContextSwitchTo(TopMemoryContext);
	count = ak_counts_pending(database, &usages);
	MemoryContextSwitchTo(CurTransactionContext);
	ak_write_use(usages, count, ak_guc_usage_days);
	if (purge)
		ak_write_purge_use(ak_guc_usage_days);
	PopActiveSnapshot();
	ak_counts_flush_begins();
	CommitTransactionCommand();
	ak_counts_flushed(database, usages, count);
}

/* Each wait resets the latch: whatever it was set for is seen to at once. */
static void
rest(long timeout, uint32 requests, bool news)
{
	if (!ShutdownRequestPending)
		ak_demand_listen(timeout, requests, news);
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
		rest(left, requests, false);
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
	 * whatever the database tells sessions; and no trigger that a role may
	 * put on
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
	flush(DatumGetObjectId(database), order.purge);
}

/* -------------------------------------------------------------- launcher */

static Flush *
get_flush(Oid database)
{
	for (int i = 0; i < nflushes; i++)
		if (flushes[i].database == database)
			return &flushes[i];
	flushes = flushes == NULL ? palloc(sizeof(Flush)) :
		repalloc(flushes, (nflushes + 1) * sizeof(Flush));
	flushes[nflushes] = (Flush)
	{
		.database = database,.requests = first_requests
	};
	return &flushes[nflushes++];
}

static bool
is_running(Flush *flush)
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
 * Start a worker; false if none is free.  It hears of all that was asked for since
 * the one before it was started: so no request is missed.
 */
static bool
start(Flush *flush, uint32 requests)
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
exists(Oid database)
{
	bool		result;

	StartTransactionCommand();
	result = ak_schema_has_database(database);
	CommitTransactionCommand();
	return result;
}

/* Who wants a worker, and has waited longest for it?  NULL: nobody. */
static Flush *
pick(void)
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
start_all(uint32 requests)
{
	Oid		   *databases;
	int			count = ak_counts_databases(&databases);
	bool		enough = true;
	Flush	   *flush;

	for (int i = 0; i < nflushes; i++)
		flushes[i].wanted = false;
	for (int i = 0; i < count; i++)
	{
		flush = get_flush(databases[i]);
		flush->wanted = !is_running(flush);
	}
	while (enough && (flush = pick()) != NULL)
	{
		if (exists(flush->database))
			enough = start(flush, requests);
		else
			ak_counts_forget(flush->database, DT_NOEND);
	}
	pfree(databases);
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
		rest(LOOK_EVERY, requests, false);
		requests = ak_demand_requests();
		if (start_all(requests))
			rest(ak_guc_flush_interval * INT64CONST(1000), requests, true);
		else
		{
			/* who waits for the time shall make way for others */
			ak_demand_flush();
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
