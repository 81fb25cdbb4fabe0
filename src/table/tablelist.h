/*
 * tablelist.h
 *		Our tables, with the columns and indexes that this library reads.
 *
 * Included where one of these macros is defined:
 *
 * AK_TABLE(symbol, name), its columns, and AK_TABLE_END(name)
 * AK_COLUMN(table, name, type, nullable): what has no fixed OID, apikey_level, is of
 *		type AK_LEVEL_TYPE
 * AK_INDEX(symbol, table, name, columns...): the columns that it begins with
 *
 * What is published comes first: see AK_PUBLISHED, and follow.h.
 *
 * So there are AK_TABLE_KEY, Anum_apikey_key_label, Natts_apikey_key, AK_INDEX_KEY_PKEY
 * and so on, see schema.h and layout.h.
 */

/* There is no guard: each place that includes it makes something else of it. */
#ifndef AK_TABLE
#define AK_TABLE(symbol, name)
#endif
#ifndef AK_COLUMN
#define AK_COLUMN(table, name, type, nullable)
#endif
#ifndef AK_TABLE_END
#define AK_TABLE_END(name)
#endif
#ifndef AK_INDEX
#define AK_INDEX(symbol, table, name, ...)
#endif

AK_TABLE(PROJECT, apikey_project)
AK_COLUMN(apikey_project, project, TEXTOID, false)
AK_COLUMN(apikey_project, organization, TEXTOID, false)
AK_TABLE_END(apikey_project)

AK_TABLE(ENVIRONMENT, apikey_environment)
AK_COLUMN(apikey_environment, project, TEXTOID, false)
AK_COLUMN(apikey_environment, environment, TEXTOID, false)
AK_COLUMN(apikey_environment, organization, TEXTOID, false)
AK_TABLE_END(apikey_environment)

AK_TABLE(SUSPENSION, apikey_suspension)
AK_COLUMN(apikey_suspension, organization, TEXTOID, false)
AK_COLUMN(apikey_suspension, suspended_at, TIMESTAMPTZOID, false)
AK_COLUMN(apikey_suspension, reason, TEXTOID, true)
AK_TABLE_END(apikey_suspension)

AK_TABLE(KEY, apikey_key)
AK_COLUMN(apikey_key, key_id, UUIDOID, false)
AK_COLUMN(apikey_key, disabled_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_key, revoked_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_key, expires_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_key, organization_level, AK_LEVEL_TYPE, true)
AK_COLUMN(apikey_key, organization, TEXTOID, false)
AK_COLUMN(apikey_key, prefix, TEXTOID, false)
AK_COLUMN(apikey_key, scheme, TEXTOID, true)
AK_COLUMN(apikey_key, salt, BYTEAOID, true)
AK_COLUMN(apikey_key, verifier, BYTEAOID, true)
AK_COLUMN(apikey_key, allowed_networks, CIDRARRAYOID, true)
AK_COLUMN(apikey_key, label, TEXTOID, false)
AK_COLUMN(apikey_key, created_at, TIMESTAMPTZOID, false)
AK_COLUMN(apikey_key, created_by, TEXTOID, true)
AK_COLUMN(apikey_key, metadata, JSONBOID, false)
AK_COLUMN(apikey_key, rate_count, INT4OID, true)
AK_COLUMN(apikey_key, rate_interval, INTERVALOID, true)
AK_COLUMN(apikey_key, rate_burst, INT4OID, true)
AK_COLUMN(apikey_key, parent_id, UUIDOID, true)
AK_COLUMN(apikey_key, disabled_reason, TEXTOID, true)
AK_COLUMN(apikey_key, revoked_reason, TEXTOID, true)
AK_COLUMN(apikey_key, imported_at, TIMESTAMPTZOID, true)
AK_TABLE_END(apikey_key)

AK_TABLE(SECRET, apikey_secret)
AK_COLUMN(apikey_secret, key_id, UUIDOID, false)
AK_COLUMN(apikey_secret, expires_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_secret, scheme, TEXTOID, false)
AK_COLUMN(apikey_secret, salt, BYTEAOID, false)
AK_COLUMN(apikey_secret, verifier, BYTEAOID, false)
AK_COLUMN(apikey_secret, lookup, BYTEAOID, true)
AK_COLUMN(apikey_secret, replaced_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_secret, lookup_rule, TEXTARRAYOID, true)
AK_COLUMN(apikey_secret, organization, TEXTOID, false)
AK_TABLE_END(apikey_secret)

AK_TABLE(GRANT, apikey_grant)
AK_COLUMN(apikey_grant, key_id, UUIDOID, false)
AK_COLUMN(apikey_grant, level, AK_LEVEL_TYPE, false)
AK_COLUMN(apikey_grant, project, TEXTOID, true)
AK_COLUMN(apikey_grant, environment, TEXTOID, false)
AK_COLUMN(apikey_grant, organization, TEXTOID, false)
AK_TABLE_END(apikey_grant)

AK_TABLE(BUDGET, apikey_budget)
AK_COLUMN(apikey_budget, key_id, UUIDOID, false)
AK_COLUMN(apikey_budget, budget, INT8OID, false)
AK_COLUMN(apikey_budget, remaining, INT8OID, false)
AK_COLUMN(apikey_budget, refill, INTERVALOID, true)
AK_COLUMN(apikey_budget, started_at, TIMESTAMPTZOID, false)
AK_COLUMN(apikey_budget, refills_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_budget, organization, TEXTOID, false)
AK_TABLE_END(apikey_budget)

AK_TABLE(DERIVATION, apikey_derivation)
AK_COLUMN(apikey_derivation, key_id, UUIDOID, false)
AK_COLUMN(apikey_derivation, max_derived, INT4OID, false)
AK_COLUMN(apikey_derivation, counted, INT4OID, false)
AK_TABLE_END(apikey_derivation)

AK_TABLE(HEARTBEAT, apikey_heartbeat)
AK_COLUMN(apikey_heartbeat, at, TIMESTAMPTZOID, false)
AK_COLUMN(apikey_heartbeat, every, INTERVALOID, true)
AK_COLUMN(apikey_heartbeat, version, TEXTOID, false)
AK_COLUMN(apikey_heartbeat, pepper, BYTEAOID, true)
AK_COLUMN(apikey_heartbeat, hmac_key, BYTEAOID, true)
AK_TABLE_END(apikey_heartbeat)

AK_TABLE(SUBSCRIPTION, apikey_subscription)
AK_COLUMN(apikey_subscription, name, TEXTOID, false)
AK_COLUMN(apikey_subscription, publication, TEXTOID, false)
AK_COLUMN(apikey_subscription, max_staleness, INTERVALOID, true)
AK_COLUMN(apikey_subscription, subscription, OIDOID, false)
AK_COLUMN(apikey_subscription, created_at, TIMESTAMPTZOID, false)
AK_TABLE_END(apikey_subscription)

AK_TABLE(EVENT, apikey_event)
AK_COLUMN(apikey_event, at, TIMESTAMPTZOID, false)
AK_COLUMN(apikey_event, event_id, UUIDOID, false)
AK_COLUMN(apikey_event, action, TEXTOID, false)
AK_COLUMN(apikey_event, key_id, UUIDOID, true)
AK_COLUMN(apikey_event, organization, TEXTOID, true)
AK_COLUMN(apikey_event, role, TEXTOID, false)
AK_COLUMN(apikey_event, application_user, TEXTOID, true)
AK_COLUMN(apikey_event, acting_key, UUIDOID, true)
AK_COLUMN(apikey_event, address, INETOID, true)
AK_COLUMN(apikey_event, detail, JSONBOID, false)
AK_TABLE_END(apikey_event)

AK_TABLE(USE, apikey_use)
AK_COLUMN(apikey_use, key_id, UUIDOID, false)
AK_COLUMN(apikey_use, uses, INT8OID, false)
AK_COLUMN(apikey_use, refusals, INT8OID, false)
AK_COLUMN(apikey_use, last_used_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_use, last_used_from, INETOID, true)
AK_COLUMN(apikey_use, old_secret_used_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_use, last_refused_at, TIMESTAMPTZOID, true)
AK_COLUMN(apikey_use, limit_until, TIMESTAMPTZOID, true)
AK_TABLE_END(apikey_use)

AK_TABLE(USE_HOUR, apikey_use_hour)
AK_COLUMN(apikey_use_hour, key_id, UUIDOID, false)
AK_COLUMN(apikey_use_hour, hour, TIMESTAMPTZOID, false)
AK_COLUMN(apikey_use_hour, uses, INT8OID, false)
AK_COLUMN(apikey_use_hour, refusals, INT8OID, false)
AK_TABLE_END(apikey_use_hour)

AK_INDEX(PROJECT_PKEY, PROJECT, apikey_project_pkey,
		 Anum_apikey_project_project)
AK_INDEX(ENVIRONMENT_PKEY, ENVIRONMENT, apikey_environment_pkey,
		 Anum_apikey_environment_project, Anum_apikey_environment_environment)
AK_INDEX(ENVIRONMENT_ORGANIZATION, ENVIRONMENT, apikey_environment_organization_idx,
		 Anum_apikey_environment_organization)
AK_INDEX(SUSPENSION_PKEY, SUSPENSION, apikey_suspension_pkey,
		 Anum_apikey_suspension_organization)
AK_INDEX(KEY_PKEY, KEY, apikey_key_pkey, Anum_apikey_key_key_id)
AK_INDEX(KEY_PARENT, KEY, apikey_key_parent_idx, Anum_apikey_key_parent_id,
		 Anum_apikey_key_expires_at)
AK_INDEX(SECRET_PKEY, SECRET, apikey_secret_pkey, Anum_apikey_secret_key_id)
AK_INDEX(SECRET_LOOKUP, SECRET, apikey_secret_lookup_key,
		 Anum_apikey_secret_lookup)
AK_INDEX(SECRET_RULE, SECRET, apikey_secret_rule_idx,
		 Anum_apikey_secret_lookup_rule)
AK_INDEX(GRANT_KEY, GRANT, apikey_grant_key, Anum_apikey_grant_key_id,
		 Anum_apikey_grant_project, Anum_apikey_grant_environment,
		 Anum_apikey_grant_level)
AK_INDEX(GRANT_PROJECT, GRANT, apikey_grant_project_idx,
		 Anum_apikey_grant_project, Anum_apikey_grant_environment,
		 Anum_apikey_grant_organization)
AK_INDEX(BUDGET_PKEY, BUDGET, apikey_budget_pkey, Anum_apikey_budget_key_id)
AK_INDEX(DERIVATION_PKEY, DERIVATION, apikey_derivation_pkey,
		 Anum_apikey_derivation_key_id)
AK_INDEX(USE_PKEY, USE, apikey_use_pkey, Anum_apikey_use_key_id)
AK_INDEX(USE_HOUR_PKEY, USE_HOUR, apikey_use_hour_pkey,
		 Anum_apikey_use_hour_key_id, Anum_apikey_use_hour_hour)

#undef AK_TABLE
#undef AK_COLUMN
#undef AK_TABLE_END
#undef AK_INDEX
