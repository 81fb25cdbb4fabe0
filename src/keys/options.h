/*
 * options.h
 *		Arguments that describe a key.
 *
 * Each is checked here, for whatever function takes it.  Raises 22004 for a null
 * that has no meaning, 22023 for a value that makes no sense.
 */
#ifndef AK_OPTIONS_H
#define AK_OPTIONS_H

#include "postgres.h"

#include "base/grants.h"
#include "base/ratelimit.h"
#include "fmgr.h"
#include "table/value.h"
#include "utils/jsonb.h"

/* An apikey_level; AK_LEVEL_NONE for a null. */
extern AkLevel ak_options_level(FunctionCallInfo fcinfo, int argno);

/* The same for access to the organization itself: not manage. */
extern AkLevel ak_options_organization_level(FunctionCallInfo fcinfo,
											 int argno);

/*
 * Grants, [{"project": ..., "environment": ..., "level": ...}, ...], into a palloc'd
 * array, sorted by project and environment; returns how many.  Names may be strings or
 * numbers.  Anything else is 22023, with the number of the element and what is wrong
 * with it; two grants on one pair are 23505.
 */
extern int	ak_options_grants(Jsonb *json, AkGrant **grants);

/* A text that is not blank. */
extern AkValue ak_options_label(FunctionCallInfo fcinfo, int argno);

/* A reason, in which no key can be read; or null. */
extern AkValue ak_options_reason(FunctionCallInfo fcinfo, int argno);

/* A time in the future, or null. */
extern AkValue ak_options_expiry(FunctionCallInfo fcinfo, int argno);

/* Networks, a cidr[], neither empty nor with nulls, or null. */
extern AkValue ak_options_networks(FunctionCallInfo fcinfo, int argno);

/* A JSON object, as ak_arg_json() reads it, any other JSON, or null. */
extern AkValue ak_options_metadata(FunctionCallInfo fcinfo, int argno);

/* A rate limit, parsed; count 0 for a null.  Raises 55000 if not preloaded. */
extern void ak_options_rate_limit(FunctionCallInfo fcinfo, int argno,
								  AkRateLimit *limit);

/* How many keys may be derived from one; 0 for a null. */
extern int	ak_options_max_derived(FunctionCallInfo fcinfo, int argno);

/* An expiry as the tables are read: DT_NOEND for a null. */
extern TimestampTz ak_options_end(const AkValue *expires_at);

/* The id of a key as text, palloc'd. */
extern char *ak_options_print_id(const pg_uuid_t *id);

#endif							/* AK_OPTIONS_H */
