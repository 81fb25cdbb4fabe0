/*
 * ddl.c
 *		DDL on tables of the application; see ddl.h.
 */
#include "postgres.h"

#include "table/ddl.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

Oid
ak_ddl_function(const char *name, Oid *owner)
{
	Oid			namespace = ak_schema_get()->internal;
	HeapTuple	tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(name),
										PointerGetDatum(buildoidvector(NULL, 0)),
										ObjectIdGetDatum(namespace));
	Oid			function = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		function = form->oid;
		*owner = form->proowner;
		ReleaseSysCache(tuple);
	}
	if (!OidIsValid(function) || !ak_schema_has_function(function))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" of extension \"apikey\" is missing",
						name),
				 errhint("Restore what was dropped or changed.")));
	return function;
}

void
ak_ddl_execute(const char *command)
{
	SPI_connect();
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute a command: %s", command);
	SPI_finish();
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
