/*
 * alarm.h
 *		Who says that something is wrong in a database, and how often?
 *
 * Where the extension is preloaded one process of the server says so, at most once a
 * minute.  Else each session does for itself, and not in the first minute: a session for
 * each request would fill the log.
 */
#ifndef AK_ALARM_H
#define AK_ALARM_H

#include "postgres.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_alarm_init(void);

/* Something is wrong in this database: is this process to say so, now? */
extern bool ak_alarm_raise(void);

/* Nothing is: was said that something is, and is this process to say that it is over? */
extern bool ak_alarm_end(void);

#endif							/* AK_ALARM_H */
