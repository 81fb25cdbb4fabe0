/*
 * derive.c
 *		Keys derived from others; see lineage.h for what they may do.
 */
#include "postgres.h"

#include "keys/derive.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/lineage.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/hide.h"
#include "base/result.h"
#include "funcapi.h"
#include "keys/create.h"
#include "keys/options.h"
#include "keys/projects.h"
#include "keys/quota.h"
#include "miscadmin.h"
#include "table/sql.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplestore.h"

/* What a bearer may store with one key */
#define MAX_GRANTS		1000
#define MAX_BYTES		10000

#define MAX_DAYS		30		/* as the message says */

/* Where the arguments are. */
typedef struct Places
{
	int			key;			/* negative: the session's */
	int			label;
	int			grants;
	int			lifetime;
	int			metadata;
} Places;

/* -------------------------------------------------------------- deriving */

static TimestampTz
add_interval(TimestampTz time, const Interval *interval)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(time),
												   IntervalPGetDatum(interval)));
}

/*
 * When such a lifetime ends that begins now.  Where the clocks change meanwhile, 30 days
 * are not 720 hours: either will do.
 */
static TimestampTz
get_end(FunctionCallInfo fcinfo, int argno)
{
	static const Interval most = {.day = MAX_DAYS};
	TimestampTz now = ak_clock_now();
	TimestampTz end;

	ak_arg_refuse_null(fcinfo, argno, "lifetime");
	end = add_interval(now, PG_GETARG_INTERVAL_P(argno));
	if (end < now + USECS_PER_SEC ||
		end > Max(now + MAX_DAYS * USECS_PER_DAY, add_interval(now, &most)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lifetime must be between a second and 30 days")));
	return end;
}

/* Of its own it may do all, unless grants are given: what counts is the lower. */
static void
read_grants(FunctionCallInfo fcinfo, int argno, AkNewKey *key)
{
	static AkGrant all = {{"*", 1}, {"*", 1}, AK_LEVEL_MANAGE};
	Jsonb	   *grants;

	if (PG_ARGISNULL(argno))
	{
		key->grants = &all;
		key->ngrants = 1;
		return;
	}
	grants = ak_arg_json(fcinfo, argno, JB_FARRAY);
	key->ngrants = ak_options_grants(grants, &key->grants);
	if (key->ngrants > MAX_GRANTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a derived key can have %d grants at most", MAX_GRANTS)));
	for (int i = 0; i < key->ngrants; i++)
		ak_projects_check(&key->organization, &key->grants[i]);
	ak_detail_add_jsonb(&key->detail, "grants", grants);
}

/* Take from the parent, which is good, what the new key has of it. */
static void
take_parent(AkNewKey *key, const AkKey *parent, pg_uuid_t *parent_id,
			pg_uuid_t *root, TimestampTz *expires_at)
{
	if (ak_keycache_ancestors(parent) == AK_ANCESTORS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a chain of derived keys can have %d at most",
						AK_ANCESTORS_MAX)));
	*parent_id = parent->id;
	*root = *ak_keycache_root(parent);
	*expires_at = parent->expires_at;
	key->organization = ak_name_copy(parent->organization);
	key->parent = parent_id;
	key->actor.limited = true;
	key->actor.key_id = *parent_id;
}

/*
 * Keep the parent from being deleted until the transaction ends, as the foreign key of
 * the new row would: what waits here is refused, and not by that.  Returns its prefix,
 * palloc'd.
 */
static const char *
lock_parent(const pg_uuid_t *id)
{
	static AkSql lock = {
		AK_TABLE_KEY, AK_SQL_LATEST,
		.query = "SELECT prefix FROM $S.apikey_key WHERE key_id = $1 FOR KEY SHARE"
	};
	static struct
	{
		pg_uuid_t	id;
		uint64		transaction;	/* 0: none */
		char		prefix[AK_PREFIX_MAX + 1];
	}			locked;

	if (locked.transaction != ak_inval_transaction ||
		memcmp(&locked.id, id, sizeof(pg_uuid_t)) != 0)
	{
		locked.transaction = 0;
		ak_sql_begin();
		if (ak_sql_execute(&lock, ak_value_uuid(id)) == 0)
			ak_authz_refuse(NULL);
		strlcpy(locked.prefix, ak_sql_name(0, 1).data, sizeof(locked.prefix));
		ak_sql_end();
		locked.id = *id;
		locked.transaction = ak_inval_transaction;
	}
	return pstrdup(locked.prefix);
}

/* Refuse what is too long for a bearer to store; null is nothing. */
static void
check_size(const AkValue *value, const char *name)
{
	if (!value->isnull && toast_raw_datum_size(value->value) > MAX_BYTES + VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s of a derived key can have %d bytes at most", name,
						MAX_BYTES)));
}

static void
fill_derived(FunctionCallInfo fcinfo, const Places *at, Datum *values)
{
	AkNewKey	key;
	pg_uuid_t	parent;
	pg_uuid_t	root;
	TimestampTz expires_at;
	TimestampTz end;
	char	   *token;

	PreventCommandIfReadOnly("apikey_derive()");
	memset(&key, 0, sizeof(key));
	take_parent(&key, ak_authn_require(fcinfo, at->key), &parent, &root,
				&expires_at);
	key.label = ak_options_label(fcinfo, at->label);
	check_size(&key.label, "label");
	key.metadata = ak_options_metadata(fcinfo, at->metadata);
	check_size(&key.metadata, "metadata");
	ak_detail_begin(&key.detail);
	ak_detail_add(&key.detail, "parent_id", ak_options_print_id(&parent));
	end = Min(get_end(fcinfo, at->lifetime), expires_at);
	ak_detail_add_time(&key.detail, "expires_at", end);
	key.expires_at = ak_value_time(end);
	read_grants(fcinfo, at->grants, &key);
	key.created_by = ak_value_string(ak_options_print_id(&parent));
	key.prefix = lock_parent(&parent);

	ak_quota_take(&root);
	/* it may have waited for long */
	(void) ak_authn_require(fcinfo, at->key);
	ak_secret_uuid(&key.id, GetCurrentTimestamp());
	token = ak_create_secret(&key.secret, &key.id, key.prefix);
	ak_create_write("derive", &key);
	(void) ak_create_show(&key.id, token, values);
}

/* The statement may have the key in it. */
static bool
fill_derived_hidden(FunctionCallInfo fcinfo, const Places *at, Datum *values)
{
	ErrorContextCallback hide;

	ak_hide_begin(&hide, ak_hide_statement);
	fill_derived(fcinfo, at, values);
	ak_hide_end(&hide);
	return true;
}

static bool
fill_derive_key(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	static const Places at = {0, 1, 2, 3, 4};

	return fill_derived_hidden(fcinfo, &at, values);
}

AK_ROW_FUNCTION(apikey_derive_key, fill_derive_key)

static bool
fill_derive_session(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	static const Places at = {
		.key = -1,
		.label = 0,
		.grants = 1,
		.metadata = 2,
		.lifetime = 3
	};

	return fill_derived_hidden(fcinfo, &at, values);
}

AK_ROW_FUNCTION(apikey_derive_session, fill_derive_session)

/* --------------------------------------------------------------- looking */

/* Its compiled grants, palloc'd; NULL if there is no such key. */
static const AkGrants *
read_derived_grants(const pg_uuid_t *id)
{
	AkKey		key;
	AkKeyRow	row;
	Snapshot	snapshot;
	bool		found = false;

	AK_STORE_READ(snapshot)
	{
		memset(&key, 0, sizeof(key));
		key.id = *id;
		found = ak_store_key(snapshot, id, &row) &&
			ak_lineage_read(snapshot, &row, &key);
		if (found)
			ak_lineage_grants(snapshot, &key);
	}
	return found ? key.grants : NULL;
}

AK_FUNCTION_INFO_V1(apikey_derived_grants);
Datum
apikey_derived_grants(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const AkGrants *grants;
	AkGrant		grant;

	ak_schema_accept();
	InitMaterializedSRF(fcinfo, 0);
	grants = read_derived_grants(PG_GETARG_UUID_P(0));
	for (uint32 i = 0; grants != NULL && i <= grants->mask; i++)
		if (ak_grants_slot(grants, i, &grant))
		{
			Datum		values[] = {
				ak_name_to_text(&grant.project),
				ak_name_to_text(&grant.environment),
				ObjectIdGetDatum(ak_schema_get()->levels[grant.level])
			};
			bool		nulls[lengthof(values)] = {false};

			tuplestore_putvalues(result->setResult, result->setDesc, values,
								 nulls);
		}
	return (Datum) 0;
}

/* ----------------------------------------------------------------- purge */

/*
 * Those that no other is derived from go first.  What a bearer has locked stays for the
 * next time, with its ancestors, and holds up nothing.
 */
uint64
ak_derive_purge(TimestampTz before)
{
	static AkSql delete_keys = {
		AK_TABLE_KEY, 0,
		.query = "DELETE FROM $S.apikey_key WHERE key_id IN"
		" (SELECT key_id FROM $S.apikey_key k"
		" WHERE parent_id IS NOT NULL AND expires_at < $1 AND NOT EXISTS"
		" (SELECT FROM $S.apikey_key c WHERE c.parent_id = k.key_id)"
		" FOR UPDATE OF k SKIP LOCKED)"
	};
	AkEvent		event = {
		.action = "purge_derived",
		.is_new = true			/* nobody needs to forget what is refused */
	};
	AkDetail	detail;
	uint64		count = 0;
	uint64		deleted;

	before = Min(before, ak_clock_now());
	while ((deleted = ak_sql_run(&delete_keys, ak_value_time(before))) > 0)
		count += deleted;
	if (count == 0)
		return 0;
	ak_detail_begin(&detail);
	ak_detail_add_time(&detail, "before", before);
	ak_detail_add(&detail, "count", psprintf(UINT64_FORMAT, count));
	event.detail = &detail;
	ak_event_append(NULL, &event);
	return count;
}

AK_FUNCTION_INFO_V1(apikey_purge_derived);
Datum
apikey_purge_derived(PG_FUNCTION_ARGS)
{
	ak_arg_refuse_null(fcinfo, 0, "before");
	ak_actor_refuse_key();
	ak_schema_accept();
	PG_RETURN_INT64(ak_derive_purge(PG_GETARG_TIMESTAMPTZ(0)));
}
