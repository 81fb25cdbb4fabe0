/*
 * compat.h
 *		What differs between the supported PostgreSQL versions, 15 to 19.
 *
 * The only file that looks at PG_VERSION_NUM.  The rest of the code is
 * written for the newest version; this header supplies it on older ones.
 */
#ifndef AK_COMPAT_H
#define AK_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/plannodes.h"
#include "parser/parse_relation.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/jsonb.h"

#if PG_VERSION_NUM < 150000
#error "apikey needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"				/* postgres.h no longer has it */
#endif

#if PG_VERSION_NUM < 160000
#define fs_base_relids	fs_relids	/* no outer joins among them yet */
#define object_ownercheck(classid, objectid, roleid) \
	pg_class_ownercheck(objectid, roleid)
#define object_aclcheck(classid, objectid, roleid, mode) \
	((classid) == NamespaceRelationId ? \
	 pg_namespace_aclcheck(objectid, roleid, mode) : \
	 pg_proc_aclcheck(objectid, roleid, mode))
#define pgstat_get_local_beentry_by_index(index) \
	pgstat_fetch_stat_local_beentry(index)
#endif

/* ExecutorRun had another parameter. */
#if PG_VERSION_NUM >= 180000
#define AK_EXECUTE_ONCE_PARAMETER
#define AK_EXECUTE_ONCE_ARGUMENT
#else
#define AK_EXECUTE_ONCE_PARAMETER	, bool execute_once
#define AK_EXECUTE_ONCE_ARGUMENT	, execute_once
#endif

/*
 * Is this a relation that a query names, not a child of one?  Then "role" is whose
 * rights count, InvalidOid for the current one's.
 */
static inline bool
ak_is_named(const PlannedStmt *statement, RangeTblEntry *entry, Oid *role)
{
#if PG_VERSION_NUM >= 160000
	if (entry->perminfoindex == 0)
		return false;
	*role = getRTEPermissionInfo(statement->permInfos, entry)->checkAsUser;
	return true;
#else
	*role = entry->checkAsUser;
	return entry->requiredPerms != 0;
#endif
}

/* The constraints of a table that rows are added to, ready to run. */
#if PG_VERSION_NUM >= 180000
#define AK_CHECK_EXPRS(info)	((info)->ri_CheckConstraintExprs)
#else
#define AK_CHECK_EXPRS(info)	((info)->ri_ConstraintExprs)
#endif

#if PG_VERSION_NUM < 180000
#define ATTRIBUTE_GENERATED_VIRTUAL 'v' /* never met */
#define pg_noreturn pg_attribute_noreturn()
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys, \
						flags) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#elif PG_VERSION_NUM < 190000
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys, \
						flags) \
	index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys)
#endif

/* How a column of an index is sorted, or the rows of a path. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#define AK_IS_DESCENDING(pathkey) \
	((pathkey)->pk_cmptype == COMPARE_GT)
#else
#define PrepareSortSupportFromIndexRel(index, reverse, sort) \
	PrepareSortSupportFromIndexRel(index, (reverse) ? BTGreaterStrategyNumber : \
								   BTLessStrategyNumber, sort)
#define AK_IS_DESCENDING(pathkey) \
	((pathkey)->pk_strategy == BTGreaterStrategyNumber)
#endif

/* Has a column, from 0, no nulls?  Since 18 a NOT NULL may be NOT VALID. */
static inline bool
ak_is_not_null(TupleDesc desc, int column)
{
#if PG_VERSION_NUM >= 180000
	return TupleDescCompactAttr(desc, column)->attnullability == ATTNULLABLE_VALID;
#else
	return TupleDescAttr(desc, column)->attnotnull;
#endif
}

#if PG_VERSION_NUM < 190000
#define ExecInitScanTupleSlot(estate, state, desc, ops, flags) \
	ExecInitScanTupleSlot(estate, state, desc, ops)
#define table_index_fetch_begin(rel, flags) table_index_fetch_begin(rel)
#define table_beginscan(rel, snapshot, nkeys, key, flags) \
	table_beginscan(rel, snapshot, nkeys, key)

/* JSON that is being made; its result when it is complete. */
typedef struct JsonbInState
{
	JsonbValue *result;
	JsonbParseState *parseState;
} JsonbInState;

#define pushJsonbValue(state, token, value) \
	((state)->result = pushJsonbValue(&(state)->parseState, token, value))
#endif

/* May the current role do what a statement does to its tables?  Else an error. */
#if PG_VERSION_NUM >= 160000
#define AK_CHECK_PERMISSIONS(statement) \
	((void) ExecCheckPermissions((statement)->rtable, (statement)->permInfos, true))
#else
#define AK_CHECK_PERMISSIONS(statement) \
	((void) ExecCheckRTPerms((statement)->rtable, true))
#endif

/* The planner, and so its hook, is told what EXPLAIN wants. */
#if PG_VERSION_NUM >= 190000
#define AK_NO_EXPLAIN			, NULL
#define AK_EXPLAIN_PARAMETER	, ExplainState *explain
#define AK_EXPLAIN_ARGUMENT		, explain
typedef const struct JumbleState AkJumbleState;
#else
#define AK_NO_EXPLAIN
#define AK_EXPLAIN_PARAMETER
#define AK_EXPLAIN_ARGUMENT
typedef struct JumbleState AkJumbleState;
#endif

/*
 * How the partitions of an Append or MergeAppend are pruned, or NULL; and to say so in a
 * copy of a statement, where at first it is said of none.
 */
#if PG_VERSION_NUM >= 180000
#define AK_PRUNE_INFO(statement, node) \
	((node)->part_prune_index < 0 ? NULL : \
	 (PartitionPruneInfo *) list_nth((statement)->partPruneInfos, \
									 (node)->part_prune_index))
#define AK_SET_PRUNE_INFO(statement, node, info) \
	((node)->part_prune_index = ak_add_prune_info(statement, info))

static inline int
ak_add_prune_info(PlannedStmt *statement, PartitionPruneInfo *info)
{
	if (info == NULL)
		return -1;
	statement->partPruneInfos = lappend(statement->partPruneInfos, info);
	return list_length(statement->partPruneInfos) - 1;
}
#else
#define AK_PRUNE_INFO(statement, node) \
	((node)->part_prune_info)
#define AK_SET_PRUNE_INFO(statement, node, info) \
	((node)->part_prune_info = (info))
#endif

static inline void
ak_forget_prune_infos(PlannedStmt *statement)
{
#if PG_VERSION_NUM >= 180000
	statement->partPruneInfos = NIL;
	statement->unprunableRelids = bms_copy(statement->unprunableRelids);
#endif
}

/* The tables that are opened though nothing prunes when execution starts; NULL: all are. */
static inline Bitmapset **
ak_unprunable_tables(PlannedStmt *statement)
{
#if PG_VERSION_NUM >= 180000
	return &statement->unprunableRelids;
#else
	return NULL;
#endif
}

/* A Result without a plan below it is there for a scan of these relations, or a join. */
static inline void
ak_replace_scan(Result * result, const Bitmapset *relations)
{
#if PG_VERSION_NUM >= 190000
	result->result_type = bms_membership(relations) == BMS_MULTIPLE ?
		RESULT_TYPE_JOIN : RESULT_TYPE_SCAN;
	result->relids = bms_copy(relations);
#endif
}

/* EXPLAIN (GENERIC_PLAN) executes no steps. */
#if PG_VERSION_NUM < 160000
#define EXEC_FLAG_EXPLAIN_GENERIC	0
#endif

/* The hook into the planner's making of a relation, "rel"; before, for tables only. */
#if PG_VERSION_NUM >= 190000
#define AK_BUILD_REL_PARAMETERS RelOptInfo *rel, RangeTblEntry *entry
#define AK_BUILD_REL_ARGUMENTS	rel, entry
#else
#define AK_BUILD_REL_PARAMETERS Oid table, bool inherited, RelOptInfo *rel
#define AK_BUILD_REL_ARGUMENTS	table, inherited, rel
#define build_simple_rel_hook_type get_relation_info_hook_type
#define build_simple_rel_hook	get_relation_info_hook
#endif

/*
 * Add the entries for a new row to the indexes of its table.  Returns the indexes
 * whose constraints are to be checked again later.
 */
static inline List *
ak_insert_index_entries(ResultRelInfo *info, TupleTableSlot *slot,
						EState *estate)
{
#if PG_VERSION_NUM >= 190000
	return ExecInsertIndexTuples(info, estate, 0, slot, NIL, NULL);
#elif PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL,
								 false);
#else
	return ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL);
#endif
}

/* An index's field for its estimator had no parameters: none at all, to C23. */
#if PG_VERSION_NUM >= 170000
#define AK_COST_ESTIMATOR(function) (function)
#else
#define AK_COST_ESTIMATOR(function) ((void (*) ()) (function))
#endif

/*
 * From 17 on a btree is scanned once for all elements of an array, in its own
 * order, whatever column the array is for; and two arrays are made one.
 */
#define AK_ARRAYS_KEEP_ORDER	(PG_VERSION_NUM >= 170000)

/* From 19 on a logical slot by itself has the WAL written for it. */
#if PG_VERSION_NUM >= 190000
#define AK_WAL_LEVEL_LOGICAL	WAL_LEVEL_REPLICA
#else
#define AK_WAL_LEVEL_LOGICAL	WAL_LEVEL_LOGICAL
#endif

/* From 18 on pg_get_loaded_modules() tells which library a session has loaded. */
#if PG_VERSION_NUM >= 180000
#define AK_MODULE_MAGIC(name_, version_) \
	PG_MODULE_MAGIC_EXT(.name = name_, .version = version_)
#else
#define AK_MODULE_MAGIC(name_, version_) \
	PG_MODULE_MAGIC
#endif

/*
 * What libpqwalreceiver is told of a connection besides: for logical replication, and no
 * password is asked for.
 */
#if PG_VERSION_NUM >= 170000
#define AK_WALRCV_LOGICAL	true, true, false
#define AK_WALRCV_CHECK		, false
#elif PG_VERSION_NUM >= 160000
#define AK_WALRCV_LOGICAL	true, false
#define AK_WALRCV_CHECK		, false
#else
#define AK_WALRCV_LOGICAL	true
#define AK_WALRCV_CHECK
#endif

/* The two halves of this session's virtual transaction, as pg_locks writes it */
#if PG_VERSION_NUM >= 170000
#define AK_MY_VXID	MyProcNumber, MyProc->vxid.lxid
#else
#define AK_MY_VXID	MyBackendId, MyProc->lxid
#endif

/* What subscriptions of this version have besides, see replication/subscribe.c. */
#define AK_HAS_FAILOVER_SLOTS	(PG_VERSION_NUM >= 170000)

/*
 * A function that SQL calls.  PostgreSQL 15 exports only its finfo record
 * from a library of hidden symbols.
 */
#define AK_FUNCTION_INFO_V1(name) \
extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
PG_FUNCTION_INFO_V1(name)

#endif							/* AK_COMPAT_H */
