/*
 * condition.c
 *		What conditions are made of; see condition.h.
 */
#include "postgres.h"

#include "planner/condition.h"

#include "base/compat.h"
#include "base/ident.h"
#include "base/name.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

AkLevel
ak_condition_level(Node *verb)
{
	Const	   *constant = (Const *) verb;
	AkName		name;

	if (!IsA(verb, Const) || constant->constisnull)
		return AK_LEVEL_NONE;
	name = ak_name_of_text(constant->constvalue);
	return ak_level_of_verb(name.data, name.len);
}

bool
ak_condition_type(Node *argument, Oid *type, Oid *equality)
{
	*type = getBaseType(exprType(argument));
	if (*type == VARCHAROID)
		*type = TEXTOID;
	if (!ak_ident_listable(*type))
		return false;
	*equality = lookup_type_cache(*type, TYPECACHE_EQ_OPR)->eq_opr;
	return OidIsValid(*equality);
}

Node *
ak_condition_column(Node *argument, Oid type)
{
	if (exprType(argument) == type)
		return argument;
	return (Node *) makeRelabelType((Expr *) argument, type, -1,
									exprCollation(argument),
									COERCE_IMPLICIT_CAST);
}

bool
ak_condition_may_call(Oid function)
{
	return object_aclcheck(ProcedureRelationId, function, GetUserId(),
						   ACL_EXECUTE) == ACLCHECK_OK;
}

Oid
ak_condition_function(Oid namespace, const char *name, const Oid *types,
					  int count)
{
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										   CStringGetDatum(name),
										   PointerGetDatum(buildoidvector(types,
																		  count)),
										   ObjectIdGetDatum(namespace));

	if (!OidIsValid(function) || !ak_condition_may_call(function))
		return InvalidOid;
	return function;
}
