/*
 * publisher.c
 *		A connection to the server whose keys a subscription brings; see publisher.h.
 */
#include "postgres.h"

#include "replication/publisher.h"

#include "access/xlog.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "replication/walreceiver.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define MAX_COLUMNS		8
#define DROP_TRIES		100		/* one each 0.1 s, while a slot is in use */

struct AkPublisher
{
	MemoryContext context;
	WalReceiverConn *connection;
};

static void
load_library(void)
{
	load_file("libpqwalreceiver", false);
	if (WalReceiverFunctions == NULL)
		elog(ERROR, "libpqwalreceiver did not initialize correctly");
}

/* What libpq says of a connection string repeats parts of it. */
void
ak_publisher_check(const char *connection)
{
	MemoryContext before = CurrentMemoryContext;

	load_library();
	PG_TRY();
	{
		(WalReceiverFunctions->walrcv_check_conninfo) (connection AK_WALRCV_CHECK);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("connection string is not valid"),
				 errhint("It is one of libpq, with host, dbname and user, or a URI."),
				 errhidestmt(true)));
	}
	PG_END_TRY();
}

/* What names and addresses that need not be hidden are made of */
#define PLAIN	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/-"

/*
 * What libpq says, in English, without what it quotes of the connection string; it may have
 * decoded that.  Palloc'd.
 */
static char *
hide_values(const char *message, const char *connection)
{
	bool		greedy = strchr(connection, '"') != NULL;
	StringInfoData result;
	const char *begin;

	initStringInfo(&result);
	while ((begin = strchr(message, '"')) != NULL)
	{
		const char *end = greedy ? strrchr(begin + 1, '"') : strchr(begin + 1, '"');
		char	   *value = end == NULL ? pstrdup(begin + 1) :
		pnstrdup(begin + 1, end - begin - 1);

		appendBinaryStringInfo(&result, message, begin - message);
		if (greedy || strstr(connection, value) != NULL ||
			strspn(value, PLAIN) != strlen(value))
			value = "...";
		appendStringInfo(&result, "\"%s\"", value);
		message = end == NULL ? "" : end + 1;
	}
	appendStringInfoString(&result, message);
	return pchomp(result.data);
}

/* The walreceiver's way, in a session whose libpq speaks English. */
static WalReceiverConn *
connect_in_english(const char *connection, const char *name, char **why)
{
	int			level = NewGUCNestLevel();
	WalReceiverConn *made;

	(void) set_config_option("lc_messages", "C", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	made = (WalReceiverFunctions->walrcv_connect) (connection, AK_WALRCV_LOGICAL,
												   name, why);
	AtEOXact_GUC(true, level);
	return made;
}

AkPublisher *
ak_publisher_connect(const char *connection, const char *name, char **why)
{
	MemoryContext context;
	MemoryContext before;
	WalReceiverConn *made;
	AkPublisher *publisher;

	load_library();
	context = AllocSetContextCreate(TopMemoryContext, "apikey publisher",
									ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	PG_TRY();
	{
		made = connect_in_english(connection, name, why);
		publisher = palloc(sizeof(AkPublisher));
		publisher->context = context;
		publisher->connection = made;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	if (made != NULL)
		return publisher;
	*why = hide_values(*why, connection);
	MemoryContextDelete(context);
	return NULL;
}

void
ak_publisher_close(AkPublisher *publisher)
{
	walrcv_disconnect(publisher->connection);
	MemoryContextDelete(publisher->context);
}

int
ak_publisher_version(AkPublisher *publisher)
{
	return walrcv_server_version(publisher->connection);
}

static void
collect_answer(WalRcvExecResult * result, AkAnswer *answer)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(result->tupledesc,
													&TTSOpsMinimalTuple);
	int			room = 16;

	answer->values = palloc(room * answer->ncolumns * sizeof(char *));
	while (tuplestore_gettupleslot(result->tuplestore, true, false, slot))
	{
		if (answer->nrows == room)
		{
			room *= 2;
			answer->values = repalloc(answer->values,
									  room * answer->ncolumns * sizeof(char *));
		}
		for (int column = 0; column < answer->ncolumns; column++)
		{
			bool		isnull;
			Datum		value = slot_getattr(slot, column + 1, &isnull);

			AK_ANSWER(answer, answer->nrows, column) =
				isnull ? NULL : TextDatumGetCString(value);
		}
		answer->nrows++;
		ExecClearTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
}

static WalRcvExecResult *
run_there(AkPublisher *publisher, const char *command, int ncolumns)
{
	Oid			types[MAX_COLUMNS] = {0};

	Assert(ncolumns <= MAX_COLUMNS);
	for (int i = 0; i < ncolumns; i++)
		types[i] = TEXTOID;
	return walrcv_exec(publisher->connection, command, ncolumns, types);
}

AkAnswer *
ak_publisher_ask(AkPublisher *publisher, int ncolumns, const char *query)
{
	WalRcvExecResult *result = run_there(publisher, query, ncolumns);
	AkAnswer   *answer = palloc0(sizeof(AkAnswer));

	if (result->status != WALRCV_OK_TUPLES)
		ereport(ERROR,
				(errcode(result->sqlstate != 0 ? result->sqlstate :
						 ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not ask the publisher: %s",
						result->err != NULL ? pchomp(result->err) : "no answer"),
				 errhidestmt(true)));
	answer->ncolumns = ncolumns;
	collect_answer(result, answer);
	walrcv_clear_result(result);
	return answer;
}

int
ak_publisher_command(AkPublisher *publisher, const char *command, int ncolumns,
					 char **why)
{
	WalRcvExecResult *result = run_there(publisher, command, ncolumns);
	int			sqlstate = 0;

	if (result->status == WALRCV_ERROR)
	{
		sqlstate = result->sqlstate != 0 ? result->sqlstate :
			ERRCODE_CONNECTION_FAILURE;
		*why = pchomp(result->err != NULL ? result->err : "no answer");
	}
	walrcv_clear_result(result);
	return sqlstate;
}

int
ak_publisher_process(AkPublisher *publisher)
{
	return walrcv_get_backend_pid(publisher->connection);
}

bool
ak_publisher_drop_slot(const char *connection, const char *name, int process,
					   char **why)
{
	AkPublisher *publisher = ak_publisher_connect(connection, name, why);
	char	   *command = psprintf("DROP_REPLICATION_SLOT \"%s\"", name);
	volatile int sqlstate = 0;

	if (publisher == NULL)
		return false;
	PG_TRY();
	{
		if (process > 0)
			(void) ak_publisher_command(publisher,
										psprintf("DO 'BEGIN PERFORM pg_catalog.pg_terminate_backend(%d); END'",
												 process), 0, why);
		for (int tries = 0;; tries++)
		{
			sqlstate = ak_publisher_command(publisher, command, 0, why);
			if (sqlstate != ERRCODE_OBJECT_IN_USE || tries == DROP_TRIES)
				break;
			pg_usleep(100 * 1000L);
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_FINALLY();
	{
		ak_publisher_close(publisher);
	}
	PG_END_TRY();
	return sqlstate == 0 || sqlstate == ERRCODE_UNDEFINED_OBJECT;
}

void
ak_publisher_warn(const char *name, const char *why)
{
	ereport(WARNING,
			(errmsg("replication slot \"%s\" is left at the publisher", name),
			 why == NULL ? 0 : errdetail("%s", why),
			 errhint("It keeps WAL there until somebody calls: SELECT pg_drop_replication_slot('%s');",
					 name),
			 errhidestmt(true)));
}

/*
 * A copy of this server's files has the same system identifier and database; but not the
 * lock that this transaction has on its own number.
 */
bool
ak_publisher_is_here(AkPublisher *publisher)
{
	/* identifier, timeline, position, database */
	AkAnswer   *system = ak_publisher_ask(publisher, 4, "IDENTIFY_SYSTEM");

	if (strcmp(AK_ANSWER(system, 0, 0), psprintf(UINT64_FORMAT, GetSystemIdentifier())) != 0)
		return false;
	return ak_publisher_ask(publisher, 1, psprintf(
												   "SELECT ''::text FROM pg_catalog.pg_locks l,"
												   " pg_catalog.pg_database d"
												   " WHERE l.locktype = 'virtualxid' AND l.pid = %d"
												   " AND l.virtualxid = '%d/%u' AND d.oid = %u"
												   " AND d.datname = current_database()",
												   MyProcPid, AK_MY_VXID,
												   MyDatabaseId))->nrows > 0;
}
