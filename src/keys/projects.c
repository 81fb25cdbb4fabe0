/*
 * projects.c
 *		The registry: which projects and environments an organization has.
 *
 * The functions are SECURITY DEFINER and closed to PUBLIC; their contracts
 * stand beside their names in the SQL script.  They check what they are given
 * before they write, so that the messages name what is wrong; the constraints
 * of the tables hold against everybody.  They are for the application alone: who
 * could register names, or hear which are taken, would do so in the names of others.
 */
#include "postgres.h"

#include "keys/projects.h"

#include "auth/registry.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/grants.h"
#include "base/redact.h"
#include "catalog/pg_type_d.h"
#include "keys/actor.h"
#include "table/event.h"
#include "table/sql.h"
#include "utils/builtins.h"

static AkName
get_environment(Datum element, bool isnull)
{
	AkName		name;

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("environment must not be null")));
	name = ak_name_of_text(element);
	if (name.len == 0 || name.len > AK_NAME_MAX ||
		ak_name_equal(&name, &ak_name_all))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of an environment"),
				 errdetail("A name has 1 to %d bytes and is not \"*\".",
						   AK_NAME_MAX)));
	return name;
}

int
ak_projects_environments(ArrayType *array, AkName **environments)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &count);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a project needs at least one environment")));
	*environments = palloc(count * sizeof(AkName));
	for (int i = 0; i < count; i++)
		(*environments)[i] = get_environment(elements[i], nulls[i]);
	return count;
}

static void
record_project(const char *action, const AkName *organization,
			   AkDetail *detail)
{
	AkEvent		event = {
		.action = action,.organization = organization,.detail = detail
	};

	ak_actor_record(&event);
}

static int
compare_rows(const void *a, const void *b)
{
	const AkEnvironmentRow *x = a;
	const AkEnvironmentRow *y = b;
	int			order = ak_name_compare(&x->project, &y->project);

	return order != 0 ? order :
		ak_name_compare(&x->environment, &y->environment);
}

/* One event for each project that is new or has new environments. */
static void
record_added(AkEnvironmentRow *rows, int count)
{
	AkName	   *environments = palloc(Max(count, 1) * sizeof(AkName));
	int			next;

	qsort(rows, count, sizeof(AkEnvironmentRow), compare_rows);
	for (int i = 0; i < count; i = next)
	{
		AkDetail	detail;
		AkEvent		event = {
			.action = "add_project",.detail = &detail,.is_new = true
		};
		int			n = 0;

		for (next = i; next < count &&
			 ak_name_equal(&rows[next].project, &rows[i].project); next++)
			if (!ak_name_equal(&rows[next].environment, &ak_name_all))
				environments[n++] = rows[next].environment;
		ak_detail_begin(&detail);
		ak_detail_add_name(&detail, "project", &rows[i].project);
		ak_detail_add_names(&detail, "environments", environments, n);
		event.organization = &rows[i].organization;
		ak_actor_record(&event);
	}
}

/* What a statement returned: project, organization, and perhaps environment. */
static AkEnvironmentRow *
get_rows(int count, bool has_environment)
{
	AkEnvironmentRow *rows = ak_sql_alloc(Max(count, 1) *
										  sizeof(AkEnvironmentRow));

	for (int i = 0; i < count; i++)
	{
		rows[i].project = ak_sql_name(i, 1);
		rows[i].organization = ak_sql_name(i, 2);
		if (has_environment)
			rows[i].environment = ak_sql_name(i, 3);
	}
	return rows;
}

pg_noreturn static void
refuse_taken(const AkName *project)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("project \"%s\" is registered already",
					ak_redact_name(project))));
}

/*
 * Make sure that these projects are there.  Returns the number of one that another
 * organization has, or -1.
 */
static int
write_projects(const AkName *organizations, const AkName *projects, int count)
{
	static AkSql upsert_projects = {
		AK_TABLE_PROJECT, 0,
		.text = "WITH stored AS (INSERT INTO $S.apikey_project AS old"
		" (project, organization) SELECT * FROM unnest($1, $2)"
		" ON CONFLICT (project) DO UPDATE SET organization = old.organization"
		" WHERE old.organization <> excluded.organization"
		" RETURNING project, organization)"
		" SELECT number FROM unnest($1, $2)"
		" WITH ORDINALITY AS given (project, organization, number)"
		" JOIN stored USING (project)"
		" WHERE stored.organization <> given.organization"
	};
	int			refused = -1;

	ak_sql_begin();
	if (ak_sql_execute(&upsert_projects, ak_value_names(projects, count),
					   ak_value_names(organizations, count)) > 0)
		refused = ak_sql_int64(0, 1) - 1;
	ak_sql_end();
	return refused;
}

/* Make sure of these environments, and of '*'; returns how many were not there. */
static int
write_environments(const AkName *organizations, const AkName *projects,
				   int count, const AkName *environments, int nenvironments,
				   AkEnvironmentRow **added)
{
	static AkSql insert_environments = {
		AK_TABLE_ENVIRONMENT, 0,
		.text = "INSERT INTO $S.apikey_environment (project, organization, environment)"
		" SELECT p.*, e.* FROM unnest($1, $2) AS p, unnest('*'::text || $3) AS e"
		" ON CONFLICT DO NOTHING RETURNING project, organization, environment"
	};
	int			n;

	ak_sql_begin();
	n = ak_sql_execute(&insert_environments, ak_value_names(projects, count),
					   ak_value_names(organizations, count),
					   ak_value_names(environments, nenvironments));
	*added = get_rows(n, true);
	ak_sql_end();
	return n;
}

void
ak_projects_add(const AkName *organizations, const AkName *projects, int count,
				const AkName *environments, int nenvironments)
{
	AkEnvironmentRow *added;
	int			refused;

	for (int i = 0; i < count; i++)
	{
		ak_arg_refuse_all(&organizations[i], "organization");
		ak_arg_refuse_all(&projects[i], "project");
	}
	refused = write_projects(organizations, projects, count);
	if (refused >= 0)
		refuse_taken(&projects[refused]);
	record_added(added, write_environments(organizations, projects, count,
										   environments, nenvironments,
										   &added));
}

/* -------------------------------------------------------------- removing */

/* Lock those that exist, of now, sorted by name; returns how many. */
static int
lock_projects(const AkName *projects, int count, AkEnvironmentRow **locked)
{
	static AkSql lock = {
		AK_TABLE_PROJECT, AK_SQL_LATEST,
		.text = "SELECT project, organization FROM $S.apikey_project"
		" WHERE project = ANY ($1)"
		" ORDER BY project FOR UPDATE"
	};
	int			found;

	ak_sql_begin();
	found = ak_sql_execute(&lock, ak_value_names(projects, count));
	*locked = get_rows(found, false);
	ak_sql_end();
	return found;
}

/*
 * The foreign keys would delete the rest by themselves, but not while logical
 * replication is applied, where they do not fire; and where the transaction
 * keeps an older snapshot they would fail at rows that this does not show.
 * So the lock that keeps new environments and grants away is taken first.
 */
static void
delete_projects(const AkName *projects, int count)
{
	static AkSql lock_environments = {
		AK_TABLE_ENVIRONMENT, AK_SQL_LATEST,
		.text = "SELECT FROM $S.apikey_environment WHERE project = ANY ($1)"
		" ORDER BY project, environment FOR UPDATE"
	};
	static AkSql delete_grants = {
		AK_TABLE_GRANT, AK_SQL_LATEST | AK_SQL_MANY,
		.text = "DELETE FROM $S.apikey_grant WHERE project = ANY ($1)"
	};
	static AkSql delete_environments = {
		AK_TABLE_ENVIRONMENT, AK_SQL_LATEST | AK_SQL_MANY,
		.text = "DELETE FROM $S.apikey_environment WHERE project = ANY ($1)"
	};
	static AkSql delete = {
		AK_TABLE_PROJECT, AK_SQL_LATEST | AK_SQL_MANY,
		.text = "DELETE FROM $S.apikey_project WHERE project = ANY ($1)"
	};
	AkValue		names = ak_value_names(projects, count);

	ak_sql_run(&lock_environments, names);
	ak_sql_run(&delete_grants, names);
	ak_sql_run(&delete_environments, names);
	ak_sql_run(&delete, names);
}

/* Remove locked projects. */
static void
remove_locked(const AkEnvironmentRow *locked, int count)
{
	AkName	   *projects = palloc(Max(count, 1) * sizeof(AkName));

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		projects[i] = locked[i].project;
	delete_projects(projects, count);
	for (int i = 0; i < count; i++)
	{
		AkDetail	detail;

		ak_detail_begin(&detail);
		ak_detail_add_name(&detail, "project", &locked[i].project);
		record_project("remove_project", &locked[i].organization, &detail);
	}
}

static int
compare_names(const void *a, const void *b)
{
	return ak_name_compare(a, b);
}

void
ak_projects_remove(const AkName *organizations, const AkName *projects,
				   int count)
{
	AkEnvironmentRow *wanted = palloc(count * sizeof(AkEnvironmentRow));
	AkEnvironmentRow *locked;
	int			nlocked = lock_projects(projects, count, &locked);
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		wanted[i].project = projects[i];
		wanted[i].organization = organizations[i];
	}
	qsort(wanted, count, sizeof(AkEnvironmentRow), compare_names);
	for (int i = 0; i < nlocked; i++)
	{
		const AkEnvironmentRow *found = bsearch(&locked[i].project, wanted,
												count,
												sizeof(AkEnvironmentRow),
												compare_names);

		if (found != NULL &&
			ak_name_equal(&found->organization, &locked[i].organization))
			locked[n++] = locked[i];
	}
	remove_locked(locked, n);
}

static bool
is_registered(const AkName *organization, const AkName *project,
			  const AkName *environment)
{
	return ak_registry_contains(organization,
								ak_grants_hash(project, environment), project,
								environment);
}

/* Is there a row of the organization's, with this environment unless NULL? */
static bool
any_row(const AkEnvironmentRow *rows, int count, const AkName *organization,
		const AkName *environment)
{
	for (int i = 0; i < count; i++)
		if (ak_name_equal(&rows[i].organization, organization) &&
			(environment == NULL ||
			 ak_name_equal(&rows[i].environment, environment)))
			return true;
	return false;
}

void
ak_projects_check(const AkName *organization, const AkGrant *grant)
{
	bool		all_projects = ak_name_equal(&grant->project, &ak_name_all);
	bool		all_environments = ak_name_equal(&grant->environment,
												 &ak_name_all);
	AkEnvironmentRow *rows = NULL;
	Snapshot	snapshot;
	bool		has_project;
	bool		has_environment;
	int			count = 0;

	if (all_projects && all_environments)
		return;
	if (!all_projects && !all_environments &&
		is_registered(organization, &grant->project, &grant->environment))
		return;

	AK_STORE_READ(snapshot)
		count = all_projects ?
		ak_store_organization(snapshot, organization, AK_STORE_NO_LIMIT,
							  &rows) :
		ak_store_project(snapshot, &grant->project, &rows);
	has_project = all_projects || any_row(rows, count, organization, NULL);
	has_environment = has_project &&
		(all_environments ||
		 any_row(rows, count, organization, &grant->environment));
	pfree(rows);
	if (!has_project)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("project \"%s\" is not registered for organization \"%s\"",
						ak_redact_name(&grant->project),
						ak_redact_name(organization)),
				 errhint("Register it with apikey_add_project.")));
	if (!has_environment)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("environment \"%s\" of project \"%s\" is not registered for organization \"%s\"",
						ak_redact_name(&grant->environment),
						ak_redact_name(&grant->project),
						ak_redact_name(organization)),
				 errhint("Register it with apikey_add_project.")));
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
	count = ak_projects_environments(PG_GETARG_ARRAYTYPE_P(2), &environments);
	ak_projects_add(&organization, &project, 1, environments, count);
	PG_RETURN_VOID();
}

pg_noreturn static void
refuse_unknown(const AkName *project)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("project \"%s\" is not registered",
					ak_redact_name(project))));
}

/* A name in an argument, which '*' is not. */
static AkName
get_name(FunctionCallInfo fcinfo, int argno, const char *what)
{
	AkName		name = ak_arg_required_name(fcinfo, argno, what);

	ak_arg_refuse_all(&name, what);
	return name;
}

AK_FUNCTION_INFO_V1(apikey_remove_project);
Datum
apikey_remove_project(PG_FUNCTION_ARGS)
{
	AkName		project;
	AkEnvironmentRow *locked;

	ak_actor_refuse_key();
	ak_schema_accept();
	project = get_name(fcinfo, 0, "project");
	if (lock_projects(&project, 1, &locked) == 0)
		refuse_unknown(&project);
	remove_locked(locked, 1);
	PG_RETURN_VOID();
}

/* The organization that has this pair; false if none has. */
static bool
find_organization(const AkName *project, const AkName *environment,
				  AkName *organization)
{
	Snapshot	snapshot;
	AkEnvironmentRow row;
	bool		found = false;

	AK_STORE_READ(snapshot)
		found = ak_store_environment(snapshot, project, environment, &row);
	if (found)
		*organization = row.organization;
	return found;
}

/* Nobody removes a locked project meanwhile, or gives it an environment. */
AK_FUNCTION_INFO_V1(apikey_add_environment);
Datum
apikey_add_environment(PG_FUNCTION_ARGS)
{
	AkName		project;
	AkName		environment;
	AkName		organization;
	AkEnvironmentRow *locked;

	ak_actor_refuse_key();
	ak_schema_accept();
	project = get_name(fcinfo, 0, "project");
	environment = get_name(fcinfo, 1, "environment");
	if (lock_projects(&project, 1, &locked) == 0)
		refuse_unknown(&project);
	if (!find_organization(&project, &environment, &organization))
		ak_projects_add(&locked->organization, &project, 1, &environment, 1);
	PG_RETURN_VOID();
}

/* False if there is none, by now. */
static bool
delete_environment(const AkName *project, const AkName *environment)
{
	static AkSql lock_environment = {
		AK_TABLE_ENVIRONMENT, AK_SQL_LATEST,
		.text = "SELECT FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2 FOR UPDATE"
	};
	static AkSql delete_grants = {
		AK_TABLE_GRANT, AK_SQL_LATEST | AK_SQL_MANY,
		.text = "DELETE FROM $S.apikey_grant WHERE project = $1 AND environment = $2"
	};
	static AkSql delete = {
		AK_TABLE_ENVIRONMENT, AK_SQL_LATEST | AK_SQL_ONE,
		.text = "DELETE FROM $S.apikey_environment"
		" WHERE project = $1 AND environment = $2"
	};
	AkValue		names[] = {ak_value_name(project), ak_value_name(environment)};

	if (ak_sql_run(&lock_environment, names[0], names[1]) == 0)
		return false;
	ak_sql_run(&delete_grants, names[0], names[1]);
	ak_sql_run(&delete, names[0], names[1]);
	return true;
}

AK_FUNCTION_INFO_V1(apikey_remove_environment);
Datum
apikey_remove_environment(PG_FUNCTION_ARGS)
{
	AkName		organization;
	AkName		project;
	AkName		environment;
	AkDetail	detail;

	ak_actor_refuse_key();
	ak_schema_accept();
	project = get_name(fcinfo, 0, "project");
	environment = get_name(fcinfo, 1, "environment");
	if (!find_organization(&project, &environment, &organization) ||
		!delete_environment(&project, &environment))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("environment \"%s\" of project \"%s\" is not registered",
						ak_redact_name(&environment),
						ak_redact_name(&project))));
	ak_detail_begin(&detail);
	ak_detail_add_name(&detail, "project", &project);
	ak_detail_add_name(&detail, "environment", &environment);
	record_project("remove_environment", &organization, &detail);
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
#define MOVE(table) \
	"UPDATE $S." table " SET project = $2 WHERE project = $1"
	static AkSql move_project = {
		AK_TABLE_PROJECT, AK_SQL_PART | AK_SQL_ONE,
		.text = MOVE("apikey_project")
	};
	static AkSql move_environments = {
		AK_TABLE_ENVIRONMENT, AK_SQL_PART | AK_SQL_MANY,
		.text = MOVE("apikey_environment")
	};
	static AkSql move_grants = {
		AK_TABLE_GRANT, AK_SQL_PART | AK_SQL_MANY,
		.text = MOVE("apikey_grant")
	};
#undef MOVE
	AkValue		from = ak_value_name(project);
	AkValue		to = ak_value_name(new_name);
	AkInsertion *together = ak_insert_begin(AK_INSERT_RENAME);

	ak_sql_run(&move_project, from, to);
	ak_sql_run(&move_environments, from, to);
	ak_sql_run(&move_grants, from, to);
	ak_insert_end(together);
}

/* Is the error that a project has the name already? */
static bool
is_taken(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		error->constraint_name != NULL &&
		strcmp(error->constraint_name, "apikey_project_pkey") == 0;
}

/*
 * Rename a locked project.  Another one that got the name meanwhile, and whose
 * transaction had to be waited for, shows only by the error.
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
		if (!is_taken(context))
			PG_RE_THROW();
		FlushErrorState();
		refuse_taken(new_name);
	}
	PG_END_TRY();
}

AK_FUNCTION_INFO_V1(apikey_rename_project);
Datum
apikey_rename_project(PG_FUNCTION_ARGS)
{
	AkName		names[2];		/* old and new */
	AkName		organization = {0};
	AkDetail	detail;
	AkEnvironmentRow *locked;
	int			count;
	bool		taken = false;

	ak_actor_refuse_key();
	ak_schema_accept();
	names[0] = get_name(fcinfo, 0, "project");
	names[1] = get_name(fcinfo, 1, "new_name");
	count = lock_projects(names, 2, &locked);
	for (int i = 0; i < count; i++)
		if (ak_name_equal(&locked[i].project, &names[0]))
			organization = locked[i].organization;
		else
			taken = true;
	if (organization.len == 0)
		refuse_unknown(&names[0]);
	if (taken)
		refuse_taken(&names[1]);
	if (ak_name_equal(&names[0], &names[1]))
		PG_RETURN_VOID();
	rename_locked(&names[0], &names[1]);
	ak_detail_begin(&detail);
	ak_detail_add_name(&detail, "project", &names[0]);
	ak_detail_add_name(&detail, "new_name", &names[1]);
	record_project("rename_project", &organization, &detail);
	PG_RETURN_VOID();
}
