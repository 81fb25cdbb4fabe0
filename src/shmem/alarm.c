/*
 * alarm.c
 *		Who says that something is wrong in a database, and how often?  See alarm.h.
 *
 * A database has one word: its OID, and when something was said last, in seconds.  Where
 * there are more databases with an alarm than words, one that has none is silent.
 */
#include "postgres.h"

#include "shmem/alarm.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "shmem/shared.h"
#include "utils/timestamp.h"

#define WORDS	128
#define EVERY	60				/* seconds */

static pg_atomic_uint64 *words;

/* The same where there is no shared memory */
static pg_atomic_uint64 own;
static uint32 first;			/* when something was wrong in this session;
								 * 0: it is not */

static uint32
get_second(void)
{
	return GetCurrentTimestamp() / USECS_PER_SEC;
}

static uint64
make_word(uint32 second)
{
	return (uint64) MyDatabaseId << 32 | second;
}

/* The word of this database; NULL if it has none.  It gets one if "add". */
static pg_atomic_uint64 *
get_word(bool add)
{
	if (words == NULL)
		return &own;
	for (int i = 0; i < WORDS; i++)
	{
		uint64		word = pg_atomic_read_u64(&words[i]);

		if (word == 0 && !add)
			return NULL;
		if (word >> 32 == MyDatabaseId ||
			(word == 0 &&
			 (pg_atomic_compare_exchange_u64(&words[i], &word, make_word(0)) ||
			  word >> 32 == MyDatabaseId)))
			return &words[i];
	}
	return NULL;
}

bool
ak_alarm_raise(void)
{
	uint32		second = get_second();
	pg_atomic_uint64 *at = get_word(true);
	uint64		word;

	if (words == NULL)
	{
		if (first == 0)
			first = second;
		if (second - first < EVERY)
			return false;
	}
	if (at == NULL)
		return false;
	word = pg_atomic_read_u64(at);
	return second - (uint32) word >= EVERY &&
		pg_atomic_compare_exchange_u64(at, &word, make_word(second));
}

bool
ak_alarm_end(void)
{
	pg_atomic_uint64 *at = get_word(false);
	uint64		word;

	first = 0;
	if (at == NULL)
		return false;
	word = pg_atomic_read_u64(at);
	return (uint32) word != 0 &&
		pg_atomic_compare_exchange_u64(at, &word, make_word(0));
}

static Size
get_alarm_size(void)
{
	return WORDS * sizeof(pg_atomic_uint64);
}

static void
start_alarms(void *at, bool fresh)
{
	words = at;
	for (int i = 0; fresh && i < WORDS; i++)
		pg_atomic_init_u64(&words[i], 0);
}

void
ak_alarm_init(void)
{
	static AkArea area = {
		.name = "apikey alarms",
		.size = get_alarm_size,
		.startup = start_alarms
	};

	ak_shared_area(&area);
}
