/*
 * store.h
 *		Rows of our tables: no SPI, no planner, no privileges, no search_path.
 *
 * What is seen is committed now, or was written by earlier commands of this transaction,
 * whatever snapshot the caller's query has.  Rows that belong together are read by one
 * snapshot, so that no mixture of two states is ever seen.
 *
 * Results are palloc'd in the current memory context.  What rests on an *uncommitted*
 * row, which this transaction wrote, must not outlive the statement.
 */
#ifndef AK_STORE_H
#define AK_STORE_H

#include "postgres.h"

#include <limits.h>

#include "base/client.h"
#include "base/grants.h"
#include "base/ratelimit.h"
#include "base/secret.h"
#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/*
 * How the text of an imported key leads to its lookup digest: by which hash, of which
 * part of it; see lookup.h.
 */
typedef struct AkRule
{
	AkScheme	hash;			/* AK_SCHEME_UNKNOWN: it leads nowhere */
	AkName		strip_prefix;	/* empty for none */
	AkName		after;			/* likewise */
} AkRule;

/* What a text must prove to be a key's. */
typedef struct AkSecret
{
	pg_uuid_t	key_id;
	AkScheme	scheme;			/* AK_SCHEME_UNKNOWN: nothing proves it */
	AkName		salt;
	AkName		verifier;
	bool		imported;		/* found by a digest of the text ... */
	AkRule		rule;			/* ... by this rule */
	TimestampTz expires_at;		/* DT_NOEND: with the key */
	bool		uncommitted;
	TransactionId xmin;			/* of its row: the version of it */
	ItemPointerData tid;		/* of its row in apikey_secret */
} AkSecret;

typedef struct AkKeyRow
{
	AkName		organization;
	AkName		prefix;
	AkSecret	secret;			/* the newest, which is in this row */
	AkLevel		organization_level;
	TimestampTz expires_at;		/* DT_NOEND: never */
	bool		disabled;
	bool		revoked;
	AkName		reason;			/* why revoked, else why disabled */
	Datum		allowed_networks;	/* cidr[], or 0 for any */
	AkRateLimit limit;
	TimestampTz since;			/* created, or imported, if that was later */
	bool		derived;
	pg_uuid_t	parent_id;		/* if derived */
} AkKeyRow;

/* Bytes of a reason */
#define AK_STORE_REASON_MAX	1000

/* What apikey_verify tells of a key, in the order of its columns. */
typedef enum AkProfile
{
	AK_PROFILE_KEY_ID = 0,
	AK_PROFILE_ORGANIZATION,
	AK_PROFILE_ORGANIZATION_LEVEL,
	AK_PROFILE_LABEL,
	AK_PROFILE_EXPIRES_AT,
	AK_PROFILE_CREATED_AT,
	AK_PROFILE_CREATED_BY,
	AK_PROFILE_METADATA
} AkProfile;

typedef struct AkEnvironmentRow
{
	AkName		project;
	AkName		environment;
	AkName		organization;
} AkEnvironmentRow;

/* A snapshot of now, to be released unless an error ends the transaction. */
extern Snapshot ak_store_snapshot(void);
extern void ak_store_release(Snapshot snapshot);

/*
 * Do what follows with such a snapshot; again if a table of ours was altered meanwhile,
 * for an older snapshot misses the rows that ALTER TABLE has rewritten.  Not to be left
 * by break or return.
 */
#define AK_STORE_READ(snapshot) \
	for (uint64 altered_ = ak_store_read(&(snapshot)); altered_ != 0; \
		 altered_ = ak_store_reread(&(snapshot), altered_))

extern uint64 ak_store_read(Snapshot *snapshot);
extern uint64 ak_store_reread(Snapshot *snapshot, uint64 before);

/* False if there is no such key.  Raises XX001 for an invalid rate limit. */
extern bool ak_store_key(Snapshot snapshot, const pg_uuid_t *id,
						 AkKeyRow *row);
extern bool ak_store_profile(Snapshot snapshot, const pg_uuid_t *id,
							 Datum *values, bool *nulls);

/* The other secret of a key, or that with this lookup digest; false if there is none. */
extern bool ak_store_secret(Snapshot snapshot, const pg_uuid_t *id,
							AkSecret *secret);
extern bool ak_store_lookup(Snapshot snapshot,
							const uint8 lookup[AK_HASH_LEN],
							AkSecret *secret);

/*
 * All rules that there are, palloc'd; returns how many.  Those of secrets that are not
 * committed, or not there any more, may be among them.
 */
extern int	ak_store_rules(AkRule **rules);

/* Has any secret this rule?  One that this transaction wrote counts if "uncommitted". */
extern bool ak_store_has_rule(const AkRule *rule, bool uncommitted);

/*
 * A rule as the column "lookup_rule" has it, palloc'd, and back.  One that is malformed
 * leads nowhere.
 */
extern Datum ak_store_rule(const AkRule *rule);
extern AkRule ak_store_read_rule(Datum value);

/* Did this transaction write the row of this key? */
extern bool ak_store_key_is_uncommitted(Snapshot snapshot, const pg_uuid_t *id);

/* All grants of a key; returns how many.  Sets *uncommitted if one of them is. */
extern int	ak_store_grants(Snapshot snapshot, const pg_uuid_t *id,
							AkGrant **grants, bool *uncommitted);

/*
 * The ids of the keys that are derived from this one directly, have not expired, and are
 * not revoked, palloc'd; returns how many.
 */
extern int	ak_store_derived(Snapshot snapshot, const pg_uuid_t *parent,
							 pg_uuid_t **ids);

/* How many may be derived from it; 0 for none. */
extern int	ak_store_max_derived(Snapshot snapshot, const pg_uuid_t *id);

/* False only if there is not a single key. */
extern bool ak_store_may_have_keys(void);

/* False only if no organization is suspended, and the database not quarantined. */
extern bool ak_store_may_have_suspensions(void);

/*
 * Is this organization, or "*", suspended?  If so, when, and why: empty if that is not
 * stored.
 */
extern bool ak_store_suspension(Snapshot snapshot, const AkName *organization,
								TimestampTz *since,
								AkName *reason);

/* Is there a limit to what this key may spend? */
extern bool ak_store_has_budget(Snapshot snapshot, const pg_uuid_t *id);

/* The row of an environment, not of '*'; false if there is none. */
extern bool ak_store_environment(Snapshot snapshot, const AkName *project,
								 const AkName *environment,
								 AkEnvironmentRow *row);

/* What was written down about the use of a key; times are 0 for never. */
typedef struct AkUseRow
{
	int64		uses;
	int64		refusals;
	TimestampTz last_used;
	AkAddress	last_from;
	TimestampTz old_secret_used;
	TimestampTz last_refused;
	TimestampTz limit_until;
} AkUseRow;

/* Zeroes if there is nothing. */
extern void ak_store_use(Snapshot snapshot, const pg_uuid_t *id,
						 AkUseRow *row);

typedef struct AkUseHourRow
{
	TimestampTz hour;
	int64		uses;
	int64		refusals;
} AkUseHourRow;

/* All hours of a key, in order; returns how many. */
extern int	ak_store_use_hours(Snapshot snapshot, const pg_uuid_t *id,
							   AkUseHourRow **rows);

#define AK_STORE_NO_LIMIT	(INT_MAX - 1)

/*
 * All environments of a project, or of all projects of an organization; the row
 * '*' is none of them.  -1 if an organization has more than "limit".
 */
extern int	ak_store_project(Snapshot snapshot, const AkName *project,
							 AkEnvironmentRow **rows);
extern int	ak_store_organization(Snapshot snapshot,
								  const AkName *organization, int limit,
								  AkEnvironmentRow **rows);

#endif							/* AK_STORE_H */
