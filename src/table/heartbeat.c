/*
 * heartbeat.c
 *		The row of apikey_heartbeat; see heartbeat.h.
 */
#include "postgres.h"

#include "table/heartbeat.h"

#include "base/guc.h"
#include "base/secret.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "shmem/counts.h"
#include "table/schema.h"
#include "table/sql.h"
#include "utils/timestamp.h"

/* How often the worker renews it; null where there is none. */
static AkValue
get_period(void)
{
	Interval   *period;

	if (!ak_counts_is_on())
		return ak_value_null(INTERVALOID);
	period = palloc0(sizeof(Interval));
	period->time = ak_guc_flush_interval * USECS_PER_SEC;
	return ak_value(INTERVALOID, IntervalPGetDatum(period));
}

void
ak_heartbeat_make(void)
{
	static AkSql upsert = {
		AK_TABLE_HEARTBEAT, 0,
		.query = "INSERT INTO $S.apikey_heartbeat AS old (at, every, version)"
		" VALUES (clock_timestamp(), $1, $2) ON CONFLICT (one) DO UPDATE"
		" SET at = excluded.at, every = excluded.every, version = excluded.version"
	};

	ak_sql_run(&upsert, get_period(), ak_value_string(AK_VERSION));
	ak_heartbeat_tell_files();
}

void
ak_heartbeat_renew(void)
{
	static AkSql renew = {
		AK_TABLE_HEARTBEAT, 0,
		.query = "UPDATE $S.apikey_heartbeat"
		" SET at = clock_timestamp(), every = $1, version = $2"
	};
	int			slots;
	int			active;

	if (ReplicationSlotsCountDBSlots(MyDatabaseId, &slots, &active))
		ak_sql_run(&renew, get_period(), ak_value_string(AK_VERSION));
}

static AkValue
get_fingerprint(AkScheme keyed)
{
	uint8		fingerprint[AK_FINGERPRINT_LEN];
	AkName		bytes = {(const char *) fingerprint, AK_FINGERPRINT_LEN};

	return ak_secret_fingerprint(keyed, fingerprint) ? ak_value_bytes(&bytes) :
		ak_value_null(BYTEAOID);
}

void
ak_heartbeat_tell_files(void)
{
	static AkSql tell = {
		AK_TABLE_HEARTBEAT, 0,
		.query = "UPDATE $S.apikey_heartbeat SET pepper = $1, hmac_key = $2"
		" WHERE (pepper, hmac_key) IS DISTINCT FROM ($1, $2)"
	};

	ak_sql_run(&tell, get_fingerprint(AK_SCHEME_NATIVE_PEPPER),
			   get_fingerprint(AK_SCHEME_HMAC_SHA256));
}
