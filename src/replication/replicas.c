/*
 * replicas.c
 *		What the view apikey_replicas asks of C.  The query stands in the SQL script.
 */
#include "postgres.h"

#include "base/compat.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "replication/syncrep.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The names in synchronous_standby_names, but '*'. */
AK_FUNCTION_INFO_V1(apikey_synchronous_names);
Datum
apikey_synchronous_names(PG_FUNCTION_ARGS)
{
	const		SyncRepConfigData *config = SyncRepConfig;
	int			members = config == NULL ? 0 : config->nmembers;
	const char *name = config == NULL ? NULL : config->member_names;
	Datum	   *names = palloc(Max(members, 1) * sizeof(Datum));
	int			count = 0;

	for (int i = 0; i < members; i++, name += strlen(name) + 1)
		if (strcmp(name, "*") != 0 && pg_verifymbstr(name, strlen(name), true))
			names[count++] = CStringGetTextDatum(name);
	PG_RETURN_ARRAYTYPE_P(construct_array(names, count, TEXTOID, -1, false,
										  TYPALIGN_INT));
}
