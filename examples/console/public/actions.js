// What can be done with a key, each with the question before it.

import { call } from './api.js';
import { form, open, showKey, shut } from './dialog.js';
import { h, field, toast, button, fill, newId, showErrors, errorsOf } from './dom.js';
import { pill } from './format.js';

const reasonField = () => h('input', { autocomplete: 'off', maxlength: 900 });

const own = (session, key) =>
	key.key_id === session.operator.key_id &&
	h('p', { class: 'warning' }, 'This is the key that you are logged in with.');

function reachList(reach) {
	const row = ({ relation, project, environment, commands }) =>
		h(
			'li',
			{},
			h('code', {}, relation),
			project === null
				? ' of the organization'
				: ` – ${project === '*' ? 'all projects' : project} – ${environment === '*' ? 'all environments' : environment}`,
			h('span', { class: 'commands' }, commands.join(', ')),
		);

	return reach.length ? h('ul', { class: 'reach' }, reach.map(row)) : h('p', {}, 'It opens no table.');
}

export { reachList };

// The dialog names the key and what it opens.
export async function revoke(session, key, changed) {
	const reason = reasonField();
	const reach = await call('reach', { key_id: key.key_id });

	form(
		'Revoke this API key?',
		[
			h('p', { class: 'named' }, h('b', {}, key.label), key.key && h('code', {}, key.key)),
			own(session, key),
			h(
				'p',
				{},
				'Every program that uses it is refused at once, and so are the keys derived from it. This cannot be undone.',
			),
			h('h3', {}, 'It opens'),
			reachList(reach),
			field('reason', 'Reason (optional)', reason),
		],
		{
			label: 'Revoke key',
			danger: true,
			async send() {
				await call('revoke', { key_id: key.key_id, reason: reason.value });
				toast(`“${key.label}” is revoked.`);
				changed();
			},
		},
	);
}

export function disable(session, key, changed) {
	const reason = reasonField();

	form(
		'Disable this API key?',
		[
			h('p', { class: 'named' }, h('b', {}, key.label), key.key && h('code', {}, key.key)),
			own(session, key),
			h('p', {}, 'It is refused until you enable it again.'),
			field('reason', 'Reason (optional)', reason),
		],
		{
			label: 'Disable key',
			danger: true,
			async send() {
				await call('disable', { key_id: key.key_id, reason: reason.value });
				toast(`“${key.label}” is disabled.`);
				changed();
			},
		},
	);
}

export function rotate(session, key, changed) {
	const overlap = h(
		'select',
		{},
		[
			['0', 'not at all: it is refused at once'],
			['1 hour', 'for an hour'],
			['1 day', 'for a day'],
			['7 days', 'for 7 days'],
			['30 days', 'for 30 days'],
		].map(([value, text]) => h('option', { value, selected: value === '7 days' }, text)),
	);

	form(
		'Rotate this API key?',
		[
			h('p', { class: 'named' }, h('b', {}, key.label), key.key && h('code', {}, key.key)),
			own(session, key),
			h('p', {}, 'It gets a new text. Everything else stays: permissions, limits, expiry.'),
			field('overlap', 'The old text goes on to work', overlap, 'If the key has leaked: not at all.'),
		],
		{
			label: 'Rotate key',
			async send() {
				const { key: text } = await call('rotate', { key_id: key.key_id, overlap: overlap.value });

				showKey(
					'The new text of your API key',
					text,
					overlap.value === '0'
						? 'The old text is refused from now on.'
						: 'The old text works as well, for the time that you chose.',
				).then(changed);
			},
		},
	);
}

// A change that needs no question.
export function act(name, said) {
	return async (key, changed) => {
		try {
			await call(name, { key_id: key.key_id });
			toast(said);
		} catch (error) {
			toast(Object.values(errorsOf(error))[0]);
		}
		changed();
	};
}

export const enable = act('enable', 'The key is enabled.');
export const finishRotation = act('finish-rotation', 'The old text is refused from now on.');
export const cancelRotation = act('cancel-rotation', 'The new text is refused, and the old one stays.');

// Paste a text, see which keys of the organization are in it.
export function leakCheck(session, may, changed) {
	const text = h('textarea', { rows: 8, class: 'mono', spellcheck: 'false', autocomplete: 'off' });
	const found = h('div', { role: 'status' });
	const id = newId('leak');
	const element = h(
		'form',
		{ novalidate: true },
		h(
			'div',
			{ class: 'body' },
			field('text', 'Text', text, 'A log, a commit, a message. It is searched and not stored.'),
			found,
		),
		h('p', { class: 'error whole', role: 'alert', 'data-error': 'form' }),
		h(
			'div',
			{ class: 'foot' },
			button('Close', null, () => shut(dialog)),
			h('button', { type: 'submit', class: 'primary', id }, 'Look for keys'),
		),
	);
	const dialog = open('Leak check', element, { wide: true });

	const row = (key) =>
		h(
			'li',
			{},
			h(
				'div',
				{},
				h('b', {}, key.label || 'No key of yours'),
				' ',
				pill(key.status),
				h('code', {}, key.key || ''),
			),
			key.key_id &&
				h(
					'div',
					{ class: 'actions' },
					h('a', { href: `#/key/${key.key_id}`, onclick: () => shut(dialog) }, 'Look at it'),
					may &&
						!['revoked', 'superseded'].includes(key.status) &&
						button(
							'Revoke',
							'trash',
							() =>
								revoke(session, key, () => {
									changed();
									look();
								}),
							{ class: 'small danger' },
						),
				),
		);

	async function look() {
		try {
			const keys = await call('find-keys', { text: text.value });

			showErrors(element, {});
			fill(
				found,
				h(
					'h3',
					{},
					keys.length === 1 ? 'One key was found' : `${keys.length || 'No'} keys were found`,
				),
				keys.length > 0 && h('ul', { class: 'found' }, keys.map(row)),
			);
		} catch (error) {
			showErrors(element, errorsOf(error));
		}
	}
	element.addEventListener('submit', (event) => {
		event.preventDefault();
		look();
	});
	text.focus();
}
