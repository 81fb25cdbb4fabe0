// A web API on the table of ../../orders.sql, with Prisma on node-postgres.
//
//	apt install npm		(Prisma needs Node.js 20.19 or newer)
//	npm ci
//	npx prisma generate
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to; HTTP is in server.js there.

const { PrismaPg } = require('@prisma/adapter-pg');
const { PrismaClient } = require('@prisma/client');
const { BadRequest, orderOf, page, pageOf, refusal, serve } = require('../server');

const db = new PrismaClient({
	// the adapter leaves out the zone of times, as if all were UTC
	adapter: new PrismaPg({ max: 4, options: '-c timezone=UTC' }),
	// milliseconds to wait for a connection, and for the work
	transactionOptions: { maxWait: 30000, timeout: 30000 },
	// an error does not quote the program
	errorFormat: 'minimal',
});

// Do some work as the bearer of a key: in one transaction, on one connection.
function withKey(key, work) {
	return db.$transaction(async (tx) => {
		await tx.$queryRaw`SELECT label FROM apikey_login(${key})`;
		return work(tx);
	});
}

// What PostgreSQL said.  Errors of a connection, P1..., are not the caller's.  There is no
// routine: nothing but the text tells a missing GRANT.
function said({ code, meta }) {
	const cause = !/^P1/.test(code) && meta?.driverAdapterError?.cause;
	const { originalCode, originalMessage, detail } = cause || {};
	const routine = /^permission denied for /.test(originalMessage) ? 'aclcheck_error' : undefined;

	return { code: originalCode, message: originalMessage, detail, routine };
}

// Without a log-in there are no rows.
async function health(tx) {
	return [200, { orders: await tx.order.count() }];
}

async function me(tx) {
	const [row] = await tx.$queryRaw`
		SELECT organization, label, organization_level FROM apikey_whoami()`;
	return [200, row];
}

// By SQL, because a Date has no microseconds.  "created_at" alone, to order by, would be the
// column of the result, which is text.
async function readOrders(tx, { query }) {
	const [after, limit] = pageOf(query, 'infinity,0');
	const [time, id] = `${after},`.split(',');
	const rows = await tx.$queryRaw`
		SELECT id, project, environment, item, created_at::text FROM orders
		WHERE (created_at, id) < (${time}::timestamptz, ${id}::int)
		ORDER BY orders.created_at DESC, id DESC LIMIT ${limit + 1}`;

	return page('orders', rows, limit, (row) => `${row.created_at},${row.id}`);
}

function add(tx, data) {
	return tx.order.create({ data, select: { id: true } });
}

// An order costs one of the key's budget, if it has any.
async function addOrder(tx, { body }) {
	const order = orderOf(body);

	await tx.$queryRaw`SELECT apikey_spend()`;
	return [201, await add(tx, order)];
}

// What is refused is left out: a transaction in a transaction is a savepoint.
async function importOrders(tx, { body }) {
	const results = [];

	if (!Array.isArray(body))
		throw new BadRequest('a list of orders');
	for (const order of body.map(orderOf)) {
		try {
			results.push(await tx.$transaction((point) => add(point, order)));
		} catch (error) {
			const [, refused] = refusal(said(error)) || [];

			if (!refused)
				throw error;
			results.push(refused);
		}
	}
	return [200, results];
}

// updateMany, for what is not there is no error of it.
async function changeOrder(tx, { body, id: text }) {
	const id = Number(text);

	if (typeof body?.item !== 'string' || id !== (id | 0))
		throw new BadRequest('an item, and a number that the order has');
	const { count } = await tx.order.updateMany({ where: { id }, data: { item: body.item } });

	return count ? [200, { id }] : [404, { error: 'not found' }];
}

async function readKeys(tx, { query }) {
	const [after, limit] = pageOf(query, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	const rows = await tx.$queryRaw`
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
	const [row] = await tx.$queryRaw`
		SELECT made.key_id, made.key FROM apikey_whoami() AS me,
			apikey_create(me.organization, ${body?.label},
				${JSON.stringify(body?.grants ?? [])}::jsonb) AS made`;

	return [201, row];
}

async function rotateKey(tx, { body, id }) {
	const [row] = await tx.$queryRaw`
		SELECT key_id, key FROM apikey_rotate(${id}::uuid, ${body?.overlap ?? '0'}::text::interval)`;

	return [200, row];
}

// $executeRaw, because $queryRaw cannot read a void.
async function revokeKey(tx, { id }) {
	await tx.$executeRaw`SELECT apikey_revoke(${id}::uuid)`;
	return [204];
}

serve({
	withKey,
	withoutKey: (work) => work(db),
	said,
	works: {
		health, me, readOrders, addOrder, importOrders, changeOrder,
		readKeys, createKey, rotateKey, revokeKey,
	},
});
