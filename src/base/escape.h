/*
 * escape.h
 *		The '_' of a key where it is escaped.
 *
 * It is the only character of a key that formats escape:
 *
 *		\_		Markdown, LaTeX			&#95; &#x5f; &lowbar;	HTML, XML
 *		%5F		URLs					\u005f \x5f \137 \u{5f}	JSON, source code
 *		=5F		quoted-printable		%u005f \005f			JavaScript, SQL
 *
 * Upper and lower case are one.  It may be escaped several times: \\_, %255F, =3D5F,
 * &amp;#95;.  What ends in letters or digits runs together with what follows it.
 *
 * These functions raise nothing, allocate nothing and take constant time.
 */
#ifndef AK_ESCAPE_H
#define AK_ESCAPE_H

#include "postgres.h"

/*
 * Bytes of the underscore that ends right before "p" in a text that begins at "start":
 * 1 for '_' as it is, more if it is escaped, 0 if there is none.
 */
extern int	ak_escape_underscore(const char *start, const char *p);

/*
 * How many of the letters and digits from "run" to "end", before which there are none
 * in the text, are the end of an escaped underscore?
 */
extern int	ak_escape_head(const char *start, const char *run,
						   const char *end);

#endif							/* AK_ESCAPE_H */
