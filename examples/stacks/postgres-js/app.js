// A web API on the table of ../../orders.sql, with postgres.js.
//
//	apt install npm
//	npm ci
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to.

const http = require('http');
const postgres = require('postgres');

const sql = postgres({ max: 4 });

// Do some work as the bearer of a key: in one transaction, on one connection.
function withKey(key, work) {
	return sql.begin(async (tx) => {
		// a header that is missing is undefined, which postgres.js does not send
		await tx`SELECT label FROM apikey_login(${key ?? null})`;
		return work(tx);
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
async function health(tx) {
	const [row] = await tx`SELECT count(*)::int AS orders FROM orders`;
	return [200, row];
}

async function me(tx) {
	const [row] = await tx`SELECT organization, label, organization_level FROM apikey_whoami()`;
	return [200, row];
}

// A Date has no microseconds: so times are read, and sent, as text.  They are not ordered as
// text: "created_at" alone would be the column of the result.
async function readOrders(tx, { query }) {
	const [after, limit] = pageOf(query, 'infinity,0');
	const [time, id] = `${after},`.split(',');
	const rows = await tx`
		SELECT id, project, environment, item, created_at::text FROM orders
		WHERE (created_at, id) < (${time}::text::timestamptz, ${id}::text::int)
		ORDER BY orders.created_at DESC, id DESC LIMIT ${limit + 1}`;

	return page('orders', rows, limit, (row) => `${row.created_at},${row.id}`);
}

async function add(tx, order) {
	const [row] = await tx`INSERT INTO orders ${tx(order)} RETURNING id`;
	return row;
}

// An order costs one of the key's budget, if it has any.
async function addOrder(tx, { body }) {
	const order = orderOf(body);

	await tx`SELECT apikey_spend()`;
	return [201, await add(tx, order)];
}

// What is refused is left out: each order has a savepoint.
async function importOrders(tx, { body }) {
	const results = [];

	if (!Array.isArray(body))
		throw new BadRequest('a list of orders');
	for (const order of body.map(orderOf)) {
		try {
			results.push(await tx.savepoint((point) => add(point, order)));
		} catch (error) {
			const [, refused] = refusal(error) || [];

			if (!refused)
				throw error;
			results.push(refused);
		}
	}
	return [200, results];
}

async function changeOrder(tx, { body, id }) {
	if (typeof body?.item !== 'string')
		throw new BadRequest('the item');
	const [row] = await tx`
		UPDATE orders SET item = ${body.item} WHERE id = ${id}::text::int RETURNING id`;

	return row ? [200, row] : [404, { error: 'not found' }];
}

async function readKeys(tx, { query }) {
	const [after, limit] = pageOf(query, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	const rows = await tx`
		SELECT key_id, label, key, status,
			(SELECT coalesce(json_agg(json_build_object('project', project,
				'environment', environment, 'level', level)), '[]')
			FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
		FROM apikey_keys AS k
		WHERE organization = (SELECT organization FROM apikey_whoami())
			AND key_id < ${after}::uuid
		ORDER BY k.key_id DESC LIMIT ${limit + 1}`;

	return page('keys', rows, limit, (row) => row.key_id);
}

async function createKey(tx, { body }) {
	const [row] = await tx`
		SELECT made.key_id, made.key FROM apikey_whoami() AS me,
			apikey_create(me.organization, ${body?.label ?? null}, ${tx.json(body?.grants ?? [])}) AS made`;

	return [201, row];
}

async function rotateKey(tx, { body, id }) {
	const [row] = await tx`
		SELECT key_id, key FROM apikey_rotate(${id}, ${body?.overlap ?? '0'})`;

	return [200, row];
}

async function revokeKey(tx, { id }) {
	await tx`SELECT apikey_revoke(${id})`;
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
				? sql.begin(health)
				: withKey(key, (tx) => work(tx, request)));
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
