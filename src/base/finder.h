/*
 * finder.h
 *		Strings of a key's form in a text of any size.
 *
 * The text is in the encoding of the database, where each byte of an ASCII character
 * is that character.  Nothing is allocated: what is found points into it.  Only a key
 * that does not stand there as it is, is copied, into AkFound.
 */
#ifndef AK_FINDER_H
#define AK_FINDER_H

#include "postgres.h"

#include "base/token.h"

/* ----------------------------------------------------------------- runs */

/*
 * A run is a maximal string of letters and digits (AK_RUN_ALNUM), or of these, '-'
 * and '_' (AK_RUN_BASE64URL).  Runs of at least "len" are found in order, in linear
 * time, with a look at a few characters of each "len":
 *
 *		ak_run_begin(&runs, str, str_len, AK_RUN_ALNUM, true);
 *		while ((run = ak_run_next(&runs, len)) != NULL)
 *			end = ak_run_leave(&runs);
 */
#define AK_RUN_ALNUM		AK_DIGIT_BASE62
#define AK_RUN_BASE64URL	AK_DIGIT_BASE64URL

/* A place in a text; private to finder.c. */
typedef struct AkRuns
{
	const char *at;
	const char *known;
	const char *end;
	const char *poll;
	uint8		class;
} AkRuns;

/* Is the character of this class? */
static inline bool
ak_run_has(char c, uint8 class)
{
	return (ak_token_digits[(unsigned char) c] & class) != 0;
}

/* "interruptible": look for interrupts now and then, which may raise. */
extern void ak_run_begin(AkRuns *runs, const char *str, Size len, uint8 class,
						 bool interruptible);

/* The next run of at least "len", to be left before the one after it; or NULL. */
extern const char *ak_run_next(AkRuns *runs, Size len);

/* Leave the run: go to its end, which is returned. */
extern const char *ak_run_leave(AkRuns *runs);

/* ----------------------------------------------------------------- keys */

/*
 * A native key is taken by its checksum, whatever stands before and behind it:
 *
 *		my_token_apk_<71 characters>apk_<71 characters>junk
 *
 * holds two.  If the checksum is right with several prefixes, the shortest is taken:
 * whoever copied a key can put before it what they like, but cannot make its prefix
 * shorter.  If it is wrong with all of them, the string is reported only if it stands
 * free: exactly 71 letters and digits, and none before the prefix.
 *
 * Each '_' of it may be escaped, see escape.h.  With AK_FIND_JOINED it may also be
 * broken over lines.  Between two characters, up to 16 times, may then stand up to 128
 * bytes with a line end in them, but without a letter, digit or '_': the end of a line
 * in quoted-printable or of a string in source code, an indentation, "> ".  The line
 * end, and a tab, may be escaped: \n, \r, \t.
 *
 * A key of Formbricks v2 is "fbk_" and 43 characters of base64url, one of which at
 * least is a letter or digit.  It has no checksum.
 */
typedef enum AkFoundKind
{
	AK_FOUND_CORRUPT = 0,		/* of a native key's form, the checksum is
								 * wrong */
	AK_FOUND_KEY,				/* the checksum is right; there may be no such
								 * key */
	AK_FOUND_FORMBRICKS,
	AK_FOUND_WHOLE				/* of no form: leak.c makes these */
} AkFoundKind;

typedef struct AkFound
{
	AkFoundKind kind;
	const char *start;
	int			len;			/* in the text */
	int			prefix_len;		/* of the key itself */
	pg_uuid_t	id;				/* of AK_FOUND_KEY */
	int			plain_len;
	char		plain[AK_TOKEN_MAX];	/* the key, if it is not what stands
										 * there */
} AkFound;

/* The key itself, and its length.  Of no use when "found" is gone. */
extern const char *ak_found_key(const AkFound *found, int *len);

/* What comes next of one kind; private to finder.c. */
typedef struct AkFinderPlace
{
	AkRuns		runs;
	bool		pending;
	AkFound		found;
} AkFinderPlace;

/* Private to finder.c. */
typedef struct AkFinder
{
	const char *start;
	const char *end;
	int			flags;
	AkFinderPlace native;
	AkFinderPlace formbricks;
} AkFinder;

#define AK_FIND_FORMBRICKS	0x01	/* look for their keys too */
#define AK_FIND_JOINED		0x02	/* and for keys that are broken over lines */

/*
 * Linear time.  The finder looks ahead, so it and what it returns may hold a key: the
 * caller wipes both.
 */
extern void ak_finder_begin(AkFinder *finder, const char *str, Size len,
							int flags);

/* The next one, in order; false at the end.  Can be interrupted. */
extern bool ak_finder_next(AkFinder *finder, AkFound *found);

#endif							/* AK_FINDER_H */
