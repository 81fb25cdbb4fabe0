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
 * Keys of Formbricks are in runs of base64url of at least 47, which are searched for
 * "fbk_"; the search goes on behind what was found.
 */
#include "postgres.h"

#include "base/finder.h"

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
	const char *body;

	while ((body = ak_run_next(runs, AK_TOKEN_BODY)) != NULL)
	{
		const char *end = ak_run_leave(runs);
		int			room;

		if (body == finder->start || body[-1] != '_')
			continue;
		room = Min(body - 1 - finder->start, AK_PREFIX_MAX);
		if (is_native(body, room, found) ||
			is_corrupt(finder, body, room, end - body, found))
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

void
ak_finder_begin(AkFinder *finder, const char *str, Size len, bool formbricks)
{
	memset(finder, 0, sizeof(AkFinder));
	finder->start = str;

	ak_run_begin(&finder->native.runs, str, len, AK_RUN_ALNUM, true);
	finder->native.pending = next_native(finder, &finder->native.found);
	if (formbricks)
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
