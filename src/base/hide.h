/*
 * hide.h
 *		Errors without the statement, where a key may be in it.
 */
#ifndef AK_HIDE_H
#define AK_HIDE_H

#include "postgres.h"

#include "utils/guc.h"

/*
 * From the first to the second, this function, which may be ak_hide_statement, is called
 * for each report: for what raises errors by functions that do not know of a key.  An
 * error ends it, too.
 */
extern void ak_hide_begin(ErrorContextCallback *callback, void (*hide) (void *));
extern void ak_hide_end(const ErrorContextCallback *callback);

/* No report has the statement in it. */
extern void ak_hide_statement(void *arg);

/* Report something in the log alone, be it a warning: clients can do nothing about it. */
#define AK_HIDE_FROM_CLIENT(report) \
	do \
	{ \
		int			level_ = client_min_messages; \
\
		client_min_messages = ERROR; \
		report; \
		client_min_messages = level_; \
	} while (0)

#endif							/* AK_HIDE_H */
