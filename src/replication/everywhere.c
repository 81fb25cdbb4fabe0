/*
 * everywhere.c
 *		Taking rights away at once here, and then waiting until all that follow know it.
 *
 * The procedures call the function of the extension that does it, as it is: SECURITY
 * DEFINER, with its settings.  They are neither themselves, for such a procedure may not
 * commit; so nothing here runs as anybody but the caller.  Then they commit, and wait for
 * no standby: this server refuses from there on.
 *
 * What is to be waited for is the end of a record of no meaning, which is written to the
 * WAL next: whoever has applied it has applied all that was committed before.  No decoding
 * plugin sees it.  A hot standby tells what it has applied when it has applied all that it
 * has received, a subscriber when it has applied a transaction or is told that there was
 * none for it; what they have told is looked at again and again.  So no COMMIT waits, and
 * none is broken off.
 *
 * Nor does it wait for a COMMIT of others that hangs: those that notify hold each other up.
 *
 * Who follows, and how far, is asked of apikey_internal.followers, beside the view
 * apikey_replicas.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/hide.h"
#include "catalog/pg_control.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "pgstat.h"
#include "replication/step.h"
#include "table/event.h"
#include "table/schema.h"
#include "table/sql.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Between two looks at the followers, in ms: at first, and at most */
#define FIRST_PAUSE		1
#define LONGEST_PAUSE	50

/* Arguments of a function that is called, at most */
#define MAX_ARGS		4

/* -------------------------------------------------------------- beginning */

/* In microseconds, however many.  Raises 22004, 22023 and 22008. */
static int64
get_timeout(FunctionCallInfo fcinfo, int argno)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	ak_arg_refuse_null(fcinfo, argno, "timeout");
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(now),
												  PG_GETARG_DATUM(argno)));
	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("0 does not wait.")));
	return end - now;
}

/* Call a function of ours that returns void, by these arguments. */
static void
call_function(const char *name, const Oid *types, const NullableDatum *args, int count)
{
	LOCAL_FCINFO(call, MAX_ARGS);
	FmgrInfo	function;

	fmgr_info(ak_schema_function(ak_schema_get()->namespace, name, types, count),
			  &function);
	InitFunctionCallInfoData(*call, &function, count, InvalidOid, NULL, NULL);
	memcpy(call->args, args, count * sizeof(NullableDatum));
	(void) FunctionCallInvoke(call);
}

/* Commit here, whatever synchronous_commit is: on disk, and on no other server. */
static void
commit_here(void)
{
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	ak_sql_commit();
}

/* ---------------------------------------------------------------- waiting */

/* Write a record that says nothing; returns where it ends. */
static XLogRecPtr
write_record(void)
{
	static char nothing = 0;
	XLogRecPtr	end;

	XLogBeginInsert();
	XLogSetRecordFlags(XLOG_MARK_UNIMPORTANT);
	XLogRegisterData(&nothing, sizeof(nothing));
	end = XLogInsert(RM_XLOG_ID, XLOG_NOOP);
	XLogFlush(end);
	return end;
}

/* The result of apikey_internal.followers. */
typedef struct Followers
{
	bool		everywhere;
	Datum		list;			/* jsonb */
	Datum		record;			/* both */
} Followers;

/* Who has applied this?  "seen" is the list of the look before. */
static Followers
look_at_followers(FmgrInfo *function, XLogRecPtr mark, Datum seen)
{
	Followers	followers;
	HeapTupleHeader record;
	bool		isnull;

	/* or sessions that began meanwhile are missing */
	pgstat_clear_snapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	followers.record = FunctionCall2(function, LSNGetDatum(mark), seen);
	PopActiveSnapshot();
	record = DatumGetHeapTupleHeader(followers.record);
	followers.everywhere = DatumGetBool(GetAttributeByNum(record, 1, &isnull));
	followers.list = GetAttributeByNum(record, 2, &isnull);
	return followers;
}

/*
 * Wait until all have what is committed, or the time is over; and send these messages,
 * NIL then, as soon as no other COMMIT is in the way.  Returns the record (everywhere,
 * followers), in the current memory context.
 */
static Datum
wait_for_followers(int64 timeout, List **messages)
{
	TimestampTz begun = GetCurrentTimestamp();
	TimestampTz deadline = begun + Min(timeout, DT_NOEND - begun);
	static const Oid types[] = {PG_LSNOID, JSONBOID};
	Datum		seen = DirectFunctionCall1(jsonb_in, CStringGetDatum("[]"));
	MemoryContext before = CurrentMemoryContext;
	MemoryContext look = AllocSetContextCreate(before, "apikey followers",
											   ALLOCSET_DEFAULT_SIZES);
	XLogRecPtr	mark = write_record();
	long		pause = FIRST_PAUSE;
	FmgrInfo	function;
	Followers	followers;

	ak_schema_accept();
	fmgr_info(ak_schema_function(ak_schema_get()->internal, "followers", types,
								 lengthof(types)), &function);
	for (;;)
	{
		long		left;

		if (*messages != NIL && ak_event_notify(*messages))
		{
			*messages = NIL;
			commit_here();
		}
		MemoryContextSwitchTo(look);
		followers = look_at_followers(&function, mark, seen);
		MemoryContextSwitchTo(before);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if ((followers.everywhere && *messages == NIL) || left <= 0)
			break;
		pfree(DatumGetPointer(seen));
		seen = datumCopy(followers.list, false, -1);
		MemoryContextReset(look);
		ak_step_rest(Min(pause, left));
		pause = Min(2 * pause, LONGEST_PAUSE);
	}
	followers.record = datumCopy(followers.record, false, -1);
	MemoryContextDelete(look);
	return followers.record;
}

/* With each error, a cancelled wait among them: who sees it must not take it for a "no". */
static void
say_done(void *done)
{
	errdetail("%s", (const char *) done);
}

/*
 * Call this function of ours, commit, and wait.  The procedure has the arguments of the
 * function, with the timeout in between, and in the end two for the result.
 */
static Datum
take_away(FunctionCallInfo fcinfo, int timeout_argno, const char *name,
		  const Oid *types, int count, const char *done)
{
	NullableDatum args[MAX_ARGS];
	ErrorContextCallback context;
	int64		timeout;
	List	   *messages;
	Datum		result;

	ak_step_check(fcinfo);
	timeout = get_timeout(fcinfo, timeout_argno);
	ak_schema_accept();
	for (int i = 0; i < count; i++)
		args[i] = fcinfo->args[i < timeout_argno ? i : i + 1];
	call_function(name, types, args, count);
	messages = ak_event_postpone();
	commit_here();

	ak_hide_begin(&context, say_done);
	context.arg = unconstify(char *, done);
	result = wait_for_followers(timeout, &messages);
	ak_hide_end(&context);
	if (messages != NIL)
		ak_event_warn();
	return result;
}

#define DONE_TO_KEY(what) \
	"The key " what " on this server: that is committed, and stays so. Only the wait for other servers has ended."

AK_FUNCTION_INFO_V1(apikey_revoke_everywhere);
Datum
apikey_revoke_everywhere(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {UUIDOID, TEXTOID};

	return take_away(fcinfo, 1, "apikey_revoke", types, lengthof(types),
					 DONE_TO_KEY("is revoked"));
}

AK_FUNCTION_INFO_V1(apikey_disable_everywhere);
Datum
apikey_disable_everywhere(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {UUIDOID, TEXTOID};

	return take_away(fcinfo, 1, "apikey_disable", types, lengthof(types),
					 DONE_TO_KEY("is disabled"));
}

AK_FUNCTION_INFO_V1(apikey_ungrant_everywhere);
Datum
apikey_ungrant_everywhere(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {UUIDOID, TEXTOID, TEXTOID};

	return take_away(fcinfo, 3, "apikey_ungrant", types, lengthof(types),
					 DONE_TO_KEY("has lost the grant"));
}

AK_FUNCTION_INFO_V1(apikey_suspend_everywhere);
Datum
apikey_suspend_everywhere(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {TEXTOID, TEXTOID};

	return take_away(fcinfo, 1, "apikey_suspend", types, lengthof(types),
					 "The organization is suspended on this server: that is committed, and stays so. Only the wait for other servers has ended.");
}

AK_FUNCTION_INFO_V1(apikey_wait_everywhere);
Datum
apikey_wait_everywhere(PG_FUNCTION_ARGS)
{
	List	   *messages = NIL;

	ak_step_check(fcinfo);
	return wait_for_followers(get_timeout(fcinfo, 0), &messages);
}
