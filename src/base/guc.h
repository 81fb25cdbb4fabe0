/*
 * guc.h
 *		The settings.
 *
 * apikey.key is the session's key.  It proves nothing by being set, and is verified
 * like any other.  It is shown masked, and taken from the session alone: not from a
 * file, a role, a database, a function or the connection's options, where others could
 * read it.
 */
#ifndef AK_GUC_H
#define AK_GUC_H

#include "postgres.h"

#include "base/redact.h"

extern char *ak_guc_prefix;		/* apikey.prefix, never empty */
extern char *ak_guc_pepper_file;	/* apikey.pepper_file, "" for none */
extern char *ak_guc_hmac_key_file;	/* apikey.hmac_key_file, likewise */
extern int	ak_guc_cache_size;	/* apikey.cache_size, in kB */
extern char *ak_guc_client_address; /* apikey.client_address, "" for none */
extern char *ak_guc_application_user;	/* apikey.application_user, likewise */
extern bool ak_guc_notify;		/* apikey.notify */
extern int	ak_guc_usage_size;	/* apikey.usage_size, in kB */
extern int	ak_guc_flush_interval;	/* apikey.flush_interval, in s */
extern int	ak_guc_usage_days;	/* apikey.usage_days */
extern int	ak_guc_derived_retention;	/* apikey.derived_retention, in s */
extern bool ak_guc_usage_address;	/* apikey.usage_address */
extern int	ak_guc_guess_limit; /* apikey.guess_limit, a minute */
extern int	ak_guc_guess_delay; /* apikey.guess_delay, in ms */
extern bool ak_guc_mask_log;	/* apikey.mask_log */
extern bool ak_guc_enable_ordered_scan; /* apikey.enable_ordered_scan */

/* apikey.mask_prefixes */
extern AkRedactPrefixes ak_guc_mask_prefixes;
extern char *ak_guc_mask_libraries; /* apikey.mask_libraries */

extern void ak_guc_init(void);

/*
 * Was a key refused that a role, a database, a file or the options of the connection
 * had for this session?  Then it was meant to have a key, and is not the application itself.
 */
extern bool ak_guc_key_refused;

/* The text of apikey.key and its length; length 0 for none. */
extern const char *ak_guc_key(int *len);

/*
 * Does the session go by a key: has it one, good or bad, was the one meant for it refused,
 * or must it have one, by apikey.require_key?  If not it is the application itself.  A
 * parallel worker does not know of a key that was refused.
 */
extern bool ak_guc_goes_by_key(void);

/* Counts up whenever apikey.key or apikey.client_address is set, from 1. */
extern uint64 ak_guc_key_serial;

/* The same for apikey.client_address alone. */
extern uint64 ak_guc_address_serial;

/* Set apikey.key until the end of the transaction, or clear it by "". */
extern void ak_guc_set_key(const char *key);

#endif							/* AK_GUC_H */
