/*
 * args.h
 *		Arguments and results of the SQL-callable functions.
 *
 * Identifiers may come as any type: text is taken as it is, uuid and integers
 * are printed here, other types by their output function.  What cannot be an
 * identifier or a key by its length is refused before it is detoasted.
 */
#ifndef AK_ARGS_H
#define AK_ARGS_H

#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "scope.h"

/* How to read the identifier arguments of one call site.  Zeroed at first. */
typedef struct AkArg
{
	Oid			type;			/* base type; InvalidOid: not looked at yet */
	FmgrInfo	output;			/* unless printed here */
	char		printed[40];
} AkArg;

/*
 * The identifier in argument "argno"; false if it is null.  What is too long
 * to be one becomes the empty name, which is never registered.  "name" points
 * into the argument, into "arg" or to palloc'd memory.
 */
extern bool ak_arg_name(FunctionCallInfo fcinfo, int argno, AkArg *arg,
						AkName *name);

/* The same, raising 22004 for a null and 22023 for what is too long or empty. */
extern AkName ak_arg_required_name(FunctionCallInfo fcinfo, int argno,
								   const char *what);

/* The text of the key in argument "argno"; false if it cannot be one. */
extern bool ak_arg_token(FunctionCallInfo fcinfo, int argno, AkName *token);

/* The level that the verb in argument "argno" asks for; NONE for a null.
 * Raises 22023 for a verb that does not exist. */
extern AkLevel ak_arg_verb(FunctionCallInfo fcinfo, int argno);

/*
 * The rest of a function that returns a set of one row or none.  At its first
 * call "fill" fills in values and nulls, or returns false for no row.
 */
typedef bool (*AkFillRow) (FunctionCallInfo fcinfo, Datum *values,
						   bool *nulls);
extern Datum ak_return_row(FunctionCallInfo fcinfo, AkFillRow fill);

/* A single row, for a function that returns a record. */
extern Datum ak_return_record(FunctionCallInfo fcinfo, Datum *values,
							  bool *nulls);

#endif							/* AK_ARGS_H */
