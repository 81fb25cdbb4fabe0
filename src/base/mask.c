/*
 * mask.c
 *		The server log, pg_stat_activity and pg_stat_statements without keys; see
 *		mask.h.
 *
 * PostgreSQL lets a log hook look at a message and suppress it.  That a hook
 * changes the message is "not considered supported": it works, because the parts
 * of a report are copies that belong to the report, and everything that is sent
 * is made from them after the hook has run.
 *
 * The log hook runs in any process, in the middle of anything: an error of the
 * error handling, a critical section, no memory.  So it changes a report in
 * place, where it has the same length, and raises nothing.
 *
 * The statement in the log is no part of the report, but debug_query_string, which
 * others read as well.  So if there is a key in it the hook has the report sent to the
 * log itself, while that points to a masked copy, and keeps PostgreSQL from sending it
 * once more.  The copy lives in MessageContext, like what it is a copy of: as long as
 * the message is being worked on.
 *
 * Hooks are chains.  Ours stand in two places of each: where the library was loaded,
 * and, installed when all have been loaded, before all others.  So between the two are
 * the libraries behind this one, and below are those before it, and PostgreSQL.  What
 * has a text to hand on gives each of the two groups the masked or the original one.
 */
#include "postgres.h"

#include "base/mask.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/redact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

/* Our place in the chains of hooks: what comes next, and whether it gets masked text */
typedef struct Layer
{
	bool		masked;
	post_parse_analyze_hook_type post_parse_analyze;
	planner_hook_type planner;
	ExecutorEnd_hook_type executor_end;
	ProcessUtility_hook_type process_utility;
} Layer;

static Layer first;				/* then come the libraries behind this one */
static Layer second;			/* then those before it, and PostgreSQL */

static emit_log_hook_type next_emit_log;
static ExecutorStart_hook_type next_executor_start;
static ExecutorRun_hook_type next_executor_run;
static shmem_request_hook_type next_shmem_request;

/*
 * The message of the client that was looked at last: its text, the masked copy
 * or NULL if it needs none, and when it came.  Its place in memory alone does not
 * tell one message from the next.
 */
static struct
{
	const char *sql;
	const char *masked;
	TimestampTz at;
}			seen;

/* The text that is being handed on masked, and what it is a copy of. */
typedef struct HandedText
{
	const char *masked;
	const char *original;
} HandedText;

static HandedText handed;

/* Is it the text of the message that was looked at last? */
static bool
was_seen(const char *sql)
{
	/* in other processes the time may be the same for another text */
	return (MyBackendType == B_BACKEND || IsParallelWorker()) &&
		sql == seen.sql &&
		seen.at == GetCurrentStatementStartTimestamp();
}

/*
 * Mask what pg_stat_activity shows of this process, in place.  It is a copy, and outlives
 * the message.  Raises nothing.
 */
static void
mask_shown(void)
{
	PgBackendStatus *entry = MyBEEntry;
	Size		len;

	if (entry == NULL)
		return;
	len = strlen(entry->st_activity_raw);
	if (!ak_redact_needed(entry->st_activity_raw, len, &ak_guc_mask_prefixes))
		return;
	PGSTAT_BEGIN_WRITE_ACTIVITY(entry);
	ak_redact(entry->st_activity_raw, len, &ak_guc_mask_prefixes);
	PGSTAT_END_WRITE_ACTIVITY(entry);
}

/* NULL if there is no memory, where the flags allow that. */
static char *
copy_masked(MemoryContext context, const char *sql, Size len, int flags)
{
	char	   *masked = MemoryContextAllocExtended(context, len + 1,
													MCXT_ALLOC_HUGE | flags);

	if (masked != NULL)
	{
		memcpy(masked, sql, len + 1);
		ak_redact(masked, len, &ak_guc_mask_prefixes);
	}
	return masked;
}

/*
 * Look at the message of the client, and show it masked in pg_stat_activity.  False
 * if it cannot be masked now.  Raises nothing.
 */
static bool
look_at_message(void)
{
	const char *sql = debug_query_string;
	MemoryContext context = IsParallelWorker() ? TopTransactionContext :
	MessageContext;
	char	   *masked = NULL;
	Size		len;

	if (sql == NULL || was_seen(sql))
		return true;
	len = strlen(sql);
	if (ak_redact_needed(sql, len, &ak_guc_mask_prefixes))
	{
		mask_shown();
		if (context == NULL || CritSectionCount > 0)
			return false;
		masked = copy_masked(context, sql, len, MCXT_ALLOC_NO_OOM);
		if (masked == NULL)
			return false;
	}
	seen.sql = sql;
	seen.masked = masked;
	seen.at = GetCurrentStatementStartTimestamp();
	return true;
}

static void
show_message(void)
{
	if (ak_guc_mask_log)
		(void) look_at_message();
}

/* ------------------------------------------------------------------ log */

static void
mask_part(char *part)
{
	if (part != NULL)
		ak_redact(part, strlen(part), &ak_guc_mask_prefixes);
}

/* Send the report to the log now, and to the client later. */
static void
send_to_log(ErrorData *report, bool *sending)
{
	bool		to_client = report->output_to_client;

	report->output_to_client = false;
	*sending = true;
	PG_TRY();
	{
		EmitErrorReport();
	}
	PG_FINALLY();
	{
		*sending = false;
		report->output_to_client = to_client;
	}
	PG_END_TRY();
	report->output_to_server = false;
}

static void
emit_log(ErrorData *report)
{
	static bool sending;
	const char *sql = debug_query_string;

	if (sending)
		return;
	if (ak_guc_mask_log)
	{
		mask_part(report->message);
		mask_part(report->detail);
		mask_part(report->detail_log);
		mask_part(report->hint);
		mask_part(report->context);
		mask_part(report->internalquery);
		if (!look_at_message())
		{
			/* then nobody gets to see it */
			report->hide_stmt = true;
			debug_query_string = NULL;
		}
		else if (sql != NULL && seen.masked != NULL)
			debug_query_string = seen.masked;
	}
	if (next_emit_log)
		next_emit_log(report);
	if (debug_query_string == sql)
		return;
	PG_TRY();
	{
		if (report->output_to_server)
			send_to_log(report, &sending);
	}
	PG_FINALLY();
	{
		debug_query_string = sql;
	}
	PG_END_TRY();
}

/* -------------------------------------------------------- other libraries */

static const char *
get_original(const char *sql)
{
	return sql != NULL && sql == handed.masked ? handed.original : sql;
}

/*
 * What is handed on behind a layer in the place of this text, as it is or masked.  A
 * masked copy lives as long as the text, or the current memory context.
 */
static const char *
hand_on(const Layer *layer, const char *sql)
{
	const char *original = get_original(sql);
	Size		len;

	show_message();
	if (!layer->masked || !ak_guc_mask_log || original == NULL)
		return original;
	/* a message may be long, and have many statements */
	if (was_seen(original))
		return seen.masked != NULL ? seen.masked : original;
	if (original == handed.original)
		return handed.masked;
	len = strlen(original);
	if (!ak_redact_needed(original, len, &ak_guc_mask_prefixes))
		return original;
	return copy_masked(CurrentMemoryContext, original, len, 0);
}

/* Do this, and know meanwhile what the text that is handed on is a copy of. */
#define WHILE_HANDED(sql, given, action) \
	do { \
		HandedText	before_ = handed; \
\
		if ((sql) == get_original(given)) \
		{ \
			action; \
			break; \
		} \
		handed.original = get_original(given); \
		handed.masked = (sql); \
		PG_TRY(); \
		{ \
			action; \
		} \
		PG_FINALLY(); \
		{ \
			handed = before_; \
		} \
		PG_END_TRY(); \
	} while (0)

static void
analyze_behind(const Layer *layer, ParseState *pstate, Query *query,
			   AkJumbleState *jstate)
{
	const char *given = pstate->p_sourcetext;
	const char *sql = hand_on(layer, given);

	if (layer->post_parse_analyze == NULL)
		return;
	pstate->p_sourcetext = sql;
	WHILE_HANDED(sql, given,
				 layer->post_parse_analyze(pstate, query, jstate));
	pstate->p_sourcetext = given;
}

static PlannedStmt *
plan_behind(const Layer *layer, Query *query, const char *given, int options,
			ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	const char *sql = hand_on(layer, given);
	PlannedStmt *volatile result = NULL;

	if (layer->planner == NULL)
		return standard_planner(query, sql, options,
								params AK_EXPLAIN_ARGUMENT);
	WHILE_HANDED(sql, given,
				 result = layer->planner(query, sql, options,
										 params AK_EXPLAIN_ARGUMENT));
	return result;
}

static void
end_behind(const Layer *layer, QueryDesc *desc)
{
	const char *given = desc->sourceText;
	const char *sql = hand_on(layer, given);

	if (layer->executor_end == NULL)
	{
		standard_ExecutorEnd(desc);
		return;
	}
	desc->sourceText = sql;
	WHILE_HANDED(sql, given, layer->executor_end(desc));
	desc->sourceText = given;
}

static void
run_utility_behind(const Layer *layer, PlannedStmt *stmt, const char *given,
				   bool read_only, ProcessUtilityContext context, ParamListInfo params,
				   QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	const char *sql = hand_on(layer, given);

	if (layer->process_utility == NULL)
		standard_ProcessUtility(stmt, sql, read_only, context, params, env,
								dest, qc);
	else
		WHILE_HANDED(sql, given,
					 layer->process_utility(stmt, sql, read_only, context,
											params, env, dest, qc));
}

static void
analyze_first(ParseState *pstate, Query *query, AkJumbleState *jstate)
{
	analyze_behind(&first, pstate, query, jstate);
}

static void
analyze_second(ParseState *pstate, Query *query, AkJumbleState *jstate)
{
	analyze_behind(&second, pstate, query, jstate);
}

static PlannedStmt *
plan_first(Query *query, const char *sql, int options,
		   ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	return plan_behind(&first, query, sql, options,
					   params AK_EXPLAIN_ARGUMENT);
}

static PlannedStmt *
plan_second(Query *query, const char *sql, int options,
			ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	return plan_behind(&second, query, sql, options,
					   params AK_EXPLAIN_ARGUMENT);
}

static void
end_first(QueryDesc *desc)
{
	end_behind(&first, desc);
}

static void
end_second(QueryDesc *desc)
{
	end_behind(&second, desc);
}

static void
utility_first(PlannedStmt *stmt, const char *sql, bool read_only,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	run_utility_behind(&first, stmt, sql, read_only, context, params, env, dest, qc);
}

static void
utility_second(PlannedStmt *stmt, const char *sql, bool read_only,
			   ProcessUtilityContext context, ParamListInfo params,
			   QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	run_utility_behind(&second, stmt, sql, read_only, context, params, env, dest, qc);
}

/* The rest is for pg_stat_activity alone. */
static void
executor_start(QueryDesc *desc, int flags)
{
	show_message();
	if (next_executor_start)
		next_executor_start(desc, flags);
	else
		standard_ExecutorStart(desc, flags);
}

/* A portal of the extended protocol shows its text with each fetch. */
static void
executor_run(QueryDesc *desc, ScanDirection direction, uint64 count
			 AK_EXECUTE_ONCE_PARAMETER)
{
	show_message();
	if (next_executor_run)
		next_executor_run(desc, direction, count AK_EXECUTE_ONCE_ARGUMENT);
	else
		standard_ExecutorRun(desc, direction, count AK_EXECUTE_ONCE_ARGUMENT);
}

/*
 * A message that has nothing but comments runs nothing, and yet ends; so does one with
 * an error that is not logged.  By then debug_query_string may be gone.  Where the
 * message was looked at, as is the rule, there is nothing left to do.
 */
static void
mask_at_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (ak_guc_mask_log && seen.at != GetCurrentStatementStartTimestamp())
		mask_shown();
}

/* ----------------------------------------------------------- installation */

/* Put the layer before what is in the chains now. */
static void
install(Layer *layer, post_parse_analyze_hook_type analyze_hook,
		planner_hook_type plan_hook, ExecutorEnd_hook_type end_hook,
		ProcessUtility_hook_type utility_hook)
{
	layer->post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = analyze_hook;
	layer->process_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility_hook;
	/* where nobody is handed masked text there is nothing else to do */
	if (!first.masked && !second.masked)
		return;
	layer->planner = planner_hook;
	planner_hook = plan_hook;
	layer->executor_end = ExecutorEnd_hook;
	ExecutorEnd_hook = end_hook;
}

/* All libraries have been loaded. */
static void
shmem_request(void)
{
	if (next_shmem_request)
		next_shmem_request();
	if (first.masked)
		install(&first, analyze_first, plan_first, end_first, utility_first);
	next_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
}

/* The names in a list of libraries, without directory and suffix. */
static List *
library_names(const char *list)
{
	List	   *names;
	ListCell   *cell;

	if (!SplitDirectoriesString(pstrdup(list), ',', &names))
		return NIL;
	foreach(cell, names)
	{
		char	   *name = last_dir_separator(lfirst(cell));
		char	   *suffix;

		name = name ? name + 1 : lfirst(cell);
		suffix = strstr(name, DLSUFFIX);
		if (suffix != NULL && strcmp(suffix, DLSUFFIX) == 0)
			*suffix = '\0';
		lfirst(cell) = name;
	}
	return names;
}

static bool
has_library(List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* Libraries on one side of this one. */
typedef struct Side
{
	const char *shows;			/* one that only shows statements, or NULL */
	const char *other;			/* one that may send them on, or NULL */
} Side;

static bool
may_mask(const Side *side, const char *other)
{
	if (side->shows != NULL && other != NULL)
		ereport(LOG,
				(errmsg("library \"%s\" gets statements with the keys in them",
						side->shows),
				 errdetail("What it gets is handed on to library \"%s\", which may send statements on.",
						   other),
				 errhint("In \"shared_preload_libraries\" put what only shows statements behind apikey, and all else before it; see \"apikey.mask_libraries\".")));
	return side->shows != NULL && other == NULL;
}

/*
 * What PostgreSQL gets it hands to all when it analyzes, plans and executes what is
 * within a statement.  So the text for libraries before this one, and for PostgreSQL,
 * is masked only if there is no library at all that may send statements on.
 */
static void
look_at_libraries(void)
{
	List	   *all = library_names(shared_preload_libraries_string);
	List	   *showing = library_names(ak_guc_mask_libraries);
	Side		before = {0};
	Side		behind = {0};
	Side	   *side = &before;
	ListCell   *cell;

	foreach(cell, all)
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "apikey") == 0)
			side = &behind;
		else if (has_library(showing, name))
			side->shows = name;
		else
			side->other = name;
	}
	first.masked = may_mask(&behind, behind.other);
	second.masked = may_mask(&before,
							 before.other ? before.other : behind.other);
}

void
ak_mask_init(void)
{
	look_at_libraries();
	install(&second, analyze_second, plan_second, end_second, utility_second);
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = executor_run;
	next_shmem_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
	RegisterXactCallback(mask_at_end, NULL);
}
