/*
 * store.h
 *		Reading our tables: no SPI, no planner, no privileges, no search_path.
 *
 * All scans go by index.  They see what is committed now, and what earlier
 * commands of the own transaction did, whatever snapshot the caller's query
 * has.  Scans that belong together share one snapshot, so that no mixture of
 * two states is ever seen.
 *
 * Results are palloc'd in the current memory context.  "own" tells that a row
 * was made by the own, unfinished transaction: what rests on it must not
 * outlive the statement.
 */
#ifndef AK_STORE_H
#define AK_STORE_H

#include "postgres.h"

#include <limits.h>

#include "datatype/timestamp.h"
#include "scope.h"
#include "secret.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/* Columns of apikey_key */
#define Anum_apikey_key_key_id				1
#define Anum_apikey_key_disabled_at			2
#define Anum_apikey_key_revoked_at			3
#define Anum_apikey_key_expires_at			4
#define Anum_apikey_key_organization_level	5
#define Anum_apikey_key_organization		6
#define Anum_apikey_key_prefix				7
#define Anum_apikey_key_scheme				8
#define Anum_apikey_key_salt				9
#define Anum_apikey_key_verifier			10
#define Anum_apikey_key_allowed_networks	11
#define Anum_apikey_key_label				12
#define Anum_apikey_key_created_at			13
#define Anum_apikey_key_created_by			14
#define Anum_apikey_key_metadata			15
#define Natts_apikey_key					15

/* Columns of apikey_grant */
#define Anum_apikey_grant_key_id			1
#define Anum_apikey_grant_level				2
#define Anum_apikey_grant_project			3
#define Anum_apikey_grant_environment		4
#define Natts_apikey_grant					5

/* Columns of the index apikey_grant_key */
#define Anum_apikey_grant_key_key_id		1
#define Anum_apikey_grant_key_project		2
#define Anum_apikey_grant_key_environment	3
#define Anum_apikey_grant_key_level			4
#define Natts_apikey_grant_key				4

/* Columns of apikey_environment */
#define Anum_apikey_environment_project		1
#define Anum_apikey_environment_environment 2
#define Anum_apikey_environment_organization 3
#define Natts_apikey_environment			3

/* How a verifier was made; the names stand in apikey_key.scheme. */
typedef enum AkScheme
{
	AK_SCHEME_UNKNOWN = 0,
	AK_SCHEME_HMAC,				/* "hmac-sha256", no pepper */
	AK_SCHEME_HMAC_PEPPER		/* "hmac-sha256-pepper" */
} AkScheme;

extern const char *ak_store_scheme_name(AkScheme scheme);

typedef struct AkKeyRow
{
	AkName		organization;
	AkName		prefix;
	AkScheme	scheme;
	bool		hashed;			/* are salt and verifier of the right length? */
	uint8		salt[AK_SALT_LEN];
	uint8		verifier[AK_HASH_LEN];
	AkLevel		organization_level;
	TimestampTz expires_at;		/* DT_NOEND: never */
	bool		disabled;
	bool		revoked;
	Datum		allowed_networks;	/* cidr[], or 0 for any */
	bool		own;
} AkKeyRow;

/* What apikey_verify tells of a key, in the order of its columns. */
#define AK_PROFILE_COLUMNS	8

typedef struct AkProfile
{
	Datum		values[AK_PROFILE_COLUMNS];
	bool		nulls[AK_PROFILE_COLUMNS];
} AkProfile;

typedef struct AkEnvironmentRow
{
	AkName		project;
	AkName		environment;
	AkName		organization;
} AkEnvironmentRow;

/* A snapshot of now; to be given to ak_store_release() unless an error ends
 * the transaction. */
extern Snapshot ak_store_snapshot(void);
extern void ak_store_release(Snapshot snapshot);

/* False if there is no such key. */
extern bool ak_store_key(Snapshot snapshot, const pg_uuid_t *id,
						 AkKeyRow *row);
extern bool ak_store_profile(Snapshot snapshot, const pg_uuid_t *id,
							 AkProfile *profile);

/* Was the row of this key made by the own transaction? */
extern bool ak_store_key_is_own(Snapshot snapshot, const pg_uuid_t *id);

/* All grants of a key; returns how many.  Sets *own if one is, else leaves it. */
extern int	ak_store_grants(Snapshot snapshot, const pg_uuid_t *id,
							AkGrant **grants, bool *own);

/* The row of an environment, not of '*'; false if there is none. */
extern bool ak_store_environment(Snapshot snapshot, const AkName *project,
								 const AkName *environment,
								 AkEnvironmentRow *row);

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

/* A text datum as a name; detoasted if it must be. */
extern AkName ak_store_name(Datum text);

#endif							/* AK_STORE_H */
