/*
 * views.h
 *		Queries of the views of this extension.
 */
#ifndef AK_VIEWS_H
#define AK_VIEWS_H

#include "postgres.h"

/* To be called by _PG_init. */
extern void ak_views_init(void);

#endif							/* AK_VIEWS_H */
