/*
 * finder.c
 *		Strings of a key's form in a text of any size; see finder.h.
 *
 * To find a run of at least N characters, look at the character N - 1 places ahead,
 * and from there to the left.  The first one of another class ends the search of this
 * window: no run that begins further left is long enough.  The next window begins
 * right behind it, and what was seen to its right is not looked at again: no byte is
 * tested twice.
 *
 * The body of a key is 71 letters and digits, and before it stands '_', which is
 * neither: so a body is the beginning of a run of at least 71.  Such a run costs one
 * pass over its first 71 bytes and at most AK_PREFIX_MAX before them, see
 * ak_token_prefix(): less than two steps for each byte, since each run has its own 72.
 *
 * An escape may end within the run that has the body: of its first few letters and
 * digits, those behind '%', '=' or a backslash are looked at.
 *
 * To find keys that are broken over lines, every run is looked at, and a body that does
 * not end with its run is read on.  A body has no '_', so what has been read for one is
 * read again only for an escape within it.  Each takes two characters of the 71, so no
 * byte is read for more than 36 of them.  Before a body is read what can be its prefix:
 * at most 32 characters, and as many gaps as one key may have.
 *
 * Keys of Formbricks are in runs of base64url of at least 47, which are searched for
 * "fbk_"; the search goes on behind what was found.
 */
#include "postgres.h"

#include "base/finder.h"

#include "base/escape.h"
#include "miscadmin.h"

/* ----------------------------------------------------------------- runs */

/* Look for interrupts each time that so many bytes are done. */
#define POLL_BYTES			(1024 * 1024)

static pg_noinline void
poll_interrupts(AkRuns *runs, const char *p)
{
	runs->poll = p + POLL_BYTES;
	CHECK_FOR_INTERRUPTS();
}

void
ak_run_begin(AkRuns *runs, const char *str, Size len, uint8 class,
			 bool interruptible)
{
	runs->at = runs->known = str;
	runs->end = str + len;

	/* what lies behind the end is never reached */
	runs->poll = interruptible ? str + POLL_BYTES : runs->end + 1;

	runs->class = class;
}

/*
 * The characters from runs->at up to runs->known are of the class; the one before
 * runs->at is not, or done with.
 */
const char *
ak_run_next(AkRuns *runs, Size len)
{
	while (runs->end - runs->at >= (ptrdiff_t) len)
	{
		const char *window = runs->at + len;
		const char *p = window;

		while (p > runs->known && ak_run_has(p[-1], runs->class))
			p--;
		if (p == runs->known)
		{
			runs->known = window;
			return runs->at;
		}
		runs->at = p;
		runs->known = window;
		if (unlikely(p >= runs->poll))
			poll_interrupts(runs, p);
	}
	return NULL;
}

/* Is the run, in which "p" has been reached, not at its end there? */
static inline bool
run_goes_on(AkRuns *runs, const char *p)
{
	if (p >= runs->end || !ak_run_has(*p, runs->class))
		return false;
	if (unlikely(p >= runs->poll))
		poll_interrupts(runs, p);
	return true;
}

/* Go on from here, within the run or at its end, as if it began here. */
static void
resume_at(AkRuns *runs, const char *p)
{
	runs->at = runs->known = p;
}

const char *
ak_run_leave(AkRuns *runs)
{
	const char *p = runs->known;

	while (run_goes_on(runs, p))
		p++;
	resume_at(runs, p);
	return p;
}

/* ----------------------------------------------------------------- keys */

#define FORMBRICKS			"fbk_"
#define FORMBRICKS_PREFIX	((int) strlen(FORMBRICKS))
#define FORMBRICKS_BODY		43

static void
set_found(AkFound *found, AkFoundKind kind, const char *body, int body_len,
		  int prefix_len)
{
	memset(found, 0, sizeof(AkFound));
	found->kind = kind;
	found->prefix_len = prefix_len;
	found->len = prefix_len + 1 + body_len;
	found->start = body - 1 - prefix_len;
}

/* Is it a key?  "room" bytes stand before the '_' before the body. */
static bool
is_native(const char *body, int room, AkFound *found)
{
	int			prefix_len = ak_token_prefix(body, room);
	AkToken		token;
	bool		valid;

	if (prefix_len == 0)
		return false;
	set_found(found, AK_FOUND_KEY, body, AK_TOKEN_BODY, prefix_len);
	valid = ak_token_parse(found->start, found->len, &token) == AK_TOKEN_VALID;
	if (valid)
		found->id = token.id;
	explicit_bzero(&token, sizeof(token));
	return valid;
}

/* ------------------------------------- keys that are escaped, or broken */

/* What may stand between the characters of a broken key, and how often. */
#define GAP_MAX				128
#define GAPS_MAX			16

/* A key, read from its body on to both sides. */
typedef struct Reading
{
	const char *end;			/* behind the body, in the text */
	const char *places[AK_PREFIX_MAX + 1];	/* of '_', and of what is before
											 * it */
	int			room;			/* characters before '_' */
	int			gaps;
	char		chars[AK_TOKEN_MAX];	/* at its end, the key */
} Reading;

/* Is there an escaped line end or tab? */
static bool
is_blank_escape(const char *p)
{
	return p[0] == '\\' && (p[1] == 'n' || p[1] == 'r' || p[1] == 't');
}

/* The end of the gap that begins at "p"; "p" if there is none. */
static const char *
gap_after(const AkFinder *finder, const char *p)
{
	const char *end = finder->end - p > GAP_MAX ? p + GAP_MAX : finder->end;
	const char *q;
	bool		broken = false;

	for (q = p; q < end; q++)
	{
		if (end - q >= 2 && is_blank_escape(q))
			broken |= *++q != 't';
		else if (ak_run_has(*q, AK_RUN_ALNUM) || *q == '_')
			break;
		else
			broken |= *q == '\n' || *q == '\r';
	}
	return broken ? q : p;
}

/* The beginning of the gap that ends before "p"; "p" if there is none. */
static const char *
gap_before(const AkFinder *finder, const char *p)
{
	const char *start = p - finder->start > GAP_MAX ? p - GAP_MAX : finder->start;
	const char *q;
	bool		broken = false;

	for (q = p; q > start; q--)
	{
		if (q - start >= 2 && is_blank_escape(q - 2))
			broken |= *--q != 't';
		else if (ak_run_has(q[-1], AK_RUN_ALNUM) ||
				 ak_escape_underscore(finder->start, q) > 0)
			break;
		else
			broken |= q[-1] == '\n' || q[-1] == '\r';
	}
	return broken ? q : p;
}

/*
 * Where the character of a key begins that ends before "p", or before a gap there; "p"
 * if there is none.
 */
static const char *
char_before(const AkFinder *finder, const char *p, int *gaps, char *c)
{
	const char *end = p;
	int			len = ak_escape_underscore(finder->start, end);

	if (len == 0 && (finder->flags & AK_FIND_JOINED) && *gaps < GAPS_MAX)
	{
		end = gap_before(finder, p);
		*gaps += end < p;
		len = ak_escape_underscore(finder->start, end);
	}
	*c = '_';
	if (len > 0)
		return end - len;
	if (end == finder->start || !ak_run_has(end[-1], AK_RUN_ALNUM))
		return p;
	*c = end[-1];
	return end - 1;
}

/* Read '_' before the body, and whatever can be the prefix. */
static void
read_prefix(const AkFinder *finder, const char *body, Reading *reading)
{
	const char *p = body;
	char	   *to = reading->chars + AK_PREFIX_MAX + 1;

	for (reading->room = -1; reading->room < AK_PREFIX_MAX; reading->room++)
	{
		char		c;
		const char *before = char_before(finder, p, &reading->gaps, &c);

		if (before == p)
			return;
		*--to = c;
		p = reading->places[reading->room + 1] = before;
	}
}

/* Read the body. */
static bool
read_body(const AkFinder *finder, const char *body, Reading *reading)
{
	const char *p = body;
	char	   *to = reading->chars + AK_PREFIX_MAX + 1;
	char	   *end = to + AK_TOKEN_BODY;

	reading->gaps = 0;
	for (;;)
	{
		const char *gap = p;

		while (to < end && p < finder->end && ak_run_has(*p, AK_RUN_ALNUM))
			*to++ = *p++;
		reading->end = p;
		if (to == end)
			return true;
		if ((finder->flags & AK_FIND_JOINED) && reading->gaps < GAPS_MAX)
			gap = gap_after(finder, p);
		if (gap == p)
			return false;
		reading->gaps++;
		p = gap;
	}
}

/* Is it a key, though not as it stands in the text?  "end" is set behind it. */
static bool
is_readable(const AkFinder *finder, const char *body, AkFound *found,
			const char **end)
{
	Reading		reading;
	bool		readable = false;

	if (read_body(finder, body, &reading))
	{
		read_prefix(finder, body, &reading);
		readable = reading.room > 0 &&
			reading.end - reading.places[reading.room] >
			reading.room + 1 + AK_TOKEN_BODY &&
			is_native(reading.chars + AK_PREFIX_MAX + 1, reading.room, found);
	}
	if (readable)
	{
		found->plain_len = found->len;
		memcpy(found->plain, found->start, found->len);
		found->start = reading.places[found->prefix_len];
		found->len = reading.end - found->start;
		*end = reading.end;
	}
	explicit_bzero(&reading, sizeof(reading));
	return readable;
}

/* The same of a key whose body begins in the run from "run" to "end". */
static bool
next_readable(AkFinder *finder, const char *run, const char *end, AkFound *found)
{
	bool		joined = (finder->flags & AK_FIND_JOINED) != 0;
	int			head = ak_escape_head(finder->start, run, end);
	int			gaps = 0;
	char		c;

	if (head == 0 && joined && run > finder->start && is_blank_escape(run - 1))
		head = 1;
	if ((!joined && end - run - head < AK_TOKEN_BODY) ||
		char_before(finder, run + head, &gaps, &c) == run + head || c != '_' ||
		!is_readable(finder, run + head, found, &end))
		return false;
	if (joined)
		resume_at(&finder->native.runs, end);
	return true;
}

/* Does it have the form of a key, and stand free?  "run" is the length of its run. */
static bool
is_corrupt(const AkFinder *finder, const char *body, int room, Size run,
		   AkFound *found)
{
	const char *prefix;
	int			len = 0;

	if (run != AK_TOKEN_BODY)
		return false;
	for (int i = 1; i <= room; i++)
	{
		char		c = body[-1 - i];

		if (c >= 'a' && c <= 'z')
			len = i;
		else if (!((c >= '0' && c <= '9') || c == '_'))
			break;
	}
	prefix = body - 1 - len;
	if (len == 0 || (prefix > finder->start && ak_run_has(prefix[-1], AK_RUN_ALNUM)))
		return false;
	set_found(found, AK_FOUND_CORRUPT, body, AK_TOKEN_BODY, len);
	return true;
}

static bool
next_native(AkFinder *finder, AkFound *found)
{
	AkRuns	   *runs = &finder->native.runs;
	Size		least = (finder->flags & AK_FIND_JOINED) ? 1 : AK_TOKEN_BODY;
	const char *run;

	while ((run = ak_run_next(runs, least)) != NULL)
	{
		const char *end = ak_run_leave(runs);
		bool		plain = run > finder->start && run[-1] == '_' &&
		end - run >= AK_TOKEN_BODY;
		int			room = Min(run - 1 - finder->start, AK_PREFIX_MAX);

		if ((plain && is_native(run, room, found)) ||
			next_readable(finder, run, end, found) ||
			(plain && is_corrupt(finder, run, room, end - run, found)))
			return true;
	}
	return false;
}

/*
 * A body that is nothing but '_' and '-' is what redact.c has left of a key.
 */
static bool
next_formbricks(AkFinder *finder, AkFound *found)
{
	AkRuns	   *runs = &finder->formbricks.runs;
	const char *run;

	while ((run = ak_run_next(runs, FORMBRICKS_PREFIX + FORMBRICKS_BODY)) != NULL)
	{
		const char *p = run + FORMBRICKS_PREFIX - 1;

		while (run_goes_on(runs, p))
		{
			const char *body = p + 1;
			bool		shown = false;

			if (*p++ != '_' ||
				memcmp(body - FORMBRICKS_PREFIX, FORMBRICKS,
					   FORMBRICKS_PREFIX) != 0)
				continue;
			while (p < body + FORMBRICKS_BODY && run_goes_on(runs, p))
				shown |= ak_run_has(*p++, AK_RUN_ALNUM);
			if (p < body + FORMBRICKS_BODY)
				break;			/* so ends the run */
			if (!shown)
				continue;
			resume_at(runs, p);
			set_found(found, AK_FOUND_FORMBRICKS, body, FORMBRICKS_BODY,
					  FORMBRICKS_PREFIX - 1);
			return true;
		}
		resume_at(runs, p);
	}
	return false;
}

const char *
ak_found_key(const AkFound *found, int *len)
{
	*len = found->plain_len > 0 ? found->plain_len : found->len;
	return found->plain_len > 0 ? found->plain : found->start;
}

void
ak_finder_begin(AkFinder *finder, const char *str, Size len, int flags)
{
	memset(finder, 0, sizeof(AkFinder));
	finder->start = str;
	finder->end = str + len;
	finder->flags = flags;

	ak_run_begin(&finder->native.runs, str, len, AK_RUN_ALNUM, true);
	finder->native.pending = next_native(finder, &finder->native.found);
	if (flags & AK_FIND_FORMBRICKS)
	{
		ak_run_begin(&finder->formbricks.runs, str, len, AK_RUN_BASE64URL, true);
		finder->formbricks.pending =
			next_formbricks(finder, &finder->formbricks.found);
	}
}

bool
ak_finder_next(AkFinder *finder, AkFound *found)
{
	AkFinderPlace *native = &finder->native;
	AkFinderPlace *formbricks = &finder->formbricks;

	if (native->pending &&
		(!formbricks->pending || native->found.start <= formbricks->found.start))
	{
		*found = native->found;
		native->pending = next_native(finder, &native->found);
		/* in a key there is no other, whatever its prefix is */
		while (found->kind == AK_FOUND_KEY && formbricks->pending &&
			   formbricks->found.start < found->start + found->len)
			formbricks->pending = next_formbricks(finder,
												  &formbricks->found);
		return true;
	}
	if (!formbricks->pending)
		return false;
	*found = formbricks->found;
	formbricks->pending = next_formbricks(finder, &formbricks->found);
	return true;
}
