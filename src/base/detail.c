/*
 * detail.c
 *		JSON that is being made; see detail.h.
 */
#include "postgres.h"

#include "base/detail.h"

#include "catalog/pg_type_d.h"
#include "utils/json.h"
#include "utils/timestamp.h"

static void
push_string(AkDetail *detail, JsonbIteratorToken token, const char *data,
			int len)
{
	JsonbValue	string = {.type = jbvString};

	string.val.string.val = unconstify(char *, data);
	string.val.string.len = len;
	pushJsonbValue(&detail->state, token, &string);
}

static void
begin_field(AkDetail *detail, const char *field)
{
	push_string(detail, WJB_KEY, field, strlen(field));
}

void
ak_detail_begin(AkDetail *detail)
{
	memset(detail, 0, sizeof(*detail));
	pushJsonbValue(&detail->state, WJB_BEGIN_OBJECT, NULL);
}

void
ak_detail_add_name(AkDetail *detail, const char *field, const AkName *value)
{
	begin_field(detail, field);
	push_string(detail, WJB_VALUE, value->data, value->len);
}

void
ak_detail_add(AkDetail *detail, const char *field, const char *value)
{
	AkName		name = {value, value == NULL ? 0 : strlen(value)};
	JsonbValue	null = {.type = jbvNull};

	if (value != NULL)
	{
		ak_detail_add_name(detail, field, &name);
		return;
	}
	begin_field(detail, field);
	pushJsonbValue(&detail->state, WJB_VALUE, &null);
}

/* As to_jsonb has it, whatever DateStyle is. */
void
ak_detail_add_time(AkDetail *detail, const char *field, TimestampTz value)
{
	ak_detail_add(detail, field,
				  JsonEncodeDateTime(NULL, TimestampTzGetDatum(value),
									 TIMESTAMPTZOID, NULL));
}

void
ak_detail_add_jsonb(AkDetail *detail, const char *field, Jsonb *value)
{
	JsonbValue	whole = {.type = jbvBinary};

	if (JB_ROOT_IS_SCALAR(value))
		(void) JsonbExtractScalar(&value->root, &whole);
	else
	{
		whole.val.binary.data = &value->root;
		whole.val.binary.len = VARSIZE(value) - VARHDRSZ;
	}
	begin_field(detail, field);
	pushJsonbValue(&detail->state, WJB_VALUE, &whole);
}

void
ak_detail_add_true(AkDetail *detail, const char *field)
{
	JsonbValue	value = {
		.type = jbvBool,
		.val.boolean = true
	};

	begin_field(detail, field);
	pushJsonbValue(&detail->state, WJB_VALUE, &value);
}

void
ak_detail_open(AkDetail *detail, const char *field)
{
	begin_field(detail, field);
	pushJsonbValue(&detail->state, WJB_BEGIN_OBJECT, NULL);
}

void
ak_detail_close(AkDetail *detail)
{
	pushJsonbValue(&detail->state, WJB_END_OBJECT, NULL);
}

Jsonb *
ak_detail_end(AkDetail *detail)
{
	AkDetail	empty;

	if (detail == NULL)
		ak_detail_begin(detail = &empty);
	pushJsonbValue(&detail->state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(detail->state.result);
}
