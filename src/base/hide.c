/*
 * hide.c
 *		Errors without the statement; see hide.h.
 */
#include "postgres.h"

#include "base/hide.h"

void
ak_hide_statement(void *arg)
{
	errhidestmt(true);
}

void
ak_hide_begin(ErrorContextCallback *callback, void (*hide) (void *))
{
	callback->callback = hide;
	callback->arg = NULL;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

void
ak_hide_end(const ErrorContextCallback *callback)
{
	error_context_stack = callback->previous;
}
