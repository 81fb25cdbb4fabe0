/*
 * firing.c
 *		Do the triggers fire by which backends hear of changes?  See firing.h.
 */
#include "postgres.h"

#include "table/firing.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

static const char *const firing_triggers[AK_FIRING_TRIGGERS] = {
	"apikey_changed", "apikey_truncated"
};

void
ak_firing_read(Oid relation, AkFiring *firing)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	memset(firing, 0, sizeof(AkFiring));
	firing->known = true;
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);

		for (int i = 0; i < AK_FIRING_TRIGGERS; i++)
			if (strcmp(NameStr(form->tgname), firing_triggers[i]) == 0)
			{
				firing->enabled[i] = form->tgenabled;
				firing->written[i] = HeapTupleHeaderGetRawXmin(tuple->t_data);
			}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

const char *
ak_firing_silent(const AkFiring *firing, bool replicated)
{
	for (int i = 0; i < AK_FIRING_TRIGGERS; i++)
		if (firing->enabled[i] != TRIGGER_FIRES_ALWAYS &&
			(replicated || firing->enabled[i] != TRIGGER_FIRES_ON_ORIGIN))
			return firing_triggers[i];
	return NULL;
}
