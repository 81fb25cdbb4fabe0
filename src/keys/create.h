/*
 * create.h
 *		New secrets, for new keys and old ones.
 */
#ifndef AK_CREATE_H
#define AK_CREATE_H

#include "postgres.h"

#include "table/store.h"

/*
 * A new secret of the key with this id and prefix; returns the text of the key,
 * palloc'd.
 */
extern char *ak_create_secret(AkSecret *secret, const pg_uuid_t *id,
							  const char *prefix);

/* Fill in the row that shows a key, the only time, and wipe its text; true. */
extern bool ak_create_show(const pg_uuid_t *id, char *token, Datum *values);

#endif							/* AK_CREATE_H */
