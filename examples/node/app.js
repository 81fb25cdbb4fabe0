// A web API on the table of ../orders.sql; the caller's key is in X-API-Key.
//
//	npm install
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//	curl -H "X-API-Key: $KEY" localhost:8080/orders \
//		-d '{"project": "web", "environment": "production", "item": "poster"}'

const http = require('http');
const { Pool } = require('pg');

const pool = new Pool();

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

// Do some work as the bearer of a key: in one transaction, on one connection.
async function withKey(key, work) {
	// what is wrong with a connection is not the caller's, whatever its code
	const client = await pool.connect().catch((cause) => {
		throw new Error('no connection', { cause });
	});
	let broken;

	try {
		await client.query('BEGIN');
		await client.query('SELECT label FROM apikey_login($1)', [key]);
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

// What the errors of apikey and of its policies mean in HTTP.
const status = { 28000: 401, 42501: 403, 53400: 429, '53B00': 429 };

// Seconds until it makes sense to try again, if it ever does: the detail of the error
// has retry_after=0.250 then.
function retryAfter({ detail }) {
	const [, seconds] = /retry_after=([\d.]+)/.exec(detail) || [];
	return seconds && Math.ceil(seconds);
}

async function readOrders(client) {
	const sql = 'SELECT id, project, environment, item FROM orders ORDER BY id';
	return [200, (await client.query(sql)).rows];
}

// An order costs one of the key's budget, if it has any.
async function addOrder(client, { project, environment, item }) {
	await client.query('SELECT apikey_spend()');
	const sql = `INSERT INTO orders (project, environment, item)
		VALUES ($1, $2, $3) RETURNING id`;
	return [201, (await client.query(sql, [project, environment, item])).rows[0]];
}

async function answer(request) {
	const key = request.headers['x-api-key'];
	let body = '';

	for await (const chunk of request)
		body += chunk;
	if (request.url !== '/orders')
		return [404, { error: 'not found' }];
	if (request.method === 'GET')
		return withKey(key, readOrders);
	if (request.method === 'POST')
		return withKey(key, (client) => addOrder(client, JSON.parse(body)));
	return [405, { error: 'method not allowed' }];
}

const server = http.createServer(async (request, response) => {
	let code, result;

	try {
		[code, result] = await answer(request);
	} catch (error) {
		const wait = retryAfter(error);

		code = status[error.code] || 500;
		result = { error: code === 500 ? 'internal error' : error.message };
		if (code === 429 && wait)
			response.setHeader('Retry-After', wait);
	}
	response.writeHead(code, { 'Content-Type': 'application/json' });
	response.end(JSON.stringify(result));
});

server.listen(process.env.PORT || 8080, '127.0.0.1', () => {
	console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
