/*
 * step.c
 *		Procedures that go by steps; see step.h.
 */
#include "postgres.h"

#include "replication/step.h"

#include "access/xact.h"
#include "base/compat.h"
#include "keys/actor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "table/schema.h"
#include "table/sql.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

static int	level;				/* of the settings of the step */

static void
begin_step(void)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	ak_schema_accept();
}

static void
end_step(void)
{
	AtEOXact_GUC(true, level);
	PopActiveSnapshot();
}

void
ak_step_check(FunctionCallInfo fcinfo)
{
	const char *name = get_func_name(fcinfo->flinfo->fn_oid);
	CallContext *call = (CallContext *) fcinfo->context;

	if (call == NULL || !IsA(call, CallContext) || call->atomic ||
		IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", name),
				 errhint("It commits at once: CALL it outside of BEGIN and COMMIT, from no function, and with a driver in autocommit mode.")));
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run after other changes in the same transaction",
						name),
				 errhint("It would commit them, and wait for no standby to have them. COMMIT first.")));
	PreventCommandIfReadOnly(name);
}

void
ak_step_first(FunctionCallInfo fcinfo)
{
	ak_step_check(fcinfo);
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to call %s",
						get_func_name(fcinfo->flinfo->fn_oid)),
				 errhidestmt(true)));
	ak_actor_refuse_key();
	begin_step();
}

void
ak_step_next(void)
{
	end_step();
	ak_sql_commit();
	begin_step();
}

void
ak_step_last(void)
{
	end_step();
}

void
ak_step_rest(long timeout)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}
