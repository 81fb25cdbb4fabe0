/*
 * subscribe.c
 *		apikey_subscribe: this database decides by the keys of another one.
 *
 * CREATE SUBSCRIPTION would make the replication slot itself, and wait there for all
 * transactions of that server that can change something to end: if it is this server, for
 * its own.  So the slot is made first, while this transaction has changed nothing, and
 * dropped again if anything fails before the subscription is committed.
 *
 * The connection string may hold a password: no statement is in a message, and the
 * subscription is made without a text of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "auth/staleness.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/hide.h"
#include "catalog/pg_subscription.h"
#include "keys/actor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "replication/fit.h"
#include "replication/publisher.h"
#include "replication/step.h"
#include "replication/unsubscribe.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "table/event.h"
#include "table/scan.h"
#include "table/sql.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LOCK_TIMEOUT		"1min"	/* where the caller has none */
#define PROGRESS_EVERY		5	/* s between two messages */

/* ---------------------------------------------------------- what is here */

static void
check_empty(AkTable table)
{
	if (ak_scan_any(table))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not empty", ak_schema_tables[table].name),
				 errdetail("All keys and projects of a database that subscribes are those of the publisher."),
				 errhint("If these are not needed: %s;",
						 ak_unsubscribe_truncate(quote_identifier(ak_schema_name()))),
				 errhidestmt(true)));
}

/* As pg_restore --disable-triggers leaves them, they would be deaf to what is applied. */
static void
check_triggers(void)
{
	AkTable		table;
	const char *trigger = ak_schema_silent_trigger(true, &table);

	if (trigger != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("trigger \"%s\" on table \"%s\" is missing, or does not fire for all changes",
						trigger, ak_schema_tables[table].name),
				 errhint("ALTER TABLE %s.%s ENABLE ALWAYS TRIGGER %s;",
						 quote_identifier(ak_schema_name()),
						 ak_schema_tables[table].name, trigger),
				 errhidestmt(true)));
}

/* Can this database subscribe? */
static void
check_here(const AkMaking * making)
{
	if (ak_scan_any(AK_TABLE_SUBSCRIPTION))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database subscribes to API keys already"),
				 errhint("apikey_unsubscribe ends that."),
				 errhidestmt(true)));
	ak_sql_begin();
	if (ak_sql_query(psprintf("SELECT s.subname::pg_catalog.text"
							  " FROM pg_catalog.pg_subscription s"
							  " LEFT JOIN pg_catalog.pg_subscription_rel r ON r.srsubid = s.oid"
							  " LEFT JOIN pg_catalog.pg_class c ON c.oid = r.srrelid"
							  " WHERE s.subdbid = %u AND (s.subname = %s"
							  " OR (c.relnamespace = %u AND c.relname ~ '^apikey_')) LIMIT 1",
							  MyDatabaseId, quote_literal_cstr(making->name),
							  ak_schema_get()->namespace), NULL, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("subscription \"%s\" exists already", ak_sql_string(0, 1)),
				 errdetail("It has this name, or tables of this extension."),
				 errhint("Drop it, and then empty the tables, whose keys nobody revokes any more; or choose another name."),
				 errhidestmt(true)));
	ak_sql_end();
	for (AkTable table = 0; table < AK_PUBLISHED; table++)
		check_empty(table);
	check_triggers();
}

/* ------------------------------------------------------------- making it */

pg_noreturn static void
refuse_slot(const AkMaking * making, int sqlstate, const char *why)
{
	AkAnswer   *answer;

	if (sqlstate != ERRCODE_LOCK_NOT_AVAILABLE)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("could not make replication slot \"%s\" at the publisher: %s",
						making->name, why),
				 errhidestmt(true)));
	answer = ak_publisher_ask(making->publisher, 1,
							  "SELECT pg_catalog.string_agg(DISTINCT pid::text, ', ') FROM pg_catalog.pg_locks"
							  " WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted");
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("could not make replication slot \"%s\" at the publisher: transactions that had begun before have not ended in time",
					making->name),
			 errdetail("Those of these processes have changed something, in whatever database: %s.",
					   AK_ANSWER(answer, 0, 0) == NULL ? "(none now)" : AK_ANSWER(answer, 0, 0)),
			 errhint("Try again, with a higher lock_timeout if need be."),
			 errhidestmt(true)));
}

static void
make_slot(AkMaking * making)
{
	const char *timeout = GetConfigOption("lock_timeout", false, false);
	char	   *why = NULL;
	int			sqlstate;

	if (strcmp(timeout, "0") == 0)
		timeout = LOCK_TIMEOUT;
	sqlstate = ak_publisher_command(making->publisher,
									psprintf("SET lock_timeout = '%s'", timeout), 0, &why);
	making->slot = AK_SLOT_WANTED;
	if (sqlstate == 0)
		sqlstate = ak_publisher_command(making->publisher,
										psprintf("CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput (SNAPSHOT 'nothing'%s)",
												 making->name,
												 making->failover ? ", FAILOVER" : ""), 4, &why);
	making->slot = sqlstate == 0 ? AK_SLOT_MADE : AK_SLOT_NONE;
	if (sqlstate != 0)
		refuse_slot(making, sqlstate, why);
}

/* With a slot the publisher has a reason to renew its heartbeat. */
static void
wait_for_heartbeat(const AkMaking * making)
{
	int64		age = 0;
	int64		every = 0;
	int64		longest;
	TimestampTz began = GetCurrentTimestamp();

	for (;;)
	{
		if (!ak_fit_heartbeat(making, &age, &every) || every == 0)
			break;
		if (age <= every * 2)
			return;
		longest = every * 2 + 5 * USECS_PER_SEC;
		if (GetCurrentTimestamp() > began + longest)
			break;
		ak_step_rest(200);
	}
	ak_fit_refuse("the publisher has no heartbeat",
				  "It should come from a background worker there, see its log.");
}

static DefElem *
make_option(const char *name, const char *value)
{
	return makeDefElem(pstrdup(name), (Node *) makeString(pstrdup(value)), -1);
}

/*
 * No error disables it: PostgreSQL tries again, and what stood in the way may go away.  All
 * origins are taken, or nothing would pass on what it has from another publisher.  Each
 * transaction is applied when it has ended, by one worker, and is on disk when it is
 * reported as flushed, which a publisher may wait for.  Texts fit any version.
 */
static List *
make_options(const AkMaking * making)
{
	List	   *options = list_make3(make_option("create_slot", "false"),
									 make_option("slot_name", making->name),
									 make_option("copy_data", "true"));

	options = lappend(options, make_option("binary", "false"));
	options = lappend(options, make_option("streaming", "off"));
	options = lappend(options, make_option("two_phase", "false"));
	options = lappend(options, make_option("disable_on_error", "false"));
	options = lappend(options, make_option("synchronous_commit", "local"));
	if (making->failover)
		options = lappend(options, make_option("failover", "true"));
	return options;
}

/* CREATE SUBSCRIPTION, without its text. */
static void
make_subscription(AkMaking * making)
{
	CreateSubscriptionStmt *create = makeNode(CreateSubscriptionStmt);
	PlannedStmt *statement = makeNode(PlannedStmt);

	create->subname = pstrdup(making->name);
	create->conninfo = pstrdup(making->connection);
	create->publication = list_make1(makeString(pstrdup(making->publication)));
	create->options = make_options(making);
	statement->commandType = CMD_UTILITY;
	statement->utilityStmt = (Node *) create;
	statement->stmt_location = -1;
	ProcessUtility(statement, "CREATE SUBSCRIPTION", false, PROCESS_UTILITY_QUERY, NULL,
				   NULL, None_Receiver, NULL);
	CommandCounterIncrement();
	making->oid = get_subscription_oid(making->name, false);
}

static AkValue
value_of_interval(Interval *interval)
{
	return interval == NULL ? ak_value_null(INTERVALOID) :
		ak_value(INTERVALOID, IntervalPGetDatum(interval));
}

static void
add_max_staleness(AkDetail *detail, Interval *max_staleness)
{
	ak_detail_add(detail, "max_staleness", max_staleness == NULL ? NULL :
				  DatumGetCString(DirectFunctionCall1(interval_out,
													  IntervalPGetDatum(max_staleness))));
}

static void
record_making(const AkMaking * making)
{
	static AkSql insert_subscription = {
		AK_TABLE_SUBSCRIPTION, 0,
		.query = "INSERT INTO $S.apikey_subscription"
		" (name, publication, max_staleness, subscription) VALUES ($1, $2, $3, $4)"
	};
	AkEvent		event = {.action = "subscribe"};
	AkDetail	detail;

	ak_sql_run(&insert_subscription, ak_value_string(making->name),
			   ak_value_string(making->publication),
			   value_of_interval(making->max_staleness),
			   ak_value(OIDOID, ObjectIdGetDatum(making->oid)));
	ak_detail_begin(&detail);
	ak_detail_add(&detail, "subscription", making->name);
	ak_detail_add(&detail, "publication", making->publication);
	if (making->max_staleness != NULL)
		add_max_staleness(&detail, making->max_staleness);
	event.detail = &detail;
	ak_actor_record(&event);
}

/* From here on this transaction changes something. */
static void
make_all(AkMaking * making)
{
	make_slot(making);
	if (making->max_staleness != NULL)
		wait_for_heartbeat(making);
	for (AkTable table = 0; table < AK_PUBLISHED; table++)
		(void) ak_schema_lock(table, ShareRowExclusiveLock);
	(void) ak_schema_lock(AK_TABLE_SUBSCRIPTION, ShareRowExclusiveLock);
	check_here(making);
	make_subscription(making);
	record_making(making);
	ak_step_next();
}

/*
 * Drop the slot, if there is one.  The process that makes it may still wait to do so.
 * Looks into no catalog, for the transaction has failed.
 */
static void
take_back(AkMaking * making)
{
	int			process = making->slot == AK_SLOT_WANTED ?
	ak_publisher_process(making->publisher) : 0;
	char	   *why = NULL;
	volatile bool dropped = false;

	if (making->slot == AK_SLOT_NONE)
		return;
	making->slot = AK_SLOT_NONE;
	PG_TRY();
	{
		dropped = ak_publisher_drop_slot(making->connection, making->name, process, &why);
	}
	PG_CATCH();
	{
		FlushErrorState();
	}
	PG_END_TRY();
	if (!dropped)
		ak_publisher_warn(making->name, why);
}

/* The session ends in the midst of it. */
static void
take_back_at_exit(int code, Datum arg)
{
	take_back((AkMaking *) DatumGetPointer(arg));
}

static void
make_or_take_back(AkMaking * making)
{
	MemoryContext before = CurrentMemoryContext;

	before_shmem_exit(take_back_at_exit, PointerGetDatum(making));
	PG_TRY();
	{
		make_all(making);
		making->slot = AK_SLOT_NONE;	/* it is the subscription's */
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(before);
		error = CopyErrorData();
		FlushErrorState();
		cancel_before_shmem_exit(take_back_at_exit, PointerGetDatum(making));
		take_back(making);
		ReThrowError(error);
	}
	PG_END_TRY();
	cancel_before_shmem_exit(take_back_at_exit, PointerGetDatum(making));
}

/* ---------------------------------------------------------------- waiting */

/* Errors of which kinds are counted depends on the version. */
typedef struct Progress
{
	int64		ready;			/* tables */
	int64		tables;
	int64		rows;			/* that are being copied */
	int64		errors;
}			Progress;

static void
get_progress(Oid subscription, Progress * progress)
{
	ak_sql_begin();
	(void) ak_sql_query(psprintf("SELECT pg_catalog.count(*) FILTER (WHERE r.srsubstate = 'r'),"
								 " pg_catalog.count(*),"
								 " coalesce(pg_catalog.sum(c.tuples_processed), 0)::pg_catalog.int8,"
								 " (SELECT coalesce(pg_catalog.sum(n.value::pg_catalog.int8), 0)::pg_catalog.int8"
								 " FROM pg_catalog.pg_stat_get_subscription_stats(%u) e,"
								 " pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(e)) n"
								 " WHERE n.key ~ '_error_count$')"
								 " FROM pg_catalog.pg_subscription_rel r"
								 " LEFT JOIN pg_catalog.pg_stat_progress_copy c ON c.relid = r.srrelid"
								 " AND c.datid = %u WHERE r.srsubid = %u",
								 subscription, MyDatabaseId, subscription), NULL, NULL);
	progress->ready = ak_sql_int64(0, 1);
	progress->tables = ak_sql_int64(0, 2);
	progress->rows = ak_sql_int64(0, 3);
	progress->errors = ak_sql_int64(0, 4);
	ak_sql_end();
}

static void
tell_progress(const AkMaking * making, const Progress * progress)
{
	ereport(NOTICE,
			(errmsg("%d of %d tables are there",
					(int) progress->ready, (int) progress->tables),
			 progress->rows == 0 ? 0 :
			 errdetail(INT64_FORMAT " rows of the next have been copied.",
					   progress->rows),
			 progress->errors == 0 ? 0 :
			 errhint("Copying has failed %d times, and is tried again: the server log says why.",
					 (int) progress->errors),
			 errhidestmt(true)));
}

/* Whoever breaks off the wait must not take it for the end of the subscription. */
static void
say_made(void *arg)
{
	errhidestmt(true);
	if (geterrcode() == ERRCODE_QUERY_CANCELED)
		errdetail("Subscription \"%s\" is made, and goes on copying: only the wait for it has ended.",
				  ((AkMaking *) arg)->name);
}

static void
wait_for_copies(AkMaking * making)
{
	Progress	told = {.ready = -1};
	Progress	progress;
	TimestampTz told_at = 0;
	ErrorContextCallback context;

	ak_hide_begin(&context, say_made);
	context.arg = making;
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		get_progress(making->oid, &progress);
		if (progress.tables == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("subscription \"%s\" was dropped meanwhile",
							making->name)));
		if (progress.ready != told.ready ||
			now > told_at + PROGRESS_EVERY * USECS_PER_SEC)
		{
			tell_progress(making, &progress);
			told = progress;
			told_at = now;
		}
		if (progress.ready == progress.tables)
			break;
		ak_step_next();
		ak_step_rest(100);
	}
	ak_hide_end(&context);
}

/* ----------------------------------------------------------- the procedure */

/* A name that is one of a replication slot, too. */
static const char *
get_slot_name(FunctionCallInfo fcinfo, int argno)
{
	char	   *name = ak_arg_string(fcinfo, argno);

	ak_arg_refuse_null(fcinfo, argno, "name");
	if (strlen(name) == 0 || strlen(name) >= NAMEDATALEN ||
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name is not valid"),
				 errdetail("It is that of the replication slot at the publisher, too: at most %d lower case letters, digits and underscores.",
						   NAMEDATALEN - 1),
				 errhidestmt(true)));
	return name;
}

/* NULL for a null. */
static Interval *
get_max_staleness(FunctionCallInfo fcinfo, int argno)
{
	Interval   *max_staleness;

	if (PG_ARGISNULL(argno))
		return NULL;
	max_staleness = PG_GETARG_INTERVAL_P(argno);
	if (ak_staleness_span(max_staleness) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_staleness is not valid"),
				 errdetail("It is positive, at most 366 days, and has no months."),
				 errhidestmt(true)));
	return max_staleness;
}

static void
get_arguments(FunctionCallInfo fcinfo, AkMaking * making)
{
	enum
	{
		CONNECTION, NAME, MAX_STALENESS, PUBLICATION
	};

	ak_arg_refuse_null(fcinfo, CONNECTION, "connection");
	making->connection = ak_arg_string(fcinfo, CONNECTION);
	making->name = get_slot_name(fcinfo, NAME);
	making->publication = PG_ARGISNULL(PUBLICATION) ? making->name :
		ak_arg_string(fcinfo, PUBLICATION);
	making->max_staleness = get_max_staleness(fcinfo, MAX_STALENESS);
}

static AkPublisher *
connect_publisher(const AkMaking * making)
{
	char	   *why;
	AkPublisher *publisher;

	ak_publisher_check(making->connection);
	publisher = ak_publisher_connect(making->connection, making->name, &why);
	if (publisher == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not connect to the publisher: %s", why),
				 errhidestmt(true)));
	return publisher;
}

AK_FUNCTION_INFO_V1(apikey_subscribe);
Datum
apikey_subscribe(PG_FUNCTION_ARGS)
{
	AkMaking	making = {0};
	ErrorContextCallback context;

	ak_hide_begin(&context, ak_hide_statement);
	ak_step_first(fcinfo);
	get_arguments(fcinfo, &making);
	check_here(&making);
	making.publisher = connect_publisher(&making);
	PG_TRY();
	{
		ak_fit_check(&making);
		make_or_take_back(&making);
	}
	PG_FINALLY();
	{
		ak_publisher_close(making.publisher);
	}
	PG_END_TRY();
	wait_for_copies(&making);
	ak_step_last();
	ak_hide_end(&context);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------- max_staleness */

/* How often the heartbeat comes, in microseconds, as the publisher has told. */
static int64
get_heartbeat_period(void)
{
	static AkSql find_period = {
		AK_TABLE_SUBSCRIPTION, 0,
		.query = "SELECT (extract(epoch FROM every) * 1000000)::pg_catalog.int8"
		" FROM $S.apikey_heartbeat WHERE every IS NOT NULL"
	};
	int64		every = 0;

	ak_sql_begin();
	if (ak_sql_execute(&find_period) > 0)
		every = ak_sql_int64(0, 1);
	ak_sql_end();
	return every;
}

AK_FUNCTION_INFO_V1(apikey_set_max_staleness);
Datum
apikey_set_max_staleness(PG_FUNCTION_ARGS)
{
	static AkSql update_staleness = {
		AK_TABLE_SUBSCRIPTION, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_subscription SET max_staleness = $2 WHERE name = $1"
	};
	AkEvent		event = {.action = "set_max_staleness"};
	AkDetail	detail;
	Interval   *max_staleness;
	const char *name;

	ak_actor_refuse_key();
	ak_schema_accept();
	name = ak_arg_string(fcinfo, 0);
	ak_arg_refuse_null(fcinfo, 0, "name");
	max_staleness = get_max_staleness(fcinfo, 1);
	if (max_staleness != NULL)
		ak_fit_staleness(max_staleness, get_heartbeat_period());
	if (ak_sql_run(&update_staleness, ak_value_string(name),
				   value_of_interval(max_staleness)) == 0)
		ak_unsubscribe_refuse(name);
	ak_detail_begin(&detail);
	ak_detail_add(&detail, "subscription", name);
	add_max_staleness(&detail, max_staleness);
	event.detail = &detail;
	ak_actor_record(&event);
	PG_RETURN_VOID();
}
