/*
 * redact.c
 *		API keys in a text, made unreadable; see redact.h.
 */
#include "postgres.h"

#include "base/redact.h"

#include "base/escape.h"
#include "base/finder.h"
#include "base/token.h"

#define HIDDEN			'_'

/*
 * Shorter pieces of a key stay readable: a beginning of less than this, not
 * counting the prefix, and an end that PostgreSQL has marked as cut off by "...".
 * The two of them together have at most 9 + 9 characters of the secret, and the
 * checksum.  That leaves 25 characters, or 149 bits, which the checksum makes 117:
 * too many to try.  Most names and words are shorter, and many sorts of ids.
 */
#define MIN_BODY		32
#define MIN_END			16

/* The same for other systems, whose keys may be short. */
#define MIN_FOREIGN		16

/* At least so many characters in a row are hidden behind the id of a key. */
#define MIN_HIDDEN		(MIN_BODY - AK_TOKEN_ID_CHARS)

bool
ak_redact_parse(const char *list, AkRedactPrefixes *prefixes)
{
	const char *p = list;

	memset(prefixes, 0, sizeof(AkRedactPrefixes));
	p += strspn(p, " ");
	while (*p != '\0')
	{
		const char *begin = p;

		for (; ak_run_has(*p, AK_RUN_BASE64URL); p++)
			if (!ak_run_has(*p, AK_RUN_ALNUM) &&
				(p == begin || !ak_run_has(p[-1], AK_RUN_ALNUM)))
				return false;
		if (p == begin || p - begin > AK_PREFIX_MAX ||
			!ak_run_has(p[-1], AK_RUN_ALNUM) ||
			prefixes->n == AK_REDACT_PREFIXES)
			return false;
		prefixes->prefix[prefixes->n].data = begin;
		prefixes->prefix[prefixes->n].len = p - begin;
		prefixes->n++;
		prefixes->ends[(unsigned char) p[-1]] = true;
		p += strspn(p, " ");
		if (*p == ',')
		{
			p++;
			p += strspn(p, " ");
			if (*p == '\0')
				return false;
		}
		else if (*p != '\0')
			return false;
	}
	return true;
}

/*
 * Does a prefix of another system end before the '_' at "p"?  Not if that is the
 * first of what has been hidden behind an id, which can end like any prefix.
 */
static bool
foreign_prefix(const char *str, const char *p, const AkRedactPrefixes *prefixes)
{
	static const char hidden[] = "__________";

	StaticAssertStmt(sizeof(hidden) - 1 == MIN_HIDDEN, "one for each");
	if (p == str || !prefixes->ends[(unsigned char) p[-1]])
		return false;
	for (int i = 0; i < prefixes->n; i++)
	{
		int			len = prefixes->prefix[i].len;

		if (p - str >= len &&
			memcmp(p - len, prefixes->prefix[i].data, len) == 0)
			return strncmp(p, hidden, MIN_HIDDEN) != 0;
	}
	return false;
}

/*
 * Keys of other systems.  They come first, for as junk behind a native key their prefix
 * would be hidden.  "hide" may be NULL, to look for the first only.
 */
static bool
redact_foreign(const char *str, Size len, const AkRedactPrefixes *prefixes,
			   char *hide)
{
	const char *end = str + len;
	const char *p = str;
	bool		found = false;

	while ((p = memchr(p, '_', end - p)) != NULL)
	{
		const char *begin = p++ + 1;
		int			readable = 0;

		if (!foreign_prefix(str, begin - 1, prefixes))
			continue;
		for (; p < end && ak_run_has(*p, AK_RUN_BASE64URL); p++)
			readable += ak_run_has(*p, AK_RUN_ALNUM);
		if (readable < MIN_FOREIGN)
			continue;			/* nor is there more behind a later '_' */
		if (hide == NULL)
			return true;
		found = true;
		for (char *q = hide + (begin - str); q < hide + (p - str); q++)
			if (ak_run_has(*q, AK_RUN_ALNUM))
				*q = HIDDEN;
	}
	return found;
}

/*
 * A number, or a digest in hexadecimal?  Of random pieces of a key not one in
 * 10,000,000,000,000 looks like that.
 */
static bool
is_hex(const char *begin, const char *end)
{
	for (const char *p = begin; p < end; p++)
		if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f') ||
			  (*p >= 'A' && *p <= 'F') || *p == 'x' || *p == 'X'))
			return false;
	return true;
}

/*
 * What makes a run a key is its length and what stands right before it.  That is no
 * letter or digit, or an escape whose letters and digits are too few to be hidden: no
 * run depends on what becomes of another.
 */
static bool
redact_native(const char *str, Size len, char *hide)
{
	AkRuns		runs;
	const char *body;
	bool		found = false;

	ak_run_begin(&runs, str, len, AK_RUN_ALNUM, false);
	while ((body = ak_run_next(&runs, MIN_END)) != NULL)
	{
		const char *end = ak_run_leave(&runs);
		const char *secret;

		/* the end of a key has no id */
		if (body - str >= 3 && memcmp(body - 3, "...", 3) == 0)
			secret = body;
		else
		{
			bool		whole = end - body == AK_TOKEN_BODY;
			bool		prefixed;

			if (!whole)
				body += ak_escape_head(str, body, end);
			prefixed = end - body >= MIN_BODY &&
				ak_escape_underscore(str, body) > 0;
			if (!(prefixed || whole) ||
				(!(prefixed && whole) && is_hex(body, end)))
				continue;
			secret = body + AK_TOKEN_ID_CHARS;
		}
		if (hide == NULL)
			return true;
		found = true;
		memset(hide + (secret - str), HIDDEN, end - secret);
	}
	return found;
}

bool
ak_redact_needed(const char *str, Size len, const AkRedactPrefixes *prefixes)
{
	return (prefixes != NULL && prefixes->n > 0 &&
			redact_foreign(str, len, prefixes, NULL)) ||
		redact_native(str, len, NULL);
}

bool
ak_redact(char *str, Size len, const AkRedactPrefixes *prefixes)
{
	bool		foreign = prefixes != NULL && prefixes->n > 0 &&
	redact_foreign(str, len, prefixes, str);

	return redact_native(str, len, str) || foreign;
}

char *
ak_redact_name(const AkName *name)
{
	char	   *copy = pnstrdup(name->data, name->len);

	(void) ak_redact(copy, name->len, NULL);
	return copy;
}
