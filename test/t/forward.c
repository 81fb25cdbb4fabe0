/*
 * forward.c
 *		For 030_forward.pl: a library that sends statements on.
 *
 * Whatever text of a statement it gets goes to the file that the environment variable
 * FORWARD_FILE names: which hook, a tab, the text.
 */
#include "postgres.h"

#include "base/compat.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static post_parse_analyze_hook_type next_analyze;
static planner_hook_type next_planner;
static ExecutorStart_hook_type next_start;
static ExecutorEnd_hook_type next_end;
static ProcessUtility_hook_type next_utility;

static void
forward(const char *hook, const char *text)
{
	FILE	   *file = text == NULL ? NULL : fopen(getenv("FORWARD_FILE"), "a");

	if (file == NULL)
		return;
	fprintf(file, "%s\t%s\n", hook, text);
	if (debug_query_string != NULL)
		fprintf(file, "message\t%s\n", debug_query_string);
	fclose(file);
}

static void
analyze(ParseState *pstate, Query *query, AkJumbleState *jstate)
{
	forward("analyze", pstate->p_sourcetext);
	if (next_analyze)
		next_analyze(pstate, query, jstate);
	forward("analyzed", pstate->p_sourcetext);
}

static PlannedStmt *
plan(Query *query, const char *text, int options,
	 ParamListInfo params AK_EXPLAIN_PARAMETER)
{
	forward("plan", text);
	return (next_planner ? next_planner : standard_planner)
		(query, text, options, params AK_EXPLAIN_ARGUMENT);
}

static void
start(QueryDesc *desc, int flags)
{
	forward("start", desc->sourceText);
	if (next_start)
		next_start(desc, flags);
	else
		standard_ExecutorStart(desc, flags);
	forward("started", desc->sourceText);
	forward("state", desc->estate->es_sourceText);
}

static void
end(QueryDesc *desc)
{
	forward("end", desc->sourceText);
	if (next_end)
		next_end(desc);
	else
		standard_ExecutorEnd(desc);
}

static void
utility(PlannedStmt *stmt, const char *text, bool read_only,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	forward("utility", text);
	if (next_utility)
		next_utility(stmt, text, read_only, context, params, env, dest, qc);
	else
		standard_ProcessUtility(stmt, text, read_only, context, params, env,
								dest, qc);
	forward("done", text);
}

void
_PG_init(void)
{
	next_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = analyze;
	next_planner = planner_hook;
	planner_hook = plan;
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
	next_end = ExecutorEnd_hook;
	ExecutorEnd_hook = end;
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
