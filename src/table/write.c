/*
 * write.c
 *		Changing our tables; see write.h.
 */
#include "postgres.h"

#include "table/write.h"

#include "access/xact.h"
#include "base/clock.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "table/insert.h"
#include "table/schema.h"
#include "table/statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static int	making;				/* keys with their grants, one within the
								 * other */
static int	renaming;			/* projects, likewise */
static TimestampTz purging = DT_NOBEGIN;	/* events before this time */

/* As text[] */
static Datum
names_datum(const AkName *names, int count)
{
	Datum	   *texts = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		texts[i] = ak_name_to_text(&names[i]);
	return PointerGetDatum(construct_array(texts, count, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* Scheme, salt and verifier from "values" on. */
static void
set_secret(Datum *values, const AkSecret *secret)
{
	values[0] = CStringGetTextDatum(ak_secret_scheme_name(secret->scheme));
	values[1] = ak_name_to_text(&secret->salt);
	values[2] = ak_name_to_text(&secret->verifier);
}

static Datum
level_datum(AkLevel level)
{
	return CStringGetTextDatum(ak_level_name(level));
}

/* Set argument "i" from what may be null. */
static void
set_nullable(Datum *values, char *nulls, int i, NullableDatum from)
{
	values[i] = from.value;
	nulls[i] = from.isnull ? 'n' : ' ';
}

/* The project of a grant: '*' is a null. */
static NullableDatum
project_datum(const AkName *name)
{
	NullableDatum result = {0};

	result.isnull = ak_name_equal(name, &ak_name_all);
	if (!result.isnull)
		result.value = ak_name_to_text(name);
	return result;
}

static Datum
level_value(AkLevel level)
{
	return ObjectIdGetDatum(ak_schema_get()->levels[level]);
}

static void
insert_key(AkInsertion *insertion, const AkNewKey *key)
{
	Datum		values[Natts_apikey_key] = {0};
	bool		nulls[Natts_apikey_key] = {false};

#define SET(column, value) values[Anum_apikey_key_##column - 1] = value
#define SET_NULL(column, isnull) nulls[Anum_apikey_key_##column - 1] = isnull
#define SET_NULLABLE(column) \
	(SET(column, key->column.value), SET_NULL(column, key->column.isnull))
	SET(key_id, UUIDPGetDatum(&key->id));
	SET_NULL(disabled_at, true);
	SET_NULL(revoked_at, true);
	SET_NULLABLE(expires_at);
	SET(organization_level, level_value(key->organization_level));
	SET_NULL(organization_level, key->organization_level == AK_LEVEL_NONE);
	SET(organization, ak_name_to_text(&key->organization));
	SET(prefix, CStringGetTextDatum(key->prefix));
	set_secret(&values[Anum_apikey_key_scheme - 1], &key->secret);
	for (int i = 0; i < 3; i++)
		nulls[Anum_apikey_key_scheme - 1 + i] =
			key->secret.scheme == AK_SCHEME_UNKNOWN;
	SET_NULLABLE(allowed_networks);
	SET(label, key->label);
	SET(created_at, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	SET_NULLABLE(created_by);
	SET(metadata, key->metadata.isnull ?
		DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) :
		key->metadata.value);
	if (key->limit.count > 0)
	{
		SET(rate_count, Int32GetDatum(key->limit.count));
		SET(rate_interval,
			IntervalPGetDatum(ak_ratelimit_interval(&key->limit)));
		SET(rate_burst, Int32GetDatum(key->limit.burst));
	}
	SET_NULL(rate_count, key->limit.count == 0);
	SET_NULL(rate_interval, key->limit.count == 0);
	SET_NULL(rate_burst, key->limit.count == 0);
#undef SET
#undef SET_NULL
#undef SET_NULLABLE
	ak_insert_row(insertion, AK_TABLE_KEY, values, nulls);
}

static void
insert_grant(AkInsertion *insertion, const AkNewKey *key, const AkGrant *grant)
{
	NullableDatum project = project_datum(&grant->project);
	Datum		values[Natts_apikey_grant];
	bool		nulls[Natts_apikey_grant] = {false};

#define SET(column, value) values[Anum_apikey_grant_##column - 1] = value
	SET(key_id, UUIDPGetDatum(&key->id));
	SET(level, level_value(grant->level));
	SET(project, project.value);
	nulls[Anum_apikey_grant_project - 1] = project.isnull;
	SET(environment, ak_name_to_text(&grant->environment));
	SET(organization, ak_name_to_text(&key->organization));
#undef SET
	ak_insert_row(insertion, AK_TABLE_GRANT, values, nulls);
}

/* Its triggers know by "running" whose doing it is. */
static void
end_insertion(AkInsertion *insertion, int *running)
{
	(*running)++;
	PG_TRY();
	{
		ak_insert_end(insertion);
	}
	PG_FINALLY();
	{
		(*running)--;
	}
	PG_END_TRY();
}

void
ak_write_key(const AkNewKey *key, const AkGrant *grants, int count,
			 const AkEvent *event)
{
	AkInsertion *insertion = ak_insert_begin();

	ak_statement_use_indexes();
	insert_key(insertion, key);
	for (int i = 0; i < count; i++)
		insert_grant(insertion, key, &grants[i]);
	ak_event_append(insertion, event);
	end_insertion(insertion, &making);
}

bool
ak_write_imported(const pg_uuid_t *id, const AkSecret *secret,
				  const uint8 lookup[AK_HASH_LEN])
{
	Datum		values[5] = {UUIDPGetDatum(id)};
	AkName		digest = {(const char *) lookup, AK_HASH_LEN};

	set_secret(&values[1], secret);
	values[4] = ak_name_to_text(&digest);
	return ak_statement_run(AK_INSERT_IMPORTED, values) > 0;
}

bool
ak_write_lock_key(const pg_uuid_t *id, AkLockedKey *key)
{
	Datum		values[1] = {UUIDPGetDatum(id)};
	bool		found;

	ak_statement_begin();
	found = ak_statement_execute(AK_LOCK_KEY, values, NULL) > 0;
	if (found)
	{
		key->organization = ak_statement_text(0, 1);
		key->prefix = unconstify(char *, ak_statement_text(0, 2).data);
		key->revoked = ak_statement_bool(0, 3);
		key->has_secret = ak_statement_bool(0, 4);
	}
	ak_statement_end();
	return found;
}

static bool
run_key(AkStatement which, const pg_uuid_t *id)
{
	Datum		values[] = {UUIDPGetDatum(id)};

	return ak_statement_run(which, values) > 0;
}

bool
ak_write_disable(const pg_uuid_t *id)
{
	return run_key(AK_DISABLE_KEY, id);
}

bool
ak_write_enable(const pg_uuid_t *id)
{
	return run_key(AK_ENABLE_KEY, id);
}

bool
ak_write_revoke(const pg_uuid_t *id)
{
	return run_key(AK_REVOKE_KEY, id);
}

bool
ak_write_delete(const pg_uuid_t *id)
{
	return run_key(AK_DELETE_KEY, id);
}

bool
ak_write_organization_level(const pg_uuid_t *id, AkLevel level)
{
	Datum		values[2] = {UUIDPGetDatum(id), level_datum(level)};
	bool		changed;

	ak_statement_begin();
	changed = ak_statement_execute(AK_SET_ORGANIZATION_LEVEL, values,
								   level == AK_LEVEL_NONE ? " n" : "  ") > 0;
	ak_statement_end();
	return changed;
}

/*
 * A limit must hold after a crash: it takes something away.  A spending is only
 * as durable as the work that it pays for.
 */
void
ak_write_budget(const pg_uuid_t *id, int64 budget, NullableDatum refill)
{
	Datum		values[3] = {UUIDPGetDatum(id), Int64GetDatum(budget)};
	char		nulls[4] = "   ";

	ak_statement_begin();
	set_nullable(values, nulls, 2, refill);
	ak_statement_execute(AK_UPSERT_BUDGET, values, nulls);
	ak_statement_end();
	ForceSyncCommit();
}

bool
ak_write_no_budget(const pg_uuid_t *id)
{
	return run_key(AK_DELETE_BUDGET, id);
}

/*
 * The update takes all or nothing, and what is refused neither waits nor writes.
 * Only then are the reasons looked for, by a snapshot of now: an older one would
 * not show a budget that was set since, and so no limit.  If that shows that there
 * is enough after all, once more, or not in a transaction that is to see nothing
 * newer.
 */
AkSpending
ak_write_spend(const pg_uuid_t *id, int64 amount, AkBudget *budget)
{
	Datum		values[2] = {UUIDPGetDatum(id), Int64GetDatum(amount)};
	AkSpending	spending = AK_SPENDING_REFUSED;
	int			attempts = 0;

	ak_statement_begin();
	for (;;)
	{
		if (ak_statement_execute(AK_SPEND, values, NULL) > 0)
		{
			spending = AK_SPENDING_DONE;
			budget->remaining = ak_statement_int64(0, 1);
			break;
		}
		if (ak_statement_execute_latest(AK_LOOK_AT_BUDGET, values) == 0)
		{
			spending = AK_SPENDING_UNLIMITED;
			break;
		}
		budget->budget = ak_statement_int64(0, 1);
		budget->remaining = ak_statement_int64(0, 2);
		budget->refills_at = ak_statement_int64(0, 3);
		if (budget->remaining < amount)
			break;
		if (++attempts > 1000)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("a trigger on table \"%s\" keeps a row from being changed",
							ak_schema_tables[AK_TABLE_BUDGET].name),
					 errhidestmt(true)));
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update"),
					 errhidestmt(true)));
		CHECK_FOR_INTERRUPTS();
	}
	ak_statement_end();
	return spending;
}

bool
ak_write_changes(const pg_uuid_t *id, const AkKeyChanges *changes)
{
	const AkKeyChange *columns[] = {
		&changes->label, &changes->expires_at, &changes->created_by,
		&changes->allowed_networks, &changes->metadata
	};
	const AkRateLimit *limit = &changes->limit;
	Datum		values[15] = {UUIDPGetDatum(id)};
	char		nulls[16] = "               ";
	bool		changed;

	ak_statement_begin();
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		values[2 * i + 1] = BoolGetDatum(columns[i]->change);
		set_nullable(values, nulls, 2 * i + 2, columns[i]->value);
		if (!columns[i]->change)
			nulls[2 * i + 2] = 'n';
	}
	values[11] = BoolGetDatum(changes->change_limit);
	values[12] = Int32GetDatum(limit->count);
	values[13] = IntervalPGetDatum(ak_ratelimit_interval(limit));
	values[14] = Int32GetDatum(limit->burst);
	if (limit->count == 0)
		nulls[12] = nulls[13] = nulls[14] = 'n';
	changed = ak_statement_execute(AK_UPDATE_KEY, values, nulls) > 0;
	ak_statement_end();
	return changed;
}

void
ak_write_rotate(const pg_uuid_t *id, bool has_secret, const AkSecret *secret,
				TimestampTz ends)
{
	Datum		values[4] = {UUIDPGetDatum(id), TimestampTzGetDatum(ends)};
	bool		over = ends <= ak_clock_now();

	if (has_secret || over)
		run_key(AK_DROP_SECRET, id);
	if (!over)
		ak_statement_run(has_secret ? AK_KEEP_SECRET : AK_LIMIT_SECRET, values);
	set_secret(&values[1], secret);
	ak_statement_run(AK_SET_SECRET, values);
}

bool
ak_write_unrotate(const pg_uuid_t *id)
{
	Datum		values[4] = {UUIDPGetDatum(id)};

	if (run_key(AK_RESTORE_SECRET, id))
	{
		run_key(AK_DROP_SECRET, id);
		return true;
	}
	if (!run_key(AK_RESTORE_IMPORTED, id))
		return false;
	ak_statement_begin();
	ak_statement_execute(AK_SET_SECRET, values, " nnn");
	ak_statement_end();
	return true;
}

/* Run a statement about a key and one grant of it. */
static uint64
run_grant(AkStatement which, const pg_uuid_t *id, const AkName *organization,
		  const AkGrant *grant)
{
	Datum		values[5] = {UUIDPGetDatum(id), ak_name_to_text(organization)};
	char		nulls[6] = "     ";
	uint64		processed;

	ak_statement_begin();
	set_nullable(values, nulls, 2, project_datum(&grant->project));
	values[3] = ak_name_to_text(&grant->environment);
	values[4] = level_datum(grant->level);
	processed = ak_statement_execute(which, values, nulls);
	ak_statement_end();
	return processed;
}

bool
ak_write_grant(const pg_uuid_t *id, const AkName *organization,
			   const AkGrant *grant)
{
	return run_grant(AK_UPSERT_GRANT, id, organization, grant) > 0;
}

bool
ak_write_ungrant(const pg_uuid_t *id, const AkName *project,
				 const AkName *environment)
{
	Datum		values[3] = {UUIDPGetDatum(id)};
	char		nulls[4] = "   ";
	bool		found;

	ak_statement_begin();
	set_nullable(values, nulls, 1, project_datum(project));
	values[2] = ak_name_to_text(environment);
	found = ak_statement_execute(AK_DELETE_GRANT, values, nulls) > 0;
	ak_statement_end();
	return found;
}

/* The rows of the last statement, in the caller's memory. */
static void
get_rows(AkEnvironmentRow **rows, int count, bool has_environment)
{
	*rows = ak_statement_alloc(Max(count, 1) * sizeof(AkEnvironmentRow));
	for (int i = 0; i < count; i++)
	{
		(*rows)[i].project = ak_statement_text(i, 1);
		(*rows)[i].organization = ak_statement_text(i, 2);
		if (has_environment)
			(*rows)[i].environment = ak_statement_text(i, 3);
	}
}

int
ak_write_projects(const AkName *organizations, const AkName *projects,
				  int count, const AkName *environments, int nenvironments,
				  AkEnvironmentRow **added, int *nadded)
{
	AkName	   *all = palloc((nenvironments + 1) * sizeof(AkName));
	Datum		values[3] = {
		names_datum(projects, count), names_datum(organizations, count)
	};
	int			refused = -1;

	ak_statement_begin();
	if (ak_statement_execute(AK_UPSERT_PROJECTS, values, NULL) > 0)
	{
		refused = ak_statement_int64(0, 1) - 1;
	}
	ak_statement_end();
	if (refused >= 0)
		return refused;

	all[0] = ak_name_all;
	memcpy(all + 1, environments, nenvironments * sizeof(AkName));
	values[2] = names_datum(all, nenvironments + 1);
	ak_statement_begin();
	*nadded = ak_statement_execute(AK_UPSERT_ENVIRONMENTS, values, NULL);
	get_rows(added, *nadded, true);
	ak_statement_end();
	return -1;
}

int
ak_write_lock_projects(const AkName *projects, int count,
					   AkEnvironmentRow **locked)
{
	Datum		values[] = {names_datum(projects, count)};
	int			found;

	ak_statement_begin();
	found = ak_statement_execute_latest(AK_LOCK_PROJECTS, values);
	get_rows(locked, found, false);
	ak_statement_end();
	return found;
}

/*
 * The foreign keys would delete the rest by themselves, but not while logical
 * replication is applied, where they do not fire; and where the transaction
 * keeps an older snapshot they would fail at rows that this does not show.
 * So the lock that keeps new environments and grants away is taken first.
 */
void
ak_write_remove_projects(const AkName *projects, int count)
{
	Datum		values[] = {names_datum(projects, count)};

	ak_statement_begin();
	ak_statement_execute_latest(AK_LOCK_ENVIRONMENTS, values);
	ak_statement_execute_latest(AK_DELETE_PROJECTS_GRANTS, values);
	ak_statement_execute_latest(AK_DELETE_PROJECTS_ENVIRONMENTS, values);
	ak_statement_execute_latest(AK_DELETE_PROJECTS, values);
	ak_statement_end();
}

/*
 * The rows are updated, so that other columns keep their values.  The foreign keys fire
 * when all have moved; they would carry nothing along where removing could not rely on
 * them.  To update an environment waits for the grants on it that are being made, and
 * keeps new ones away: so grants come last.
 */
void
ak_write_rename_project(const AkName *project, const AkName *new_name)
{
	Datum		values[] = {ak_name_to_text(project), ak_name_to_text(new_name)};
	AkInsertion *together = ak_insert_begin();

	ak_statement_begin();
	ak_statement_execute_part(AK_RENAME_PROJECT, values);
	ak_statement_execute_part(AK_RENAME_ENVIRONMENTS, values);
	ak_statement_execute_part(AK_RENAME_GRANTS, values);
	ak_statement_end();
	end_insertion(together, &renaming);
}

bool
ak_write_remove_environment(const AkName *project, const AkName *environment)
{
	Datum		values[] = {ak_name_to_text(project), ak_name_to_text(environment)};
	bool		found;

	ak_statement_begin();
	found = ak_statement_execute_latest(AK_LOCK_ENVIRONMENT, values) > 0;
	if (found)
	{
		ak_statement_execute_latest(AK_DELETE_ENVIRONMENT_GRANTS, values);
		ak_statement_execute_latest(AK_DELETE_ENVIRONMENT, values);
	}
	ak_statement_end();
	return found;
}

uint64
ak_write_purge(TimestampTz before)
{
	Datum		values[] = {TimestampTzGetDatum(before)};
	volatile uint64 count = 0;

	purging = before;
	PG_TRY();
	{
		count = ak_statement_run(AK_PURGE_EVENTS, values);
	}
	PG_FINALLY();
	{
		purging = DT_NOBEGIN;
	}
	PG_END_TRY();
	return count;
}

bool
ak_write_is_purged(TimestampTz at)
{
	return at < purging;
}

bool
ak_write_is_ours(void)
{
	return ak_statement_is_running() || making > 0 || renaming > 0;
}

bool
ak_write_is_new_key(void)
{
	return making > 0;
}

/* Arrays of so many elements, for unnest(). */
static Datum
make_array(Oid type, Datum *values, bool *nulls, int count)
{
	int			dims[1] = {count};
	int			bounds[1] = {1};
	int16		len;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &len, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, bounds,
											  type, len, by_value, align));
}

/* One column of what is to be written. */
typedef struct Column
{
	Oid			type;
	Datum	   *values;
	bool	   *nulls;
} Column;

static void
make_columns(Column *columns, const Oid *types, int ncolumns, int rows)
{
	for (int i = 0; i < ncolumns; i++)
		columns[i] = (Column)
	{
		types[i], palloc_extended(rows * sizeof(Datum), MCXT_ALLOC_HUGE),
			palloc_extended(rows * sizeof(bool),
							MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO)
	};
}

static void
write_columns(AkStatement which, const Column *columns, int ncolumns, int rows)
{
	Datum		values[6];

	for (int i = 0; i < ncolumns; i++)
		values[i] = make_array(columns[i].type, columns[i].values,
							   columns[i].nulls, rows);
	ak_statement_run(which, values);
}

static void
set_time(Column *column, int row, TimestampTz time)
{
	column->values[row] = TimestampTzGetDatum(time);
	column->nulls[row] = time == 0;
}

static void
write_hours(const AkCounts *usages, int count, int days)
{
	static const Oid types[] = {UUIDOID, TIMESTAMPTZOID, INT8OID, INT8OID};
	TimestampTz oldest = GetCurrentTimestamp() - days * USECS_PER_DAY;
	Column		columns[lengthof(types)];
	int			rows = 0;
	int			row = 0;

	for (int i = 0; i < count; i++)
		rows += usages[i].nhours;
	make_columns(columns, types, lengthof(types), rows);
	for (int i = 0; i < count; i++)
		for (int j = 0; j < usages[i].nhours; j++)
		{
			const AkCountsHour *hour = &usages[i].hours[j];
			TimestampTz time = hour->hour * USECS_PER_HOUR;

			if (time <= oldest)
				continue;
			columns[0].values[row] = UUIDPGetDatum(&usages[i].id);
			columns[1].values[row] = TimestampTzGetDatum(time);
			columns[2].values[row] = Int64GetDatum(hour->uses);
			columns[3].values[row] = Int64GetDatum(hour->refusals);
			row++;
		}
	if (row > 0)
		write_columns(AK_ADD_USE_HOURS, columns, lengthof(types), row);
}

void
ak_write_use(const AkCounts *usages, int count, int days)
{
	static const Oid types[] = {
		UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TIMESTAMPTZOID
	};
	Column		columns[lengthof(types)];

	if (count == 0)
		return;
	make_columns(columns, types, lengthof(types), count);
	for (int i = 0; i < count; i++)
	{
		const AkCounts *usage = &usages[i];
		int64		uses = 0;
		int64		refusals = 0;

		for (int j = 0; j < usage->nhours; j++)
		{
			uses += usage->hours[j].uses;
			refusals += usage->hours[j].refusals;
		}
		columns[0].values[i] = UUIDPGetDatum(&usage->id);
		columns[1].values[i] = Int64GetDatum(uses);
		columns[2].values[i] = Int64GetDatum(refusals);
		set_time(&columns[3], i, usage->last_used);
		set_time(&columns[4], i, usage->last_refused);
		/* from nanoseconds, rounded up; 1 says that none was used */
		set_time(&columns[5], i, usage->limit_until <= 1 ? 0 :
				 (usage->limit_until + 999) / 1000);
	}
	write_columns(AK_ADD_USE, columns, lengthof(types), count);
	if (days > 0)
		write_hours(usages, count, days);
}

void
ak_write_purge_use(int days)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		oldest = TimestampTzGetDatum(now - days * USECS_PER_DAY);
	Datum		yesterday = TimestampTzGetDatum(now - USECS_PER_DAY);

	ak_statement_run(AK_PURGE_USE_HOURS, &oldest);
	ak_statement_run(AK_PURGE_USE, &yesterday);
}
