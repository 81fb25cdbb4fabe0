/*
 * walk.h
 *		The node of a plan that is an ordered scan.
 */
#ifndef AK_WALK_H
#define AK_WALK_H

#include "postgres.h"

#include "nodes/extensible.h"

/* The index scans that it is made of; they are never executed as such. */
typedef enum AkWalkChild
{
	AK_WALK_RUNS = 0,			/* rows of the projects, in one of an array of
								 * them */
	AK_WALK_ALL					/* all rows in the same order; there may be
								 * none */
} AkWalkChild;

/*
 * Its conditions, in custom_exprs.  Not in "qual", which would be compiled for slots that
 * rows do not come in.
 */
typedef enum AkWalkConditions
{
	AK_WALK_CHECKED = 0,		/* for each row */
	AK_WALK_MET					/* by each row of the index scans */
} AkWalkConditions;

/* What the node is told in custom_private, a list of integers. */
typedef enum AkWalkPrivate
{
	AK_WALK_PROJECT = 0,		/* column of the index of the runs, from 0 */
	AK_WALK_COLUMNS,			/* that follow it and are the order asked for */
	AK_WALK_WANTED,				/* rows that are expected to be asked for, 0:
								 * all */
	AK_WALK_SESSION				/* are the projects those of the session's
								 * key? */
} AkWalkPrivate;

extern const CustomScanMethods ak_walk_methods;

#endif							/* AK_WALK_H */
