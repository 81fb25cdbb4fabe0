/*
 * worker.h
 *		Background workers that write use counts to the tables.
 *
 * The launcher runs on a server that can be written to.  Where something is
 * pending in a database it starts a worker for that, which waits, for
 * apikey.flush_interval, or until shared memory is full or the server stops; then
 * connects, writes, and ends.  It is connected for some milliseconds only, so that
 * it does not keep the database from being dropped or copied.
 *
 * A database with a logical replication slot has one again and again: it renews the
 * heartbeat of what apikey_publish has published, see table/heartbeat.h.
 *
 * So a crash loses what was counted in the last apikey.flush_interval, and a stop
 * nothing.  A standby has no launcher, until it is promoted; it keeps what it
 * counts in memory, and when it is stopped in a file.
 */
#ifndef AK_WORKER_H
#define AK_WORKER_H

#include "postgres.h"

#include "fmgr.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_worker_init(void);

extern PGDLLEXPORT void apikey_launcher_main(Datum arg);
extern PGDLLEXPORT void apikey_flush_main(Datum database);

#endif							/* AK_WORKER_H */
