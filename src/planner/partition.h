/*
 * partition.h
 *		Which partitions do steps of pruning leave when execution starts?
 */
#ifndef AK_PARTITION_H
#define AK_PARTITION_H

#include "postgres.h"

#include "nodes/params.h"
#include "nodes/plannodes.h"

typedef struct AkPartitions AkPartitions;

/*
 * About to ask about tables of a statement that is to begin, with these parameters.  Each
 * list in its steps is made once.
 */
extern AkPartitions *ak_partition_begin(const PlannedStmt *statement,
										ParamListInfo params);

/* The numbers of the children that are left of an Append or MergeAppend. */
extern Bitmapset *ak_partition_children(AkPartitions *partitions,
										const PartitionPruneInfo *info);

/*
 * The steps that are left to PostgreSQL, for each rescan, in a new copy; NULL if there are
 * none.  Of so many children these are left.
 */
extern PartitionPruneInfo *ak_partition_later(AkPartitions *partitions,
											  const PartitionPruneInfo *info,
											  const Bitmapset *left, int children);

extern void ak_partition_end(AkPartitions *partitions);

#endif							/* AK_PARTITION_H */
