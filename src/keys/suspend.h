/*
 * suspend.h
 *		What those share that change rows of apikey_suspension.
 */
#ifndef AK_SUSPEND_H
#define AK_SUSPEND_H

#include "base/name.h"

/*
 * Lock an organization, which may have no row, until the end of the transaction.  So
 * what comes next sees all that was done to its suspension before, in whatever isolation
 * level: two that change it wait for each other, and neither fails.  Raises 25006 where
 * nothing can be written.
 */
extern void ak_suspend_lock(const AkName *organization);

#endif							/* AK_SUSPEND_H */
