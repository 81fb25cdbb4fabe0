/*
 * run.h
 *		Long runs of letters and digits in a text of any size.
 *
 * A run is maximal: before it and behind it stands something else.  Runs are
 * found in order, in linear time, with a look at a few characters of each "len":
 *
 *		ak_run_begin(&runs, text, text_len, AK_RUN_ALNUM, true);
 *		while ((run = ak_run_next(&runs, len)) != NULL)
 *			end = ak_run_leave(&runs);
 *
 * Nothing is allocated.  The text is in the encoding of the database, where each
 * byte of an ASCII character is that character.
 */
#ifndef AK_RUN_H
#define AK_RUN_H

#include "postgres.h"

/* What a run is of: letters and digits, or these, '-' and '_'. */
#define AK_RUN_ALNUM		1
#define AK_RUN_BASE64URL	2

/* A place in a text; private to run.c. */
typedef struct AkRuns
{
	const char *at;
	const char *known;
	const char *end;
	const char *poll;
	uint8		class;
} AkRuns;

extern const uint8 ak_run_classes[256];

/* Is the character of this class? */
static inline bool
ak_run_has(char c, uint8 class)
{
	return (ak_run_classes[(unsigned char) c] & class) != 0;
}

/* "interruptible": look for interrupts now and then, which may raise. */
extern void ak_run_begin(AkRuns *runs, const char *text, Size len, uint8 class,
						 bool interruptible);

/*
 * The next run of at least "len" characters; NULL if there is none.  It has to
 * be left before the next is asked for, by one of the last two.
 */
extern const char *ak_run_next(AkRuns *runs, Size len);

/* Look for interrupts; private to this file and run.c. */
extern void ak_run_poll(AkRuns *runs, const char *p);

/* Is the run, in which "p" has been reached, not at its end there? */
static inline bool
ak_run_goes_on(AkRuns *runs, const char *p)
{
	if (p >= runs->end || !ak_run_has(*p, runs->class))
		return false;
	if (unlikely(p >= runs->poll))
		ak_run_poll(runs, p);
	return true;
}

/* Go to the end of the run, and return it. */
extern const char *ak_run_leave(AkRuns *runs);

/* Go on from "p", within the run or at its end, as if it began there. */
extern void ak_run_resume(AkRuns *runs, const char *p);

#endif							/* AK_RUN_H */
