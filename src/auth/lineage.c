/*
 * lineage.c
 *		A key together with those that it is derived from; see lineage.h.
 */
#include "postgres.h"

#include "auth/lineage.h"

#include "auth/authz.h"
#include "base/client.h"
#include "base/guc.h"
#include "base/inval.h"

/* Set what refuses a key, and whether an ancestor is the cause. */
static void
add_state(AkKey *key, bool *state, bool is, AkReason reason, bool of_ancestor)
{
	if (!is || *state)
		return;
	*state = true;
	if (of_ancestor)
		ak_keycache_extra(key)->inherited |= 1 << reason;
}

static void
note_reason(AkKey *key, const AkName *reason)
{
	if (reason->len > 0 || key->extra != NULL)
		ak_keycache_extra(key)->note = *reason;
}

/* Add what a row says, of the key itself or of an ancestor. */
static void
add_row(AkKey *key, const AkKeyRow *row, bool of_ancestor)
{
	if (row->revoked ? !key->revoked :
		row->disabled && !key->revoked && !key->disabled)
		note_reason(key, &row->reason);
	add_state(key, &key->revoked, row->revoked, AK_REASON_REVOKED, of_ancestor);
	add_state(key, &key->disabled, row->disabled, AK_REASON_DISABLED, of_ancestor);
	if (row->allowed_networks != (Datum) 0)
	{
		key->address = ak_guc_address_serial;
		add_state(key, &key->outside_networks,
				  !ak_client_in_networks(row->allowed_networks),
				  AK_REASON_OUTSIDE_NETWORKS, of_ancestor);
	}
	if (of_ancestor && row->expires_at < key->expires_at)
		ak_keycache_extra(key)->inherited |= 1 << AK_REASON_EXPIRED;
	key->expires_at = of_ancestor ? Min(key->expires_at, row->expires_at) :
		row->expires_at;
	key->uncommitted |= row->secret.uncommitted;
	key->version = hash_combine(key->version, row->secret.xmin);
}

/* The parent of the key whose row this is; false if there is none that it may have. */
static bool
read_parent(Snapshot snapshot, const AkKeyRow *row, AkKeyRow *parent)
{
	return ak_store_key(snapshot, &row->parent_id, parent) &&
		ak_name_equal(&parent->organization, &row->organization);
}

bool
ak_lineage_read(Snapshot snapshot, AkKeyRow *own, AkKey *key)
{
	const AkKeyRow *row = own;
	AkKeyExtra *extra;

	add_row(key, row, false);
	key->organization = row->organization;
	key->organization_hash = ak_inval_hash(row->organization.data,
										   row->organization.len);
	key->organization_level = row->derived ? AK_LEVEL_NONE :
		row->organization_level;
	while (row->derived)
	{
		AkKeyRow   *parent = palloc(sizeof(AkKeyRow));

		extra = ak_keycache_extra(key);
		if (extra->nancestors == AK_ANCESTORS_MAX ||
			!read_parent(snapshot, row, parent))
			return false;
		extra->ancestors[extra->nancestors++] = row->parent_id;
		add_row(key, parent, true);
		own->since = Min(own->since, parent->since);
		row = parent;
	}
	if (row->limit.count > 0)
		ak_keycache_extra(key)->limit = row->limit;
	return true;
}

void
ak_lineage_grants(Snapshot snapshot, AkKey *key)
{
	AkGrant    *grants;
	int			count = ak_store_grants(snapshot, &key->id, &grants,
										&key->uncommitted);

	for (int i = 0; i < ak_keycache_ancestors(key); i++)
	{
		AkGrant    *given;
		int			ngiven = ak_store_grants(snapshot, &key->extra->ancestors[i],
											 &given, &key->uncommitted);

		grants = ak_grants_intersect(grants, count, given, ngiven, &count);
	}
	key->grants = ak_grants_make(grants, count);
}

bool
ak_lineage_root(Snapshot snapshot, pg_uuid_t *id, AkKeyRow *row)
{
	for (int i = 0; row->derived; i++)
	{
		AkKeyRow	parent;

		if (i == AK_ANCESTORS_MAX || !read_parent(snapshot, row, &parent))
			return false;
		*id = row->parent_id;
		*row = parent;
	}
	return true;
}
