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
 *
 * Whoever may execute a trigger function can put it on any table, at any event.  A trigger
 * that the script does not make is refused before anything is read.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "auth/lookup.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "keys/actor.h"
#include "keys/quota.h"
#include "nodes/parsenodes.h"
#include "replication/logicalworker.h"
#include "table/event.h"
#include "table/follow.h"
#include "table/refer.h"
#include "table/schema.h"
#include "table/sql.h"
#include "table/store.h"
#include "table/trigger.h"
#include "tcop/pquery.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

static TimestampTz purging = DT_NOBEGIN;	/* events before this time */

/* A column of a row; false if there is no row, none of this name, or it is null. */
static bool
get_value(TriggerData *trigger, HeapTuple row, const char *name, Oid type,
		  Datum *value)
{
	AttrNumber	column = ak_trigger_column(trigger->tg_relation, name, type);
	bool		isnull = true;

	if (row != NULL && column > 0)
		*value = heap_getattr(row, column,
							  RelationGetDescr(trigger->tg_relation), &isnull);
	return !isnull;
}

/* The same of the row as it was, or the new one. */
static bool
get_row_value(TriggerData *trigger, const char *name, Oid type, Datum *value)
{
	return get_value(trigger, trigger->tg_trigtuple, name, type, value);
}

/* The row as it is now; NULL if there is none. */
static HeapTuple
get_new_row(TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple :
		TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple : NULL;
}

/*
 * Was the key of a new grant made by this very transaction?  Then no other
 * backend has it in its cache, and this one keeps it for one statement only.
 */
static bool
belongs_to_new_key(TriggerData *trigger)
{
	Datum		id;
	Snapshot	snapshot;
	bool		is_new = false;

	if (ak_insert_fires(AK_INSERT_KEY))
		return true;
	if (get_row_value(trigger, "key_id", UUIDOID, &id))
		AK_STORE_READ(snapshot)
			is_new = ak_store_key_is_uncommitted(snapshot, DatumGetUUIDP(id));
	return is_new;
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

/* Is one of our functions at work, which records it? */
static bool
is_recorded_by_us(void)
{
	return ak_sql_is_running() || ak_insert_fires(AK_INSERT_KEY) ||
		ak_insert_fires(AK_INSERT_RENAME);
}

/* Record what SQL did to a table. */
static void
record_sql(TriggerData *trigger)
{
	AkEvent		event = {.action = get_action(trigger->tg_event)};
	AkDetail	detail;
	AkName		organization;
	Datum		value;

	ak_detail_begin(&detail);
	ak_detail_add(&detail, "table",
				  RelationGetRelationName(trigger->tg_relation));
	ak_trigger_describe(trigger, &detail);
	event.detail = &detail;
	if (get_row_value(trigger, "key_id", UUIDOID, &value))
		event.key_id = DatumGetUUIDP(value);
	if (get_row_value(trigger, "organization", TEXTOID, &value))
	{
		organization = ak_name_of_text(value);
		event.organization = &organization;
	}
	ak_actor_record(&event);
}

/* ------------------------------------------------------------ revocation */

/* Columns of apikey_key that are final once the key is revoked */
typedef struct Final
{
	int			columns[2];		/* revoked_at, key_id */
	Datum		values[2];		/* as they were */
	bool		nulls[2];
} Final;

/*
 * Does this update of a key change what is final?  The id stands with the
 * revocation: another row could take it.
 */
static bool
changes_final(TriggerData *trigger, Final *final)
{
	static const char *const names[] = {"revoked_at", "key_id"};
	static const Oid types[] = {TIMESTAMPTZOID, UUIDOID};
	TupleTableSlot *old = trigger->tg_trigslot;
	bool		changed = false;

	for (int i = 0; i < 2; i++)
	{
		AttrNumber	column = ak_trigger_column(trigger->tg_relation, names[i],
											   types[i]);

		if (column == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("column \"%s\" of table \"%s\" is missing",
							names[i],
							RelationGetRelationName(trigger->tg_relation)),
					 errhint("Restore what was dropped or changed.")));
		final->columns[i] = column;
		final->values[i] = slot_getattr(old, column, &final->nulls[i]);
		changed |= !ak_trigger_same(old, trigger->tg_newslot, column);
	}
	return changed && !final->nulls[0];
}

pg_noreturn static void
refuse_final(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("API key is revoked"),
			 errdetail("Its revoked_at and key_id cannot be changed."),
			 errhint("A revoked key stays revoked; create another."),
			 errhidestmt(true)));
}

/*
 * Before each update of a key.  A subscription must go on, or it would bring no more
 * revocations: what was revoked here, and not where it comes from, just stays so.
 */
static HeapTuple
keep_revocation(TriggerData *trigger)
{
	Final		final;

	if (!changes_final(trigger, &final))
		return trigger->tg_newtuple;
	if (!IsLogicalWorker())
		refuse_final();
	return heap_modify_tuple_by_cols(trigger->tg_newtuple,
									 RelationGetDescr(trigger->tg_relation),
									 2, final.columns, final.values,
									 final.nulls);
}

/* -------------------------------------------------------------- triggers */

/*
 * A table of a later version of the extension, which this library does not know: rows go
 * with the keys that they belong to.
 */
#define LATER_TABLE		AK_TABLES

/* Does a script make such a trigger for apikey_changed? */
static bool
is_change(TriggerEvent event, AkTable table)
{
	return (table <= AK_TABLE_SUBSCRIPTION || table == LATER_TABLE) &&
		TRIGGER_FIRED_AFTER(event) &&
		(TRIGGER_FIRED_FOR_ROW(event) || TRIGGER_FIRED_BY_TRUNCATE(event));
}

/* And for apikey_keep? */
static bool
is_guard(TriggerEvent event, AkTable table)
{
	if (!TRIGGER_FIRED_BEFORE(event))
		return false;
	if (table == AK_TABLE_KEY)
		return TRIGGER_FIRED_FOR_ROW(event) && TRIGGER_FIRED_BY_UPDATE(event);
	return table == AK_TABLE_EVENT && !TRIGGER_FIRED_BY_INSERT(event) &&
		(TRIGGER_FIRED_FOR_ROW(event) || TRIGGER_FIRED_BY_TRUNCATE(event));
}

/* Returns the table; raises 39P01 unless this is such a trigger. */
static AkTable
begin_trigger(FunctionCallInfo fcinfo, const char *function,
			  bool (*is_made) (TriggerEvent event, AkTable table))
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	AkTable		table;

	if (CALLED_AS_TRIGGER(fcinfo))
	{
		Oid			oid = RelationGetRelid(trigger->tg_relation);

		ak_schema_accept();
		if (!ak_schema_find_table(oid, &table))
			table = LATER_TABLE;
		if (is_made(trigger->tg_event, table) &&
			(table != LATER_TABLE || ak_schema_has_member(RelationRelationId, oid)))
			return table;
	}
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("%s must be called by a trigger of extension \"apikey\"",
					function)));
}

/* Is the secret, as it is now, found in a way in which none was before? */
static bool
is_found_anew(TriggerData *trigger)
{
	Datum		value;
	AkRule		rule;

	if (!get_value(trigger, get_new_row(trigger), "lookup_rule", TEXTARRAYOID, &value))
		return false;
	rule = ak_store_read_rule(value);
	return ak_lookup_is_new(&rule);
}

/* The part of a topic that a row belongs to; that of all where none can be told. */
static AkPart
get_part(TriggerData *trigger, HeapTuple row, AkTopic topic)
{
	bool		by_id = topic == AK_TOPIC_KEY || topic == AK_TOPIC_GRANTS;
	Datum		value;
	AkName		organization;

	if (!get_value(trigger, row, by_id ? "key_id" : "organization",
				   by_id ? UUIDOID : TEXTOID, &value))
		return AK_PART_ALL;
	if (by_id)
		return ak_inval_part(topic, ak_inval_hash(DatumGetUUIDP(value),
												  sizeof(pg_uuid_t)));
	organization = ak_name_of_text(value);
	if (ak_name_equal(&organization, &ak_name_all))
		return AK_PART_ALL;
	return ak_inval_part(topic, ak_inval_hash(organization.data,
											  organization.len));
}

/* Both parts, if a row has moved from one to the other. */
static void
announce_parts(TriggerData *trigger, AkTopic topic)
{
	AkPart		before = get_part(trigger, trigger->tg_trigtuple, topic);
	AkPart		after = before;

	ak_inval_announce(before);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		after = get_part(trigger, trigger->tg_newtuple, topic);
	if (after != before)
		ak_inval_announce(after);
}

/* Tell all backends, unless none can have it in its cache. */
static void
announce(TriggerData *trigger, AkTable table)
{
	bool		insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);

	switch (table)
	{
		case AK_TABLE_PROJECT:
		case AK_TABLE_ENVIRONMENT:
			announce_parts(trigger, AK_TOPIC_REGISTRY);
			break;
		case AK_TABLE_SUSPENSION:
			announce_parts(trigger, AK_TOPIC_SUSPENSION);
			break;
		case AK_TABLE_KEY:
			if (!insert)
				announce_parts(trigger, AK_TOPIC_KEY);
			break;
		case AK_TABLE_SECRET:
			if (!insert || !belongs_to_new_key(trigger))
				announce_parts(trigger, AK_TOPIC_KEY);
			if (is_found_anew(trigger))
				ak_inval_announce(AK_PART_RULES);
			break;
		case AK_TABLE_GRANT:
			if (!insert || !belongs_to_new_key(trigger))
				announce_parts(trigger, AK_TOPIC_GRANTS);
			break;
		case AK_TABLE_SUBSCRIPTION: /* see staleness.h */
		case LATER_TABLE:
			ak_inval_announce(AK_PART_ALL);
			break;
		default:
			break;
	}
}

/* What a new row refers to is looked for by the library that knows the table. */
pg_noreturn static void
refuse_later_table(TriggerData *trigger)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is not known to the library of version %s, which this session has loaded",
					RelationGetRelationName(trigger->tg_relation), AK_VERSION),
			 errhint("Reconnect, or restart the server if the library is in \"shared_preload_libraries\".")));
}

/* Without the row nobody looks any more how old the keys are. */
pg_noreturn static void
refuse_subscription(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("subscriptions to API keys cannot be changed by SQL"),
			 errhint("apikey_set_max_staleness changes how old the keys may be, apikey_unsubscribe ends a subscription."),
			 errhidestmt(true)));
}

/*
 * After each change of a row, and after TRUNCATE.  Raises 23503 for a row that no
 * foreign key allows, see refer.h.  What takes something away must be on disk
 * before COMMIT returns, whatever synchronous_commit says: a crash must not bring
 * a revoked key back.  Not so of budgets and of what is counted of derived keys, which our
 * functions change most often by spending and deriving, and of the heartbeat: no decision
 * rests on them, or none after a crash.
 *
 * A row of apikey_subscription that SQL brings in can only have more refused, and a dump has
 * one.  At the publisher SQL may change the heartbeat: the worker soon renews all of it.
 */
AK_FUNCTION_INFO_V1(apikey_changed);
Datum
apikey_changed(PG_FUNCTION_ARGS)
{
	AkTable		table = begin_trigger(fcinfo, "apikey_changed", is_change);
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	bool		ours = is_recorded_by_us() || IsLogicalWorker();
	bool		copied = insert && !ours && is_copied(trigger);
	Final		final;

	if (ak_follow_has_table(table))
		ak_follow_refuse_change(copied);
	if (table == AK_TABLE_SUBSCRIPTION && !insert && !ours)
		refuse_subscription();
	if (insert && table == LATER_TABLE)
		refuse_later_table(trigger);
	ak_refer_check(trigger, copied);
	if (table == AK_TABLE_DERIVATION)
		ak_quota_forget();
	if ((table == AK_TABLE_BUDGET || table == AK_TABLE_DERIVATION ||
		 table == AK_TABLE_HEARTBEAT) && ours)
		return PointerGetDatum(NULL);
	announce(trigger, table);
	/* other triggers may have changed the row after keep_revocation() */
	if (table == AK_TABLE_KEY && TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		!IsLogicalWorker() && changes_final(trigger, &final))
		refuse_final();
	if (!insert || table == AK_TABLE_SUSPENSION)
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
		get_row_value(trigger, "at", TIMESTAMPTZOID, &at) &&
		DatumGetTimestampTz(at) < purging;
}

/*
 * Before each change of an event, before TRUNCATE of events, and before each update
 * of a key.
 */
AK_FUNCTION_INFO_V1(apikey_keep);
Datum
apikey_keep(PG_FUNCTION_ARGS)
{
	AkTable		table = begin_trigger(fcinfo, "apikey_keep", is_guard);
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (table == AK_TABLE_KEY)
		return PointerGetDatum(keep_revocation(trigger));
	if (!is_purged(trigger) && !IsLogicalWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("events cannot be changed or removed"),
				 errhint("apikey_purge_events removes old ones.")));
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}

/* ----------------------------------------------------------------- purge */

/* Remove the events before this time; returns how many. */
static uint64
purge_events(TimestampTz before)
{
	static AkSql delete_events = {
		AK_TABLE_EVENT, 0,
		.query = "DELETE FROM $S.apikey_event WHERE at < $1"
	};
	volatile uint64 count = 0;

	purging = before;
	PG_TRY();
	{
		count = ak_sql_run(&delete_events, ak_value_time(before));
	}
	PG_FINALLY();
	{
		purging = DT_NOBEGIN;
	}
	PG_END_TRY();
	return count;
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
	count = purge_events(PG_GETARG_TIMESTAMPTZ(0));
	if (count == 0)
		PG_RETURN_INT64(0);

	ak_detail_begin(&detail);
	ak_detail_add_time(&detail, "before", PG_GETARG_TIMESTAMPTZ(0));
	ak_detail_add(&detail, "count", psprintf(INT64_FORMAT, count));
	event.detail = &detail;
	ak_event_append(NULL, &event);
	PG_RETURN_INT64(count);
}
