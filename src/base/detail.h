/*
 * detail.h
 *		JSON that is being made: an object, field by field.
 *
 * What an event tells besides its columns, and the answer to a scanner.
 */
#ifndef AK_DETAIL_H
#define AK_DETAIL_H

#include "postgres.h"

#include "base/compat.h"
#include "base/name.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef struct AkDetail
{
	JsonbInState state;
} AkDetail;

extern void ak_detail_begin(AkDetail *detail);

/* "value" may be NULL; it must last as long as the detail. */
extern void ak_detail_add(AkDetail *detail, const char *field,
						  const char *value);
extern void ak_detail_add_name(AkDetail *detail, const char *field,
							   const AkName *value);
extern void ak_detail_add_time(AkDetail *detail, const char *field,
							   TimestampTz value);
extern void ak_detail_add_jsonb(AkDetail *detail, const char *field,
								Jsonb *value);
extern void ak_detail_add_true(AkDetail *detail, const char *field);

/* What is added between the two goes into an object within. */
extern void ak_detail_open(AkDetail *detail, const char *field);
extern void ak_detail_close(AkDetail *detail);

/* The whole; nothing is added after that.  An empty object if "detail" is NULL. */
extern Jsonb *ak_detail_end(AkDetail *detail);

#endif							/* AK_DETAIL_H */
