/*
 * copy.c
 *		Copies of a table to make paths of, apart from it; see copy.h.
 */
#include "postgres.h"

#include "planner/copy.h"

RelOptInfo *
ak_copy_table(RelOptInfo *rel)
{
	RelOptInfo *copy = makeNode(RelOptInfo);

	*copy = *rel;
	copy->indexlist = NIL;
	copy->pathlist = NIL;
	copy->partial_pathlist = NIL;
	copy->ppilist = NIL;
	copy->joininfo = NIL;
	copy->has_eclass_joins = false;
	return copy;
}

IndexOptInfo *
ak_copy_index(RelOptInfo *copy, IndexOptInfo *index)
{
	IndexOptInfo *result = makeNode(IndexOptInfo);

	*result = *index;
	result->rel = copy;
	result->amcanparallel = false;
	copy->indexlist = lappend(copy->indexlist, result);
	return result;
}
