/*
 * demand.h
 *		Backends that count and processes that flush wake each other.
 */
#ifndef AK_DEMAND_H
#define AK_DEMAND_H

#include "postgres.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_demand_init(void);

/* ------------------------------------------------------ for those who count */

/* Something is pending where nothing was. */
extern void ak_demand_pending(void);

/* Flush: there is no room, or soon will be none. */
extern void ak_demand_request(void);

/* How often room was made; to be asked before looking for some. */
extern uint32 ak_demand_room(void);

/*
 * Request a flush and wait until room was made more often than that.  False after a
 * second, at once if others have waited in vain since the last was made, and on a
 * standby.
 */
extern bool ak_demand_wait_for_room(uint32 room);

/* ------------------------------------------------------ for those who flush */

/* There is room. */
extern void ak_demand_made_room(void);

/* How often a flush was requested. */
extern uint32 ak_demand_requests(void);

/* All that is pending is going to be looked at. */
extern void ak_demand_reset(void);

/*
 * Wait until there are more requests than that; or, if "pending", something is pending
 * since the reset; or the latch is set; or "timeout" ms have passed.  May return early.
 */
extern void ak_demand_rest(long timeout, uint32 requests, bool pending);

#endif							/* AK_DEMAND_H */
