/*
 * write.c
 *		Changing our tables; see write.h.
 */
#include "postgres.h"

#include "write.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "optimizer/cost.h"
#include "schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define MAX_ARGS	14

/* "$S" stands for the schema. */
typedef enum Statement
{
	INSERT_KEY,
	LOCK_KEY,
	DISABLE_KEY,
	ENABLE_KEY,
	REVOKE_KEY,
	DELETE_KEY,
	SET_ORGANIZATION_LEVEL,
	INSERT_GRANT,
	INSERT_GRANTS,
	UPSERT_GRANT,
	DELETE_GRANT,
	UPSERT_PROJECTS,
	UPSERT_ENVIRONMENTS,
	LOCK_PROJECTS,
	LOCK_ENVIRONMENTS,
	DELETE_PROJECTS_GRANTS,
	DELETE_PROJECTS_ENVIRONMENTS,
	DELETE_PROJECTS,
	DELETE_ENVIRONMENT,
	STATEMENTS
} Statement;

static const struct
{
	const char *text;
	int			nargs;
	Oid			types[MAX_ARGS];
}			statements[STATEMENTS] =

{
	[INSERT_KEY] = {
		"INSERT INTO $S.apikey_key (key_id, organization, label, prefix, scheme,"
		" salt, verifier, organization_level, expires_at, created_by,"
		" allowed_networks, metadata)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8::$S.apikey_level, $9, $10,"
		" $11, coalesce($12, '{}'))", 12,
		{UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, BYTEAOID,
		TEXTOID, TIMESTAMPTZOID, TEXTOID, CIDRARRAYOID, JSONBOID}
	},
	[LOCK_KEY] = {
		"SELECT organization, revoked_at IS NOT NULL FROM $S.apikey_key"
		" WHERE key_id = $1 FOR NO KEY UPDATE", 1,
		{UUIDOID}
	},
	[DISABLE_KEY] = {
		"UPDATE $S.apikey_key SET disabled_at = now()"
		" WHERE key_id = $1 AND disabled_at IS NULL", 1,
		{UUIDOID}
	},
	[ENABLE_KEY] = {
		"UPDATE $S.apikey_key SET disabled_at = NULL"
		" WHERE key_id = $1 AND disabled_at IS NOT NULL", 1,
		{UUIDOID}
	},
	[REVOKE_KEY] = {
		"UPDATE $S.apikey_key SET revoked_at = now()"
		" WHERE key_id = $1 AND revoked_at IS NULL", 1,
		{UUIDOID}
	},
	[DELETE_KEY] = {
		"DELETE FROM $S.apikey_key WHERE key_id = $1", 1,
		{UUIDOID}
	},
	[SET_ORGANIZATION_LEVEL] = {
		"UPDATE $S.apikey_key SET organization_level = $2::$S.apikey_level"
		" WHERE key_id = $1"
		" AND organization_level IS DISTINCT FROM $2::$S.apikey_level", 2,
		{UUIDOID, TEXTOID}
	},
	[INSERT_GRANT] = {
		"INSERT INTO $S.apikey_grant"
		" (key_id, organization, project, environment, level)"
		" VALUES ($1, $2, $3, $4, $5::$S.apikey_level)", 5,
		{UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[INSERT_GRANTS] = {
		"INSERT INTO $S.apikey_grant"
		" (key_id, organization, project, environment, level)"
		" SELECT $1, $2, project, environment, level::$S.apikey_level"
		" FROM unnest($3, $4, $5) AS g (project, environment, level)", 5,
		{UUIDOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[UPSERT_GRANT] = {
		"INSERT INTO $S.apikey_grant AS old"
		" (key_id, organization, project, environment, level)"
		" VALUES ($1, $2, $3, $4, $5::$S.apikey_level)"
		" ON CONFLICT (key_id, project, environment)"
		" DO UPDATE SET level = excluded.level"
		" WHERE old.level <> excluded.level", 5,
		{UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[DELETE_GRANT] = {
		"DELETE FROM $S.apikey_grant WHERE key_id = $1"
		" AND project IS NOT DISTINCT FROM $2 AND environment = $3", 3,
		{UUIDOID, TEXTOID, TEXTOID}
	},
	[UPSERT_PROJECTS] = {
		"WITH stored AS (INSERT INTO $S.apikey_project AS old"
		" (project, organization) SELECT * FROM unnest($1, $2)"
		" ON CONFLICT (project) DO UPDATE SET organization = old.organization"
		" WHERE old.organization <> excluded.organization"
		" RETURNING project, organization)"
		" SELECT number FROM unnest($1, $2)"
		" WITH ORDINALITY AS given (project, organization, number)"
		" JOIN stored USING (project)"
		" WHERE stored.organization <> given.organization", 2,
		{TEXTARRAYOID, TEXTARRAYOID}
	},
	[UPSERT_ENVIRONMENTS] = {
		"INSERT INTO $S.apikey_environment (project, organization, environment)"
		" SELECT p.*, e.* FROM unnest($1, $2) AS p, unnest($3) AS e"
		" ON CONFLICT DO NOTHING", 3,
		{TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[LOCK_PROJECTS] = {
		"SELECT FROM $S.apikey_project WHERE project = ANY ($1)"
		" ORDER BY project FOR UPDATE", 1,
		{TEXTARRAYOID}
	},
	[LOCK_ENVIRONMENTS] = {
		"SELECT FROM $S.apikey_environment WHERE project = ANY ($1)"
		" ORDER BY project, environment FOR UPDATE", 1,
		{TEXTARRAYOID}
	},
	[DELETE_PROJECTS_GRANTS] = {
		"DELETE FROM $S.apikey_grant WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[DELETE_PROJECTS_ENVIRONMENTS] = {
		"DELETE FROM $S.apikey_environment WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[DELETE_PROJECTS] = {
		"DELETE FROM $S.apikey_project WHERE project = ANY ($1)", 1,
		{TEXTARRAYOID}
	},
	[DELETE_ENVIRONMENT] = {
		"DELETE FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2", 2,
		{TEXTOID, TEXTOID}
	},
};

static SPIPlanPtr plans[STATEMENTS];
static char plans_schema[NAMEDATALEN];	/* that the plans were made for */

static SPIPlanPtr
get_plan(Statement which)
{
	const char *schema = get_namespace_name(ak_schema_get()->namespace);
	StringInfoData text;

	if (strcmp(schema, plans_schema) != 0)
	{
		for (int i = 0; i < STATEMENTS; i++)
		{
			SPIPlanPtr	plan = plans[i];

			plans[i] = NULL;
			if (plan != NULL)
				SPI_freeplan(plan);
		}
		strlcpy(plans_schema, schema, sizeof(plans_schema));
	}
	if (plans[which] != NULL)
		return plans[which];

	initStringInfo(&text);
	for (const char *p = statements[which].text; *p != '\0'; p++)
	{
		if (p[0] == '$' && p[1] == 'S')
		{
			appendStringInfoString(&text, quote_identifier(schema));
			p++;
		}
		else
			appendStringInfoChar(&text, *p);
	}
	plans[which] = SPI_prepare(text.data, statements[which].nargs,
							   (Oid *) statements[which].types);
	if (plans[which] == NULL || SPI_keepplan(plans[which]) != 0)
		elog(ERROR, "could not prepare a statement: %s",
			 SPI_result_code_string(SPI_result));
	return plans[which];
}

/*
 * Begin to run statements, ending with SPI_finish.
 *
 * Their plans, and those of the foreign keys that they fire, are kept.  A plan
 * that was made while a table had one page would read all of it, and go on to
 * do so while the same statement makes it grow to a million rows: so none may
 * be sequential.  The setting ends with the calling function, as its SET
 * search_path does.
 */
static void
begin(void)
{
	SPI_connect();
	if (enable_seqscan)
		(void) set_config_option("enable_seqscan", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

/* Run one of them; returns how many rows. */
static uint64
execute(Statement which, Datum *values, const char *nulls)
{
	int			result = SPI_execute_plan(get_plan(which), values, nulls,
										  false, 0);

	if (result < 0)
		elog(ERROR, "could not execute a statement: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

/*
 * The same by a snapshot of now, whatever the isolation level; no value is
 * null, and the result is not read.
 */
static uint64
run_latest(Statement which, Datum *values)
{
	uint64		processed;
	int			result;

	begin();
	result = SPI_execute_snapshot(get_plan(which), values, NULL,
								  GetLatestSnapshot(), InvalidSnapshot, false,
								  true, 0);
	if (result < 0)
		elog(ERROR, "could not execute a statement: %s",
			 SPI_result_code_string(result));
	processed = SPI_processed;
	SPI_finish();
	return processed;
}

/* The same as execute() where the result is not read and no value is null. */
static uint64
run(Statement which, Datum *values)
{
	uint64		processed;

	begin();
	processed = execute(which, values, NULL);
	SPI_finish();
	return processed;
}

static Datum
name_datum(const AkName *name)
{
	return PointerGetDatum(cstring_to_text_with_len(name->data, name->len));
}

/* As text[] */
static Datum
array_datum(Datum *texts, bool *nulls, int count)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(texts, nulls, 1, &count, &lower,
											  TEXTOID, -1, false,
											  TYPALIGN_INT));
}

static Datum
names_datum(const AkName *names, int count)
{
	Datum	   *texts = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		texts[i] = name_datum(&names[i]);
	return array_datum(texts, NULL, count);
}

static Datum
bytes_datum(const uint8 *bytes, int len)
{
	return PointerGetDatum(cstring_to_text_with_len((const char *) bytes, len));
}

static Datum
level_datum(AkLevel level)
{
	return CStringGetTextDatum(ak_scope_level_name(level));
}

/* Set argument "i" from what may be null. */
static void
set_nullable(Datum *values, char *nulls, int i, NullableDatum from)
{
	values[i] = from.value;
	nulls[i] = from.isnull ? 'n' : ' ';
}

void
ak_write_key(const AkNewKey *key)
{
	Datum		values[12];
	char		nulls[13] = "            ";

	begin();
	values[0] = UUIDPGetDatum(&key->id);
	values[1] = name_datum(&key->organization);
	values[2] = key->label;
	values[3] = CStringGetTextDatum(key->prefix);
	values[4] = CStringGetTextDatum(ak_store_scheme_name(key->scheme));
	values[5] = bytes_datum(key->salt, AK_SALT_LEN);
	values[6] = bytes_datum(key->verifier, AK_HASH_LEN);
	values[7] = level_datum(key->organization_level);
	if (key->organization_level == AK_LEVEL_NONE)
		nulls[7] = 'n';
	set_nullable(values, nulls, 8, key->expires_at);
	set_nullable(values, nulls, 9, key->created_by);
	set_nullable(values, nulls, 10, key->allowed_networks);
	set_nullable(values, nulls, 11, key->metadata);
	execute(INSERT_KEY, values, nulls);
	SPI_finish();
}

bool
ak_write_lock_key(const pg_uuid_t *id, AkName *organization, bool *revoked)
{
	Datum		values[1] = {UUIDPGetDatum(id)};
	bool		found;

	begin();
	found = execute(LOCK_KEY, values, NULL) > 0;
	if (found)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		HeapTuple	tuple = SPI_tuptable->vals[0];
		bool		isnull;
		AkName		name = ak_store_name(SPI_getbinval(tuple, desc, 1, &isnull));
		char	   *copy = SPI_palloc(name.len + 1);

		memcpy(copy, name.data, name.len);
		*organization = (AkName)
		{
			copy, name.len
		};
		*revoked = DatumGetBool(SPI_getbinval(tuple, desc, 2, &isnull));
	}
	SPI_finish();
	return found;
}

void
ak_write_disable(const pg_uuid_t *id)
{
	Datum		values[] = {UUIDPGetDatum(id)};

	run(DISABLE_KEY, values);
}

void
ak_write_enable(const pg_uuid_t *id)
{
	Datum		values[] = {UUIDPGetDatum(id)};

	run(ENABLE_KEY, values);
}

void
ak_write_revoke(const pg_uuid_t *id)
{
	Datum		values[] = {UUIDPGetDatum(id)};

	run(REVOKE_KEY, values);
}

void
ak_write_delete(const pg_uuid_t *id)
{
	Datum		values[] = {UUIDPGetDatum(id)};

	run(DELETE_KEY, values);
}

void
ak_write_organization_level(const pg_uuid_t *id, AkLevel level)
{
	Datum		values[2] = {UUIDPGetDatum(id), level_datum(level)};

	begin();
	execute(SET_ORGANIZATION_LEVEL, values,
			level == AK_LEVEL_NONE ? " n" : "  ");
	SPI_finish();
}

/* The project of a grant: '*' is a null. */
static NullableDatum
project_datum(const AkName *name)
{
	NullableDatum result = {0};

	result.isnull = ak_name_equal(name, &ak_scope_all);
	if (!result.isnull)
		result.value = name_datum(name);
	return result;
}

/* Run a statement about a key and one grant of it. */
static uint64
run_grant(Statement which, const pg_uuid_t *id, const AkName *organization,
		  const AkGrant *grant)
{
	Datum		values[5] = {UUIDPGetDatum(id), name_datum(organization)};
	char		nulls[6] = "     ";
	uint64		processed;

	begin();
	set_nullable(values, nulls, 2, project_datum(&grant->project));
	values[3] = name_datum(&grant->environment);
	values[4] = level_datum(grant->level);
	processed = execute(which, values, nulls);
	SPI_finish();
	return processed;
}

void
ak_write_grants(const pg_uuid_t *id, const AkName *organization,
				const AkGrant *grants, int count)
{
	Datum		values[5] = {UUIDPGetDatum(id), name_datum(organization)};
	Datum	   *columns[3];
	bool	   *nulls;

	if (count == 1)
		run_grant(INSERT_GRANT, id, organization, grants);
	if (count <= 1)
		return;
	nulls = palloc0(count * sizeof(bool));
	for (int i = 0; i < 3; i++)
		columns[i] = palloc(count * sizeof(Datum));
	for (int i = 0; i < count; i++)
	{
		NullableDatum project = project_datum(&grants[i].project);

		columns[0][i] = project.value;
		nulls[i] = project.isnull;
		columns[1][i] = name_datum(&grants[i].environment);
		columns[2][i] = level_datum(grants[i].level);
	}
	for (int i = 0; i < 3; i++)
		values[2 + i] = array_datum(columns[i], i == 0 ? nulls : NULL, count);
	run(INSERT_GRANTS, values);
}

void
ak_write_grant(const pg_uuid_t *id, const AkName *organization,
			   const AkGrant *grant)
{
	run_grant(UPSERT_GRANT, id, organization, grant);
}

bool
ak_write_ungrant(const pg_uuid_t *id, const AkName *project,
				 const AkName *environment)
{
	Datum		values[3] = {UUIDPGetDatum(id)};
	char		nulls[4] = "   ";
	bool		found;

	begin();
	set_nullable(values, nulls, 1, project_datum(project));
	values[2] = name_datum(environment);
	found = execute(DELETE_GRANT, values, nulls) > 0;
	SPI_finish();
	return found;
}

int
ak_write_projects(const AkName *organizations, const AkName *projects,
				  int count, const AkName *environments, int nenvironments)
{
	AkName	   *all = palloc((nenvironments + 1) * sizeof(AkName));
	Datum		values[3] = {
		names_datum(projects, count), names_datum(organizations, count)
	};
	int			refused = -1;

	begin();
	if (execute(UPSERT_PROJECTS, values, NULL) > 0)
	{
		bool		isnull;

		refused = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
											  SPI_tuptable->tupdesc, 1,
											  &isnull)) - 1;
	}
	SPI_finish();
	if (refused >= 0)
		return refused;

	all[0] = ak_scope_all;
	memcpy(all + 1, environments, nenvironments * sizeof(AkName));
	values[2] = names_datum(all, nenvironments + 1);
	run(UPSERT_ENVIRONMENTS, values);
	return -1;
}

/*
 * The foreign keys would delete the rest by themselves, but not while logical
 * replication is applied, where they do not fire; and where the transaction
 * keeps an older snapshot they would fail at rows that this does not show.
 * So the lock that keeps new environments and grants away is taken first.
 */
uint64
ak_write_remove_projects(const AkName *projects, int count)
{
	Datum		values[] = {names_datum(projects, count)};

	if (run_latest(LOCK_PROJECTS, values) == 0)
		return 0;
	run_latest(LOCK_ENVIRONMENTS, values);
	run_latest(DELETE_PROJECTS_GRANTS, values);
	run_latest(DELETE_PROJECTS_ENVIRONMENTS, values);
	return run_latest(DELETE_PROJECTS, values);
}

bool
ak_write_remove_environment(const AkName *project, const AkName *environment)
{
	Datum		values[] = {name_datum(project), name_datum(environment)};

	return run(DELETE_ENVIRONMENT, values) > 0;
}
