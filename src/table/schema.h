/*
 * schema.h
 *		OIDs of the extension's own objects in this database.
 *
 * They are found through pg_extension and looked up again after a message
 * about one of the relations, which DROP EXTENSION sends, but ANALYZE too: only
 * if they turn out to be others is everything else forgotten.  A table counts
 * only if it is a member of the extension.  What its columns are is known to
 * layout.h.
 *
 * The library may be older than the extension, or newer.  One of another major
 * version, the first number, is not served (55000): its rows may mean what this
 * library does not know.
 */
#ifndef AK_SCHEMA_H
#define AK_SCHEMA_H

#include "postgres.h"

#include "base/level.h"
#include "storage/lockdefs.h"

/* Those up to the budgets are changed by users, and watched by triggers. */
typedef enum AkTable
{
	AK_TABLE_PROJECT = 0,
	AK_TABLE_ENVIRONMENT,
	AK_TABLE_KEY,
	AK_TABLE_SECRET,
	AK_TABLE_GRANT,
	AK_TABLE_BUDGET,
	AK_TABLE_EVENT,
	AK_TABLE_USE,
	AK_TABLE_USE_HOUR,
	/* from here on in the other schema */
	AK_TABLE_KEY_PROXY,
	AK_TABLE_REGISTRY_PROXY
} AkTable;

#define AK_TABLES	(AK_TABLE_REGISTRY_PROXY + 1)

/* The schema of what nobody calls by name. */
#define AK_INTERNAL	"apikey_internal"

typedef struct AkSchema
{
	Oid			namespace;		/* that the user has chosen */
	Oid			internal;		/* AK_INTERNAL */
	Oid			tables[AK_TABLES];
	Oid			level;			/* the type apikey_level */
	Oid			levels[AK_LEVELS];	/* and its values */
} AkSchema;

/*
 * Take in what other backends have sent; to be called before anything
 * remembered is believed.  A few nanoseconds if there is nothing.  Raises
 * 55000 if the extension is not in this database.
 */
extern void ak_schema_accept(void);

/*
 * Is it there at all?  Then it stays until the end of the transaction.  For a process
 * that comes to look.
 */
extern bool ak_schema_hold(void);

/* Is there a database of this OID?  For a process that is in none. */
extern bool ak_schema_has_database(Oid database);

/* As of the last ak_schema_accept(). */
extern const AkSchema *ak_schema_get(void);

/* The name of the schema, palloc'd.  Raises 55000 if it has just gone. */
extern const char *ak_schema_name(void);

/* That of a table. */
extern const char *ak_schema_table_name(AkTable table);

/*
 * Lock a table, so that it is ours and stays: what it was before waiting for the
 * lock does not count.  Returns its OID.  Raises 55000 if the extension has gone
 * meanwhile.
 */
extern Oid	ak_schema_lock(AkTable table, LOCKMODE mode);

/* Which of our tables is this?  False if it is none.  "table" may be NULL. */
extern bool ak_schema_find_table(Oid oid, AkTable *table);

/* Does this function belong to the extension?  Its name alone proves nothing. */
extern bool ak_schema_has_function(Oid function);

/* pgcrypto's function crypt(text, text).  Raises 55000 if it is not there. */
extern Oid	ak_schema_crypt(void);

/* AK_LEVEL_NONE for an OID that is none of apikey_level. */
extern AkLevel ak_schema_level(const AkSchema *schema, Oid value);

#endif							/* AK_SCHEMA_H */
