/*
 * ddl.h
 *		DDL on tables of the application, through SPI.
 *
 * It is for the caller to do: who does not own the table is refused by PostgreSQL.
 * But what names an object of the other schema can only be done by the owner of the
 * extension, as that schema is closed.
 */
#ifndef AK_DDL_H
#define AK_DDL_H

#include "postgres.h"

/*
 * A function of ours without arguments, in the other schema, and its owner.  Raises
 * 55000 if it is missing.
 */
extern Oid	ak_ddl_function(const char *name, Oid *owner);

extern void ak_ddl_execute(const char *command);

/* The same as this role. */
extern void ak_ddl_execute_as(Oid role, const char *command);

#endif							/* AK_DDL_H */
