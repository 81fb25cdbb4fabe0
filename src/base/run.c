/*
 * run.c
 *		Long runs of letters and digits in a text of any size; see run.h.
 *
 * To find a run of at least N characters, look at the character N - 1 places
 * ahead, and from there to the left.  The first one that is of another class ends
 * the search of this window: no run that begins further left is long enough.
 * The next window begins right behind it, and what was seen to its right is not
 * looked at again.  So no byte is tested twice while looking for runs and their
 * ends.
 */
#include "postgres.h"

#include "base/run.h"

#include "miscadmin.h"

/* Look for interrupts each time that so many bytes are done. */
#define POLL_BYTES			(1024 * 1024)

#define BOTH				(AK_RUN_ALNUM | AK_RUN_BASE64URL)

const uint8 ak_run_classes[256] = {
	['-'] = AK_RUN_BASE64URL,['_'] = AK_RUN_BASE64URL,
	['0'] = BOTH,['1'] = BOTH,['2'] = BOTH,['3'] = BOTH,['4'] = BOTH,
	['5'] = BOTH,['6'] = BOTH,['7'] = BOTH,['8'] = BOTH,['9'] = BOTH,
	['A'] = BOTH,['B'] = BOTH,['C'] = BOTH,['D'] = BOTH,['E'] = BOTH,
	['F'] = BOTH,['G'] = BOTH,['H'] = BOTH,['I'] = BOTH,['J'] = BOTH,
	['K'] = BOTH,['L'] = BOTH,['M'] = BOTH,['N'] = BOTH,['O'] = BOTH,
	['P'] = BOTH,['Q'] = BOTH,['R'] = BOTH,['S'] = BOTH,['T'] = BOTH,
	['U'] = BOTH,['V'] = BOTH,['W'] = BOTH,['X'] = BOTH,['Y'] = BOTH,
	['Z'] = BOTH,
	['a'] = BOTH,['b'] = BOTH,['c'] = BOTH,['d'] = BOTH,['e'] = BOTH,
	['f'] = BOTH,['g'] = BOTH,['h'] = BOTH,['i'] = BOTH,['j'] = BOTH,
	['k'] = BOTH,['l'] = BOTH,['m'] = BOTH,['n'] = BOTH,['o'] = BOTH,
	['p'] = BOTH,['q'] = BOTH,['r'] = BOTH,['s'] = BOTH,['t'] = BOTH,
	['u'] = BOTH,['v'] = BOTH,['w'] = BOTH,['x'] = BOTH,['y'] = BOTH,
	['z'] = BOTH
};

void
ak_run_poll(AkRuns *runs, const char *p)
{
	runs->poll = p + POLL_BYTES;
	CHECK_FOR_INTERRUPTS();
}

void
ak_run_begin(AkRuns *runs, const char *text, Size len, uint8 class,
			 bool interruptible)
{
	runs->at = runs->known = text;
	runs->end = text +len;

	/* what lies behind the end is never reached */
	runs->poll = interruptible ? text +POLL_BYTES : runs->end + 1;

	runs->class = class;
}

/*
 * The characters from runs->at up to runs->known are of the class; the one before
 * runs->at is not, or done with.
 */
const char *
ak_run_next(AkRuns *runs, Size len)
{
	while (runs->end - runs->at >= (ptrdiff_t) len)
	{
		const char *window = runs->at + len;
		const char *p = window;

		while (p > runs->known && ak_run_has(p[-1], runs->class))
			p--;
		if (p == runs->known)
		{
			runs->known = window;
			return runs->at;
		}
		runs->at = p;
		runs->known = window;
		if (unlikely(p >= runs->poll))
			ak_run_poll(runs, p);
	}
	return NULL;
}

const char *
ak_run_leave(AkRuns *runs)
{
	const char *p = runs->known;

	while (ak_run_goes_on(runs, p))
		p++;
	ak_run_resume(runs, p);
	return p;
}

void
ak_run_resume(AkRuns *runs, const char *p)
{
	runs->at = runs->known = p;
}
