/*
 * estimate.h
 *		How many rows will apikey_authorize let through, and what does it cost?
 *
 * Estimates come from the statistics of the columns and from what the key may do
 * now, if planning can tell which key it is: that of the session, or a given one
 * that is a constant.  A key that is bad, or unknown, counts as one of ten
 * projects: the plan may be kept for others.
 *
 * The statistics are not asked about each project of the key, which could be
 * thousands; it is decided for the most common values in them, and a few others,
 * like for a row.  Nothing but these shares of rows comes out.
 */
#ifndef AK_ESTIMATE_H
#define AK_ESTIMATE_H

#include "postgres.h"

#include "auth/reach.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"

/* The share of rows that a call lets through. */
extern Selectivity ak_estimate_call(SupportRequestSelectivity *request);

/*
 * The share of rows of a table where a column is in the list of projects, or
 * environments, that "call" is turned into for an index.
 */
extern Selectivity ak_estimate_list(PlannerInfo *root, int relid,
									FuncExpr *call, AkReachOf of);

/* Fills in what a call costs. */
extern void ak_estimate_cost(SupportRequestCost *request);

#endif							/* AK_ESTIMATE_H */
