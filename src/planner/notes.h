/*
 * notes.h
 *		What the planner has found out about each table of a query, for whoever asks.
 */
#ifndef AK_NOTES_H
#define AK_NOTES_H

#include "postgres.h"

#include "nodes/pathnodes.h"
#include "planner/ordered.h"

/*
 * The range table of a plan has copies of the entries that the planner had, but their
 * very names: so "names" tells of which entry this is.  Where the entry is a child or a
 * partition of the table that the query names, "alias" and "relation" are that one's.
 */
typedef struct AkNote
{
	const Alias *names;
	Oid			table;
	const char *alias;
	Oid			relation;
	AkOrderedRefusal refusal;
	bool		filtered;		/* do policies apply to it? */
	bool		by_organization;	/* is that of a key looked for? */
	bool		all;			/* are all rows asked for, without a LIMIT? */
	bool		foreign;		/* is the order first by something else? */

	/*
	 * The columns, as SQL, of an index by which an ordered scan would be
	 * possible; or, if no order is asked for, of one that begins with the
	 * project, if there is none.  Else NULL.
	 */
	const char *index;
} AkNote;

/*
 * Plan something, and return what was noted, a List of AkNotes in the current memory
 * context: also of what the planner has left out, or of functions that it has called.
 * So the last one with the names of an entry is about that.
 */
extern List *ak_notes_collect(void (*plan) (void *), void *arg);

/*
 * To be called for each table of a query that is planned, when all its paths are there.
 * "call" is that of apikey_authorize which counts, or NULL.
 */
extern void ak_notes_add(PlannerInfo *root, RelOptInfo *rel,
						 AkOrderedRefusal refusal, const RestrictInfo *call);

#endif							/* AK_NOTES_H */
