/*
 * finder.h
 *		Strings of a key's form in a text of any size.
 *
 * What is found points into the text; nothing is copied or allocated.  Whether
 * there is such a key at all is not known here: see authn.h.
 *
 * An own key stands behind anything but is taken by its checksum, so junk in
 * front of it and behind it, or another key, does not hide it:
 *
 *		my_token_apk_<71 characters>apk_<71 characters>junk
 *
 * holds two keys.  If the checksum is right with several prefixes, the shortest
 * is taken: who copied a key can put before it what they like, but cannot make
 * its own prefix shorter.  If it is wrong with all of them, the string is
 * reported only if it stands free: exactly 71 alphanumerics, and no
 * alphanumeric before the prefix.
 *
 * A key of Formbricks v2 is fbk_ and 43 characters of base64url.  It has no
 * checksum, so any such string with a letter or digit in it is one.
 *
 * The text is in the encoding of the database, where each byte of an ASCII
 * character is that character.
 */
#ifndef AK_FINDER_H
#define AK_FINDER_H

#include "postgres.h"

#include "base/run.h"
#include "base/token.h"

typedef enum AkFoundKind
{
	AK_FOUND_CORRUPT = 0,		/* of the form of a key, the checksum is wrong */
	AK_FOUND_KEY,				/* the checksum is right */
	AK_FOUND_FORMBRICKS,
	AK_FOUND_WHOLE				/* of no form: leak.c makes these */
} AkFoundKind;

typedef struct AkFound
{
	AkFoundKind kind;
	const char *text;
	int			len;
	int			prefix_len;
	pg_uuid_t	id;				/* of AK_FOUND_KEY */
} AkFound;

/* A place in the text; private to finder.c. */
typedef struct AkFinderPlace
{
	AkRuns		runs;
	bool		pending;
	AkFound		found;
} AkFinderPlace;

typedef struct AkFinder
{
	/* private to finder.c */
	const char *text;
	AkFinderPlace own;
	AkFinderPlace formbricks;
} AkFinder;

/* "formbricks": look for their keys too. */
extern void ak_finder_begin(AkFinder *finder, const char *text, Size len,
							bool formbricks);

/* The next one, in order; false at the end.  Can be interrupted. */
extern bool ak_finder_next(AkFinder *finder, AkFound *found);

#endif							/* AK_FINDER_H */
