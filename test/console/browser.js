// The page of the console in Chromium: what operators do, what must never be there, and
// whether everybody can use it.  With PICTURES=DIR it leaves pictures there.

const { chromium } = require('playwright-core');
const axe = require('axe-core').source;
const { ok, is, sql, start, keyText, fs } = require('./harness');

const quiet = [
	'--headless',
	'--no-sandbox',
	'--disable-gpu',
	'--disable-quic',
	'--no-first-run',
	'--disable-background-networking',
	'--disable-component-update',
	'--disable-sync',
];
const hostile = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"\'{{7*7}}';

// A browser, with all that the server of the console has answered, and what went wrong.
async function browse(profile, options = {}) {
	const context = await chromium.launchPersistentContext(profile, {
		executablePath: '/usr/bin/chromium',
		headless: true,
		args: quiet,
		viewport: { width: 1280, height: 860 },
		permissions: ['clipboard-read', 'clipboard-write'],
		...options,
	});
	const page = context.pages()[0] || (await context.newPage());
	const seen = { answers: [], requests: [], errors: [] };

	page.setDefaultTimeout(20000);
	page.on('request', (request) => seen.requests.push(`${request.url()} ${request.postData() || ''}`));
	// their texts come later
	page.on('response', (response) => {
		const answer = { url: response.url() };

		seen.answers.push(answer);
		answer.read = response.text().then(
			(text) => {
				answer.text = text;
			},
			() => {
				answer.text = '';
			},
		);
	});
	page.on('pageerror', (error) => seen.errors.push(error.message));
	page.on('console', (message) => {
		// the browser itself says so of each answer that is no success
		if (message.type() === 'error' && !/status of 4\d\d/.test(message.text()))
			seen.errors.push(message.text());
	});
	return { context, page, seen };
}

async function logIn(page, address, key) {
	await page.goto(address);
	await page.getByLabel('Operator’s key').fill(key);
	await page.getByRole('button', { name: 'Log in' }).click();
	await page.getByRole('table', { name: 'API keys' }).waitFor();
}

// What of this text is anywhere in the browser: markup, fields, address, history, storage.
function traces(page, text) {
	return page.evaluate(async (secret) => {
		const fields = [...document.querySelectorAll('input, textarea')].map((field) => field.value);
		const stores = [localStorage, sessionStorage].map((store) => JSON.stringify({ ...store }));
		const databases = JSON.stringify(await indexedDB.databases());
		const caches = 'caches' in window ? JSON.stringify(await window.caches.keys()) : '';
		const places = {
			markup: document.documentElement.outerHTML,
			fields: fields.join(' '),
			address: location.href,
			history: JSON.stringify(history.state),
			stores: stores.join(' '),
			cookies: document.cookie,
			databases,
			caches,
			name: window.name,
			title: document.title,
		};

		return Object.keys(places).filter((place) => places[place].includes(secret));
	}, text);
}

// Serious faults that axe finds in the page as it is.
async function faults(page) {
	if (!(await page.evaluate('"axe" in window'))) await page.evaluate(axe);
	const { violations } = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");

	return violations
		.filter(({ impact }) => impact === 'serious' || impact === 'critical')
		.map(
			({ id, nodes }) =>
				`${id}: ${nodes
					.map((node) => node.html)
					.slice(0, 3)
					.join(' ')}`,
		);
}

// Does this become true?  The page's policy forbids what waitForFunction does to ask again.
async function until(page, condition, value) {
	for (let tries = 0; tries < 600; tries++) {
		if (await page.evaluate(condition, value)) return true;
		await page.waitForTimeout(50);
	}
	return false;
}

// Does what says this get the focus?
async function focusComes(page, text, name) {
	ok(
		await until(page, (wanted) => document.activeElement.innerText === wanted, text),
		name,
		await page.evaluate('document.activeElement.outerHTML'),
	);
}

// Do something that has the list loaded, and wait for that.
async function loaded(page, act) {
	await Promise.all([page.waitForResponse(/\/api\/list$/), act()]);
	await page.locator('[aria-busy]').waitFor({ state: 'detached' });
}

async function picture(page, name) {
	if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/${name}.png` });
}

async function callApi(api, key) {
	const response = await fetch(`${api.address}/orders`, { headers: { 'X-API-Key': key } });

	return [response.status, response.status === 200 ? (await response.json()).orders.length : null];
}

// The text of the key that the dialog shows, by its button to copy; it is closed then.
async function takeKey(page) {
	is(await page.evaluate('document.activeElement.innerText'), 'Copy', 'the button to copy has the focus');
	await page.getByRole('button', { name: 'Copy', exact: true }).click();
	await page.getByText('Copied.').waitFor();
	const key = await page.evaluate('navigator.clipboard.readText()');
	const shown = await page.getByLabel('API key', { exact: true }).inputValue();
	is(key === shown && keyText.test(key), true, 'the key is copied');
	await page.evaluate("navigator.clipboard.writeText('')");
	await page.keyboard.press('Escape');
	ok(await page.getByRole('dialog').isVisible(), 'Escape does not lose it');
	await page.getByRole('button', { name: 'I have stored it' }).click();
	await page.getByRole('dialog').waitFor({ state: 'detached' });
	return key;
}

// Answers from number "from" on that have this text, and requests, of any time, other than
// those to look for leaks.
async function wire(page, seen, text, from) {
	await Promise.all(seen.answers.map(({ read }) => read));
	return [
		...seen.answers
			.slice(from)
			.filter((answer) => answer.text.includes(text))
			.map(({ url }) => url),
		...seen.requests.filter((request) => request.includes(text) && !request.includes('/api/find-keys ')),
	];
}

async function life({ page, seen }, { api }) {
	const dialog = page.getByRole('dialog');

	await page.getByRole('button', { name: 'Add API key' }).click();
	await picture(page, 'empty-form');
	await dialog.getByRole('button', { name: 'Add API key' }).click();
	is(
		await dialog.getByLabel('Label').getAttribute('aria-invalid'),
		'true',
		'a missing label is refused in place',
	);
	is(await page.evaluate('document.activeElement.name'), 'label', 'and has the focus');
	await dialog.getByLabel('Label').fill('Shop front');
	for (let n = 0; n < 2; n++) await dialog.getByRole('button', { name: 'Add permission' }).click();
	const rows = dialog.locator('.permission');
	for (let n = 0; n < 2; n++) {
		await rows.nth(n).getByLabel('Project').selectOption('web');
		await rows.nth(n).getByLabel('Environment').selectOption('production');
	}
	await dialog.getByRole('button', { name: 'Add API key' }).click();
	await dialog.getByText('A row above is about the same project').waitFor();
	is(
		await rows.nth(1).getByLabel('Project').getAttribute('aria-invalid'),
		'true',
		'a duplicate row is refused in place',
	);
	ok(
		await rows
			.nth(1)
			.getByLabel('Project')
			.evaluate((select) => select === document.activeElement),
		'and has the focus',
	);
	await picture(page, 'duplicate');
	await rows.nth(1).getByLabel('Environment').selectOption('development');
	await rows.nth(0).getByLabel('Level').selectOption('write');
	is(await dialog.getByText('A row above is').count(), 0, 'and taken when it is another');
	await dialog.getByLabel('Write', { exact: true }).check();
	ok(
		(await dialog.getByLabel('Read', { exact: true }).isChecked()) &&
			(await dialog.getByText('Write includes read.').isVisible()),
		'write includes read, and says so',
	);
	is(await faults(page), [], 'axe finds nothing serious in the form');
	await dialog.getByLabel('Write', { exact: true }).uncheck();
	await dialog.getByLabel('Read', { exact: true }).uncheck();
	await dialog.getByText('Networks, rate limit').click();
	await dialog.getByLabel('Networks').fill('not a network');
	await dialog.getByRole('button', { name: 'Add API key' }).click();
	await dialog.getByText(/cidr/).waitFor();
	is(
		await dialog.getByLabel('Networks').getAttribute('aria-invalid'),
		'true',
		'what the database refuses is said in place',
	);
	await dialog.getByLabel('Networks').fill('');
	await dialog.getByRole('button', { name: 'Add API key' }).click();
	await page.getByText('This key is shown only once.').waitFor();
	is(await faults(page), [], 'axe finds nothing serious where the key is shown');
	await picture(page, 'key');
	const from = seen.answers.length;
	const key = await takeKey(page);
	is(await traces(page, key), [], 'the key is nowhere in the page any more');
	await page.getByRole('link', { name: 'Shop front' }).waitFor();
	ok(true, 'it is in the list');
	await focusComes(page, 'Shop front', 'and has the focus');

	is(await callApi(api, key), [200, 2], 'an API is called with it');
	await page.getByRole('button', { name: 'Load again' }).click();
	await page.locator('tr', { hasText: 'Shop front' }).getByText('just now').waitFor();
	ok(true, 'the list shows the use');
	await page.getByRole('link', { name: 'Shop front' }).click();
	await page.getByText(/^[1-9]\d* uses and 0 refusals in all/).waitFor();
	ok(await page.getByRole('img', { name: /uses and 0 refusals/ }).isVisible(), 'so does the chart');

	await page.getByRole('button', { name: 'Edit' }).click();
	await dialog.getByLabel('Label').fill('Shop window');
	await dialog.getByRole('button', { name: 'Remove permission' }).nth(0).click();
	await dialog.getByRole('button', { name: 'Save' }).click();
	await page.getByRole('heading', { name: 'Shop window' }).waitFor();
	is((await callApi(api, key))[1], 1, 'a permission that was removed is gone');

	await page.getByRole('button', { name: 'Rotate' }).click();
	await dialog.getByRole('button', { name: 'Rotate key' }).click();
	await page.getByText('This key is shown only once.').waitFor();
	const after = seen.answers.length;
	const next = await takeKey(page);
	is([...(await traces(page, key)), ...(await traces(page, next))], [], 'neither text is in the page');
	is([(await callApi(api, key))[0], (await callApi(api, next))[0]], [200, 200], 'both texts work');
	await page.reload();
	await page.getByText(/It is still in use/).waitFor();
	ok(true, 'it says that the old text is still in use');
	await page.getByRole('button', { name: 'End the old text now' }).click();
	await page.getByText('Rotation is under way').waitFor({ state: 'detached' });
	is([(await callApi(api, key))[0], (await callApi(api, next))[0]], [401, 200], 'the old text is refused');

	await page.getByRole('button', { name: 'Disable' }).click();
	await dialog.getByLabel(/Reason/).fill('for a while');
	await dialog.getByRole('button', { name: 'Disable key' }).click();
	await page.getByRole('button', { name: 'Enable' }).waitFor();
	is((await callApi(api, next))[0], 401, 'disabled');
	await page.getByRole('button', { name: 'Enable' }).click();
	await page.getByRole('button', { name: 'Disable' }).waitFor();
	is((await callApi(api, next))[0], 200, 'enabled');
	await focusComes(page, 'Shop window', 'the focus is at the top of what is new');

	await page.getByRole('link', { name: 'API keys' }).click();
	await page.getByRole('button', { name: 'Revoke Shop window' }).click();
	await dialog.getByRole('heading', { name: 'It opens' }).waitFor();
	ok(
		/Shop window/.test(await dialog.innerText()) &&
			/public\.orders – web – production/.test(await dialog.innerText()),
		'before a key is revoked, its name and what it opens',
	);
	await dialog.getByRole('button', { name: 'Cancel' }).click();
	is(
		await page.evaluate("document.activeElement.getAttribute('aria-label')"),
		'Revoke Shop window',
		'the focus is back where it was',
	);
	await page.keyboard.press('Enter');
	await dialog.getByRole('button', { name: 'Revoke key' }).click();
	await page.locator('tr', { hasText: 'Shop window' }).getByText('revoked').waitFor();
	is((await callApi(api, next))[0], 401, 'revoked');
	await focusComes(page, 'Shop window', 'the focus stays with the key');
	await page.getByRole('link', { name: 'Shop window' }).click();
	await page.getByText('for a while').waitFor();
	ok(/revoke\n?.*by Ada, operator/s.test(await page.locator('.events').innerText()), 'events say who');

	is(
		[...(await wire(page, seen, key, from)), ...(await wire(page, seen, next, after))],
		[],
		'no later answer, and no request, has the text of a key',
	);
	is(
		seen.answers.filter(({ text }) => text.includes(key) || text.includes(next)).length,
		2,
		'each was in one answer',
	);
}

async function hostileText({ page, seen }) {
	await sql(
		`SELECT apikey_create('acme', $1, '[]', metadata => $2, created_by => $1)`,
		hostile,
		JSON.stringify({ [hostile]: hostile }),
	);
	await page.goto(`${page.url().split('#')[0]}#/`);
	await page.getByRole('link', { name: hostile, exact: true }).click();
	await page.getByRole('heading', { name: hostile, exact: true }).waitFor();
	ok((await page.locator('pre').innerText()).includes('onerror'), 'hostile metadata is shown as text');
	await page.getByRole('button', { name: 'Revoke' }).click();
	await page.getByRole('dialog').getByRole('heading', { name: 'It opens' }).waitFor();
	await page.keyboard.press('Escape');
	await page.getByRole('button', { name: 'Edit' }).click();
	is(
		await page.getByRole('dialog').getByLabel('Label').inputValue(),
		hostile,
		'a hostile label is a value',
	);
	await page.keyboard.press('Escape');
	await page.getByRole('link', { name: 'API keys' }).click();
	is(await page.evaluate('window.hacked'), undefined, 'it is never run');
	is(await page.locator('main img, main script').count(), 0, 'nor markup');
	is(seen.errors, [], 'nothing went wrong in the page');
}

async function listing({ page }) {
	const labels = () => page.locator('a.label').allInnerTexts();
	const shown = (text) => page.getByText(text, { exact: true }).waitFor();

	await page.getByRole('button', { name: 'Older' }).click();
	await shown('Page 2');
	const second = await labels();
	await sql(`SELECT apikey_create('acme', 'late ' || n) FROM generate_series(1, 30) n`);
	await loaded(page, () => page.getByRole('button', { name: 'Load again' }).click());
	is(await labels(), second, 'keys that come do not move the second page');
	await page.getByRole('button', { name: 'Newer' }).click();
	await shown('Page 1');
	await page.getByRole('link', { name: 'late 30' }).waitFor();
	ok(true, 'the first page has them');

	await page.getByRole('searchbox').fill('order serv');
	await page.getByRole('link', { name: 'Order service' }).waitFor();
	ok(await until(page, 'document.querySelectorAll("a.label").length === 1'), 'the search');
	await page.getByRole('searchbox').fill('');
	await page.getByLabel('Status').selectOption('disabled');
	await page.getByRole('link', { name: "Intern's laptop" }).waitFor();
	is(await labels(), ["Intern's laptop"], 'the filter');
	await page.getByLabel('Status').selectOption('');
	await page.getByRole('link', { name: 'late 30' }).waitFor();
	await page.getByRole('button', { name: 'Older' }).click();
	await page.getByRole('link', { name: 'Order service' }).waitFor();
	await page.getByRole('button', { name: '2 derived' }).click();
	await page.getByRole('link', { name: 'refund 4711' }).waitFor();
	ok(true, 'derived keys are under their parent');
}

async function leaks({ page, seen }) {
	const [{ key, key_id }] = await sql(`SELECT * FROM apikey_create('acme', 'leaked one')`);
	const [{ key: other }] = await sql(`SELECT * FROM apikey_create('globex', 'leaked of others')`);
	const dialog = page.getByRole('dialog', { name: 'Leak check' });

	// a key that is looked for goes no further than its masked form
	await page.getByRole('searchbox').fill(key);
	await page.getByRole('link', { name: 'leaked one' }).waitFor();
	await page.getByRole('searchbox').fill('');
	await page.getByRole('button', { name: 'Leak check' }).click();
	await dialog.getByLabel('Text').fill(`GET /?key=${key.slice(0, 40)}=\n${key.slice(40)} and ${other}`);
	await dialog.getByRole('button', { name: 'Look for keys' }).click();
	await dialog.getByText('2 keys were found').waitFor();
	ok(
		/leaked one/.test(await dialog.innerText()) &&
			!/leaked of others|globex/.test(await dialog.innerText()),
		'the leak check names keys of the organization alone',
	);
	is(await faults(page), [], 'axe finds nothing serious in the leak check');
	await dialog.getByRole('button', { name: 'Revoke' }).click();
	await page.getByRole('button', { name: 'Revoke key' }).click();
	await dialog.getByText('revoked').waitFor();
	await dialog.locator('.foot').getByRole('button', { name: 'Close' }).click();
	is(
		(await sql('SELECT status FROM apikey_keys WHERE key_id = $1', key_id))[0].status,
		'revoked',
		'what has leaked can be revoked there',
	);
	is(
		[...(await traces(page, key)), ...(await wire(page, seen, key, 0))],
		[],
		'what was pasted is gone, and in no answer',
	);
}

async function access({ page }, address) {
	const open = async (name) => {
		await page.goto(`${address}/#/`);
		await page.reload();
		await page.getByRole('table', { name: 'API keys' }).waitFor();
		if (name === 'list') return;
		await page.getByRole('searchbox').fill('deploy bot');
		await page.getByRole('link', { name: 'Deploy bot' }).click();
		await page.locator('svg.chart').waitFor();
		if (name === 'question') {
			await page.getByRole('button', { name: 'Revoke' }).click();
			await page.getByRole('dialog').waitFor();
		}
	};

	for (const [name, size, colorScheme] of [
		['light', { width: 1280, height: 860 }, 'light'],
		['dark', { width: 1280, height: 860 }, 'dark'],
		['phone', { width: 360, height: 740 }, 'light'],
	]) {
		await page.setViewportSize(size);
		await page.emulateMedia({ colorScheme });
		for (const what of ['list', 'one', 'question']) {
			await open(what);
			is(await faults(page), [], `axe finds nothing serious: ${what}, ${name}`);
			is(
				await page.evaluate('document.documentElement.scrollWidth > innerWidth'),
				false,
				'no scrolling to the side',
			);
			await picture(page, `${what}-${name}`);
		}
	}
	await page.setViewportSize({ width: 1280, height: 860 });
	await page.emulateMedia({ colorScheme: 'light' });
	await open('list');
}

// From the top of the page to the end of the form without a mouse.
async function keyboard({ page }, address) {
	const focus = () =>
		page.evaluate("(document.activeElement.innerText || document.activeElement.name || '').trim()");
	const until = async (wanted, key = 'Tab') => {
		for (let n = 0; n < 40 && (await focus()) !== wanted; n++) await page.keyboard.press(key);
		return focus();
	};

	await page.goto(`${address}/#/`);
	await page.reload();
	await page.getByRole('table', { name: 'API keys' }).waitFor();
	is(await until('Add API key'), 'Add API key', 'Tab leads to the button');
	await page.keyboard.press('Enter');
	await page.getByRole('dialog').waitFor();
	await page.keyboard.type('by keyboard');
	is(await until('Add permission'), 'Add permission', 'in the form, too');
	await page.keyboard.press('Space');
	is(
		await page.evaluate("document.activeElement.getAttribute('aria-label')"),
		'Project',
		'a new row has the focus',
	);
	await page.keyboard.press('Enter');
	await page.keyboard.press('Escape');
	await page.keyboard.press('Escape');
	is(await page.getByRole('dialog').count(), 0, 'Escape closes the form');
	is(await focus(), 'Add API key', 'and gives the focus back');
}

async function session({ page, context }, address, operators) {
	const [cookie] = await context.cookies();

	ok(
		cookie.httpOnly && cookie.sameSite === 'Strict' && !keyText.test(cookie.value),
		'the cookie is out of reach, and no key',
	);
	await page.getByRole('button', { name: 'Log out' }).click();
	await page.getByRole('button', { name: 'Log in' }).waitFor();
	is(await faults(page), [], 'axe finds nothing serious: log-in');
	await picture(page, 'login');
	await page.getByLabel('Operator’s key').fill('rubbish');
	await page.getByRole('button', { name: 'Log in' }).click();
	await page.getByText('This is not a good API key.').waitFor();
	is(await page.getByLabel('Operator’s key').inputValue(), '', 'a bad key is refused, and taken away');
	await page.goBack();
	is(await page.getByRole('table').count(), 0, 'going back shows nothing');

	// of two customers, and of one who may only look
	await logIn(page, address, operators[2]);
	is(
		(await page.locator('a.label').allInnerTexts()).includes('Deploy bot'),
		false,
		'another operator sees other keys',
	);
	await page.goto(
		`${address}/#/key/${(await sql("SELECT key_id FROM apikey_keys WHERE label = 'Deploy bot'"))[0].key_id}`,
	);
	await page.getByRole('heading', { name: 'No such key' }).waitFor();
	ok(true, 'nor by the address of one');
	await page.getByRole('button', { name: 'Log out' }).click();
	await logIn(page, address, operators[1]);
	is(
		await page.getByRole('button', { name: /Add API key|Revoke/ }).count(),
		0,
		'who may only look has no buttons to change',
	);

	await sql(`SELECT apikey_suspend('acme')`);
	await page.getByRole('button', { name: 'Load again' }).click();
	await page.getByText('Refused: organization is suspended.').waitFor();
	ok(await page.getByRole('button', { name: 'Log in' }).isVisible(), 'a suspended organization is told so');
	await sql(`SELECT apikey_resume('acme')`);

	const hasty = await start('console/server.js', 'console_server', { IDLE_MINUTES: '0.05' });
	await logIn(page, hasty.address, operators[0]);
	await page.getByText('Your session has ended.').waitFor();
	is(
		await page.getByRole('table').count(),
		0,
		'when a session was idle for too long, nothing is left to see',
	);
}

module.exports = async ({ operators, server, api }) => {
	const profile = fs.mkdtempSync(`${process.env.TMPDIR}/profile`);
	const browser = await browse(profile);

	try {
		await logIn(browser.page, server.address, operators[0]);
		is(await traces(browser.page, operators[0]), [], "the operator's key is nowhere in the page");
		await access(browser, server.address);
		await life(browser, { api });
		await hostileText(browser);
		await listing(browser);
		await leaks(browser);
		await keyboard(browser, server.address);
		await session(browser, server.address, operators);
		is(browser.seen.errors, [], 'no error in the page, and none of its policy');
	} catch (error) {
		await picture(browser.page, 'failed').catch(() => {});
		throw error;
	} finally {
		await browser.context.close();
	}
};
