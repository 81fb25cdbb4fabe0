/*
 * result.h
 *		Results of the SQL-callable functions: rows.
 */
#ifndef AK_RESULT_H
#define AK_RESULT_H

#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"

/* A single row, for a function that returns a record. */
extern Datum ak_result_record(FunctionCallInfo fcinfo, Datum *values,
							  bool *nulls);

/* Fills in a row, all zeroes at first; false: there is no row. */
typedef bool (*AkFillRow) (FunctionCallInfo fcinfo, Datum *values,
						   bool *nulls);

extern Datum ak_result_row(FunctionCallInfo fcinfo, AkFillRow fill);

/* A function for SQL that returns a set of one row or none. */
#define AK_ROW_FUNCTION(name, fill) \
AK_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	return ak_result_row(fcinfo, fill); \
}

#endif							/* AK_RESULT_H */
