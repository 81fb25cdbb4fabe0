/*
 * marks.h
 *		What was counted already in a statement, by any process of it.
 *
 * A backend knows for itself what it has counted.  The processes of a parallel query
 * share marks besides, in shared memory.
 */
#ifndef AK_MARKS_H
#define AK_MARKS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* To be called by _PG_init where the extension is preloaded. */
extern void ak_marks_init(void);

typedef enum AkMarkKind
{
	AK_MARK_USED = 0,
	AK_MARK_REFUSED,
	AK_MARK_GUESSED
} AkMarkKind;

/* A parallel query may begin: let its processes know what was counted before. */
extern void ak_marks_share(TimestampTz statement);

/*
 * Is this the first mark of this kind in the statement, for this key or, of a guess, this
 * hash?  It may be made again where there are more than 16 in a statement.
 */
extern bool ak_marks_first(AkMarkKind kind, const pg_uuid_t *id,
						   TimestampTz statement);

#endif							/* AK_MARKS_H */
