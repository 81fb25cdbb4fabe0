/*
 * unsubscribe.c
 *		apikey_unsubscribe: the end of a subscription.
 *
 * The subscription is dropped, and what it has brought, in one transaction: at no time are
 * there keys that nobody revokes any more.  DROP SUBSCRIPTION would drop the replication
 * slot, too, which no rollback brings back, and so refuses to be part of a transaction: the
 * slot goes afterwards.
 */
#include "postgres.h"

#include "replication/unsubscribe.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/hide.h"
#include "base/redact.h"
#include "keys/actor.h"
#include "miscadmin.h"
#include "replication/publisher.h"
#include "replication/step.h"
#include "table/ddl.h"
#include "table/event.h"
#include "table/sql.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* A subscription of PostgreSQL's */
typedef struct Subscription
{
	Oid			oid;			/* InvalidOid: there is none */
	char	   *connection;
	char	   *slot;			/* NULL: none */
}			Subscription;

/* What is published, and the use of the keys. */
static bool
is_emptied(AkTable table)
{
	return table < AK_PUBLISHED || table == AK_TABLE_USE || table == AK_TABLE_USE_HOUR;
}

char *
ak_unsubscribe_truncate(const char *schema)
{
	StringInfoData command;

	initStringInfo(&command);
	for (AkTable table = 0; table < AK_TABLES; table++)
		if (is_emptied(table))
			appendStringInfo(&command, "%s %s.%s", table == 0 ? "TRUNCATE" : ",",
							 schema, ak_schema_tables[table].name);
	return command.data;
}

void
ak_unsubscribe_refuse(const char *name)
{
	AkName		given = ak_name_make(name, strlen(name));

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("subscription \"%s\" was not made by apikey_subscribe",
					ak_redact_name(&given)),
			 errhint("The view apikey_subscriptions has those that were."),
			 errhidestmt(true)));
}

/* Returns the OID that it had when it was made.  Raises 42704 if it is none of ours. */
static Oid
forget_subscription(const char *name)
{
	static AkSql find_subscription = {
		AK_TABLE_SUBSCRIPTION, 0,
		.query = "SELECT subscription FROM $S.apikey_subscription WHERE name = $1 FOR UPDATE"
	};
	static AkSql delete_subscription = {
		AK_TABLE_SUBSCRIPTION, AK_SQL_ONE,
		.query = "DELETE FROM $S.apikey_subscription WHERE name = $1"
	};
	Oid			made;

	ak_sql_begin();
	if (ak_sql_execute(&find_subscription, ak_value_string(name)) == 0)
		ak_unsubscribe_refuse(name);
	made = DatumGetObjectId(ak_sql_value(0, 1).value);
	ak_sql_end();
	(void) ak_sql_run(&delete_subscription, ak_value_string(name));
	return made;
}

static void
get_subscription(const char *name, Subscription * found)
{
	MemoryContext context = CurrentMemoryContext;

	memset(found, 0, sizeof(Subscription));
	ak_sql_begin();
	if (ak_sql_query(psprintf("SELECT oid, subconninfo, subslotname FROM pg_catalog.pg_subscription"
							  " WHERE subdbid = %u AND subname = %s", MyDatabaseId,
							  quote_literal_cstr(name)), NULL, NULL) > 0)
	{
		char	   *slot = ak_sql_string(0, 3);

		found->oid = DatumGetObjectId(ak_sql_value(0, 1).value);
		found->connection = MemoryContextStrdup(context, ak_sql_string(0, 2));
		if (slot != NULL)
			found->slot = MemoryContextStrdup(context, slot);
	}
	ak_sql_end();
}

static void
record_end(const char *name)
{
	AkEvent		event = {.action = "unsubscribe"};
	AkDetail	detail;

	ak_detail_begin(&detail);
	ak_detail_add(&detail, "subscription", name);
	event.detail = &detail;
	ak_actor_record(&event);
}

/*
 * The tables are locked before the workers of the subscription are ended: what waits for
 * these locks is ended, too.
 */
static void
end_subscription(const char *name, const Subscription * subscription)
{
	static AkSql truncate_all = {.table = AK_TABLE_KEY};
	const char *quoted = quote_identifier(name);

	if (truncate_all.query == NULL)
		truncate_all.query = MemoryContextStrdup(TopMemoryContext,
												 ak_unsubscribe_truncate("$S"));
	for (AkTable table = 0; table < AK_TABLES; table++)
		if (is_emptied(table))
			(void) ak_schema_lock(table, AccessExclusiveLock);
	if (OidIsValid(subscription->oid))
	{
		ak_ddl_execute(psprintf("ALTER SUBSCRIPTION %s DISABLE", quoted));
		ak_ddl_execute(psprintf("ALTER SUBSCRIPTION %s SET (slot_name = NONE)", quoted));
		ak_ddl_execute(psprintf("DROP SUBSCRIPTION %s", quoted));
	}
	(void) ak_sql_run(&truncate_all, ak_value_null(TEXTOID));
	record_end(name);
}

/* Whoever breaks off the rest must not take it for all. */
static void
say_ended(void *slot)
{
	errhidestmt(true);
	if (geterrcode() == ERRCODE_QUERY_CANCELED)
		errdetail("The subscription has ended; replication slot \"%s\" may be left at the publisher.",
				  (char *) slot);
}

/*
 * A subscription that was restored from a dump has another OID, and the slot is that of the
 * one which was dumped.  That of a copy of this server's files is in use.
 */
static void
drop_slot(const Subscription * subscription, Oid made)
{
	ErrorContextCallback context;
	char	   *why = NULL;

	if (subscription->slot == NULL)
		return;
	if (subscription->oid != made)
	{
		ak_publisher_warn(subscription->slot,
						  "It may be in use by the database that this one is a copy of.");
		return;
	}
	ak_hide_begin(&context, say_ended);
	context.arg = subscription->slot;
	if (!ak_publisher_drop_slot(subscription->connection, subscription->slot, 0, &why))
		ak_publisher_warn(subscription->slot, why);
	ak_hide_end(&context);
}

AK_FUNCTION_INFO_V1(apikey_unsubscribe);
Datum
apikey_unsubscribe(PG_FUNCTION_ARGS)
{
	char	   *name = ak_arg_string(fcinfo, 0);
	Subscription subscription;
	Oid			made;

	ak_step_first(fcinfo);
	ak_arg_refuse_null(fcinfo, 0, "name");
	get_subscription(name, &subscription);
	made = forget_subscription(name);
	end_subscription(name, &subscription);
	ak_step_next();
	drop_slot(&subscription, made);
	ak_step_last();
	PG_RETURN_VOID();
}
