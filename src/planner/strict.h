/*
 * strict.h
 *		Tables that are protected with strict => true: errors instead of silence.
 *
 * Every access to them needs a good key.  Their policies let a row be found that
 * the key can read, and their triggers refuse what the key may not do to it.
 */
#ifndef AK_STRICT_H
#define AK_STRICT_H

#include "postgres.h"

#include "planner/protection.h"

/* To be called by _PG_init. */
extern void ak_strict_init(void);

/*
 * What their policies for UPDATE and DELETE ask first, in the other schema: will the
 * row be judged by a trigger?
 */
#define AK_STRICT_JUDGED	"judged"

/* What their triggers call. */
#define AK_STRICT_TRIGGER	"judge"

/*
 * Create the triggers of a table, locked for that; its qualified name and the list of
 * its columns, of the old row, are quoted.  Returns the owner of the trigger function,
 * who alone can create what names it.
 */
extern Oid	ak_strict_create_triggers(Oid relation, const char *name,
									  const AkProtection *protection,
									  const char *old_columns);

/* Are all there, and enabled always? */
extern bool ak_strict_has_triggers(Oid relation);

/* Drop them, if there are any. */
extern void ak_strict_drop_triggers(Oid relation);

#endif							/* AK_STRICT_H */
