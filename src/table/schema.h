/*
 * schema.h
 *		OIDs of our objects in this database, and what is known of our tables.
 *
 * Objects are found through pg_extension: one counts only if it is a member of the
 * extension.  Tables are looked up when they are first needed, so that the first decision
 * of a session waits for few of them.  All that was found is looked up again after a
 * message about one of the tables, which DROP EXTENSION sends, but ANALYZE too: only if
 * it has changed is everything else dropped.  So are the triggers of these tables.
 *
 * An extension of another major version, the first number, is not served (55000).
 */
#ifndef AK_SCHEMA_H
#define AK_SCHEMA_H

#include "postgres.h"

#include "base/level.h"
#include "storage/lockdefs.h"

typedef enum AkTable
{
#define AK_TABLE(symbol, name) AK_TABLE_##symbol,
#include "table/tablelist.h"
	AK_TABLES
} AkTable;

/*
 * Anum_<table>_<column> is the number of a column in C, from 1, whatever its place in
 * the table; Natts_<table> is how many there are.
 */
#define AK_TABLE(symbol, name) enum { Anum_##name##_none,
#define AK_COLUMN(table, name, type, nullable) Anum_##table##_##name,
#define AK_TABLE_END(name) \
	Anum_##name##_end, Natts_##name = Anum_##name##_end - 1};
#include "table/tablelist.h"

typedef struct AkColumn
{
	const char *name;
	Oid			type;			/* AK_LEVEL_TYPE: apikey_level */
	bool		nullable;
} AkColumn;

#define AK_LEVEL_TYPE	InvalidOid
#define AK_COLUMNS_MAX	Natts_apikey_key	/* of any table */

/* As this library knows a table. */
typedef struct AkTableForm
{
	const char *name;
	int			ncolumns;
	AkColumn	columns[AK_COLUMNS_MAX];
} AkTableForm;

extern const AkTableForm ak_schema_tables[AK_TABLES];

/*
 * The first so many are published to databases that subscribe: those that decide, and two
 * that refer to keys, without rows, see publish.c.
 */
#define AK_PUBLISHED	(AK_TABLE_HEARTBEAT + 1)

#define AK_INTERNAL	"apikey_internal"

/* That of the extension which this library was made for: the default of apikey.control. */
#define AK_VERSION	"1.0"

typedef struct AkSchema
{
	Oid			extension;
	Oid			namespace;		/* that the user has chosen */
	Oid			internal;		/* AK_INTERNAL, which is closed to all */
	Oid			level;			/* the type apikey_level */
	Oid			levels[AK_LEVELS];	/* and its values */
} AkSchema;

/*
 * Accept messages; to be called before anything cached is used.  A few nanoseconds if
 * there are none.  Raises 55000 if the extension is not in this database.
 */
extern void ak_schema_accept(void);

/* Is the extension in this database?  Then it stays until the transaction ends. */
extern bool ak_schema_hold(void);

/* Is there a database of this OID?  For a process that is connected to none. */
extern bool ak_schema_has_database(Oid database);

/* As of the last ak_schema_accept(). */
extern const AkSchema *ak_schema_get(void);

/* The name of the schema, palloc'd.  Raises 55000 if it was dropped meanwhile. */
extern const char *ak_schema_name(void);

/* A table, as of the last ak_schema_accept().  Raises 55000 if it is missing. */
extern Oid	ak_schema_table(AkTable table);

/*
 * Lock a table, and return its OID: that of the table which is ours once the lock is
 * held.  Raises 55000 if it is missing, or the extension was dropped meanwhile.
 */
extern Oid	ak_schema_lock(AkTable table, LOCKMODE mode);

/*
 * As of the last ak_schema_accept(), a trigger by which backends hear of changes, and which
 * does not fire, on a table that decisions rest on and that this session has looked up; NULL
 * if there is none.  Where rows are "replicated" it must fire for these, too.
 */
extern const char *ak_schema_silent_trigger(bool replicated, AkTable *table);

/*
 * Which of our tables is this, if any?  "table" may be NULL.  Raises 55000 if one is
 * missing.
 */
extern bool ak_schema_find_table(Oid oid, AkTable *table);

/* Is this object of the catalog "classid" a member of the extension? */
extern bool ak_schema_has_member(Oid classid, Oid object);

/*
 * A function of ours with this name and these types of arguments, in one of our schemas.
 * Raises 55000 if it is missing.
 */
extern Oid	ak_schema_function(Oid namespace, const char *name,
							   const Oid *types, int count);

/* Raises 55000 if this library is older than the version. */
extern void ak_schema_require(const char *version);

/* pgcrypto's crypt(text, text).  Raises 55000 if it is not there. */
extern Oid	ak_schema_crypt(void);

/* The level of a value of apikey_level; AK_LEVEL_NONE for another OID. */
extern AkLevel ak_schema_level(Oid value);

#endif							/* AK_SCHEMA_H */
