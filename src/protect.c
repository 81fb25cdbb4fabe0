/*
 * protect.c
 *		Row-level security on a table of the application.
 *
 * Four permissive policies for PUBLIC call apikey_authorize(project,
 * environment, verb) on the columns of the row.  They are recognized by name
 * and by what they call, so that a policy of the same name made by hand is
 * never taken for one of these.
 *
 * The functions run as their caller, who must own the table; what they do is
 * plain DDL, through SPI, under a pinned search_path.
 */
#include "postgres.h"

#include "protect.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "args.h"
#include "catalog/indexing.h"
#include "catalog/pg_policy.h"
#include "commands/comment.h"
#include "commands/policy.h"
#include "compat.h"
#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "schema.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define POLICIES	4

static const struct
{
	const char *name;
	const char *command;
	const char *verb;
	bool		using;
	bool		check;
}			policies[POLICIES] =

{
	{"apikey_select", "SELECT", "read", true, false},
	{"apikey_insert", "INSERT", "write", false, true},
	{"apikey_update", "UPDATE", "write", true, true},
	{"apikey_delete", "DELETE", "manage", true, false},
};

/* How the comment on the first policy tells what was there before. */
#define WAS_ENABLED		"row-level security was enabled before"
#define WAS_FORCED		"row-level security was forced before"

/* ------------------------------------------------------------- policies */

/*
 * Columns that an expression hands to apikey_authorize(project, environment,
 * verb); false if that is not what it is.
 */
static bool
authorize_columns(Node *expression, AttrNumber *columns)
{
	FuncExpr   *call = (FuncExpr *) expression;
	const char *name;

	if (call == NULL || !IsA(call, FuncExpr) || list_length(call->args) != 3)
		return false;
	name = get_func_name(call->funcid);
	if (name == NULL || strcmp(name, "apikey_authorize") != 0 ||
		!ak_schema_has_function(call->funcid))
		return false;
	for (int i = 0; i < 2; i++)
	{
		Node	   *arg = strip_implicit_coercions(list_nth(call->args, i));

		if (!IsA(arg, Var))
			return false;
		columns[i] = ((Var *) arg)->varattno;
	}
	return true;
}

/*
 * The relation of a policy made by apikey_protect, and the columns; InvalidOid
 * if it is none.
 */
static Oid
policy_columns(Oid policy, AttrNumber *columns)
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
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		expression = heap_getattr(tuple, Anum_pg_policy_polqual,
											  RelationGetDescr(rel), &isnull);

		if (isnull)
			expression = heap_getattr(tuple, Anum_pg_policy_polwithcheck,
									  RelationGetDescr(rel), &isnull);
		if (!isnull &&
			authorize_columns(stringToNode(TextDatumGetCString(expression)),
							  columns))
			relation = ((Form_pg_policy) GETSTRUCT(tuple))->polrelid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return relation;
}

AK_FUNCTION_INFO_V1(apikey_policy_columns);
Datum
apikey_policy_columns(PG_FUNCTION_ARGS)
{
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	AttrNumber	columns[2];
	Oid			relation;

	ak_schema_accept();
	relation = policy_columns(PG_GETARG_OID(0), columns);
	for (int i = 0; OidIsValid(relation) && i < 2; i++)
	{
		char	   *column = get_attname(relation, columns[i], true);

		if (column == NULL)
			continue;
		values[i] = DirectFunctionCall1(namein, CStringGetDatum(column));
		nulls[i] = false;
	}
	return ak_return_record(fcinfo, values, nulls);
}

/* The policy of this name on a relation if we made it, else InvalidOid. */
static Oid
own_policy(Oid relation, const char *name)
{
	Oid			policy = get_relation_policy_oid(relation, name, true);
	AttrNumber	columns[2];

	if (OidIsValid(policy) && !OidIsValid(policy_columns(policy, columns)))
		return InvalidOid;
	return policy;
}

bool
ak_protect_columns(Oid relation, AttrNumber *columns)
{
	Oid			policy = get_relation_policy_oid(relation, policies[0].name,
												 true);

	return OidIsValid(policy) && OidIsValid(policy_columns(policy, columns));
}

/* How many policies of a relation are not ours. */
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
		Form_pg_policy form = (Form_pg_policy) GETSTRUCT(tuple);
		bool		own = false;

		for (int i = 0; !own && i < POLICIES; i++)
			own = strcmp(NameStr(form->polname), policies[i].name) == 0 &&
				own_policy(relation, policies[i].name) == form->oid;
		if (!own)
			count++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return count;
}

/* ------------------------------------------------------------------ DDL */

static void
execute(const char *command)
{
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute a command: %s", command);
}

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
	table.qualified =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
								   table.name);
	table.partitioned = relkind == RELKIND_PARTITIONED_TABLE;
	table.enabled = rel->rd_rel->relrowsecurity;
	table.forced = rel->rd_rel->relforcerowsecurity;
	relation_close(rel, NoLock);
	return table;
}

/* The column named by argument "argno". */
static AttrNumber
get_column(FunctionCallInfo fcinfo, int argno, const Table *table)
{
	AttrNumber	column;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column must not be null")));
	column = get_attnum(table->relid, NameStr(*PG_GETARG_NAME(argno)));
	if (column <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						NameStr(*PG_GETARG_NAME(argno)), table->name)));
	return column;
}

bool
ak_protect_has_index(Oid relation, AttrNumber column)
{
	Relation	rel = relation_open(relation, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_index->indisvalid &&
			index->rd_index->indkey.values[0] == column &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			found = true;
		index_close(index, AccessShareLock);
	}
	relation_close(rel, AccessShareLock);
	return found;
}

/* Tell the owner what he may not expect. */
static void
tell(const Table *table, AttrNumber project, AttrNumber environment,
	 bool forced)
{
	const char *column = get_attname(table->relid, project, false);
	const char *other = get_attname(table->relid, environment, false);

	if (!ak_protect_has_index(table->relid, project))
		ereport(WARNING,
				(errmsg("no index of table \"%s\" begins with column \"%s\"",
						table->name, column),
				 errhint("CREATE INDEX ON %s (%s, %s);", table->qualified,
						 quote_identifier(column), quote_identifier(other))));
	if (!forced)
		ereport(NOTICE,
				(errmsg("the owner of table \"%s\" is not subject to its policies",
						table->name),
				 errhint("Let the application use another role, or call apikey_protect with force => true.")));
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
 * Drop our policies; returns the comment on the first, or NULL if there was
 * none of them.
 */
static const char *
drop_policies(const Table *table)
{
	const char *comment = NULL;

	for (int i = 0; i < POLICIES; i++)
	{
		Oid			policy = own_policy(table->relid, policies[i].name);

		if (!OidIsValid(policy))
			continue;
		if (comment == NULL)
			comment = "";
		if (i == 0 && GetComment(policy, PolicyRelationId, 0) != NULL)
			comment = GetComment(policy, PolicyRelationId, 0);
		execute(psprintf("DROP POLICY %s ON %s", policies[i].name,
						 table->qualified));
	}
	return comment;
}

static void
create_policies(const Table *table, AttrNumber project,
				AttrNumber environment)
{
	const char *schema = get_namespace_name(ak_schema_get()->namespace);
	const char *columns =
	psprintf("%s, %s",
			 quote_identifier(get_attname(table->relid, project, false)),
			 quote_identifier(get_attname(table->relid, environment, false)));

	for (int i = 0; i < POLICIES; i++)
	{
		const char *call = psprintf("(%s.apikey_authorize(%s, '%s'))",
									quote_identifier(schema), columns,
									policies[i].verb);

		execute(psprintf("CREATE POLICY %s ON %s FOR %s%s%s%s%s",
						 policies[i].name, table->qualified,
						 policies[i].command,
						 policies[i].using ? " USING " : "",
						 policies[i].using ? call : "",
						 policies[i].check ? " WITH CHECK " : "",
						 policies[i].check ? call : ""));
		CommandCounterIncrement();
		if (!OidIsValid(own_policy(table->relid, policies[i].name)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a function apikey_authorize in schema \"%s\" does not belong to extension \"apikey\"",
							schema),
					 errdetail("For the types of these columns it would be called instead."),
					 errhint("Drop it, and let nobody create objects in that schema.")));
	}
}

AK_FUNCTION_INFO_V1(apikey_protect);
Datum
apikey_protect(PG_FUNCTION_ARGS)
{
	Table		table = get_table(fcinfo);
	AttrNumber	project = get_column(fcinfo, 1, &table);
	AttrNumber	environment = get_column(fcinfo, 2, &table);
	bool		force = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	const char *comment;

	ak_schema_accept();
	for (int i = 0; i < POLICIES; i++)
	{
		Oid			policy = get_relation_policy_oid(table.relid,
													 policies[i].name, true);

		if (OidIsValid(policy) &&
			!OidIsValid(own_policy(table.relid, policies[i].name)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("policy \"%s\" of table \"%s\" was not made by apikey_protect",
							policies[i].name, table.name),
					 errhint("Drop or rename it first.")));
	}

	SPI_connect();
	comment = drop_policies(&table);
	if (comment == NULL)
		comment = psprintf("made by apikey_protect%s%s",
						   table.enabled ? "; " WAS_ENABLED : "",
						   table.forced ? "; " WAS_FORCED : "");
	create_policies(&table, project, environment);
	execute(psprintf("COMMENT ON POLICY %s ON %s IS %s", policies[0].name,
					 table.qualified, quote_literal_cstr(comment)));
	execute(psprintf("ALTER TABLE %s ENABLE ROW LEVEL SECURITY",
					 table.qualified));
	if (force)
		execute(psprintf("ALTER TABLE %s FORCE ROW LEVEL SECURITY",
						 table.qualified));
	SPI_finish();
	tell(&table, project, environment, table.forced || force);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_unprotect);
Datum
apikey_unprotect(PG_FUNCTION_ARGS)
{
	Table		table = get_table(fcinfo);
	const char *comment;

	ak_schema_accept();
	SPI_connect();
	comment = drop_policies(&table);
	if (comment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not protected by apikey_protect",
						table.name)));
	if (strstr(comment, WAS_FORCED) == NULL)
		execute(psprintf("ALTER TABLE %s NO FORCE ROW LEVEL SECURITY",
						 table.qualified));
	if (strstr(comment, WAS_ENABLED) == NULL &&
		count_other_policies(table.relid) == 0)
		execute(psprintf("ALTER TABLE %s DISABLE ROW LEVEL SECURITY",
						 table.qualified));
	SPI_finish();
	PG_RETURN_VOID();
}
