// One key: what it may do and opens, how much it is used, what has happened to it.

import { call } from './api.js';
import { revoke, disable, enable, rotate, finishRotation, cancelRotation, reachList } from './actions.js';
import { usageChart } from './chart.js';
import { editKey } from './form.js';
import { h, button, icon, fill, toast } from './dom.js';
import { ago, dayOf, exactly, number, organizationAccess, pill, place, time } from './format.js';

function card(title, ...content) {
	return h('section', { class: 'card padded' }, h('h2', {}, title), ...content);
}

function facts(rows) {
	return h(
		'dl',
		{},
		rows
			.filter(([, value]) => value)
			.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
	);
}

// While both texts of a key work: does somebody still use the old one?
function rotation(session, key, reload) {
	const last = key.usage && key.usage.old_secret_used_at;
	const may = session.operator.organization_level === 'write';

	return (
		key.overlap_until &&
		h(
			'section',
			{ class: 'card padded rotation' },
			h('h2', {}, icon('rotate'), 'Rotation is under way'),
			h(
				'p',
				{},
				'The old text works until ',
				time(key.overlap_until, exactly(key.overlap_until)),
				'. ',
				last
					? h('b', {}, 'It is still in use: the last time ', time(last), '.')
					: 'Nobody has used it since the new one was made.',
			),
			may &&
				h(
					'div',
					{ class: 'actions' },
					button('End the old text now', 'check', () => finishRotation(key, reload)),
					button('Undo the rotation', null, () => cancelRotation(key, reload)),
				),
		)
	);
}

function permissions(key) {
	const rows = key.grants.map((grant) =>
		h(
			'tr',
			{},
			h('th', { scope: 'row' }, grant.project === '*' ? 'all projects' : grant.project),
			h('td', {}, grant.environment === '*' ? 'all environments' : grant.environment),
			h('td', {}, h('b', { class: `level ${grant.level}` }, grant.level)),
		),
	);

	return card(
		'Permissions',
		key.grants.length
			? h(
					'div',
					{ class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Permissions' },
					h(
						'table',
						{ class: 'plain' },
						h(
							'thead',
							{},
							h(
								'tr',
								{},
								['Project', 'Environment', 'Level'].map((text) =>
									h('th', { scope: 'col' }, text),
								),
							),
						),
						h('tbody', {}, rows),
					),
				)
			: h('p', { class: 'dim' }, 'None on projects.'),
		h(
			'p',
			{},
			'Organization access: ',
			h('b', {}, organizationAccess[key.organization_level] || 'none'),
			key.organization_level === 'write' && h('span', { class: 'dim' }, ' (write includes read)'),
		),
		key.parent_id && h('p', { class: 'dim' }, 'It may do no more than the key that it is derived from.'),
		h('h3', {}, 'Opens'),
		reachList(key.reach),
	);
}

// An event in words.
function what({ action, detail }) {
	const d = detail || {};
	const words = action.replace(/_/g, ' ');
	const grant = d.project && d.environment ? ` ${place(d)}${d.level ? `: ${d.level}` : ''}` : '';
	const rest = Object.entries(d)
		.filter(([name]) => !['project', 'environment', 'level'].includes(name) || !grant)
		.filter(
			([, value]) => value !== null && JSON.stringify(value) !== '[]' && value !== 0 && value !== '',
		)
		.map(
			([name, value]) =>
				`${name.replace(/_/g, ' ')} ${
					/_(at|until)$/.test(name) && typeof value === 'string' && !Number.isNaN(Date.parse(value))
						? exactly(value)
						: name === 'grants' && Array.isArray(value)
							? value.map((g) => `${place(g)}: ${g.level}`).join('; ')
							: typeof value === 'string'
								? value
								: JSON.stringify(value)
				}`,
		);

	return [h('b', {}, words + grant), rest.length > 0 && h('span', { class: 'dim' }, rest.join(', '))];
}

function history(key) {
	const rows = h('ol', { class: 'events' });
	const add = (events) =>
		rows.append(
			...events.map((event) =>
				h(
					'li',
					{},
					h('div', {}, what(event)),
					h(
						'div',
						{ class: 'dim' },
						time(event.at),
						` by ${event.actor || (event.acting_key ? 'a deleted key' : 'the service')}`,
						event.address && ` from ${event.address}`,
					),
				),
			),
		);
	const more = button('Older events', null, async () => {
		try {
			const result = await call('events', { key_id: key.key_id, before: key.older });

			add(result.events);
			key.older = result.older;
			more.hidden = !key.older;
		} catch (error) {
			toast(error.message);
		}
	});

	add(key.events);
	more.hidden = !key.older;
	return card('Events', key.events.length ? rows : h('p', { class: 'dim' }, 'None is kept.'), more);
}

function derived(key) {
	return (
		key.derived.length > 0 &&
		card(
			'Derived keys',
			h(
				'ul',
				{ class: 'tree' },
				key.derived.map((child) =>
					h(
						'li',
						{ class: `depth${child.depth}` },
						h('a', { href: `#/key/${child.key_id}` }, child.label),
						pill(child.status),
						h(
							'span',
							{ class: 'dim' },
							child.expires_at ? `expires ${ago(child.expires_at)}` : '',
						),
					),
				),
			),
		)
	);
}

function buttons(session, key, reload) {
	if (session.operator.organization_level !== 'write' || key.status === 'revoked') return null;
	return h(
		'div',
		{ class: 'actions' },
		!key.parent_id && button('Edit', 'edit', () => editKey(session, key, reload)),
		!key.parent_id && button('Rotate', 'rotate', () => rotate(session, key, reload)),
		key.disabled_at
			? button('Enable', 'play', () => enable(key, reload))
			: button('Disable', 'pause', () => disable(session, key, reload)),
		button('Revoke', 'trash', () => revoke(session, key, reload), { class: 'danger' }),
	);
}

export async function showKeyPage(main, session, id) {
	const reload = async () => {
		await showKeyPage(main, session, id);
		main.querySelector('h1').focus();
	};
	let key;

	try {
		key = await call('key', { key_id: id });
	} catch (error) {
		fill(
			main,
			h('p', {}, h('a', { href: '#/', class: 'back' }, icon('back'), 'API keys')),
			h('h1', { tabindex: -1 }, 'No such key'),
			h('p', { role: 'alert' }, error.message),
		);
		return;
	}
	document.title = `${key.label} – ${session.operator.organization}`;
	fill(
		main,
		h('p', {}, h('a', { href: '#/', class: 'back' }, icon('back'), 'API keys')),
		h(
			'div',
			{ class: 'title' },
			h(
				'div',
				{},
				h('h1', { tabindex: -1 }, key.label),
				h(
					'p',
					{ class: 'under' },
					pill(key.status),
					h('code', { class: 'masked' }, key.key || 'imported'),
				),
			),
			buttons(session, key, reload),
		),
		rotation(session, key, reload),
		h(
			'div',
			{ class: 'columns' },
			h(
				'div',
				{},
				card(
					'Use',
					usageChart(key.hours),
					key.usage &&
						h(
							'p',
							{ class: 'dim' },
							`${number(key.usage.uses)} uses and ${number(key.usage.refusals)} refusals in all.`,
						),
				),
				history(key),
			),
			h(
				'div',
				{},
				card(
					'Details',
					facts([
						[
							'Created',
							[
								exactly(key.created_at),
								(key.creator || key.created_by) && ` by ${key.creator || key.created_by}`,
							],
						],
						[
							'Last used',
							key.last_used_at
								? [
										time(key.last_used_at),
										key.last_used_from && ` from ${key.last_used_from}`,
									]
								: 'never',
						],
						[
							'Last refused',
							key.usage && key.usage.last_refused_at && time(key.usage.last_refused_at),
						],
						[
							'Expires',
							key.expires_at ? [exactly(key.expires_at), ` (${ago(key.expires_at)})`] : 'never',
						],
						['Disabled', key.disabled_at && exactly(key.disabled_at)],
						['Revoked', key.revoked_at && exactly(key.revoked_at)],
						[
							'Derived from',
							key.parent_id && h('a', { href: `#/key/${key.parent_id}` }, key.parent),
						],
						[
							'Networks',
							key.allowed_networks ? key.allowed_networks.join(', ') : 'from anywhere',
						],
						['Rate limit', key.rate_limit || 'none'],
						[
							'Budget',
							key.budget &&
								`${number(key.remaining)} of ${number(key.budget)} left${key.refills_at ? `, refilled on ${dayOf(key.refills_at)}` : ''}`,
						],
						['Derived keys', key.max_derived > 0 && `up to ${number(key.max_derived)}`],
						[
							'Metadata',
							key.metadata !== '{}' &&
								h('pre', { tabindex: 0, 'aria-label': 'Metadata' }, key.metadata),
						],
					]),
				),
				permissions(key),
				derived(key),
			),
		),
	);
}
