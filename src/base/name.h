/*
 * name.h
 *		Strings with their length: names of organizations, projects and
 *		environments, and other texts of our tables.
 */
#ifndef AK_NAME_H
#define AK_NAME_H

#include "postgres.h"

/* Bytes that an organization, project or environment may have. */
#define AK_NAME_MAX			512

/* Not NUL-terminated; the bytes belong to whoever made it. */
typedef struct AkName
{
	const char *data;
	int			len;
} AkName;

static inline AkName
ak_name_make(const char *data, int len)
{
	AkName		name = {data, len};

	return name;
}

extern const AkName ak_name_all;	/* "*": all projects, or environments */

/* The bytes of a text, or of another type like it; detoasted if it must be. */
extern AkName ak_name_of_text(Datum value);

/* The same bytes, palloc'd and with a NUL behind them. */
extern AkName ak_name_copy(AkName name);

/* The length of a text, without detoasting it. */
extern Size ak_name_text_length(Datum value);

/* And back, or any bytes as a bytea; palloc'd. */
extern Datum ak_name_to_text(const AkName *name);

static inline bool
ak_name_equal(const AkName *a, const AkName *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static inline bool
ak_name_is(const AkName *name, const char *string)
{
	return name->len == (int) strlen(string) &&
		memcmp(name->data, string, name->len) == 0;
}

/* Bytewise. */
static inline int
ak_name_compare(const AkName *a, const AkName *b)
{
	int			order = memcmp(a->data, b->data, Min(a->len, b->len));

	return order != 0 ? order : a->len - b->len;
}

#endif							/* AK_NAME_H */
