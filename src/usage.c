/*
 * usage.c
 *		What all backends of the server know of keys; see usage.h.
 */
#include "postgres.h"

#include "usage.h"

#include "miscadmin.h"

static bool on;

bool
ak_usage_is_on(void)
{
	return on;
}

void
ak_usage_require(const char *what)
{
	if (!on)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s need the extension to be preloaded", what),
				 errhint("Add apikey to shared_preload_libraries and restart the server.")));
}

void
ak_usage_init(void)
{
	on = process_shared_preload_libraries_in_progress;
}
