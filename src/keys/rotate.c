/*
 * rotate.c
 *		New secrets of keys that exist.
 *
 * The newest secret stands in apikey_key, the one before it in apikey_secret, where an
 * imported key has its own.  The functions are SECURITY DEFINER and closed to PUBLIC;
 * their contracts stand beside their names in the SQL script.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/result.h"
#include "keys/admin.h"
#include "keys/create.h"
#include "keys/options.h"
#include "table/sql.h"
#include "utils/fmgrprotos.h"

/* When an overlap that begins now ends. */
static TimestampTz
get_overlap_end(FunctionCallInfo fcinfo, int argno)
{
	TimestampTz now = ak_clock_now();
	TimestampTz end;

	ak_arg_refuse_null(fcinfo, argno, "overlap");
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(now),
												  PG_GETARG_DATUM(argno)));
	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must not be negative")));
	if (TIMESTAMP_NOT_FINITE(end))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must be finite")));
	return end;
}

static void
set_secret(const pg_uuid_t *id, const AkSecret *secret)
{
	static AkSql set = {
		AK_TABLE_KEY, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_key SET scheme = $2, salt = $3, verifier = $4"
		" WHERE key_id = $1"
	};

	ak_sql_run(&set, ak_value_uuid(id), ak_create_scheme(secret),
			   ak_value_bytes(&secret->salt),
			   ak_value_bytes(&secret->verifier));
}

/* Keep the key's secret beside it until "end", in the place of what was kept there. */
static void
keep_secret(const pg_uuid_t *id, TimestampTz end)
{
	static AkSql keep = {
		AK_TABLE_SECRET, 0,
		.query = "INSERT INTO $S.apikey_secret"
		" (key_id, organization, scheme, salt, verifier, expires_at, replaced_at)"
		" SELECT key_id, organization, scheme, salt, verifier, $2, " AK_SQL_NOW
		" FROM $S.apikey_key WHERE key_id = $1"
		" ON CONFLICT (key_id) DO UPDATE SET scheme = excluded.scheme,"
		" salt = excluded.salt, verifier = excluded.verifier, lookup = NULL,"
		" lookup_rule = NULL,"
		" expires_at = excluded.expires_at, replaced_at = excluded.replaced_at"
	};

	if (ak_sql_run(&keep, ak_value_uuid(id), ak_value_time(end)) == 0)
		ak_sql_refuse_trigger(AK_TABLE_SECRET);
}

/* What is kept beside the key ends at this time; null: with the key. */
static void
limit_kept(const pg_uuid_t *id, AkValue end)
{
	static AkSql limit = {
		AK_TABLE_SECRET, AK_SQL_ONE,
		.query = "UPDATE $S.apikey_secret SET expires_at = $2, replaced_at ="
		" CASE WHEN $2 IS NOT NULL THEN coalesce(replaced_at, " AK_SQL_NOW ") END"
		" WHERE key_id = $1 AND expires_at IS DISTINCT FROM $2"
	};

	ak_sql_run(&limit, ak_value_uuid(id), end);
}

/* The key gets another secret; what it had stays good until "end". */
static void
replace_secret(const AkChange *change, const AkSecret *secret, TimestampTz end)
{
	if (change->has_secret)
		keep_secret(&change->id, end);
	else
		limit_kept(&change->id, ak_value_time(end));
	set_secret(&change->id, secret);
}

/* Over at once, by every clock: that of a standby may be behind. */
#define AT_ONCE		DT_NOBEGIN

/* When the old secret ends: no later than it would have. */
static TimestampTz
get_old_end(const AkChange *change, TimestampTz overlap_end)
{
	return overlap_end <= ak_clock_now() ? AT_ONCE :
		Min(overlap_end, change->expires_at);
}

static bool
fill_rotate(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	AkChange	change;
	AkSecret	secret;
	AkDetail	detail;
	TimestampTz end;
	char	   *token;

	ak_admin_begin_giving(fcinfo, &change);
	end = get_overlap_end(fcinfo, 1);
	token = ak_create_secret(&secret, &change.id, change.prefix);
	replace_secret(&change, &secret, get_old_end(&change, end));
	ak_detail_begin(&detail);
	ak_detail_add_time(&detail, "overlap_until", end);
	ak_admin_record(&change, "rotate", &detail);
	return ak_create_show(&change.id, token, values);
}

AK_ROW_FUNCTION(apikey_rotate, fill_rotate)

/* The old secret while the overlap lasts.  Raises 55000 if it does not. */
static void
get_old_secret(const AkChange *change, AkSecret *old, const char *verb)
{
	Snapshot	snapshot;
	bool		found = false;

	AK_STORE_READ(snapshot)
		found = ak_store_secret(snapshot, &change->id, old);
	if (!found || !change->has_secret || old->scheme == AK_SCHEME_UNKNOWN ||
		old->expires_at <= ak_clock_now())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no rotation to %s", verb),
				 errdetail("API key %s has one good secret.",
						   ak_options_print_id(&change->id)),
				 errhint("A rotation can be cancelled or finished while its overlap lasts.")));
}

/* An imported secret stays where it is found by its digest: the new one is forgotten. */
AK_FUNCTION_INFO_V1(apikey_cancel_rotation);
Datum
apikey_cancel_rotation(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkSecret	old;
	AkSecret	none = {0};

	ak_admin_begin_giving(fcinfo, &change);
	get_old_secret(&change, &old, "cancel");
	if (old.imported)
	{
		limit_kept(&change.id, ak_value_null(TIMESTAMPTZOID));
		set_secret(&change.id, &none);
	}
	else
		replace_secret(&change, &old, AT_ONCE);
	ak_admin_record(&change, "cancel_rotation", NULL);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_finish_rotation);
Datum
apikey_finish_rotation(PG_FUNCTION_ARGS)
{
	AkChange	change;
	AkSecret	old;

	ak_admin_begin_giving(fcinfo, &change);
	get_old_secret(&change, &old, "finish");
	limit_kept(&change.id, ak_value_time(AT_ONCE));
	ak_admin_record(&change, "finish_rotation", NULL);
	PG_RETURN_VOID();
}
