/*
 * grantlist.c
 *		The list of grants that apikey_create takes as JSON; see grantlist.h.
 */
#include "postgres.h"

#include "base/grantlist.h"

#include "base/compat.h"
#include "base/redact.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

static const char *const fields[] = {"project", "environment", "level"};

#define FIELDS	((int) lengthof(fields))

pg_noreturn static void
bad_list(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", problem),
			 errhint("Grants have the form [{\"project\": \"web\", \"environment\": \"production\", \"level\": \"write\"}].")));
}

static AkName
read_name(const JsonbValue *value, int element, const char *field)
{
	AkName		name;

	if (value->type == jbvString)
	{
		name.data = value->val.string.val;
		name.len = value->val.string.len;
	}
	else if (value->type == jbvNumeric)
	{
		name.data =
			DatumGetCString(DirectFunctionCall1(numeric_out,
												NumericGetDatum(value->val.numeric)));
		name.len = strlen(name.data);
	}
	else
		bad_list(psprintf("grants[%d]: \"%s\" must be a string or a number",
						  element, field));
	if (name.len == 0)
		bad_list(psprintf("grants[%d]: \"%s\" must not be empty", element,
						  field));
	if (name.len > AK_NAME_MAX)
		bad_list(psprintf("grants[%d]: \"%s\" has more than %d bytes", element,
						  field, AK_NAME_MAX));
	return name;
}

/* One of the three levels: no other verb will do here. */
static AkLevel
read_level(const JsonbValue *value, int element)
{
	if (value->type == jbvString)
		for (int level = AK_LEVEL_READ; level < AK_LEVELS; level++)
		{
			const char *name = ak_level_name(level);

			if (value->val.string.len == (int) strlen(name) &&
				memcmp(value->val.string.val, name, strlen(name)) == 0)
				return level;
		}
	bad_list(psprintf("grants[%d]: \"level\" must be \"read\", \"write\" or \"manage\"",
					  element));
}

static void
read_grant(JsonbContainer *object, int element, AkGrant *grant)
{
	JsonbValue	values[FIELDS];
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;

	for (int i = 0; i < FIELDS; i++)
		if (getKeyJsonValueFromContainer(object, fields[i], strlen(fields[i]),
										 &values[i]) == NULL)
			bad_list(psprintf("grants[%d]: \"%s\" is missing", element,
							  fields[i]));

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		bool		known = token != WJB_KEY;

		for (int i = 0; !known && i < FIELDS; i++)
			known = value.val.string.len == (int) strlen(fields[i]) &&
				memcmp(value.val.string.val, fields[i],
					   strlen(fields[i])) == 0;
		if (!known)
		{
			AkName		name = {value.val.string.val, value.val.string.len};

			bad_list(psprintf("grants[%d]: unknown field \"%s\"", element,
							  ak_redact_name(&name)));
		}
	}

	grant->project = read_name(&values[0], element, fields[0]);
	grant->environment = read_name(&values[1], element, fields[1]);
	grant->level = read_level(&values[2], element);
}

static int
compare_grants(const void *a, const void *b)
{
	const AkGrant *x = a;
	const AkGrant *y = b;
	int			order = ak_name_compare(&x->project, &y->project);

	return order != 0 ? order : ak_name_compare(&x->environment, &y->environment);
}

int
ak_grantlist_read(Jsonb *json, AkGrant **grants)
{
	int			count;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		bad_list("grants must be a JSON array of objects");
	count = JB_ROOT_COUNT(json);
	*grants = palloc(Max(count, 1) * sizeof(AkGrant));
	for (int i = 0; i < count; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&json->root, i);

		if (value->type != jbvBinary ||
			!JsonContainerIsObject(value->val.binary.data))
			bad_list(psprintf("grants[%d] must be an object", i));
		read_grant(value->val.binary.data, i, &(*grants)[i]);
	}

	qsort(*grants, count, sizeof(AkGrant), compare_grants);
	for (int i = 1; i < count; i++)
	{
		const AkGrant *grant = &(*grants)[i];

		if (compare_grants(grant, grant - 1) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("more than one grant on project \"%s\", environment \"%s\"",
							ak_redact_name(&grant->project),
							ak_redact_name(&grant->environment))));
	}
	return count;
}
