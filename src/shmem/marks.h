/*
 * marks.h
 *		Once a statement, in whatever process.
 *
 * A backend knows for itself what it has said in a statement.  The processes of a
 * parallel query share marks in shared memory besides; there is some only where the
 * extension is preloaded.
 */
#ifndef AK_MARKS_H
#define AK_MARKS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* Different things, which are kept apart. */
typedef enum AkMarkKind
{
	AK_MARK_USED = 0,
	AK_MARK_REFUSED,
	AK_MARK_GUESSED
} AkMarkKind;

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_marks_init(void);

/* A parallel query may begin: its processes shall know what was said before. */
extern void ak_marks_share(TimestampTz statement);

/*
 * Has neither this process nor another one of the same parallel query said so of
 * this key (of a guess: a hash) in this statement?  Of more than 16 keys in one some may be forgotten.
 */
extern bool ak_marks_first(AkMarkKind what, const pg_uuid_t *id,
						   TimestampTz statement);

#endif							/* AK_MARKS_H */
