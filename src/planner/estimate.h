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
 *
 * A plan that is kept can estimate again when it is begun, by what it has of the
 * statistics: see choice.h.
 */
#ifndef AK_ESTIMATE_H
#define AK_ESTIMATE_H

#include "postgres.h"

#include "auth/keycache.h"
#include "auth/reach.h"
#include "base/level.h"
#include "nodes/pathnodes.h"

/* A call of apikey_authorize in a query: its arguments. */
typedef struct AkCall
{
	Node	   *key;			/* NULL: that of the session */
	Node	   *names[2];		/* project and environment, by AkReachOf */
	Node	   *verb;
	AkLevel		level;			/* that it asks for; NONE: not known */
} AkCall;

/*
 * The share of rows that a call lets through.  "relid" is the table in the query that
 * the arguments are of, or 0 for any.
 */
extern Selectivity ak_estimate_call(PlannerInfo *root, int relid,
									const AkCall *call);

/*
 * The share of rows of a table where a column is in the list of projects, or
 * environments, that a call is turned into for an index.
 */
extern Selectivity ak_estimate_list(PlannerInfo *root, int relid,
									const AkCall *call, AkReachOf of);

/*
 * How many elements that list has.  For a key on '*' these are at most the values in the
 * table: others are not worth counting.
 */
extern double ak_estimate_elements(PlannerInfo *root, int relid,
								   const AkCall *call, AkReachOf of);

/* How many projects with rows in the table the key of a call reaches, at least 1. */
extern double ak_estimate_projects(PlannerInfo *root, int relid,
								   const AkCall *call);

/*
 * Do this, which estimates, as if every key saw little: ten projects, or a hundredth of
 * all if these are less, but at least one.
 */
extern void ak_estimate_as_little(void (*action) (void *), void *arg);

/*
 * What the statistics tell about the projects of rows, to be kept in a plan: "relid" is
 * the table that the call is on.  NIL if its project is no column.
 */
extern List *ak_estimate_save(PlannerInfo *root, int relid, const AkCall *call);

/* A number to be kept in a plan; floatVal() has it. */
extern Node *ak_estimate_save_number(double number);

/*
 * By that, the share of rows of the projects where this key, NULL for none, has the level
 * now.  Makes the list of these, as an index condition does.
 */
extern double ak_estimate_saved(List *saved, const AkKey *key, AkLevel level);

/* What a call costs, NULL for an unknown one. */
extern void ak_estimate_cost(const AkCall *call, Cost *startup, Cost *per_row);

#endif							/* AK_ESTIMATE_H */
