// What the server of the console answers, and to whom.

const { Pool } = require('pg');
const { ok, is, start, sql, Caller, keyText, database, root, fs } = require('./harness');

const web = (level, environment = 'production') => ({ project: 'web', environment, level });

async function files({ server }) {
	for (const name of fs.readdirSync(`${root}/examples/console/public`)) {
		const response = await fetch(`${server.address}/${name === 'index.html' ? '' : name}`);
		const policy = response.headers.get('content-security-policy');

		ok(
			response.status === 200 &&
				response.headers.get('cache-control') === 'no-store' &&
				/default-src 'none'/.test(policy) &&
				!/unsafe|\*|data:/.test(policy),
			`headers of ${name}`,
			policy,
		);
	}
	const page = fs.readFileSync(`${root}/examples/console/public/index.html`, 'utf8');
	ok(!/<script>|<style|\son\w+=|style=/.test(page), 'nothing is inline');
	for (const path of ['/server.js', '/..%2fserver.js', '/../server.js', '/%2e%2e/server.js'])
		is((await fetch(server.address + path)).status, 404, `no file ${path}`);
	is((await fetch(`${server.address}/api/list`)).status, 405, 'a call is no GET');
}

async function forged({ server, operators }) {
	const ada = new Caller(server.address);
	const other = new Caller(server.address);
	const answer = await ada.logIn(operators[0]);

	is(answer.status, 200, 'an operator logs in');
	ok(
		/HttpOnly/.test(answer.set) && /SameSite=Strict/.test(answer.set) && !/apk_/.test(answer.set),
		'the cookie is for no script and no other site',
		answer.set,
	);
	ok(!keyText.test(answer.text), 'the answer does not have the key');
	is(answer.headers.get('cache-control'), 'no-store', 'it is not stored');
	is((await new Caller(server.address).call('list')).status, 401, 'without a session there is nothing');

	await other.logIn(operators[2]);
	is((await ada.call('list', {}, { 'X-CSRF-Token': '' })).status, 403, 'no token');
	is(
		(await ada.call('list', {}, { 'X-CSRF-Token': other.token })).status,
		403,
		'the token of another session',
	);
	is((await ada.call('list', {}, { Origin: 'http://evil.example' })).status, 403, 'another origin');
	is((await ada.call('list', {}, { Origin: 'null' })).status, 403, 'no origin');
	is((await ada.call('list', {}, { 'Sec-Fetch-Site': 'cross-site' })).status, 403, 'another site');
	is(
		(await ada.call('login', { key: operators[0] }, { Origin: 'http://evil.example' })).status,
		403,
		'a log-in from another site',
	);
	is((await ada.call('list', '{}', { 'Content-Type': 'text/plain' })).status, 415, 'what a form can send');
	is((await ada.call('list', {}, { Origin: server.address })).status, 200, 'the page itself');

	for (const name of ['nothing', 'constructor', '__proto__', 'toString'])
		is((await ada.call(name)).status, 404, `no call "${name}"`);
	for (const body of ['{', '[]', 'null', '"x"'])
		is((await ada.call('list', body)).status, 400, `body ${body}`);
	is((await ada.call('find-keys', { text: 'x'.repeat(1100000) })).status, 413, 'a body that is too large');

	const { cookie } = ada;
	is((await ada.call('logout')).status, 200, 'log out');
	ada.cookie = cookie;
	is((await ada.call('list')).status, 401, 'the session is over');
}

// All that changes a key, of somebody who wants to.
const changes = (key_id) => [
	['update', { key_id, label: 'mine' }],
	['update', { key_id, grant: [web('manage')] }],
	['update', { key_id, ungrant: [web('write')] }],
	['update', { key_id, organization_level: 'write' }],
	['rotate', { key_id }],
	['finish-rotation', { key_id }],
	['cancel-rotation', { key_id }],
	['disable', { key_id }],
	['enable', { key_id }],
	['revoke', { key_id }],
];

async function tenants({ server, operators }) {
	const [ada, bob, gil] = await Promise.all(
		operators.map(async (key) => {
			const caller = new Caller(server.address);
			await caller.logIn(key);
			return caller;
		}),
	);
	const created = (await ada.call('create', { label: 'of acme', grants: [web('write')] })).body;
	const key_id = created.key_id;
	const before = await sql(
		'SELECT k, g FROM apikey_keys k LEFT JOIN apikey_grants g USING (key_id) WHERE k.key_id = $1',
		key_id,
	);
	const listed = (await gil.call('list')).body.keys.map((key) => key.label);

	const own = await sql(`SELECT label FROM apikey_keys WHERE organization = 'globex' ORDER BY key_id DESC`);
	is(
		listed,
		own.map((key) => key.label),
		'the list is of one organization',
	);
	for (const search of ['of acme', key_id, created.key.slice(0, 26)]) {
		is(
			(await ada.call('list', { search })).body.keys.length,
			1,
			`its own operator finds "${search.slice(0, 8)}…"`,
		);
		is((await gil.call('list', { search })).body.keys.length, 0, 'another does not');
	}
	for (const [name, body] of changes(key_id)) {
		is(
			(await gil.call(name, body)).status,
			404,
			`another organization: ${name} ${Object.keys(body).pop()}`,
		);
		is((await bob.call(name, body)).status, 403, `level read: ${name}`);
	}
	is((await gil.call('key', { key_id })).status, 404, 'another organization does not see the key');
	is((await bob.call('key', { key_id })).status, 200, 'level read sees it');
	for (const name of ['derived', 'reach']) is((await gil.call(name, { key_id })).body, [], `nor ${name}`);
	is((await gil.call('events', { key_id })).body, { events: [], older: null }, 'nor events');
	is((await bob.call('create', { label: 'x', grants: [] })).status, 403, 'level read creates nothing');
	is(
		(await gil.call('create', { label: 'x', grants: [web('read')] })).body.field,
		'grants',
		'a project of others is not there',
	);
	is(
		(await gil.call('find-keys', { text: `see ${created.key}` })).body.map(({ status, label }) => [
			status,
			label,
		]),
		[['unknown', null]],
		'a leak of others is unknown',
	);
	is(
		(await ada.call('find-keys', { text: `see ${created.key}` })).body.map(({ status, label }) => [
			status,
			label,
		]),
		[['active', 'of acme']],
		'its own operator sees whose it is',
	);
	is(
		await sql(
			'SELECT k, g FROM apikey_keys k LEFT JOIN apikey_grants g USING (key_id) WHERE k.key_id = $1',
			key_id,
		),
		before,
		'nothing has changed',
	);

	const events = await sql('SELECT acting_key, address, role FROM apikey_events WHERE key_id = $1', key_id);
	is(
		events,
		[
			{
				acting_key: (await ada.call('session')).body.operator.key_id,
				address: '127.0.0.1',
				role: 'console',
			},
		],
		'an event says who, and from where',
	);
}

// What an operator can give is decided by the database.
async function delegates({ server }) {
	const [{ key }] = await sql(
		`SELECT key FROM apikey_create('acme', 'web only', $1, 'write', now() + interval '1 day')`,
		JSON.stringify([web('write')]),
	);
	const operator = new Caller(server.address);
	await operator.logIn(key);

	const refused = await operator.call('create', { label: 'x', grants: [web('manage')] });
	is(
		[refused.status, refused.body.detail],
		[403, 'The key of the session has no level manage on project "web", environment "production".'],
		'no more than it holds, and why',
	);
	is(
		(
			await operator.call('create', {
				label: 'x',
				grants: [],
				expires_at: new Date(Date.now() + 9e8).toISOString(),
			})
		).status,
		403,
		'nor for longer',
	);
	const answer = await operator.call('create', { label: 'x', grants: [web('write')] });
	const made = answer.body;
	is(answer.status, 200, 'what it holds');
	ok((await operator.call('key', { key_id: made.key_id })).body.expires_at, 'its expiry is inherited');

	// an operator who rotates the own key goes on with the new one
	const { operator: me } = (await operator.call('session')).body;
	is((await operator.call('rotate', { key_id: me.key_id, overlap: '0' })).status, 200, 'it rotates itself');
	is((await operator.call('list')).status, 200, 'and goes on');
}

async function forms({ server, operators }) {
	const ada = new Caller(server.address);
	await ada.logIn(operators[0]);

	const field = async (name, body) => {
		const answer = await ada.call(name, body);
		return [answer.status, answer.body.field];
	};
	const good = { label: 'form', grants: [web('read')] };
	is(await field('create', { ...good, label: ' ' }), [400, 'label'], 'a missing label');
	is(await field('create', { ...good, label: undefined }), [400, 'label'], 'no label');
	is(
		await field('create', { ...good, grants: [web('read'), web('write')] }),
		[400, 'grants'],
		'a duplicate row',
	);
	is(
		await field('create', { ...good, grants: [{ project: 'moon', environment: '*', level: 'read' }] }),
		[400, 'grants'],
		'no such project',
	);
	is(
		await field('create', {
			...good,
			grants: [{ project: 'web', environment: 'production', level: 'own' }],
		}),
		[400, 'grants'],
		'no such level',
	);
	is(await field('create', { ...good, grants: 'x' }), [400, 'grants'], 'no rows');
	is(await field('create', { ...good, networks: '203.0.113.0/99' }), [400, 'networks'], 'no network');
	is(await field('create', { ...good, rate_limit: 'often' }), [400, 'rate_limit'], 'no rate limit');
	is(
		await field('create', { ...good, expires_at: '2001-01-01' }),
		[400, 'expires_at'],
		'an expiry in the past',
	);
	is(await field('create', { ...good, expires_at: 'soon' }), [400, 'expires_at'], 'no expiry');
	is(await field('create', { ...good, metadata: '{' }), [400, 'metadata'], 'no JSON');
	is(
		await field('create', { ...good, organization_level: 'manage' }),
		[400, 'organization_level'],
		'no level',
	);
	is(await field('key', { key_id: "'; DROP TABLE orders" }), [400, undefined], 'no id');
	is((await ada.call('key', { key_id: '00000000-0000-7000-8000-000000000000' })).status, 404, 'no key');
	is((await ada.call('list', { search: 'form' })).body.keys, [], 'nothing was stored');

	const { key_id } = (
		await ada.call('create', {
			...good,
			networks: '203.0.113.0/24\n2001:db8::/32',
			rate_limit: '5/second',
			metadata: '{"a": 1}',
			organization_level: 'read',
		})
	).body;
	is((await ada.call('update', { key_id, label: 'renamed' })).status, 200, 'one field is changed');
	is(
		(
			await ada.call('update', {
				key_id,
				networks: '',
				metadata: '',
				ungrant: [web('read')],
				grant: [web('write', '*')],
				organization_level: null,
			})
		).status,
		200,
		'some are removed',
	);
	const [key] = await sql(
		`SELECT label, allowed_networks, rate_limit, metadata, organization_level FROM apikey_keys WHERE key_id = $1`,
		key_id,
	);
	is(
		key,
		{
			label: 'renamed',
			allowed_networks: null,
			rate_limit: '5 per 1 second',
			metadata: {},
			organization_level: null,
		},
		'the others are as they were',
	);
	is(
		await sql('SELECT project, environment, level FROM apikey_grants WHERE key_id = $1', key_id),
		[{ project: 'web', environment: '*', level: 'write' }],
		'so are grants',
	);
	is(
		(
			await ada.call('update', {
				key_id,
				label: 'half',
				grant: [{ project: 'moon', environment: '*', level: 'read' }],
			})
		).status,
		400,
		'of two changes one is refused',
	);
	is(
		(await sql('SELECT label FROM apikey_keys WHERE key_id = $1', key_id))[0].label,
		'renamed',
		'and none is made',
	);
	is((await ada.call('revoke', { key_id })).status, 200, 'revoke');
	is((await ada.call('enable', { key_id })).status, 409, 'what is revoked stays so');
}

async function pages({ server, operators }) {
	const ada = new Caller(server.address);
	await ada.logIn(operators[0]);

	const first = (await ada.call('list')).body;
	const second = (await ada.call('list', { before: first.next })).body;
	ok(first.keys.length === 25 && second.keys.length > 10, 'two pages');
	for (let n = 0; n < 3; n++) await ada.call('create', { label: `meanwhile ${n}`, grants: [] });
	const again = (await ada.call('list', { before: first.next })).body;
	is(
		again.keys.map((key) => key.key_id),
		second.keys.map((key) => key.key_id),
		'keys that come move none of the second',
	);
	const ids = [...first.keys, ...second.keys].map((key) => key.key_id);
	is(new Set(ids).size, ids.length, 'none is shown twice');
	ok(
		first.keys.every((key) => !key.parent_id),
		'derived keys are under their parents',
	);
	const flat = (await ada.call('list', { search: 'refund' })).body.keys;
	is(
		flat.map((key) => [key.label, key.parent]),
		[['refund 4711', 'Order service']],
		'what is looked for stands for itself',
	);
	for (const status of ['active', 'disabled', 'expired', 'revoked']) {
		const { keys } = (await ada.call('list', { status })).body;
		ok(keys.length > 0 && keys.every((key) => key.status === status), `status ${status}`);
	}
}

// Without a key the role of the console can do nothing at all.
async function role() {
	const pool = new Pool({ database, user: 'console_server' });
	const client = await pool.connect();
	const refused = async (text) => {
		try {
			await client.query('BEGIN');
			await client.query('SET LOCAL ROLE console');
			await client.query(text);
			return 'allowed';
		} catch (error) {
			return `${error.code} ${error.message}`;
		} finally {
			await client.query('ROLLBACK');
		}
	};
	const views = await sql(
		`SELECT relname FROM pg_class WHERE relnamespace = 'console'::regnamespace ORDER BY 1`,
	);
	const functions = await sql(`SELECT proname, ARRAY(SELECT CASE WHEN t = 'uuid'::regtype
			THEN (SELECT quote_literal(key_id) FROM apikey_keys LIMIT 1) ELSE 'NULL' END
			FROM unnest(proargtypes) t) AS args
		FROM pg_proc WHERE pronamespace = 'console'::regnamespace ORDER BY 1`);

	ok(views.length > 5 && functions.length > 10, 'there are views and functions');
	for (const { relname } of views)
		is(
			await refused(`SELECT * FROM console.${relname}`),
			'28000 no API key is logged in',
			`without a key: view ${relname}`,
		);
	for (const { proname, args } of functions)
		is(
			await refused(`SELECT * FROM console.${proname}(${args.join(', ')})`),
			'28000 no API key is logged in',
			`function ${proname}`,
		);
	for (const text of [
		"SELECT apikey_create('acme', 'x')",
		'SELECT * FROM apikey_keys',
		'SELECT * FROM apikey_key',
		"SELECT apikey_add_project('acme', 'x')",
		'SELECT * FROM public.orders',
	])
		ok(/^42501 permission denied/.test(await refused(text)), `the role may not ${text}`);
	client.release();
	await pool.end();
}

async function refusals({ server, operators }) {
	const ada = new Caller(server.address);
	const why = async (key) => {
		const answer = await new Caller(server.address).logIn(key);
		return [answer.status, answer.body.error];
	};
	is(await why('rubbish'), [401, 'This is not a good API key.'], 'no key');
	is(await why(`${operators[0].slice(0, -1)}_`), [401, 'This is not a good API key.'], 'a bad one');
	is((await new Caller(server.address).call('login', {})).status, 401, 'none');
	const [{ key: plain, key_id }] = await sql(`SELECT * FROM apikey_create('acme', 'plain')`);
	is((await why(plain))[0], 403, "a key that is no operator's");
	await sql(`SELECT apikey_disable($1, 'for a reason')`, key_id);
	is(await why(plain), [401, 'Refused: key is disabled.'], 'a disabled one, and not for what reason');

	await ada.logIn(operators[0]);
	await sql(`SELECT apikey_suspend('acme', 'unpaid')`);
	is(
		(await ada.call('list')).body.error,
		'Refused: organization is suspended.',
		'the organization is suspended',
	);
	is(await why(operators[0]), [401, 'Refused: organization is suspended.'], 'nor can one log in');
	await sql(`SELECT apikey_resume('acme')`);
	is((await ada.call('list')).status, 401, 'the session is over');
	is((await ada.logIn(operators[0])).status, 200, 'it can be resumed');

	const [own] = await sql(`SELECT * FROM apikey_create('acme', 'short', '[]', 'write')`);
	const short = new Caller(server.address);
	await short.logIn(own.key);
	await sql('SELECT apikey_revoke($1)', own.key_id);
	is((await short.call('list')).body.error, 'Refused: key is revoked.', "the operator's key is revoked");
}

async function limits({ operators }) {
	const server = await start('console/server.js', 'console_server', {
		IDLE_MINUTES: '0.01',
		FAILURES: '3',
	});
	const ada = new Caller(server.address);
	const guess = async () => (await new Caller(server.address).logIn('rubbish')).status;

	await ada.logIn(operators[0]);
	await new Promise((resolve) => {
		setTimeout(resolve, 900);
	});
	is((await ada.call('list')).status, 401, 'a session that was idle is over');
	const statuses = await Promise.all(Array.from({ length: 8 }, guess));
	is(
		statuses.sort(),
		[401, 401, 401, 429, 429, 429, 429, 429],
		'failed log-ins are limited, many at once, too',
	);
	const last = await ada.logIn(operators[0]);
	is([last.status, last.headers.get('retry-after')], [429, '60'], 'a good one waits, too');
}

// Behind a proxy it goes by the address that the proxy has written last.
async function proxy() {
	const server = await start('console/server.js', 'console_server', { BEHIND_PROXY: '1' });
	const [{ key }] = await sql(
		`SELECT key FROM apikey_create('acme', 'from the office', '[]', 'write', allowed_networks => '{203.0.113.0/24}')`,
	);
	const from = (address) => ({ 'X-Forwarded-For': address });
	const operator = new Caller(server.address);

	is(
		(await operator.call('login', { key }, from('203.0.113.9, 198.51.100.1'))).body.error,
		"Refused: address is not in the key's networks.",
		'another address is refused, whatever the client says',
	);
	const answer = await operator.call('login', { key }, from('198.51.100.1, 203.0.113.9'));
	operator.token = answer.body.csrf;
	ok(
		/^__Host-console=[^;]+; Path=\/; HttpOnly; SameSite=Strict; Secure$/.test(answer.set),
		'the cookie is for HTTPS',
		answer.set,
	);
	const { key_id } = (await operator.call('create', { label: 'x', grants: [] }, from('203.0.113.9'))).body;
	is(
		(await sql('SELECT address FROM apikey_events WHERE key_id = $1', key_id))[0].address,
		'203.0.113.9',
		'an event has the address of the client',
	);
	is(
		(await operator.call('list', {}, from('198.51.100.1'))).status,
		401,
		'a session cannot be carried elsewhere',
	);
}

module.exports = async (servers) => {
	for (const test of [files, forged, tenants, delegates, forms, pages, role, refusals, limits, proxy])
		await test(servers);
};
