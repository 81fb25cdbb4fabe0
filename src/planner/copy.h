/*
 * copy.h
 *		Copies of a table, for create_index_paths() to make paths apart from it.
 */
#ifndef AK_COPY_H
#define AK_COPY_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/* Without paths, indexes, or conditions that join the table to others. */
extern RelOptInfo *ak_copy_table(RelOptInfo *rel);

/* Give such a copy an index of the table, not for parallel scans.  Returns its copy. */
extern IndexOptInfo *ak_copy_index(RelOptInfo *copy, IndexOptInfo *index);

#endif							/* AK_COPY_H */
