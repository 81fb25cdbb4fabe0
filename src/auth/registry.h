/*
 * registry.h
 *		Which organization has this environment of this project?
 *
 * Answers are remembered, also that there is none, and forgotten when the
 * registry changes.  When AK_REGISTRY_BYTES are full, all are forgotten.
 */
#ifndef AK_REGISTRY_H
#define AK_REGISTRY_H

#include "postgres.h"

#include "base/name.h"

#define AK_REGISTRY_BYTES	(4 * 1024 * 1024)

/* Is this pair registered, and for this organization?  '*' never is. */
extern bool ak_registry_contains(const AkName *organization, uint32 hash,
								 const AkName *project,
								 const AkName *environment);

extern Size ak_registry_bytes(void);

#endif							/* AK_REGISTRY_H */
