// The tests of examples/console, in one database: in a browser, if there is one, and by HTTP.

const { conclude, end, fs, noKeysInLogs, ok, sample, skip, start } = require('./harness');

async function whole(name, test, servers) {
	try {
		await test(servers);
	} catch (error) {
		ok(false, `${name}: no test breaks off`, String(error.stack));
	}
}

async function main() {
	const operators = await sample();
	const server = await start('console/server.js', 'console_server');
	const api = await start('stacks/node-postgres/app.js', 'console_app');
	const servers = { operators, server, api };

	if (process.env.BROWSER && fs.existsSync('/usr/bin/chromium'))
		await whole('browser', require('./browser'), servers);
	else skip('the page: neither Chromium nor npm is installed for it');
	await whole('HTTP', require('./http'), servers);
	await noKeysInLogs();
}

whole('servers', main)
	.then(end)
	.then(() => process.exit(conclude()));
