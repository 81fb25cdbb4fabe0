/*
 * strict.c
 *		Tables that are protected with strict => true; see strict.h.
 *
 * Whoever reads such a table needs a good key.  No policy can demand it: PostgreSQL
 * evaluates policies for rows, and where no row is found, not at all.  So the key is
 * checked when a statement starts.
 *
 * A policy is evaluated before the conditions of a statement, and so cannot raise an
 * error about a row: the statement may not have meant it.  So the policies of a strict
 * table let UPDATE and DELETE find each row that the key can read, by the same index,
 * and triggers judge the rows that really are updated or deleted, by their old values.
 * The new ones are for WITH CHECK.
 *
 * That rests on the triggers, which may be missing: they can be disabled to load data,
 * and children of inheritance have none.  They judge the role that runs the statement,
 * whereas a policy may be evaluated for the owner of a view.  So the policies for UPDATE
 * and DELETE first ask, of the table that a row is in, whether the row will be judged.
 *
 * Triggers fire in the order of their names.  Those that judge must be the first: a
 * trigger that fires earlier could already have acted on the row.
 *
 * An UPDATE that moves a row to another partition deletes it in the old one, and may
 * do that with "write".  So a trigger notes each row before an UPDATE, and the one
 * that judges the DELETE lets that row pass which was noted just before.  The note is
 * made by the last of all triggers: nothing can suppress the UPDATE any more, and
 * either the row moves at once, or it is another version by then, which a DELETE of
 * the same command, of a MERGE say, does not get to see.  Where another trigger comes
 * later nothing is noted, and moving needs "manage".  (Of a table that is protected by
 * organization a DELETE needs no more than an UPDATE, and so nothing is ever noted.)
 *
 * A role that is not subject to row-level security is not judged: owners, superusers,
 * what foreign keys cascade, what a subscription applies.
 */
#include "postgres.h"

#include "planner/strict.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/use.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/partition.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "table/ddl.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#define JUDGES	3

/* Arguments of a trigger. */
enum
{
	DUTY,						/* "update", "delete" or "move" */
	NEEDED,						/* as it stands in the error, "level write"
								 * say */
	JUDGE_ARGS
};

typedef enum Duty
{
	UPDATES,
	DELETES,
	MOVES						/* judges nothing */
} Duty;

typedef struct Judge
{
	const char *name;
	const char *duty;
	int16		type;
	const char *event;
	const char *verb;			/* called if the key may not do this; NULL:
								 * what a DELETE needs */
} Judge;

/* By duty. */
static const Judge judges[JUDGES] = {
	{"00_apikey_update", "update",
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE,
	"UPDATE", "write"},
	{"00_apikey_delete", "delete",
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_DELETE,
	"DELETE", NULL},
	{"zz_apikey_move", "move",
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE,
	"UPDATE", NULL}
};

/* The last row that was noted. */
static struct
{
	Oid			relation;		/* InvalidOid: none */
	ItemPointerData row;
	AkMoment	moment;
}			noted;

/* What a call site keeps; it belongs to one statement. */
typedef struct Site
{
	Oid			relation;		/* that was looked at; InvalidOid: none */
	Oid			role;			/* for this role */
	bool		subject;		/* is it subject to row-level security? */
} Site;

static Site *
get_site(FunctionCallInfo fcinfo)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;

	if (flinfo->fn_extra == NULL)
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt,
												  sizeof(Site));
	return flinfo->fn_extra;
}

/* ------------------------------------------------------------- the judges */

/* By names, as the session may not have looked up our OIDs yet. */
static bool
is_our_function(Oid function)
{
	const char *name = get_func_name(function);
	const char *schema;

	if (name == NULL || strcmp(name, AK_STRICT_TRIGGER) != 0)
		return false;
	schema = get_namespace_name(get_func_namespace(function));
	return schema != NULL && strcmp(schema, AK_INTERNAL) == 0;
}

/* NULL for a trigger that is not one of ours. */
static const Judge *
find_judge(const Trigger *trigger)
{
	if (trigger->tgnargs != JUDGE_ARGS || trigger->tgnattr != 0)
		return NULL;
	for (int i = 0; i < JUDGES; i++)
		if (trigger->tgtype == judges[i].type &&
			strcmp(trigger->tgargs[DUTY], judges[i].duty) == 0)
			return &judges[i];
	return NULL;
}

static bool
has_our_function(const List *functions)
{
	const ListCell *cell;

	foreach(cell, functions)
	{
		if (is_our_function(lfirst_oid(cell)))
			return true;
	}
	return false;
}

/*
 * Whose functions the triggers call is looked up when all triggers have been looked at:
 * the relcache may make them anew whenever something is looked up.
 */
static bool
has_triggers(Oid relation, LOCKMODE lock)
{
	Relation	rel = relation_open(relation, lock);
	TriggerDesc *triggers = rel->trigdesc;
	List	   *functions[JUDGES] = {NIL};

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
		const Judge *judge = find_judge(trigger);

		if (judge != NULL && trigger->tgenabled == TRIGGER_FIRES_ALWAYS)
			functions[judge - judges] = lappend_oid(functions[judge - judges],
													trigger->tgfoid);
	}
	relation_close(rel, lock);
	for (int i = 0; i < JUDGES; i++)
		if (!has_our_function(functions[i]))
			return false;
	return true;
}

bool
ak_strict_has_triggers(Oid relation)
{
	return has_triggers(relation, AccessShareLock);
}

/*
 * Is the current role subject to row-level security of this table, or of one that it
 * is a partition of?
 */
static bool
is_subject(Site *site, Oid relation)
{
	List	   *ancestors = NIL;
	ListCell   *cell;

	if (site->relation == relation && site->role == GetUserId())
		return site->subject;
	site->relation = InvalidOid;
	if (get_rel_relispartition(relation))
		ancestors = get_partition_ancestors(relation);
	site->subject = check_enable_rls(relation, InvalidOid, true) == RLS_ENABLED;
	foreach(cell, ancestors)
		site->subject |= check_enable_rls(lfirst_oid(cell), InvalidOid,
										  true) == RLS_ENABLED;
	list_free(ancestors);
	site->role = GetUserId();
	site->relation = relation;
	return site->subject;
}

AK_FUNCTION_INFO_V1(apikey_judged);
Datum
apikey_judged(PG_FUNCTION_ARGS)
{
	Oid			relation = PG_GETARG_OID(0);
	Site	   *site = get_site(fcinfo);
	const char *name;

	/*
	 * A row that changed while we waited for it is looked at again, and then
	 * PostgreSQL may not tell the table any more: that it was told before.
	 */
	if (!OidIsValid(relation) ||
		(site->relation == relation && site->role == GetUserId()))
		PG_RETURN_BOOL(true);
	name = get_rel_name(relation);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	if (!ak_strict_has_triggers(relation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("triggers of strict table \"%s\" are missing or not enabled always",
						name),
				 errdetail("Without them a key could change each row that it can read."),
				 errhint("Call apikey_protect again.")));
	if (!is_subject(site, relation))
	{
		site->relation = InvalidOid;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" cannot change rows of strict table \"%s\" with the rights of another role",
						GetUserNameFromId(GetUserId(), false),
						name),
				 errdetail("The role is not subject to row-level security of the table, and so its triggers would not judge it.")));
	}
	PG_RETURN_BOOL(true);
}

/* All rows pass; by default the planner would expect a third of them. */
AK_FUNCTION_INFO_V1(apikey_judged_support);
Datum
apikey_judged_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestSelectivity))
		PG_RETURN_POINTER(NULL);
	((SupportRequestSelectivity *) request)->selectivity = 1;
	PG_RETURN_POINTER(request);
}

/* ------------------------------------------------------------ the verdict */

/* Raises 39P01 unless this is a trigger as apikey_protect makes it. */
static const Judge *
get_judge(FunctionCallInfo fcinfo)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	const Judge *judge = NULL;

	if (CALLED_AS_TRIGGER(fcinfo))
		judge = find_judge(data->tg_trigger);
	if (judge == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg(AK_STRICT_TRIGGER " must be called by a trigger that apikey_protect made")));
	return judge;
}

/* Of those that are called before a row is updated; they are sorted by name. */
static bool
is_last_trigger(const TriggerData *data)
{
	TriggerDesc *triggers = data->tg_relation->trigdesc;
	Oid			last = InvalidOid;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgenabled != TRIGGER_DISABLED &&
			TRIGGER_TYPE_MATCHES(triggers->triggers[i].tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE))
			last = triggers->triggers[i].tgoid;
	return last == data->tg_trigger->tgoid;
}

/* Note the row that an UPDATE is about to change.  Only rows of partitions can move. */
static void
note_update(const TriggerData *data)
{
	noted.relation = InvalidOid;
	if (!data->tg_relation->rd_rel->relispartition || !is_last_trigger(data))
		return;
	noted.row = data->tg_trigtuple->t_self;
	ak_inval_set_moment(&noted.moment);
	noted.relation = RelationGetRelid(data->tg_relation);
}

/* Has just been noted that this row is updated? */
static bool
was_noted(const TriggerData *data)
{
	Oid			relation = noted.relation;

	noted.relation = InvalidOid;
	return relation == RelationGetRelid(data->tg_relation) &&
		ItemPointerIsValid(&noted.row) &&
		ItemPointerEquals(&noted.row, &data->tg_trigtuple->t_self) &&
		ak_inval_is_moment(&noted.moment);
}

/* Raises 28000 unless the session has a good key. */
static void
require_key(void)
{
	const AkKey *key;
	AkReason	reason;

	ak_schema_accept();
	key = ak_authn_session();
	reason = ak_authz_check_key(key);
	if (reason == AK_REASON_GOOD)
		return;
	ak_use_asked(key, reason);
	ak_authn_require_session(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION);
	ak_authz_refuse(key);
}

static void
refuse_change(const TriggerData *data, const Judge *judge)
{
	Relation	rel = data->tg_relation;

	require_key();
	ak_use_refused(ak_authn_session(), AK_REASON_NO_GRANT);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied by API key"),
			 errdetail("To %s this row of table \"%s\" the key needs the %s.",
					   judge->duty, RelationGetRelationName(rel),
					   data->tg_trigger->tgargs[NEEDED]),
			 errtable(rel), errhidestmt(true)));
}

/* Called only for a row for which the key lacks the level: see the WHEN below. */
AK_FUNCTION_INFO_V1(apikey_judge);
Datum
apikey_judge(PG_FUNCTION_ARGS)
{
	const Judge *judge = get_judge(fcinfo);
	TriggerData *data = (TriggerData *) fcinfo->context;
	Duty		duty = judge - judges;

	if (duty == MOVES)
		note_update(data);
	else if (!(duty == DELETES && was_noted(data)) &&
			 is_subject(get_site(fcinfo), RelationGetRelid(data->tg_relation)))
		refuse_change(data, judge);
	return PointerGetDatum(duty == DELETES ? data->tg_trigtuple :
						   data->tg_newtuple);
}

/* ------------------------------------------------------------- statements */

/*
 * Is it subject to policies of a strict table?  A child has those of its parent.  What a
 * plan names has been locked.
 */
static bool
is_strict(const PlannedStmt *statement, RangeTblEntry *entry)
{
	Oid			role;

	return entry->rtekind == RTE_RELATION &&
		(entry->relkind == RELKIND_RELATION ||
		 entry->relkind == RELKIND_PARTITIONED_TABLE) &&
		ak_is_named(statement, entry, &role) &&
		check_enable_rls(entry->relid, role, true) == RLS_ENABLED &&
		has_triggers(entry->relid, NoLock);
}

static ExecutorStart_hook_type next_start;

static void
start_execution(QueryDesc *query, int flags)
{
	const PlannedStmt *statement = query->plannedstmt;
	ListCell   *cell;

	if (!(flags & EXEC_FLAG_EXPLAIN_ONLY) && !IsParallelWorker())
	{
		foreach(cell, statement->rtable)
		{
			if (is_strict(statement, lfirst_node(RangeTblEntry, cell)))
			{
				require_key();
				break;
			}
		}
	}
	if (next_start != NULL)
		next_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

void
ak_strict_init(void)
{
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start_execution;
}

/* -------------------------------------------------------------------- DDL */

Oid
ak_strict_create_triggers(Oid relation, const char *name,
						  const AkProtection *protection, const char *old_columns)
{
	Oid			owner;
	Oid			function = ak_ddl_function(AK_STRICT_TRIGGER, &owner);
	List	   *there = ak_ddl_triggers(relation, function, true);

	for (int i = 0; i < JUDGES; i++)
	{
		const Judge *judge = &judges[i];
		const char *trigger = quote_identifier(judge->name);
		const char *verb = judge->verb ? judge->verb : protection->verb_of_delete;

		if (list_member(there, makeString(unconstify(char *, judge->name))))
			continue;
		ak_ddl_execute_as(owner,
						  psprintf("CREATE TRIGGER %s BEFORE %s ON %s FOR EACH ROW"
								   " WHEN (NOT %s.%s(%s, '%s'))"
								   " EXECUTE FUNCTION " AK_INTERNAL "." AK_STRICT_TRIGGER
								   "('%s', '%s %s')",
								   trigger, judge->event, name,
								   quote_identifier(ak_schema_name()),
								   protection->decide, old_columns, verb,
								   judge->duty, protection->level, verb));
		ak_ddl_execute(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
								name, trigger));
	}
	return owner;
}

void
ak_strict_drop_triggers(Oid relation)
{
	Oid			owner;
	Oid			function = ak_ddl_function(AK_STRICT_TRIGGER, &owner);
	ListCell   *cell;

	foreach(cell, ak_ddl_triggers(relation, function, false))
		ak_ddl_drop_trigger(strVal(lfirst(cell)), relation);
}
