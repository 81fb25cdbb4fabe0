/*
 * refer.c
 *		The foreign keys of our tables, where a row is new; see refer.h.
 *
 * The triggers by which PostgreSQL would check a new row are disabled, see the end
 * of the SQL script.  The same function is called here, in the same way, but for
 * a row that COPY brings in and that refers to a key, project or environment of
 * which nothing is known.  All the rest is PostgreSQL's: updates of such rows,
 * and what falls with a row that is referred to, or keeps it from being changed.
 *
 * One of the two sees the other.  A transaction that lets a row in unchecked has waited
 * for all that write to the table that it refers to, under ShareRowExclusiveLock, and
 * keeps them away until its end; both look by a snapshot of now.
 *
 * What a row is stands in the first column of each of our foreign keys, on both
 * sides: the id of a key, or a project.
 */
#include "postgres.h"

#include "table/refer.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/inval.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "table/insert.h"
#include "table/scan.h"
#include "table/schema.h"
#include "table/trigger.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* A project that has no grant for another organization than this. */
static struct
{
	TimestampTz statement;		/* 0: none */
	uint64		transaction;
	AkName		project;
	AkName		organization;
	char		names[2][AK_NAME_MAX];
}			clean;

/* Does the row of a scan have another name in this column, or null? */
static bool
has_other_name(const AkScan *scan, AttrNumber column, const AkName *name)
{
	bool		isnull;
	Datum		value = ak_scan_value(scan, column, &isnull);
	AkName		actual;

	if (isnull)
		return true;
	actual = ak_name_of_text(value);
	return !ak_name_equal(&actual, name);
}

/*
 * Is there a row now that the key finds by the index?  If "organization" is not NULL,
 * only one with another organization than that in the column counts.
 */
static bool
has_row(AkIndex index, const ScanKeyData *key, AttrNumber column,
		const AkName *organization)
{
	AkScan		scan;
	bool		found = false;

	ak_scan_begin(&scan, index, NoMovementScanDirection, NULL, 1, key);
	while (!found && ak_scan_next(&scan))
	{
		CHECK_FOR_INTERRUPTS();
		found = organization == NULL ||
			has_other_name(&scan, column, organization);
	}
	ak_scan_end(&scan);
	return found;
}

/* ---------------------------------------------------------- a row refers */

/*
 * The index by which to find what a foreign key refers to, and the column in C that it
 * begins with; false for a key of somebody else's.
 */
static bool
find_referred(const ForeignKeyCacheInfo *key, AkIndex *index, AttrNumber *column)
{
	AkTable		table;

	if (!ak_schema_find_table(key->confrelid, &table))
		return false;
	switch (table)
	{
		case AK_TABLE_KEY:
			*index = AK_INDEX_KEY_PKEY;
			*column = Anum_apikey_key_key_id;
			return true;
		case AK_TABLE_PROJECT:
			*index = AK_INDEX_PROJECT_PKEY;
			*column = Anum_apikey_project_project;
			return true;
		case AK_TABLE_ENVIRONMENT:
			*index = AK_INDEX_ENVIRONMENT_PKEY;
			*column = Anum_apikey_environment_project;
			return true;
		default:
			return false;
	}
}

/*
 * Is nothing known of what the row refers to?  Then nobody else makes it known
 * until this transaction has ended.
 */
static bool
comes_before(TriggerData *trigger, const ForeignKeyCacheInfo *key)
{
	AkIndex		index;
	AttrNumber	column;
	bool		isnull;
	Datum		value = slot_getattr(trigger->tg_trigslot, key->conkey[0],
									 &isnull);
	ScanKeyData scankey;

	if (isnull || !find_referred(key, &index, &column))
		return false;
	ScanKeyInit(&scankey, column, BTEqualStrategyNumber,
				get_opcode(key->conpfeqop[0]), value);
	if (has_row(index, &scankey, InvalidAttrNumber, NULL))
		return false;
	(void) ak_schema_lock(ak_layout_table(index), ShareRowExclusiveLock);
	return !has_row(index, &scankey, InvalidAttrNumber, NULL);
}

/* As the trigger of the foreign key would, if it were not disabled. */
static void
check_foreign_key(TriggerData *trigger, const ForeignKeyCacheInfo *key)
{
	LOCAL_FCINFO(fcinfo, 0);
	TriggerData as = *trigger;
	Trigger		of = *trigger->tg_trigger;

	of.tgconstraint = key->conoid;
	of.tgconstrrelid = key->confrelid;
	as.tg_trigger = &of;
	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, (Node *) &as, NULL);
	RI_FKey_check_ins(fcinfo);
}

/*
 * The list of foreign keys is the relcache's, and may be made anew whenever
 * something is looked up: so it is asked for each time.
 */
static void
check_referring(TriggerData *trigger, bool copied)
{
	List	   *keys;

	for (int i = 0;
		 i < list_length(keys = RelationGetFKeyList(trigger->tg_relation)); i++)
	{
		ForeignKeyCacheInfo key = *(ForeignKeyCacheInfo *) list_nth(keys, i);
		AkIndex		index;
		AttrNumber	column;

		/* another one has triggers of its own, which are not disabled */
		if (!find_referred(&key, &index, &column))
			continue;
		if (copied && comes_before(trigger, &key))
			clean.statement = 0;
		else
			check_foreign_key(trigger, &key);
	}
}

/* ------------------------------------------------------ it is referred to */

/*
 * Find the first or last grant on a project, in those environments that the
 * second key says, if there are two.  Tells which one it is in, and whether it is
 * for another organization; false if there is none.
 */
static bool
get_grant(const ScanKeyData *keys, int nkeys, ScanDirection direction,
		  const AkName *organization, Datum *environment, bool *foreign)
{
	AkScan		scan;
	bool		found;

	ak_scan_begin(&scan, AK_INDEX_GRANT_PROJECT, direction, NULL, nkeys, keys);
	found = ak_scan_next(&scan);
	if (found)
	{
		bool		isnull;
		Datum		value = ak_scan_value(&scan, Anum_apikey_grant_environment,
										  &isnull);

		*environment = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		*foreign = has_other_name(&scan, Anum_apikey_grant_organization,
								  organization);
	}
	ak_scan_end(&scan);
	return found;
}

/*
 * Is there a grant on a project for another organization?  The index has the
 * grants in an environment by organization: the first and the last one tell.  So
 * a project with a million grants gets another environment as fast as any.
 */
static bool
has_foreign_grant(Datum project, const AkName *organization)
{
	ScanKeyData keys[2];
	int			nkeys = 1;
	Datum		environment;
	bool		foreign;

	ScanKeyInit(&keys[0], Anum_apikey_grant_project, BTEqualStrategyNumber,
				F_TEXTEQ, project);
	while (get_grant(keys, nkeys, ForwardScanDirection, organization,
					 &environment, &foreign))
	{
		if (foreign)
			return true;
		nkeys = 2;
		ScanKeyInit(&keys[1], Anum_apikey_grant_environment,
					BTEqualStrategyNumber, F_TEXTEQ, environment);
		if (get_grant(keys, nkeys, BackwardScanDirection, organization,
					  &environment, &foreign) && foreign)
			return true;
		ScanKeyInit(&keys[1], Anum_apikey_grant_environment,
					BTGreaterStrategyNumber, F_TEXT_GT, environment);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/*
 * The same, asked for each of many environments of a project.  What has none goes on
 * to have none until the statement or the transaction ends, but for grants that this
 * transaction lets in before what they refer to: writing environments keeps others
 * from that.
 */
static bool
has_foreign_grant_now(Datum project, const AkName *organization)
{
	AkName		name = ak_name_of_text(project);

	if (clean.statement == ak_clock_now() &&
		clean.transaction == ak_inval_transaction &&
		ak_name_equal(&clean.project, &name) &&
		ak_name_equal(&clean.organization, organization))
		return false;
	clean.statement = 0;
	if (has_foreign_grant(project, organization))
		return true;
	if (name.len > AK_NAME_MAX || organization->len > AK_NAME_MAX)
		return false;			/* somebody has dropped the constraints */
	clean.project.data = memcpy(clean.names[0], name.data, name.len);
	clean.project.len = name.len;
	clean.organization.data = memcpy(clean.names[1], organization->data,
									 organization->len);
	clean.organization.len = organization->len;
	clean.transaction = ak_inval_transaction;
	clean.statement = ak_clock_now();
	return false;
}

/* Is there a row now that refers to this id, but to another organization? */
static bool
is_contradicted(AkTable table, Datum id, const AkName *organization)
{
	ScanKeyData key;

	if (table == AK_TABLE_ENVIRONMENT)
		return has_foreign_grant_now(id, organization);
	if (table == AK_TABLE_KEY)
	{
		static const struct
		{
			AkIndex		index;
			AttrNumber	id;
			AttrNumber	organization;
		}			referring[] = {
			{AK_INDEX_GRANT_KEY, Anum_apikey_grant_key_id,
			Anum_apikey_grant_organization},
			{AK_INDEX_SECRET_PKEY, Anum_apikey_secret_key_id,
			Anum_apikey_secret_organization},
			{AK_INDEX_BUDGET_PKEY, Anum_apikey_budget_key_id,
			Anum_apikey_budget_organization},
			{AK_INDEX_KEY_PARENT, Anum_apikey_key_parent_id,
			Anum_apikey_key_organization}
		};
		bool		found = false;

		for (size_t i = 0; i < lengthof(referring) && !found; i++)
		{
			ScanKeyInit(&key, referring[i].id, BTEqualStrategyNumber,
						F_UUID_EQ, id);
			found = has_row(referring[i].index, &key,
							referring[i].organization, organization);
		}
		return found;
	}
	ScanKeyInit(&key, Anum_apikey_environment_project, BTEqualStrategyNumber,
				F_TEXTEQ, id);
	return has_row(AK_INDEX_ENVIRONMENT_PKEY, &key,
				   Anum_apikey_environment_organization, organization);
}

/* Raises 23503 if rows came before this one that say it is somebody else's. */
static void
check_referred(TriggerData *trigger, AkTable table, const char *id_name,
			   Oid id_type, const char *constraint)
{
	Relation	rel = trigger->tg_relation;
	AttrNumber	id = ak_trigger_column(rel, id_name, id_type);
	AttrNumber	organization = ak_trigger_column(rel, "organization", TEXTOID);
	TupleTableSlot *row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
	trigger->tg_newslot : trigger->tg_trigslot;
	bool		isnull;
	Datum		value;
	AkName		name;

	if (id == InvalidAttrNumber || organization == InvalidAttrNumber)
		return;
	value = slot_getattr(row, organization, &isnull);
	if (isnull || (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
				   ak_trigger_same(trigger->tg_trigslot, row, id) &&
				   ak_trigger_same(trigger->tg_trigslot, row, organization)))
		return;
	name = ak_name_of_text(value);
	if (is_contradicted(table, slot_getattr(row, id, &isnull), &name))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"",
						RelationGetRelationName(rel), constraint),
				 errdetail("Rows of another organization, which came before, refer to it."),
				 errhidestmt(true)));
}

/*
 * No row can refer to the id of a key that is just being made, and whoever makes it has
 * locked its parent.
 */
void
ak_refer_check(TriggerData *trigger, bool copied)
{
	AkTable		table;

	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		!ak_schema_find_table(RelationGetRelid(trigger->tg_relation), &table))
		return;
	/* a key and its parent may come in one COPY: then they see each other */
	if (table == AK_TABLE_KEY && copied)
		CommandCounterIncrement();
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		!(table == AK_TABLE_KEY && ak_insert_fires(AK_INSERT_KEY)))
		check_referring(trigger, copied);
	if (table == AK_TABLE_KEY && !ak_insert_fires(AK_INSERT_KEY))
		check_referred(trigger, table, "key_id", UUIDOID,
					   "apikey_grant_key_fkey");
	else if (table == AK_TABLE_ENVIRONMENT)
		check_referred(trigger, table, "project", TEXTOID,
					   "apikey_grant_environment_fkey");
	else if (table == AK_TABLE_PROJECT)
		check_referred(trigger, table, "project", TEXTOID,
					   "apikey_environment_project_fkey");
}
