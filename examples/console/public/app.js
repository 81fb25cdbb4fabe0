// Which page is shown, and for whom.

import { call, whenSessionEnds } from './api.js';
import { closeAll } from './dialog.js';
import { h, icon, field, fill, showErrors, errorsOf } from './dom.js';
import { showKeyPage } from './key.js';
import { forget, showList } from './list.js';

const main = document.getElementById('main');
const bar = document.getElementById('bar');
let session = null;

function showLogin(text) {
	const key = h('input', { type: 'password', autocomplete: 'current-password', spellcheck: 'false' });
	const submit = h('button', { type: 'submit', class: 'primary' }, 'Log in');
	const form = h(
		'form',
		{ class: 'card login', method: 'post', novalidate: true },
		h('div', { class: 'mark' }, icon('key')),
		h('h1', { tabindex: -1 }, 'API keys'),
		h('p', { class: 'dim' }, 'Log in with an operator’s key: one that has access to its organization.'),
		text && h('p', { class: 'warning', role: 'alert' }, text),
		h('input', {
			class: 'unseen',
			name: 'username',
			autocomplete: 'username',
			value: 'operator',
			tabindex: -1,
			'aria-hidden': 'true',
		}),
		field('key', 'Operator’s key', key),
		h('p', { class: 'error whole', role: 'alert', 'data-error': 'form' }),
		submit,
	);

	session = null;
	forget();
	closeAll('dialog');
	bar.hidden = true;
	document.title = 'Log in – API keys';
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		if (key.value.trim() === '') {
			showErrors(form, { key: 'Paste a key.' });
			return;
		}
		submit.disabled = true;
		try {
			enter(await call('login', { key: key.value }));
		} catch (error) {
			showErrors(form, errorsOf(error));
		} finally {
			key.value = '';
			submit.disabled = false;
		}
	});
	fill(main, form);
	key.focus();
}

function enter(answer) {
	session = answer;
	document.getElementById('organization').textContent = session.operator.organization;
	document.getElementById('who').textContent = session.operator.label;
	bar.hidden = false;
	route();
}

async function route() {
	const [, id] = /^#\/key\/([0-9a-f-]{36})$/.exec(location.hash) || [];

	if (!session) return;
	closeAll();
	await (id ? showKeyPage(main, session, id) : showList(main, session));
	// a new page: a screen reader begins with its heading
	const heading = main.querySelector('h1');
	if (heading && !document.querySelector('dialog')) heading.focus({ preventScroll: true });
	window.scrollTo(0, 0);
}

document.getElementById('logout').addEventListener('click', async () => {
	await call('logout').catch(() => {});
	history.replaceState(null, '', '#/');
	showLogin();
});
window.addEventListener('hashchange', route);
whenSessionEnds((text) => showLogin(text === 'You are not logged in.' ? 'Your session has ended.' : text));
call('session').then(
	(answer) => (answer.operator ? enter(answer) : showLogin()),
	(error) => showLogin(error.message),
);
