/*
 * redact.h
 *		API keys in a text, made unreadable.
 *
 * Unlike finder.h, this goes by form alone, and takes cut-off keys too.  What is
 * taken for one:
 *
 * - 32 or more letters and digits behind '_'.  The first 22, the key's id, stay:
 *	 that is the masked form.  Whatever follows up to the end of the run goes, junk
 *	 and all.  What stands in front of the '_' does not matter: it may be the prefix
 *	 of a key, or what has been hidden of one and the rest of the next one's prefix.
 *	 The '_' may be escaped, see escape.h.
 *
 * - 71 letters and digits with neither before nor behind them: a key without its
 *	 prefix.
 *
 * - 16 or more letters and digits right behind "...": the end of a key that was
 *	 cut off.  All of it goes.
 *
 * - a prefix of another system, '_', and a run of letters, digits, '_' and '-'
 *	 with at least 16 letters and digits in it.  All of it goes.  These come first.
 *	 Not where ten '_' follow the prefix: it is the end of an id whose secret has
 *	 been hidden.
 *
 * Not: a number or digest in hexadecimal, unless it is just 71 digits long behind
 * '_'.
 *
 * Each letter or digit that goes becomes '_', and nothing else changes.  So the
 * length of the text and all places in it stay the same, a statement is the same to
 * the parser but for the names and strings in it, and nothing of a key's form is
 * left to be found: redacting a text again changes nothing.
 *
 * A key that is whole is found in any text, whatever it runs together with: its
 * body begins right behind '_', and is long enough.  Not if it is broken over lines.
 *
 * All but the last raise nothing, allocate nothing and cannot be interrupted.
 * They take linear time.
 */
#ifndef AK_REDACT_H
#define AK_REDACT_H

#include "postgres.h"

#include "base/name.h"

#define AK_REDACT_PREFIXES	32

/* Prefixes of other systems. */
typedef struct AkRedactPrefixes
{
	int			n;
	AkName		prefix[AK_REDACT_PREFIXES]; /* point into the list */
	bool		ends[256];		/* the last characters of them */
} AkRedactPrefixes;

/*
 * Take a list apart, which is separated by commas and blanks: prefixes of at most
 * AK_PREFIX_MAX letters and digits, with single '_' and '-' between them.  False if
 * it is malformed.
 */
extern bool ak_redact_parse(const char *list, AkRedactPrefixes *prefixes);

/*
 * Is there a key in the text, NUL-terminated at "len"?  "prefixes" may be NULL
 * for none.
 */
extern bool ak_redact_needed(const char *str, Size len,
							 const AkRedactPrefixes *prefixes);

/* Make the keys in it unreadable; returns whether there were any. */
extern bool ak_redact(char *str, Size len, const AkRedactPrefixes *prefixes);

/*
 * A name as a message may repeat it: palloc'd, and unreadable if somebody gave a key
 * where a name belongs.
 */
extern char *ak_redact_name(const AkName *name);

#endif							/* AK_REDACT_H */
