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

const http = require('http');
const { Pool } = require('pg');
const { makePluginHook, postgraphile } = require('postgraphile');

const pool = new Pool({ max: 4 });

// or an idle connection that breaks would end the program
pool.on('error', (error) => console.error(error.message));

// What the errors of apikey and of its policies mean in HTTP.
const statuses = { 28000: 401, 42501: 403, 42704: 404, 53400: 429, '53B00': 429 };

// Log in with the request's key, in the transaction of its work.
const login = {
	withPostGraphileContext: (inner) => (options, callback) => {
		const { pgSettings: { key }, ...others } = options;

		return inner({ ...others, pgForceTransaction: true }, async (context) => {
			try {
				await context.pgClient.query('SELECT label FROM apikey_login($1)', [key]);
			} catch (error) {
				throw Object.assign(error, { status: isRefusal(error) && statuses[error.code] });
			}
			return callback(context);
		});
	},
};

// Which errors of the work are the caller's?
function isRefusal({ code, routine, severity }) {
	return (statuses[code] || /^2[23]...$/.test(code))
		&& routine !== 'aclcheck_error' && severity !== 'FATAL';
}

// What the caller sees of errors: SQLSTATE, and how long to wait.
function handleErrors(errors, request, response) {
	return errors.map((error) => {
		const { locations, path, originalError = error } = error;
		const { code, detail, message, status } = originalError;
		const [, seconds] = /retry_after=([\d.]+)/.exec(detail) || [];

		if (isRefusal(originalError)) {
			if (seconds)
				response.setHeader('Retry-After', Math.ceil(seconds));
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

const server = http.createServer(api);

process.on('SIGTERM', () => process.exit());
server.listen(process.env.PORT || 8080, '127.0.0.1', () => {
	console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
