/*
 * floor.c
 *		A function of four arguments that decides nothing: what any C function
 *		costs a row.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT Datum floor4(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(floor4);

Datum
floor4(PG_FUNCTION_ARGS)
{
	text	   *project = PG_GETARG_TEXT_PP(1);
	text	   *environment = PG_GETARG_TEXT_PP(2);

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(project) + VARSIZE_ANY_EXHDR(environment) > 0);
}
