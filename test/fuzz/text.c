/*
 * text.c
 *		What src/base/finder.h, redact.h and token.h offer, for 001_text.pl to call.
 *
 * Each text is handed on in memory of just its size.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/finder.h"
#include "base/redact.h"
#include "base/token.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fuzz_find);
PG_FUNCTION_INFO_V1(fuzz_parse);
PG_FUNCTION_INFO_V1(fuzz_redact);
PG_FUNCTION_INFO_V1(fuzz_redact_needed);

static char *
copy(bytea *given, int len, bool terminate)
{
	char	   *result = palloc(Max(len + terminate, 1));

	memcpy(result, VARDATA_ANY(given), len);
	if (terminate)
		result[len] = '\0';
	return result;
}

static void
append_hex(StringInfo out, const uint8 *bytes, int len)
{
	for (int i = 0; i < len; i++)
		appendStringInfo(out, "%02x", bytes[i]);
}

/* "kind,place,length,length of the prefix,id" of each key, with blanks between */
Datum
fuzz_find(PG_FUNCTION_ARGS)
{
	bytea	   *given = PG_GETARG_BYTEA_PP(0);
	int			len = VARSIZE_ANY_EXHDR(given);
	char	   *bytes = copy(given, len, false);
	AkFinder	finder;
	AkFound		found;
	StringInfoData out;

	initStringInfo(&out);
	ak_finder_begin(&finder, bytes, len,
					(PG_GETARG_BOOL(1) ? AK_FIND_FORMBRICKS : 0) |
					(PG_GETARG_BOOL(2) ? AK_FIND_JOINED : 0));
	while (ak_finder_next(&finder, &found))
	{
		appendStringInfo(&out, "%s%d,%d,%d,%d,", out.len > 0 ? " " : "",
						 found.kind, (int) (found.start - bytes), found.len,
						 found.prefix_len);
		if (found.kind == AK_FOUND_KEY)
			append_hex(&out, found.id.data, UUID_LEN);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* "form" or "form,length of the prefix,id,secret" */
Datum
fuzz_parse(PG_FUNCTION_ARGS)
{
	bytea	   *given = PG_GETARG_BYTEA_PP(0);
	int			len = VARSIZE_ANY_EXHDR(given);
	AkToken		token;
	AkTokenForm form = ak_token_parse(copy(given, len, false), len, &token);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%d", form);
	if (form == AK_TOKEN_VALID)
	{
		appendStringInfo(&out, ",%d,", token.prefix_len);
		append_hex(&out, token.id.data, UUID_LEN);
		appendStringInfoChar(&out, ',');
		append_hex(&out, token.secret, AK_SECRET_LEN);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

static bool
redact(bytea *given, text *list, bool change, bytea **result)
{
	int			len = VARSIZE_ANY_EXHDR(given);
	char	   *bytes = copy(given, len, true);
	AkRedactPrefixes prefixes;
	bool		any;

	if (!ak_redact_parse(text_to_cstring(list), &prefixes))
		elog(ERROR, "no list of prefixes");
	any = change ? ak_redact(bytes, len, &prefixes)
		: ak_redact_needed(bytes, len, &prefixes);
	*result = palloc(VARHDRSZ + len);
	SET_VARSIZE(*result, VARHDRSZ + len);
	memcpy(VARDATA(*result), bytes, len);
	return any;
}

Datum
fuzz_redact(PG_FUNCTION_ARGS)
{
	bytea	   *result;

	redact(PG_GETARG_BYTEA_PP(0), PG_GETARG_TEXT_PP(1), true, &result);
	PG_RETURN_BYTEA_P(result);
}

Datum
fuzz_redact_needed(PG_FUNCTION_ARGS)
{
	bytea	   *result;

	PG_RETURN_BOOL(redact(PG_GETARG_BYTEA_PP(0), PG_GETARG_TEXT_PP(1), false,
						  &result));
}
