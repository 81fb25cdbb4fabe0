/*
 * prune.h
 *		Partitions without a project of the key are not read.
 */
#ifndef AK_PRUNE_H
#define AK_PRUNE_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/* To be called by _PG_init. */
extern void ak_prune_init(void);

/*
 * Add to the conditions of a table with partitions, which has been given all its paths,
 * what tells PostgreSQL to leave partitions out when execution starts.
 */
extern void ak_prune_add(PlannerInfo *root, RelOptInfo *rel);

/*
 * A table with partitions has a condition by which PostgreSQL may leave some out, and which
 * two processes may find different: see to it that no parallel plan goes by it.
 */
extern void ak_prune_note(PlannerInfo *root);

#endif							/* AK_PRUNE_H */
