/*
 * result.c
 *		Results of the SQL-callable functions; see result.h.
 */
#include "postgres.h"

#include "base/result.h"

#include "access/htup_details.h"
#include "funcapi.h"

/* That which the caller has worked out, if it has. */
static TupleDesc
result_descriptor(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	desc;

	if (result != NULL && IsA(result, ReturnSetInfo) &&
		result->expectedDesc != NULL && result->expectedDesc->tdtypmod >= 0)
		return result->expectedDesc;
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

Datum
ak_result_record(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(result_descriptor(fcinfo), values,
											 nulls));
}

Datum
ak_result_row(FunctionCallInfo fcinfo, AkFillRow fill)
{
	FuncCallContext *funcctx;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		Datum		values[MaxTupleAttributeNumber] = {0};
		bool		nulls[MaxTupleAttributeNumber] = {0};

		funcctx = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		if (fill(fcinfo, values, nulls))
			funcctx->user_fctx =
				DatumGetPointer(ak_result_record(fcinfo, values, nulls));
		MemoryContextSwitchTo(before);
	}
	funcctx = SRF_PERCALL_SETUP();
	if (funcctx->user_fctx != NULL && funcctx->call_cntr == 0)
		SRF_RETURN_NEXT(funcctx, PointerGetDatum(funcctx->user_fctx));
	SRF_RETURN_DONE(funcctx);
}
