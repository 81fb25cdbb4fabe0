/*
 * projects.c
 *		The registry: which projects and environments an organization has.
 *
 * The functions are SECURITY DEFINER and closed to PUBLIC; their contracts
 * stand beside their names in the SQL script.  They check what they are given
 * before they write, so that the messages name what is wrong; the constraints
 * of the tables hold against everybody.
 */
#include "postgres.h"

#include "projects.h"

#include "args.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "schema.h"
#include "store.h"
#include "utils/builtins.h"
#include "write.h"

/* '*' stands for all. */
static void
refuse_all(const AkName *name, const char *what)
{
	if (ak_name_equal(name, &ak_scope_all))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be \"*\"", what)));
}

static AkName
get_environment(Datum element, bool isnull)
{
	AkName		name;

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("environment must not be null")));
	name = ak_store_name(element);
	if (name.len == 0 || name.len > AK_NAME_MAX ||
		ak_name_equal(&name, &ak_scope_all))
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

void
ak_projects_add(const AkName *organizations, const AkName *projects, int count,
				const AkName *environments, int nenvironments)
{
	int			refused;

	for (int i = 0; i < count; i++)
		refuse_all(&projects[i], "project");
	refused = ak_write_projects(organizations, projects, count, environments,
								nenvironments);
	if (refused >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("project \"%.*s\" is registered already",
						projects[refused].len, projects[refused].data)));
}

AK_FUNCTION_INFO_V1(apikey_add_project);
Datum
apikey_add_project(PG_FUNCTION_ARGS)
{
	AkName		organization;
	AkName		project;
	AkName	   *environments;
	int			count;

	ak_schema_accept();
	organization = ak_arg_required_name(fcinfo, 0, "organization");
	project = ak_arg_required_name(fcinfo, 1, "project");
	ak_arg_refuse_null(fcinfo, 2, "environments");
	count = ak_projects_environments(PG_GETARG_ARRAYTYPE_P(2), &environments);
	ak_projects_add(&organization, &project, 1, environments, count);
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_remove_project);
Datum
apikey_remove_project(PG_FUNCTION_ARGS)
{
	AkName		project;

	ak_schema_accept();
	project = ak_arg_required_name(fcinfo, 0, "project");
	if (ak_write_remove_projects(&project, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("project \"%.*s\" is not registered",
						project.len, project.data)));
	PG_RETURN_VOID();
}

AK_FUNCTION_INFO_V1(apikey_remove_environment);
Datum
apikey_remove_environment(PG_FUNCTION_ARGS)
{
	AkName		project;
	AkName		environment;

	ak_schema_accept();
	project = ak_arg_required_name(fcinfo, 0, "project");
	environment = ak_arg_required_name(fcinfo, 1, "environment");
	refuse_all(&environment, "environment");
	if (!ak_write_remove_environment(&project, &environment))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("environment \"%.*s\" of project \"%.*s\" is not registered",
						environment.len, environment.data,
						project.len, project.data)));
	PG_RETURN_VOID();
}
