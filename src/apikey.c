/*
 * apikey.c
 *		API keys as a feature of the database: the module itself.
 */
#include "postgres.h"

#include "auth/use.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/inval.h"
#include "base/mask.h"
#include "base/secret.h"
#include "fmgr.h"
#include "keys/worker.h"
#include "planner/choice.h"
#include "planner/ordered.h"
#include "planner/paths.h"
#include "planner/strict.h"
#include "planner/trim.h"
#include "planner/views.h"
#include "shmem/alarm.h"
#include "shmem/demand.h"
#include "shmem/guess.h"
#include "shmem/marks.h"
#include "shmem/counts.h"
#include "shmem/tally.h"
#include "table/event.h"
#include "table/schema.h"
#include "utils/builtins.h"

AK_MODULE_MAGIC("apikey", AK_VERSION);

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	ak_guc_init();
	ak_inval_init();
	ak_event_init();
	ak_trim_init();
	ak_strict_init();
	ak_paths_init();
	ak_ordered_init();
	ak_choice_init();
	ak_views_init();
	ak_counts_init();
	if (ak_counts_is_on())
	{
		ak_secret_init();
		ak_demand_init();
		ak_marks_init();
		ak_alarm_init();
		ak_guess_init();
		ak_tally_init();
		ak_use_init();
		ak_worker_init();
		ak_mask_init();
	}
}

/*
 * Each script begins with it, or an old library would be asked for functions that it does
 * not have.
 */
AK_FUNCTION_INFO_V1(apikey_require_library);
Datum
apikey_require_library(PG_FUNCTION_ARGS)
{
	ak_schema_require(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}
