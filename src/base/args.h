/*
 * args.h
 *		Arguments and results of the SQL-callable functions.
 *
 * Identifiers may come as any type: text is taken as it is, uuid and integers
 * are printed here, other types by their output function.  What cannot be an
 * identifier or a key by its length is refused before it is detoasted.
 */
#ifndef AK_ARGS_H
#define AK_ARGS_H

#include "postgres.h"

#include "base/compat.h"
#include "base/scope.h"
#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/jsonb.h"

/* How to read identifiers of one type.  Zeroed at first. */
typedef struct AkArg
{
	Oid			type;			/* base type; InvalidOid: not looked at yet */
	int16		length;			/* typlen and typbyval of it */
	bool		by_value;
	FmgrInfo	output;			/* unless printed here */
	char		printed[40];
} AkArg;

/* Get ready to read values of this type; what is kept lives in "context". */
extern void ak_arg_prepare(AkArg *arg, Oid type, MemoryContext context);

/*
 * The identifier that a value, not null, stands for; false if it is too long
 * to be one.  "name" points into the value, into "arg" or to palloc'd memory.
 */
extern bool ak_arg_print(AkArg *arg, Datum value, AkName *name);

/* The same for the most frequent case, a short text: false if it is none. */
static inline bool
ak_arg_short_text(const AkArg *arg, Datum value, AkName *name)
{
	const char *at = DatumGetPointer(value);

	if (arg->type != TEXTOID || !VARATT_IS_SHORT(at) || VARATT_IS_EXTERNAL(at))
		return false;
	name->data = VARDATA_SHORT(at);
	name->len = VARSIZE_SHORT(at) - VARHDRSZ_SHORT;
	return true;
}

/*
 * The bits of a value: another one with the same bits stands for the same
 * identifier.  Zeroed: no value.
 */
typedef enum AkBitsKind
{
	AK_BITS_NONE = 0,
	AK_BITS_CONSTANT,			/* the same in all rows */
	AK_BITS_VALUE,				/* passed by value */
	AK_BITS_FIXED,				/* of a length that the type tells */
	AK_BITS_SHORT,				/* with a header of one byte */
	AK_BITS_LONG				/* with a header of four */
} AkBitsKind;

typedef struct AkBits
{
	AkBitsKind	kind;
	uint32		len;
	Datum		datum;
	char		bytes[64];
} AkBits;

extern void ak_arg_keep(AkBits *bits, const AkArg *arg, Datum value);

/* Faster than memcmp() for what is that short. */
static pg_attribute_always_inline bool
ak_arg_same_bytes(const char *a, const char *b, uint32 len)
{
	uint64		wide[2];
	uint32		narrow[2];

	if (len >= 8)
	{
		for (uint32 i = 0; i < len - 8; i += 8)
		{
			memcpy(&wide[0], a + i, 8);
			memcpy(&wide[1], b + i, 8);
			if (wide[0] != wide[1])
				return false;
		}
		memcpy(&wide[0], a + len - 8, 8);
		memcpy(&wide[1], b + len - 8, 8);
		return wide[0] == wide[1];
	}
	if (len >= 4)
	{
		memcpy(&narrow[0], a, 4);
		memcpy(&narrow[1], b, 4);
		if (narrow[0] != narrow[1])
			return false;
		memcpy(&narrow[0], a + len - 4, 4);
		memcpy(&narrow[1], b + len - 4, 4);
		return narrow[0] == narrow[1];
	}
	for (uint32 i = 0; i < len; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* Of the less frequent kinds. */
extern bool ak_arg_same_other(const AkBits *bits, Datum value);

/* Not for a value that is null. */
static pg_attribute_always_inline bool
ak_arg_same(const AkBits *bits, Datum value)
{
	const char *at = DatumGetPointer(value);

	if (likely(bits->kind == AK_BITS_SHORT))
		/* the same header tells the same length */
		return at[0] == bits->bytes[0] &&
			ak_arg_same_bytes(at, bits->bytes, bits->len);
	return bits->kind == AK_BITS_CONSTANT || ak_arg_same_other(bits, value);
}

/*
 * The other way round.  Types that it goes for: text, varchar, uuid, int2,
 * int4, int8 and enums, not domains over them.
 */
extern bool ak_arg_listable(Oid type);

/*
 * A palloc'd array, of such a type, of all values that stand for one of these
 * names; other names are left out.  The order stays.
 */
extern ArrayType *ak_arg_array(Oid type, const AkName *names, int count);

/*
 * The identifier in argument "argno"; false if it is null.  What is too long
 * to be one becomes the empty name, which is never registered.  "name" points
 * into the argument, into "arg" or to palloc'd memory.
 */
extern bool ak_arg_name(FunctionCallInfo fcinfo, int argno, AkArg *arg,
						AkName *name);

/* The same, raising 22004 for a null and 22023 for what is too long or empty. */
extern AkName ak_arg_required_name(FunctionCallInfo fcinfo, int argno,
								   const char *what);

/* The same of a value that is no argument, and not null. */
extern AkName ak_arg_require(AkArg *arg, Datum value, const char *what);

extern void ak_arg_refuse_null(FunctionCallInfo fcinfo, int argno,
							   const char *what);

/* Raises 22023 for "*", which stands for all and is nobody's name. */
extern void ak_arg_refuse_all(const AkName *name, const char *what);

/*
 * Raises 42804 for a column whose type is not listable, nor a domain over such
 * a type, and 0A000 for one whose values are not stored.
 */
extern void ak_arg_check_column(Oid relation, AttrNumber column);

/* A relation that exists and that the caller owns; else 22004, 42P01, 42501. */
extern Oid	ak_arg_owned_relation(FunctionCallInfo fcinfo, int argno);

/* The text of the key in argument "argno"; false if it cannot be one. */
extern bool ak_arg_token(FunctionCallInfo fcinfo, int argno, AkName *token);

/* Is there any text in argument "argno"? */
extern bool ak_arg_has_text(FunctionCallInfo fcinfo, int argno);

/* The prefix of keys in argument "argno", palloc'd, or NULL for a null.  Raises
 * 22023 for what can be none. */
extern const char *ak_arg_prefix(FunctionCallInfo fcinfo, int argno);

/*
 * The JSON in argument "argno", not null.  Some drivers encode JSON text once more,
 * as a JSON string: one that holds an array (JB_FARRAY) or an object (JB_FOBJECT),
 * whichever is the "kind", is taken for what it holds.
 */
extern Jsonb *ak_arg_json(FunctionCallInfo fcinfo, int argno, uint32 kind);

/* JSON text, parsed; NULL if it is none, without a message that repeats it. */
extern Jsonb *ak_arg_parse_json(const char *text);

/* The level that the verb in argument "argno" asks for; NONE for a null.
 * Raises 22023 for a verb that does not exist. */
extern AkLevel ak_arg_verb(FunctionCallInfo fcinfo, int argno);

/*
 * The rest of a function that returns a set of one row or none.  At its first
 * call "fill" fills in values and nulls, or returns false for no row.
 */
typedef bool (*AkFillRow) (FunctionCallInfo fcinfo, Datum *values,
						   bool *nulls);
extern Datum ak_return_row(FunctionCallInfo fcinfo, AkFillRow fill);

/* A single row, for a function that returns a record. */
extern Datum ak_return_record(FunctionCallInfo fcinfo, Datum *values,
							  bool *nulls);

#endif							/* AK_ARGS_H */
