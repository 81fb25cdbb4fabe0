/*
 * citus.h
 *		The session's key where Citus sends queries on to other servers.
 *
 * There a key must be on the servers that have the rows.  Citus sends on what is set by a
 * SET LOCAL *statement* in a transaction block, while citus.propagate_set_commands is
 * 'local'; set_config() stays here.  Its worker sessions get the statement at once if they
 * take part in the transaction, else before their first query in it, and forget it when
 * the transaction ends.
 */
#ifndef AK_CITUS_H
#define AK_CITUS_H

#include "postgres.h"

/*
 * Set apikey.key until the end of the transaction, or clear it by "": in this session and,
 * if Citus is at work in it, wherever this transaction goes.  Raises 55000 where Citus
 * would lose it.  No other setting is sent on because of that.
 */
extern void ak_citus_set_key(const char *key);

#endif							/* AK_CITUS_H */
