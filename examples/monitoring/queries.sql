-- Tables of a dashboard, and what to ask when an alert has come: each statement stands for
-- itself. They show names of keys, customers and addresses, so they are for the auditor of
-- doc/how-to/roles.md, on its search_path, and no labels of metrics.
--
-- What use has as its source is counted by each server for itself, and where apikey is
-- preloaded; elsewhere these statements have no rows.

-- the last 24 hours
SELECT hour, sum(uses) AS uses, sum(refusals) AS refusals
FROM apikey_usage_hours
WHERE hour > now() - interval '24 hours' AND EXISTS (SELECT FROM apikey_counters)
GROUP BY hour ORDER BY hour;

-- refusals since the server started, by reason
SELECT reason, total FROM apikey_counters
WHERE counter = 'refusals' AND total > 0 ORDER BY total DESC;

-- keys that were refused most today
SELECT key_id, organization, sum(refusals) AS refusals
FROM apikey_usage_hours
WHERE hour > now() - interval '24 hours' AND EXISTS (SELECT FROM apikey_counters)
GROUP BY key_id, organization HAVING sum(refusals) > 0 ORDER BY refusals DESC LIMIT 20;

-- keys that have ended and are still sent: they must be built in somewhere
SELECT u.key_id, u.organization, u.label, k.status, u.refusals, u.last_refused_at
FROM apikey_usage u JOIN apikey_keys k USING (key_id)
WHERE k.status <> 'active' AND u.last_refused_at > now() - interval '24 hours'
    AND EXISTS (SELECT FROM apikey_counters)
ORDER BY u.last_refused_at DESC LIMIT 20;

-- customers by use today
SELECT organization, sum(uses) AS uses, sum(refusals) AS refusals
FROM apikey_usage_hours
WHERE hour > now() - interval '24 hours' AND EXISTS (SELECT FROM apikey_counters)
GROUP BY organization ORDER BY uses DESC LIMIT 20;

-- who sends bad keys
SELECT address, refusals, over_limit, last_at FROM apikey_guesses
WHERE EXISTS (SELECT FROM apikey_counters) ORDER BY refusals DESC LIMIT 20;

-- keys by status
SELECT status, count(*) FROM apikey_keys GROUP BY status ORDER BY status;

-- keys that expire soon; derived ones always do
SELECT key_id, organization, label, created_by, expires_at FROM apikey_keys
WHERE expires_at BETWEEN now() AND now() + interval '7 days' AND status = 'active'
    AND parent_id IS NULL
ORDER BY expires_at LIMIT 100;

-- rotations that go on: is the old secret still in use?
SELECT k.key_id, k.organization, k.label, k.overlap_until FROM apikey_keys k
WHERE k.overlap_until IS NOT NULL ORDER BY k.overlap_until LIMIT 100;

-- budgets that are spent
SELECT key_id, organization, budget, refills_at FROM apikey_budgets
WHERE remaining = 0 ORDER BY refills_at LIMIT 100;

-- customers that are suspended
SELECT DISTINCT organization, suspended_at, suspended_reason FROM apikey_registry
WHERE suspended_at IS NOT NULL ORDER BY suspended_at;

-- who follows, and how far behind
SELECT name, kind, state, synchronous, lag, lag_bytes, retained_bytes, slot
FROM apikey_replicas ORDER BY lag DESC NULLS FIRST;

-- of a verifier database: whom it follows
SELECT name, state, tables_ready, tables, staleness, max_staleness, refusing
FROM apikey_subscriptions;

-- protected tables that are open, or are read without an index; attached ones that are not
-- followed
SELECT relation, 'open' AS fault FROM apikey_protected WHERE NOT enabled
UNION ALL SELECT relation, 'unindexed' FROM apikey_protected WHERE NOT indexed
UNION ALL SELECT relation, 'unfollowed' FROM apikey_attached WHERE NOT enabled;

-- what was changed last
SELECT at, action, key_id, organization, role, application_user FROM apikey_events
ORDER BY event_id DESC LIMIT 50;
