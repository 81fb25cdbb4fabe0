/*
 * ratelimit.c
 *		The rate limit of a key; see ratelimit.h.
 *
 * No overflow: within the bounds an interval has less than 2^55 nanoseconds, and
 * so has the time that a burst takes.
 */
#include "postgres.h"

#include "base/ratelimit.h"

#include <ctype.h>

#include "base/compat.h"
#include "common/int.h"
#include "lib/stringinfo.h"
#include "parser/scansup.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#define NSECS_PER_USEC	INT64CONST(1000)

/* What is wrong with a limit: detail and hint */
typedef struct Fault
{
	const char *detail;
	const char *hint;
} Fault;

#define OTHER_UNITS	"Use days, hours, minutes or seconds."

static const Fault bad_form = {
	"It must read: n per interval [burst b].",
	"For example: \"100 per minute\" or \"100 per 1 minute burst 20\"."
};
static const Fault bad_count = {
	"The number per interval must be an integer from 1 to 1000000000.",
	"For no limit leave it out, or remove it by apikey_update; apikey_disable refuses a key altogether."
};
static const Fault bad_burst = {
	"The burst must be an integer from 1 to 1000000000.",
	"Leave it out to let as many pass at once as in an interval."
};
static const Fault bad_interval = {
	"What follows \"per\" is not an interval.",
	"For example: \"minute\", \"10 seconds\" or \"1 day\"."
};
static const Fault bad_months = {
	"The interval must not have months or years: their length varies.",
	OTHER_UNITS
};
static const Fault bad_length = {
	"The interval must be from 1 millisecond to 366 days.",
	OTHER_UNITS
};
static const Fault bad_rate = {
	"It must be no more than 1000000 per second.",
	"Use a lower number, or null for no limit."
};
static const Fault bad_time = {
	"The burst is too large: at this rate it takes more than 366 days to gather.",
	"Use a smaller burst."
};

pg_noreturn static void
refuse_limit(const Fault *fault)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid rate limit"),
			 errdetail("%s", fault->detail),
			 errhint("%s", fault->hint)));
}

/* Nanoseconds from one call to the next, at least a thousand */
static int64
get_emission(const AkRateLimit *limit)
{
	return (limit->interval * NSECS_PER_USEC + limit->count - 1) /
		limit->count;
}

/* As microseconds; false if they overflow. */
static bool
get_microseconds(const Interval *interval, int64 *microseconds)
{
	return !pg_mul_s64_overflow(interval->day, USECS_PER_DAY, microseconds) &&
		!pg_add_s64_overflow(*microseconds, interval->time, microseconds);
}

/* Fill in "limit" from unchecked values; NULL if all is well. */
static const Fault *
fill_limit(AkRateLimit *limit, int64 count, const Interval *interval, int64 burst)
{
	if (count < 1 || count > AK_RATE_COUNT_MAX)
		return &bad_count;
	if (burst < 1 || burst > AK_RATE_COUNT_MAX)
		return &bad_burst;
	/* infinite ones have as many days as there can be */
	if (!get_microseconds(interval, &limit->interval))
		return &bad_length;
	if (interval->month != 0)
		return &bad_months;
	if (limit->interval < AK_RATE_INTERVAL_MIN ||
		limit->interval > AK_RATE_INTERVAL_MAX)
		return &bad_length;
	if (count > limit->interval)
		return &bad_rate;
	limit->count = count;
	limit->burst = burst;
	/* less one: rounding up must not put a burst of n out of bounds */
	if (burst > AK_RATE_INTERVAL_MAX * NSECS_PER_USEC /
		(get_emission(limit) - 1))
		return &bad_time;
	return NULL;
}

void
ak_ratelimit_require(AkRateLimit *limit, int32 count, const Interval *interval,
					 int32 burst)
{
	const Fault *fault = fill_limit(limit, count, interval, burst);

	if (fault != NULL)
		refuse_limit(fault);
}

bool
ak_ratelimit_read(AkRateLimit *limit, int32 count, const Interval *interval,
				  int32 burst)
{
	return fill_limit(limit, count, interval, burst) == NULL;
}

/* --------------------------------------------------------------- reading */

static const char *
skip_blanks(const char *p)
{
	while (scanner_isspace(*p))
		p++;
	return p;
}

/* Does this word, in any case of letters, stand here? */
static bool
is_word(const char *p, const char *word)
{
	size_t		len = strlen(word);

	return pg_strncasecmp(p, word, len) == 0 &&
		(p[len] == '\0' || scanner_isspace(p[len]));
}

/* The number that is all of this text, at most INT32_MAX; 0 if there is none. */
static int64
read_number(const char *str, size_t len)
{
	int64		number = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (str[i] < '0' || str[i] > '9')
			return 0;
		number = Min(number * 10 + (str[i] - '0'), PG_INT32_MAX);
	}
	return number;
}

/* Like interval_in(), but it raises nothing; returns 0 or a DTERR_. */
static int
decode_interval(const char *str, Interval *interval)
{
	struct pg_itm_in fields = {0};
	char		buffer[256];
	char	   *field[MAXDATEFIELDS];
	int			kinds[MAXDATEFIELDS];
	int			count;
	int			dtype;
	int			error;

	error = ParseDateTime(str, buffer, sizeof(buffer), field, kinds,
						  MAXDATEFIELDS, &count);
	if (error == 0)
		error = DecodeInterval(field, kinds, count, INTERVAL_FULL_RANGE,
							   &dtype, &fields);
	if (error == DTERR_BAD_FORMAT)
		error = DecodeISO8601Interval(pstrdup(str), &dtype, &fields);
	if (error == 0 &&
		(dtype != DTK_DELTA || itmin2interval(&fields, interval) != 0))
		error = DTERR_INTERVAL_OVERFLOW;
	return error;
}

/* One word and no more: "minute"? */
static bool
is_unit(const char *word)
{
	const char *end = word;

	while (isalpha((unsigned char) *end))
		end++;
	return end > word && *skip_blanks(end) == '\0';
}

static void
read_interval(const char *str, Interval *interval)
{
	int			error = decode_interval(str, interval);

	if (error == DTERR_BAD_FORMAT && is_unit(str))
		error = decode_interval(psprintf("1 %s", str), interval);
	if (error == DTERR_FIELD_OVERFLOW || error == DTERR_INTERVAL_OVERFLOW)
		refuse_limit(&bad_length);
	if (error != 0)
		refuse_limit(&bad_interval);
}

void
ak_ratelimit_parse(AkRateLimit *limit, const char *str)
{
	const char *start = skip_blanks(str);
	size_t		len = strcspn(start, "/ \t\n\r\f\v");
	int64		count = read_number(start, len);
	int64		burst = count;
	Interval	interval;
	char	   *span;
	const Fault *fault;

	start = skip_blanks(start + len);
	if (len == 0 || !(*start == '/' || is_word(start, "per")))
		refuse_limit(&bad_form);
	span = pstrdup(skip_blanks(start + (*start == '/' ? 1 : 3)));
	if (*span == '\0')
		refuse_limit(&bad_form);
	if (count == 0)
		refuse_limit(&bad_count);

	for (char *p = span; *p != '\0'; p++)
	{
		if (is_word(p, "burst") && (p == span || scanner_isspace(p[-1])))
		{
			const char *number = skip_blanks(p + 5);

			len = strcspn(number, " \t\n\r\f\v");
			burst = *skip_blanks(number + len) == '\0' ?
				read_number(number, len) : 0;
			*p = '\0';
			break;
		}
	}
	if (*span == '\0')
		refuse_limit(&bad_form);
	read_interval(span, &interval);
	fault = fill_limit(limit, count, &interval, burst);
	if (fault != NULL)
		refuse_limit(fault);
}

/* -------------------------------------------------------------- printing */

static void
add_unit(StringInfo buf, int64 number, const char *unit)
{
	if (number != 0)
		appendStringInfo(buf, " " INT64_FORMAT " %s%s", number, unit,
						 number == 1 ? "" : "s");
}

char *
ak_ratelimit_print(const AkRateLimit *limit)
{
	StringInfoData buf;
	int64		rest = limit->interval;
	int64		fraction;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%d per", limit->count);
	add_unit(&buf, rest / USECS_PER_DAY, "day");
	rest %= USECS_PER_DAY;
	add_unit(&buf, rest / USECS_PER_HOUR, "hour");
	rest %= USECS_PER_HOUR;
	add_unit(&buf, rest / USECS_PER_MINUTE, "minute");
	rest %= USECS_PER_MINUTE;
	fraction = rest % USECS_PER_SEC;
	if (fraction == 0)
		add_unit(&buf, rest / USECS_PER_SEC, "second");
	else
	{
		appendStringInfo(&buf, " " INT64_FORMAT ".%06d", rest / USECS_PER_SEC,
						 (int) fraction);
		while (buf.data[buf.len - 1] == '0')
			buf.data[--buf.len] = '\0';
		appendStringInfoString(&buf, " seconds");
	}
	if (limit->burst != limit->count)
		appendStringInfo(&buf, " burst %d", limit->burst);
	return buf.data;
}

Interval *
ak_ratelimit_interval(const AkRateLimit *limit)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->day = limit->interval / USECS_PER_DAY;
	interval->time = limit->interval % USECS_PER_DAY;
	return interval;
}

/* ------------------------------------------------------------ arithmetic */

bool
ak_ratelimit_within(const AkRateLimit *inner, const AkRateLimit *outer)
{
	if (outer->count == 0)
		return true;
	return inner->count > 0 && inner->burst <= outer->burst &&
		get_emission(inner) >= get_emission(outer);
}

bool
ak_ratelimit_take(const AkRateLimit *limit, int64 now, int64 *tat, int64 *wait)
{
	int64		emission = get_emission(limit);
	int64		tolerance = emission * limit->burst;
	int64		next;

	*tat = Min(*tat, now + tolerance);
	next = Max(*tat, now) + emission;
	*wait = Max(next - now - tolerance, 0);
	if (*wait > 0)
		return false;
	*tat = next;
	return true;
}

int64
ak_ratelimit_remaining(const AkRateLimit *limit, int64 now, int64 tat)
{
	int64		emission = get_emission(limit);
	int64		tolerance = emission * limit->burst;

	tat = Min(tat, now + tolerance);
	return (now + tolerance - Max(tat, now)) / emission;
}

char *
ak_ratelimit_print_wait(int64 wait)
{
	int64		ms = (wait + 999999) / 1000000;

	return psprintf("%lld.%03d", (long long) (ms / 1000), (int) (ms % 1000));
}
