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
 * - another module is handed the text of a statement: by the hooks for parse
 *	 analysis, planner, executor and utility statements.
 *
 * Each hook hands on to the one that was there before.  A module that is loaded
 * later stands before us, and sees the text as it was; so this one should be the
 * last of shared_preload_libraries, and says so if it is not.
 *
 * apikey.mask_log = off makes all of it hand on what it gets.
 */
#ifndef AK_MASK_H
#define AK_MASK_H

/* To be called by _PG_init where the extension is preloaded, after the settings. */
extern void ak_mask_init(void);

#endif							/* AK_MASK_H */
