// A web API on the table of ../../orders.sql, with Kysely on node-postgres.
//
//	apt install npm
//	npm ci
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to; HTTP is in server.js there.

const { Pool } = require('pg');
const { Kysely, PostgresDialect, sql } = require('kysely');
const { jsonArrayFrom } = require('kysely/helpers/postgres');
const { BadRequest, orderOf, page, pageOf, refusal, serve } = require('../server');

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

serve({
	withKey,
	withoutKey: (work) => work(db),
	works: {
		health, me, readOrders, addOrder, importOrders, changeOrder,
		readKeys, createKey, rotateKey, revokeKey,
	},
});
