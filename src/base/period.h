/*
 * period.h
 *		Periods that follow each other without a gap.
 *
 * The one of number n, from 0, begins n lengths after the first, by the calendar
 * of UTC.  Months have no day that they lack: what began on the 31st comes round
 * on the last day of a shorter month, and on the 31st again after that.
 */
#ifndef AK_PERIOD_H
#define AK_PERIOD_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct AkPeriod
{
	TimestampTz begins;
	TimestampTz ends;			/* the next one begins */
} AkPeriod;

/*
 * Raises 22023 unless it is from a second to ten years, and neither its months
 * nor its days and time are negative.  "what" is what it is called.
 */
extern void ak_period_check(const Interval *length, const char *what);

/*
 * The period that a time is in, of a length that was checked; the first, if it
 * has not begun.  Raises 22008 for times that are not finite or too far off.
 */
extern AkPeriod ak_period_find(TimestampTz first, const Interval *length,
							   TimestampTz at);

#endif							/* AK_PERIOD_H */
