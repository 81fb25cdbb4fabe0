/*
 * rowerror.c
 *		Errors about a row, without the row; see rowerror.h.
 */
#include "postgres.h"

#include "table/rowerror.h"

#include "table/schema.h"
#include "utils/memutils.h"

/* Is the error about a row of a table that has secrets?  PostgreSQL says so. */
static bool
is_about_secrets(void)
{
	MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);
	ErrorData  *error = CopyErrorData();
	bool		result = error->table_name != NULL &&
	(strcmp(error->table_name, ak_schema_tables[AK_TABLE_KEY].name) == 0 ||
	 strcmp(error->table_name, ak_schema_tables[AK_TABLE_SECRET].name) == 0);

	FreeErrorData(error);
	MemoryContextSwitchTo(before);
	return result;
}

void
ak_rowerror_hide(void *arg)
{
	int			code = geterrcode();

	if ((code == ERRCODE_CHECK_VIOLATION ||
		 code == ERRCODE_NOT_NULL_VIOLATION ||
		 code == ERRCODE_UNIQUE_VIOLATION ||
		 code == ERRCODE_EXCLUSION_VIOLATION) && is_about_secrets())
	{
		errdetail("The row is not shown, for it has secrets in it.");
		errhidestmt(true);
	}
}
