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
#include "catalog/pg_type.h"
#include "keys/actor.h"
#include "table/event.h"
#include "table/schema.h"
#include "table/store.h"
#include "table/write.h"
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
record(const char *action, const AkName *organization, AkDetail *detail,
	   bool is_new)
{
	AkEvent		event = {
		.action = action,.organization = organization,.detail = detail,
		.is_new = is_new
	};
	pg_uuid_t	acting;

	if (ak_actor_key_id(&acting))
		event.acting_key = &acting;
	ak_event_append(NULL, &event);
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
		int			n = 0;

		for (next = i; next < count &&
			 ak_name_equal(&rows[next].project, &rows[i].project); next++)
			if (!ak_name_equal(&rows[next].environment, &ak_name_all))
				environments[n++] = rows[next].environment;
		ak_detail_begin(&detail);
		ak_detail_add_name(&detail, "project", &rows[i].project);
		ak_detail_add_names(&detail, "environments", environments, n);
		record("add_project", &rows[i].organization, &detail, true);
	}
}

pg_noreturn static void
refuse_taken(const AkName *project)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("project \"%s\" is registered already",
					ak_redact_name(project))));
}

void
ak_projects_add(const AkName *organizations, const AkName *projects, int count,
				const AkName *environments, int nenvironments)
{
	AkEnvironmentRow *added;
	int			nadded;
	int			refused;

	for (int i = 0; i < count; i++)
	{
		ak_arg_refuse_all(&organizations[i], "organization");
		ak_arg_refuse_all(&projects[i], "project");
	}
	refused = ak_write_projects(organizations, projects, count, environments,
								nenvironments, &added, &nadded);
	if (refused >= 0)
		refuse_taken(&projects[refused]);
	record_added(added, nadded);
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
	ak_write_remove_projects(projects, count);
	for (int i = 0; i < count; i++)
	{
		AkDetail	detail;

		ak_detail_begin(&detail);
		ak_detail_add_name(&detail, "project", &locked[i].project);
		record("remove_project", &locked[i].organization, &detail, false);
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
	int			nlocked = ak_write_lock_projects(projects, count, &locked);
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
	if (ak_write_lock_projects(&project, 1, &locked) == 0)
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
	if (ak_write_lock_projects(&project, 1, &locked) == 0)
		refuse_unknown(&project);
	if (!find_organization(&project, &environment, &organization))
		ak_projects_add(&locked->organization, &project, 1, &environment, 1);
	PG_RETURN_VOID();
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
		!ak_write_remove_environment(&project, &environment))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("environment \"%s\" of project \"%s\" is not registered",
						ak_redact_name(&environment),
						ak_redact_name(&project))));
	ak_detail_begin(&detail);
	ak_detail_add_name(&detail, "project", &project);
	ak_detail_add_name(&detail, "environment", &environment);
	record("remove_environment", &organization, &detail, false);
	PG_RETURN_VOID();
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
		ak_write_rename_project(project, new_name);
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
	count = ak_write_lock_projects(names, 2, &locked);
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
	record("rename_project", &organization, &detail, false);
	PG_RETURN_VOID();
}
