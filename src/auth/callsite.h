/*
 * callsite.h
 *		A call site: what is cached for one call of a deciding function in a plan.
 *
 * It is kept in fn_extra, so that what does not change from row to row is not
 * worked out again: what the key is, the level of the verb, how identifiers are
 * read.  Functions that are called for each row are in callsite.c; what is below is
 * for the other ones.
 *
 * "argno" is less than AK_CALLSITE_ARGS.
 */
#ifndef AK_CALLSITE_H
#define AK_CALLSITE_H

#include "postgres.h"

#include "auth/keycache.h"
#include "base/level.h"
#include "base/name.h"
#include "fmgr.h"

#define AK_CALLSITE_ARGS	4

/* (key, project, environment, verb), and the same without the key. */
extern PGDLLEXPORT Datum apikey_authorize_key(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum apikey_authorize_session(PG_FUNCTION_ARGS);

/*
 * The key in an argument, or the session's if "argno" is negative; NULL unless it
 * proves itself.  Calls ak_schema_accept() itself.
 */
extern const AkKey *ak_callsite_key(FunctionCallInfo fcinfo, int argno);

/* The same, which counts as a use of the key. */
extern const AkKey *ak_callsite_asked_key(FunctionCallInfo fcinfo, int argno);

/* That key was told no: counts, unless the request came from rows. */
extern void ak_callsite_refused(FunctionCallInfo fcinfo, const AkKey *key);

/* ak_arg_verb() and ak_arg_name(), by what the call site caches. */
extern AkLevel ak_callsite_verb(FunctionCallInfo fcinfo, int argno);
extern bool ak_callsite_name(FunctionCallInfo fcinfo, int argno, AkName *name);

#endif							/* AK_CALLSITE_H */
