/*
 * history.c
 *		The triggers on our tables: every backend sees a change, the history
 *		keeps it, and new rows are held to the foreign keys.
 *
 * The functions of this extension record what they do themselves, by its name
 * (see event.h).  What SQL does to the tables besides is recorded here, a row at
 * a time (TRUNCATE: a statement at a time), but neither what COPY brings in,
 * which is how a dump is restored, nor what a subscription applies: the
 * publisher has recorded it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "actor.h"
#include "args.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "compat.h"
#include "event.h"
#include "inval.h"
#include "nodes/parsenodes.h"
#include "refer.h"
#include "replication/logicalworker.h"
#include "schema.h"
#include "store.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "write.h"

static void
check_trigger(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s must be called as a trigger", name)));
}

/*
 * Was the key of a new grant made by this very transaction?  Then no other
 * backend can remember it, and this one remembers it for one statement only.
 */
static bool
belongs_to_new_key(TriggerData *trigger)
{
	bool		isnull;
	Datum		id = heap_getattr(trigger->tg_trigtuple,
								  Anum_apikey_grant_key_id,
								  RelationGetDescr(trigger->tg_relation),
								  &isnull);
	Snapshot	snapshot = ak_store_snapshot();
	bool		own = ak_store_key_is_own(snapshot, DatumGetUUIDP(id));

	ak_store_release(snapshot);
	return own;
}

/* The column of this name in the row; false if there is none, or it is null. */
static bool
get_column(TriggerData *trigger, const char *name, Datum *value)
{
	AttrNumber	column = get_attnum(RelationGetRelid(trigger->tg_relation),
									name);
	bool		isnull = true;

	if (trigger->tg_trigtuple != NULL && column > 0)
		*value = heap_getattr(trigger->tg_trigtuple, column,
							  RelationGetDescr(trigger->tg_relation), &isnull);
	return !isnull;
}

static const char *
get_action(TriggerEvent event)
{
	return TRIGGER_FIRED_BY_INSERT(event) ? "insert" :
		TRIGGER_FIRED_BY_UPDATE(event) ? "update" :
		TRIGGER_FIRED_BY_DELETE(event) ? "delete" : "truncate";
}

/*
 * Is the row being copied into this table by COPY itself?  Not so what a trigger
 * or a function does meanwhile.
 */
static bool
is_copied(TriggerData *trigger)
{
	Portal		portal = ActivePortal;
	CopyStmt   *copy;

	if (portal == NULL || portal->commandTag != CMDTAG_COPY)
		return false;
	copy = (CopyStmt *)
		linitial_node(PlannedStmt, portal->stmts)->utilityStmt;
	return copy != NULL && IsA(copy, CopyStmt) && copy->is_from &&
		RangeVarGetRelid(copy->relation, NoLock, true) ==
		RelationGetRelid(trigger->tg_relation);
}

/* Record what SQL did to a table. */
static void
record_sql(TriggerData *trigger)
{
	AkEvent		event = {.action = get_action(trigger->tg_event)};
	AkDetail	detail;
	AkName		organization;
	Datum		value;
	pg_uuid_t	acting;

	ak_detail_begin(&detail);
	ak_detail_add(&detail, "table",
				  RelationGetRelationName(trigger->tg_relation));
	event.detail = &detail;
	if (get_column(trigger, "key_id", &value))
		event.key_id = DatumGetUUIDP(value);
	if (get_column(trigger, "organization", &value))
	{
		organization = ak_store_name(value);
		event.organization = &organization;
	}
	if (ak_actor_key_id(&acting))
		event.acting_key = &acting;
	ak_event_append(NULL, &event);
}

/*
 * After each change of a row, and after TRUNCATE.  Raises 23503 for a row that no
 * foreign key allows, see refer.h.  What takes something away must be on disk
 * before COMMIT returns, whatever synchronous_commit says: a crash must not bring
 * a revoked key back.  What our functions do to budgets is known to write.c.
 */
AK_FUNCTION_INFO_V1(apikey_changed);
Datum
apikey_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const AkSchema *schema;
	Oid			table;
	bool		insert;
	bool		ours;
	bool		copied;

	check_trigger(fcinfo, "apikey_changed");
	ak_schema_accept();
	schema = ak_schema_get();
	table = RelationGetRelid(trigger->tg_relation);
	insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	ours = ak_write_is_ours() || IsLogicalWorker();
	copied = insert && !ours && is_copied(trigger);
	ak_refer_check(trigger, copied);

	if (table == schema->budget)
	{
		/* no decision rests on it, and most often somebody spends */
		if (ours)
			return PointerGetDatum(NULL);
	}
	else if (table == schema->project || table == schema->environment)
		ak_inval_announce(schema->registry_proxy);
	else if (!insert || table == schema->secret ||
			 (table == schema->grant && !ak_write_is_new_key() &&
			  !belongs_to_new_key(trigger)))
		ak_inval_announce(schema->key_proxy);
	if (!insert)
		ForceSyncCommit();
	if (!ours && !copied)
		record_sql(trigger);
	return PointerGetDatum(NULL);
}

/* Is this the removal of an event that a purge removes? */
static bool
is_purged(TriggerData *trigger)
{
	Datum		at;

	return TRIGGER_FIRED_BY_DELETE(trigger->tg_event) &&
		get_column(trigger, "at", &at) &&
		ak_write_is_purged(DatumGetTimestampTz(at));
}

/* Before each change of an event, and before TRUNCATE. */
AK_FUNCTION_INFO_V1(apikey_keep);
Datum
apikey_keep(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	check_trigger(fcinfo, "apikey_keep");
	if (!is_purged(trigger) && !IsLogicalWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("events cannot be changed or removed"),
				 errhint("apikey_purge_events removes old ones.")));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_newtuple);
	return PointerGetDatum(trigger->tg_trigtuple);
}

AK_FUNCTION_INFO_V1(apikey_purge_events);
Datum
apikey_purge_events(PG_FUNCTION_ARGS)
{
	AkEvent		event = {.action = "purge_events"};
	AkDetail	detail;
	int64		count;

	ak_arg_refuse_null(fcinfo, 0, "before");
	ak_actor_refuse_key();
	ak_schema_accept();
	count = ak_write_purge(PG_GETARG_TIMESTAMPTZ(0));
	if (count == 0)
		PG_RETURN_INT64(0);

	ak_detail_begin(&detail);
	ak_detail_add_time(&detail, "before", PG_GETARG_TIMESTAMPTZ(0));
	ak_detail_add(&detail, "count", psprintf(INT64_FORMAT, count));
	event.detail = &detail;
	ak_event_append(NULL, &event);
	PG_RETURN_INT64(count);
}
