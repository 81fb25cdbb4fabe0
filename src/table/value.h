/*
 * value.h
 *		A value with its type: an argument of SQL, or a column of a new row.
 *
 * Strings and names are copied into the current memory context; what else is passed by
 * reference is not.  A pointer that is NULL becomes a null.
 */
#ifndef AK_VALUE_H
#define AK_VALUE_H

#include "postgres.h"

#include "base/level.h"
#include "base/name.h"
#include "catalog/pg_type_d.h"
#include "table/store.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef struct AkValue
{
	Oid			type;			/* InvalidOid: a null, of whatever type */
	bool		isnull;
	Datum		value;
} AkValue;

static inline AkValue
ak_value(Oid type, Datum value)
{
	AkValue		result = {type, false, value};

	return result;
}

static inline AkValue
ak_value_null(Oid type)
{
	AkValue		result = {type, true, (Datum) 0};

	return result;
}

static inline AkValue
ak_value_nullable(Oid type, NullableDatum value)
{
	return value.isnull ? ak_value_null(type) : ak_value(type, value.value);
}

static inline AkValue
ak_value_uuid(const pg_uuid_t *id)
{
	return id == NULL ? ak_value_null(UUIDOID) :
		ak_value(UUIDOID, UUIDPGetDatum(id));
}

static inline AkValue
ak_value_name(const AkName *name)
{
	return name == NULL ? ak_value_null(TEXTOID) :
		ak_value(TEXTOID, ak_name_to_text(name));
}

static inline AkValue
ak_value_string(const char *string)
{
	return string == NULL ? ak_value_null(TEXTOID) :
		ak_value(TEXTOID, CStringGetTextDatum(string));
}

static inline AkValue
ak_value_bytes(const AkName *bytes)
{
	return bytes->data == NULL ? ak_value_null(BYTEAOID) :
		ak_value(BYTEAOID, ak_name_to_text(bytes));
}

#define ak_value_int4(value)	ak_value(INT4OID, Int32GetDatum(value))
#define ak_value_int8(value)	ak_value(INT8OID, Int64GetDatum(value))
#define ak_value_time(value) \
	ak_value(TIMESTAMPTZOID, TimestampTzGetDatum(value))

/* The name of a level; a null for AK_LEVEL_NONE. */
static inline AkValue
ak_value_level(AkLevel level)
{
	return ak_value_string(level == AK_LEVEL_NONE ? NULL :
						   ak_level_name(level));
}

/* The project of a grant: "*" is stored as a null. */
static inline AkValue
ak_value_project(const AkName *project)
{
	return ak_value_name(ak_name_equal(project, &ak_name_all) ? NULL : project);
}

/* What is stored of a rate limit: nulls if there is none. */
typedef struct AkLimitValues
{
	AkValue		count;
	AkValue		interval;
	AkValue		burst;
} AkLimitValues;

extern AkLimitValues ak_value_limit(const AkRateLimit *limit);

/* A text[]. */
extern AkValue ak_value_names(const AkName *names, int count);

/* An array of values of this type; "nulls" may be NULL. */
extern AkValue ak_value_array(Oid type, Datum *values, bool *nulls, int count);

#endif							/* AK_VALUE_H */
