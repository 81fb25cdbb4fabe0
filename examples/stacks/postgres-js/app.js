// A web API on the table of ../../orders.sql, with postgres.js.
//
//	apt install npm
//	npm ci
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to; HTTP is in server.js there.

const postgres = require('postgres');
const { BadRequest, orderOf, page, pageOf, refusal, serve } = require('../server');

const sql = postgres({ max: 4 });

// Do some work as the bearer of a key: in one transaction, on one connection.
function withKey(key, work) {
	return sql.begin(async (tx) => {
		// a header that is missing is undefined, which postgres.js does not send
		await tx`SELECT label FROM apikey_login(${key ?? null})`;
		return work(tx);
	});
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

serve({
	withKey,
	withoutKey: (work) => sql.begin(work),
	works: {
		health, me, readOrders, addOrder, importOrders, changeOrder,
		readKeys, createKey, rotateKey, revokeKey,
	},
});
