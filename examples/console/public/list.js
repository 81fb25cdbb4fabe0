// The list of keys: search, filter, pages, derived keys under their parents.

import { call } from './api.js';
import { revoke, leakCheck } from './actions.js';
import { addKey } from './form.js';
import { h, button, icon, fill, toast } from './dom.js';
import { ago, chip, dayOf, organizationAccess, pill, time } from './format.js';

// It stays while one looks at a key: filter, and the last key of each page before.
let state = { search: '', status: '', before: [null] };

export function forget() {
	state = { search: '', status: '', before: [null] };
}

const statuses = ['active', 'expired', 'disabled', 'revoked', 'suspended'];

// Of the text of a key only the masked part is sent.
function searchOf(text) {
	const [masked] = /^[a-z][a-z0-9_]*_[0-9A-Za-z]{22}/.exec(text.trim()) || [];

	return masked || text.trim();
}

function cell(name, ...content) {
	return h('td', { role: 'cell', 'data-label': name }, ...content);
}

function access(key) {
	const more = key.grant_count - key.grants.length;

	return h(
		'div',
		{ class: 'chips' },
		key.grants.map(chip),
		more > 0 && h('span', { class: 'chip' }, `${more} more`),
		key.organization_level &&
			h(
				'span',
				{ class: 'chip organization' },
				'organization',
				h('b', {}, organizationAccess[key.organization_level]),
			),
		key.grant_count === 0 && !key.organization_level && h('span', { class: 'dim' }, 'nothing'),
	);
}

const creator = (key) => key.creator || key.created_by;

function row(session, key, { depth = 0, flat, reload }) {
	const may = session.operator.organization_level === 'write';
	const toggle =
		key.derived > 0 &&
		!depth &&
		!flat &&
		h(
			'button',
			{
				type: 'button',
				class: 'quiet small toggle',
				'aria-expanded': 'false',
				onclick: () => unfold(session, key, element, toggle, reload),
			},
			icon('next'),
			`${key.derived} derived`,
		);
	const element = h(
		'tr',
		{ role: 'row', class: depth ? 'derived' : '', 'data-id': key.key_id },
		h(
			'th',
			{ role: 'rowheader', scope: 'row', class: depth ? `depth${Math.min(depth, 4)}` : '' },
			h('a', { href: `#/key/${key.key_id}`, class: 'label' }, key.label),
			h('code', { class: 'masked' }, key.key || 'imported'),
			flat && key.parent && h('span', { class: 'dim' }, `derived from ${key.parent}`),
			toggle,
		),
		cell(
			'Status',
			pill(key.status),
			key.key_id === session.operator.key_id && h('span', { class: 'pill own' }, 'logged in'),
			key.overlap_until &&
				h(
					'span',
					{ class: 'pill rotating', title: `both texts work until ${dayOf(key.overlap_until)}` },
					'rotating',
				),
		),
		cell('Access', access(key)),
		cell(
			'Created',
			time(key.created_at, dayOf(key.created_at)),
			creator(key) && h('span', { class: 'dim' }, `by ${creator(key)}`),
		),
		cell(
			'Last used',
			key.last_used_at
				? [
						time(key.last_used_at),
						key.last_used_from && h('span', { class: 'dim' }, `from ${key.last_used_from}`),
					]
				: h('span', { class: 'dim' }, 'never'),
		),
		cell('Expires', key.expires_at ? time(key.expires_at) : h('span', { class: 'dim' }, 'never')),
		h(
			'td',
			{ role: 'cell', class: 'end' },
			may &&
				key.status !== 'revoked' &&
				h(
					'button',
					{
						type: 'button',
						class: 'quiet square',
						'aria-label': `Revoke ${key.label}`,
						title: 'Revoke',
						onclick: () => revoke(session, key, reload),
					},
					icon('trash'),
				),
		),
	);

	return element;
}

async function unfold(session, key, element, toggle, reload) {
	if (toggle.getAttribute('aria-expanded') === 'true') {
		toggle.setAttribute('aria-expanded', 'false');
		while (element.nextElementSibling && element.nextElementSibling.classList.contains('derived'))
			element.nextElementSibling.remove();
		return;
	}
	toggle.setAttribute('aria-expanded', 'true');
	try {
		const keys = await call('derived', { key_id: key.key_id });

		element.after(...keys.map((k) => row(session, k, { depth: k.depth, reload })));
	} catch (error) {
		toast(error.message);
	}
}

function table(session, keys, reload) {
	const flat = Boolean(state.search || state.status);
	const head = ['Key', 'Status', 'Access', 'Created', 'Last used', 'Expires'];

	return h(
		'table',
		{ class: 'keys', role: 'table', 'aria-label': 'API keys' },
		h(
			'thead',
			{ role: 'rowgroup' },
			h(
				'tr',
				{ role: 'row' },
				head.map((text) => h('th', { role: 'columnheader', scope: 'col' }, text)),
				h('th', { role: 'columnheader', scope: 'col' }, h('span', { class: 'unseen' }, 'Actions')),
			),
		),
		h(
			'tbody',
			{ role: 'rowgroup' },
			keys.map((key) => row(session, key, { flat, reload })),
		),
	);
}

function empty() {
	return h(
		'div',
		{ class: 'empty' },
		icon('key'),
		h('p', {}, state.search || state.status ? 'No key is like that.' : 'There is no key yet.'),
	);
}

export function showList(main, session) {
	const may = session.operator.organization_level === 'write';
	const search = h('input', {
		type: 'search',
		'aria-label': 'Search by label or masked key',
		placeholder: 'Search by label or key',
		autocomplete: 'off',
		spellcheck: 'false',
		value: state.search,
	});
	const status = h(
		'select',
		{ 'aria-label': 'Status' },
		h('option', { value: '' }, 'Any status'),
		statuses.map((name) => h('option', { value: name, selected: state.status === name }, name)),
	);
	const content = h('div', { class: 'card', id: 'keys' });
	const said = h('p', { class: 'unseen', role: 'status' });
	const page = h('span', { class: 'dim' });
	let next = null;
	let calls = 0;

	const newer = button('Newer', null, () => go(() => state.before.pop()));
	const older = button('Older', null, () => go(() => state.before.push(next)));
	const reload = () => load(false);

	async function go(change) {
		change();
		await load(true);
		(newer.disabled ? older : newer).focus();
	}

	// The focus stays with the key that it was at, when the list is made anew.
	function focusRow(id) {
		const link = content.querySelector(`tr[data-id="${id}"] a.label`);

		if (link) link.focus();
	}

	async function load(say) {
		const mine = ++calls;

		content.setAttribute('aria-busy', 'true');
		// which page is next is not known yet
		newer.disabled = older.disabled = true;
		try {
			const result = await call('list', {
				before: state.before[state.before.length - 1],
				status: state.status,
				search: searchOf(state.search),
			});

			// an answer that comes too late is not shown
			if (mine !== calls) return;
			const focused = document.activeElement.closest('tr[data-id]');
			next = result.next;
			fill(content, result.keys.length ? table(session, result.keys, reload) : empty());
			if (focused) focusRow(focused.dataset.id);
			newer.disabled = state.before.length === 1;
			older.disabled = !next;
			page.textContent = `Page ${state.before.length}`;
			if (say) said.textContent = `${result.keys.length} keys, page ${state.before.length}`;
		} catch (error) {
			if (mine === calls) fill(content, h('p', { class: 'error', role: 'alert' }, error.message));
		} finally {
			content.removeAttribute('aria-busy');
		}
	}

	let typing;
	function filter() {
		clearTimeout(typing);
		state = { search: search.value, status: status.value, before: [null] };
		load(true);
	}

	search.addEventListener('input', () => {
		clearTimeout(typing);
		typing = setTimeout(filter, 200);
	});
	status.addEventListener('change', filter);
	document.title = `API keys – ${session.operator.organization}`;
	fill(
		main,
		h(
			'div',
			{ class: 'title' },
			h('h1', { tabindex: -1 }, 'API keys'),
			h(
				'div',
				{ class: 'actions' },
				button('Leak check', 'shield', () => leakCheck(session, may, reload)),
				may &&
					button(
						'Add API key',
						'plus',
						async () => {
							const id = await addKey(session);

							state = { search: '', status: '', before: [null] };
							search.value = status.value = '';
							await load(true);
							focusRow(id);
						},
						{ class: 'primary', id: 'add' },
					),
			),
		),
		!may &&
			h(
				'p',
				{ class: 'note' },
				'Your key has read access to the organization: you can look at its keys, but not change them.',
			),
		h(
			'div',
			{ class: 'filter', role: 'search' },
			h('div', { class: 'search' }, icon('search'), search),
			status,
			h(
				'button',
				{
					type: 'button',
					class: 'square',
					'aria-label': 'Load again',
					title: 'Load again',
					onclick: () => load(true),
				},
				icon('reload'),
			),
		),
		content,
		said,
		h('nav', { class: 'pages', 'aria-label': 'Pages' }, newer, page, older),
	);
	return load(false);
}
