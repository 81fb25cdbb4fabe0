/*
 * leakproof.c
 *		Calls of apikey_authorize behind a restrictive policy.
 *
 * PostgreSQL checks restrictive policies before permissive ones.  What comes later may
 * use an index only if it is leakproof: it tells nothing about a row but its answer,
 * which the planner sees to that nobody gets.  apikey_authorize is not, for
 *
 * - a verb that does not exist is an error, and verbs can come from rows;
 * - so can keys: looking one up counts as a guess or as a use, and takes the time of a
 *   bcrypt if it was imported;
 * - an identifier of some type is printed by the output function of that type, which can
 *   do anything;
 * - a refusal is counted, unless it is about a row of a scan.
 *
 * A call of a policy has mostly none of that: its verb is a constant that exists, the key
 * is the session's, project and environment are columns of types that are printed here,
 * without an error.  Such a call is replaced by one of apikey_internal.authorize, the same
 * function but for a check that the call is of this form.  That one is marked LEAKPROOF.
 * Nothing that it does depends on the row, except what follows from the answer:
 *
 * - That the key was asked is counted once a statement, whatever it was asked about; an
 *   index condition on the projects of the key has it counted without any row.
 * - Messages are taken in by the number of rows, and what these lead to depends on the
 *   key alone.  So do all reasons to refuse the key itself.
 * - The registry is read where a grant of the key matches the row, once for each pair; a
 *   row like the one before is decided faster.  The time can tell that a row has the pair
 *   (p, e), to whoever has asked about that before.  They can ask project = 'p' just as
 *   well: the equality of these types is leakproof, and the time of an index scan by it
 *   tells more.  By this measure, whether PostgreSQL calls the equality leakproof, types
 *   are chosen: so no enums.
 *
 * It is replaced only where another condition stands before, in policies alone, by a hook,
 * see paths.c.
 */
#include "postgres.h"

#include "planner/leakproof.h"

#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "planner/condition.h"
#include "planner/support.h"
#include "table/schema.h"
#include "utils/lsyscache.h"

/* May values of this argument be compared before policies are checked? */
static bool
is_comparable(Node *argument)
{
	Oid			type;
	Oid			equality;

	return ak_condition_type(argument, &type, &equality) &&
		get_func_leakproof(get_opcode(equality));
}

/* What a call is replaced by; NULL if it stays. */
static Node *
get_leakproof_call(FuncExpr *function)
{
	static const Oid types[] = {ANYOID, ANYOID, TEXTOID};
	AkCall		call = ak_support_call(function->args);
	Oid			leakproof;
	Node	   *result;

	if (call.key != NULL || call.level == AK_LEVEL_NONE ||
		!is_comparable(call.names[AK_REACH_PROJECTS]) ||
		!is_comparable(call.names[AK_REACH_ENVIRONMENTS]) ||
		!contain_var_clause((Node *) function) ||
		!ak_condition_may_call(function->funcid))
		return NULL;
	ak_schema_accept();
	leakproof = ak_condition_function(ak_schema_get()->internal, "authorize",
									  types, lengthof(types));
	if (!OidIsValid(leakproof))
		return NULL;
	result = (Node *) makeFuncExpr(leakproof, BOOLOID, function->args, InvalidOid,
								   DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
	/* an argument may leak, too */
	return contain_leaked_vars(result) ? NULL : result;
}

void
ak_leakproof_replace(PlannerInfo *root, RelOptInfo *rel)
{
	bool		others = false;
	ListCell   *level;
	ListCell   *cell;

	/* those of a level are checked in any order, and before those of the next */
	foreach(level, planner_rt_fetch(rel->relid, root)->securityQuals)
	{
		bool		others_here = false;

		foreach(cell, castNode(List, lfirst(level)))
		{
			Node	   *call = NULL;

			if (!ak_support_is_call(lfirst(cell)))
				others_here = true;
			else if (others)
				call = get_leakproof_call(lfirst(cell));
			if (call != NULL)
				lfirst(cell) = call;
		}
		others |= others_here;
	}
}
