// A web API on the table of ../../orders.sql, with Kysely on node-postgres.
//
//	apt install npm
//	npm ci
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to.

const http = require('http');
const { Pool } = require('pg');
const { Kysely, PostgresDialect, sql } = require('kysely');
const { jsonArrayFrom } = require('kysely/helpers/postgres');

const pool = new Pool({ max: 4 });

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

const db = new Kysely({ dialect: new PostgresDialect({ pool }) });

// Do some work as the bearer of a key: in one transaction, on one connection.
function withKey(key, work) {
	return db.transaction().execute(async (trx) => {
		await sql`SELECT label FROM apikey_login(${key})`.execute(trx);
		return work(trx);
	});
}

class BadRequest extends Error {}

// What the errors of apikey and of its policies mean in HTTP.
const statuses = { 28000: 401, 42501: 403, 42704: 404, 53400: 429, '53B00': 429 };

// Status, body and headers for an error of the database that is the caller's.
function refusal({ code, message, detail, routine, severity }) {
	const status = statuses[code] || (/^2[23]...$/.test(code) ? 400 : undefined);
	const [, seconds] = /retry_after=([\d.]+)/.exec(detail) || [];

	// a missing GRANT is not the caller's, nor is a connection that the server refuses
	if (!status || routine === 'aclcheck_error' || severity === 'FATAL')
		return undefined;
	return [status, { error: message, code },
		status === 429 && seconds ? { 'Retry-After': Math.ceil(seconds) } : {}];
}

function orderOf(body) {
	const { project, environment, item } = body ?? {};

	if (![project, environment, item].every((value) => typeof value === 'string'))
		throw new BadRequest('an order has a project, an environment and an item');
	return { project, environment, item };
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
async function health(trx) {
	const count = sql`count(*)::int`.as('orders');
	return [200, await trx.selectFrom('orders').select(count).executeTakeFirst()];
}

async function me(trx) {
	const { rows } = await sql`
		SELECT organization, label, organization_level FROM apikey_whoami()`.execute(trx);
	return [200, rows[0]];
}

// A Date has no microseconds: so times are read as text.  They are not ordered as text:
// "created_at" alone would be the column of the result.
async function readOrders(trx, { query }) {
	const [after, limit] = pageOf(query, 'infinity,0');
	const [time, id] = `${after},`.split(',');
	const rows = await trx.selectFrom('orders')
		.select(['id', 'project', 'environment', 'item', sql`created_at::text`.as('created_at')])
		.where(sql`(created_at, id) < (${time}::timestamptz, ${id}::int)`)
		.orderBy('orders.created_at', 'desc').orderBy('orders.id', 'desc')
		.limit(limit + 1)
		.execute();

	return page('orders', rows, limit, (row) => `${row.created_at},${row.id}`);
}

function add(trx, order) {
	return trx.insertInto('orders').values(order).returning('id').executeTakeFirst();
}

// An order costs one of the key's budget, if it has any.
async function addOrder(trx, { body }) {
	const order = orderOf(body);

	await sql`SELECT apikey_spend()`.execute(trx);
	return [201, await add(trx, order)];
}

// What is refused is left out: each order has a savepoint.
async function importOrders(trx, { body }) {
	const results = [];

	if (!Array.isArray(body))
		throw new BadRequest('a list of orders');
	for (const order of body.map(orderOf)) {
		await sql`SAVEPOINT entry`.execute(trx);
		try {
			results.push(await add(trx, order));
		} catch (error) {
			const [, refused] = refusal(error) || [];

			if (!refused)
				throw error;
			await sql`ROLLBACK TO SAVEPOINT entry`.execute(trx);
			results.push(refused);
		}
		await sql`RELEASE SAVEPOINT entry`.execute(trx);
	}
	return [200, results];
}

async function changeOrder(trx, { body, id }) {
	if (typeof body?.item !== 'string')
		throw new BadRequest('the item');
	const row = await trx.updateTable('orders').set({ item: body.item })
		.where('id', '=', sql`${id}::int`).returning('id').executeTakeFirst();

	return row ? [200, row] : [404, { error: 'not found' }];
}

async function readKeys(trx, { query }) {
	const [after, limit] = pageOf(query, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	const rows = await trx.selectFrom('apikey_keys as k')
		.select((eb) => ['key_id', 'label', 'key', 'status', jsonArrayFrom(
			eb.selectFrom('apikey_grants as g').select(['project', 'environment', 'level'])
				.whereRef('g.key_id', '=', 'k.key_id')).as('grants')])
		.where('organization', '=', sql`(SELECT organization FROM apikey_whoami())`)
		.where('key_id', '<', sql`${after}::uuid`)
		.orderBy('key_id', 'desc')
		.limit(limit + 1)
		.execute();

	return page('keys', rows, limit, (row) => row.key_id);
}

async function createKey(trx, { body }) {
	const { rows } = await sql`
		SELECT made.key_id, made.key FROM apikey_whoami() AS me,
			apikey_create(me.organization, ${body?.label},
				${JSON.stringify(body?.grants ?? [])}::jsonb) AS made`.execute(trx);

	return [201, rows[0]];
}

async function rotateKey(trx, { body, id }) {
	const { rows } = await sql`
		SELECT key_id, key
		FROM apikey_rotate(${id}::uuid, ${body?.overlap ?? '0'}::text::interval)`.execute(trx);

	return [200, rows[0]];
}

async function revokeKey(trx, { id }) {
	await sql`SELECT apikey_revoke(${id}::uuid)`.execute(trx);
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
			return await (work === health
				? health(db)
				: withKey(key, (trx) => work(trx, request)));
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
