/*
 * leak.c
 *		Keys where they should not be: in a log, a dump, a chat, a repository.
 *
 * The functions tell nothing but of keys in what they are given, and of those only
 * if they prove themselves; they show no key.  Their contracts stand beside their
 * names in the SQL script.
 *
 * Where an argument has to be decompressed or parsed, or a key is escaped or broken over
 * lines, the copy is wiped, on all ways out.
 *
 * Revoking goes by the order of ids: two reports of the same keys wait for each
 * other, but never in a circle.  A report may also wait for a rotation, which has often
 * the same cause: what it finds is looked at again when the key is locked.
 */
#include "postgres.h"

#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/lookup.h"
#include "auth/use.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/finder.h"
#include "base/guc.h"
#include "base/hide.h"
#include "funcapi.h"
#include "keys/admin.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "table/event.h"
#include "table/follow.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

/* A text that has proved to be of a key, now or once. */
typedef struct Leak
{
	pg_uuid_t	id;
	int			order;			/* of being found */
	const char *start;			/* of the text, where it was found */
	int			len;
	const char *source;			/* NULL: not known */
} Leak;

typedef struct Leaks
{
	Leak	   *items;
	int			count;
	int			room;
} Leaks;

/* Wipe the copy of an argument that had to be detoasted. */
static void
wipe_argument(FunctionCallInfo fcinfo, int argno, void *detoasted)
{
	if (detoasted == NULL || detoasted == PG_GETARG_POINTER(argno))
		return;
	explicit_bzero(detoasted, VARSIZE_ANY(detoasted));
	pfree(detoasted);
}

static void
begin_finder(AkFinder *finder, const char *str, Size len, bool joined)
{
	ak_finder_begin(finder, str, len,
					(ak_lookup_any() ? AK_FIND_FORMBRICKS : 0) |
					(joined ? AK_FIND_JOINED : 0));
}

static char *
mask_found(const AkFound *found)
{
	int			len;
	const char *key = ak_found_key(found, &len);

	/* where any other has its id, if it has one, is not known */
	return ak_token_mask(key, found->prefix_len,
						 found->kind == AK_FOUND_KEY ? &found->id : NULL);
}

/* The key if it proves itself, else NULL. */
static const AkKey *
get_key(const AkFound *found)
{
	int			len;
	const char *key = ak_found_key(found, &len);

	return found->kind == AK_FOUND_CORRUPT ? NULL : ak_authn_find(key, len);
}

/* A bad key has been tried. */
static void
guess_found(const AkFound *found)
{
	int			len;
	const char *key = ak_found_key(found, &len);

	if (found->kind != AK_FOUND_CORRUPT)
		(void) ak_use_guessed(key, len);
}

/*
 * The keys in a text: those that stand in it by their form, or else all of it, if that
 * proves itself.  An imported key may have any form.  It may hold a key: whoever has
 * one wipes it.
 */
typedef struct Search
{
	AkFinder	finder;
	AkFound		found;			/* the last one */
	const char *content;
	Size		len;
	bool		any;
} Search;

static void
begin_search(Search *search, const char *content, Size len, bool joined)
{
	begin_finder(&search->finder, content, len, joined);
	search->content = content;
	search->len = len;
	search->any = false;
}

/* The next one, and its key if it has proved itself. */
static bool
find_next(Search *search, const AkKey **key)
{
	AkFound    *found = &search->found;
	bool		whole = !ak_finder_next(&search->finder, found);

	if (whole)
	{
		if (search->any || search->len > AK_KEY_TEXT_MAX)
			return false;
		memset(found, 0, sizeof(AkFound));
		found->kind = AK_FOUND_WHOLE;
		found->start = search->content;
		found->len = search->len;
	}
	search->any = true;
	*key = get_key(found);
	return !whole || *key != NULL;
}

/* -------------------------------------------------------------- finding */

static const char *
get_status(const AkFound *found, const AkKey *key)
{
	if (found->kind == AK_FOUND_CORRUPT)
		return "malformed";
	switch (ak_authz_check_key(key))
	{
		case AK_REASON_SUPERSEDED:
			return "superseded";
		case AK_REASON_REVOKED:
			return "revoked";
		case AK_REASON_EXPIRED:
			return "expired";
		case AK_REASON_DISABLED:
			return "disabled";
		case AK_REASON_SUSPENDED:
			return "suspended";
		case AK_REASON_QUARANTINED:
			return "quarantined";
		case AK_REASON_OUTSIDE_NETWORKS:
		case AK_REASON_COPYING:
		case AK_REASON_STALE:
		case AK_REASON_DEAF:
		case AK_REASON_GOOD:
			return "active";
		default:
			return "unknown";
	}
}

static int
count_characters(const char *from, const char *to)
{
	int			count = 0;

	if (pg_database_encoding_max_length() == 1)
		return to - from;
	if (GetDatabaseEncoding() != PG_UTF8)
		return pg_mbstrlen_with_len(from, to - from);
	for (const char *p = from; p < to; p++)
		count += (*p & 0xC0) != 0x80;	/* begins a character */
	return count;
}

static void
put_found(ReturnSetInfo *result, int position, const AkFound *found,
		  const AkKey *key)
{
	Datum		values[] = {
		Int32GetDatum(position), CStringGetTextDatum(mask_found(found)),
		key != NULL ? UUIDPGetDatum(&key->id) : (Datum) 0,
		key != NULL ? ak_name_to_text(&key->organization) : (Datum) 0,
		CStringGetTextDatum(get_status(found, key))
	};
	bool		nulls[] = {false, false, key == NULL, key == NULL, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * Whose keys are told from texts that are none: with a session's key those of its
 * organization, if it is good.  Whoever has the text need not have the organization level.
 */
typedef struct Seen
{
	bool		all;
	AkName		organization;	/* else; zeroed: none */
} Seen;

static Seen
get_seen(void)
{
	Seen		seen = {.all = !ak_guc_goes_by_key()};
	const AkKey *key = seen.all ? NULL : ak_authn_session();

	if (ak_authz_check_key(key) == AK_REASON_GOOD)
		seen.organization = ak_name_copy(key->organization);
	return seen;
}

static bool
is_seen(const Seen *seen, const AkKey *key)
{
	return seen->all || ak_name_equal(&seen->organization, &key->organization);
}

/*
 * Return a row about each string in a text, in which a search has begun.  Do those that
 * could be keys, but are not, count as guesses?
 */
static void
return_rows(FunctionCallInfo fcinfo, Search *search, bool guesses)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext before = CurrentMemoryContext;
	MemoryContext row = AllocSetContextCreate(before,
											  "apikey leak row",
											  ALLOCSET_SMALL_SIZES);
	Seen		seen = get_seen();
	const char *counted = search->content;
	int			position = 1;
	const AkKey *key;

	MemoryContextSwitchTo(row);
	while (find_next(search, &key))
	{
		const char *start = search->found.start;

		CHECK_FOR_INTERRUPTS();
		if (key == NULL && guesses)
			guess_found(&search->found);
		if (key != NULL && !is_seen(&seen, key))
		{
			key = NULL;
			/* all of a text is found only if it proves itself */
			if (search->found.kind == AK_FOUND_WHOLE)
				continue;
		}
		position += count_characters(counted, start);
		counted = start;
		put_found(result, position, &search->found, key);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(row);
}

AK_FUNCTION_INFO_V1(apikey_pattern);
Datum
apikey_pattern(PG_FUNCTION_ARGS)
{
	const char *prefix = ak_arg_prefix(fcinfo, 0);

	/* none of the characters in a prefix means anything else there */
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s_[0-9A-Za-z]{%d}",
											  prefix ? prefix : ak_guc_prefix,
											  AK_TOKEN_BODY)));
}

/* ------------------------------------------------------------ reporting */

/* Record that this key was found in "source". */
static void
record_leak(const AkChange *change, const char *action, const char *source)
{
	AkDetail	detail;
	AkEvent		event = {
		.action = action,
		.key_id = &change->id,
		.organization = &change->organization,
		.detail = &detail
	};

	ak_detail_begin(&detail);
	if (source != NULL)
		ak_detail_add(&detail, "source", source);
	ak_actor_record(&event);
}

/* Is the key, once it is locked, still opened by this text? */
static bool
is_opened(const Leak *leak, Search *search)
{
	const AkKey *key;

	ak_schema_accept();
	begin_search(search, leak->start, leak->len, true);
	return find_next(search, &key) && key != NULL && !key->superseded;
}

/*
 * These are of one key.  Revoke it, unless somebody else has, for the first that opens
 * it; if none does, its owner has a new secret, which must go on working.
 */
static void
report_key(const Leak *leaks, int count, Search *search)
{
	AkChange	change = {.id = leaks->id};

	if (!ak_admin_lock(&change) || change.revoked)
		return;
	for (int i = 0; i < count; i++)
		if (is_opened(&leaks[i], search))
		{
			if (ak_admin_revoke(&change, NULL))
				record_leak(&change, "report_leak", leaks[i].source);
			return;
		}
	record_leak(&change, "report_superseded", leaks->source);
}

/*
 * Add to the list what a text, in which a search has begun, has of keys that are not
 * revoked.  Did any key prove itself?
 */
static bool
collect_leaks(Leaks *leaks, Search *search, const char *source)
{
	bool		any = false;
	const AkKey *key;

	while (find_next(search, &key))
	{
		Leak	   *leak;

		CHECK_FOR_INTERRUPTS();
		if (key == NULL)
			continue;
		any = true;
		if (key->revoked)
			continue;
		if (leaks->count == leaks->room)
		{
			leaks->room = Max(leaks->room * 2, 8);
			leaks->items = leaks->items == NULL ?
				palloc(leaks->room * sizeof(Leak)) :
				repalloc(leaks->items, leaks->room * sizeof(Leak));
		}
		leak = &leaks->items[leaks->count];
		leak->id = key->id;
		leak->order = leaks->count++;
		leak->start = search->found.start;
		leak->len = search->found.len;
		leak->source = source;
	}
	return any;
}

static int
compare_leaks(const void *a, const void *b)
{
	const Leak *x = a;
	const Leak *y = b;
	int			order = memcmp(&x->id, &y->id, sizeof(pg_uuid_t));

	if (order != 0)
		return order;
	return x->order < y->order ? -1 : 1;
}

static void
report_all(Leaks *leaks, Search *search)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey leak",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	int			next;

	if (leaks->count > 1)
		qsort(leaks->items, leaks->count, sizeof(Leak), compare_leaks);
	for (int i = 0; i < leaks->count; i = next)
	{
		const Leak *leak = &leaks->items[i];

		CHECK_FOR_INTERRUPTS();
		for (next = i + 1; next < leaks->count; next++)
			if (memcmp(&leaks->items[next].id, &leak->id, sizeof(pg_uuid_t)) != 0)
				break;
		report_key(leak, next - i, search);
		MemoryContextReset(work);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
}

/* The name of a place, palloc'd: NULL if empty, and what may be a key masked. */
static const char *
print_source(const char *source, int len)
{
	const char *done = source;
	StringInfoData buf;
	AkFinder	finder;
	AkFound		found;

	if (len == 0)
		return NULL;
	initStringInfo(&buf);
	begin_finder(&finder, source, len, true);
	while (ak_finder_next(&finder, &found))
	{
		/* two of different kinds may overlap */
		if (found.start >= done)
		{
			appendBinaryStringInfo(&buf, done, found.start - done);
			appendStringInfoString(&buf, mask_found(&found));
		}
		done = Max(done, found.start + found.len);
	}
	appendBinaryStringInfo(&buf, done, source + len - done);
	explicit_bzero(&finder, sizeof(finder));
	explicit_bzero(&found, sizeof(found));
	return buf.data;
}

static const char *
get_source(FunctionCallInfo fcinfo, int argno)
{
	text	   *source;

	if (PG_ARGISNULL(argno))
		return NULL;
	source = PG_GETARG_TEXT_PP(argno);
	return print_source(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
}

/*
 * A row about each string in argument 0; to report them is to revoke them first.  With
 * "joined", those that are broken over lines, too.
 */
static Datum
search_argument(FunctionCallInfo fcinfo, bool report, bool joined)
{
	text	   *volatile content = NULL;
	Search	   *search;
	ErrorContextCallback hide;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	ak_schema_accept();
	if (report)
		ak_follow_refuse_change(false);
	search = palloc0(sizeof(Search));
	ak_hide_begin(&hide, ak_hide_statement);
	PG_TRY();
	{
		const char *data;
		Size		len;

		content = PG_GETARG_TEXT_PP(0);
		data = VARDATA_ANY(content);
		len = VARSIZE_ANY_EXHDR(content);
		if (report)
		{
			Leaks		leaks = {0};

			begin_search(search, data, len, joined);
			collect_leaks(&leaks, search, get_source(fcinfo, 1));
			report_all(&leaks, search);
		}
		begin_search(search, data, len, joined);
		return_rows(fcinfo, search, !report);
	}
	PG_FINALLY();
	{
		explicit_bzero(search, sizeof(Search));
		wipe_argument(fcinfo, 0, content);
	}
	PG_END_TRY();
	ak_hide_end(&hide);
	return (Datum) 0;
}

AK_FUNCTION_INFO_V1(apikey_find_keys);
Datum
apikey_find_keys(PG_FUNCTION_ARGS)
{
	return search_argument(fcinfo, false,
						   !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
}

AK_FUNCTION_INFO_V1(apikey_report_leak);
Datum
apikey_report_leak(PG_FUNCTION_ARGS)
{
	return search_argument(fcinfo, true, true);
}

/* --------------------------------------------------- alert of a scanner */

/* What is wrong with an alert.  It may hold keys, so the message repeats nothing of it. */
pg_noreturn static void
bad_alert(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", problem),
			 errhint("An alert has the form [{\"token\": \"...\", \"type\": \"...\", \"url\": \"...\", \"source\": \"...\"}].")));
}

/* A field of an element; without "required" it may be null or missing, and is
 * empty then. */
static AkName
get_field(JsonbContainer *object, int element, const char *field,
		  bool required)
{
	JsonbValue	value;
	bool		there = getKeyJsonValueFromContainer(object, field,
													 strlen(field), &value) != NULL;

	if (!required && (!there || value.type == jbvNull))
		return ak_name_make("", 0);
	if (!there)
		bad_alert(psprintf("alert[%d]: \"%s\" is missing", element, field));
	if (value.type != jbvString)
		bad_alert(psprintf("alert[%d]: \"%s\" must be a string", element,
						   field));
	return ak_name_make(value.val.string.val, value.val.string.len);
}

/* SHA-256 in hexadecimal, palloc'd. */
static char *
print_digest(const AkName *token)
{
	uint8		digest[AK_HASH_LEN];
	char	   *hex = palloc0(2 * AK_HASH_LEN + 1);

	ak_secret_digest(token->data, token->len, digest);
	hex_encode((const char *) digest, AK_HASH_LEN, hex);
	return hex;
}

/* Collect the keys of an alert; returns the answer. */
static Jsonb *
read_alert(Jsonb *alert, Leaks *leaks, Search *search)
{
	AkDetail	answer = {0};
	int			count = JB_ROOT_COUNT(alert);

	if (!JB_ROOT_IS_ARRAY(alert) || JB_ROOT_IS_SCALAR(alert))
		bad_alert("alert must be a JSON array of objects");
	pushJsonbValue(&answer.state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < count; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&alert->root, i);
		JsonbContainer *object;
		AkName		token;
		AkName		type;
		AkName		url;
		const char *label = "false_positive";

		if (value->type != jbvBinary ||
			!JsonContainerIsObject(value->val.binary.data))
			bad_alert(psprintf("alert[%d] must be an object", i));
		object = value->val.binary.data;
		token = get_field(object, i, "token", true);
		type = get_field(object, i, "type", true);
		url = get_field(object, i, "url", false);
		begin_search(search, token.data, token.len, true);
		if (collect_leaks(leaks, search, print_source(url.data, url.len)))
			label = "true_positive";

		pushJsonbValue(&answer.state, WJB_BEGIN_OBJECT, NULL);
		ak_detail_add(&answer, "token_hash", print_digest(&token));
		ak_detail_add_name(&answer, "token_type", &type);
		ak_detail_add(&answer, "label", label);
		pushJsonbValue(&answer.state, WJB_END_OBJECT, NULL);
		pfree(value);
	}
	pushJsonbValue(&answer.state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(answer.state.result);
}

AK_FUNCTION_INFO_V1(apikey_scanner_alert);
Datum
apikey_scanner_alert(PG_FUNCTION_ARGS)
{
	Jsonb	   *volatile alert = NULL;
	Jsonb	   *volatile answer = NULL;
	Search	   *search;
	ErrorContextCallback hide;

	ak_arg_refuse_null(fcinfo, 0, "alert");
	ak_schema_accept();
	ak_follow_refuse_change(false);
	search = palloc0(sizeof(Search));
	ak_hide_begin(&hide, ak_hide_statement);
	PG_TRY();
	{
		Leaks		leaks = {0};

		alert = ak_arg_json(fcinfo, 0, JB_FARRAY);
		answer = read_alert(alert, &leaks, search);
		report_all(&leaks, search);
	}
	PG_FINALLY();
	{
		explicit_bzero(search, sizeof(Search));
		wipe_argument(fcinfo, 0, alert);
	}
	PG_END_TRY();
	ak_hide_end(&hide);
	PG_RETURN_JSONB_P(answer);
}
