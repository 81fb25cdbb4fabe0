/*
 * event.c
 *		The history: what was changed, by whom, when; see event.h.
 */
#include "postgres.h"

#include "table/event.h"

#include "base/client.h"
#include "base/guc.h"
#include "base/secret.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "table/notify.h"
#include "table/store.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

/* --------------------------------------------------------------- detail */

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
add_field(AkDetail *detail, const char *field)
{
	push_string(detail, WJB_KEY, field, strlen(field));
}

void
ak_detail_begin(AkDetail *detail)
{
	detail->state = NULL;
	pushJsonbValue(&detail->state, WJB_BEGIN_OBJECT, NULL);
}

void
ak_detail_add_name(AkDetail *detail, const char *field, const AkName *value)
{
	add_field(detail, field);
	push_string(detail, WJB_VALUE, value->data, value->len);
}

void
ak_detail_add_names(AkDetail *detail, const char *field,
					const AkName *values, int count)
{
	add_field(detail, field);
	pushJsonbValue(&detail->state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < count; i++)
		push_string(detail, WJB_ELEM, values[i].data, values[i].len);
	pushJsonbValue(&detail->state, WJB_END_ARRAY, NULL);
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
	add_field(detail, field);
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
	add_field(detail, field);
	pushJsonbValue(&detail->state, WJB_VALUE, &whole);
}

void
ak_detail_add_true(AkDetail *detail, const char *field)
{
	JsonbValue	value = {.type = jbvBool,.val.boolean = true};

	add_field(detail, field);
	pushJsonbValue(&detail->state, WJB_VALUE, &value);
}

void
ak_detail_open(AkDetail *detail, const char *field)
{
	add_field(detail, field);
	pushJsonbValue(&detail->state, WJB_BEGIN_OBJECT, NULL);
}

void
ak_detail_close(AkDetail *detail)
{
	pushJsonbValue(&detail->state, WJB_END_OBJECT, NULL);
}

static Datum
detail_datum(AkDetail *detail)
{
	AkDetail	empty;

	if (detail == NULL)
		ak_detail_begin(detail = &empty);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&detail->state,
														   WJB_END_OBJECT,
														   NULL)));
}

/* ---------------------------------------------------------------- events */

/*
 * The time of an event; of two in one session, that of the later one is later,
 * and so they stand in the order in which they happened.
 */
static TimestampTz
get_time(void)
{
	static TimestampTz last;
	TimestampTz now = GetCurrentTimestamp();

	last = Max(now, last + 1);
	return last;
}

/*
 * A string that may not be in the encoding of the database, from the options of
 * the connection or another database, as a text.
 */
static Datum
text_datum(const char *string)
{
	char	   *clean;

	if (pg_verifymbstr(string, strlen(string), true))
		return CStringGetTextDatum(string);
	clean = pstrdup(string);
	for (char *p = clean; *p != '\0'; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	return CStringGetTextDatum(clean);
}

static void
notify(const AkEvent *event)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"action\": \"%s\"", event->action);
	if (event->key_id != NULL)
		appendStringInfo(&payload, ", \"key_id\": \"%s\"",
						 DatumGetCString(DirectFunctionCall1(uuid_out,
															 UUIDPGetDatum(event->key_id))));
	appendStringInfoChar(&payload, '}');
	ak_notify_queue(payload.data);
	pfree(payload.data);
}

void
ak_event_append(AkInsertion *insertion, const AkEvent *event)
{
	AkInsertion *own = insertion == NULL ? ak_insert_begin() : NULL;
	Datum		values[Natts_apikey_event] = {0};
	bool		nulls[Natts_apikey_event] = {false};
	TimestampTz at = get_time();
	pg_uuid_t	id;

#define SET(column, value) values[Anum_apikey_event_##column - 1] = value
#define SET_NULL(column, isnull) nulls[Anum_apikey_event_##column - 1] = isnull
	ak_secret_uuid(&id, at);
	SET(at, TimestampTzGetDatum(at));
	SET(event_id, UUIDPGetDatum(&id));
	SET(action, CStringGetTextDatum(event->action));
	SET(key_id, UUIDPGetDatum(event->key_id));
	SET_NULL(key_id, event->key_id == NULL);
	SET_NULL(organization, event->organization == NULL);
	if (event->organization != NULL)
		SET(organization, ak_name_to_text(event->organization));
	SET(role, text_datum(GetUserNameFromId(GetOuterUserId(), false)));
	SET(application_user, text_datum(ak_guc_application_user));
	SET_NULL(application_user, ak_guc_application_user[0] == '\0');
	SET(acting_key, UUIDPGetDatum(event->acting_key));
	SET_NULL(acting_key, event->acting_key == NULL);
	SET_NULL(address,
			 !ak_client_address(&values[Anum_apikey_event_address - 1]));
	SET(detail, detail_datum(event->detail));
#undef SET
#undef SET_NULL
	ak_insert_row(own ? own : insertion, AK_TABLE_EVENT, values, nulls);
	if (own)
		ak_insert_end(own);
	if (ak_guc_notify && !event->is_new)
		notify(event);
}
