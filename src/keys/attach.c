/*
 * attach.c
 *		Keeps the registry in step with the application's own table of projects.
 *
 * Two triggers do it, and are the only record of it: their arguments name the
 * columns and the environments, so pg_dump carries them.  Both are ENABLE
 * ALWAYS, for logical replication fires no others.  TRUNCATE has a trigger
 * BEFORE it, while there are rows to read.
 *
 * A row trigger is told what happened, at the end of the statement, row by row
 * in the order in which it happened.  At each moment an id was that of one row
 * at most: the unique index has seen to that, being checked at once and for all
 * rows.  So when a row gets an id, the trigger of the row that had it before is
 * called first, and one project is never taken for another.
 *
 * But what a trigger is told may be out of date: triggers of the application may
 * have changed the rows again before this one fires, in statements whose
 * triggers have fired before.  So no new row is believed.  Whatever happened to
 * an id, it is looked up in the table, through the same index, and what the
 * table has by now is registered.  The last trigger to fire for an id sees the
 * last of its changes.
 *
 * An id that is no longer in a row, or is now of another organization, is removed
 * first, and its grants with it, although it may come back at once.
 *
 * Rows of the table are read here, not by SPI: with the rights of the owner of
 * the extension, and so nothing of the application may be called.  Only
 * superusers make types, their output functions and operator classes; rules,
 * policies and defaults are not looked at.  Snapshots are those of now, as a
 * transaction's may be older than rows that TRUNCATE removes.
 *
 * Attaching takes ShareRowExclusiveLock, as CREATE TRIGGER does: readers are
 * let in, writers wait until the table has been read.  Detaching takes
 * AccessExclusiveLock, as DROP TRIGGER does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "base/args.h"
#include "base/compat.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "keys/actor.h"
#include "keys/projects.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "table/ddl.h"
#include "table/follow.h"
#include "table/schema.h"
#include "table/trigger.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define FUNCTION			"sync_projects"
#define ROW_TRIGGER			"apikey_sync"
#define TRUNCATE_TRIGGER	"apikey_sync_truncate"

/* Projects that are written at once when the whole table is read. */
#define BATCH	1000

/* A trigger counts its arguments by an int16. */
#define MAX_ENVIRONMENTS	1000

typedef struct Column
{
	AttrNumber	number;
	AkIdentType arg;
} Column;

/* A table of projects. */
typedef struct Source
{
	Relation	rel;
	Column		id;
	Column		organization;
	AkName	   *environments;
	int			nenvironments;
} Source;

/* ------------------------------------------------------------- the table */

/* Raises 42809 for a relation whose rows can change without our triggers. */
static void
check_kind(Relation rel)
{
	const char *detail;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
		rel->rd_rel->relispartition)
		detail = "A row that moves to another partition is deleted and inserted, which would end the grants on its project.";
	else if (rel->rd_rel->relkind != RELKIND_RELATION)
		detail = "It is not a table.";
	else if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		detail = "The rows of a temporary or unlogged table may vanish without firing a trigger.";
	else if (ak_schema_find_table(RelationGetRelid(rel), NULL))
		detail = "It belongs to the extension itself.";
	else
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("the registry cannot be kept in step with relation \"%s\"",
					RelationGetRelationName(rel)),
			 errdetail_internal("%s", detail)));
}

/* The column of this name; "attached": it is a trigger that names it. */
static AttrNumber
find_column(Relation rel, const char *name, bool attached)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(rel)),
				 attached ? errdetail("The table was attached with this column by apikey_attach_projects.") : 0,
				 attached ? errhint("Call apikey_attach_projects again.") : 0));
	return number;
}

/* Get ready to read a column.  Raises as ak_ident_check_column() does. */
static void
prepare_column(Relation rel, Column *column)
{
	ak_ident_check_column(RelationGetRelid(rel), column->number);
	ak_ident_prepare(&column->arg,
					 get_atttype(RelationGetRelid(rel), column->number),
					 CurrentMemoryContext);
}

/* The unique index on this column alone, see above; raises 55000. */
static Oid
find_index(Relation rel, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	const char *name;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;
		bool		fits = form->indisunique && form->indimmediate &&
		form->indisvalid && form->indnkeyatts == 1 &&
		form->indkey.values[0] == column &&
		index->rd_rel->relam == BTREE_AM_OID &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);

		index_close(index, AccessShareLock);
		if (fits)
			return lfirst_oid(cell);
	}
	name = get_attname(RelationGetRelid(rel), column, false);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has no unique index on column \"%s\" alone",
					RelationGetRelationName(rel), name),
			 errdetail("One that is partial, deferrable or not valid will not do."),
			 errhint("CREATE UNIQUE INDEX ON %s (%s);", ak_ddl_table_name(RelationGetRelid(rel)),
					 quote_identifier(name))));
}

/* ------------------------------------------------------------------ rows */

/*
 * The identifier in a column; false if it is null.  One that cannot be an
 * identifier counts as null, or raises 22023 if "what" is not NULL.
 */
static bool
read_column(Column *column, TupleTableSlot *slot, const char *what,
			AkName *name)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column->number, &isnull);

	if (isnull)
		return false;
	if (what == NULL)
		return ak_ident_print(&column->arg, value, name);
	*name = ak_ident_require(&column->arg, value, what);
	return true;
}

/* The project that the old row stood for; false if there was none. */
static bool
read_old(Source *source, TupleTableSlot *slot, AkName *organization,
		 AkName *project)
{
	return read_column(&source->organization, slot, NULL, organization) &&
		read_column(&source->id, slot, NULL, project);
}

/* The project that the new row stands for; false if there is none. */
static bool
read_new(Source *source, TupleTableSlot *slot, AkName *organization,
		 AkName *project)
{
	/* a null in one column excuses the other */
	if (slot_attisnull(slot, source->id.number) ||
		slot_attisnull(slot, source->organization.number))
		return false;
	return read_column(&source->organization, slot, "organization",
					   organization) &&
		read_column(&source->id, slot, "project", project);
}

static void
add_projects(Source *source, const AkName *organizations, const AkName *projects,
			 int count)
{
	ak_projects_add(organizations, projects, count, source->environments,
					source->nenvironments);
}

/*
 * Register the project with this id as the table has it now, if it does.  The
 * rows that the current command made are seen as well.
 */
static void
register_current(Source *source, Datum id)
{
	Oid			oid = find_index(source->rel, source->id.number);
	Relation	index = index_open(oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(source->rel, NULL);
	Oid			type = index->rd_opcintype[0];
	Oid			equal = get_opfamily_member(index->rd_opfamily[0], type, type,
											BTEqualStrategyNumber);
	ScanKeyData key;
	IndexScanDesc scan;
	AkName		organization;
	AkName		project;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[0], get_opcode(equal), id);
	scan = index_beginscan(source->rel, index, SnapshotSelf, NULL, 1, 0,
						   SO_NONE);
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
		if (read_new(source, slot, &organization, &project))
			add_projects(source, &organization, &project, 1);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
}

/*
 * Register the projects of all rows, or remove them.  The table is locked
 * against changes.
 */
static void
do_all(Source *source, bool remove)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(source->rel, NULL);
	TableScanDesc scan = table_beginscan(source->rel, snapshot, 0, NULL,
										 SO_NONE);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext,
												"apikey projects",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(batch);
	AkName		organizations[BATCH];
	AkName		projects[BATCH];
	int			count = 0;
	bool		more;

	do
	{
		CHECK_FOR_INTERRUPTS();
		more = table_scan_getnextslot(scan, ForwardScanDirection, slot);
		if (more && (remove ? read_old : read_new) (source, slot,
													&organizations[count],
													&projects[count]))
		{
			organizations[count] = ak_name_copy(organizations[count]);
			projects[count] = ak_name_copy(projects[count]);
			count++;
		}
		if (count == BATCH || (!more && count > 0))
		{
			if (remove)
				ak_projects_remove(organizations, projects, count);
			else
				add_projects(source, organizations, projects, count);
			count = 0;
			MemoryContextReset(batch);
		}
	} while (more);

	MemoryContextSwitchTo(before);
	MemoryContextDelete(batch);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
}

/* --------------------------------------------------------------- trigger */

#define ROW_TRIGGER_TYPE \
	(TRIGGER_TYPE_ROW | TRIGGER_TYPE_AFTER | TRIGGER_TYPE_INSERT | \
	 TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)
#define TRUNCATE_TRIGGER_TYPE \
	(TRIGGER_TYPE_STATEMENT | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE)

/*
 * Raises 39P01 unless this is a trigger as attaching makes it.  One that misses some
 * of what happens would leave a registry that is not the table's.
 */
static TriggerData *
get_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	bool		ours = false;

	ak_schema_accept();
	if (CALLED_AS_TRIGGER(fcinfo))
	{
		Trigger    *trigger = data->tg_trigger;

		/* two columns and at least one environment */
		ours = trigger->tgnargs > 2 && trigger->tgnattr == 0 &&
			trigger->tgqual == NULL && !trigger->tgdeferrable &&
			!ak_schema_find_table(RelationGetRelid(data->tg_relation), NULL) &&
			trigger->tgtype == (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) ?
								TRUNCATE_TRIGGER_TYPE : ROW_TRIGGER_TYPE);
	}
	if (!ours)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg(FUNCTION " must be called by a trigger that apikey_attach_projects made")));
	return data;
}

/* "old" or "new" may be NULL; neither: TRUNCATE. */
static void
follow_row(Source *source, TupleTableSlot *old, TupleTableSlot *new)
{
	bool		isnull;
	Datum		id;
	AkName		organization;
	AkName		project;

	if (old == NULL && new == NULL)
	{
		do_all(source, true);
		return;
	}
	if (old != NULL && read_old(source, old, &organization, &project))
	{
		ak_projects_remove(&organization, &project, 1);
		register_current(source, slot_getattr(old, source->id.number,
											  &isnull));
		if (new != NULL &&
			ak_trigger_same(old, new, source->id.number))
			return;
	}
	if (new != NULL)
	{
		id = slot_getattr(new, source->id.number, &isnull);
		if (!isnull)
			register_current(source, id);
	}
}

AK_FUNCTION_INFO_V1(apikey_sync_projects);
Datum
apikey_sync_projects(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = get_trigger(fcinfo);
	TriggerEvent event = trigger->tg_event;
	char	  **args = trigger->tg_trigger->tgargs;
	Source		source = {0};
	TupleTableSlot *old = NULL;
	TupleTableSlot *new = NULL;

	/* what a subscription applies: the registry comes from there, too */
	if (IsLogicalWorker() && ak_follow_is_on())
		return PointerGetDatum(NULL);
	source.rel = trigger->tg_relation;
	source.id.number = find_column(source.rel, args[0], true);
	source.organization.number = find_column(source.rel, args[1], true);
	if (TRIGGER_FIRED_BY_INSERT(event))
		new = trigger->tg_trigslot;
	else if (!TRIGGER_FIRED_BY_TRUNCATE(event))
		old = trigger->tg_trigslot;
	if (TRIGGER_FIRED_BY_UPDATE(event))
	{
		new = trigger->tg_newslot;
		if (ak_trigger_same(old, new, source.id.number) &&
			ak_trigger_same(old, new, source.organization.number))
			return PointerGetDatum(NULL);
	}

	check_kind(source.rel);
	prepare_column(source.rel, &source.id);
	prepare_column(source.rel, &source.organization);
	source.nenvironments = trigger->tg_trigger->tgnargs - 2;
	source.environments = palloc(source.nenvironments * sizeof(AkName));
	for (int i = 0; i < source.nenvironments; i++)
		source.environments[i] = ak_name_make(args[2 + i], strlen(args[2 + i]));
	follow_row(&source, old, new);
	return PointerGetDatum(NULL);
}

/* ------------------------------------------------------------------- DDL */

static bool
has_our_name(const char *trigger)
{
	return strcmp(trigger, ROW_TRIGGER) == 0 ||
		strcmp(trigger, TRUNCATE_TRIGGER) == 0;
}

/* Raises 42710 for a trigger that has the name of one of ours only. */
static void
check_names(Relation rel, Oid function)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgfoid != function && has_our_name(trigger->tgname))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("trigger \"%s\" of table \"%s\" was not made by apikey_attach_projects",
							trigger->tgname, RelationGetRelationName(rel)),
					 errhint("Drop or rename it first.")));
	}
}

/*
 * Those that are there already are replaced, which does not lock readers out
 * as dropping them would.  "owner" is that of our function.
 */
static void
create_triggers(const Source *source, Oid owner, const char *table,
				const char *id, const char *organization)
{
	StringInfoData call;

	initStringInfo(&call);
	appendStringInfo(&call, "EXECUTE FUNCTION " AK_INTERNAL "." FUNCTION "(%s, %s",
					 quote_literal_cstr(id), quote_literal_cstr(organization));
	for (int i = 0; i < source->nenvironments; i++)
		appendStringInfo(&call, ", %s",
						 quote_literal_cstr(pnstrdup(source->environments[i].data,
													 source->environments[i].len)));
	appendStringInfoChar(&call, ')');
	ak_ddl_execute_as(owner,
					  psprintf("CREATE OR REPLACE TRIGGER " ROW_TRIGGER
							   " AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW %s",
							   table, call.data));
	ak_ddl_execute_as(owner,
					  psprintf("CREATE OR REPLACE TRIGGER " TRUNCATE_TRIGGER
							   " BEFORE TRUNCATE ON %s FOR EACH STATEMENT %s",
							   table, call.data));
}

AK_FUNCTION_INFO_V1(apikey_attach_projects);
Datum
apikey_attach_projects(PG_FUNCTION_ARGS)
{
	Oid			relid;
	Source		source = {0};
	const char *id;
	const char *organization;
	const char *table;
	List	   *old;
	ListCell   *cell;
	Oid			function;
	Oid			caller;
	Oid			owner;
	int			context;

	ak_actor_refuse_key();
	ak_schema_accept();
	relid = ak_arg_owned_relation(fcinfo, 0);
	ak_arg_refuse_null(fcinfo, 1, "column");
	ak_arg_refuse_null(fcinfo, 2, "column");
	ak_arg_refuse_null(fcinfo, 3, "environments");
	id = NameStr(*PG_GETARG_NAME(1));
	organization = NameStr(*PG_GETARG_NAME(2));
	if (strcmp(id, organization) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("id and organization must be two columns")));
	source.nenvironments = ak_projects_environments(fcinfo, 3,
													&source.environments);
	if (source.nenvironments > MAX_ENVIRONMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a table of projects cannot have more than %d environments",
						MAX_ENVIRONMENTS)));

	source.rel = relation_open(relid, ShareRowExclusiveLock);
	check_kind(source.rel);
	source.id.number = find_column(source.rel, id, false);
	source.organization.number = find_column(source.rel, organization, false);
	prepare_column(source.rel, &source.id);
	prepare_column(source.rel, &source.organization);
	(void) find_index(source.rel, source.id.number);
	function = ak_ddl_function(FUNCTION, &owner);
	check_names(source.rel, function);
	old = ak_ddl_triggers(relid, function, false);
	table = ak_ddl_table_name(relid);
	relation_close(source.rel, NoLock); /* ALTER TABLE refuses one in use */

	foreach(cell, old)
	{
		if (!has_our_name(strVal(lfirst(cell))))
			ak_ddl_drop_trigger(strVal(lfirst(cell)), relid);
	}
	create_triggers(&source, owner, table, id, organization);
	ak_ddl_execute(psprintf("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER " ROW_TRIGGER
							", ENABLE ALWAYS TRIGGER " TRUNCATE_TRIGGER, table));

	source.rel = relation_open(relid, NoLock);
	/* an error ends this role, too */
	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	do_all(&source, false);
	SetUserIdAndSecContext(caller, context);
	relation_close(source.rel, NoLock);
	PG_RETURN_VOID();
}

/* pg_trigger has the arguments of a trigger one after the other, each with a zero. */
AK_FUNCTION_INFO_V1(apikey_trigger_arguments);
Datum
apikey_trigger_arguments(PG_FUNCTION_ARGS)
{
	bytea	   *arguments = PG_GETARG_BYTEA_PP(0);
	const char *next = VARDATA_ANY(arguments);
	const char *end = next + VARSIZE_ANY_EXHDR(arguments);
	ArrayBuildState *texts = initArrayResult(TEXTOID, CurrentMemoryContext,
											 false);

	while (next < end)
	{
		int			len = strnlen(next, end - next);

		pg_verifymbstr(next, len, false);
		accumArrayResult(texts,
						 PointerGetDatum(cstring_to_text_with_len(next, len)),
						 false, TEXTOID, CurrentMemoryContext);
		next += len + 1;
	}
	return makeArrayResult(texts, CurrentMemoryContext);
}

AK_FUNCTION_INFO_V1(apikey_detach_projects);
Datum
apikey_detach_projects(PG_FUNCTION_ARGS)
{
	Oid			relid;
	List	   *triggers;
	ListCell   *cell;
	Oid			owner;

	ak_actor_refuse_key();
	ak_schema_accept();
	relid = ak_arg_owned_relation(fcinfo, 0);
	relation_close(relation_open(relid, AccessExclusiveLock), NoLock);
	triggers = ak_ddl_triggers(relid, ak_ddl_function(FUNCTION, &owner), false);
	if (triggers == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("relation \"%s\" is not attached by apikey_attach_projects",
						get_rel_name(relid))));
	foreach(cell, triggers)
		ak_ddl_drop_trigger(strVal(lfirst(cell)), relid);
	PG_RETURN_VOID();
}
