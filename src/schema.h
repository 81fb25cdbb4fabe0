/*
 * schema.h
 *		OIDs of the extension's own objects in this database.
 *
 * They are found through pg_extension and looked up again after a message
 * about one of the relations, which DROP EXTENSION sends, but ANALYZE too: only
 * if they turn out to be others is everything else forgotten.  A table counts
 * only if it is a member of the extension.
 */
#ifndef AK_SCHEMA_H
#define AK_SCHEMA_H

#include "postgres.h"

#include "scope.h"

typedef struct AkSchema
{
	Oid			namespace;
	Oid			project;
	Oid			project_pkey;
	Oid			environment;
	Oid			environment_pkey;
	Oid			environment_organization_idx;
	Oid			key;
	Oid			key_pkey;
	Oid			secret;
	Oid			secret_pkey;
	Oid			secret_lookup_key;
	Oid			grant;
	Oid			grant_key;
	Oid			grant_project_idx;
	Oid			budget;
	Oid			budget_pkey;
	Oid			event;
	Oid			use;
	Oid			use_pkey;
	Oid			use_hour;
	Oid			use_hour_pkey;
	Oid			key_proxy;
	Oid			registry_proxy;
	Oid			levels[AK_LEVELS];	/* values of apikey_level */
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

/* Does this function belong to the extension?  Its name alone proves nothing. */
extern bool ak_schema_has_function(Oid function);

/* pgcrypto's function crypt(text, text).  Raises 55000 if it is not there. */
extern Oid	ak_schema_crypt(void);

/* AK_LEVEL_NONE for an OID that is none of apikey_level. */
extern AkLevel ak_schema_level(const AkSchema *schema, Oid value);

#endif							/* AK_SCHEMA_H */
