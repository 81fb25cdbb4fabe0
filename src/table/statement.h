/*
 * statement.h
 *		The SQL that changes our tables.
 *
 * Run by SPI, so that every constraint and trigger does its work, after the table is
 * locked as a change needs it and has been looked at (layout.h).  The callers are
 * SECURITY DEFINER functions with a SET clause: statements run as the owner of the
 * extension, and settings made here end with the caller.  ak_schema_accept() must
 * have been called.  Plans are kept for the life of the backend.
 */
#ifndef AK_STATEMENT_H
#define AK_STATEMENT_H

#include "postgres.h"

#include "base/name.h"
#include "utils/snapshot.h"

typedef enum AkStatement
{
	AK_INSERT_IMPORTED,
	AK_LOCK_KEY,
	AK_UPDATE_KEY,
	AK_KEEP_SECRET,
	AK_LIMIT_SECRET,
	AK_DROP_SECRET,
	AK_SET_SECRET,
	AK_RESTORE_SECRET,
	AK_RESTORE_IMPORTED,
	AK_DISABLE_KEY,
	AK_ENABLE_KEY,
	AK_REVOKE_KEY,
	AK_DELETE_KEY,
	AK_SET_ORGANIZATION_LEVEL,
	AK_UPSERT_BUDGET,
	AK_DELETE_BUDGET,
	AK_SPEND,
	AK_LOOK_AT_BUDGET,
	AK_UPSERT_GRANT,
	AK_DELETE_GRANT,
	AK_UPSERT_PROJECTS,
	AK_UPSERT_ENVIRONMENTS,
	AK_LOCK_PROJECTS,
	AK_LOCK_ENVIRONMENTS,
	AK_DELETE_PROJECTS_GRANTS,
	AK_DELETE_PROJECTS_ENVIRONMENTS,
	AK_DELETE_PROJECTS,
	AK_LOCK_ENVIRONMENT,
	AK_DELETE_ENVIRONMENT_GRANTS,
	AK_DELETE_ENVIRONMENT,
	AK_RENAME_PROJECT,
	AK_RENAME_ENVIRONMENTS,
	AK_RENAME_GRANTS,
	AK_PURGE_EVENTS,
	AK_ADD_USE,
	AK_ADD_USE_HOURS,
	AK_PURGE_USE,
	AK_PURGE_USE_HOURS,
	AK_STATEMENTS
} AkStatement;

/* Connect to SPI, and disconnect; between them statements have a result. */
extern void ak_statement_begin(void);
extern void ak_statement_end(void);

/* Run one of them; returns how many rows.  "nulls" may be NULL, as in SPI. */
extern uint64 ak_statement_execute(AkStatement which, Datum *values,
								   const char *nulls);

/* By a snapshot of now, whatever the isolation level; no value is null. */
extern uint64 ak_statement_execute_latest(AkStatement which, Datum *values);

/* Likewise; triggers AFTER it fire at the end of the insertion that has begun. */
extern uint64 ak_statement_execute_part(AkStatement which, Datum *values);

/* All three, where the result is not read and no value is null. */
extern uint64 ak_statement_run(AkStatement which, Datum *values);

/* The result of the last one; a text, which is not null, in the memory of who
 * called ak_statement_begin(). */
extern AkName ak_statement_text(int row, int column);
extern bool ak_statement_bool(int row, int column);
extern int64 ak_statement_int64(int row, int column);

/* Memory of the same kind. */
extern void *ak_statement_alloc(Size size);

/* Another query with our schema in the place of "$S"; palloc'd. */
extern char *ak_statement_qualify(const char *query);

/* Is one of them being run? */
extern bool ak_statement_is_running(void);

/*
 * Let no plan be sequential until the calling function ends.  Plans are kept, and
 * so are those of foreign keys: one that was made while a table had one page would
 * read all of it, and go on to do so while the same statement makes it grow to a
 * million rows.
 */
extern void ak_statement_use_indexes(void);

#endif							/* AK_STATEMENT_H */
