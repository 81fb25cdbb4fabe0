/*
 * mask.h
 *		The server log, pg_stat_activity and pg_stat_statements without keys.
 *
 * Where the extension is preloaded, everything that redact.h takes for a key is
 * made unreadable before
 *
 * - a message goes to the server log, in whatever format: message, detail, hint,
 *	 context, internal query and statement, whoever reports it, the postmaster
 *	 too.  The client gets the same text.
 *
 * - pg_stat_activity shows a statement longer than until it has been parsed and
 *	 analyzed, or has failed.
 *
 * - a library that only shows statements gets the text of one: those of
 *	 apikey.mask_libraries.
 *
 * What is executed, prepared, or handed to any other library is the text as it came,
 * and so is debug_query_string.  A library hands on what it gets; so those after this
 * one in shared_preload_libraries get masked text if all of them only show, and those
 * before it if there are no others at all.  If one gets none for that reason, the log
 * says so as the server starts.
 *
 * apikey.mask_log = off makes all of it hand on what it gets.
 */
#ifndef AK_MASK_H
#define AK_MASK_H

/* To be called by _PG_init where the extension is preloaded, after the settings. */
extern void ak_mask_init(void);

#endif							/* AK_MASK_H */
