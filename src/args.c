/*
 * args.c
 *		Arguments and results of the SQL-callable functions; see args.h.
 */
#include "postgres.h"

#include "args.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "token.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

/* Length of a text without detoasting it. */
static inline Size
raw_length(Datum text)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(text);

	if (VARATT_IS_SHORT(value) || VARATT_IS_4B_U(value))
		return VARSIZE_ANY_EXHDR(value);
	return toast_raw_datum_size(text) - VARHDRSZ;
}

static inline void
get_text(Datum text, AkName *name)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(text);

	name->data = VARDATA_ANY(value);
	name->len = VARSIZE_ANY_EXHDR(value);
}

static void
look_at_type(FunctionCallInfo fcinfo, int argno, AkArg *arg)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	Oid			type = get_fn_expr_argtype(flinfo, argno);

	if (!OidIsValid(type))
	{
		Oid		   *types;
		int			count;

		(void) get_func_signature(flinfo->fn_oid, &types, &count);
		type = types[argno];
	}
	type = getBaseType(type);
	if (type == ANYELEMENTOID || type == ANYCOMPATIBLEOID)
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_DATATYPE),
				 errmsg("could not determine type of argument %d", argno + 1)));
	if (type != TEXTOID && type != UUIDOID && type != INT2OID &&
		type != INT4OID && type != INT8OID)
	{
		Oid			output;
		bool		is_varlena;

		getTypeOutputInfo(type, &output, &is_varlena);
		fmgr_info_cxt(output, &arg->output, flinfo->fn_mcxt);
	}
	arg->type = type;
}

/* As uuid_out does: lower case, with hyphens. */
static int
print_uuid(const pg_uuid_t *uuid, char *to)
{
	static const char hex[] = "0123456789abcdef";
	char	   *p = to;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[uuid->data[i] >> 4];
		*p++ = hex[uuid->data[i] & 15];
	}
	return p - to;
}

/*
 * The identifier in argument "argno", not null.  False if it is longer than
 * any; that is found out before a text is detoasted.
 */
static bool
read_name(FunctionCallInfo fcinfo, int argno, AkArg *arg, AkName *name)
{
	Datum		value = PG_GETARG_DATUM(argno);

	if (unlikely(!OidIsValid(arg->type)))
		look_at_type(fcinfo, argno, arg);

	name->data = arg->printed;
	switch (arg->type)
	{
		case TEXTOID:
			if (raw_length(value) > AK_NAME_MAX)
				return false;
			get_text(value, name);
			break;
		case UUIDOID:
			name->len = print_uuid(DatumGetUUIDP(value), arg->printed);
			break;
		case INT2OID:
			name->len = pg_itoa(DatumGetInt16(value), arg->printed);
			break;
		case INT4OID:
			name->len = pg_ltoa(DatumGetInt32(value), arg->printed);
			break;
		case INT8OID:
			name->len = pg_lltoa(DatumGetInt64(value), arg->printed);
			break;
		default:
			name->data = OutputFunctionCall(&arg->output, value);
			name->len = strlen(name->data);
	}
	return name->len <= AK_NAME_MAX;
}

bool
ak_arg_name(FunctionCallInfo fcinfo, int argno, AkArg *arg, AkName *name)
{
	if (PG_ARGISNULL(argno))
		return false;
	if (!read_name(fcinfo, argno, arg, name))
		name->len = 0;
	return true;
}

AkName
ak_arg_required_name(FunctionCallInfo fcinfo, int argno, const char *what)
{
	AkArg	   *arg = palloc0(sizeof(AkArg));
	AkName		name;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	if (!read_name(fcinfo, argno, arg, &name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", what),
				 errdetail("An identifier may have at most %d bytes.",
						   AK_NAME_MAX)));
	if (name.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", what)));
	return name;
}

bool
ak_arg_token(FunctionCallInfo fcinfo, int argno, AkName *token)
{
	Size		len;

	if (PG_ARGISNULL(argno))
		return false;
	len = raw_length(PG_GETARG_DATUM(argno));
	if (len < AK_TOKEN_MIN || len > AK_TOKEN_MAX)
		return false;
	get_text(PG_GETARG_DATUM(argno), token);
	return true;
}

AkLevel
ak_arg_verb(FunctionCallInfo fcinfo, int argno)
{
	AkName		verb;
	AkLevel		level = AK_LEVEL_NONE;

	if (PG_ARGISNULL(argno))
		return AK_LEVEL_NONE;
	if (raw_length(PG_GETARG_DATUM(argno)) <= NAMEDATALEN)
	{
		get_text(PG_GETARG_DATUM(argno), &verb);
		level = ak_scope_verb(verb.data, verb.len);
	}
	if (level == AK_LEVEL_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown verb"),
				 errhint("Use read, write or manage, an HTTP method, or SELECT, INSERT, UPDATE or DELETE."),
				 errhidestmt(true)));
	return level;
}

static TupleDesc
result_descriptor(FunctionCallInfo fcinfo)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

Datum
ak_return_record(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(result_descriptor(fcinfo), values,
											 nulls));
}

Datum
ak_return_row(FunctionCallInfo fcinfo, AkFillRow fill)
{
	FuncCallContext *funcctx;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		Datum		values[MaxTupleAttributeNumber] = {0};
		bool		nulls[MaxTupleAttributeNumber] = {0};

		funcctx = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		if (fill(fcinfo, values, nulls))
			funcctx->user_fctx =
				DatumGetPointer(ak_return_record(fcinfo, values, nulls));
		MemoryContextSwitchTo(before);
	}
	funcctx = SRF_PERCALL_SETUP();
	if (funcctx->user_fctx != NULL && funcctx->call_cntr == 0)
		SRF_RETURN_NEXT(funcctx, PointerGetDatum(funcctx->user_fctx));
	SRF_RETURN_DONE(funcctx);
}
