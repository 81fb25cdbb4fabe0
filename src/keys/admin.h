/*
 * admin.h
 *		A change of a key that exists.
 *
 * It begins with a lock on the key's row, until the end of the transaction.  So two
 * changes of one key come one after the other, and a revocation is never overtaken by
 * a grant.
 */
#ifndef AK_ADMIN_H
#define AK_ADMIN_H

#include "postgres.h"

#include "base/detail.h"
#include "fmgr.h"
#include "keys/actor.h"
#include "table/value.h"

typedef struct AkChange
{
	AkActor		actor;
	pg_uuid_t	id;
	/* as the row was when it was locked, palloc'd: */
	AkName		organization;
	const char *prefix;
	bool		revoked;
	bool		derived;
	bool		has_secret;		/* in the row itself: not as it was imported */
	TimestampTz expires_at;		/* DT_NOEND: never */
} AkChange;

/*
 * Lock the key in argument 0, which the actor may change.  Raises 22004, 42704, and what
 * actor.h tells; the second one also 55000 for a revoked key, the third one for a
 * derived one, too, to which nothing can be given.
 */
extern void ak_admin_begin(FunctionCallInfo fcinfo, AkChange *change);
extern void ak_admin_begin_good(FunctionCallInfo fcinfo, AkChange *change);
extern void ak_admin_begin_giving(FunctionCallInfo fcinfo, AkChange *change);

/* Add an event; "detail" may be NULL. */
extern void ak_admin_record(const AkChange *change, const char *action,
							AkDetail *detail);

/* Lock the key with this id, whatever the actor; false if there is none. */
extern bool ak_admin_lock(AkChange *change);

/*
 * Revoke it, for this reason, or without one if that is NULL or a null; false if all
 * of that was so before.
 */
extern bool ak_admin_revoke(const AkChange *change, const AkValue *reason);

#endif							/* AK_ADMIN_H */
