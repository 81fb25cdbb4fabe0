/*
 * inval.h
 *		When must a backend forget what it has cached, and what of it?
 *
 * All that is cached belongs to *parts*, by the hash of a key's id or of an organization's
 * name.  A change to the tables queues a relcache invalidation message that names the
 * part, or all.  It is part of the commit: it reaches every backend of the server after
 * the change became visible to new snapshots and before COMMIT returns, a standby when
 * it replays the commit, and this backend at the end of the command and at a rollback.
 *
 * A message names an OID that no relation has: below FirstNormalObjectId, which is where
 * PostgreSQL begins after initdb.  So there is nothing to create or to look up; an OID that
 * initdb did give to a relation would cost its relcache entry, no more.
 *
 * Messages about us are numbered as they come in.  A cache notes how many there were
 * before it reads; what it has read is true while no message after that names a part on
 * which it rests.  A reader whose snapshot was too old is covered: the message is still to
 * come.
 *
 * A key that this transaction wrote may be undone, and a refusal outdated, without a
 * message.  They are cached for a moment: one statement, and command, of one
 * transaction.
 */
#ifndef AK_INVAL_H
#define AK_INVAL_H

#include "postgres.h"

#include "common/hashfn.h"
#include "datatype/timestamp.h"

/* Of what there are parts: all libraries of a major version must agree on these. */
typedef enum AkTopic
{
	AK_TOPIC_KEY = 0,			/* a key and its secrets, by its id */
	AK_TOPIC_GRANTS,			/* its grants, likewise */
	AK_TOPIC_SUSPENSION,		/* whether an organization is suspended, by
								 * its name */
	AK_TOPIC_REGISTRY			/* its projects and environments, likewise */
} AkTopic;

#define AK_TOPICS		4
#define AK_TOPIC_PARTS	128

typedef uint16 AkPart;

#define AK_PART_RULES	(AK_TOPICS * AK_TOPIC_PARTS)	/* see lookup.h */
#define AK_PART_ALL		(AK_PART_RULES + 1)
#define AK_PARTS		(AK_PART_ALL + 1)

/* The hash of an id or a name, and the part of a topic that it belongs to. */
static inline uint32
ak_inval_hash(const void *bytes, int len)
{
	return hash_bytes(bytes, len);
}

static inline AkPart
ak_inval_part(AkTopic topic, uint32 hash)
{
	return topic * AK_TOPIC_PARTS + hash % AK_TOPIC_PARTS;
}

/* The number of the last message, from 1; of that which ended each part.  Read by others. */
extern uint64 ak_inval_number;
extern uint64 ak_inval_named[AK_PARTS];

/* Did a message after this number name the part, or all? */
static inline bool
ak_inval_ended(AkPart part, uint64 number)
{
	return ak_inval_named[part] > number || ak_inval_named[AK_PART_ALL] > number;
}

/* Counts up with messages about our tables themselves, see schema.h, and when all end. */
extern uint64 ak_inval_schema;

/*
 * Counts up when what this transaction did may have been undone: at its end, and at a
 * rollback to a savepoint.
 */
extern uint64 ak_inval_transaction;

/* Messages that named a part, or all, since the backend started. */
extern uint64 ak_inval_flushes;

/* Messages about whatever relation: if there were none nothing has changed meanwhile. */
extern uint64 ak_inval_messages;

extern void ak_inval_init(void);

/*
 * Listen to messages about these relations, and no others.  The array is not copied; an
 * invalid OID stands for none.  To be called again when it has changed.
 */
extern void ak_inval_watch(const Oid *relations, int count);

/* End all parts, in this backend. */
extern void ak_inval_forget(void);

/* Queue a message for the transaction's commit. */
extern void ak_inval_announce(AkPart part);

typedef struct AkMoment
{
	TimestampTz statement;
	CommandId	command;
	uint64		transaction;
} AkMoment;

/* Fill in the moment that is now; is it still the same one? */
extern void ak_inval_set_moment(AkMoment *moment);
extern bool ak_inval_is_moment(const AkMoment *moment);

#endif							/* AK_INVAL_H */
