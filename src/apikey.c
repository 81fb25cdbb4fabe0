/*
 * apikey.c
 *		API keys as a feature of the database: the module itself.
 */
#include "postgres.h"

#include "fmgr.h"
#include "guc.h"
#include "inval.h"
#include "mask.h"
#include "notify.h"
#include "usage.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	ak_guc_init();
	ak_inval_init();
	ak_notify_init();
	ak_usage_init();
	ak_mask_init();
}
