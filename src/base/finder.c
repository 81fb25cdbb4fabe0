/*
 * finder.c
 *		Strings of a key's form in a text of any size; see finder.h.
 *
 * The body of a key is 71 alphanumerics, and before it stands '_', which is
 * none: so a body is the beginning of a maximal run of at least 71; see run.h.
 *
 * It is linear for any text.  A run of 71 or more costs one pass over its first
 * 71 bytes and at most AK_PREFIX_MAX before them, see ak_token_prefix(): less
 * than two steps for each byte of the text, since each run has its own 72.
 *
 * Keys of Formbricks are found likewise, as runs of base64url of at least 47,
 * which are then searched for "fbk_"; it goes on behind what was found.
 */
#include "postgres.h"

#include "base/finder.h"

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
	found->text = body - 1 - prefix_len;
}

/* Is it a key?  "room" bytes stand before the '_' before the body. */
static bool
is_key(const char *body, int room, AkFound *found)
{
	int			prefix_len = ak_token_prefix(body, room);
	AkToken		token;
	bool		valid;

	if (prefix_len == 0)
		return false;
	set_found(found, AK_FOUND_KEY, body, AK_TOKEN_BODY, prefix_len);
	valid = ak_token_parse(found->text, found->len, &token) == AK_TOKEN_VALID;
	if (valid)
		found->id = token.id;
	explicit_bzero(&token, sizeof(token));
	return valid;
}

/* The same for what is not; "run" is how long it is altogether. */
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
	if (len == 0 || (prefix > finder->text &&ak_run_has(prefix[-1], AK_RUN_ALNUM)))
		return false;
	set_found(found, AK_FOUND_CORRUPT, body, AK_TOKEN_BODY, len);
	return true;
}

static bool
next_own(AkFinder *finder, AkFound *found)
{
	AkRuns	   *runs = &finder->own.runs;
	const char *body;

	while ((body = ak_run_next(runs, AK_TOKEN_BODY)) != NULL)
	{
		const char *end = ak_run_leave(runs);
		int			room;

		if (body == finder->text ||body[-1] != '_')
			continue;
		room = Min(body - 1 - finder->text, AK_PREFIX_MAX);
		if (is_key(body, room, found) ||
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

		while (ak_run_goes_on(runs, p))
		{
			const char *body = p + 1;
			bool		shown = false;

			if (*p++ != '_' ||
				memcmp(body - FORMBRICKS_PREFIX, FORMBRICKS,
					   FORMBRICKS_PREFIX) != 0)
				continue;
			while (p < body + FORMBRICKS_BODY && ak_run_goes_on(runs, p))
				shown |= ak_run_has(*p++, AK_RUN_ALNUM);
			if (p < body + FORMBRICKS_BODY)
				break;			/* so ends the run */
			if (!shown)
				continue;
			ak_run_resume(runs, p);
			set_found(found, AK_FOUND_FORMBRICKS, body, FORMBRICKS_BODY,
					  FORMBRICKS_PREFIX - 1);
			return true;
		}
		ak_run_resume(runs, p);
	}
	return false;
}

void
ak_finder_begin(AkFinder *finder, const char *text, Size len, bool formbricks)
{
	memset(finder, 0, sizeof(AkFinder));
	finder->text = text;

	ak_run_begin(&finder->own.runs, text, len, AK_RUN_ALNUM, true);
	finder->own.pending = next_own(finder, &finder->own.found);
	if (formbricks)
	{
		ak_run_begin(&finder->formbricks.runs, text, len, AK_RUN_BASE64URL, true);
		finder->formbricks.pending =
			next_formbricks(finder, &finder->formbricks.found);
	}
}

bool
ak_finder_next(AkFinder *finder, AkFound *found)
{
	AkFinderPlace *own = &finder->own;
	AkFinderPlace *formbricks = &finder->formbricks;

	if (own->pending &&
		(!formbricks->pending || own->found.text <=formbricks->found.text))
	{
		*found = own->found;
		own->pending = next_own(finder, &own->found);
		/* in a key there is no other, whatever its prefix is */
		while (found->kind == AK_FOUND_KEY && formbricks->pending &&
			   formbricks->found.text <found->text +found->len)
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
