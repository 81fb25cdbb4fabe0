/*
 * trigger.c
 *		What triggers read of a row, and what events tell of it; see trigger.h.
 */
#include "postgres.h"

#include "table/trigger.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "table/layout.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

/* Bytes of a value that are told */
#define VALUE_MAX	1000

AttrNumber
ak_trigger_column(Relation rel, const char *name, Oid type)
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
				 errhint("Give the column its type back.")));
	return column;
}

bool
ak_trigger_same(TupleTableSlot *a, TupleTableSlot *b, AttrNumber column)
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

/* Times are as to_jsonb has them, whatever DateStyle is. */
static char *
print_value(Oid type, Datum value)
{
	Oid			function;
	bool		is_varlena;
	char	   *str;
	int			len;

	if (type == TIMESTAMPTZOID)
		return JsonEncodeDateTime(NULL, value, type, NULL);
	getTypeOutputInfo(type, &function, &is_varlena);
	str = OidOutputFunctionCall(function, value);
	len = strlen(str);
	if (len <= VALUE_MAX)
		return str;
	return psprintf("%.*s...", pg_mbcliplen(str, len, VALUE_MAX), str);
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

	if (!ak_layout_shows(rel, name))
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
			!ak_trigger_same(old, new, column))
			add_column(detail, rel, new, column);
	ak_detail_close(detail);
}

void
ak_trigger_describe(const TriggerData *trigger, AkDetail *detail)
{
	static const char *const names[] = {"project", "environment", "level", "reason"};
	bool		update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	Relation	rel = trigger->tg_relation;

	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return;
	/* an UPDATE tells a level or a reason only if that is what changed */
	for (int i = 0; i < (update ? 2 : (int) lengthof(names)); i++)
	{
		AttrNumber	column = get_attnum(RelationGetRelid(rel), names[i]);

		if (column > 0 && ak_layout_shows(rel, names[i]))
			add_column(detail, rel, trigger->tg_trigslot, column);
	}
	if (update)
		add_changed(detail, rel, trigger->tg_trigslot, trigger->tg_newslot);
}
