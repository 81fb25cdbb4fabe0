/*
 * demand.h
 *		Who counts and who flushes wake each other up.
 *
 * In shared memory; there is some only where the extension is preloaded.
 */
#ifndef AK_DEMAND_H
#define AK_DEMAND_H

#include "postgres.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_demand_init(void);

/* Of who counts: something is pending that was not. */
extern void ak_demand_news(void);

/* Flush, there is no room, or will soon be none. */
extern void ak_demand_flush(void);

/* How often room has been made; to be asked before looking for some. */
extern uint32 ak_demand_room(void);

/*
 * Ask for a flush and wait until there is more room than that; false if none comes.
 * Who has waited in vain for a second spares all others that, until there is some.
 * On a standby none ever comes.
 */
extern bool ak_demand_wait(uint32 room);

/* Of who flushes: there is room. */
extern void ak_demand_made(void);

/* How often a flush was asked for. */
extern uint32 ak_demand_requests(void);

/* The news up to now have been heard; what they are about is looked at next. */
extern void ak_demand_heard(void);

/*
 * Wait until there are more requests than that, or, if "news", there are any; or the
 * latch is set, or so many ms have passed; perhaps less.
 */
extern void ak_demand_listen(long timeout, uint32 requests, bool news);

#endif							/* AK_DEMAND_H */
