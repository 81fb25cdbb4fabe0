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

#include "fmgr.h"
#include "funcapi.h"
#include "scope.h"
#include "utils/array.h"

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

/* A value, bit by bit: what is the same stands for the same identifier. */
typedef struct AkBits
{
	Size		len;			/* 0: nothing is kept */
	Datum		datum;			/* if passed by value */
	char		bytes[64];
} AkBits;

/* Where the bits of a value are, if it is neither compressed nor elsewhere. */
static inline const char *
ak_arg_bits(const AkArg *arg, Datum value, Size *len)
{
	const char *at = DatumGetPointer(value);

	if (arg->length > 0)
		*len = arg->length;
	else if (arg->length == -1 && !VARATT_IS_EXTERNAL(at) &&
			 !VARATT_IS_COMPRESSED(at))
		*len = VARSIZE_ANY(at);
	else
		*len = 0;
	return at;
}

static inline void
ak_arg_keep(AkBits *bits, const AkArg *arg, Datum value)
{
	bits->datum = value;
	bits->len = sizeof(Datum);
	if (!arg->by_value)
	{
		const char *at = ak_arg_bits(arg, value, &bits->len);

		if (bits->len > sizeof(bits->bytes))
			bits->len = 0;
		memcpy(bits->bytes, at, bits->len);
	}
}

static inline bool
ak_arg_same(const AkBits *bits, const AkArg *arg, Datum value)
{
	const char *at;
	Size		len;
	uint64		a;
	uint64		b;

	if (arg->by_value)
		return bits->datum == value && bits->len > 0;
	at = ak_arg_bits(arg, value, &len);
	if (len != bits->len || len == 0)
		return false;
	/* faster than memcmp() for what is that short */
	if (len < 8)
	{
		for (Size i = 0; i < len; i++)
			if (at[i] != bits->bytes[i])
				return false;
		return true;
	}
	for (Size i = 0; i < len - 8; i += 8)
	{
		memcpy(&a, at + i, 8);
		memcpy(&b, bits->bytes + i, 8);
		if (a != b)
			return false;
	}
	memcpy(&a, at + len - 8, 8);
	memcpy(&b, bits->bytes + len - 8, 8);
	return a == b;
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

/* The text of the key in argument "argno"; false if it cannot be one. */
extern bool ak_arg_token(FunctionCallInfo fcinfo, int argno, AkName *token);

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
