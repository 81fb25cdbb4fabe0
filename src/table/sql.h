/*
 * sql.h
 *		SQL that changes our tables, through SPI.
 *
 * All constraints and triggers apply; before that the table is locked as a
 * change needs it, and checked (layout.h); 55000 where the database subscribes to it
 * (follow.h), though the statement might find no row.  The callers are SECURITY DEFINER
 * functions with a SET clause: statements run as the owner of the extension, and
 * settings made here end with the caller.  ak_schema_accept() must have been called.
 *
 * The callers refuse bad values first: a constraint would do so in words that tell
 * little.
 *
 * A statement is a static AkSql beside its only caller, and keeps its plan for the life
 * of the backend, or until the schema has another name:
 *
 *		static AkSql disable_key = {
 *			AK_TABLE_KEY, AK_SQL_ONE,
 *			.query = "UPDATE $S.apikey_key SET disabled_at = now()"
 *			" WHERE key_id = $1 AND disabled_at IS NULL"
 *		};
 *
 *		changed = ak_sql_run(&disable_key, ak_value_uuid(&id)) > 0;
 */
#ifndef AK_SQL_H
#define AK_SQL_H

#include "postgres.h"

#include "base/compat.h"
#include "base/name.h"
#include "nodes/params.h"
#include "table/schema.h"
#include "table/value.h"
#include "utils/jsonb.h"

/* The time that decisions go by, see clock.h. */
#define AK_SQL_NOW \
"greatest(statement_timestamp(), now())"

/*
 * It changes the row, or all rows, that its WHERE finds; there may be none.  Raises
 * 09000 if a BEFORE trigger of somebody's keeps a row from being changed: what is said
 * to have been taken away must be gone.
 */
#define AK_SQL_ONE		1
#define AK_SQL_MANY		2

/* By a snapshot of now, whatever the isolation level; it is taken under the lock. */
#define AK_SQL_LATEST	4

/* Likewise; triggers AFTER it fire at the end of the insertion that has begun. */
#define AK_SQL_PART		8

typedef struct AkSql
{
	AkTable		table;			/* that it changes, or locks rows of */
	int			flags;
	const char *query;			/* "$S" stands for the schema */
	/* zeroed at first: */
	struct _SPI_plan *plan;
	uint32		generation;		/* of the name of the schema */
} AkSql;

/* Run it with these AkValues, one or more; returns how many rows. */
#define ak_sql_run(sql, ...) \
	ak_sql_run_values(sql, (AkValue[]) {__VA_ARGS__}, AK_SQL_COUNT(__VA_ARGS__))

/* The same where the result is read: between the two. */
#define ak_sql_execute(sql, ...) \
	ak_sql_execute_values(sql, (AkValue[]) {__VA_ARGS__}, AK_SQL_COUNT(__VA_ARGS__))
extern void ak_sql_begin(void);
extern void ak_sql_end(void);

#define AK_SQL_COUNT(...)	((int) lengthof(((AkValue[]) {__VA_ARGS__})))
extern uint64 ak_sql_run_values(AkSql *sql, const AkValue *values, int count);
extern uint64 ak_sql_execute_values(AkSql *sql, const AkValue *values,
									int count);

/*
 * Run other SQL, without arguments, by the parser's hooks if "setup" is not NULL.  It is
 * planned anew, and may do whatever the current user and the settings allow.
 */
extern uint64 ak_sql_query(const char *query, ParserSetupHook setup, void *arg);

/*
 * What the last one returned, not null; rows count from 0, columns from 1.  A name ends
 * with a NUL, and is in the memory context of the caller of ak_sql_begin(); JSON is the
 * row's.
 */
extern AkName ak_sql_name(int row, int column);
extern Jsonb *ak_sql_jsonb(int row, int column);
extern bool ak_sql_bool(int row, int column);
extern int64 ak_sql_int64(int row, int column);

/* What may be null: as it is, or as text, palloc'd, NULL for a null. */
extern AkValue ak_sql_value(int row, int column);
extern char *ak_sql_string(int row, int column);

/*
 * For procedures: commit, and begin another transaction, which has no snapshot yet.  The
 * procedure was called by CALL, in no transaction block, and as the current user.
 */
extern void ak_sql_commit(void);

/* Memory of the caller of ak_sql_begin(). */
extern void *ak_sql_alloc(Size size);

/* Raises 09000: a trigger keeps a row of the table from being changed. */
pg_noreturn extern void ak_sql_refuse_trigger(AkTable table);

/* Is one of them being run? */
extern bool ak_sql_is_running(void);

/*
 * Let no plan be sequential until the calling function ends, as each statement does.
 * Plans are kept, and so are those of foreign keys: one that was made while a table had
 * one page would read all of it, and go on to do so while the same statement makes it
 * grow to a million rows.
 */
extern void ak_sql_use_indexes(void);

#endif							/* AK_SQL_H */
