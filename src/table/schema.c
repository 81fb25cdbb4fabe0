/*
 * schema.c
 *		OIDs of our objects in this database; see schema.h.
 */
#include "postgres.h"

#include "table/schema.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static AkSchema schema;
static uint64 schema_generation;	/* 0: "schema" is not filled in */

const AkTableForm ak_schema_tables[AK_TABLES] = {
#define AK_TABLE(symbol, name) \
	[AK_TABLE_##symbol] = {#name, AK_TOPIC_SCHEMA, Natts_##name, {
#define AK_COLUMN(table, name, type, nullable) {#name, type, nullable},
#define AK_TABLE_END(name) }},
#define AK_PROXY(symbol, name, topic) [AK_TABLE_##symbol] = {#name, topic},
#include "table/tablelist.h"
};

const AkTable ak_schema_published[AK_PUBLISHED] = {
	AK_TABLE_PROJECT, AK_TABLE_ENVIRONMENT, AK_TABLE_SUSPENSION, AK_TABLE_KEY,
	AK_TABLE_SECRET, AK_TABLE_GRANT, AK_TABLE_HEARTBEAT
};

pg_noreturn static void
refuse_missing_extension(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"apikey\" is not installed in this database")));
}

pg_noreturn static void
refuse_version(const char *version)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"apikey\" has version %s, but this session has loaded the library of version %s",
					version, AK_VERSION),
			 errhint("Reconnect, or restart the server if the library is in \"shared_preload_libraries\"; if its new version is not installed, install that.")));
}

/* So that 1.2 comes before 1.10: the first number by so many, and the second. */
#define MAJOR	1000000

static long
version_number(const char *version)
{
	char	   *end;
	long		major = strtol(version, &end, 10);

	return major * MAJOR + (*end == '.' ? strtol(end + 1, NULL, 10) : 0);
}

/* Raises 55000 for tables that this library does not understand. */
static void
check_version(Datum value)
{
	char	   *version = TextDatumGetCString(value);

	if (version_number(version) / MAJOR != version_number(AK_VERSION) / MAJOR)
		refuse_version(version);
}

void
ak_schema_require(const char *version)
{
	if (version_number(version) > version_number(AK_VERSION))
		refuse_version(version);
}

/* The schema of an extension; InvalidOid if it is not there. */
static Oid
extension_namespace(Oid extension, bool check)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			namespace = InvalidOid;
	bool		isnull;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		namespace = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		if (check)
			check_version(heap_getattr(tuple, Anum_pg_extension_extversion,
									   RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return namespace;
}

/* A table must belong to the extension: its name alone proves nothing. */
static Oid
find_table(const char *name, Oid namespace, Oid extension)
{
	Oid			table = get_relname_relid(name, namespace);

	if (!OidIsValid(table) ||
		getExtensionOfObject(RelationRelationId, table) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" of extension \"apikey\" is missing",
						name),
				 errhint("Run ALTER EXTENSION apikey UPDATE; if that does not help, restore the table.")));
	return table;
}

/* So must the other schema. */
static Oid
find_internal(Oid extension)
{
	Oid			namespace = get_namespace_oid(AK_INTERNAL, true);

	if (!OidIsValid(namespace) ||
		getExtensionOfObject(NamespaceRelationId, namespace) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("schema \"%s\" of extension \"apikey\" is missing",
						AK_INTERNAL),
				 errhint("Restore what was dropped or changed.")));
	return namespace;
}

static void
find_levels(AkSchema *found)
{
	found->level = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
								   CStringGetDatum("apikey_level"),
								   ObjectIdGetDatum(found->namespace));
	found->levels[AK_LEVEL_NONE] = InvalidOid;
	for (int level = AK_LEVEL_READ; level < AK_LEVELS; level++)
	{
		found->levels[level] =
			GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
							ObjectIdGetDatum(found->level),
							CStringGetDatum(ak_level_name(level)));
		if (!OidIsValid(found->levels[level]))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("type \"apikey_level\" lacks the value \"%s\"",
							ak_level_name(level))));
	}
}

static void
find_schema(AkSchema *found)
{
	Oid			extension = get_extension_oid("apikey", true);
	Oid			namespace = InvalidOid;

	if (OidIsValid(extension))
		namespace = extension_namespace(extension, true);
	if (!OidIsValid(namespace))
		refuse_missing_extension();

	memset(found, 0, sizeof(AkSchema));
	found->namespace = namespace;
	found->internal = find_internal(extension);
	for (int table = 0; table < AK_TABLES; table++)
		found->tables[table] = find_table(ak_schema_tables[table].name,
										  ak_schema_tables[table].ncolumns > 0 ?
										  namespace : found->internal,
										  extension);
	find_levels(found);
}

static void
watch_schema(const AkSchema *found)
{
	static AkWatch watched[AK_TABLES];

	for (int table = 0; table < AK_TABLES; table++)
	{
		watched[table].relation = found->tables[table];
		watched[table].topic = ak_schema_tables[table].topic;
	}
	ak_inval_watch(watched, AK_TABLES);
}

/*
 * Look everything up again, until twice the same is found.  What was watched before stays
 * so until then, and no message is lost; a change between looking and watching shows at
 * the second look.
 */
static void
resolve_schema(void)
{
	for (;;)
	{
		uint64		generation = ak_inval_generation(AK_TOPIC_SCHEMA);
		AkSchema	found;

		find_schema(&found);
		if (memcmp(&found, &schema, sizeof(AkSchema)) == 0)
		{
			schema_generation = generation;
			return;
		}
		schema = found;
		watch_schema(&found);
	}
}

void
ak_schema_accept(void)
{
	AcceptInvalidationMessages();
	if (unlikely(schema_generation != ak_inval_generation(AK_TOPIC_SCHEMA)))
		resolve_schema();
}

Oid
ak_schema_lock(AkTable table, LOCKMODE mode)
{
	for (;;)
	{
		Oid			oid = schema.tables[table];

		LockRelationOid(oid, mode);
		ak_schema_accept();
		if (schema.tables[table] == oid)
			return oid;
		UnlockRelationOid(oid, mode);
	}
}

bool
ak_schema_hold(void)
{
	Oid			extension;

	while (OidIsValid(extension = get_extension_oid("apikey", true)))
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		if (get_extension_oid("apikey", true) == extension)
			return true;
		UnlockDatabaseObject(ExtensionRelationId, extension, 0,
							 AccessShareLock);
	}
	return false;
}

bool
ak_schema_has_database(Oid database)
{
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_database_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	scan = systable_beginscan(rel, DatabaseOidIndexId, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	/* -2: DROP DATABASE was interrupted */
	found = HeapTupleIsValid(tuple) &&
		((Form_pg_database) GETSTRUCT(tuple))->datconnlimit != -2;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

const AkSchema *
ak_schema_get(void)
{
	return &schema;
}

const char *
ak_schema_name(void)
{
	const char *name = get_namespace_name(schema.namespace);

	if (name == NULL)
		refuse_missing_extension();
	return name;
}

bool
ak_schema_find_table(Oid oid, AkTable *table)
{
	for (int i = 0; i < AK_TABLES; i++)
		if (schema.tables[i] == oid)
		{
			if (table != NULL)
				*table = i;
			return true;
		}
	return false;
}

bool
ak_schema_has_member(Oid classid, Oid object)
{
	Oid			extension = get_extension_oid("apikey", true);

	return OidIsValid(extension) &&
		getExtensionOfObject(classid, object) == extension;
}

static Oid
find_function(Oid namespace, const char *name, const Oid *types, int count)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(types, count)),
						   ObjectIdGetDatum(namespace));
}

Oid
ak_schema_function(Oid namespace, const char *name, const Oid *types, int count)
{
	Oid			function = find_function(namespace, name, types, count);

	if (!OidIsValid(function) || !ak_schema_has_member(ProcedureRelationId, function))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" of extension \"apikey\" is missing",
						name),
				 errhint("Restore what was dropped or changed.")));
	return function;
}

Oid
ak_schema_crypt(void)
{
	Oid			extension = get_extension_oid("pgcrypto", true);
	Oid			arguments[] = {TEXTOID, TEXTOID};
	Oid			function = InvalidOid;

	if (OidIsValid(extension))
		function = find_function(extension_namespace(extension, false), "crypt",
								 arguments, lengthof(arguments));
	if (!OidIsValid(function) ||
		getExtensionOfObject(ProcedureRelationId, function) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function crypt of extension \"pgcrypto\" is missing")));
	return function;
}

AkLevel
ak_schema_level(Oid value)
{
	for (int level = AK_LEVEL_READ; level < AK_LEVELS; level++)
		if (schema.levels[level] == value)
			return level;
	return AK_LEVEL_NONE;
}
