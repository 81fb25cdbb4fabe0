/*
 * ddl.h
 *		DDL on tables of the application, through SPI.
 *
 * It runs as the current role, which must own the table.  Only the owner of the
 * extension can name objects of the other schema.
 */
#ifndef AK_DDL_H
#define AK_DDL_H

#include "postgres.h"

#include "nodes/pg_list.h"

/*
 * A function of ours without arguments, in the other schema, and its owner.  Raises
 * 55000 if it is missing.
 */
extern Oid	ak_ddl_function(const char *name, Oid *owner);

/* The name of a table, quoted and with its schema; palloc'd. */
extern char *ak_ddl_table_name(Oid table);

/*
 * The names, as a list of Strings, of a table's triggers that call this function: its
 * own or, "cloned", those that it has as a partition.  The table is locked.
 */
extern List *ak_ddl_triggers(Oid table, Oid function, bool cloned);

extern void ak_ddl_drop_trigger(const char *name, Oid table);

extern void ak_ddl_execute(const char *command);

/* The same, as this role. */
extern void ak_ddl_execute_as(Oid role, const char *command);

#endif							/* AK_DDL_H */
