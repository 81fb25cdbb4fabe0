// A web API on the table of ../../orders.sql, with node-postgres.
//
//	apt install node-pg		(or: npm install)
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to; HTTP is in server.js there.

const { Pool } = require('pg');
const { BadRequest, orderOf, page, pageOf, refusal, serve } = require('../server');

const pool = new Pool({ max: 4 });

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

// Do some work on one connection, in one transaction.
async function transaction(work) {
	const client = await pool.connect();
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

async function add(client, { project, environment, item }) {
	const sql = 'INSERT INTO orders (project, environment, item) VALUES ($1, $2, $3) RETURNING id';
	return (await client.query(sql, [project, environment, item])).rows[0];
}

// An order costs one of the key's budget, if it has any.
async function addOrder(client, { body }) {
	const order = orderOf(body);

	await client.query('SELECT apikey_spend()');
	return [201, await add(client, order)];
}

// What is refused is left out: each order has a savepoint.
async function importOrders(client, { body }) {
	const results = [];

	if (!Array.isArray(body))
		throw new BadRequest('a list of orders');
	for (const order of body.map(orderOf)) {
		await client.query('SAVEPOINT entry');
		try {
			results.push(await add(client, order));
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

serve({
	withKey,
	withoutKey: transaction,
	works: {
		health, me, readOrders, addOrder, importOrders, changeOrder,
		readKeys, createKey, rotateKey, revokeKey,
	},
});
