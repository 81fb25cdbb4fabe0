/*
 * escape.c
 *		The '_' of a key where it is escaped; see escape.h.
 */
#include "postgres.h"

#include "base/escape.h"

/* How often one may be escaped, and the backslashes that make four times of it. */
#define MAX_LEVELS			4
#define MAX_BACKSLASHES		15

/* "lead", "again" any number of times, "code" */
typedef struct EscapeForm
{
	char		lead;
	const char *again;
	const char *code;			/* in lower case */
	int			code_len;
} EscapeForm;

#define FORM(lead, again, code) {lead, again, code, sizeof(code) - 1}

static const EscapeForm escape_forms[] = {
	FORM('%', "25", "5f"),
	FORM('%', "25", "u005f"),
	FORM('=', "3d", "5f"),
	FORM('\\', "", "x5f"),
	FORM('\\', "", "u005f"),
	FORM('\\', "", "005f"),
	FORM('\\', "", "u0000005f"),
	FORM('\\', "", "u{5f}"),
	FORM('\\', "", "x{5f}"),
	FORM('\\', "", "137"),
	FORM('&', "amp;", "#95;"),
	FORM('&', "amp;", "#095;"),
	FORM('&', "amp;", "#x5f;"),
	FORM('&', "amp;", "#x005f;"),
	FORM('&', "amp;", "lowbar;"),
	FORM('&', "amp;", "underbar;")
};

/* The most letters and digits at the end of one: "255f" and more, "u0000005f" */
#define MAX_HEAD			(2 * MAX_LEVELS + 5)

/* Where "suffix", in lower case, begins if it ends right before "p"; else NULL. */
static const char *
before_suffix(const char *start, const char *p, const char *suffix, int len)
{
	if (p - start < len)
		return NULL;
	while (len > 0)
	{
		char		c = *--p;

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c != suffix[--len])
			return NULL;
	}
	return p;
}

/* Where the backslashes before "p" begin. */
static const char *
before_backslashes(const char *start, const char *p)
{
	for (int i = 0; i < MAX_BACKSLASHES && p > start && p[-1] == '\\'; i++)
		p--;
	return p;
}

/* Where the escape of this form begins that ends right before "p"; else NULL. */
static const char *
before_form(const EscapeForm *form, const char *start, const char *p)
{
	const char *again;
	int			again_len = strlen(form->again);

	p = before_suffix(start, p, form->code, form->code_len);
	for (int i = 1; p != NULL && i < MAX_LEVELS && again_len > 0 &&
		 (again = before_suffix(start, p, form->again, again_len)) != NULL; i++)
		p = again;
	if (p == NULL || p == start || p[-1] != form->lead)
		return NULL;
	return form->lead == '\\' ? before_backslashes(start, p) : p - 1;
}

int
ak_escape_underscore(const char *start, const char *p)
{
	if (p == start)
		return 0;
	switch (p[-1])
	{
		case '_':
			return p - before_backslashes(start, p - 1);
		case 'f':
		case 'F':
		case '7':
		case ';':
		case '}':
			break;
		default:
			return 0;
	}
	for (Size i = 0; i < lengthof(escape_forms); i++)
	{
		const char *begin = before_form(&escape_forms[i], start, p);

		if (begin != NULL)
			return p - begin;
	}
	return 0;
}

int
ak_escape_head(const char *start, const char *run, const char *end)
{
	if (run == start ||
		(run[-1] != '%' && run[-1] != '\\' && run[-1] != '='))
		return 0;
	for (int n = 2; n <= MAX_HEAD && n <= end - run; n++)
		if (ak_escape_underscore(start, run + n) > n)
			return n;
	return 0;
}
