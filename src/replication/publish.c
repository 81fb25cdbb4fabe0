/*
 * publish.c
 *		What other databases need to decide by these keys, as a publication.
 *
 * It has the tables that decide, and never use or events.  Budgets and derivations are in
 * it without their rows: a subscriber neither spends nor derives, but TRUNCATE of the keys
 * goes to all that refers to them, and stops the subscription where one of these is left
 * out.  The function is SECURITY DEFINER: the publication is the owner's of the extension.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/args.h"
#include "base/compat.h"
#include "keys/actor.h"
#include "lib/stringinfo.h"
#include "table/event.h"
#include "table/follow.h"
#include "table/heartbeat.h"
#include "table/schema.h"
#include "table/sql.h"
#include "utils/builtins.h"

/* Raises 55000 where no publication is of use. */
static void
check_wal_level(void)
{
	if (wal_level < AK_WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing can be published while \"wal_level\" is too low"),
				 errhint("Set \"wal_level\" to \"logical\" and restart the server.")));
}

static int
compare_organizations(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* As a list of literals, each once and sorted; NULL for all organizations. */
static const char *
get_organizations(FunctionCallInfo fcinfo, int argno)
{
	StringInfoData list;
	AkName	   *names;
	char	  **sorted;
	int			count;

	if (PG_ARGISNULL(argno))
		return NULL;
	count = ak_arg_names(fcinfo, argno, "organization", &names);
	sorted = palloc(Max(count, 1) * sizeof(char *));
	for (int i = 0; i < count; i++)
	{
		if (names[i].len == 0 || names[i].len > AK_NAME_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid name of an organization"),
					 errdetail("A name has 1 to %d bytes.", AK_NAME_MAX)));
		ak_arg_refuse_all(&names[i], "organization");
		sorted[i] = pnstrdup(names[i].data, names[i].len);
	}
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("organizations must not be empty"),
				 errhint("Null publishes all of them.")));
	qsort(sorted, count, sizeof(char *), compare_organizations);
	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
			appendStringInfo(&list, "%s%s", i == 0 ? "" : ", ",
							 quote_literal_cstr(sorted[i]));
	return list.data;
}

/* The tables, each with its filter, if it has one. */
static char *
list_tables(const char *organizations)
{
	const char *schema = quote_identifier(ak_schema_name());
	StringInfoData list;

	initStringInfo(&list);
	for (AkTable table = 0; table < AK_PUBLISHED; table++)
	{
		appendStringInfo(&list, "%s%s.%s", table == 0 ? "" : ", ", schema,
						 ak_schema_tables[table].name);
		if (table == AK_TABLE_BUDGET || table == AK_TABLE_DERIVATION)
			appendStringInfoString(&list, " WHERE (false)");
		else if (organizations != NULL && table != AK_TABLE_HEARTBEAT)
			appendStringInfo(&list, " WHERE (organization IN (%s%s))", organizations,
							 table == AK_TABLE_SUSPENSION ? ", '*'" : "");
	}
	return list.data;
}

/* A publication as it is. */
typedef struct Published
{
	bool		exists;
	bool		foreign;		/* it has more than our tables */
	const char *tables;			/* with their filters; empty: none */
	const char *filter;			/* of keys; NULL: it does not have them */
} Published;

/* Strings are in the memory of the caller. */
static void
read_publication(const char *name, Published *publication)
{
	enum
	{
		FOREIGN = 1, TABLES, FILTER
	};
	const char *schema = quote_literal_cstr(quote_identifier(ak_schema_name()));
	char	   *query = psprintf(
								 "SELECT p.puballtables OR EXISTS (SELECT FROM pg_publication_namespace n"
								 " WHERE n.pnpubid = p.oid) OR EXISTS (SELECT FROM pg_publication_rel r"
								 " WHERE r.prpubid = p.oid AND NOT EXISTS (SELECT FROM pg_depend d"
								 " JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'apikey'"
								 " AND d.classid = 'pg_class'::regclass AND d.objid = r.prrelid"
								 " AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')),"
								 " concat(p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate)"
								 " || coalesce((SELECT string_agg(format('%%s %%s', r.prrelid,"
								 " pg_get_expr(r.prqual, r.prrelid)), ',' ORDER BY r.prrelid)"
								 " FROM pg_publication_rel r WHERE r.prpubid = p.oid), ''),"
								 " (SELECT coalesce(pg_get_expr(r.prqual, r.prrelid), '')"
								 " FROM pg_publication_rel r WHERE r.prpubid = p.oid"
								 " AND r.prrelid = (%s || '.apikey_key')::regclass)"
								 " FROM pg_publication p WHERE p.pubname = %s",
								 schema, quote_literal_cstr(name));

	memset(publication, 0, sizeof(Published));
	publication->tables = "";
	publication->exists = ak_sql_query(query, NULL, NULL) > 0;
	if (!publication->exists)
		return;
	publication->foreign = ak_sql_bool(0, FOREIGN);
	publication->tables = ak_sql_string(0, TABLES);
	publication->filter = ak_sql_string(0, FILTER);
}

pg_noreturn static void
refuse_publication(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("publication \"%s\" exists already", name),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/*
 * Make it, or bring it up to date; has anything changed?  Other organizations would leave
 * subscribers with keys that nobody revokes any more, or without some.
 */
static bool
write_publication(const char *name, const char *organizations)
{
	const char *quoted = quote_identifier(name);
	const char *tables = list_tables(organizations);
	Published	before;
	Published	after;

	read_publication(name, &before);
	if (before.foreign)
		refuse_publication(name, "It has other tables than those that decide.",
						   "Choose another name.");
	if (!before.exists)
		(void) ak_sql_query(psprintf("CREATE PUBLICATION %s FOR TABLE %s", quoted,
									 tables), NULL, NULL);
	else
	{
		(void) ak_sql_query(psprintf("ALTER PUBLICATION %s SET TABLE %s", quoted,
									 tables), NULL, NULL);
		(void) ak_sql_query(psprintf("ALTER PUBLICATION %s SET"
									 " (publish = 'insert, update, delete, truncate')",
									 quoted), NULL, NULL);
	}
	read_publication(name, &after);
	if (before.filter != NULL && strcmp(before.filter, after.filter) != 0)
		refuse_publication(name, "It is for other organizations.",
						   "Choose another name, and subscribe to that; or drop it first, and subscribe anew.");
	return !before.exists || strcmp(before.tables, after.tables) != 0;
}

/* The name in argument 0; raises 22004 and 22023. */
static const char *
get_publishing_name(FunctionCallInfo fcinfo)
{
	AkName		name = ak_arg_required_name(fcinfo, 0, "publication");

	if (name.len >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a publication is too long"),
				 errdetail("It has %d bytes at most.", NAMEDATALEN - 1)));
	return pnstrdup(name.data, name.len);
}

static void
record_publication(const char *name, const char *organizations)
{
	AkDetail	detail;
	AkEvent		event = {
		.action = "publish",
		.detail = &detail
	};

	ak_detail_begin(&detail);
	ak_detail_add(&detail, "publication", name);
	ak_detail_add(&detail, "organizations", organizations);
	ak_actor_record(&event);
}

AK_FUNCTION_INFO_V1(apikey_publish);
Datum
apikey_publish(PG_FUNCTION_ARGS)
{
	const char *name;
	const char *organizations;
	bool		changed;

	ak_actor_refuse_key();
	ak_schema_accept();
	name = get_publishing_name(fcinfo);
	organizations = get_organizations(fcinfo, 1);
	check_wal_level();
	ak_sql_begin();
	changed = write_publication(name, organizations);
	ak_sql_end();
	if (!ak_follow_is_on())
		ak_heartbeat_make();
	if (changed)
		record_publication(name, organizations);
	PG_RETURN_VOID();
}
