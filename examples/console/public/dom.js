// Elements of the page.  Whatever comes from the server becomes text, never markup.

// h('p', { class: 'x', onclick: f }, 'text', element, …); null and false are left out
export function h(name, attributes, ...children) {
	const element = document.createElement(name);

	for (const [key, value] of Object.entries(attributes || {})) {
		if (value === undefined || value === null || value === false) continue;
		if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
		else if (key === 'value') element.value = value;
		else element.setAttribute(key, value === true ? '' : value);
	}
	append(element, children);
	return element;
}

function append(element, children) {
	for (const child of children.flat(Infinity))
		if (child !== undefined && child !== null && child !== false) element.append(child);
}

export function fill(element, ...children) {
	element.replaceChildren();
	append(element, children);
	return element;
}

export function svg(name, attributes, ...children) {
	const element = document.createElementNS('http://www.w3.org/2000/svg', name);

	for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
	element.append(...children);
	return element;
}

export function icon(name) {
	return svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: `/icons.svg#${name}` }));
}

export function button(text, name, onclick, attributes = {}) {
	return h('button', { type: 'button', onclick, ...attributes }, name && icon(name), h('span', {}, text));
}

let fading;

// Said to all, screen readers too.
export function toast(text) {
	const element = document.getElementById('toast');

	clearTimeout(fading);
	element.textContent = text;
	element.classList.add('shown');
	fading = setTimeout(() => {
		element.classList.remove('shown');
		element.textContent = '';
	}, 5000);
}

let ids = 0;

export const newId = (prefix) => `${prefix}-${++ids}`;

// A control with its label, a hint, and room for what is wrong with it.
export function field(name, text, control, hint) {
	const id = newId(name);
	const error = h('p', { class: 'error', id: `${id}-error`, 'data-error': name });
	const hintId = hint && `${id}-hint`;

	control.id = id;
	control.name = name;
	control.setAttribute('aria-describedby', [hintId, error.id].filter(Boolean).join(' '));
	return h(
		'div',
		{ class: 'field' },
		h('label', { for: id }, text),
		hint && h('p', { class: 'hint', id: hintId }, hint),
		control,
		error,
	);
}

// Say in a form what is wrong, at its field if there is one, and go there.
export function showErrors(form, errors) {
	let first;

	for (const place of form.querySelectorAll('[data-error]')) {
		const text = errors[place.dataset.error];
		const control = form.querySelector(`[aria-describedby~="${place.id}"]`);

		place.textContent = text || '';
		if (!control) continue;
		if (text) control.setAttribute('aria-invalid', 'true');
		else control.removeAttribute('aria-invalid');
		if (text && !first) first = control;
	}
	if (first) first.focus();
}

// The errors of a refused call, for showErrors().
export function errorsOf(error) {
	const text =
		error.message.replace(/^./, (letter) => letter.toUpperCase()) +
		(error.detail ? ` ${error.detail}` : '');

	return { [error.field || 'form']: /[.!?]$/.test(text) ? text : `${text}.` };
}
