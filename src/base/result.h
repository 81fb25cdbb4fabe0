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

/*
 * All that a function does which returns a set of one row or none.  "fill" is
 * called at the first call of the function.
 */
extern Datum ak_result_row(FunctionCallInfo fcinfo, AkFillRow fill);

#endif							/* AK_RESULT_H */
