/*
 * rehash.h
 *		Another hash of the same secret in the place of a slow one.
 *
 * A statement that only uses a key must neither wait nor fail because of it.  So
 * nothing is done if another transaction has a lock on row or table, or if the table
 * has more than the extension has put there: triggers, constraints, generated
 * columns, expressions in indexes; nor where the row is a publisher's.  No trigger
 * fires: what is cached of the key stays true.
 *
 * ak_schema_accept() must have been called.
 */
#ifndef AK_REHASH_H
#define AK_REHASH_H

#include "postgres.h"

#include "table/store.h"

/* In the other secret of this key, if its scheme is still "old". */
extern void ak_rehash_store(const pg_uuid_t *id, AkScheme old,
							AkScheme scheme,
							const uint8 salt[AK_SALT_LEN],
							const uint8 verifier[AK_HASH_LEN]);

#endif							/* AK_REHASH_H */
