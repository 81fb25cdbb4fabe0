/*
 * projects.c
 *		The registry: which projects and environments an organization has.
 *
 * The functions are SECURITY DEFINER and closed to PUBLIC; their contracts
 * stand beside their names in the SQL script.  They check what they are given
 * before they write, so that the messages name what is wrong; the constraints
 * of the tables hold against everybody.  They are for the application alone: a
 * key could register names that others mean to use, or find out which are taken.
 */
#include "postgres.h"

#include "keys/projects.h"

#include "auth/registry.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/grants.h"
#include "base/redact.h"
#include "keys/actor.h"
#include "table/event.h"
#include "table/sql.h"

int
ak_projects_environments(FunctionCallInfo fcinfo, int argno,
						 AkName **environments)
{
	int			count = ak_arg_names(fcinfo, argno, "environment", environments);

	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a project needs at least one environment")));
	for (int i = 0; i < count; i++)
	{
		const AkName *name = &(*environments)[i];

		if (name->len == 0 || name->len > AK_NAME_MAX ||
			ak_name_equal(name, &ak_name_all))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid name of an environment"),
					 errdetail("A name has 1 to %d bytes and is not \"*\".",
							   AK_NAME_MAX)));
	}
	return count;
}

pg_noreturn static void
refuse_unknown_project(const AkName *project)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("project \"%s\" is not registered",
					ak_redact_name(project))));
}

pg_noreturn static void
refuse_taken_project(const AkName *project)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("project \"%s\" is registered already",
					ak_redact_name(project))));
}

/* A name in an argument, but not "*". */
static AkName
get_registry_name(FunctionCallInfo fcinfo, int argno, const char *what)
{
	AkName		name = ak_arg_required_name(fcinfo, argno, what);

	ak_arg_refuse_all(&name, what);
	return name;
}

/* Begin a function that is for the application alone, about the project in argument 0. */
static AkName
begin_with_project(FunctionCallInfo fcinfo)
{
	ak_actor_refuse_key();
	ak_schema_accept();
	return get_registry_name(fcinfo, 0, "project");
}

/* "field", with its value, is what there is to tell besides, or NULL. */
static void
record_project(const char *action, const AkName *organization,
			   const AkName *project, const char *field, const AkName *value)
{
	AkDetail	detail;
	AkEvent		event = {
		.action = action,
		.organization = organization,
		.detail = &detail
	};

	ak_detail_begin(&detail);
	ak_detail_add_name(&detail, "project", project);
	if (field != NULL)
		ak_detail_add_name(&detail, field, value);
	ak_actor_record(&event);
}

/* ---------------------------------------------------------------- adding */

/* Make sure that these projects are there.  Raises 23505 if another organization has one. */
static void
write_projects(const AkName *organizations, const AkName *projects, int count)
{
	static AkSql upsert_projects = {
		AK_TABLE_PROJECT, 0,
		.query = "WITH stored AS (INSERT INTO $S.apikey_project AS old"
		" (project, organization) SELECT * FROM unnest($1, $2)"
		" ON CONFLICT (project) DO UPDATE SET organization = old.organization"
		" WHERE old.organization <> excluded.organization"
		" RETURNING project, organization)"
		" SELECT project FROM unnest($1, $2) AS given (project, organization)"
		" JOIN stored USING (project)"
		" WHERE stored.organization <> given.organization"
	};
	AkName		taken;

	ak_sql_begin();
	if (ak_sql_execute(&upsert_projects, ak_value_names(projects, count),
					   ak_value_names(organizations, count)) > 0)
	{
		taken = ak_sql_name(0, 1);
		refuse_taken_project(&taken);
	}
	ak_sql_end();
}

/*
 * Make sure of these environments, and of '*'.  A project that is new or has new
 * environments is an event.
 */
static void
write_environments(const AkName *organizations, const AkName *projects,
				   int count, const AkName *environments, int nenvironments)
{
	static AkSql insert_environments = {
		AK_TABLE_ENVIRONMENT, 0,
		.query = "WITH added AS (INSERT INTO $S.apikey_environment"
		" (project, organization, environment)"
		" SELECT p.*, e.* FROM unnest($1, $2) AS p, unnest('*'::text || $3) AS e"
		" ON CONFLICT DO NOTHING RETURNING project, organization, environment)"
		" SELECT project, organization, coalesce(jsonb_agg(environment"
		" ORDER BY environment COLLATE \"C\") FILTER (WHERE environment <> '*'), '[]')"
		" FROM added GROUP BY project, organization ORDER BY project COLLATE \"C\""
	};
	int			added;

	ak_sql_begin();
	added = ak_sql_execute(&insert_environments,
						   ak_value_names(projects, count),
						   ak_value_names(organizations, count),
						   ak_value_names(environments, nenvironments));
	for (int i = 0; i < added; i++)
	{
		AkName		project = ak_sql_name(i, 1);
		AkName		organization = ak_sql_name(i, 2);
		AkDetail	detail;
		AkEvent		event = {
			.action = "add_project",
			.organization = &organization,
			.detail = &detail,
			.is_new = true
		};

		ak_detail_begin(&detail);
		ak_detail_add_name(&detail, "project", &project);
		ak_detail_add_jsonb(&detail, "environments", ak_sql_jsonb(i, 3));
		ak_actor_record(&event);
	}
	ak_sql_end();
}

void
ak_projects_add(const AkName *organizations, const AkName *projects, int count,
				const AkName *environments, int nenvironments)
{
	for (int i = 0; i < count; i++)
	{
		ak_arg_refuse_all(&organizations[i], "organization");
		ak_arg_refuse_all(&projects[i], "project");
	}
	write_projects(organizations, projects, count);
	write_environments(organizations, projects, count, environments,
					   nenvironments);
}

AK_FUNCTION_INFO_V1(apikey_add_project);
Datum
apikey_add_project(PG_FUNCTION_ARGS)
{
	AkName		organization;
	AkName		project;
	AkName	   *environments;
	int			count;

	ak_actor_refuse_key();
	ak_schema_accept();
	organization = ak_arg_required_name(fcinfo, 0, "organization");
	project = ak_arg_required_name(fcinfo, 1, "project");
	ak_arg_refuse_null(fcinfo, 2, "environments");
	count = ak_projects_environments(fcinfo, 2, &environments);
	ak_projects_add(&organization, &project, 1, environments, count);
	PG_RETURN_VOID();
}

/*
 * Lock those that exist now, or of those the ones of these organizations, unless that
 * is NULL; returns how many, sorted by name.
 */
static int
lock_projects(const AkName *organizations, const AkName *projects, int count,
			  AkEnvironmentRow **locked)
{
	static AkSql lock = {
		AK_TABLE_PROJECT, AK_SQL_LATEST,
		.query = "SELECT project, organization FROM $S.apikey_project"
		" WHERE project = ANY ($1) AND ($2 IS NULL"
		" OR (project, organization) IN (SELECT * FROM unnest($1, $2)))"
		" ORDER BY project FOR UPDATE"
	};
	int			found;

	ak_sql_begin();
	found = ak_sql_execute(&lock, ak_value_names(projects, count),
						   organizations == NULL ? ak_value_null(TEXTARRAYOID) :
						   ak_value_names(organizations, count));
	*locked = ak_sql_alloc(Max(found, 1) * sizeof(AkEnvironmentRow));
	for (int i = 0; i < found; i++)
	{
		(*locked)[i].project = ak_sql_name(i, 1);
		(*locked)[i].organization = ak_sql_name(i, 2);
	}
	ak_sql_end();
	return found;
}

/* A locked project cannot be removed meanwhile, nor get an environment. */
AK_FUNCTION_INFO_V1(apikey_add_environment);
Datum
apikey_add_environment(PG_FUNCTION_ARGS)
{
	AkName		project = begin_with_project(fcinfo);
	AkName		environment = get_registry_name(fcinfo, 1, "environment");
	AkEnvironmentRow *locked;
	AkEnvironmentRow row;
	Snapshot	snapshot;
	bool		found = false;

	if (lock_projects(NULL, &project, 1, &locked) == 0)
		refuse_unknown_project(&project);
	AK_STORE_READ(snapshot)
		found = ak_store_environment(snapshot, &project, &environment, &row);
	if (!found)
		ak_projects_add(&locked->organization, &project, 1, &environment, 1);
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- removing */

/*
 * Remove locked projects.  The foreign keys would delete the rest by themselves, but not
 * while logical replication is applied, where they do not fire; and where the
 * transaction keeps an older snapshot they would fail at rows that this does not show.
 * So the lock that keeps new environments and grants away is taken first.
 */
static void
remove_locked(const AkEnvironmentRow *locked, int count)
{
	static AkSql statements[] = {
		{
			AK_TABLE_ENVIRONMENT, AK_SQL_LATEST,
			.query = "SELECT FROM $S.apikey_environment WHERE project = ANY ($1)"
			" ORDER BY project, environment FOR UPDATE"
		},
		{
			AK_TABLE_GRANT, AK_SQL_LATEST | AK_SQL_MANY,
			.query = "DELETE FROM $S.apikey_grant WHERE project = ANY ($1)"
		},
		{
			AK_TABLE_ENVIRONMENT, AK_SQL_LATEST | AK_SQL_MANY,
			.query = "DELETE FROM $S.apikey_environment WHERE project = ANY ($1)"
		},
		{
			AK_TABLE_PROJECT, AK_SQL_LATEST | AK_SQL_MANY,
			.query = "DELETE FROM $S.apikey_project WHERE project = ANY ($1)"
		}
	};
	AkName	   *projects = palloc(Max(count, 1) * sizeof(AkName));

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		projects[i] = locked[i].project;
	for (int i = 0; i < (int) lengthof(statements); i++)
		ak_sql_run(&statements[i], ak_value_names(projects, count));
	for (int i = 0; i < count; i++)
		record_project("remove_project", &locked[i].organization,
					   &locked[i].project, NULL, NULL);
}

void
ak_projects_remove(const AkName *organizations, const AkName *projects,
				   int count)
{
	AkEnvironmentRow *locked;
	int			nlocked = lock_projects(organizations, projects, count, &locked);

	remove_locked(locked, nlocked);
}

AK_FUNCTION_INFO_V1(apikey_remove_project);
Datum
apikey_remove_project(PG_FUNCTION_ARGS)
{
	AkName		project = begin_with_project(fcinfo);
	AkEnvironmentRow *locked;

	if (lock_projects(NULL, &project, 1, &locked) == 0)
		refuse_unknown_project(&project);
	remove_locked(locked, 1);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_remove_environment);
Datum
apikey_remove_environment(PG_FUNCTION_ARGS)
{
	static AkSql lock_environment = {
		AK_TABLE_ENVIRONMENT, AK_SQL_LATEST,
		.query = "SELECT organization FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2 FOR UPDATE"
	};
	static AkSql delete_grants = {
		AK_TABLE_GRANT, AK_SQL_LATEST | AK_SQL_MANY,
		.query = "DELETE FROM $S.apikey_grant WHERE project = $1 AND environment = $2"
	};
	static AkSql delete_environment = {
		AK_TABLE_ENVIRONMENT, AK_SQL_LATEST | AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2"
	};
	AkName		project = begin_with_project(fcinfo);
	AkName		environment = get_registry_name(fcinfo, 1, "environment");
	AkValue		pair[] = {ak_value_name(&project), ak_value_name(&environment)};
	AkName		organization;

	ak_sql_begin();
	if (ak_sql_execute_values(&lock_environment, pair, 2) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("environment \"%s\" of project \"%s\" is not registered",
						ak_redact_name(&environment),
						ak_redact_name(&project))));
	organization = ak_sql_name(0, 1);
	ak_sql_end();
	ak_sql_run_values(&delete_grants, pair, 2);
	ak_sql_run_values(&delete_environment, pair, 2);
	record_project("remove_environment", &organization, &project,
				   "environment", &environment);
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- renaming */

/*
 * The rows are updated, so that other columns keep their values.  The foreign keys fire
 * when all have moved; they would carry nothing along where removing could not rely on
 * them.  To update an environment waits for the grants on it that are being made, and
 * keeps new ones away: so grants come last.
 */
static void
move_rows(const AkName *project, const AkName *new_name)
{
#define MOVE(symbol, name, flag) { \
	AK_TABLE_##symbol, AK_SQL_PART | flag, \
	.query = "UPDATE $S." name " SET project = $2 WHERE project = $1" \
}
	static AkSql moves[] = {
		MOVE(PROJECT, "apikey_project", AK_SQL_ONE),
		MOVE(ENVIRONMENT, "apikey_environment", AK_SQL_MANY),
		MOVE(GRANT, "apikey_grant", AK_SQL_MANY)
	};
#undef MOVE
	AkInsertion *together = ak_insert_begin(AK_INSERT_RENAME);

	for (int i = 0; i < (int) lengthof(moves); i++)
		ak_sql_run(&moves[i], ak_value_name(project), ak_value_name(new_name));
	ak_insert_end(together);
}

/* Is the error that a project has the name already? */
static bool
is_taken_error(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		error->constraint_name != NULL &&
		strcmp(error->constraint_name, "apikey_project_pkey") == 0;
}

/*
 * Rename a locked project.  Another one that has got the name meanwhile, in a
 * transaction that had to be waited for, shows only by the error.
 */
static void
rename_locked(const AkName *project, const AkName *new_name)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		move_rows(project, new_name);
	}
	PG_CATCH();
	{
		if (!is_taken_error(context))
			PG_RE_THROW();
		FlushErrorState();
		refuse_taken_project(new_name);
	}
	PG_END_TRY();
}

AK_FUNCTION_INFO_V1(apikey_rename_project);
Datum
apikey_rename_project(PG_FUNCTION_ARGS)
{
	AkName		names[2];		/* old and new */
	AkName		organization = {0};
	AkEnvironmentRow *locked;
	int			count;
	bool		taken = false;

	names[0] = begin_with_project(fcinfo);
	names[1] = get_registry_name(fcinfo, 1, "new_name");
	count = lock_projects(NULL, names, 2, &locked);
	for (int i = 0; i < count; i++)
		if (ak_name_equal(&locked[i].project, &names[0]))
			organization = locked[i].organization;
		else
			taken = true;
	if (organization.len == 0)
		refuse_unknown_project(&names[0]);
	if (taken)
		refuse_taken_project(&names[1]);
	if (ak_name_equal(&names[0], &names[1]))
		PG_RETURN_VOID();
	rename_locked(&names[0], &names[1]);
	record_project("rename_project", &organization, &names[0], "new_name",
				   &names[1]);
	PG_RETURN_VOID();
}

/* -------------------------------------------------------------- checking */

/*
 * Most often the registry cache has the pair.  Else all rows are read that it could be
 * among.
 */
void
ak_projects_check(const AkName *organization, const AkGrant *grant)
{
	const AkName *project = &grant->project;
	const AkName *environment = &grant->environment;
	bool		all_projects = ak_name_equal(project, &ak_name_all);
	bool		all_environments = ak_name_equal(environment, &ak_name_all);
	bool		has_project = all_projects;
	bool		has_environment = false;
	AkEnvironmentRow *rows = NULL;
	Snapshot	snapshot;
	int			count = 0;

	if ((all_projects && all_environments) ||
		(!all_projects && !all_environments &&
		 ak_registry_contains(organization,
							  ak_inval_hash(organization->data, organization->len),
							  ak_grants_hash(project, environment), project,
							  environment)))
		return;
	AK_STORE_READ(snapshot)
		count = all_projects ?
		ak_store_organization(snapshot, organization, AK_STORE_NO_LIMIT,
							  &rows) :
		ak_store_project(snapshot, project, &rows);
	for (int i = 0; i < count; i++)
		if (ak_name_equal(&rows[i].organization, organization))
		{
			has_project = true;
			has_environment |= all_environments ||
				ak_name_equal(&rows[i].environment, environment);
		}
	pfree(rows);
	if (!has_project)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("project \"%s\" is not registered for organization \"%s\"",
						ak_redact_name(project),
						ak_redact_name(organization)),
				 errhint("Register it with apikey_add_project.")));
	if (!has_environment)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("environment \"%s\" of project \"%s\" is not registered for organization \"%s\"",
						ak_redact_name(environment), ak_redact_name(project),
						ak_redact_name(organization)),
				 errhint("Register it with apikey_add_environment.")));
}
