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
#include "table/firing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static AkSchema schema;
static uint64 schema_generation;	/* 0: "schema" is not filled in */

/* Our tables as far as they were looked up; InvalidOid: not yet. */
static Oid	watched[AK_TABLES];
static AkFiring triggers[AK_TABLES];	/* theirs, as far as a decision rests
										 * on them */

const AkTableForm ak_schema_tables[AK_TABLES] = {
#define AK_TABLE(symbol, name) \
	[AK_TABLE_##symbol] = {#name, Natts_##name, {
#define AK_COLUMN(table, name, type, nullable) {#name, type, nullable},
#define AK_TABLE_END(name) }},
#include "table/tablelist.h"
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

/* An extension, and its schema; false if it is not there. */
static bool
find_extension(const char *name, Oid *extension, Oid *namespace, bool check)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;
	bool		isnull;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		*extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*namespace = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		if (check)
			check_version(heap_getattr(tuple, Anum_pg_extension_extversion,
									   RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * A table of this schema, InvalidOid if there is none.  It must belong to the extension:
 * its name alone proves nothing.
 */
static Oid
find_table(const AkSchema *in, AkTable table)
{
	Oid			oid = get_relname_relid(ak_schema_tables[table].name, in->namespace);

	if (!OidIsValid(oid) ||
		getExtensionOfObject(RelationRelationId, oid) != in->extension)
		return InvalidOid;
	return oid;
}

pg_noreturn static void
refuse_missing_table(AkTable table)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" of extension \"apikey\" is missing",
					ak_schema_tables[table].name),
			 errhint("Run ALTER EXTENSION apikey UPDATE; if that does not help, restore the table.")));
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
	memset(found, 0, sizeof(AkSchema));
	if (!find_extension("apikey", &found->extension, &found->namespace, true))
		refuse_missing_extension();
	found->internal = find_internal(found->extension);
	find_levels(found);
}

/* Those of a table that no decision rests on are not read, and nothing is known of them. */
static void
find_triggers(AkTable table, Oid oid, AkFiring *found)
{
	memset(found, 0, sizeof(AkFiring));
	if (OidIsValid(oid) && (table <= AK_TABLE_GRANT || table == AK_TABLE_HEARTBEAT ||
							table == AK_TABLE_SUBSCRIPTION))
		ak_firing_read(oid, found);
}

/*
 * The tables that are in "watched", and one that must be: messages must be heard about a
 * table that DROP EXTENSION drops.  The others are looked up when they are needed.
 */
static void
find_tables(const AkSchema *in, Oid *found, AkFiring *found_triggers)
{
	for (int table = 0; table < AK_TABLES; table++)
	{
		found[table] = table == AK_TABLE_KEY || OidIsValid(watched[table]) ?
			find_table(in, table) : InvalidOid;
		find_triggers(table, found[table], &found_triggers[table]);
	}
	if (!OidIsValid(found[AK_TABLE_KEY]))
		refuse_missing_table(AK_TABLE_KEY);
}

/*
 * Take note of what was found.  True if it is news: then nothing that is cached counts.  If a
 * trigger was altered nobody knows what was missed, even if it fires again.
 */
static bool
note_schema(const AkSchema *found, const Oid *tables, const AkFiring *found_triggers)
{
	if (memcmp(found, &schema, sizeof(AkSchema)) == 0 &&
		memcmp(tables, watched, sizeof(watched)) == 0 &&
		memcmp(found_triggers, triggers, sizeof(triggers)) == 0)
		return false;
	schema = *found;
	memcpy(watched, tables, sizeof(watched));
	memcpy(triggers, found_triggers, sizeof(triggers));
	ak_inval_watch(watched, AK_TABLES);
	ak_inval_forget();
	return true;
}

/*
 * Look everything up again.  What was watched before stays so until then, and no message
 * is lost; one that came in between looking and watching may have been about what is
 * watched only now: then look once more.
 */
static void
resolve_schema(void)
{
	uint64		generation;
	uint64		messages;
	AkSchema	found;
	Oid			tables[AK_TABLES];
	AkFiring	found_triggers[AK_TABLES];

	do
	{
		generation = ak_inval_schema;
		messages = ak_inval_messages;
		find_schema(&found);
		find_tables(&found, tables, found_triggers);
		if (!note_schema(&found, tables, found_triggers))
			break;
		generation = ak_inval_schema;
	} while (messages != ak_inval_messages);
	schema_generation = generation;
}

void
ak_schema_accept(void)
{
	AcceptInvalidationMessages();
	if (unlikely(schema_generation != ak_inval_schema))
		resolve_schema();
}

Oid
ak_schema_table(AkTable table)
{
	while (!OidIsValid(watched[table]))
	{
		uint64		messages = ak_inval_messages;
		Oid			oid = find_table(&schema, table);

		if (messages != ak_inval_messages)
			ak_schema_accept();
		else if (OidIsValid(oid))
		{
			watched[table] = oid;
			ak_inval_watch(watched, AK_TABLES);
			find_triggers(table, oid, &triggers[table]);
			if (triggers[table].known && ak_firing_silent(&triggers[table], true) != NULL)
				ak_inval_forget();
		}
		else
			refuse_missing_table(table);
	}
	return watched[table];
}

Oid
ak_schema_lock(AkTable table, LOCKMODE mode)
{
	for (;;)
	{
		Oid			oid = ak_schema_table(table);

		LockRelationOid(oid, mode);
		ak_schema_accept();
		if (watched[table] == oid)
			return oid;
		UnlockRelationOid(oid, mode);
	}
}

const char *
ak_schema_silent_trigger(bool replicated, AkTable *table)
{
	for (*table = 0; *table < AK_TABLES; (*table)++)
	{
		const char *silent;

		if (!triggers[*table].known || (*table == AK_TABLE_HEARTBEAT && !replicated))
			continue;
		silent = ak_firing_silent(&triggers[*table], replicated);
		if (silent != NULL)
			return silent;
	}
	return NULL;
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
		if (ak_schema_table(i) == oid)
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
	Oid			arguments[] = {TEXTOID, TEXTOID};
	Oid			function = InvalidOid;
	Oid			extension;
	Oid			namespace;

	if (find_extension("pgcrypto", &extension, &namespace, false))
		function = find_function(namespace, "crypt", arguments, lengthof(arguments));
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
