// What the page can ask for: each function is one transaction of an operator, see
// database.js.  They read the views and call the functions of console.sql.

const pageSize = 25;
const eventPage = 20;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

// A request that makes no sense; "field" is the part of the form that it is about.
class BadRequest extends Error {
	constructor(message, field) {
		super(message);
		this.field = field;
	}
}

function id(value) {
	if (!uuid.test(value)) throw new BadRequest('this is not the id of a key');
	return value;
}

function optionalText(value, field) {
	if (value === undefined || value === null || value === '') return null;
	if (typeof value !== 'string') throw new BadRequest('this must be text', field);
	return value;
}

// "a, b" or lines, as an array of PostgreSQL's; null for none.  The database checks them.
function networks(value) {
	const list = (optionalText(value, 'networks') || '').split(/[\s,]+/).filter(Boolean);

	return list.length ? list : null;
}

function metadata(value) {
	const json = optionalText(value, 'metadata');

	if (json === null) return null;
	try {
		JSON.parse(json);
	} catch (error) {
		throw new BadRequest('this is not JSON', 'metadata');
	}
	return json;
}

function label(value) {
	const text = optionalText(value, 'label');

	if (text === null || text.trim() === '') throw new BadRequest('a key needs a label', 'label');
	return text.trim();
}

function level(value) {
	const text = optionalText(value, 'organization_level');

	if (text !== null && text !== 'read' && text !== 'write')
		throw new BadRequest('this must be read or write', 'organization_level');
	return text;
}

// Rows of project, environment and level.
function grants(value) {
	if (!Array.isArray(value)) throw new BadRequest('permissions are missing', 'grants');
	return value.map(({ project, environment, level: of }) => ({ project, environment, level: of }));
}

async function session(query, operator) {
	return {
		operator,
		projects: await query('SELECT project, environments FROM projects ORDER BY project LIMIT 1000'),
		grants: await query(
			`SELECT project, environment, level FROM grants
			WHERE key_id = $1 ORDER BY project, environment LIMIT 100`,
			operator.key_id,
		),
	};
}

// The columns of a key in a list.  Who created it may be the id of a key.
const columns = `k.key_id, k.label, k.key, k.status, k.organization_level, k.expires_at,
	k.created_at, k.created_by, k.last_used_at, k.last_used_from, k.parent_id, k.overlap_until,
	(SELECT c.label FROM keys c WHERE c.key_id = CASE WHEN k.created_by ~ '${uuid.source}'
		THEN k.created_by::uuid END) AS creator,
	(SELECT p.label FROM keys p WHERE p.key_id = k.parent_id) AS parent,
	(SELECT count(*) FROM (SELECT FROM keys d WHERE d.parent_id = k.key_id LIMIT 1000) d) AS derived,
	(SELECT count(*) FROM grants g WHERE g.key_id = k.key_id) AS grant_count,
	ARRAY(SELECT jsonb_build_object('project', g.project, 'environment', g.environment, 'level', g.level)
		FROM grants g WHERE g.key_id = k.key_id ORDER BY g.project, g.environment LIMIT 3) AS grants`;

const inOrder = (query, ids) =>
	query(
		`SELECT ${columns} FROM keys k WHERE k.key_id = ANY ($1) ORDER BY array_position($1::uuid[], k.key_id)`,
		ids,
	);

// A page of keys, newest first.  It goes on behind the last key of the page before, so keys
// that come meanwhile move nothing.  All keys are shown with derived ones under their
// parents; what is looked for stands for itself.
async function list(query, operator, { before, status, search }) {
	const ids = (
		await query(
			'SELECT page FROM page($1, $2, $3)',
			before ? id(before) : null,
			optionalText(status, 'status'),
			optionalText(search, 'search'),
		)
	).map((row) => row.page);
	const more = ids.length > pageSize;

	if (more) ids.pop();
	return { keys: await inOrder(query, ids), next: more ? ids[ids.length - 1] : null };
}

// All that comes from a key, each below its parent.
async function derived(query, operator, { key_id }) {
	const below = await query('SELECT key_id, depth FROM derived($1)', id(key_id));
	const keys = await inOrder(
		query,
		below.map((row) => row.key_id),
	);

	return keys.map((key, n) => ({ ...key, depth: below[n].depth }));
}

async function one(query, operator, { key_id }) {
	const [key] = await query(
		`SELECT ${columns}, k.allowed_networks::text[] AS allowed_networks, k.rate_limit, k.max_derived,
			k.disabled_at, k.revoked_at, k.imported_at, jsonb_pretty(k.metadata) AS metadata,
			b.budget, b.remaining, b.refills_at
		FROM keys k LEFT JOIN budgets b ON b.key_id = k.key_id WHERE k.key_id = $1`,
		id(key_id),
	);

	if (!key) return null;
	return {
		...key,
		grants: await query(
			`SELECT project, environment, level FROM grants
			WHERE key_id = $1 ORDER BY project, environment LIMIT 1000`,
			key_id,
		),
		derived: key.derived ? await derived(query, operator, { key_id }) : [],
		reach: await reach(query, operator, { key_id }),
		usage: (
			await query(
				`SELECT uses, refusals, last_refused_at, old_secret_used_at
			FROM usage WHERE key_id = $1`,
				key_id,
			)
		)[0],
		hours: await query(
			`SELECT h AS hour, coalesce(u.uses, 0) AS uses, coalesce(u.refusals, 0) AS refusals
			FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '167 hours', now(), '1 hour') h
				LEFT JOIN usage_hours u ON u.hour = h AND u.key_id = $1
			ORDER BY h`,
			key_id,
		),
		...(await events(query, operator, { key_id })),
	};
}

function reach(query, operator, { key_id }) {
	return query(
		`SELECT relation, project, environment, commands FROM reach($1)
		ORDER BY relation, project, environment LIMIT 200`,
		id(key_id),
	);
}

async function events(query, operator, { key_id, before }) {
	const rows = await query(
		`SELECT e.event_id, e.at, e.action, e.acting_key, k.label AS actor, e.address, e.detail
		FROM events e LEFT JOIN keys k ON k.key_id = e.acting_key
		WHERE e.key_id = $1 AND ($2::uuid IS NULL OR e.event_id < $2)
		ORDER BY e.event_id DESC LIMIT $3`,
		id(key_id),
		before ? id(before) : null,
		eventPage + 1,
	);
	const older = rows.length > eventPage;

	if (older) rows.pop();
	return { events: rows, older: older ? rows[rows.length - 1].event_id : null };
}

async function create(query, operator, body) {
	const [key] = await query(
		`SELECT key_id, key FROM create_key($1, $2::text::jsonb, $3::text::apikey_level,
			$4::text::timestamptz, $5::text[]::cidr[], coalesce($6::text::jsonb, '{}'), $7)`,
		label(body.label),
		JSON.stringify(grants(body.grants)),
		level(body.organization_level),
		optionalText(body.expires_at, 'expires_at'),
		networks(body.networks),
		metadata(body.metadata),
		optionalText(body.rate_limit, 'rate_limit'),
	);

	return key;
}

// A field that is in "body" is set, or removed if it is empty; others stay as they are.
async function update(query, operator, body) {
	const given = (field, read) => (field in body ? read(body[field], field) : null);
	const set = {
		label: given('label', label),
		expires_at: given('expires_at', optionalText),
		allowed_networks: given('networks', networks),
		metadata: given('metadata', metadata),
		rate_limit: given('rate_limit', optionalText),
		organization_level: given('organization_level', level),
	};
	const sent = (name) => (name === 'allowed_networks' ? 'networks' : name);
	const remove = Object.keys(set).filter((name) => sent(name) in body && set[name] === null);
	const key_id = id(body.key_id);

	for (const grant of grants(body.ungrant || []))
		await query('SELECT ungrant_key($1, $2, $3)', key_id, grant.project, grant.environment);
	for (const grant of grants(body.grant || []))
		await query(
			'SELECT grant_key($1, $2, $3, $4::text::apikey_level)',
			key_id,
			grant.project,
			grant.environment,
			grant.level,
		);
	// last: it may take away the level that the operator's own key needs for the rest
	if (remove.length || Object.values(set).some((value) => value !== null))
		await query(
			`SELECT update_key($1, $2, $3::text::timestamptz, $4::text[]::cidr[], $5::text::jsonb, $6,
				$7::text::apikey_level, $8)`,
			key_id,
			set.label,
			set.expires_at,
			set.allowed_networks,
			set.metadata,
			set.rate_limit,
			set.organization_level,
			remove,
		);
	return {};
}

async function rotate(query, operator, { key_id, overlap }) {
	return (
		await query(
			'SELECT key_id, key FROM rotate_key($1, $2::text::interval)',
			id(key_id),
			optionalText(overlap, 'overlap') || '0',
		)
	)[0];
}

const change =
	(sql, withReason) =>
	async (query, operator, { key_id, reason }) => {
		await query(sql, id(key_id), ...(withReason ? [optionalText(reason, 'reason')] : []));
		return {};
	};

async function findKeys(query, operator, { text }) {
	return query(
		'SELECT position, key, key_id, label, status FROM find_keys($1) LIMIT 200',
		optionalText(text, 'text') || '',
	);
}

// name: whether it only reads, and what it does
module.exports = {
	BadRequest,
	calls: {
		session: ['read', session],
		list: ['read', list],
		derived: ['read', derived],
		key: ['read', one],
		reach: ['read', reach],
		events: ['read', events],
		'find-keys': ['read', findKeys],
		create: ['write', create],
		update: ['write', update],
		rotate: ['write', rotate],
		'finish-rotation': ['write', change('SELECT finish_rotation($1)')],
		'cancel-rotation': ['write', change('SELECT cancel_rotation($1)')],
		disable: ['write', change('SELECT disable_key($1, $2)', true)],
		enable: ['write', change('SELECT enable_key($1)')],
		revoke: ['write', change('SELECT revoke_key($1, $2)', true)],
	},
};
