/*
 * write.h
 *		Changing our tables, through SPI, so that every constraint and trigger
 *		does its work.
 *
 * The callers are SECURITY DEFINER functions with a SET clause: statements run
 * as the owner of the extension, and settings made here end with the caller.  ak_schema_accept() must have been called.  Plans are kept
 * for the life of the backend.
 *
 * Bad values are to be refused before: the message of a violated constraint
 * would show the whole row, verifier included.
 */
#ifndef AK_WRITE_H
#define AK_WRITE_H

#include "postgres.h"

#include "scope.h"
#include "store.h"

typedef struct AkNewKey
{
	pg_uuid_t	id;
	AkName		organization;
	Datum		label;			/* text */
	const char *prefix;
	AkScheme	scheme;
	uint8		salt[AK_SALT_LEN];
	uint8		verifier[AK_HASH_LEN];
	AkLevel		organization_level;
	/* null if the pointer is */
	NullableDatum expires_at;	/* timestamptz */
	NullableDatum created_by;	/* text */
	NullableDatum allowed_networks; /* cidr[] */
	NullableDatum metadata;		/* jsonb; null: {} */
} AkNewKey;

extern void ak_write_key(const AkNewKey *key);

/* Lock the row of a key against other changes; false if there is none.
 * "organization" is palloc'd. */
extern bool ak_write_lock_key(const pg_uuid_t *id, AkName *organization,
							  bool *revoked);

/* Changes of a locked key. */
extern void ak_write_disable(const pg_uuid_t *id);
extern void ak_write_enable(const pg_uuid_t *id);
extern void ak_write_revoke(const pg_uuid_t *id);
extern void ak_write_delete(const pg_uuid_t *id);
extern void ak_write_organization_level(const pg_uuid_t *id, AkLevel level);

/* New grants of a key that has none on these pairs. */
extern void ak_write_grants(const pg_uuid_t *id, const AkName *organization,
							const AkGrant *grants, int count);

/* One grant, new or changed. */
extern void ak_write_grant(const pg_uuid_t *id, const AkName *organization,
						   const AkGrant *grant);

/* False if there is no such grant. */
extern bool ak_write_ungrant(const pg_uuid_t *id, const AkName *project,
							 const AkName *environment);

/*
 * Make sure of these projects, each of one organization, with these
 * environments and '*'.  Returns the number of one that another organization
 * has, or -1.  No project may be there twice.
 */
extern int	ak_write_projects(const AkName *organizations,
							  const AkName *projects, int count,
							  const AkName *environments, int nenvironments);

/* With their environments and grants; returns how many there were.  Those of
 * now, whatever the isolation level. */
extern uint64 ak_write_remove_projects(const AkName *projects, int count);

/* False if there is none. */
extern bool ak_write_remove_environment(const AkName *project,
										const AkName *environment);

#endif							/* AK_WRITE_H */
