// Dialogs: <dialog> of the browser holds the focus, ends by Escape and gives the focus back.

import { h, icon, newId, button, showErrors, errorsOf } from './dom.js';

// Out of the page at once: the browser says later that a dialog was closed.
export function shut(dialog) {
	dialog.close();
	dialog.remove();
}

// Open a dialog; "body" is its content.  It is gone from the page when it is closed.
export function open(title, body, { wide, closed, sticky } = {}) {
	const id = newId('title');
	const dialog = h(
		'dialog',
		{ 'aria-labelledby': id, class: wide ? 'wide' : '' },
		h(
			'div',
			{ class: 'head' },
			h('h2', { id }, title),
			!sticky &&
				h(
					'button',
					{
						type: 'button',
						class: 'quiet square',
						'aria-label': 'Close',
						onclick: () => shut(dialog),
					},
					icon('close'),
				),
		),
		body,
	);

	dialog.addEventListener('close', () => {
		dialog.remove();
		if (closed) closed();
	});
	// what is shown once is not to go by a slip
	if (sticky) {
		dialog.dataset.sticky = '';
		dialog.addEventListener('cancel', (event) => event.preventDefault());
	}
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

export function closeAll(which = 'dialog:not([data-sticky])') {
	document.querySelectorAll(which).forEach(shut);
}

// A form in a dialog.  "send" gets the form, and may throw what showErrors() shows; then
// the dialog stays open.
export function form(title, content, { label, danger, wide, send, check = () => ({}) }) {
	const submit = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, label);
	const element = h(
		'form',
		{ novalidate: true, method: 'dialog' },
		h('div', { class: 'body' }, content),
		h('p', { class: 'error whole', role: 'alert', 'data-error': 'form' }),
		h(
			'div',
			{ class: 'foot' },
			button('Cancel', null, () => shut(dialog)),
			submit,
		),
	);
	const dialog = open(title, element, { wide });

	element.addEventListener('submit', async (event) => {
		event.preventDefault();
		const errors = check(element);

		showErrors(element, errors);
		if (Object.keys(errors).length) return;
		submit.disabled = true;
		try {
			await send(element);
			shut(dialog);
		} catch (error) {
			if (!('status' in error)) throw error;
			showKnown(element, errorsOf(error));
		} finally {
			submit.disabled = false;
		}
	});
	return dialog;
}

// An error about a field that this form does not have is one of the whole form.
function showKnown(element, errors) {
	const [[name, text]] = Object.entries(errors);

	showErrors(element, element.querySelector(`[data-error="${name}"]`) ? errors : { form: text });
}

async function copy(text, source) {
	try {
		await navigator.clipboard.writeText(text);
	} catch (error) {
		source.select();
		if (!document.execCommand('copy')) throw error;
	}
}

// Show the text of a key, the only time that it is seen.  When the dialog closes, the page
// has it no more.
export function showKey(title, key, text) {
	const id = newId('key');
	const said = h('span', { role: 'status' });
	const shown = h('input', {
		id,
		class: 'secret',
		readonly: true,
		autocomplete: 'off',
		spellcheck: 'false',
		value: key,
		onfocus: () => shown.select(),
	});
	const copying = button(
		'Copy',
		'copy',
		async () => {
			try {
				await copy(shown.value, shown);
				said.textContent = 'Copied.';
				copying.classList.add('done');
			} catch (error) {
				said.textContent = 'Copy it by hand: the browser does not allow it.';
				shown.select();
			}
		},
		{ class: 'primary' },
	);
	const done = button('I have stored it', 'check', () => shut(dialog));
	const dialog = open(
		title,
		h(
			'div',
			{},
			h(
				'div',
				{ class: 'body' },
				h(
					'p',
					{ class: 'warning' },
					icon('warning'),
					h(
						'span',
						{},
						h('b', {}, 'This key is shown only once.'),
						' Store it where your program finds it, such as a secret manager. Whoever has it can use it.',
					),
				),
				text && h('p', {}, text),
				h('label', { for: id }, 'API key'),
				h('div', { class: 'copy' }, shown, copying),
			),
			h('div', { class: 'foot' }, said, done),
		),
		{
			sticky: true,
			closed: () => {
				shown.value = '';
			},
		},
	);

	copying.focus();
	return new Promise((resolve) => dialog.addEventListener('close', resolve));
}
