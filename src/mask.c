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
 * The statement in the log is no part of the report, but debug_query_string.
 * What that points to is the client's message, which is still to be run: it is
 * made to point to a masked copy.  The copy lives in MessageContext, like what it
 * is a copy of: as long as the message is being worked on.
 */
#include "postgres.h"

#include "mask.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "guc.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "redact.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/varlena.h"

static emit_log_hook_type next_emit_log;
static post_parse_analyze_hook_type next_post_parse_analyze;
static planner_hook_type next_planner;
static ExecutorStart_hook_type next_executor_start;
static ProcessUtility_hook_type next_process_utility;

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

/* Is it the text of the message that was looked at last, or its masked copy? */
static bool
was_seen(const char *sql)
{
	/* in other processes the time may be the same for another text */
	return MyBackendType == B_BACKEND && (sql == seen.sql || sql == seen.masked) &&
		seen.at == GetCurrentStatementStartTimestamp();
}

/*
 * Mask the message of the client, for the log and for pg_stat_activity.  False
 * if it cannot be done now.  Raises nothing.
 */
static bool
mask_message(void)
{
	const char *sql = debug_query_string;
	char	   *masked = NULL;
	Size		len;

	if (sql == NULL || was_seen(sql))
		return true;
	len = strlen(sql);
	if (ak_redact_needed(sql, len, &ak_guc_mask_prefixes))
	{
		if (MessageContext == NULL || CritSectionCount > 0)
			return false;
		masked = MemoryContextAllocExtended(MessageContext, len + 1,
											MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (masked == NULL)
			return false;
		memcpy(masked, sql, len + 1);
		ak_redact(masked, len, &ak_guc_mask_prefixes);
		debug_query_string = masked;
		if (MyBEEntry != NULL && MyBEEntry->st_state == STATE_RUNNING)
		{
			uint64		query_id = pgstat_get_my_query_id();

			pgstat_report_activity(STATE_RUNNING, masked);
			pgstat_report_query_id(query_id, true);
		}
	}
	seen.sql = sql;

	seen.masked = masked;
	seen.at = GetCurrentStatementStartTimestamp();
	return true;
}

static void
mask_part(char *part)
{
	if (part != NULL)
		ak_redact(part, strlen(part), &ak_guc_mask_prefixes);
}

static void
emit_log(ErrorData *report)
{
	const char *message = NULL;

	if (ak_guc_mask_log)
	{
		mask_part(report->message);
		mask_part(report->detail);
		mask_part(report->detail_log);
		mask_part(report->hint);
		mask_part(report->context);
		mask_part(report->internalquery);
		if (!mask_message())
		{
			/* then nobody gets to see it */
			report->hide_stmt = true;
			message = debug_query_string;
			debug_query_string = NULL;
		}
	}
	if (next_emit_log)
		next_emit_log(report);
	if (message != NULL)
		debug_query_string = message;
}

/*
 * The text of a statement that is to be handed on: itself if there is no key in
 * it, else a masked copy.  That lives as long as the text, or the current memory
 * context.
 *
 * There are modules that run the text of DDL elsewhere.  So in DDL nothing is
 * masked that could be a name of something.
 */
static const char *
mask_source(const char *sql, bool ddl)
{
	const AkRedactPrefixes *prefixes = ddl ? NULL : &ak_guc_mask_prefixes;
	char	   *masked;
	Size		len;

	if (!ak_guc_mask_log || sql == NULL)
		return sql;

	(void) mask_message();
	/* a message may be long, and have many statements */
	if (was_seen(sql))
	{
		if (seen.masked == NULL || sql == seen.masked)
			return sql;
		if (!ddl)
			return seen.masked;
	}

	len = strlen(sql);
	if (!ak_redact_needed(sql, len, prefixes))
		return sql;

	masked = MemoryContextAllocHuge(CurrentMemoryContext, len + 1);
	memcpy(masked, sql, len + 1);
	ak_redact(masked, len, prefixes);
	return masked;
}

static void
post_parse_analyze(ParseState *pstate, Query *query, JumbleState *jstate)
{
	pstate->p_sourcetext = mask_source(pstate->p_sourcetext, false);
	if (next_post_parse_analyze)
		next_post_parse_analyze(pstate, query, jstate);
}

static PlannedStmt *
plan(Query *parse, const char *sql, int options, ParamListInfo params)
{
	sql = mask_source(sql, false);

	return next_planner ? next_planner(parse, sql, options, params) :
		standard_planner(parse, sql, options, params);
}

/*
 * A portal of the extended protocol gets the masked text too, in memory of its
 * own: it shows its text in pg_stat_activity whenever the client fetches from it.
 */
static void
executor_start(QueryDesc *desc, int flags)
{
	const char *sql = mask_source(desc->sourceText, false);

	if (sql != desc->sourceText)
	{
		Portal		portal = ActivePortal;

		if (PortalIsValid(portal) && portal->visible &&
			portal->sourceText == desc->sourceText)
			portal->sourceText = MemoryContextStrdup(portal->portalContext, sql);
		desc->sourceText = sql;
	}
	if (next_executor_start)
		next_executor_start(desc, flags);
	else
		standard_ExecutorStart(desc, flags);
}

static void
process_utility(PlannedStmt *stmt, const char *sql, bool read_only,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	sql = mask_source(sql, GetCommandLogLevel(stmt->utilityStmt) == LOGSTMT_DDL);

	if (next_process_utility)
		next_process_utility(stmt, sql, read_only, context, params, env, dest,
							 qc);
	else
		standard_ProcessUtility(stmt, sql, read_only, context, params, env,
								dest, qc);
}

/* Is the extension the last of shared_preload_libraries? */
static bool
is_last(void)
{
	char	   *list = pstrdup(shared_preload_libraries_string);
	List	   *names;
	const char *name;

	if (!SplitDirectoriesString(list, ',', &names) || names == NIL)
		return true;			/* not by that list, then */
	name = last_dir_separator(llast(names));
	name = name ? name + 1 : llast(names);
	return strcmp(name, "apikey") == 0 || strcmp(name, "apikey.so") == 0;
}

void
ak_mask_init(void)
{
	next_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
	next_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = post_parse_analyze;
	next_planner = planner_hook;
	planner_hook = plan;
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	next_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;

	if (ak_guc_mask_log && !is_last())
		ereport(LOG,
				(errmsg("apikey is not the last of \"shared_preload_libraries\""),
				 errhint("Put it last: libraries behind it see statements before keys in them are masked.")));
}
