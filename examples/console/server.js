// A console for the API keys of an organization; see README.md.
//
//	npm install
//	PGDATABASE=mydb PGUSER=console_server PORT=8000 node server.js
//
// Everything that the page asks for is POST /api/NAME with JSON in the body, so that
// nothing is in a URL.  The log has a line for each request: method, path, status, time.

const fs = require('fs');
const http = require('http');
const path = require('path');
const { asOperator, whyRefused, DatabaseError, end } = require('./database');
const { BadRequest, calls } = require('./keys');
const sessions = require('./sessions');

// behind a proxy of yours that speaks HTTPS, and overwrites X-Forwarded-For
const behindProxy = process.env.BEHIND_PROXY === '1';
const cookie = behindProxy ? '__Host-console' : 'console';
const bodyLimit = 1024 * 1024;

const headers = {
	'Cache-Control': 'no-store',
	'Content-Security-Policy': [
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self'",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	].join('; '),
	'Cross-Origin-Opener-Policy': 'same-origin',
	'Cross-Origin-Resource-Policy': 'same-origin',
	'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
	'Referrer-Policy': 'no-referrer',
	'X-Content-Type-Options': 'nosniff',
	...(behindProxy && { 'Strict-Transport-Security': 'max-age=31536000' }),
};

const type = {
	'.html': 'text/html; charset=utf-8',
	'.css': 'text/css; charset=utf-8',
	'.js': 'text/javascript; charset=utf-8',
	'.svg': 'image/svg+xml',
};

// What is served as it is, read once.
const files = new Map(
	fs
		.readdirSync(path.join(__dirname, 'public'))
		.map((name) => [
			name === 'index.html' ? '/' : `/${name}`,
			{ type: type[path.extname(name)], body: fs.readFileSync(path.join(__dirname, 'public', name)) },
		]),
);

// An answer other than 200.
class Refusal extends Error {
	constructor(status, message, more = {}) {
		super(message);
		Object.assign(this, { status, ...more });
	}
}

function clientAddress(request) {
	const forwarded = behindProxy && request.headers['x-forwarded-for'];
	const address = forwarded ? forwarded.split(',').pop().trim() : request.socket.remoteAddress;

	return address.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*/, '');
}

function cookieOf(request) {
	for (const pair of (request.headers.cookie || '').split(/; */))
		if (pair.startsWith(`${cookie}=`)) return pair.slice(cookie.length + 1);
	return undefined;
}

function setCookie(response, value, age) {
	response.setHeader(
		'Set-Cookie',
		`${cookie}=${value}; Path=/; HttpOnly; SameSite=Strict` +
			(behindProxy ? '; Secure' : '') +
			(age === undefined ? '' : `; Max-Age=${age}`),
	);
}

// Other sites can make a browser send requests, but not with this type and this origin.
function checkOrigin(request) {
	const { host, origin } = request.headers;

	if (request.headers['content-type'] !== 'application/json')
		throw new Refusal(415, 'application/json is wanted');
	if (
		(origin && origin.replace(/^https?:\/\//, '') !== host) ||
		(request.headers['sec-fetch-site'] || 'same-origin') !== 'same-origin'
	)
		throw new Refusal(403, 'this request comes from another site');
}

async function readBody(request) {
	const chunks = [];
	let size = 0;

	for await (const chunk of request) {
		size += chunk.length;
		if (size > bodyLimit)
			throw new Refusal(413, 'that is too much: a megabyte at most', { field: 'text' });
		chunks.push(chunk);
	}
	try {
		const body = JSON.parse(Buffer.concat(chunks).toString() || '{}');

		if (body && typeof body === 'object' && !Array.isArray(body)) return body;
	} catch (error) {
		// is refused below
	}
	throw new Refusal(400, 'a JSON object is wanted');
}

// What an operator reads when the key is not good, or not any more.
function refusedKey(reason) {
	const state =
		/^(key is (?:disabled|expired|revoked)|organization is suspended|address is not in the key's networks)/.exec(
			reason,
		);

	return state ? `Refused: ${state[0]}.` : 'This is not a good API key.';
}

async function logIn(request, response, { key }) {
	const address = clientAddress(request);

	if (!sessions.mayTry(address)) {
		response.setHeader('Retry-After', sessions.retryAfter);
		throw new Refusal(429, 'Too many failed log-ins. Try again in a minute.');
	}
	if (typeof key !== 'string') throw new Refusal(401, refusedKey(''), { field: 'key' });
	const who = { key: key.trim(), address };
	let answer;

	try {
		answer = await asOperator(who, 'read', calls.session[1]);
	} catch (error) {
		if (error.code === '28000')
			throw new Refusal(401, refusedKey(await whyRefused(who)), { field: 'key' });
		if (error.code === '42501')
			throw new Refusal(
				403,
				"This key has no access to its organization, so it is not an operator's.",
				{ field: 'key' },
			);
		throw error;
	}

	sessions.succeeded(address);
	// another session in the same browser ends
	const old = sessions.find(cookieOf(request));
	if (old) sessions.close(old);
	const session = sessions.open(who.key);
	setCookie(response, session.id);
	return { csrf: session.csrf, idle: sessions.limits.idle, ...answer };
}

async function answer(request, response, name, body) {
	if (name === 'login') return logIn(request, response, body);

	const session = sessions.find(cookieOf(request));
	if (!session && name === 'session') return {};
	if (!session) throw new Refusal(401, 'You are not logged in.');
	// asked by the page when it is loaded, which has no token yet
	if (name !== 'session' && !sessions.same(request.headers['x-csrf-token'], session.csrf))
		throw new Refusal(403, 'The token of this page is wrong: load it again.');
	if (name === 'logout') {
		sessions.close(session);
		setCookie(response, '', 0);
		return {};
	}
	if (!Object.hasOwn(calls, name)) throw new Refusal(404, 'no such call');

	const [mode, work] = calls[name];
	const who = { key: session.key, address: clientAddress(request) };
	let result, operator;

	try {
		result = await asOperator(who, mode, (query, me) => {
			operator = me;
			return work(query, me, body);
		});
	} catch (error) {
		// the key is not good any more
		if (error.code === '28000') {
			sessions.close(session);
			setCookie(response, '', 0);
			throw new Refusal(401, refusedKey(await whyRefused(who)));
		}
		throw error;
	}
	if (result === null) throw new Refusal(404, 'There is no such key.');
	// operators who rotate the key that they hold go on with the new one
	if (name === 'rotate' && result.key_id === operator.key_id) session.key = result.key;
	return name === 'session' ? { csrf: session.csrf, idle: sessions.limits.idle, ...result } : result;
}

// Which part of a form an error of the database is about, if it says so.
function fieldOf({ code, message }) {
	const about = [
		['networks', /cidr|network/],
		['rate_limit', /rate limit/],
		['expires_at', /expir|timestamp|date\/time/],
		['label', /label/],
		['overlap', /overlap|interval/],
		['reason', /reason/],
		['metadata', /json/],
		['grants', /grants?\[|^grants?|project|environment|apikey_level/],
	].find(([, pattern]) => pattern.test(message));

	return /^(22|23)/.test(code) && about ? about[0] : undefined;
}

// The error as an answer: [status, body].
function failure(error, response) {
	const body = { error: error.message, field: error.field, detail: error.detail };

	if (error instanceof Refusal) return [error.status, body];
	if (error instanceof BadRequest) return [400, body];
	if (error instanceof DatabaseError && error.code) {
		const [, seconds] = /retry_after=([\d.]+)/.exec(error.detail || '') || [];

		if (error.code === '53400' && seconds) response.setHeader('Retry-After', Math.ceil(seconds));
		body.field = fieldOf(error);
		if (error.code === '42501' && error.message === 'permission denied by API key')
			return [403, { ...body, error: 'Your key does not allow that.' }];
		if (error.code === '42704') return [404, body];
		if (error.code === '53400')
			return [
				429,
				{ ...body, error: 'Too many requests with your key: wait a little.', detail: undefined },
			];
		if (/^(40001|40P01|55000)$/.test(error.code)) return [409, body];
		if (/^(22|23)/.test(error.code)) return [400, body];
	}
	console.error('error:', error.code || '', error.message);
	return [500, { error: 'Something went wrong. The log of the server has the reason.' }];
}

async function handle(request, response) {
	const { pathname } = new URL(request.url, 'http://console');
	const file = files.get(pathname);

	for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
	if (file && (request.method === 'GET' || request.method === 'HEAD')) {
		response.writeHead(200, { 'Content-Type': file.type, 'Content-Length': file.body.length });
		response.end(request.method === 'GET' ? file.body : undefined);
		return;
	}

	let status = 200;
	let body;
	try {
		if (file || !pathname.startsWith('/api/'))
			throw new Refusal(file ? 405 : 404, file ? 'method not allowed' : 'not found');
		if (request.method !== 'POST') throw new Refusal(405, 'method not allowed');
		checkOrigin(request);
		body = await answer(request, response, pathname.slice('/api/'.length), await readBody(request));
	} catch (error) {
		[status, body] = failure(error, response);
	}
	response.writeHead(status, { 'Content-Type': 'application/json' });
	response.end(JSON.stringify(body));
}

const server = http.createServer((request, response) => {
	const start = Date.now();

	response.on('finish', () => {
		const known = files.has(request.url) || /^\/api\/[a-z-]{1,20}$/.test(request.url);

		console.log(
			request.method,
			known ? request.url : '(unknown)',
			response.statusCode,
			`${Date.now() - start} ms`,
		);
	});
	handle(request, response).catch((error) => {
		console.error('error:', error.message);
		response.destroy();
	});
});

server.requestTimeout = 30000;
server.listen(process.env.PORT || 8000, process.env.HOST || '127.0.0.1', () => {
	const { address, port } = server.address();
	console.log(`listening on http://${address.includes(':') ? `[${address}]` : address}:${port}`);
});

for (const signal of ['SIGINT', 'SIGTERM'])
	process.once(signal, () => {
		server.close(() => end());
		server.closeAllConnections();
	});
