/*
 * heartbeat.h
 *		The row of apikey_heartbeat, by which a subscriber sees how old what it knows is.
 *
 * Not to be called in a database that subscribes: there the row is its publisher's.
 * ak_schema_accept() must have been called.
 */
#ifndef AK_HEARTBEAT_H
#define AK_HEARTBEAT_H

#include "postgres.h"

/* Make the row, or renew it. */
extern void ak_heartbeat_make(void);

/* Renew the row if it is there, and if the database has a logical replication slot. */
extern void ak_heartbeat_renew(void);

/*
 * Fill in the fingerprints of the key files, if the row is there and they have changed.
 * Raises F0000 for a file that cannot be used.
 */
extern void ak_heartbeat_tell_files(void);

#endif							/* AK_HEARTBEAT_H */
