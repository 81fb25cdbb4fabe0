// A web API on the table of ../../orders.sql, with Drizzle on node-postgres.
//
//	apt install npm
//	npm ci
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to; HTTP is in server.js there.

const { Pool } = require('pg');
const { and, desc, eq, lt, sql } = require('drizzle-orm');
const { drizzle } = require('drizzle-orm/node-postgres');
const { integer, pgTable, pgView, text, timestamp, uuid } = require('drizzle-orm/pg-core');
const { BadRequest, orderOf, page, pageOf, refusal, serve } = require('../server');

const pool = new Pool({ max: 4 });

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

const db = drizzle(pool);

const orders = pgTable('orders', {
	id: integer().primaryKey().generatedAlwaysAsIdentity(),
	project: text().notNull(),
	environment: text().notNull(),
	item: text().notNull(),
	// a Date has no microseconds
	created_at: timestamp({ withTimezone: true, mode: 'string' }).notNull().defaultNow(),
});

const apikeyKeys = pgView('apikey_keys', {
	key_id: uuid(),
	organization: text(),
	label: text(),
	key: text(),
	status: text(),
}).existing();

// Do some work as the bearer of a key: in one transaction, on one connection.
function withKey(key, work) {
	return db.transaction(async (tx) => {
		await login(tx, key);
		return work(tx);
	});
}

// An error of Drizzle has the parameters in its text: the key.  That of node-postgres,
// its cause, has not.
async function login(tx, key) {
	try {
		// what is undefined would be left out of the statement
		await tx.execute(sql`SELECT label FROM apikey_login(${key ?? null})`);
	} catch (error) {
		throw error.cause ?? error;
	}
}

// Without a log-in there are no rows.
async function health(tx) {
	return [200, { orders: await tx.$count(orders) }];
}

async function me(tx) {
	const { rows } = await tx.execute(
		sql`SELECT organization, label, organization_level FROM apikey_whoami()`);
	return [200, rows[0]];
}

async function readOrders(tx, { query }) {
	const [after, limit] = pageOf(query, 'infinity,0');
	const [time, id] = `${after},`.split(',');
	const rows = await tx.select().from(orders)
		.where(sql`(${orders.created_at}, ${orders.id}) < (${time}::timestamptz, ${id}::int)`)
		.orderBy(desc(orders.created_at), desc(orders.id))
		.limit(limit + 1);

	return page('orders', rows, limit, (row) => `${row.created_at},${row.id}`);
}

async function add(tx, order) {
	const [row] = await tx.insert(orders).values(order).returning({ id: orders.id });
	return row;
}

// An order costs one of the key's budget, if it has any.
async function addOrder(tx, { body }) {
	const order = orderOf(body);

	await tx.execute(sql`SELECT apikey_spend()`);
	return [201, await add(tx, order)];
}

// What is refused is left out: a transaction in a transaction is a savepoint.
async function importOrders(tx, { body }) {
	const results = [];

	if (!Array.isArray(body))
		throw new BadRequest('a list of orders');
	for (const order of body.map(orderOf)) {
		try {
			results.push(await tx.transaction((point) => add(point, order)));
		} catch (error) {
			const [, refused] = refusal(error.cause ?? error) || [];

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
	const [row] = await tx.update(orders).set({ item: body.item })
		.where(eq(orders.id, sql`${id}::int`)).returning({ id: orders.id });

	return row ? [200, row] : [404, { error: 'not found' }];
}

async function readKeys(tx, { query }) {
	const [after, limit] = pageOf(query, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	const { key_id, label, key, status, organization } = apikeyKeys;
	const grants = sql`(
		SELECT coalesce(json_agg(json_build_object('project', project,
			'environment', environment, 'level', level)), '[]')
		FROM apikey_grants AS g WHERE g.key_id = apikey_keys.key_id)`;
	const rows = await tx.select({ key_id, label, key, status, grants }).from(apikeyKeys)
		.where(and(eq(organization, sql`(SELECT organization FROM apikey_whoami())`), lt(key_id, after)))
		.orderBy(desc(key_id))
		.limit(limit + 1);

	return page('keys', rows, limit, (row) => row.key_id);
}

async function createKey(tx, { body }) {
	const { rows } = await tx.execute(sql`
		SELECT made.key_id, made.key FROM apikey_whoami() AS me,
			apikey_create(me.organization, ${body?.label ?? null},
				${JSON.stringify(body?.grants ?? [])}::jsonb) AS made`);

	return [201, rows[0]];
}

async function rotateKey(tx, { body, id }) {
	const { rows } = await tx.execute(sql`
		SELECT key_id, key FROM apikey_rotate(${id}::uuid, ${body?.overlap ?? '0'}::text::interval)`);

	return [200, rows[0]];
}

async function revokeKey(tx, { id }) {
	await tx.execute(sql`SELECT apikey_revoke(${id}::uuid)`);
	return [204];
}

serve({
	withKey,
	withoutKey: (work) => db.transaction(work),
	said: (error) => error.cause ?? error,
	works: {
		health, me, readOrders, addOrder, importOrders, changeOrder,
		readKeys, createKey, rotateKey, revokeKey,
	},
});
