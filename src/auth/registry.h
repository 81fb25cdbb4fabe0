/*
 * registry.h
 *		The registry cache: has this organization this environment of this project?
 *
 * Answers, negative ones too, are cached until the registry of the organization that was
 * asked for changes.  When AK_REGISTRY_BYTES are full all are dropped.
 */
#ifndef AK_REGISTRY_H
#define AK_REGISTRY_H

#include "postgres.h"

#include "base/name.h"

#define AK_REGISTRY_BYTES	(4 * 1024 * 1024)

/*
 * Is this pair, whose ak_grants_hash() is "hash", registered for this organization, whose
 * ak_inval_hash() is given too?  An environment '*' never is.
 */
extern bool ak_registry_contains(const AkName *organization,
								 uint32 organization_hash, uint32 hash,
								 const AkName *project,
								 const AkName *environment);

/* Bytes of memory that all takes. */
extern Size ak_registry_bytes;

#endif							/* AK_REGISTRY_H */
