/*
 * schema.c
 *		OIDs of the extension's own objects in this database; see schema.h.
 */
#include "postgres.h"

#include "schema.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "inval.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static AkSchema schema;
static uint64 schema_generation;	/* 0: "schema" is not filled in */

static Oid
extension_namespace(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			namespace = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		namespace = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return namespace;
}

static Oid
find_relation(const char *name, Oid namespace)
{
	Oid			relation = get_relname_relid(name, namespace);

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" of extension \"apikey\" is missing",
						name),
				 errhint("Drop the extension and create it again.")));
	return relation;
}

/* A table must belong to the extension: its name alone proves nothing. */
static Oid
find_table(const char *name, Oid namespace, Oid extension)
{
	Oid			table = find_relation(name, namespace);

	if (getExtensionOfObject(RelationRelationId, table) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not belong to extension \"apikey\"",
						name),
				 errhint("Drop the extension and create it again.")));
	return table;
}

static void
find_levels(AkSchema *found)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									   CStringGetDatum("apikey_level"),
									   ObjectIdGetDatum(found->namespace));

	found->levels[AK_LEVEL_NONE] = InvalidOid;
	for (int level = AK_LEVEL_READ; level < AK_LEVELS; level++)
	{
		found->levels[level] =
			GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
							ObjectIdGetDatum(type),
							CStringGetDatum(ak_scope_level_name(level)));
		if (!OidIsValid(found->levels[level]))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("type \"apikey_level\" lacks the value \"%s\"",
							ak_scope_level_name(level))));
	}
}

static void
find_all(AkSchema *found)
{
	Oid			extension = get_extension_oid("apikey", true);
	Oid			namespace = InvalidOid;

	if (OidIsValid(extension))
		namespace = extension_namespace(extension);
	if (!OidIsValid(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"apikey\" is not installed in this database")));

	memset(found, 0, sizeof(AkSchema));
	found->namespace = namespace;
	found->project = find_table("apikey_project", namespace, extension);
	found->project_pkey = find_relation("apikey_project_pkey", namespace);
	found->environment = find_table("apikey_environment", namespace, extension);
	found->environment_pkey = find_relation("apikey_environment_pkey", namespace);
	found->environment_organization_idx =
		find_relation("apikey_environment_organization_idx", namespace);
	found->key = find_table("apikey_key", namespace, extension);
	found->key_pkey = find_relation("apikey_key_pkey", namespace);
	found->secret = find_table("apikey_secret", namespace, extension);
	found->secret_pkey = find_relation("apikey_secret_pkey", namespace);
	found->secret_lookup_key =
		find_relation("apikey_secret_lookup_key", namespace);
	found->grant = find_table("apikey_grant", namespace, extension);
	found->grant_key = find_relation("apikey_grant_key", namespace);
	found->grant_project_idx =
		find_relation("apikey_grant_project_idx", namespace);
	found->budget = find_table("apikey_budget", namespace, extension);
	found->budget_pkey = find_relation("apikey_budget_pkey", namespace);
	found->event = find_table("apikey_event", namespace, extension);
	found->use = find_table("apikey_use", namespace, extension);
	found->use_pkey = find_relation("apikey_use_pkey", namespace);
	found->use_hour = find_table("apikey_use_hour", namespace, extension);
	found->use_hour_pkey = find_relation("apikey_use_hour_pkey", namespace);
	found->key_proxy = find_table("apikey_key_proxy", namespace, extension);
	found->registry_proxy =
		find_table("apikey_registry_proxy", namespace, extension);
	find_levels(found);
}

static void
watch(const AkSchema *found)
{
	AkWatch		relations[] = {
		{found->project, AK_TOPIC_SCHEMA},
		{found->project_pkey, AK_TOPIC_SCHEMA},
		{found->environment, AK_TOPIC_SCHEMA},
		{found->environment_pkey, AK_TOPIC_SCHEMA},
		{found->environment_organization_idx, AK_TOPIC_SCHEMA},
		{found->key, AK_TOPIC_SCHEMA},
		{found->key_pkey, AK_TOPIC_SCHEMA},
		{found->secret, AK_TOPIC_SCHEMA},
		{found->secret_pkey, AK_TOPIC_SCHEMA},
		{found->secret_lookup_key, AK_TOPIC_SCHEMA},
		{found->grant, AK_TOPIC_SCHEMA},
		{found->grant_key, AK_TOPIC_SCHEMA},
		{found->grant_project_idx, AK_TOPIC_SCHEMA},
		{found->budget, AK_TOPIC_SCHEMA},
		{found->budget_pkey, AK_TOPIC_SCHEMA},
		{found->event, AK_TOPIC_SCHEMA},
		{found->use, AK_TOPIC_SCHEMA},
		{found->use_pkey, AK_TOPIC_SCHEMA},
		{found->use_hour, AK_TOPIC_SCHEMA},
		{found->use_hour_pkey, AK_TOPIC_SCHEMA},
		{found->key_proxy, AK_TOPIC_KEYS},
		{found->registry_proxy, AK_TOPIC_REGISTRY},
	};

	ak_inval_watch(relations, lengthof(relations));
}

/*
 * Look everything up again.  What was listened to before stays so until
 * something else was found, so no message is lost meanwhile; a change between
 * looking and listening shows when we look once more.
 */
static void
resolve(void)
{
	for (;;)
	{
		uint64		generation = ak_inval_generation(AK_TOPIC_SCHEMA);
		AkSchema	found;

		find_all(&found);
		if (memcmp(&found, &schema, sizeof(AkSchema)) == 0)
		{
			schema_generation = generation;
			return;
		}
		schema = found;
		watch(&found);
	}
}

void
ak_schema_accept(void)
{
	AcceptInvalidationMessages();
	if (unlikely(schema_generation != ak_inval_generation(AK_TOPIC_SCHEMA)))
		resolve();
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
	/* -2: DROP DATABASE did not come to its end */
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

bool
ak_schema_has_function(Oid function)
{
	Oid			extension = get_extension_oid("apikey", true);

	return OidIsValid(extension) &&
		getExtensionOfObject(ProcedureRelationId, function) == extension;
}

Oid
ak_schema_crypt(void)
{
	Oid			extension = get_extension_oid("pgcrypto", true);
	Oid			arguments[] = {TEXTOID, TEXTOID};
	Oid			function = InvalidOid;

	if (OidIsValid(extension))
		function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
								   CStringGetDatum("crypt"),
								   PointerGetDatum(buildoidvector(arguments, 2)),
								   ObjectIdGetDatum(extension_namespace(extension)));
	if (!OidIsValid(function) ||
		getExtensionOfObject(ProcedureRelationId, function) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function crypt of extension \"pgcrypto\" is missing")));
	return function;
}

AkLevel
ak_schema_level(const AkSchema *which, Oid value)
{
	for (int level = AK_LEVEL_READ; level < AK_LEVELS; level++)
		if (which->levels[level] == value)
			return level;
	return AK_LEVEL_NONE;
}
