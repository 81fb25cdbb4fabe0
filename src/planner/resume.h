/*
 * resume.h
 *		Where a scan of an index goes on, not to read again what is before.
 */
#ifndef AK_RESUME_H
#define AK_RESUME_H

#include "postgres.h"

#include "access/skey.h"
#include "planner/reader.h"

/*
 * At these values of some columns.  What is at or after them is found by several scans, one
 * after the other: for a = 1, b = 2 first a = 1 AND b >= 2, then a > 1 and, where nulls are
 * last, a IS NULL.
 */
typedef struct AkResume
{
	const AkReader *reader;
	int			first;			/* column of the index, from 0 */
	int			columns;		/* that have a value */
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	int			column;			/* of the next scan, that before are fixed */
	bool		crossing;		/* is it from values to nulls, or back? */
} AkResume;

/* Begin with the first scan, for so many columns; all above must be set. */
extern void ak_resume_begin(AkResume *resume, int columns);

/*
 * The conditions of the next scan, by column, as many as the index has from "first" on, some
 * the same; false if there is none.  The first time there is one.
 */
extern bool ak_resume_next(AkResume *resume, ScanKey keys);

#endif							/* AK_RESUME_H */
