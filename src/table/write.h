/*
 * write.h
 *		Changing our tables, through statement.h or insert.h, so that every
 *		foreign key and trigger does its work.
 *
 * ak_schema_accept() must have been called; for more see statement.h.
 *
 * Bad values are to be refused before: the message of a violated constraint
 * would show the whole row, verifier included.
 */
#ifndef AK_WRITE_H
#define AK_WRITE_H

#include "postgres.h"

#include "base/grants.h"
#include "shmem/counts.h"
#include "table/event.h"
#include "table/store.h"

typedef struct AkNewKey
{
	pg_uuid_t	id;
	AkName		organization;
	Datum		label;			/* text */
	const char *prefix;
	AkSecret	secret;			/* unless imported: then there is none yet */
	AkLevel		organization_level;
	/* null if the pointer is */
	NullableDatum expires_at;	/* timestamptz */
	NullableDatum created_by;	/* text */
	NullableDatum allowed_networks; /* cidr[] */
	NullableDatum metadata;		/* jsonb; null: {} */
	AkRateLimit limit;
} AkNewKey;

/* A new key with its grants, and the event that tells of it. */
extern void ak_write_key(const AkNewKey *key, const AkGrant *grants,
						 int count, const AkEvent *event);

/* The imported secret of a new key; false if another one has the digest. */
extern bool ak_write_imported(const pg_uuid_t *id, const AkSecret *secret,
							  const uint8 lookup[AK_HASH_LEN]);

/* A key whose row is locked against other changes; palloc'd. */
typedef struct AkLockedKey
{
	AkName		organization;
	char	   *prefix;
	bool		revoked;
	bool		has_secret;		/* one of ours */
} AkLockedKey;

/* False if there is none. */
extern bool ak_write_lock_key(const pg_uuid_t *id, AkLockedKey *key);

/* Changes of a locked key; false if there was nothing to change. */
extern bool ak_write_disable(const pg_uuid_t *id);
extern bool ak_write_enable(const pg_uuid_t *id);
extern bool ak_write_revoke(const pg_uuid_t *id);
extern bool ak_write_delete(const pg_uuid_t *id);
extern bool ak_write_organization_level(const pg_uuid_t *id, AkLevel level);

/*
 * The budget of a locked key, all of it there from now on; "refill" is an
 * interval, or null for never.
 */
extern void ak_write_budget(const pg_uuid_t *id, int64 budget,
							NullableDatum refill);

/* Take it away; false if there is none. */
extern bool ak_write_no_budget(const pg_uuid_t *id);

/* What there was to spend when that was not enough. */
typedef struct AkBudget
{
	int64		budget;			/* after a refill */
	int64		remaining;
	TimestampTz refills_at;		/* DT_NOEND: never */
} AkBudget;

typedef enum AkSpending
{
	AK_SPENDING_REFUSED = 0,
	AK_SPENDING_DONE,
	AK_SPENDING_UNLIMITED		/* the key has no budget */
} AkSpending;

/*
 * Take an amount from the budget of a key, which need not be locked: who spends
 * waits for whoever else does.  Done, "remaining" is what is left; else it fills
 * in all of "budget", unless unlimited.
 */
extern AkSpending ak_write_spend(const pg_uuid_t *id, int64 amount,
								 AkBudget *budget);

/* What stays as it is has "change" false. */
typedef struct AkKeyChange
{
	bool		change;
	NullableDatum value;
} AkKeyChange;

typedef struct AkKeyChanges
{
	AkKeyChange label;			/* text */
	AkKeyChange expires_at;		/* timestamptz */
	AkKeyChange created_by;		/* text */
	AkKeyChange allowed_networks;	/* cidr[] */
	AkKeyChange metadata;		/* jsonb */
	bool		change_limit;
	AkRateLimit limit;
} AkKeyChanges;

/* Likewise false if all of it was so before. */
extern bool ak_write_changes(const pg_uuid_t *id,
							 const AkKeyChanges *changes);

/*
 * A new secret, "secret", of a locked key that has one of ours or not.  What it
 * had stays good until "ends", and no longer than it was; no other one does.
 */
extern void ak_write_rotate(const pg_uuid_t *id, bool has_secret,
							const AkSecret *secret, TimestampTz ends);

/* Back to the secret before, if that is still good; else false. */
extern bool ak_write_unrotate(const pg_uuid_t *id);

/* One grant, new or changed; false if it was there. */
extern bool ak_write_grant(const pg_uuid_t *id, const AkName *organization,
						   const AkGrant *grant);

/* False if there is no such grant. */
extern bool ak_write_ungrant(const pg_uuid_t *id, const AkName *project,
							 const AkName *environment);

/*
 * Make sure of these projects, each of one organization, with these
 * environments and '*'.  Returns the number of one that another organization
 * has, or -1, and what was not there.  No project may be there twice.
 */
extern int	ak_write_projects(const AkName *organizations,
							  const AkName *projects, int count,
							  const AkName *environments, int nenvironments,
							  AkEnvironmentRow **added, int *nadded);

/*
 * Lock those that exist, to remove them; returns how many, with their
 * organizations, sorted.  Those of now, whatever the isolation level.
 */
extern int	ak_write_lock_projects(const AkName *projects, int count,
								   AkEnvironmentRow **locked);

/* With their environments and grants; likewise. */
extern void ak_write_remove_projects(const AkName *projects, int count);

/*
 * Give a locked project another name, its environments and grants along; raises
 * 23505, of the primary key, if another one has it.
 */
extern void ak_write_rename_project(const AkName *project,
									const AkName *new_name);

/* False if there is none. */
extern bool ak_write_remove_environment(const AkName *project,
										const AkName *environment);

/* Remove the events before this time; returns how many. */
extern uint64 ak_write_purge(TimestampTz before);

/* Is that being done, and is this the time of such an event? */
extern bool ak_write_is_purged(TimestampTz at);

/* Write down what is pending of keys, see counts.h; for days, 0 for none, by hour. */
extern void ak_write_use(const AkCounts *usages, int count, int days);

/*
 * Remove hours of days before that, and what belongs to no key and is a day old: a
 * key that is not there may not be committed yet.
 */
extern void ak_write_purge_use(int days);

/*
 * What is just being run: one of these, or the making of a key with its grants?
 * For triggers.
 */
extern bool ak_write_is_ours(void);
extern bool ak_write_is_new_key(void);

#endif							/* AK_WRITE_H */
