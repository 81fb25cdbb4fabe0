/*
 * args.c
 *		Arguments and results of the SQL-callable functions; see args.h.
 */
#include "postgres.h"

#include "base/args.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "base/token.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

/* Length of a text without detoasting it. */
static inline Size
raw_length(Datum text)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(text);

	if (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value))
		return toast_raw_datum_size(text) - VARHDRSZ;
	return VARSIZE_ANY_EXHDR(value);
}

static inline void
get_text(Datum text, AkName *name)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(text);

	name->data = VARDATA_ANY(value);
	name->len = VARSIZE_ANY_EXHDR(value);
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

/* The types that are read without the catalogs. */
static bool
prepare_builtin(AkArg *arg, Oid type)
{
	arg->type = type;
	arg->by_value = true;
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
			arg->type = TEXTOID;
			arg->by_value = false;
			arg->length = -1;
			return true;
		case UUIDOID:
			arg->by_value = false;
			arg->length = UUID_LEN;
			return true;
		case INT2OID:
			arg->length = sizeof(int16);
			return true;
		case INT4OID:
			arg->length = sizeof(int32);
			return true;
		case INT8OID:
			arg->by_value = FLOAT8PASSBYVAL;
			arg->length = sizeof(int64);
			return true;
	}
	return false;
}

void
ak_arg_prepare(AkArg *arg, Oid type, MemoryContext context)
{
	Oid			output;
	bool		is_varlena;

	if (prepare_builtin(arg, type) ||
		prepare_builtin(arg, getBaseType(type)))
		return;
	type = arg->type;
	arg->type = InvalidOid;		/* an error leaves nothing to believe */
	getTypeOutputInfo(type, &output, &is_varlena);
	fmgr_info_cxt(output, &arg->output, context);
	get_typlenbyval(type, &arg->length, &arg->by_value);
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

/* What is too long is found out before a text is detoasted. */
bool
ak_arg_print(AkArg *arg, Datum value, AkName *name)
{
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
ak_arg_same_other(const AkBits *bits, Datum value)
{
	const char *at = DatumGetPointer(value);

	switch (bits->kind)
	{
		case AK_BITS_NONE:
			return false;
		case AK_BITS_CONSTANT:
			return true;
		case AK_BITS_VALUE:
			return bits->datum == value;
		case AK_BITS_FIXED:
			break;
		case AK_BITS_LONG:
			if (at[0] != bits->bytes[0] ||
				memcmp(at, bits->bytes, VARHDRSZ) != 0)
				return false;
			break;
		case AK_BITS_SHORT:
			if (at[0] != bits->bytes[0])
				return false;
			break;
	}
	return ak_arg_same_bytes(at, bits->bytes, bits->len);
}

void
ak_arg_keep(AkBits *bits, const AkArg *arg, Datum value)
{
	const char *at = DatumGetPointer(value);

	bits->kind = AK_BITS_NONE;
	bits->datum = value;
	if (arg->by_value)
	{
		bits->kind = AK_BITS_VALUE;
		return;
	}
	if (arg->length > 0)
	{
		bits->kind = AK_BITS_FIXED;
		bits->len = arg->length;
	}
	else if (arg->length == -1 && !VARATT_IS_EXTERNAL(at) &&
			 !VARATT_IS_COMPRESSED(at))
	{
		bits->kind = VARATT_IS_SHORT(at) ? AK_BITS_SHORT : AK_BITS_LONG;
		bits->len = VARSIZE_ANY(at);
	}
	if (bits->kind == AK_BITS_NONE || bits->len > sizeof(bits->bytes))
		bits->kind = AK_BITS_NONE;
	else
		memcpy(bits->bytes, at, bits->len);
}

/* The identifier in argument "argno", not null. */
static inline bool
read_name(FunctionCallInfo fcinfo, int argno, AkArg *arg, AkName *name)
{
	if (unlikely(!OidIsValid(arg->type)))
		ak_arg_prepare(arg, argument_type(fcinfo->flinfo, argno),
					   fcinfo->flinfo->fn_mcxt);
	return ak_arg_print(arg, PG_GETARG_DATUM(argno), name);
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

bool
ak_arg_listable(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == UUIDOID ||
		type == INT2OID || type == INT4OID || type == INT8OID ||
		type_is_enum(type);
}

/* As print_uuid() prints it, in any case of letters. */
static bool
parse_uuid(const AkName *name, pg_uuid_t *uuid)
{
	int			digits = 0;

	memset(uuid, 0, sizeof(pg_uuid_t));
	for (int i = 0; i < name->len && digits < 2 * UUID_LEN; i++)
	{
		char		c = pg_ascii_tolower((unsigned char) name->data[i]);
		uint8		digit = c >= 'a' ? c - 'a' + 10 : c - '0';

		if (c == '-')
			continue;
		if (digit > 15)
			return false;
		uuid->data[digits / 2] |= digit << (digits % 2 ? 0 : 4);
		digits++;
	}
	return true;
}

/* The value of an enum, or InvalidOid. */
static Oid
find_label(Oid type, const AkName *name)
{
	NameData	label;

	if (name->len >= NAMEDATALEN)
		return InvalidOid;
	memset(&label, 0, sizeof(label));
	memcpy(NameStr(label), name->data, name->len);
	return GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
						   ObjectIdGetDatum(type), NameGetDatum(&label));
}

/* A value of the type (not text) that prints as this name, if there is one. */
static bool
parse_name(AkArg *arg, const AkName *name, Datum *value)
{
	AkName		printed;
	char		digits[24];
	int64		number;

	if (arg->type == UUIDOID)
	{
		pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

		if (!parse_uuid(name, uuid))
			return false;
		*value = UUIDPGetDatum(uuid);
	}
	else if (arg->type == INT2OID || arg->type == INT4OID ||
			 arg->type == INT8OID)
	{
		if (name->len >= (int) sizeof(digits))
			return false;
		memcpy(digits, name->data, name->len);
		digits[name->len] = '\0';
		number = strtoi64(digits, NULL, 10);
		*value = arg->type == INT2OID ? Int16GetDatum((int16) number) :
			arg->type == INT4OID ? Int32GetDatum((int32) number) :
			Int64GetDatum(number);
	}
	else
	{
		*value = ObjectIdGetDatum(find_label(arg->type, name));
		return OidIsValid(DatumGetObjectId(*value));
	}
	/* whatever was read, only this counts */
	return ak_arg_print(arg, *value, &printed) && ak_name_equal(&printed, name);
}

/* All of them, in one piece. */
static ArrayType *
text_array(Oid type, const AkName *names, int count)
{
	Size		size = ARR_OVERHEAD_NONULLS(1);
	ArrayType  *array;
	char	   *to;

	for (int i = 0; i < count; i++)
		size += INTALIGN(VARHDRSZ + names[i].len);
	if (count == 0)
		return construct_empty_array(type);
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many names for an array")));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = type;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	to = (char *) array + ARR_OVERHEAD_NONULLS(1);
	for (int i = 0; i < count; i++)
	{
		SET_VARSIZE(to, VARHDRSZ + names[i].len);
		memcpy(VARDATA(to), names[i].data, names[i].len);
		to += INTALIGN(VARHDRSZ + names[i].len);
	}
	return array;
}

ArrayType *
ak_arg_array(Oid type, const AkName *names, int count)
{
	AkArg		arg = {0};
	Datum	   *values;
	int			found = 0;
	int16		length;
	bool		by_value;
	char		align;

	ak_arg_prepare(&arg, type, CurrentMemoryContext);
	if (arg.type == TEXTOID)
		return text_array(type, names, count);
	values = palloc(Max(count, 1) * sizeof(Datum));
	for (int i = 0; i < count; i++)
		if (parse_name(&arg, &names[i], &values[found]))
			found++;
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return construct_array(values, found, type, length, by_value, align);
}

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
	if (ak_name_equal(name, &ak_scope_all))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be \"*\"", what)));
}

void
ak_arg_check_column(Oid relation, AttrNumber column)
{
	Oid			type = get_atttype(relation, column);

	if (!ak_arg_listable(getBaseType(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" has type %s",
						get_attname(relation, column, false),
						get_rel_name(relation), format_type_be(type)),
				 errdetail("Identifiers may be text, varchar, uuid, smallint, integer, bigint or an enum, or a domain over one of these."),
				 errhint("Change the type of the column, or name another column.")));
	if (get_attgenerated(relation, column) == ATTRIBUTE_GENERATED_VIRTUAL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of relation \"%s\" is a virtual generated column",
						get_attname(relation, column, false),
						get_rel_name(relation)),
				 errdetail("Its values are not stored.")));
}

AkName
ak_arg_require(AkArg *arg, Datum value, const char *what)
{
	AkName		name;

	if (!ak_arg_print(arg, value, &name))
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

AkName
ak_arg_required_name(FunctionCallInfo fcinfo, int argno, const char *what)
{
	AkArg	   *arg = palloc0(sizeof(AkArg));

	ak_arg_refuse_null(fcinfo, argno, what);
	ak_arg_prepare(arg, argument_type(fcinfo->flinfo, argno),
				   fcinfo->flinfo->fn_mcxt);
	return ak_arg_require(arg, PG_GETARG_DATUM(argno), what);
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

bool
ak_arg_token(FunctionCallInfo fcinfo, int argno, AkName *token)
{
	Size		len;

	if (PG_ARGISNULL(argno))
		return false;
	len = raw_length(PG_GETARG_DATUM(argno));
	if (len == 0 || len > AK_KEY_TEXT_MAX)
		return false;
	get_text(PG_GETARG_DATUM(argno), token);
	return true;
}

bool
ak_arg_has_text(FunctionCallInfo fcinfo, int argno)
{
	return !PG_ARGISNULL(argno) && raw_length(PG_GETARG_DATUM(argno)) > 0;
}

const char *
ak_arg_prefix(FunctionCallInfo fcinfo, int argno)
{
	char	   *prefix;

	if (PG_ARGISNULL(argno))
		return NULL;
	prefix = TextDatumGetCString(PG_GETARG_DATUM(argno));
	if (!ak_token_prefix_valid(prefix, strlen(prefix)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid prefix of an API key"),
				 errdetail("A prefix is a lower case letter, then lower case letters, digits and underscores, %d bytes at most.",
						   AK_PREFIX_MAX)));
	return prefix;
}

Jsonb *
ak_arg_parse_json(const char *text)
{
	MemoryContext before = CurrentMemoryContext;
	Jsonb	   *volatile json = NULL;

	PG_TRY();
	{
		json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												  CStringGetDatum(text)));
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
				 errhint("Use read, write or manage, or GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE, or SELECT, INSERT or UPDATE."),
				 errhidestmt(true)));
	return level;
}

/* That which the caller has worked out, if it has. */
static TupleDesc
result_descriptor(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	desc;

	if (result != NULL && IsA(result, ReturnSetInfo) &&
		result->expectedDesc != NULL && result->expectedDesc->tdtypmod >= 0)
		return result->expectedDesc;
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
