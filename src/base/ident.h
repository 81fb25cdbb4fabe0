/*
 * ident.h
 *		Identifiers, which SQL has as values of many types.
 *
 * A text is taken as it is, uuid and integers are printed here, others by the
 * output function of their type.
 */
#ifndef AK_IDENT_H
#define AK_IDENT_H

#include "postgres.h"

#include "access/attnum.h"
#include "base/compat.h"
#include "base/name.h"
#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "utils/array.h"

/* How to read identifiers of one type.  Zeroed at first. */
typedef struct AkIdentType
{
	Oid			type;			/* base type; InvalidOid: not looked at yet */
	int16		length;			/* typlen and typbyval of it */
	bool		by_value;
	FmgrInfo	output;			/* unless printed here */
	char		printed[40];
} AkIdentType;

/* Get ready to read values of this type; what is kept lives in "context". */
extern void ak_ident_prepare(AkIdentType *type, Oid oid, MemoryContext context);

/*
 * The identifier that a value, not null, stands for; false if it is too long
 * to be one, which is found out before it is detoasted.  "name" points into the
 * value, into "type" or to palloc'd memory.
 */
extern bool ak_ident_print(AkIdentType *type, Datum value, AkName *name);

/* The same for the most frequent case, a short text; false for anything else. */
static inline bool
ak_ident_short_text(const AkIdentType *type, Datum value, AkName *name)
{
	const char *at = DatumGetPointer(value);

	if (type->type != TEXTOID || !VARATT_IS_SHORT(at) || VARATT_IS_EXTERNAL(at))
		return false;
	name->data = VARDATA_SHORT(at);
	name->len = VARSIZE_SHORT(at) - VARHDRSZ_SHORT;
	return true;
}

/* Raises 22023 for what is too long or empty; "what" begins the message. */
extern AkName ak_ident_require(AkIdentType *type, Datum value,
							   const char *what);

/*
 * Types whose values can be made of names: text, varchar, uuid, int2, int4,
 * int8 and enums, not domains over them.
 */
extern bool ak_ident_listable(Oid type);

/* Raises 42804 for a type that is not. */
extern void ak_ident_check_listable(Oid type);

/*
 * The value, of such a type, that stands for a name, palloc'd unless passed by
 * value; false if there is none.
 */
extern bool ak_ident_value(AkIdentType *type, const AkName *name, Datum *value);

/*
 * A palloc'd array, of such a type, of all values that stand for one of these
 * names; other names are left out.  The order stays.
 */
extern ArrayType *ak_ident_array(Oid type, const AkName *names, int count);

/*
 * Raises 42804 for a column whose type is not listable, nor a domain over such
 * a type, and 0A000 for one whose values are not stored.
 */
extern void ak_ident_check_column(Oid relation, AttrNumber column);

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

/* Those of what has none that can be kept, or too many, are no value. */
extern void ak_ident_keep(AkBits *bits, const AkIdentType *type, Datum value);

/* Faster than memcmp() for what is that short. */
static pg_attribute_always_inline bool
ak_ident_same_bytes(const char *a, const char *b, uint32 len)
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
extern bool ak_ident_same_other(const AkBits *bits, Datum value);

/* Has a value, not null, these bits? */
static pg_attribute_always_inline bool
ak_ident_same(const AkBits *bits, Datum value)
{
	const char *at = DatumGetPointer(value);

	if (likely(bits->kind == AK_BITS_SHORT))
		/* the same header tells the same length */
		return at[0] == bits->bytes[0] &&
			ak_ident_same_bytes(at, bits->bytes, bits->len);
	return bits->kind == AK_BITS_CONSTANT || ak_ident_same_other(bits, value);
}

#endif							/* AK_IDENT_H */
