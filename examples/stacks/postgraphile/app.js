// A GraphQL API on the table of ../../orders.sql, with PostGraphile 4.
//
//	apt install npm
//	npm ci
//	PGDATABASE=orders PGUSER=app PORT=8080 node app.js
//
//	curl -H "X-API-Key: $KEY" localhost:8080/graphql -H "Content-Type: application/json" \
//		-d '{"query": "{ allOrders { nodes { id project item createdAt } } }"}'
//
// Each request is one transaction, which logs the caller's key in first.

const { Pool } = require('pg');
const { makePluginHook, postgraphile } = require('postgraphile');
const { listen, refusal } = require('../server');

const pool = new Pool({ max: 4 });

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

// Log in with the request's key, in the transaction of its work.
const login = {
	withPostGraphileContext: (inner) => (options, callback) => {
		const { pgSettings: { key }, ...others } = options;

		return inner({ ...others, pgForceTransaction: true }, async (context) => {
			try {
				await context.pgClient.query('SELECT label FROM apikey_login($1)', [key]);
			} catch (error) {
				const [status] = refusal(error) || [];

				throw Object.assign(error, { status });
			}
			return callback(context);
		});
	},
};

// What the caller sees of errors: SQLSTATE, and how long to wait.
function handleErrors(errors, request, response) {
	return errors.map((error) => {
		const { locations, path, originalError = error } = error;
		const { code, message, status } = originalError;
		const [refused, , headers] = refusal(originalError) || [];

		if (refused) {
			for (const [name, value] of Object.entries(headers))
				response.setHeader(name, value);
			return { message, locations, path, extensions: { code } };
		}
		if (/^No values were (updated|deleted) in /.test(message))
			return { message: 'not found', locations, path };
		// what GraphQL says of a query, or HTTP of a request
		if (!code && (status < 500 || originalError === error && locations))
			return { message, locations, path };
		console.error(message);
		return { message: 'internal error', locations, path };
	});
}

const api = postgraphile(pool, ['public'], {
	pluginHook: makePluginHook([login]),
	// not a setting of the database: for the log-in alone
	pgSettings: ({ headers }) => ({ key: headers['x-api-key'] }),
	handleErrors,
	ignoreRBAC: false,
	disableQueryLog: true,
	// or an error at the start would be tried again for ever
	retryOnInitFail: false,
});

listen(api);
