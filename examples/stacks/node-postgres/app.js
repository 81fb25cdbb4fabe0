// A web API on the table of ../../orders.sql, with node-postgres.
//
//	apt install node-pg		(or: npm install)
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to.

const http = require('http');
const { Pool } = require('pg');

const pool = new Pool({ max: 4 });

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

// Do some work on one connection, in one transaction.
async function transaction(work) {
	// what is wrong with a connection is not the caller's, whatever its code
	const client = await pool.connect().catch((cause) => {
		throw new Error(`no connection: ${cause.message}`);
	});
	let broken;

	try {
		await client.query('BEGIN');
		const result = await work(client);
		await client.query('COMMIT');
		return result;
	} catch (error) {
		await client.query('ROLLBACK').catch((e) => { broken = e; });
		throw error;
	} finally {
		client.release(broken);
	}
}

// Do it as the bearer of a key.
function withKey(key, work) {
	return transaction(async (client) => {
		await client.query('SELECT label FROM apikey_login($1)', [key]);
		return work(client);
	});
}

class BadRequest extends Error {}

// What the errors of apikey and of its policies mean in HTTP.
const statuses = { 28000: 401, 42501: 403, 42704: 404, 53400: 429, '53B00': 429 };

// Status, body and headers for an error of the database that is the caller's.
function refusal({ code, message, detail, routine }) {
	const status = statuses[code] || (/^2[23]...$/.test(code) ? 400 : undefined);
	const [, seconds] = /retry_after=([\d.]+)/.exec(detail) || [];

	// a missing GRANT is not the caller's
	if (!status || routine === 'aclcheck_error')
		return undefined;
	return [status, { error: message, code },
		status === 429 && seconds ? { 'Retry-After': Math.ceil(seconds) } : {}];
}

function orderOf(body) {
	const order = ['project', 'environment', 'item'].map((name) => body?.[name]);

	if (!order.every((value) => typeof value === 'string'))
		throw new BadRequest('an order has a project, an environment and an item');
	return order;
}

// Where the page begins, and how long it is.
function pageOf(query, last) {
	const limit = query.get('limit') ?? '50';

	if (!/^([1-9]\d?|100)$/.test(limit))
		throw new BadRequest('the limit is 1 to 100');
	return [query.get('after') ?? last, Number(limit)];
}

function page(name, rows, limit, cursor) {
	return [200, {
		[name]: rows.slice(0, limit),
		next: rows.length > limit ? cursor(rows[limit - 1]) : null,
	}];
}

// Without a log-in there are no rows.
async function health(client) {
	return [200, (await client.query('SELECT count(*)::int AS orders FROM orders')).rows[0]];
}

async function me(client) {
	const sql = 'SELECT organization, label, organization_level FROM apikey_whoami()';
	return [200, (await client.query(sql)).rows[0]];
}

// A Date has no microseconds: so times are read as text.  They are not ordered as text:
// "created_at" alone would be the column of the result.
async function readOrders(client, { query }) {
	const [after, limit] = pageOf(query, 'infinity,0');
	const [time, id] = `${after},`.split(',');
	const { rows } = await client.query(
		`SELECT id, project, environment, item, created_at::text FROM orders
		WHERE (created_at, id) < ($1::timestamptz, $2::int)
		ORDER BY orders.created_at DESC, id DESC LIMIT $3`, [time, id, limit + 1]);

	return page('orders', rows, limit, (row) => `${row.created_at},${row.id}`);
}

const add = 'INSERT INTO orders (project, environment, item) VALUES ($1, $2, $3) RETURNING id';

// An order costs one of the key's budget, if it has any.
async function addOrder(client, { body }) {
	const order = orderOf(body);

	await client.query('SELECT apikey_spend()');
	return [201, (await client.query(add, order)).rows[0]];
}

// What is refused is left out: each order has a savepoint.
async function importOrders(client, { body }) {
	const results = [];

	if (!Array.isArray(body))
		throw new BadRequest('a list of orders');
	for (const order of body.map(orderOf)) {
		await client.query('SAVEPOINT entry');
		try {
			results.push((await client.query(add, order)).rows[0]);
		} catch (error) {
			const [, refused] = refusal(error) || [];

			if (!refused)
				throw error;
			await client.query('ROLLBACK TO SAVEPOINT entry');
			results.push(refused);
		}
		await client.query('RELEASE SAVEPOINT entry');
	}
	return [200, results];
}

async function changeOrder(client, { body, id }) {
	if (typeof body?.item !== 'string')
		throw new BadRequest('the item');
	const { rows } = await client.query(
		'UPDATE orders SET item = $1 WHERE id = $2::int RETURNING id', [body.item, id]);

	return rows.length ? [200, rows[0]] : [404, { error: 'not found' }];
}

async function readKeys(client, { query }) {
	const [after, limit] = pageOf(query, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	const { rows } = await client.query(
		`SELECT key_id, label, key, status,
			(SELECT coalesce(json_agg(json_build_object('project', project,
				'environment', environment, 'level', level)), '[]')
			FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
		FROM apikey_keys AS k
		WHERE organization = (SELECT organization FROM apikey_whoami())
			AND key_id < $1::uuid
		ORDER BY k.key_id DESC LIMIT $2`, [after, limit + 1]);

	return page('keys', rows, limit, (row) => row.key_id);
}

async function createKey(client, { body }) {
	const { rows } = await client.query(
		`SELECT made.key_id, made.key
		FROM apikey_whoami() AS me, apikey_create(me.organization, $1, $2::jsonb) AS made`,
		[body?.label, JSON.stringify(body?.grants ?? [])]);

	return [201, rows[0]];
}

async function rotateKey(client, { body, id }) {
	const { rows } = await client.query(
		'SELECT key_id, key FROM apikey_rotate($1::uuid, $2::text::interval)',
		[id, body?.overlap ?? '0']);

	return [200, rows[0]];
}

async function revokeKey(client, { id }) {
	await client.query('SELECT apikey_revoke($1::uuid)', [id]);
	return [204];
}

const routes = [
	[/^\/health$/, { GET: health }],
	[/^\/me$/, { GET: me }],
	[/^\/orders$/, { GET: readOrders, POST: addOrder }],
	[/^\/orders\/import$/, { POST: importOrders }],
	[/^\/orders\/([^/]+)$/, { PATCH: changeOrder }],
	[/^\/keys$/, { GET: readKeys, POST: createKey }],
	[/^\/keys\/([^/]+)$/, { DELETE: revokeKey }],
	[/^\/keys\/([^/]+)\/rotate$/, { POST: rotateKey }],
];

// Status and body of the answer, and headers if there are any.
async function respond(method, url, key, text) {
	const { pathname, searchParams: query } = new URL(url, 'http://localhost');
	const [pattern, methods] = routes.find(([path]) => path.test(pathname)) || [];
	const work = methods?.[method];
	let body;

	if (!work)
		return methods ? [405, { error: 'method not allowed' }] : [404, { error: 'not found' }];
	try {
		body = JSON.parse(text || 'null');
	} catch {
		return [400, { error: 'the body is not JSON' }];
	}
	const request = { query, body, id: pattern.exec(pathname)[1] };

	for (let left = 3; ; left--) {
		try {
			return work === health
				? await transaction(health)
				: await withKey(key, (client) => work(client, request));
		} catch (error) {
			if (error instanceof BadRequest)
				return [400, { error: error.message }];
			if (left > 1 && ['40001', '40P01'].includes(error.code))
				continue;
			const refused = refusal(error);

			if (!refused)
				throw error;
			return refused;
		}
	}
}

const server = http.createServer(async (request, response) => {
	let text = '';
	let answer;

	try {
		for await (const chunk of request.setEncoding('utf8'))
			text += chunk;
		answer = await respond(request.method, request.url, request.headers['x-api-key'], text);
	} catch (error) {
		console.error(error.message);
		answer = [500, { error: 'internal error' }];
	}
	const [status, body, headers] = answer;

	response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
	response.end(body && JSON.stringify(body));
});

process.on('SIGTERM', () => process.exit());
server.listen(process.env.PORT || 8080, '127.0.0.1', () => {
	console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
