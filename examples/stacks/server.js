// What the programs in JavaScript have in common: HTTP, and which error is which status.
// README.md beside this says what they answer to.

const http = require('http');

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

// The name of the work for each path and method.
const routes = [
	[/^\/health$/, { GET: 'health' }],
	[/^\/me$/, { GET: 'me' }],
	[/^\/orders$/, { GET: 'readOrders', POST: 'addOrder' }],
	[/^\/orders\/import$/, { POST: 'importOrders' }],
	[/^\/orders\/([^/]+)$/, { PATCH: 'changeOrder' }],
	[/^\/keys$/, { GET: 'readKeys', POST: 'createKey' }],
	[/^\/keys\/([^/]+)$/, { DELETE: 'revokeKey' }],
	[/^\/keys\/([^/]+)\/rotate$/, { POST: 'rotateKey' }],
];

// Status and body of the answer, and headers if there are any.
async function respond({ withKey, withoutKey, said, works }, method, url, key, text) {
	const { pathname, searchParams: query } = new URL(url, 'http://localhost');
	const [pattern, methods] = routes.find(([path]) => path.test(pathname)) || [];
	const name = methods?.[method];
	let body;

	if (!name)
		return methods ? [405, { error: 'method not allowed' }] : [404, { error: 'not found' }];
	try {
		body = JSON.parse(text || 'null');
	} catch {
		return [400, { error: 'the body is not JSON' }];
	}
	const request = { query, body, id: pattern.exec(pathname)[1] };

	for (let left = 3; ; left--) {
		try {
			return await (name === 'health'
				? withoutKey(works.health)
				: withKey(key, (transaction) => works[name](transaction, request)));
		} catch (error) {
			if (error instanceof BadRequest)
				return [400, { error: error.message }];
			if (left > 1 && ['40001', '40P01'].includes(said(error).code))
				continue;
			const refused = refusal(said(error));

			if (!refused)
				throw error;
			return refused;
		}
	}
}

// Answer each request by a function of node:http's request and response.
function listen(answer) {
	const server = http.createServer(answer);

	process.on('SIGTERM', () => process.exit());
	server.listen(process.env.PORT || 8080, '127.0.0.1', () => {
		console.log(`listening on http://127.0.0.1:${server.address().port}`);
	});
}

// Serve HTTP.  "withKey(key, work)" does some work as the bearer of a key, in a transaction,
// "withoutKey(work)" as nobody; "said(error)" is what PostgreSQL said.  Each of the works gets
// the transaction and { query, body, id }, and returns status and body.
function serve({ withKey, withoutKey, said = (error) => error, works }) {
	listen(async (request, response) => {
		const { method, url, headers: { 'x-api-key': key } } = request;
		let text = '';
		let answer;

		try {
			for await (const chunk of request.setEncoding('utf8'))
				text += chunk;
			answer = await respond({ withKey, withoutKey, said, works }, method, url, key, text);
		} catch (error) {
			console.error(said(error).message ?? error.message);
			answer = [500, { error: 'internal error' }];
		}
		const [status, body, headers] = answer;

		response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
		response.end(body && JSON.stringify(body));
	});
}

module.exports = { BadRequest, listen, orderOf, page, pageOf, refusal, serve };
