/*
 * layout.c
 *		Columns and indexes of our tables; see layout.h.
 */
#include "postgres.h"

#include "table/layout.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "port/pg_bitutils.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* The most columns of a table, and of an index. */
#define MAX_COLUMNS			Natts_apikey_key
#define MAX_INDEX_COLUMNS	4

/* A type that has no fixed OID: apikey_level. */
#define LEVEL				InvalidOid

typedef struct Column
{
	const char *name;
	Oid			type;
	bool		nullable;
} Column;

#define COLUMN(table, column, type) \
	[Anum_##table##_##column - 1] = {#column, type, false}
#define NULLABLE(table, column, type) \
	[Anum_##table##_##column - 1] = {#column, type, true}

static const struct
{
	int			count;
	Column		columns[MAX_COLUMNS];
}			tables[AK_TABLES] =

{
	[AK_TABLE_PROJECT] = {
		Natts_apikey_project, {
			COLUMN(apikey_project, project, TEXTOID),
			COLUMN(apikey_project, organization, TEXTOID)
		}
	},
	[AK_TABLE_ENVIRONMENT] = {
		Natts_apikey_environment, {
			COLUMN(apikey_environment, project, TEXTOID),
			COLUMN(apikey_environment, environment, TEXTOID),
			COLUMN(apikey_environment, organization, TEXTOID)
		}
	},
	[AK_TABLE_KEY] = {
		Natts_apikey_key, {
			COLUMN(apikey_key, key_id, UUIDOID),
			NULLABLE(apikey_key, disabled_at, TIMESTAMPTZOID),
			NULLABLE(apikey_key, revoked_at, TIMESTAMPTZOID),
			NULLABLE(apikey_key, expires_at, TIMESTAMPTZOID),
			NULLABLE(apikey_key, organization_level, LEVEL),
			COLUMN(apikey_key, organization, TEXTOID),
			COLUMN(apikey_key, prefix, TEXTOID),
			NULLABLE(apikey_key, scheme, TEXTOID),
			NULLABLE(apikey_key, salt, BYTEAOID),
			NULLABLE(apikey_key, verifier, BYTEAOID),
			NULLABLE(apikey_key, allowed_networks, CIDRARRAYOID),
			COLUMN(apikey_key, label, TEXTOID),
			COLUMN(apikey_key, created_at, TIMESTAMPTZOID),
			NULLABLE(apikey_key, created_by, TEXTOID),
			COLUMN(apikey_key, metadata, JSONBOID),
			NULLABLE(apikey_key, rate_count, INT4OID),
			NULLABLE(apikey_key, rate_interval, INTERVALOID),
			NULLABLE(apikey_key, rate_burst, INT4OID)
		}
	},
	[AK_TABLE_SECRET] = {
		Natts_apikey_secret, {
			COLUMN(apikey_secret, key_id, UUIDOID),
			NULLABLE(apikey_secret, expires_at, TIMESTAMPTZOID),
			COLUMN(apikey_secret, scheme, TEXTOID),
			COLUMN(apikey_secret, salt, BYTEAOID),
			COLUMN(apikey_secret, verifier, BYTEAOID),
			NULLABLE(apikey_secret, lookup, BYTEAOID)
		}
	},
	[AK_TABLE_GRANT] = {
		Natts_apikey_grant, {
			COLUMN(apikey_grant, key_id, UUIDOID),
			COLUMN(apikey_grant, level, LEVEL),
			NULLABLE(apikey_grant, project, TEXTOID),
			COLUMN(apikey_grant, environment, TEXTOID),
			COLUMN(apikey_grant, organization, TEXTOID)
		}
	},
	[AK_TABLE_BUDGET] = {
		Natts_apikey_budget, {
			COLUMN(apikey_budget, key_id, UUIDOID),
			COLUMN(apikey_budget, budget, INT8OID),
			COLUMN(apikey_budget, remaining, INT8OID),
			NULLABLE(apikey_budget, refill, INTERVALOID),
			COLUMN(apikey_budget, started_at, TIMESTAMPTZOID),
			NULLABLE(apikey_budget, refills_at, TIMESTAMPTZOID)
		}
	},
	[AK_TABLE_EVENT] = {
		Natts_apikey_event, {
			COLUMN(apikey_event, at, TIMESTAMPTZOID),
			COLUMN(apikey_event, event_id, UUIDOID),
			COLUMN(apikey_event, action, TEXTOID),
			NULLABLE(apikey_event, key_id, UUIDOID),
			NULLABLE(apikey_event, organization, TEXTOID),
			COLUMN(apikey_event, role, TEXTOID),
			NULLABLE(apikey_event, application_user, TEXTOID),
			NULLABLE(apikey_event, acting_key, UUIDOID),
			NULLABLE(apikey_event, address, INETOID),
			COLUMN(apikey_event, detail, JSONBOID)
		}
	},
	[AK_TABLE_USE] = {
		Natts_apikey_use, {
			COLUMN(apikey_use, key_id, UUIDOID),
			COLUMN(apikey_use, uses, INT8OID),
			COLUMN(apikey_use, refusals, INT8OID),
			NULLABLE(apikey_use, last_used_at, TIMESTAMPTZOID),
			NULLABLE(apikey_use, last_refused_at, TIMESTAMPTZOID),
			NULLABLE(apikey_use, limit_until, TIMESTAMPTZOID)
		}
	},
	[AK_TABLE_USE_HOUR] = {
		Natts_apikey_use_hour, {
			COLUMN(apikey_use_hour, key_id, UUIDOID),
			COLUMN(apikey_use_hour, hour, TIMESTAMPTZOID),
			COLUMN(apikey_use_hour, uses, INT8OID),
			COLUMN(apikey_use_hour, refusals, INT8OID)
		}
	}
};

/* Those that we read, by the columns in C that they begin with. */
static const struct
{
	AkTable		table;
	const char *name;
	int			columns[MAX_INDEX_COLUMNS];
}			indexes[AK_INDEXES] =

{
	[AK_INDEX_PROJECT_PKEY] = {
		AK_TABLE_PROJECT, "apikey_project_pkey",
		{Anum_apikey_project_project}
	},
	[AK_INDEX_ENVIRONMENT_PKEY] = {
		AK_TABLE_ENVIRONMENT, "apikey_environment_pkey",
		{Anum_apikey_environment_project, Anum_apikey_environment_environment}
	},
	[AK_INDEX_ENVIRONMENT_ORGANIZATION] = {
		AK_TABLE_ENVIRONMENT, "apikey_environment_organization_idx",
		{Anum_apikey_environment_organization}
	},
	[AK_INDEX_KEY_PKEY] = {
		AK_TABLE_KEY, "apikey_key_pkey", {Anum_apikey_key_key_id}
	},
	[AK_INDEX_SECRET_PKEY] = {
		AK_TABLE_SECRET, "apikey_secret_pkey", {Anum_apikey_secret_key_id}
	},
	[AK_INDEX_SECRET_LOOKUP] = {
		AK_TABLE_SECRET, "apikey_secret_lookup_key",
		{Anum_apikey_secret_lookup}
	},
	[AK_INDEX_GRANT_KEY] = {
		AK_TABLE_GRANT, "apikey_grant_key",
		{Anum_apikey_grant_key_id, Anum_apikey_grant_project,
		Anum_apikey_grant_environment, Anum_apikey_grant_level}
	},
	[AK_INDEX_GRANT_PROJECT] = {
		AK_TABLE_GRANT, "apikey_grant_project_idx",
		{Anum_apikey_grant_project, Anum_apikey_grant_environment,
		Anum_apikey_grant_organization}
	},
	[AK_INDEX_BUDGET_PKEY] = {
		AK_TABLE_BUDGET, "apikey_budget_pkey", {Anum_apikey_budget_key_id}
	},
	[AK_INDEX_USE_PKEY] = {
		AK_TABLE_USE, "apikey_use_pkey", {Anum_apikey_use_key_id}
	},
	[AK_INDEX_USE_HOUR_PKEY] = {
		AK_TABLE_USE_HOUR, "apikey_use_hour_pkey",
		{Anum_apikey_use_hour_key_id, Anum_apikey_use_hour_hour}
	}
};

/* What was found, by the relcache entry of a generation. */
static struct
{
	uint64		generation;		/* 0: nothing yet */
	AttrNumber	columns[MAX_COLUMNS];
}			layouts[AK_TABLES];
static Oid	index_oids[AK_INDEXES];

pg_noreturn static void
missing(const char *kind, const char *name, Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s \"%s\" of table \"%s\" is missing or not what it was",
					kind, name, RelationGetRelationName(rel)),
			 errhint("If this library is newer than the extension, run ALTER EXTENSION apikey UPDATE; else restore what was dropped or changed."),
			 errhidestmt(true)));
}

static AttrNumber
find_column(Relation rel, const Column *column)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			type = column->type == LEVEL ? ak_schema_get()->level :
	column->type;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), column->name) == 0 &&
			attribute->atttypid == type)
			return attribute->attnum;
	}
	missing("column", column->name, rel);
}

/* Has it just these columns, or does it begin with them, as far as it is unique? */
static bool
index_fits(Relation index, AkIndex which)
{
	Form_pg_index form = index->rd_index;
	const AttrNumber *columns = layouts[indexes[which].table].columns;

	if (!form->indisvalid || index->rd_rel->relam != BTREE_AM_OID ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < MAX_INDEX_COLUMNS && indexes[which].columns[i] > 0; i++)
		if (i >= form->indnatts ||
			form->indkey.values[i] != columns[indexes[which].columns[i] - 1])
			return false;
	return true;
}

static Oid
find_index(Relation rel, AkIndex which)
{
	Oid			oid = get_relname_relid(indexes[which].name,
										ak_schema_get()->namespace);
	List	   *of_table = RelationGetIndexList(rel);
	Relation	index;
	bool		fits;

	if (!list_member_oid(of_table, oid))
		missing("index", indexes[which].name, rel);
	index = index_open(oid, AccessShareLock);
	fits = index_fits(index, which);
	index_close(index, AccessShareLock);
	if (!fits)
		missing("index", indexes[which].name, rel);
	list_free(of_table);
	return oid;
}

static void
find_all(AkTable table, Relation rel)
{
	layouts[table].generation = 0;	/* an error leaves nothing to believe */
	for (int i = 0; i < tables[table].count; i++)
		layouts[table].columns[i] = find_column(rel, &tables[table].columns[i]);
	for (int i = 0; i < AK_INDEXES; i++)
		if (indexes[i].table == table)
			index_oids[i] = find_index(rel, i);
}

/*
 * Under the lock nothing of it can change.  A message about it that comes in while
 * we look is an old one, but may hide that what was looked up before it was old too.
 */
Relation
ak_layout_open(AkTable table, LOCKMODE mode)
{
	Relation	rel = table_open(ak_schema_lock(table, mode), NoLock);
	uint64		generation;

	while (layouts[table].generation !=
		   (generation = ak_inval_generation(AK_TOPIC_SCHEMA)))
	{
		find_all(table, rel);
		layouts[table].generation = generation;
	}
	return rel;
}

const AttrNumber *
ak_layout_columns(AkTable table)
{
	return layouts[table].columns;
}

int
ak_layout_count(AkTable table)
{
	return tables[table].count;
}

Oid
ak_layout_index(AkIndex index)
{
	return index_oids[index];
}

bool
ak_layout_shows(Relation rel, const char *column)
{
	AkTable		table;

	if (!ak_schema_find_table(RelationGetRelid(rel), &table) ||
		strcmp(column, "salt") == 0 || strcmp(column, "verifier") == 0 ||
		strcmp(column, "lookup") == 0)
		return false;
	for (int i = 0; i < tables[table].count; i++)
		if (strcmp(tables[table].columns[i].name, column) == 0)
			return true;
	return false;
}

/* Room for all columns of a row, whoever added them. */
static Datum *
get_room(int count, bool **nulls)
{
	static Datum *room;
	static int	size;

	if (count > size)
	{
		int			wanted = pg_nextpower2_32(Max(count, 32));

		if (room != NULL)
			pfree(room);
		size = 0;
		room = NULL;
		room = MemoryContextAlloc(TopMemoryContext,
								  wanted * (sizeof(Datum) + sizeof(bool)));
		size = wanted;
	}
	*nulls = (bool *) &room[size];
	return room;
}

void
ak_layout_read(AkTable table, Relation rel, HeapTuple tuple, Datum *values,
			   bool *nulls)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool	   *all_nulls;
	Datum	   *all = get_room(desc->natts, &all_nulls);

	heap_deform_tuple(tuple, desc, all, all_nulls);
	for (int i = 0; i < tables[table].count; i++)
	{
		int			from = layouts[table].columns[i] - 1;

		values[i] = all[from];
		nulls[i] = all_nulls[from];
		if (unlikely(nulls[i] && !tables[table].columns[i].nullable))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("null value in column \"%s\" of table \"%s\"",
							tables[table].columns[i].name,
							RelationGetRelationName(rel)),
					 errhidestmt(true)));
	}
}
