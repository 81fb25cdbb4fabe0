// What the tests of the console share: TAP, the servers, and a caller of the console.

const { execFileSync, spawn } = require('child_process');
const fs = require('fs');
const path = require('path');
const { Pool } = require('pg');

const root = path.join(__dirname, '..', '..');
const database = 'console_test';
const keyText = /[a-z][a-z0-9_]*_[0-9A-Za-z]{71}/;

let tests = 0;
let failed = 0;

function ok(good, name, ...more) {
	console.log(`${good ? 'ok' : 'not ok'} ${++tests} - ${name}`);
	if (!good) {
		failed++;
		for (const line of more
			.map((m) => (typeof m === 'string' ? m : JSON.stringify(m)))
			.join('\n')
			.split('\n'))
			console.error(`# ${line}`);
	}
	return good;
}

function is(got, wanted, name) {
	const [g, w] = [got, wanted].map((value) => JSON.stringify(value));
	return ok(g === w, name, `got ${g}`, `wanted ${w}`);
}

function skip(name) {
	console.log(`ok ${++tests} - # SKIP ${name}`);
}

function conclude() {
	console.log(`1..${tests}`);
	return failed ? 1 : 0;
}

const programs = [];

// Start a program of examples/, and resolve to its address; what it says is in "log".
function start(program, user, settings = {}) {
	const child = spawn('node', [path.join(root, 'examples', program)], {
		env: { ...process.env, PGDATABASE: database, PGUSER: user, PORT: '0', ...settings },
	});
	const started = { child, log: '' };

	programs.push(started);
	return new Promise((resolve, reject) => {
		for (const stream of [child.stdout, child.stderr])
			stream.on('data', (data) => {
				const [, address] = /^listening on (.*)$/m.exec((started.log += data)) || [];

				if (address) resolve(Object.assign(started, { address }));
			});
		child.on('exit', (code) => reject(new Error(`${program} ended with ${code}: ${started.log}`)));
	});
}

const superuser = new Pool({ database });
superuser.on('error', () => {});

const sql = async (text, ...parameters) => (await superuser.query(text, parameters)).rows;

// The log of the database, where test/run has it, from its end on.
const serverLog = `${process.env.PGHOST}/server.log`;
const logBegins = fs.statSync(serverLog).size;

// Make the database with the sample of the console, and resolve to the keys of operators.
// What is done there is logged.
async function sample() {
	execFileSync('createdb', [database]);
	execFileSync('psql', [
		'-Xq',
		'-d',
		database,
		'-c',
		`ALTER DATABASE ${database} SET log_statement = 'all'`,
	]);
	const said = execFileSync('psql', [
		'-Xq',
		'-d',
		database,
		'-v',
		'role=console_app',
		'-f',
		path.join(root, 'examples/console/sample.sql'),
	]).toString();

	return said
		.trim()
		.split('\n')
		.map((line) => line.split('|')[1]);
}

// Somebody who calls the console by HTTP.
class Caller {
	constructor(address) {
		Object.assign(this, { address, cookie: '', token: '' });
	}

	async call(name, body = {}, headers = {}) {
		const response = await fetch(`${this.address}/api/${name}`, {
			method: 'POST',
			headers: {
				'Content-Type': 'application/json',
				Cookie: this.cookie,
				'X-CSRF-Token': this.token,
				...headers,
			},
			body: typeof body === 'string' ? body : JSON.stringify(body),
		});
		const text = await response.text();
		const set = response.headers.get('set-cookie');

		if (set) this.cookie = set.split(';')[0];
		return {
			status: response.status,
			headers: response.headers,
			text,
			body: text ? JSON.parse(text) : null,
			set,
		};
	}

	async logIn(key) {
		const answer = await this.call('login', { key });

		this.token = answer.body.csrf || '';
		return answer;
	}
}

async function end() {
	for (const { child } of programs) {
		child.removeAllListeners('exit');
		child.kill();
	}
	await superuser.end();
	execFileSync('dropdb', ['--force', database]);
}

function noKeysInLogs() {
	const log = fs.readFileSync(serverLog).subarray(logBegins).toString();
	const console = programs.map((program) => program.log).join('');

	ok(
		/POST \/api\/create 200/.test(console) && !keyText.test(console),
		'no key is in the log of the console',
	);
	ok(/apikey_login/.test(log) && !keyText.test(log), 'nor in that of the database');
}

module.exports = {
	ok,
	is,
	skip,
	conclude,
	start,
	sample,
	sql,
	Caller,
	end,
	noKeysInLogs,
	keyText,
	database,
	root,
	fs,
};
