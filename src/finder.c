/*
 * finder.c
 *		Strings of a key's form in a text of any size; see finder.h.
 *
 * The body of a key is 71 alphanumerics, and before it stands '_', which is
 * none: so a body is the beginning of a maximal run of at least 71.  To find
 * those, look at the character 70 places ahead, and from there to the left.
 * The first one that is no alphanumeric ends the search of this window: no run
 * that begins further left is long enough.  The next window begins right behind
 * it, and what was seen to its right is not looked at again.  In ordinary text
 * that is a few characters of each 71.
 *
 * It is linear for any text.  No byte is tested twice while looking for runs
 * and their ends.  A run of 71 or more costs one pass over its first 71
 * bytes and at most AK_PREFIX_MAX before them, see ak_token_prefix(): less than
 * two steps for each byte of the text, since each run has its own 72.
 *
 * Keys of Formbricks are found likewise, as runs of base64url of at least 47,
 * which are then searched for "fbk_"; it goes on behind what was found.
 */
#include "postgres.h"

#include "finder.h"

#include "miscadmin.h"

#define FORMBRICKS			"fbk_"
#define FORMBRICKS_PREFIX	((int) strlen(FORMBRICKS))
#define FORMBRICKS_BODY		43

/* Look for interrupts each time that so many bytes are done. */
#define POLL_BYTES			(1024 * 1024)

/* Classes of characters */
#define ALNUM				1
#define BASE64URL			2
#define BOTH				(ALNUM | BASE64URL)

static const uint8 classes[256] = {
	['-'] = BASE64URL,['_'] = BASE64URL,
	['0'] = BOTH,['1'] = BOTH,['2'] = BOTH,['3'] = BOTH,['4'] = BOTH,
	['5'] = BOTH,['6'] = BOTH,['7'] = BOTH,['8'] = BOTH,['9'] = BOTH,
	['A'] = BOTH,['B'] = BOTH,['C'] = BOTH,['D'] = BOTH,['E'] = BOTH,
	['F'] = BOTH,['G'] = BOTH,['H'] = BOTH,['I'] = BOTH,['J'] = BOTH,
	['K'] = BOTH,['L'] = BOTH,['M'] = BOTH,['N'] = BOTH,['O'] = BOTH,
	['P'] = BOTH,['Q'] = BOTH,['R'] = BOTH,['S'] = BOTH,['T'] = BOTH,
	['U'] = BOTH,['V'] = BOTH,['W'] = BOTH,['X'] = BOTH,['Y'] = BOTH,
	['Z'] = BOTH,
	['a'] = BOTH,['b'] = BOTH,['c'] = BOTH,['d'] = BOTH,['e'] = BOTH,
	['f'] = BOTH,['g'] = BOTH,['h'] = BOTH,['i'] = BOTH,['j'] = BOTH,
	['k'] = BOTH,['l'] = BOTH,['m'] = BOTH,['n'] = BOTH,['o'] = BOTH,
	['p'] = BOTH,['q'] = BOTH,['r'] = BOTH,['s'] = BOTH,['t'] = BOTH,
	['u'] = BOTH,['v'] = BOTH,['w'] = BOTH,['x'] = BOTH,['y'] = BOTH,
	['z'] = BOTH
};

static inline bool
is_of(char c, uint8 class)
{
	return (classes[(unsigned char) c] & class) != 0;
}

static inline void
poll(AkFinderPlace *place, const char *at)
{
	if (likely(at < place->poll))
		return;
	place->poll = at + POLL_BYTES;
	CHECK_FOR_INTERRUPTS();
}

/*
 * Go to the next run of at least "len" characters of a class, and return its
 * begin; NULL if there is no more.  The characters from place->at up to
 * place->known are of the class, the one before place->at is not, or done with.
 */
static const char *
next_run(AkFinderPlace *place, const char *end, uint8 class, int len)
{
	while (end - place->at >= len)
	{
		const char *window = place->at + len;
		const char *p = window;

		while (p > place->known && is_of(p[-1], class))
			p--;
		if (p == place->known)
		{
			place->known = window;
			return place->at;
		}
		place->at = p;
		place->known = window;
		poll(place, p);
	}
	return NULL;
}

/* Go on behind the run, which ends there. */
static void
leave_run(AkFinderPlace *place, const char *end, uint8 class)
{
	const char *p = place->known;

	while (p < end && is_of(*p, class))
		poll(place, ++p);
	place->at = place->known = p;
}

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
	if (len == 0 || (prefix > finder->text &&is_of(prefix[-1], ALNUM)))
		return false;
	set_found(found, AK_FOUND_CORRUPT, body, AK_TOKEN_BODY, len);
	return true;
}

static bool
next_own(AkFinder *finder, AkFound *found)
{
	AkFinderPlace *place = &finder->own;
	const char *body;

	while ((body = next_run(place, finder->end, ALNUM, AK_TOKEN_BODY)) != NULL)
	{
		int			room;

		leave_run(place, finder->end, ALNUM);
		if (body == finder->text ||body[-1] != '_')
			continue;
		room = Min(body - 1 - finder->text, AK_PREFIX_MAX);
		if (is_key(body, room, found) ||
			is_corrupt(finder, body, room, place->at - body, found))
			return true;
	}
	return false;
}

static bool
next_formbricks(AkFinder *finder, AkFound *found)
{
	AkFinderPlace *place = &finder->formbricks;
	const char *end = finder->end;
	const char *run;

	while ((run = next_run(place, end, BASE64URL,
						   FORMBRICKS_PREFIX + FORMBRICKS_BODY)) != NULL)
	{
		const char *p = run + FORMBRICKS_PREFIX - 1;

		while (p < end && is_of(*p, BASE64URL))
		{
			const char *body = p + 1;

			poll(place, p);
			if (*p++ != '_' ||
				memcmp(body - FORMBRICKS_PREFIX, FORMBRICKS,
					   FORMBRICKS_PREFIX) != 0)
				continue;
			while (p < end && p < body + FORMBRICKS_BODY &&
				   is_of(*p, BASE64URL))
				p++;
			if (p < body + FORMBRICKS_BODY)
				break;			/* so ends the run */
			place->at = place->known = p;
			set_found(found, AK_FOUND_FORMBRICKS, body, FORMBRICKS_BODY,
					  FORMBRICKS_PREFIX - 1);
			return true;
		}
		place->at = place->known = p;
	}
	return false;
}

void
ak_finder_begin(AkFinder *finder, const char *text, Size len, bool formbricks)
{
	memset(finder, 0, sizeof(AkFinder));
	finder->text = text;
	finder->end = text +len;
	finder->own.at = finder->own.known = text;
	finder->own.poll = text +POLL_BYTES;

	finder->formbricks = finder->own;
	finder->own.pending = next_own(finder, &finder->own.found);
	if (formbricks)
		finder->formbricks.pending =
			next_formbricks(finder, &finder->formbricks.found);
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
