/*
 * authz.h
 *		Authorization: what may this key do?  The only place where it is decided;
 *		lists of all that it may do are in reach.h.
 *
 * A verdict starts out as a refusal, and only the last of all checks turns it
 * into AK_REASON_GRANTED.
 */
#ifndef AK_AUTHZ_H
#define AK_AUTHZ_H

#include "postgres.h"

#include "auth/keycache.h"
#include "base/compat.h"
#include "base/level.h"
#include "base/name.h"

typedef enum AkReason
{
	AK_REASON_INVALID_KEY = 0,	/* did not prove itself */
	AK_REASON_NO_KEY,			/* there is none in the session */
	AK_REASON_TOO_LONG,			/* the text is, to be a key */
	AK_REASON_SUPERSEDED,		/* proved by a secret that was */
	AK_REASON_REVOKED,
	AK_REASON_EXPIRED,
	AK_REASON_DISABLED,
	AK_REASON_SUSPENDED,		/* its organization is */
	AK_REASON_QUARANTINED,		/* the database is */
	AK_REASON_OUTSIDE_NETWORKS,
	AK_REASON_COPYING,			/* no key is good here yet, ... */
	AK_REASON_STALE,			/* ... or any more, ... */
	AK_REASON_DEAF,				/* ... or can be trusted, see staleness.h */
	AK_REASON_OVER_LIMIT,		/* of log-ins alone, see use.h */
	AK_REASON_OVER_BUDGET,		/* of spending alone */
	AK_REASON_GOOD,				/* and nothing asked of it yet */
	AK_REASON_NOTHING_ASKED,	/* project, environment or verb is null */
	AK_REASON_UNREGISTERED,
	AK_REASON_NO_GRANT,
	AK_REASON_LOW_LEVEL,
	AK_REASON_GRANTED
} AkReason;

#define AK_REASONS			(AK_REASON_GRANTED + 1)

typedef struct AkVerdict
{
	AkReason	reason;
	AkLevel		level;			/* highest grant that matches */
	bool		inherited;		/* those that the key is derived from matter */
} AkVerdict;

/*
 * May this key be used at all, now?  AK_REASON_GOOD, or why not.  NULL is a key
 * that did not prove itself.
 */
extern AkReason ak_authz_check_key(const AkKey *key);

/* The same as a verdict. */
extern AkVerdict ak_authz_judge_key(const AkKey *key);

/* Why a text of this length is no key: one that was given, or the session's. */
extern AkReason ak_authz_why_none(bool given, Size len);

/*
 * What a request comes to.  "key" may be NULL, and so may the names; "wanted" may be
 * AK_LEVEL_NONE.
 */
extern AkVerdict ak_authz_project(const AkKey *key, const AkName *project,
								  const AkName *environment, AkLevel wanted);

/*
 * The level of a key that is good, as ak_authz_check_key() has just said;
 * AK_LEVEL_NONE for a pair that is not registered.
 */
extern AkLevel ak_authz_level(const AkKey *key, const AkName *project,
							  const AkName *environment);

/* May this key, NULL as above, do this to its organization?  Is it this one? */
extern bool ak_authz_organization(const AkKey *key,
								  const AkName *organization, AkLevel wanted);

/*
 * Raises 28000 about a key that may do nothing, or about NULL: the same to the client
 * whatever the reason, which goes to the server log, with what is stored of it.
 */
pg_noreturn extern void ak_authz_refuse(const AkKey *key);

/*
 * A palloc'd sentence about the verdict.  If "key" is not NULL, with the reason that
 * somebody gave for it, which is for operators alone: the server log, and callers that
 * ak_authz_tells() is about.
 */
extern char *ak_authz_reason(const AkVerdict *verdict, const AkKey *key);

/*
 * May the caller read this view of ours, about all organizations?  Then it is told what
 * others are not.
 */
extern bool ak_authz_tells(const char *view);

#endif							/* AK_AUTHZ_H */
