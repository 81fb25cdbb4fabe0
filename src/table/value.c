/*
 * value.c
 *		A value with its type; see value.h.
 */
#include "postgres.h"

#include "table/value.h"

#include "utils/array.h"
#include "utils/lsyscache.h"

AkLimitValues
ak_value_limit(const AkRateLimit *limit)
{
	AkLimitValues values = {
		ak_value_null(INT4OID), ak_value_null(INTERVALOID),
		ak_value_null(INT4OID)
	};

	if (limit->count > 0)
	{
		values.count = ak_value_int4(limit->count);
		values.interval = ak_value(INTERVALOID,
								   IntervalPGetDatum(ak_ratelimit_interval(limit)));
		values.burst = ak_value_int4(limit->burst);
	}
	return values;
}

AkValue
ak_value_array(Oid type, Datum *values, bool *nulls, int count)
{
	int			dims[1] = {count};
	int			bounds[1] = {1};
	int16		len;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &len, &by_value, &align);
	return ak_value(get_array_type(type),
					PointerGetDatum(construct_md_array(values, nulls, 1, dims,
													   bounds, type, len,
													   by_value, align)));
}

AkValue
ak_value_names(const AkName *names, int count)
{
	Datum	   *texts = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		texts[i] = ak_name_to_text(&names[i]);
	return ak_value_array(TEXTOID, texts, NULL, count);
}
