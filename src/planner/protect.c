/*
 * protect.c
 *		Row-level security on a table of the application.
 *
 * Four permissive policies for PUBLIC call apikey_authorize(project,
 * environment, verb) on the columns of the row or, of a table that is protected by
 * organization, apikey_authorize_organization(organization, verb).  They are
 * recognized by all that they consist of: a policy of the same name that was made by
 * hand, or changed, is never taken for one of these.
 *
 * Those of a strict table let UPDATE and DELETE find all that the key can read, and
 * leave it to triggers to judge, see strict.c.
 *
 * No function may come between the column and the one that decides.  An implicit cast
 * can be one, of whoever owns the type, and would be called with the rights of
 * whoever runs the query.
 *
 * The functions run as their caller, who must own the table; what they do is
 * plain DDL, under a pinned search_path.
 */
#include "postgres.h"

#include "planner/protect.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/result.h"
#include "catalog/indexing.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/policy.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "planner/indexes.h"
#include "planner/protection.h"
#include "planner/strict.h"
#include "table/ddl.h"
#include "table/schema.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define POLICIES	4

typedef struct Policy
{
	const char *name;
	const char *command;
	char		polcmd;
	const char *verb;			/* NULL: as the protection says */
	bool		using;
	bool		check;
} Policy;

/* What a policy asks, of which columns. */
typedef struct Question
{
	const AkProtection *protection;
	AttrNumber	columns[AK_PROTECTION_COLUMNS]; /* 0: none */
} Question;

/* A policy that was made here. */
typedef struct Made
{
	Question	question;
	Node	   *using;			/* the condition for rows that are found, or
								 * NULL */
	bool		strict;			/* is that left to the triggers? */
} Made;

static const Policy policies[POLICIES] = {
	{"apikey_select", "SELECT", ACL_SELECT_CHR, "read", true, false},
	{"apikey_insert", "INSERT", ACL_INSERT_CHR, "write", false, true},
	{"apikey_update", "UPDATE", ACL_UPDATE_CHR, "write", true, true},
	{"apikey_delete", "DELETE", ACL_DELETE_CHR, NULL, true, false},
};

/* In the comment on the first policy: what apikey_unprotect has to leave. */
#define WAS_ENABLED		"row-level security was enabled before"
#define WAS_FORCED		"row-level security was forced before"

/* ------------------------------------------------------------- policies */

/* The column that this is, without any call in between; else 0. */
static AttrNumber
plain_column(Node *node)
{
	/* to a type of the same bits; all other casts are functions */
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Var) ? ((Var *) node)->varattno : 0;
}

static bool
is_text(Node *node, const char *value)
{
	Const	   *constant = (Const *) node;

	return IsA(node, Const) && constant->consttype == TEXTOID &&
		!constant->constisnull &&
		strcmp(TextDatumGetCString(constant->constvalue), value) == 0;
}

/*
 * What a condition of a strict table asks after judged(tableoid); NULL for any other
 * condition.
 */
static Node *
after_judged(Node *condition)
{
	List	   *args;
	FuncExpr   *call;
	const char *name;

	if (!is_andclause(condition))
		return NULL;
	args = ((BoolExpr *) condition)->args;
	call = linitial(args);
	if (list_length(args) != 2 || !IsA(call, FuncExpr) ||
		list_length(call->args) != 1 || !IsA(linitial(call->args), Var) ||
		linitial_node(Var, call->args)->varattno != TableOidAttributeNumber)
		return NULL;
	name = get_func_name(call->funcid);
	if (name == NULL || strcmp(name, AK_STRICT_JUDGED) != 0 ||
		!ak_schema_has_member(ProcedureRelationId, call->funcid))
		return NULL;
	return lsecond(args);
}

static const char *
verb_of_policy(const Policy *policy, const AkProtection *protection)
{
	return policy->verb ? policy->verb : protection->verb_of_delete;
}

/* How does the function that is called decide?  NULL if it is none of ours. */
static const AkProtection *
get_protection(const FuncExpr *call)
{
	const char *name = get_func_name(call->funcid);

	if (name == NULL || !ak_schema_has_member(ProcedureRelationId, call->funcid))
		return NULL;
	if (strcmp(name, ak_protection_by_project.decide) == 0)
		return &ak_protection_by_project;
	if (strcmp(name, ak_protection_by_organization.decide) == 0)
		return &ak_protection_by_organization;
	return NULL;
}

/*
 * Does this expression ask for what a policy asks for, "read" alone if "reads", of
 * plain columns?  Then "question" is filled in.
 */
static bool
is_our_call(Node *expression, const Policy *policy, bool reads,
			Question *question)
{
	FuncExpr   *call = (FuncExpr *) expression;
	const AkProtection *protection;

	if (!IsA(call, FuncExpr))
		return false;
	protection = get_protection(call);
	if (protection == NULL ||
		list_length(call->args) != protection->ncolumns + 1)
		return false;
	question->protection = protection;
	for (int i = 0; i < protection->ncolumns; i++)
	{
		question->columns[i] = plain_column(list_nth(call->args, i));
		if (question->columns[i] <= 0)
			return false;
	}
	return is_text(llast(call->args),
				   reads ? "read" : verb_of_policy(policy, protection));
}

static bool
is_same_question(const Question *a, const Question *b)
{
	return a->protection == b->protection &&
		memcmp(a->columns, b->columns, sizeof(a->columns)) == 0;
}

/* For PUBLIC? */
static bool
is_public(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, Anum_pg_policy_polroles, desc,
									 &isnull);
	Datum	   *roles;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(datum), OIDOID, sizeof(Oid), true,
					  TYPALIGN_INT, &roles, NULL, &count);
	return count == 1 && DatumGetObjectId(roles[0]) == ACL_ID_PUBLIC;
}

/* An expression of a policy, or NULL. */
static Node *
get_expression(HeapTuple tuple, TupleDesc desc, int attribute)
{
	bool		isnull;
	Datum		expression = heap_getattr(tuple, attribute, desc, &isnull);

	return isnull ? NULL : stringToNode(TextDatumGetCString(expression));
}

/* Was this policy made here?  Then "made" is filled in. */
static bool
is_made(HeapTuple tuple, TupleDesc desc, Made *made)
{
	Form_pg_policy form = (Form_pg_policy) GETSTRUCT(tuple);
	const Policy *policy = policies;
	Question	checked = {0};
	Node	   *check;
	Node	   *found;

	memset(made, 0, sizeof(Made));
	while (strcmp(NameStr(form->polname), policy->name) != 0)
		if (++policy == policies + POLICIES)
			return false;
	made->using = get_expression(tuple, desc, Anum_pg_policy_polqual);
	check = get_expression(tuple, desc, Anum_pg_policy_polwithcheck);
	if (form->polcmd != policy->polcmd || !form->polpermissive ||
		!is_public(tuple, desc) ||
		(made->using != NULL) != policy->using ||
		(check != NULL) != policy->check)
		return false;

	found = made->using == NULL || policy->polcmd == ACL_SELECT_CHR ? NULL :
		after_judged(made->using);
	made->strict = found != NULL;
	if (found == NULL)
		found = made->using;
	if ((check != NULL && !is_our_call(check, policy, false, &checked)) ||
		(found != NULL &&
		 !is_our_call(found, policy, made->strict, &made->question)))
		return false;
	if (found == NULL)
		made->question = checked;
	return check == NULL || is_same_question(&made->question, &checked);
}

/* The table of a policy that was made here; InvalidOid for any other policy. */
static Oid
get_made(Oid policy, Made *made)
{
	Relation	rel = table_open(PolicyRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			relation = InvalidOid;

	ScanKeyInit(&key, Anum_pg_policy_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(policy));
	scan = systable_beginscan(rel, PolicyOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && is_made(tuple, RelationGetDescr(rel), made))
		relation = ((Form_pg_policy) GETSTRUCT(tuple))->polrelid;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return relation;
}

/* The columns of what apikey_policy_columns returns. */
enum
{
	MADE_PROJECT,
	MADE_ENVIRONMENT,
	MADE_STRICT,
	MADE_ORGANIZATION,
	MADE_COLUMNS
};

/* As a result, the name of a column; null if it was dropped. */
static void
set_column(Datum *values, bool *nulls, int i, Oid relation, AttrNumber column)
{
	const char *name = get_attname(relation, column, true);

	nulls[i] = name == NULL;
	if (name != NULL)
		values[i] = DirectFunctionCall1(namein, CStringGetDatum(name));
}

AK_FUNCTION_INFO_V1(apikey_policy_columns);
Datum
apikey_policy_columns(PG_FUNCTION_ARGS)
{
	Made		made;
	const AttrNumber *columns = made.question.columns;
	Oid			relation;
	Datum		values[MADE_COLUMNS] = {0};
	bool		nulls[MADE_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	ak_schema_accept();
	relation = get_made(PG_GETARG_OID(0), &made);
	if (OidIsValid(relation))
	{
		if (made.question.protection == &ak_protection_by_organization)
			set_column(values, nulls, MADE_ORGANIZATION, relation, columns[0]);
		else
		{
			set_column(values, nulls, MADE_PROJECT, relation, columns[0]);
			set_column(values, nulls, MADE_ENVIRONMENT, relation, columns[1]);
		}
		values[MADE_STRICT] = BoolGetDatum(made.strict);
		nulls[MADE_STRICT] = false;
	}
	return ak_result_record(fcinfo, values, nulls);
}

/* The policy of this name on a relation if we made it, else InvalidOid. */
static Oid
find_made_policy(Oid relation, const char *name)
{
	Oid			policy = get_relation_policy_oid(relation, name, true);
	Made		made;

	if (OidIsValid(policy) && !OidIsValid(get_made(policy, &made)))
		return InvalidOid;
	return policy;
}

Node *
ak_protect_condition(Oid relation, const AkProtection **protection,
					 AttrNumber *columns)
{
	Oid			policy = get_relation_policy_oid(relation, policies[0].name,
												 true);
	Made		made;

	if (!OidIsValid(policy) || !OidIsValid(get_made(policy, &made)))
		return NULL;
	*protection = made.question.protection;
	memcpy(columns, made.question.columns, sizeof(made.question.columns));
	return made.using;
}

/* How many policies of a table were not made here? */
static int
count_other_policies(Oid relation)
{
	Relation	rel = table_open(PolicyRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			count = 0;

	ScanKeyInit(&key, Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(rel, PolicyPolrelidPolnameIndexId, true, NULL, 1,
							  &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Made		made;

		if (!is_made(tuple, RelationGetDescr(rel), &made))
			count++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return count;
}

/* ------------------------------------------------------------------ DDL */

/* A table locked for us, and what it was like before. */
typedef struct Table
{
	Oid			relid;
	const char *name;
	const char *qualified;		/* and quoted */
	bool		partitioned;
	bool		enabled;		/* row-level security */
	bool		forced;
} Table;

/*
 * The table in argument 0, whose owner must be the caller.  It is not kept
 * open: ALTER TABLE refuses a table in use.
 */
static Table
get_table(FunctionCallInfo fcinfo)
{
	Table		table;
	Relation	rel;
	char		relkind;

	table.relid = ak_arg_owned_relation(fcinfo, 0);
	relkind = get_rel_relkind(table.relid);
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", get_rel_name(table.relid))));

	rel = relation_open(table.relid, AccessExclusiveLock);
	table.name = pstrdup(RelationGetRelationName(rel));
	table.qualified = ak_ddl_table_name(table.relid);
	table.partitioned = relkind == RELKIND_PARTITIONED_TABLE;
	table.enabled = rel->rd_rel->relrowsecurity;
	table.forced = rel->rd_rel->relforcerowsecurity;
	relation_close(rel, NoLock);
	return table;
}

/*
 * An implicit cast from the type to text would come between the column and the
 * function that decides.
 */
static void
refuse_cast(Oid relation, AttrNumber column)
{
	Oid			type = get_atttype(relation, column);
	Oid			function;
	CoercionPathType path = find_coercion_pathway(TEXTOID, type,
												  COERCION_IMPLICIT,
												  &function);

	if (path == COERCION_PATH_FUNC || path == COERCION_PATH_COERCEVIAIO)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" has type %s, which is cast to text implicitly",
						get_attname(relation, column, false),
						get_rel_name(relation), format_type_be(type)),
				 errdetail("The cast would be called for each row, with the rights of whoever reads it."),
				 errhint("Drop the cast, or create it AS ASSIGNMENT.")));
}

/*
 * The column named by argument "argno", of a type that the functions that decide take
 * as it is.
 */
static AttrNumber
get_column(FunctionCallInfo fcinfo, int argno, const Table *table)
{
	AttrNumber	column;

	ak_arg_refuse_null(fcinfo, argno, "column");
	column = get_attnum(table->relid, NameStr(*PG_GETARG_NAME(argno)));
	if (column <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						NameStr(*PG_GETARG_NAME(argno)), table->name)));
	ak_ident_check_column(table->relid, column);
	refuse_cast(table->relid, column);
	return column;
}

/* The columns of a protection, quoted, each after "prefix" and with a comma between. */
static char *
list_columns(const Table *table, const Question *question, const char *prefix)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < question->protection->ncolumns; i++)
		appendStringInfo(&list, "%s%s%s", i == 0 ? "" : ", ", prefix,
						 quote_identifier(get_attname(table->relid,
													  question->columns[i], false)));
	return list.data;
}

/* Warn the owner of what protects less, or costs more, than it seems to. */
static void
warn_owner(const Table *table, const Question *question, bool forced)
{
	ListCell   *cell;

	if (!ak_indexes_begin_with(table->relid, question->columns[0]))
		ereport(WARNING,
				(errmsg("no index of table \"%s\" begins with column \"%s\"",
						table->name,
						get_attname(table->relid, question->columns[0], false)),
				 errhint("CREATE INDEX ON %s (%s);", table->qualified,
						 list_columns(table, question, ""))));
	foreach(cell, ak_indexes_for_pages(table->relid, question->columns[0]))
		ereport(NOTICE,
				(errmsg("no index of table \"%s\" has the rows of a key in the order of time",
						table->name),
				 errhint("For pages of the newest first, CREATE INDEX ON %s (%s);",
						 table->qualified, (char *) lfirst(cell))));
	if (!forced)
		ereport(NOTICE,
				(errmsg("the owner of table \"%s\" is not subject to its policies",
						table->name),
				 errhint("Let the application use another role, or call %s with force => true.",
						 question->protection->function)));
	if (count_other_policies(table->relid) > 0)
		ereport(WARNING,
				(errmsg("table \"%s\" has other policies", table->name),
				 errdetail("A row that another permissive policy admits is visible whatever the API key.")));
	if (table->partitioned)
		ereport(NOTICE,
				(errmsg("policies of partitioned table \"%s\" do not apply where a partition is named in a query",
						table->name),
				 errhint("Grant no privileges on the partitions.")));
}

/*
 * Drop our policies and triggers; returns the comment on the first policy, or NULL if
 * there were no policies.
 */
static const char *
drop_protection(const Table *table)
{
	const char *comment = NULL;

	ak_strict_drop_triggers(table->relid);
	for (int i = 0; i < POLICIES; i++)
	{
		Oid			policy = find_made_policy(table->relid, policies[i].name);

		if (!OidIsValid(policy))
			continue;
		if (comment == NULL)
			comment = "";
		if (i == 0 && GetComment(policy, PolicyRelationId, 0) != NULL)
			comment = GetComment(policy, PolicyRelationId, 0);
		ak_ddl_execute(psprintf("DROP POLICY %s ON %s", policies[i].name,
								table->qualified));
	}
	return comment;
}

/* The caller cannot name what a strict policy calls; "owner" can. */
static void
create_policies(const Table *table, const Question *question, bool strict,
				Oid owner)
{
	const AkProtection *protection = question->protection;
	const char *schema = ak_schema_name();
	const char *call = psprintf("%s.%s(%s, ", quote_identifier(schema),
								protection->decide,
								list_columns(table, question, ""));

	for (int i = 0; i < POLICIES; i++)
	{
		const Policy *policy = &policies[i];
		const char *verb = verb_of_policy(policy, protection);
		bool		judged = strict && policy->polcmd != ACL_SELECT_CHR;
		const char *using = !policy->using ? "" :
		psprintf(" USING (%s%s'%s'))",
				 judged ? AK_INTERNAL "." AK_STRICT_JUDGED "(tableoid) AND " : "",
				 call, judged ? "read" : verb);
		const char *check = !policy->check ? "" :
		psprintf(" WITH CHECK (%s'%s'))", call, verb);

		ak_ddl_execute_as(strict ? owner : GetUserId(),
						  psprintf("CREATE POLICY %s ON %s FOR %s%s%s",
								   policy->name, table->qualified,
								   policy->command, using, check));
		CommandCounterIncrement();
		if (!OidIsValid(find_made_policy(table->relid, policy->name)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a function %s in schema \"%s\" does not belong to extension \"apikey\"",
							protection->decide, schema),
					 errdetail("For the types of these columns it would be called instead."),
					 errhint("Drop it, and let nobody create objects in that schema.")));
	}
}

/* Policies that ask this, and the triggers of a strict table. */
static void
create_protection(const Table *table, const Question *question, bool strict)
{
	Oid			owner = InvalidOid;

	if (strict)
		owner = ak_strict_create_triggers(table->relid, table->qualified,
										  question->protection,
										  list_columns(table, question, "OLD."));
	create_policies(table, question, strict, owner);
}

static void
refuse_other_policies(const Table *table, const AkProtection *protection)
{
	for (int i = 0; i < POLICIES; i++)
	{
		Oid			policy = get_relation_policy_oid(table->relid,
													 policies[i].name, true);

		if (OidIsValid(policy) &&
			!OidIsValid(find_made_policy(table->relid, policies[i].name)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("policy \"%s\" of table \"%s\" was not made by %s",
							policies[i].name, table->name, protection->function),
					 errhint("Drop or rename it first.")));
	}
}

/* Arguments relation, the columns, force, strict. */
static Datum
protect(FunctionCallInfo fcinfo, const AkProtection *protection)
{
	Table		table = get_table(fcinfo);
	Question	question = {protection, {0}};
	int			next = 1 + protection->ncolumns;
	bool		force = !PG_ARGISNULL(next) && PG_GETARG_BOOL(next);
	bool		strict = !PG_ARGISNULL(next + 1) && PG_GETARG_BOOL(next + 1);
	const char *comment;

	for (int i = 0; i < protection->ncolumns; i++)
		question.columns[i] = get_column(fcinfo, 1 + i, &table);
	if (question.columns[0] == question.columns[1])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("project and environment must be two columns")));
	ak_schema_accept();
	refuse_other_policies(&table, protection);

	comment = drop_protection(&table);
	if (comment == NULL)
		comment = psprintf("made by %s%s%s", protection->function,
						   table.enabled ? "; " WAS_ENABLED : "",
						   table.forced ? "; " WAS_FORCED : "");
	create_protection(&table, &question, strict);
	ak_ddl_execute(psprintf("COMMENT ON POLICY %s ON %s IS %s", policies[0].name,
							table.qualified, quote_literal_cstr(comment)));
	ak_ddl_execute(psprintf("ALTER TABLE %s ENABLE ROW LEVEL SECURITY",
							table.qualified));
	if (force)
		ak_ddl_execute(psprintf("ALTER TABLE %s FORCE ROW LEVEL SECURITY",
								table.qualified));
	warn_owner(&table, &question, table.forced || force);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_protect);
Datum
apikey_protect(PG_FUNCTION_ARGS)
{
	return protect(fcinfo, &ak_protection_by_project);
}

AK_FUNCTION_INFO_V1(apikey_protect_organization);
Datum
apikey_protect_organization(PG_FUNCTION_ARGS)
{
	return protect(fcinfo, &ak_protection_by_organization);
}

AK_FUNCTION_INFO_V1(apikey_unprotect);
Datum
apikey_unprotect(PG_FUNCTION_ARGS)
{
	Table		table = get_table(fcinfo);
	const char *comment;

	ak_schema_accept();
	comment = drop_protection(&table);
	if (comment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not protected by apikey_protect",
						table.name)));
	if (strstr(comment, WAS_FORCED) == NULL)
		ak_ddl_execute(psprintf("ALTER TABLE %s NO FORCE ROW LEVEL SECURITY",
								table.qualified));
	if (strstr(comment, WAS_ENABLED) == NULL &&
		count_other_policies(table.relid) == 0)
		ak_ddl_execute(psprintf("ALTER TABLE %s DISABLE ROW LEVEL SECURITY",
								table.qualified));
	PG_RETURN_VOID();
}
