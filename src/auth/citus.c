/*
 * citus.c
 *		The session's key where Citus sends queries on to other servers; see citus.h.
 *
 * Nothing of Citus is needed to build this: it is there if its settings are.  The
 * statement goes the way of any other, through the hooks of ProcessUtility, but not by
 * SPI: no plan and no line of context has it, and, without an id, it is not counted by
 * pg_stat_statements.
 */
#include "postgres.h"

#include "auth/citus.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "commands/extension.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"

static const char propagate[] = "citus.propagate_set_commands";

/* A placeholder is something that somebody has set. */
static bool
is_at_work(void)
{
	return GetConfigOption(propagate, true, false) != NULL &&
		(GetConfigOptionFlags(propagate, true) & GUC_CUSTOM_PLACEHOLDER) == 0 &&
		OidIsValid(get_extension_oid("citus", true));
}

pg_noreturn static void
refuse_to_send(const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("Citus would not send the API key to all servers"),
			 errdetail_internal("%s", why),
			 errhint("%s", hint),
			 errhidestmt(true)));
}

/* Where would Citus lose it, or part of the servers not get it? */
static void
check_sending(void)
{
	const char *blocks = GetConfigOption("citus.select_opens_transaction_block",
										 true, false);

	if (!IsTransactionBlock())
		refuse_to_send("It does so in a transaction block alone.",
					   "Begin a transaction, log in, and query in it.");
	if (GetCurrentTransactionNestLevel() > 1)
		refuse_to_send("What is set in a subtransaction it forgets when that ends.",
					   "Log in, and out, before the first SAVEPOINT, and not in a block with EXCEPTION.");
	if (blocks != NULL && strcmp(blocks, "off") == 0)
		refuse_to_send("\"citus.select_opens_transaction_block\" is off.",
					   "Set it to on.");
}

/* Run a utility statement as if the caller's function had it. */
static void
run_statement(const char *sql)
{
	PlannedStmt *planned = makeNode(PlannedStmt);

	planned->commandType = CMD_UTILITY;
	planned->utilityStmt =
		linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt;
	ProcessUtility(planned, sql, false, PROCESS_UTILITY_QUERY, NULL, NULL,
				   None_Receiver, NULL);
}

/* Afterwards Citus propagates what it did before. */
static void
send_key(const char *key)
{
	char	   *literal = quote_literal_cstr(key);
	char	   *sql = psprintf("SET LOCAL apikey.key = %s", literal);
	int			level = NewGUCNestLevel();

	(void) set_config_option(propagate, "local", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	run_statement(sql);
	AtEOXact_GUC(true, level);
	explicit_bzero(literal, strlen(literal));
	explicit_bzero(sql, strlen(sql));
}

/*
 * No server has a key if there is none here, nor outside of a transaction block: what is
 * set there goes nowhere.
 */
void
ak_citus_set_key(const char *key)
{
	int			len;

	(void) ak_guc_key(&len);
	if (!is_at_work() || (*key == '\0' && (len == 0 || !IsTransactionBlock())))
	{
		ak_guc_set_key(key);
		return;
	}
	check_sending();
	send_key(key);
}
