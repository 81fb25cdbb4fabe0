/*
 * organization.h
 *		Calls of apikey_authorize_organization in a query.
 */
#ifndef AK_ORGANIZATION_H
#define AK_ORGANIZATION_H

#include "postgres.h"

/* To be called by _PG_init. */
extern void ak_organization_init(void);

#endif							/* AK_ORGANIZATION_H */
