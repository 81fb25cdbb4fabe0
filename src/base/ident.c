/*
 * ident.c
 *		Identifiers, which SQL has as values of many types; see ident.h.
 */
#include "postgres.h"

#include "base/ident.h"

#include "access/detoast.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_enum.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

static const char hex[] = "0123456789abcdef";

/* The types that are read without the catalogs. */
static bool
prepare_builtin(AkIdentType *type, Oid oid)
{
	type->type = oid;
	type->by_value = true;
	switch (oid)
	{
		case TEXTOID:
		case VARCHAROID:
			type->type = TEXTOID;
			type->by_value = false;
			type->length = -1;
			return true;
		case UUIDOID:
			type->by_value = false;
			type->length = UUID_LEN;
			return true;
		case INT2OID:
			type->length = sizeof(int16);
			return true;
		case INT4OID:
			type->length = sizeof(int32);
			return true;
		case INT8OID:
			type->by_value = FLOAT8PASSBYVAL;
			type->length = sizeof(int64);
			return true;
	}
	return false;
}

void
ak_ident_prepare(AkIdentType *type, Oid oid, MemoryContext context)
{
	Oid			output;
	bool		is_varlena;

	if (prepare_builtin(type, oid) || prepare_builtin(type, getBaseType(oid)))
		return;
	oid = type->type;
	type->type = InvalidOid;	/* so that an error leaves nothing valid */
	getTypeOutputInfo(oid, &output, &is_varlena);
	fmgr_info_cxt(output, &type->output, context);
	get_typlenbyval(oid, &type->length, &type->by_value);
	type->type = oid;
}

/* As uuid_out does: lower case, with hyphens. */
static int
print_uuid(const pg_uuid_t *uuid, char *to)
{
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

bool
ak_ident_print(AkIdentType *type, Datum value, AkName *name)
{
	name->data = type->printed;
	switch (type->type)
	{
		case TEXTOID:
			if (ak_name_text_length(value) > AK_NAME_MAX)
				return false;
			*name = ak_name_of_text(value);
			break;
		case UUIDOID:
			name->len = print_uuid(DatumGetUUIDP(value), type->printed);
			break;
		case INT2OID:
			name->len = pg_itoa(DatumGetInt16(value), type->printed);
			break;
		case INT4OID:
			name->len = pg_ltoa(DatumGetInt32(value), type->printed);
			break;
		case INT8OID:
			name->len = pg_lltoa(DatumGetInt64(value), type->printed);
			break;
		default:
			name->data = OutputFunctionCall(&type->output, value);
			name->len = strlen(name->data);
	}
	return name->len <= AK_NAME_MAX;
}

AkName
ak_ident_require(AkIdentType *type, Datum value, const char *what)
{
	AkName		name;

	if (!ak_ident_print(type, value, &name))
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
ak_ident_listable(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == UUIDOID ||
		type == INT2OID || type == INT4OID || type == INT8OID ||
		type_is_enum(type);
}

void
ak_ident_check_listable(Oid type)
{
	if (!ak_ident_listable(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("identifiers cannot be listed as type %s",
						format_type_be(type)),
				 errhint("Use text, varchar, uuid, smallint, integer, bigint or an enum.")));
}

/* Of as many digits as print_uuid() prints. */
static bool
parse_uuid(const AkName *name, pg_uuid_t *uuid)
{
	char		digits[2 * UUID_LEN + 1];
	int			count = 0;

	for (int i = 0; i < name->len && count < 2 * UUID_LEN; i++)
		if (name->data[i] != '-')
			digits[count++] = name->data[i];
	digits[count] = '\0';
	if (strspn(digits, hex) != 2 * UUID_LEN)
		return false;
	hex_decode(digits, 2 * UUID_LEN, (char *) uuid->data);
	return true;
}

/* The value of an enum, or InvalidOid. */
static Oid
find_enum_label(Oid type, const AkName *name)
{
	NameData	label;

	if (name->len >= NAMEDATALEN)
		return InvalidOid;
	memset(&label, 0, sizeof(label));
	memcpy(NameStr(label), name->data, name->len);
	return GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
						   ObjectIdGetDatum(type), NameGetDatum(&label));
}

bool
ak_ident_value(AkIdentType *type, const AkName *name, Datum *value)
{
	AkName		printed;
	char		digits[24];
	int64		number;

	if (type->type == TEXTOID)
	{
		*value = ak_name_to_text(name);
		return true;
	}
	if (type->type == UUIDOID)
	{
		pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

		if (!parse_uuid(name, uuid))
			return false;
		*value = UUIDPGetDatum(uuid);
	}
	else if (type->type == INT2OID || type->type == INT4OID ||
			 type->type == INT8OID)
	{
		if (name->len >= (int) sizeof(digits))
			return false;
		memcpy(digits, name->data, name->len);
		digits[name->len] = '\0';
		number = strtoi64(digits, NULL, 10);
		*value = type->type == INT2OID ? Int16GetDatum((int16) number) :
			type->type == INT4OID ? Int32GetDatum((int32) number) :
			Int64GetDatum(number);
	}
	else
	{
		*value = ObjectIdGetDatum(find_enum_label(type->type, name));
		return OidIsValid(DatumGetObjectId(*value));
	}
	/* whatever was read, only this counts */
	return ak_ident_print(type, *value, &printed) && ak_name_equal(&printed, name);
}

/* All of them, in one piece. */
static ArrayType *
array_of_texts(Oid type, const AkName *names, int count)
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
ak_ident_array(Oid type, const AkName *names, int count)
{
	AkIdentType reader = {0};
	Datum	   *values;
	int			found = 0;
	int16		length;
	bool		by_value;
	char		align;

	ak_ident_prepare(&reader, type, CurrentMemoryContext);
	if (reader.type == TEXTOID)
		return array_of_texts(type, names, count);
	values = palloc(Max(count, 1) * sizeof(Datum));
	for (int i = 0; i < count; i++)
		if (ak_ident_value(&reader, &names[i], &values[found]))
			found++;
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return construct_array(values, found, type, length, by_value, align);
}

void
ak_ident_check_column(Oid relation, AttrNumber column)
{
	Oid			type = get_atttype(relation, column);

	if (!ak_ident_listable(getBaseType(type)))
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

/* ----------------------------------------------------------------- bits */

bool
ak_ident_same_other(const AkBits *bits, Datum value)
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
		case AK_BITS_SHORT:		/* ak_ident_same() has seen to it */
			break;
		case AK_BITS_LONG:
			/* the header tells the length: before it no more may be read */
			if (at[0] != bits->bytes[0] ||
				memcmp(at, bits->bytes, VARHDRSZ) != 0)
				return false;
	}
	return ak_ident_same_bytes(at, bits->bytes, bits->len);
}

void
ak_ident_keep(AkBits *bits, const AkIdentType *type, Datum value)
{
	const char *at = DatumGetPointer(value);

	bits->kind = AK_BITS_NONE;
	bits->datum = value;
	if (type->by_value)
	{
		bits->kind = AK_BITS_VALUE;
		return;
	}
	if (type->length > 0)
	{
		bits->kind = AK_BITS_FIXED;
		bits->len = type->length;
	}
	else if (type->length == -1 && !VARATT_IS_EXTERNAL(at) &&
			 !VARATT_IS_COMPRESSED(at))
	{
		bits->kind = VARATT_IS_SHORT(at) ? AK_BITS_SHORT : AK_BITS_LONG;
		bits->len = VARSIZE_ANY(at);
	}
	if (bits->len > sizeof(bits->bytes))
		bits->kind = AK_BITS_NONE;
	if (bits->kind != AK_BITS_NONE)
		memcpy(bits->bytes, at, bits->len);
}
