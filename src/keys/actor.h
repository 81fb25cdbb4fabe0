/*
 * actor.h
 *		Changes of keys: by the application itself, or by a key?
 *
 * In a session without a key it is the application: the privileges of the role
 * are all that counts.  In one with a key (apikey.key is not empty, the key meant
 * for it was refused, or apikey.require_key is on) it is that key.  It must be good
 * and have organization level write, it sees no other organization, and neither gives
 * nor touches what is more than it holds itself:
 *
 *	- levels: on all that a grant covers, so '*' takes a grant on '*';
 *	- organization level;
 *	- expiry: no later than its own;
 *	- networks: each of them within one of its own;
 *	- rate limit: neither more, nor more at once;
 *	- derived keys: no more of them;
 *	- budget: if it has one, it makes no key and touches none but itself, for
 *	  another one could spend more.
 *
 * Refusals raise 42501, a bad key 28000.
 */
#ifndef AK_ACTOR_H
#define AK_ACTOR_H

#include "postgres.h"

#include "auth/keycache.h"
#include "table/event.h"

typedef struct AkActor
{
	bool		limited;		/* a key acts; the rest is about it */
	pg_uuid_t	key_id;
	const AkKey *key;			/* good until the next key is looked for */
	Datum		networks;		/* cidr[], or 0 for any */
	bool		has_budget;
	int			max_derived;
} AkActor;

/* Accepts messages first. */
extern void ak_actor_get(AkActor *actor);

/*
 * Add an event of what takes no rights of a key.  The session's key, if there is one
 * and it proves itself, is the acting one.
 */
extern void ak_actor_record(const AkEvent *event);

/* For what no key may do at all. */
extern void ak_actor_refuse_key(void);

/* May the actor make another key at all? */
extern void ak_actor_check_new(const AkActor *actor);

extern void ak_actor_check_organization(const AkActor *actor,
										const AkName *organization);
extern void ak_actor_check_grant(const AkActor *actor, const AkGrant *grant);
extern void ak_actor_check_level(const AkActor *actor, AkLevel level);
extern void ak_actor_check_expiry(const AkActor *actor, TimestampTz expires_at);
extern void ak_actor_check_networks(const AkActor *actor, Datum networks);
extern void ak_actor_check_limit(const AkActor *actor,
								 const AkRateLimit *limit);
extern void ak_actor_check_derived(const AkActor *actor, int max_derived);

/*
 * Is this key, which exists, of the organization of the actor?  If so, it must
 * not be more than the actor; of a derived key, that is the one that it comes from.
 */
extern bool ak_actor_check_key(const AkActor *actor, const pg_uuid_t *id);

#endif							/* AK_ACTOR_H */
