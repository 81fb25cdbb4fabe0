/*
 * options.h
 *		Arguments that say what a key is to be like.
 *
 * Each is checked here, for whatever function takes it.  Raises 22004 for a null
 * that has no meaning, 22023 for a value that makes none.
 */
#ifndef AK_OPTIONS_H
#define AK_OPTIONS_H

#include "postgres.h"

#include "base/level.h"
#include "base/ratelimit.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/uuid.h"

/* An apikey_level; AK_LEVEL_NONE for a null. */
extern AkLevel ak_options_level(FunctionCallInfo fcinfo, int argno);

/* The same for access to the organization itself: not manage. */
extern AkLevel ak_options_organization_level(FunctionCallInfo fcinfo,
											 int argno);

/* A text that is not blank. */
extern Datum ak_options_label(FunctionCallInfo fcinfo, int argno);

/* A time in the future, or null. */
extern NullableDatum ak_options_expiry(FunctionCallInfo fcinfo, int argno);

/* Networks, neither none nor null ones, or null. */
extern NullableDatum ak_options_networks(FunctionCallInfo fcinfo, int argno);

/* A JSON object, as ak_arg_json() reads it, any other JSON, or null. */
extern NullableDatum ak_options_metadata(FunctionCallInfo fcinfo, int argno);

/* A rate limit, parsed; count 0 for a null.  Raises 55000 if not preloaded. */
extern void ak_options_rate_limit(FunctionCallInfo fcinfo, int argno,
								  AkRateLimit *limit);

/* What can be spent, AK_BUDGET_MAX at most; not null. */
#define AK_BUDGET_MAX	INT64CONST(1000000000000000)
extern int64 ak_options_budget(FunctionCallInfo fcinfo, int argno);

/* How often that is filled up, or null: see period.h. */
extern NullableDatum ak_options_refill(FunctionCallInfo fcinfo, int argno);

/* As the tables are read: DT_NOEND, 0 for null. */
extern TimestampTz ak_options_end(NullableDatum expires_at);
extern Datum ak_options_array(NullableDatum array);

/* The id of a key as text, palloc'd. */
extern char *ak_options_print_id(const pg_uuid_t *id);

#endif							/* AK_OPTIONS_H */
