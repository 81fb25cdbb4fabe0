/*
 * prune.h
 *		Partitions without a project of the key are not read: how a plan tells which table
 *		is read by its projects.  What comes of it when the plan begins, see trim.h.
 */
#ifndef AK_PRUNE_H
#define AK_PRUNE_H

#include "postgres.h"

#include "nodes/pathnodes.h"

/*
 * Add to the conditions of a table with partitions, which has been given all its paths,
 * what makes PostgreSQL look for partitions to be left out when execution starts.
 */
extern void ak_prune_add(PlannerInfo *root, RelOptInfo *rel);

/*
 * A query that is being planned may have conditions with calls of our other functions, by
 * which PostgreSQL itself finds partitions: look for these, too.
 */
extern void ak_prune_note(void);

/* Is there a call of either kind in pruning steps? */
extern bool ak_prune_calls(Node *node, void *context);

/*
 * If this, of a pruning step, is what the above has added: the array of values of which
 * the column is one.  Else NULL.
 */
extern Expr *ak_prune_list(Node *expression);

/* Is this a part of an expression that is evaluated again when a parameter has changed? */
extern bool ak_prune_is_changing(Node *node, void *context);

#endif							/* AK_PRUNE_H */
