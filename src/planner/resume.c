/*
 * resume.c
 *		Where a scan of an index goes on; see resume.h.
 *
 * Comparisons of rows would do with one scan, but not with nulls, nor with columns that are
 * sorted in different directions.
 */
#include "postgres.h"

#include "planner/resume.h"

#include "access/nbtree.h"
#include "base/compat.h"
#include "catalog/pg_index.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

void
ak_resume_begin(AkResume *resume, int columns)
{
	resume->columns = columns;
	resume->column = columns - 1;
	resume->crossing = false;
}

/* Has the scan of a column this option of its index, or with a backward scan not? */
static bool
has_option(const AkResume *resume, int column, int16 option)
{
	bool		set = (resume->reader->index->rd_indoption[resume->first + column] & option) != 0;

	return set != ScanDirectionIsBackward(resume->reader->direction);
}

static bool
has_no_nulls(const AkResume *resume, int column)
{
	AttrNumber	attno = resume->reader->index->rd_index->indkey.values[resume->first + column];

	return attno > 0 &&
		ak_is_not_null(RelationGetDescr(resume->reader->state->ss_currentRelation), attno - 1);
}

/* Make a condition on a column: null, or not. */
static void
make_null_key(const AkResume *resume, ScanKey key, int column, bool null)
{
	ScanKeyEntryInitialize(key, SK_ISNULL | (null ? SK_SEARCHNULL : SK_SEARCHNOTNULL),
						   resume->first + column + 1, InvalidStrategy, InvalidOid,
						   InvalidOid, InvalidOid, (Datum) 0);
}

/* Make a condition on a column: by its value, which is not null. */
static void
make_value_key(const AkResume *resume, ScanKey key, int column, StrategyNumber strategy)
{
	Relation	index = resume->reader->index;
	int			at = resume->first + column;
	Oid			type = index->rd_opcintype[at];
	Oid			operator = get_opfamily_member(index->rd_opfamily[at], type, type, strategy);

	if (!OidIsValid(operator))
		elog(ERROR, "missing operator %d(%u,%u) in opfamily %u", strategy, type, type,
			 index->rd_opfamily[at]);
	ScanKeyEntryInitialize(key, 0, at + 1, strategy, InvalidOid, index->rd_indcollation[at],
						   get_opcode(operator), resume->values[column]);
}

/* Make the condition on the column of a scan; false if nothing can meet it. */
static bool
make_key(const AkResume *resume, ScanKey key, int column, bool crossing)
{
	bool		null = resume->nulls[column];
	bool		last = column == resume->columns - 1;
	bool		down = has_option(resume, column, INDOPTION_DESC);

	if (crossing)
	{
		if (null != has_option(resume, column, INDOPTION_NULLS_FIRST) ||
			has_no_nulls(resume, column))
			return false;
		make_null_key(resume, key, column, !null);
	}
	else if (!null)
		make_value_key(resume, key, column,
					   last ? (down ? BTLessEqualStrategyNumber : BTGreaterEqualStrategyNumber) :
					   (down ? BTLessStrategyNumber : BTGreaterStrategyNumber));
	else if (last)
		make_null_key(resume, key, column, true);
	else
		return false;
	return true;
}

bool
ak_resume_next(AkResume *resume, ScanKey keys)
{
	int			nkeys = resume->reader->index->rd_index->indnkeyatts - resume->first;

	for (;;)
	{
		int			column = resume->column;
		bool		crossing = resume->crossing;

		if (column < 0)
			return false;
		resume->crossing = !crossing;
		if (crossing)
			resume->column--;
		if (!make_key(resume, &keys[column], column, crossing))
			continue;
		for (int i = 0; i < column; i++)
		{
			if (resume->nulls[i])
				make_null_key(resume, &keys[i], i, true);
			else
				make_value_key(resume, &keys[i], i, BTEqualStrategyNumber);
		}
		for (int i = column + 1; i < nkeys; i++)
			keys[i] = keys[column];
		return true;
	}
}
