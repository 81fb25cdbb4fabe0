/*
 * ddl.c
 *		DDL on tables of the application; see ddl.h.
 */
#include "postgres.h"

#include "table/ddl.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "table/sql.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

Oid
ak_ddl_function(const char *name, Oid *owner)
{
	Oid			function = ak_schema_function(ak_schema_get()->internal, name, NULL, 0);
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	*owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return function;
}

char *
ak_ddl_table_name(Oid table)
{
	char	   *name = get_rel_name(table);

	if (name == NULL)
		elog(ERROR, "cache lookup failed for relation %u", table);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
									  name);
}

List *
ak_ddl_triggers(Oid table, Oid function, bool cloned)
{
	Relation	rel = relation_open(table, NoLock);
	TriggerDesc *triggers = rel->trigdesc;
	List	   *names = NIL;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgfoid == function && trigger->tgisclone == cloned)
			names = lappend(names, makeString(pstrdup(trigger->tgname)));
	}
	relation_close(rel, NoLock);
	return names;
}

void
ak_ddl_drop_trigger(const char *name, Oid table)
{
	ak_ddl_execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(name),
							ak_ddl_table_name(table)));
}

void
ak_ddl_execute(const char *command)
{
	ak_sql_begin();
	ak_sql_query(command, NULL, NULL);
	ak_sql_end();
}

void
ak_ddl_execute_as(Oid role, const char *command)
{
	Oid			caller;
	int			context;

	/* an error ends this role, too */
	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(role, context | SECURITY_LOCAL_USERID_CHANGE);
	ak_ddl_execute(command);
	SetUserIdAndSecContext(caller, context);
}
