/*
 * args.c
 *		Arguments of the SQL-callable functions; see args.h.
 */
#include "postgres.h"

#include "base/args.h"

#include "base/compat.h"
#include "base/token.h"
#include "catalog/objectaddress.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

void
ak_arg_refuse_null(FunctionCallInfo fcinfo, int argno, const char *what)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

void
ak_arg_refuse_all(const AkName *name, const char *what)
{
	if (ak_name_equal(name, &ak_name_all))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be \"*\"", what)));
}

/* The declared type of an argument, as far as this call makes it known. */
static Oid
argument_type(FmgrInfo *flinfo, int argno)
{
	Oid			type = get_fn_expr_argtype(flinfo, argno);

	if (!OidIsValid(type))
	{
		Oid		   *types;
		int			count;

		(void) get_func_signature(flinfo->fn_oid, &types, &count);
		type = types[argno];
	}
	if (type == ANYOID)
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_DATATYPE),
				 errmsg("could not determine type of argument %d", argno + 1)));
	return type;
}

bool
ak_arg_name(FunctionCallInfo fcinfo, int argno, AkIdentType *type, AkName *name)
{
	if (PG_ARGISNULL(argno))
		return false;
	if (unlikely(!OidIsValid(type->type)))
		ak_ident_prepare(type, argument_type(fcinfo->flinfo, argno),
						 fcinfo->flinfo->fn_mcxt);
	if (!ak_ident_print(type, PG_GETARG_DATUM(argno), name))
		name->len = 0;
	return true;
}

AkName
ak_arg_required_name(FunctionCallInfo fcinfo, int argno, const char *what)
{
	AkIdentType *type = palloc0(sizeof(AkIdentType));

	ak_arg_refuse_null(fcinfo, argno, what);
	ak_ident_prepare(type, argument_type(fcinfo->flinfo, argno),
					 fcinfo->flinfo->fn_mcxt);
	return ak_ident_require(type, PG_GETARG_DATUM(argno), what);
}

int
ak_arg_names(FunctionCallInfo fcinfo, int argno, const char *what,
			 AkName **names)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argno), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &count);
	*names = palloc(Max(count, 1) * sizeof(AkName));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", what)));
		(*names)[i] = ak_name_of_text(elements[i]);
	}
	return count;
}

Oid
ak_arg_owned_relation(FunctionCallInfo fcinfo, int argno)
{
	Oid			relation;
	const char *name;

	ak_arg_refuse_null(fcinfo, argno, "relation");
	relation = PG_GETARG_OID(argno);
	name = get_rel_name(relation);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	if (!object_ownercheck(RelationRelationId, relation, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER,
					   get_relkind_objtype(get_rel_relkind(relation)), name);
	return relation;
}

AkName
ak_arg_token(FunctionCallInfo fcinfo, int argno)
{
	Size		len;

	if (PG_ARGISNULL(argno))
		return ak_name_make(NULL, 0);
	len = ak_name_text_length(PG_GETARG_DATUM(argno));
	if (len == 0 || len > AK_KEY_TEXT_MAX)
		return ak_name_make(NULL, len);
	return ak_name_of_text(PG_GETARG_DATUM(argno));
}

char *
ak_arg_string(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL :
		TextDatumGetCString(PG_GETARG_DATUM(argno));
}

const char *
ak_arg_prefix(FunctionCallInfo fcinfo, int argno)
{
	char	   *prefix = ak_arg_string(fcinfo, argno);

	if (prefix == NULL)
		return NULL;
	if (!ak_token_prefix_valid(prefix, strlen(prefix)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid prefix of an API key"),
				 errdetail("A prefix is a lower case letter, then lower case letters, digits and underscores, %d bytes at most.",
						   AK_PREFIX_MAX)));
	return prefix;
}

Jsonb *
ak_arg_parse_json(const char *string)
{
	MemoryContext before = CurrentMemoryContext;
	Jsonb	   *volatile json = NULL;

	PG_TRY();
	{
		json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												  CStringGetDatum(string)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return json;
}

Jsonb *
ak_arg_json(FunctionCallInfo fcinfo, int argno, uint32 kind)
{
	Jsonb	   *json = PG_GETARG_JSONB_P(argno);
	Jsonb	   *held;
	JsonbValue	value;
	char	   *encoded;

	if (!JB_ROOT_IS_SCALAR(json) ||
		!JsonbExtractScalar(&json->root, &value) || value.type != jbvString)
		return json;
	encoded = pnstrdup(value.val.string.val, value.val.string.len);
	held = ak_arg_parse_json(encoded);
	explicit_bzero(encoded, value.val.string.len);
	if (held == NULL || JB_ROOT_IS_SCALAR(held) ||
		(held->root.header & kind) == 0)
		return json;
	if (json != (Jsonb *) PG_GETARG_POINTER(argno))
		explicit_bzero(json, VARSIZE(json));	/* it may hold keys */
	return held;
}

AkLevel
ak_arg_verb(FunctionCallInfo fcinfo, int argno)
{
	AkLevel		level = AK_LEVEL_NONE;

	if (PG_ARGISNULL(argno))
		return AK_LEVEL_NONE;
	if (ak_name_text_length(PG_GETARG_DATUM(argno)) <= NAMEDATALEN)
	{
		AkName		verb = ak_name_of_text(PG_GETARG_DATUM(argno));

		level = ak_level_of_verb(verb.data, verb.len);
	}
	if (level == AK_LEVEL_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown verb"),
				 errhint("Use read, write or manage, or GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE, or SELECT, INSERT or UPDATE."),
				 errhidestmt(true)));
	return level;
}
