/*
 * change.c
 *		What a trigger is told of a row; see change.h.
 */
#include "postgres.h"

#include "change.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "schema.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

/* Bytes of a value that are told */
#define VALUE_MAX	1000

/* Columns whose values may be told; those of a table end with NULL. */
static const struct
{
	size_t		table;			/* in AkSchema */
	const char *columns[18];
}			open_columns[] =

{
	{offsetof(AkSchema, project), {"project", "organization"}},
	{offsetof(AkSchema, environment), {"project", "environment", "organization"}},
	{offsetof(AkSchema, key), {
			"key_id", "disabled_at", "revoked_at", "expires_at",
			"organization_level", "organization", "prefix", "scheme",
			"allowed_networks", "label", "created_at", "created_by", "metadata",
	"rate_count", "rate_interval", "rate_burst"}},
	{offsetof(AkSchema, secret), {"key_id", "expires_at", "scheme"}},
	{offsetof(AkSchema, grant), {
	"key_id", "level", "project", "environment", "organization"}},
	{offsetof(AkSchema, budget), {
			"key_id", "budget", "remaining", "refill", "started_at",
	"refills_at"}}
};

AttrNumber
ak_change_column(Relation rel, const char *name, Oid type)
{
	AttrNumber	column = get_attnum(RelationGetRelid(rel), name);

	if (column <= 0)
		return InvalidAttrNumber;
	if (TupleDescAttr(RelationGetDescr(rel), column - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of table \"%s\" has type %s, not %s",
						name, RelationGetRelationName(rel),
						format_type_be(TupleDescAttr(RelationGetDescr(rel),
													 column - 1)->atttypid),
						format_type_be(type)),
				 errhint("Give the column its type back, or drop the extension and create it again.")));
	return column;
}

bool
ak_change_same(TupleTableSlot *a, TupleTableSlot *b, AttrNumber column)
{
	Form_pg_attribute attribute = TupleDescAttr(a->tts_tupleDescriptor,
												column - 1);
	bool		a_null;
	bool		b_null;
	Datum		a_value = slot_getattr(a, column, &a_null);
	Datum		b_value = slot_getattr(b, column, &b_null);

	if (a_null || b_null)
		return a_null && b_null;
	return datum_image_eq(a_value, b_value, attribute->attbyval,
						  attribute->attlen);
}

static bool
is_open(Relation rel, const char *column)
{
	const char *schema = (const char *) ak_schema_get();

	for (int i = 0; i < (int) lengthof(open_columns); i++)
	{
		const char *const *name = open_columns[i].columns;

		if (*(const Oid *) (schema + open_columns[i].table) !=
			RelationGetRelid(rel))
			continue;
		for (; *name != NULL; name++)
			if (strcmp(*name, column) == 0)
				return true;
	}
	return false;
}

/* Times are as to_jsonb has them, whatever DateStyle is. */
static char *
print_value(Oid type, Datum value)
{
	Oid			function;
	bool		is_varlena;
	char	   *text;
	int			len;

	if (type == TIMESTAMPTZOID)
		return JsonEncodeDateTime(NULL, value, type, NULL);
	getTypeOutputInfo(type, &function, &is_varlena);
	text = OidOutputFunctionCall(function, value);

	len = strlen(text);
	if (len <= VALUE_MAX)
		return text;

	return psprintf("%.*s...", pg_mbcliplen(text, len, VALUE_MAX), text);
}

static void
add_column(AkDetail *detail, Relation rel, TupleTableSlot *slot,
		   AttrNumber column)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel),
												column - 1);
	const char *name = NameStr(attribute->attname);
	Datum		value;
	bool		isnull;

	if (!is_open(rel, name))
	{
		ak_detail_add_true(detail, name);
		return;
	}
	value = slot_getattr(slot, column, &isnull);
	ak_detail_add(detail, name,
				  isnull ? NULL : print_value(attribute->atttypid, value));
}

static void
add_changed(AkDetail *detail, Relation rel, TupleTableSlot *old,
			TupleTableSlot *new)
{
	TupleDesc	desc = RelationGetDescr(rel);

	ak_detail_open(detail, "changed");
	for (AttrNumber column = 1; column <= desc->natts; column++)
		if (!TupleDescAttr(desc, column - 1)->attisdropped &&
			!ak_change_same(old, new, column))
			add_column(detail, rel, new, column);
	ak_detail_close(detail);
}

void
ak_change_describe(const TriggerData *trigger, AkDetail *detail)
{
	static const char *const names[] = {"project", "environment", "level"};
	bool		update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	Relation	rel = trigger->tg_relation;

	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return;
	/* the level of a grant says which one it was only when it comes or goes */
	for (int i = 0; i < (update ? 2 : 3); i++)
	{
		AttrNumber	column = get_attnum(RelationGetRelid(rel), names[i]);

		if (column > 0 && is_open(rel, names[i]))
			add_column(detail, rel, trigger->tg_trigslot, column);
	}
	if (update)
		add_changed(detail, rel, trigger->tg_trigslot, trigger->tg_newslot);
}
