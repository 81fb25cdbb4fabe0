/*
 * create.h
 *		A new key, from its description to its rows.
 */
#ifndef AK_CREATE_H
#define AK_CREATE_H

#include "postgres.h"

#include "base/detail.h"
#include "keys/actor.h"
#include "table/value.h"

/* Zeroed: nothing of it. */
typedef struct AkNewKey
{
	AkActor		actor;
	AkDetail	detail;			/* of the event */
	pg_uuid_t	id;
	AkName		organization;
	AkValue		label;
	const char *prefix;
	AkSecret	secret;			/* unless imported */
	AkLevel		organization_level;
	AkValue		expires_at;
	bool		imported;
	TimestampTz created_at;		/* of an imported key; any other is new */
	AkValue		created_by;
	AkValue		allowed_networks;
	AkValue		metadata;
	AkRateLimit limit;
	int			max_derived;
	const pg_uuid_t *parent;	/* NULL unless derived */
	AkGrant    *grants;
	int			ngrants;
} AkNewKey;

/* Make a secret of a key; returns the text of the key, palloc'd. */
extern char *ak_create_secret(AkSecret *secret, const pg_uuid_t *id,
							  const char *prefix);

/* The name of its scheme; a null if it has none. */
extern AkValue ak_create_scheme(const AkSecret *secret);

/* Add the key with its grants, and an event. */
extern void ak_create_write(const char *action, AkNewKey *key);

/* Fill in the row that shows a key, the only time, and wipe its text; true. */
extern bool ak_create_show(const pg_uuid_t *id, char *token, Datum *values);

#endif							/* AK_CREATE_H */
