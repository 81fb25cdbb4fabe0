// One transaction a request: as the role "console", with the operator's key logged in.

const { Pool, types } = require('pg');

// counts are far below 2^53
types.setTypeParser(types.builtins.INT8, Number);

const pool = new Pool({ max: 10, connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error('connection lost:', error.message));

// What went wrong, without parameters: no key text gets into a log.
class DatabaseError extends Error {
	constructor({ code, message, detail, hint }) {
		super(message);
		Object.assign(this, { code, detail, hint });
	}
}

async function connect() {
	try {
		return await pool.connect();
	} catch (error) {
		// whatever its code, it is not about the operator's key
		throw new DatabaseError({ message: `no connection: ${error.message}` });
	}
}

const begin = { read: 'BEGIN READ ONLY', write: 'BEGIN' };

// Run work(query, operator) as the operator who holds this key; "operator" is the row of
// the key.  "address" is where the request came from: networks of keys go by it, and
// events have it.
async function asOperator({ key, address }, mode, work) {
	const client = await connect();
	const query = async (sql, ...parameters) => (await client.query(sql, parameters)).rows;
	let broken;

	try {
		await client.query(begin[mode]);
		await query("SELECT set_config('apikey.client_address', $1, true)", address);
		await client.query('SET LOCAL ROLE console');
		const [operator] = await query(
			`SELECT key_id, label, organization, organization_level, expires_at
			FROM apikey_login($1)`,
			key,
		);
		// 42501, if this is not the key of an operator
		await client.query('SELECT organization()');
		const result = await work(query, operator);
		await client.query('COMMIT');
		return result;
	} catch (error) {
		await client.query('ROLLBACK').catch((e) => {
			broken = e;
		});
		throw error.code ? new DatabaseError(error) : error;
	} finally {
		client.release(broken);
	}
}

// Why does the database refuse this key?  It tells no more than whoever holds the key may
// know.
async function whyRefused({ key, address }) {
	const client = await connect();
	let broken;

	try {
		await client.query('BEGIN READ ONLY');
		await client.query("SELECT set_config('apikey.client_address', $1, true)", [address]);
		await client.query('SET LOCAL ROLE console');
		const { rows } = await client.query("SELECT reason FROM apikey_explain($1, '*', '*', 'read')", [key]);
		await client.query('COMMIT');
		return rows[0].reason;
	} catch (error) {
		await client.query('ROLLBACK').catch((e) => {
			broken = e;
		});
		return 'invalid key';
	} finally {
		client.release(broken);
	}
}

module.exports = { asOperator, whyRefused, DatabaseError, end: () => pool.end() };
