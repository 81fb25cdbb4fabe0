/*
 * apikey.c
 *		API keys as a feature of the database: the module itself.
 */
#include "postgres.h"

#include "demand.h"
#include "fmgr.h"
#include "guc.h"
#include "guess.h"
#include "inval.h"
#include "mask.h"
#include "notify.h"
#include "once.h"
#include "strict.h"
#include "usage.h"
#include "use.h"
#include "worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	ak_guc_init();
	ak_inval_init();
	ak_notify_init();
	ak_strict_init();
	ak_usage_init();
	if (ak_usage_is_on())
	{
		ak_demand_init();
		ak_once_init();
		ak_guess_init();
		ak_use_init();
		ak_worker_init();
		ak_mask_init();
	}
}
