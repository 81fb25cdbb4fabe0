/*
 * explain.c
 *		Why does a key see so few rows of a table, and why so slowly?
 *
 * The answer is found by trying: the table is read, and a query of it planned, under
 * row-level security, as the caller.
 *
 * Reading a table, or planning to, may call functions of whoever made its indexes,
 * constraints and policies.  So a caller who is not subject to the policies, perhaps
 * a superuser, must be allowed to read the table, but it is read as its owner; and
 * always in a security-restricted operation.  If the owner is not subject to the
 * policies either, that of apikey_protect is put into the query, as it is stored:
 * written as text it would be looked up anew, and might call an implicit cast that
 * was made since.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/reach.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/ident.h"
#include "base/result.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "planner/indexes.h"
#include "planner/protect.h"
#include "planner/strict.h"
#include "planner/trial.h"
#include "table/ddl.h"
#include "table/schema.h"
#include "table/sql.h"
#include "table/store.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#define COUNTED_ROWS	1000

/* The columns of the result. */
enum
{
	KEY_STATE,
	PROJECTS,
	VISIBLE_ROWS,
	INDEXED,
	PLAN,
	ADVICE
};

/* What has been found. */
typedef struct Explanation
{
	Oid			relid;
	bool		told_keys;		/* is the caller what is in apikey_keys, ... */
	bool		told_registry;	/* ... and in apikey_registry? */
	const char *table;			/* qualified and quoted */
	AkReason	reason;			/* of the key: AK_REASON_GOOD, or why not */
	bool		enabled;		/* row-level security */
	bool		subject;		/* is the caller? */
	const AkProtection *protection; /* NULL: not protected */
	AttrNumber	columns[AK_PROTECTION_COLUMNS]; /* if so */
	bool		strict;			/* does reading it without a good key fail? */
	Oid			owner;
	bool		owner_subject;
	bool		unfiltered;		/* do queries see all rows? */
	Node	   *condition;		/* to put into the query */
	int			permissive;		/* policies that admit rows */
	int			keyless;		/* those that ask for no key */
	int			restrictive;
	bool		organization;	/* does one ask for an organization? */
	bool		reaches;		/* may the key read any project, or that? */
	bool		derived;		/* is the key derived from another? */
	int64		rows;
	int			sampled;		/* rows that were looked for in the registry */
	int			unregistered;	/* those that are not there */
	bool		indexed;
	StringInfoData plan;
	StringInfoData advice;
} Explanation;

/* Quoted. */
static const char *
column_name(const Explanation *explanation, int i)
{
	return quote_identifier(get_attname(explanation->relid,
										explanation->columns[i], false));
}

/* The caller must be allowed to read the table, even if others will do it. */
static void
check_privileges(Oid relid, Form_pg_class form)
{
	if (object_aclcheck(NamespaceRelationId, form->relnamespace, GetUserId(),
						ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA,
					   get_namespace_name(form->relnamespace));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT,
								  ACLMASK_ALL) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, NameStr(form->relname));
}

static void
look_at_table(Explanation *explanation)
{
	Oid			relid = explanation->relid;
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	Node	   *condition;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	form = (Form_pg_class) GETSTRUCT(tuple);
	if (form->relkind != RELKIND_RELATION &&
		form->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", NameStr(form->relname))));
	check_privileges(relid, form);
	explanation->table = ak_ddl_table_name(relid);
	explanation->enabled = form->relrowsecurity;
	explanation->subject =
		check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED;
	explanation->owner = form->relowner;
	explanation->owner_subject =
		check_enable_rls(relid, form->relowner, true) == RLS_ENABLED;
	ReleaseSysCache(tuple);
	condition = ak_protect_condition(relid, &explanation->protection,
									 explanation->columns);
	explanation->strict = condition != NULL &&
		ak_strict_has_triggers(relid);
	explanation->unfiltered =
		condition != NULL && explanation->enabled &&
		!explanation->subject && !explanation->owner_subject;
	explanation->condition =
		explanation->unfiltered ? condition : makeBoolConst(true, false);
}

static void
look_at_policies(Explanation *explanation)
{
	ak_sql_query(psprintf("SELECT count(*) FILTER (WHERE polpermissive),"
						  " count(*) FILTER (WHERE polpermissive"
						  " AND pg_get_expr(polqual, polrelid) !~ 'apikey_'),"
						  " count(*) FILTER (WHERE NOT polpermissive),"
						  " count(*) FILTER (WHERE pg_get_expr(polqual, polrelid)"
						  " ~ 'apikey_authorize_organization')"
						  " FROM pg_policy"
						  " WHERE polrelid = %u AND polcmd IN ('r', '*')",
						  explanation->relid), NULL, NULL);
	explanation->permissive = ak_sql_int64(0, 1);
	explanation->keyless = ak_sql_int64(0, 2);
	explanation->restrictive = ak_sql_int64(0, 3);
	explanation->organization = ak_sql_int64(0, 4) > 0;
}

/*
 * What stands for $1 in a query of the table, the condition, or for $2, which is for
 * all rows.  By its name that could be another table by now, or a view: what it calls
 * is not for the role that reads.
 */
static Node *
get_condition(ParseState *pstate, ParamRef *param)
{
	Explanation *explanation = pstate->p_ref_hook_state;
	RangeTblEntry *table = linitial_node(RangeTblEntry, pstate->p_rtable);

	if (table->relid != explanation->relid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s was replaced meanwhile",
						explanation->table)));
	return param->number == 1 ? copyObject(explanation->condition) :
		makeBoolConst(true, false);
}

static void
set_up_parser(ParseState *pstate, void *arg)
{
	pstate->p_paramref_hook = get_condition;
	pstate->p_ref_hook_state = arg;
}

/* Run a query that has "WHERE $1" or "WHERE $2"; returns how many rows. */
static int
query_table(Explanation *explanation, const char *query)
{
	return ak_sql_query(query, set_up_parser, explanation);
}

static void
look_at_rows(Explanation *explanation)
{
	query_table(explanation,
				psprintf("SELECT count(*) FROM (SELECT FROM %s WHERE $1 LIMIT %d) AS t",
						 explanation->table, COUNTED_ROWS));
	explanation->rows = ak_sql_int64(0, 1);
}

/* What a row has in a column; false if it is null, or too long to be a name. */
static bool
get_row_name(int row, int column, AkName *name)
{
	AkValue		value = ak_sql_value(row, column);
	AkIdentType type = {0};

	if (value.isnull)
		return false;
	ak_ident_prepare(&type, value.type, CurrentMemoryContext);
	if (!ak_ident_print(&type, value.value, name))
		return false;
	*name = ak_name_copy(*name);
	return true;
}

/* Count those of the first rows that no key sees; not all rows, for they may be many. */
static void
look_for_unregistered(Explanation *explanation)
{
	AkName		project;
	AkName		environment;
	AkEnvironmentRow registered;
	Snapshot	snapshot;

	explanation->sampled =
		query_table(explanation,
					psprintf("SELECT %s, %s FROM %s WHERE $2 LIMIT %d",
							 column_name(explanation, 0),
							 column_name(explanation, 1),
							 explanation->table, COUNTED_ROWS));
	AK_STORE_READ(snapshot)
	{
		explanation->unregistered = 0;
		for (int i = 0; i < explanation->sampled; i++)
			if (!get_row_name(i, 1, &project) ||
				!get_row_name(i, 2, &environment) ||
				!ak_store_environment(snapshot, &project, &environment,
									  &registered))
				explanation->unregistered++;
	}
}

/*
 * Do restrictive policies stand before those of apikey_protect where an index must not
 * be used then?  See leakproof.c; the condition that is explained has no order.
 */
static bool
is_behind_others(const Explanation *explanation)
{
	if (explanation->restrictive == 0 || explanation->protection == NULL)
		return false;
	for (int i = 0; i < explanation->protection->ncolumns; i++)
		if (type_is_enum(getBaseType(get_atttype(explanation->relid,
												 explanation->columns[i]))))
			return true;
	return false;
}

static void
look_at_plan(Explanation *explanation)
{
	int			lines = query_table(explanation,
									psprintf("EXPLAIN (COSTS OFF) SELECT * FROM %s WHERE $1",
											 explanation->table));

	for (int i = 0; i < lines; i++)
	{
		char	   *line = ak_sql_string(i, 1);
		char	   *condition = strstr(line, "Index Cond: ");

		if (condition != NULL &&
			(strstr(condition, "apikey_projects") != NULL ||
			 strstr(condition, AK_INTERNAL ".projects") != NULL ||
			 strstr(condition, AK_INTERNAL ".environments") != NULL ||
			 strstr(condition, AK_INTERNAL ".organization") != NULL))
			explanation->indexed = !is_behind_others(explanation);
		appendStringInfo(&explanation->plan, "%s%s", i == 0 ? "" : "\n", line);
	}
}

static void
advise(Explanation *explanation, const char *sentence)
{
	appendStringInfo(&explanation->advice, "%s%s",
					 explanation->advice.len > 0 ? "\n" : "", sentence);
}

static void
advise_on_rows(Explanation *explanation)
{
	if (!explanation->enabled)
		advise(explanation, "Row-level security is not enabled: every row is visible, whatever the key. Call apikey_protect.");
	else if (!explanation->subject && explanation->owner_subject)
		advise(explanation, "You are not subject to the policies of this table. This is what its owner sees, who is.");
	else if (!explanation->subject && explanation->protection != NULL)
		advise(explanation, "You are not subject to the policies of this table. This is what a role sees that is subject to those of apikey_protect.");
	else if (!explanation->subject)
		advise(explanation, "You are not subject to the policies of this table. Ask as a role that is.");
	if (explanation->enabled && explanation->permissive == 0)
		advise(explanation, "No policy admits any row. Call apikey_protect.");
	if (explanation->keyless > 0)
		advise(explanation, "Rows that a policy without a key admits are visible whatever the key.");
	if (explanation->reason == AK_REASON_NO_KEY)
		advise(explanation, "Log in by apikey_login, and ask in the same transaction.");
	else if (explanation->reason != AK_REASON_GOOD)
		advise(explanation, explanation->strict ?
			   "The key is refused, with an error, as the table is strict." :
			   "The key is refused.");
	else if (!explanation->reaches)
		advise(explanation, explanation->derived ?
			   "The key is derived from another one, and may not do this." :
			   explanation->organization ?
			   "The key has no organization level. Call apikey_set_organization_level." :
			   "The key may read no project. Call apikey_grant.");
	else if (explanation->rows == 0 && explanation->enabled)
		advise(explanation, explanation->organization ?
			   "No row is of the organization of the key." :
			   "No row is of a project and environment that are registered, and that the key may read.");
	if (explanation->unregistered > 0)
		advise(explanation, psprintf("%d of the first %d rows are of a project or environment that is not registered: no key may read them. Call apikey_add_project.",
									 explanation->unregistered,
									 explanation->sampled));
}

static void
advise_on_speed(Explanation *explanation)
{
	bool		by_project = explanation->protection == &ak_protection_by_project;
	ListCell   *cell;

	if (!explanation->enabled)
		return;
	if (explanation->protection != NULL)
	{
		foreach(cell, ak_indexes_for_pages(explanation->relid,
										   explanation->columns[0]))
			advise(explanation,
				   psprintf("For pages of the newest first: CREATE INDEX ON %s (%s);",
							explanation->table, (char *) lfirst(cell)));
	}
	if (explanation->indexed)
		return;
	if (is_behind_others(explanation))
		advise(explanation, "Restrictive policies are checked before, so no index is used for the key: a column is an enum.");
	if (explanation->protection != NULL &&
		!ak_indexes_begin_with(explanation->relid, explanation->columns[0]))
		advise(explanation, psprintf("CREATE INDEX ON %s (%s%s%s);",
									 explanation->table,
									 column_name(explanation, 0),
									 by_project ? ", " : "",
									 by_project ? column_name(explanation, 1) : ""));
}

static void
look_at_all(void *arg)
{
	Explanation *explanation = arg;
	AkTrial		trial;

	look_at_table(explanation);
	ak_sql_begin();
	look_at_policies(explanation);
	ak_trial_begin(&trial, explanation->subject ? GetUserId() :
				   explanation->owner);
	if (explanation->reason == AK_REASON_GOOD || !explanation->strict)
		look_at_rows(explanation);
	if (explanation->unfiltered && explanation->told_registry &&
		explanation->protection == &ak_protection_by_project)
		look_for_unregistered(explanation);
	look_at_plan(explanation);
	ak_trial_end(&trial);
	ak_sql_end();
}

/*
 * All about the session's key, which may have been put there because it was given;
 * its text has this length.
 */
static void
explain_session(Explanation *explanation, bool given, Size len, Datum *values,
				bool *nulls)
{
	const AkKey *key = ak_authn_session();
	AkVerdict	verdict = ak_authz_judge_key(key);
	const AkName *names;
	int			count = ak_reach_list(key, AK_LEVEL_READ, AK_REACH_PROJECTS,
									  NULL, &names);
	bool		organization = key != NULL &&
	ak_authz_organization(key, &key->organization, AK_LEVEL_READ);

	if (key == NULL)
		verdict.reason = ak_authz_why_none(given, len);
	explanation->reason = verdict.reason;
	values[KEY_STATE] =
		CStringGetTextDatum(ak_authz_reason(&verdict, explanation->told_keys ?
											key : NULL));
	values[PROJECTS] = PointerGetDatum(ak_ident_array(TEXTOID, names, count));
	ak_use_uncounted(look_at_all, explanation);
	explanation->derived = key != NULL && ak_keycache_ancestors(key) > 0;
	explanation->reaches = explanation->organization ? organization : count > 0;
	advise_on_rows(explanation);
	advise_on_speed(explanation);
	values[VISIBLE_ROWS] = Int64GetDatum(explanation->rows);
	values[INDEXED] = BoolGetDatum(explanation->indexed);
	values[PLAN] = CStringGetTextDatum(explanation->plan.data);
	values[ADVICE] = CStringGetTextDatum(explanation->advice.data);
	nulls[ADVICE] = explanation->advice.len == 0;
}

static bool
fill_explanation(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	Explanation explanation = {0};
	Size		len;
	int			level;

	ak_arg_refuse_null(fcinfo, 0, "relation");
	explanation.relid = PG_GETARG_OID(0);
	initStringInfo(&explanation.plan);
	initStringInfo(&explanation.advice);
	ak_schema_accept();
	explanation.told_keys = ak_authz_tells("apikey_keys");
	explanation.told_registry = ak_authz_tells("apikey_registry");
	level = ak_trial_set_key(fcinfo, 1, &len);
	explain_session(&explanation, PG_NARGS() > 1, len, values, nulls);
	ak_trial_reset_key(level);
	return true;
}

AK_ROW_FUNCTION(apikey_explain_rls, fill_explanation)
