/*
 * args.h
 *		Arguments of the SQL-callable functions.
 *
 * "argno" counts from 0.  "what" names an argument in messages.  What cannot be
 * an identifier, a key or a verb by its length is refused before it is detoasted.
 */
#ifndef AK_ARGS_H
#define AK_ARGS_H

#include "postgres.h"

#include "base/ident.h"
#include "base/level.h"
#include "fmgr.h"
#include "utils/jsonb.h"

/* Raises 22004 for a null. */
extern void ak_arg_refuse_null(FunctionCallInfo fcinfo, int argno,
							   const char *what);

/* Raises 22023 for "*", which stands for all and is nobody's name. */
extern void ak_arg_refuse_all(const AkName *name, const char *what);

/*
 * The identifier in an argument; false if it is null.  What is too long to be one
 * becomes the empty name, which is never registered.  "name" points into the
 * argument, into "type" or to palloc'd memory.
 */
extern bool ak_arg_name(FunctionCallInfo fcinfo, int argno, AkIdentType *type,
						AkName *name);

/* The same, raising 22004 for a null and 22023 for what is too long or empty. */
extern AkName ak_arg_required_name(FunctionCallInfo fcinfo, int argno,
								   const char *what);

/* The names in a text[], not null, palloc'd; returns how many.  22004 for a null one. */
extern int	ak_arg_names(FunctionCallInfo fcinfo, int argno, const char *what,
						 AkName **names);

/* A relation that exists and that the caller owns; else 22004, 42P01, 42501. */
extern Oid	ak_arg_owned_relation(FunctionCallInfo fcinfo, int argno);

/*
 * The text of a key: empty for a null; one that is too long to be a key has its
 * length, but no data.
 */
extern AkName ak_arg_token(FunctionCallInfo fcinfo, int argno);

/* A text, palloc'd; NULL for a null. */
extern char *ak_arg_string(FunctionCallInfo fcinfo, int argno);

/* The prefix of keys, palloc'd; NULL for a null.  Raises 22023 for an invalid one. */
extern const char *ak_arg_prefix(FunctionCallInfo fcinfo, int argno);

/* The level that a verb asks for, NONE for a null.  Raises 22023 for an unknown verb. */
extern AkLevel ak_arg_verb(FunctionCallInfo fcinfo, int argno);

/*
 * JSON, not null.  Some drivers encode JSON text again, as a JSON string: one
 * that holds an array (JB_FARRAY) or an object (JB_FOBJECT), whichever is the
 * "kind", is taken for what it holds.
 */
extern Jsonb *ak_arg_json(FunctionCallInfo fcinfo, int argno, uint32 kind);

/* A string of JSON, parsed; NULL for any other, without a message that repeats it. */
extern Jsonb *ak_arg_parse_json(const char *string);

#endif							/* AK_ARGS_H */
