/*
 * inval.h
 *		When must a backend drop what it has cached?
 *
 * A change to the tables queues a relcache invalidation message for one of two empty
 * proxy tables.  It is part of the commit: it reaches every backend of the server after
 * the change became visible to new snapshots and before COMMIT returns, a standby when
 * it replays the commit, and this backend at the end of the command and at a rollback.
 *
 * The callback only counts a generation up.  A cache notes the generation before it
 * reads, and is valid only while that is still the current one: a reader whose
 * snapshot was too old has noted a generation that the message will end.
 *
 * A key that this transaction wrote may be undone, and a refusal outdated, without a
 * message.  They are cached for a moment: one statement, and command, of one
 * transaction.
 */
#ifndef AK_INVAL_H
#define AK_INVAL_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef enum AkTopic
{
	AK_TOPIC_SCHEMA = 0,		/* which relations are ours; see schema.h */
	AK_TOPIC_KEYS,				/* keys and grants */
	AK_TOPIC_REGISTRY			/* projects and environments */
} AkTopic;

#define AK_TOPICS	3

typedef struct AkMoment
{
	TimestampTz statement;
	CommandId	command;
	uint64		transaction;
} AkMoment;

extern void ak_inval_init(void);

typedef struct AkWatch
{
	Oid			relation;
	AkTopic		topic;
} AkWatch;

/*
 * Listen to messages that name these relations, and no others.  The array is not copied,
 * and may change; an invalid OID stands for none.
 */
extern void ak_inval_watch(const AkWatch *relations, int count);

/* Count all generations up, in this backend. */
extern void ak_inval_forget(void);

/* Queue the message for the transaction's commit.  "relation" is a proxy table. */
extern void ak_inval_announce(Oid relation);

/* Current generations, from 1; for ak_inval_generation() alone. */
extern uint64 ak_inval_generations[AK_TOPICS];

static inline uint64
ak_inval_generation(AkTopic topic)
{
	return ak_inval_generations[topic];
}

/*
 * Counts up when what this transaction did may have been undone: at its end, and at a
 * rollback to a savepoint.
 */
extern uint64 ak_inval_transaction;

/* Messages that counted a generation up, since the backend started. */
extern uint64 ak_inval_flushes;

/* Messages about whatever relation: if there were none nothing has changed meanwhile. */
extern uint64 ak_inval_messages;

/* Fill in the moment that is now; is it still the same one? */
extern void ak_inval_set_moment(AkMoment *moment);
extern bool ak_inval_is_moment(const AkMoment *moment);

#endif							/* AK_INVAL_H */
