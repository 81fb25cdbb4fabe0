/*
 * layout.h
 *		Columns and indexes of our tables, as they are in this database.
 *
 * They are found by name, so that rows are read and written right whatever columns
 * users or another version of the extension have added or dropped.  What this
 * library needs and does not find, or finds to be of another type, raises 55000
 * when the table is opened, and never earlier: other tables go on to work.
 *
 * In C a column has a number of its own, from 1, whatever its place in the table.
 */
#ifndef AK_LAYOUT_H
#define AK_LAYOUT_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "table/schema.h"
#include "utils/relcache.h"

/* Columns of apikey_project */
#define Anum_apikey_project_project			1
#define Anum_apikey_project_organization	2
#define Natts_apikey_project				2

/* Columns of apikey_environment */
#define Anum_apikey_environment_project		1
#define Anum_apikey_environment_environment 2
#define Anum_apikey_environment_organization 3
#define Natts_apikey_environment			3

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
#define Anum_apikey_key_rate_count			16
#define Anum_apikey_key_rate_interval		17
#define Anum_apikey_key_rate_burst			18
#define Natts_apikey_key					18

/* Columns of apikey_secret */
#define Anum_apikey_secret_key_id			1
#define Anum_apikey_secret_expires_at		2
#define Anum_apikey_secret_scheme			3
#define Anum_apikey_secret_salt				4
#define Anum_apikey_secret_verifier			5
#define Anum_apikey_secret_lookup			6
#define Natts_apikey_secret					6

/* Columns of apikey_grant */
#define Anum_apikey_grant_key_id			1
#define Anum_apikey_grant_level				2
#define Anum_apikey_grant_project			3
#define Anum_apikey_grant_environment		4
#define Anum_apikey_grant_organization		5
#define Natts_apikey_grant					5

/* Columns of apikey_budget */
#define Anum_apikey_budget_key_id			1
#define Anum_apikey_budget_budget			2
#define Anum_apikey_budget_remaining		3
#define Anum_apikey_budget_refill			4
#define Anum_apikey_budget_started_at		5
#define Anum_apikey_budget_refills_at		6
#define Natts_apikey_budget					6

/* Columns of apikey_event */
#define Anum_apikey_event_at				1
#define Anum_apikey_event_event_id			2
#define Anum_apikey_event_action			3
#define Anum_apikey_event_key_id			4
#define Anum_apikey_event_organization		5
#define Anum_apikey_event_role				6
#define Anum_apikey_event_application_user	7
#define Anum_apikey_event_acting_key		8
#define Anum_apikey_event_address			9
#define Anum_apikey_event_detail			10
#define Natts_apikey_event					10

/* Columns of apikey_use */
#define Anum_apikey_use_key_id				1
#define Anum_apikey_use_uses				2
#define Anum_apikey_use_refusals			3
#define Anum_apikey_use_last_used_at		4
#define Anum_apikey_use_last_refused_at		5
#define Anum_apikey_use_limit_until			6
#define Natts_apikey_use					6

/* Columns of apikey_use_hour */
#define Anum_apikey_use_hour_key_id			1
#define Anum_apikey_use_hour_hour			2
#define Anum_apikey_use_hour_uses			3
#define Anum_apikey_use_hour_refusals		4
#define Natts_apikey_use_hour				4

typedef enum AkIndex
{
	AK_INDEX_PROJECT_PKEY = 0,
	AK_INDEX_ENVIRONMENT_PKEY,
	AK_INDEX_ENVIRONMENT_ORGANIZATION,
	AK_INDEX_KEY_PKEY,
	AK_INDEX_SECRET_PKEY,
	AK_INDEX_SECRET_LOOKUP,
	AK_INDEX_GRANT_KEY,
	AK_INDEX_GRANT_PROJECT,
	AK_INDEX_BUDGET_PKEY,
	AK_INDEX_USE_PKEY,
	AK_INDEX_USE_HOUR_PKEY
} AkIndex;

#define AK_INDEXES	(AK_INDEX_USE_HOUR_PKEY + 1)

/* Columns of the index apikey_grant_key: it has none but these, in this order. */
#define Anum_apikey_grant_key_key_id		1
#define Anum_apikey_grant_key_project		2
#define Anum_apikey_grant_key_environment	3
#define Anum_apikey_grant_key_level			4
#define Natts_apikey_grant_key				4

/*
 * Open a table, under a lock of this mode, to be closed by table_close().  The
 * rest is for one that is open.
 */
extern Relation ak_layout_open(AkTable table, LOCKMODE mode);

/* Where its columns are: of column 1 at [0], and so on. */
extern const AttrNumber *ak_layout_columns(AkTable table);

/* How many columns in C it has. */
extern int	ak_layout_count(AkTable table);

/*
 * The columns in C of a row, into arrays of so many.  Values point into the row.
 * Raises XX001 for a null in a column that has none.
 */
extern void ak_layout_read(AkTable table, Relation rel, HeapTuple tuple,
						   Datum *values, bool *nulls);

/*
 * Is this a column in C of the table, and has no salt, hash or digest in it, so that
 * its values may be shown?
 */
extern bool ak_layout_shows(Relation rel, const char *column);

/* An index of it. */
extern Oid	ak_layout_index(AkIndex index);

#endif							/* AK_LAYOUT_H */
