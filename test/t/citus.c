/*
 * citus.c
 *		For 043_citus.pl: what Citus does with SET LOCAL, and no more.
 *
 * It has two of its settings.  Of what is set by a SET LOCAL statement in a transaction
 * block, while citus.propagate_set_commands is 'local', it keeps the text, which
 * citus_sent() returns: Citus begins its transactions on other servers with that.  At the
 * end of a subtransaction it forgets what came in it, whether that commits or not.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

enum
{
	NONE, LOCAL
};

static const struct config_enum_entry choices[] = {
	{"none", NONE, false},
	{"local", LOCAL, false},
	{NULL, 0, false}
};

static int	propagate = NONE;
static bool opens_blocks = true;
static ProcessUtility_hook_type next_utility;

#define LEVELS	100

static StringInfoData sent[LEVELS];
static int	level;

static void
utility(PlannedStmt *stmt, const char *text, bool read_only,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	VariableSetStmt *set = (VariableSetStmt *) stmt->utilityStmt;

	if (IsA(set, VariableSetStmt) && set->kind == VAR_SET_VALUE &&
		set->is_local && propagate == LOCAL && IsTransactionBlock() &&
		strncmp(set->name, "citus.", 6) != 0)
		appendStringInfo(&sent[level], "%s;", text);
	(next_utility ? next_utility : standard_ProcessUtility)
		(stmt, text, read_only, context, params, env, dest, qc);
}

static void
end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	level = 0;
	resetStringInfo(&sent[0]);
}

static void
end_sub(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
		void *arg)
{
	if (event == SUBXACT_EVENT_START_SUB && level < LEVELS - 1)
		resetStringInfo(&sent[++level]);
	else if (event == SUBXACT_EVENT_COMMIT_SUB ||
			 event == SUBXACT_EVENT_ABORT_SUB)
		level--;
}

PG_FUNCTION_INFO_V1(citus_sent);
PGDLLEXPORT Datum
citus_sent(PG_FUNCTION_ARGS)
{
	StringInfoData all;

	initStringInfo(&all);
	for (int i = 0; i <= level; i++)
		appendStringInfoString(&all, sent[i].data);
	PG_RETURN_TEXT_P(cstring_to_text(all.data));
}

void
_PG_init(void)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	for (int i = 0; i < LEVELS; i++)
		initStringInfo(&sent[i]);
	MemoryContextSwitchTo(before);
	DefineCustomEnumVariable("citus.propagate_set_commands", "as in Citus", NULL,
							 &propagate, NONE, choices, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("citus.select_opens_transaction_block", "as in Citus",
							 NULL, &opens_blocks, true, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	RegisterXactCallback(end, NULL);
	RegisterSubXactCallback(end_sub, NULL);
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
