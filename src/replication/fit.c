/*
 * fit.c
 *		Does a publisher fit this database?  See fit.h.
 */
#include "postgres.h"

#include "replication/fit.h"

#include "auth/staleness.h"
#include "base/compat.h"
#include "base/redact.h"
#include "base/secret.h"
#include "replication/step.h"
#include "table/schema.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define UNFINISHED_FOR		5	/* s that a slot may take to be made */
#define HEARTBEATS			3	/* that max_staleness must allow for */

pg_noreturn void
ak_fit_refuse(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s", message), errhint("%s", hint), errhidestmt(true)));
}

/* Has it this extension, of a version that fits, in a schema of the same name? */
static void
check_extension(const AkMaking * making)
{
	AkAnswer   *answer = ak_publisher_ask(making->publisher, 2,
										  "SELECT e.extversion, n.nspname::text FROM pg_catalog.pg_extension e"
										  " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
										  " WHERE e.extname = 'apikey'");

	if (answer->nrows == 0)
		ak_fit_refuse("extension \"apikey\" is not installed in the database of the publisher",
					  "Does the connection string name the right database?");
	if (strtol(AK_ANSWER(answer, 0, 0), NULL, 10) != strtol(AK_VERSION, NULL, 10))
		ak_fit_refuse(psprintf("extension \"apikey\" has version %s at the publisher, and %s here",
							   AK_ANSWER(answer, 0, 0), AK_VERSION),
					  "Both must have the same major version.");
	if (strcmp(AK_ANSWER(answer, 0, 1), ak_schema_name()) != 0)
		ak_fit_refuse(psprintf("extension \"apikey\" is in schema \"%s\" at the publisher, and in \"%s\" here",
							   AK_ANSWER(answer, 0, 1), ak_schema_name()),
					  "Subscriptions go by the names of tables: create the extension in a schema of the same name.");
}

/* One of the tables that decide? */
static int
find_decisive(const char *schema, const char *table)
{
	if (strcmp(schema, ak_schema_name()) == 0)
		for (AkTable decisive = 0; decisive < AK_PUBLISHED; decisive++)
			if (strcmp(table, ak_schema_tables[decisive].name) == 0)
				return decisive;
	return -1;
}

/* Has it just the tables that decide, and these all their columns here? */
static void
check_published_tables(const AkMaking * making, const char *publication)
{
	enum
	{
		SCHEMA, TABLE, COLUMN, READABLE, COLUMNS
	};
	AkAnswer   *answer = ak_publisher_ask(making->publisher, COLUMNS,
										  psprintf("SELECT t.schemaname::text, t.tablename::text, a::text,"
												   " pg_catalog.has_table_privilege(pg_catalog.format('%%I.%%I',"
												   " t.schemaname, t.tablename), 'SELECT')::text"
												   " FROM pg_catalog.pg_publication_tables t,"
												   " pg_catalog.unnest(t.attnames) a WHERE t.pubname = %s",
												   publication));
	bool	   *found = palloc0(AK_PUBLISHED * sizeof(bool));

	for (int row = 0; row < answer->nrows; row++)
	{
		const char *table = AK_ANSWER(answer, row, TABLE);
		int			which = find_decisive(AK_ANSWER(answer, row, SCHEMA), table);

		if (which < 0)
			ak_fit_refuse(psprintf("publication \"%s\" has table \"%s\", which does not decide",
								   making->publication, table),
						  "Publish what apikey_publish does, and other tables by another publication.");
		found[which] = true;
		if (get_attnum(ak_schema_table(which),
					   AK_ANSWER(answer, row, COLUMN)) <= 0)
			ak_fit_refuse(psprintf("column \"%s\" of table \"%s\" is missing here",
								   AK_ANSWER(answer, row, COLUMN), table),
						  "Upgrade the subscriber before the publisher: ALTER EXTENSION apikey UPDATE.");
		if (strcmp(AK_ANSWER(answer, row, READABLE), "true") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for table \"%s\" at the publisher", table),
					 errhint("GRANT SELECT on it, and USAGE on its schema, to the role of the connection string."),
					 errhidestmt(true)));
	}
	for (int i = 0; i < AK_PUBLISHED; i++)
		if (!found[i])
			ak_fit_refuse(psprintf("publication \"%s\" lacks table \"%s\"",
								   making->publication,
								   ak_schema_tables[i].name),
						  "Drop it, and call apikey_publish there.");
}

static void
check_publication(const AkMaking * making)
{
	enum
	{
		ALL_TABLES, ALL_CHANGES, COLUMNS
	};
	const char *publication = quote_literal_cstr(making->publication);
	AkName		given = ak_name_make(making->publication, strlen(making->publication));
	AkAnswer   *answer = ak_publisher_ask(making->publisher, COLUMNS,
										  psprintf("SELECT puballtables::text,"
												   " (pubinsert AND pubupdate AND pubdelete AND pubtruncate)::text"
												   " FROM pg_catalog.pg_publication WHERE pubname = %s",
												   publication));

	if (answer->nrows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("publication \"%s\" does not exist at the publisher",
						ak_redact_name(&given)),
				 errhint("Call apikey_publish there."),
				 errhidestmt(true)));
	if (strcmp(AK_ANSWER(answer, 0, ALL_TABLES), "true") == 0)
		ak_fit_refuse(psprintf("publication \"%s\" is FOR ALL TABLES", making->publication),
					  "Rows about the use of keys would collide with those of this server: use a publication of apikey_publish.");
	if (strcmp(AK_ANSWER(answer, 0, ALL_CHANGES), "true") != 0)
		ak_fit_refuse(psprintf("publication \"%s\" does not publish all changes", making->publication),
					  "Drop it, and call apikey_publish there.");
	check_published_tables(making, publication);
}

/* Raises 55000 unless the file of a keyed scheme is the same here and there. */
static void
check_fingerprint(AkScheme keyed, const char *setting, const char *there)
{
	uint8		here[AK_FINGERPRINT_LEN];
	bool		known = ak_secret_fingerprint(keyed, here);
	char		hex[AK_FINGERPRINT_LEN * 2 + 1] = {0};

	if (known)
		(void) hex_encode((const char *) here, sizeof(here), hex);
	if (known == (there != NULL) && (!known || strcmp(hex, there) == 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s does not hold here what it holds at the publisher", setting),
			 errdetail("%s", !known ? "It is not set here." :
					   there == NULL ? "It is not set there." :
					   "The fingerprints of the files differ."),
			 errhint("Copy the file to this server, and have the setting name it; else no key is good here."),
			 errhidestmt(true)));
}

bool
ak_fit_heartbeat(const AkMaking * making, int64 *age, int64 *every)
{
	enum
	{
		AGE, EVERY, PEPPER, HMAC_KEY, COLUMNS
	};
	AkAnswer   *answer = ak_publisher_ask(making->publisher, COLUMNS,
										  psprintf("SELECT trunc(extract(epoch FROM clock_timestamp() - at) * 1000000)::text,"
												   " trunc(extract(epoch FROM every) * 1000000)::text,"
												   " encode(pepper, 'hex'), encode(hmac_key, 'hex') FROM %s.apikey_heartbeat",
												   quote_identifier(ak_schema_name())));

	if (answer->nrows == 0)
		return false;
	*age = strtoi64(AK_ANSWER(answer, 0, AGE), NULL, 10);
	*every = AK_ANSWER(answer, 0, EVERY) == NULL ? 0 :
		strtoi64(AK_ANSWER(answer, 0, EVERY), NULL, 10);
	check_fingerprint(AK_SCHEME_NATIVE_PEPPER, "apikey.pepper_file",
					  AK_ANSWER(answer, 0, PEPPER));
	check_fingerprint(AK_SCHEME_HMAC_SHA256, "apikey.hmac_key_file",
					  AK_ANSWER(answer, 0, HMAC_KEY));
	return true;
}

void
ak_fit_staleness(const Interval *max_staleness, int64 every)
{
	if (every == 0)
		ak_fit_refuse("the heartbeat of the publisher does not come again",
					  "A max_staleness takes a publisher that preloads the extension: add apikey to its \"shared_preload_libraries\".");
	if (ak_staleness_span(max_staleness) < every * HEARTBEATS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_staleness is too short"),
				 errdetail("The heartbeat of the publisher comes every %g seconds.",
						   every / (double) USECS_PER_SEC),
				 errhint("Allow for at least %d of them, or lower apikey.flush_interval at the publisher.",
						 HEARTBEATS),
				 errhidestmt(true)));
}

static void
check_heartbeat(const AkMaking * making)
{
	int64		age;
	int64		every;

	if (!ak_fit_heartbeat(making, &age, &every))
		ak_fit_refuse("the publisher has no heartbeat", "Call apikey_publish there.");
	if (making->max_staleness != NULL)
		ak_fit_staleness(making->max_staleness, every);
}

/*
 * A slot that is being made stays so while a transaction goes on that was there before; all
 * others wait for the same.
 */
static void
check_slots(const AkMaking * making)
{
	enum
	{
		NAME, PROCESS, BLOCKED_BY, COLUMNS
	};
	AkAnswer   *answer;

	answer = ak_publisher_ask(making->publisher, 1,
							  psprintf("SELECT plugin::text FROM pg_catalog.pg_replication_slots WHERE slot_name = %s",
									   quote_literal_cstr(making->name)));
	if (answer->nrows > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication slot \"%s\" exists already at the publisher", making->name),
				 errhint("Each subscriber needs a name of its own, beside the name of the publication; if nobody needs the slot any more, call there: SELECT pg_drop_replication_slot('%s');",
						 making->name),
				 errhidestmt(true)));
	for (int tries = 0;; tries++)
	{
		answer = ak_publisher_ask(making->publisher, COLUMNS,
								  "SELECT slot_name::text, active_pid::text,"
								  " pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(active_pid), ', ')"
								  " FROM pg_catalog.pg_replication_slots"
								  " WHERE slot_type = 'logical' AND active AND confirmed_flush_lsn IS NULL");
		if (answer->nrows == 0)
			return;
		if (tries == UNFINISHED_FOR * 10)
			break;
		ak_step_rest(100);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("replication slot \"%s\" at the publisher is not finished",
					AK_ANSWER(answer, 0, NAME)),
			 errdetail("Process %s waits for process %s to end its transaction; no other slot can be made meanwhile.",
					   AK_ANSWER(answer, 0, PROCESS), AK_ANSWER(answer, 0, BLOCKED_BY)),
			 errhint("If that is a CREATE SUBSCRIPTION to its own server, it waits for itself: cancel it."),
			 errhidestmt(true)));
}

void
ak_fit_check(AkMaking * making)
{
	if (ak_publisher_is_here(making->publisher))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the publisher is this database"),
				 errhidestmt(true)));
	check_extension(making);
	check_publication(making);
	check_heartbeat(making);
	check_slots(making);
	making->failover = AK_HAS_FAILOVER_SLOTS &&
		ak_publisher_version(making->publisher) >= 170000 &&
		strcmp(AK_ANSWER(ak_publisher_ask(making->publisher, 1,
										  "SELECT pg_catalog.pg_is_in_recovery()::text"), 0, 0),
			   "false") == 0;
}
