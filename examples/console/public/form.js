// The form of a key: to make one, and to change one.

import { call } from './api.js';
import { form, showKey } from './dialog.js';
import { h, button, icon, field, newId, toast } from './dom.js';
import { dayOf, place } from './format.js';

const levels = ['read', 'write', 'manage'];
const dayLength = 86400 * 1000;

const option = (value, text, chosen) => h('option', { value, selected: value === chosen }, text);

// One row of the permissions.  What the session does not know, of a registry that has
// changed since, stays a choice all the same.
function permission(session, grant, changed) {
	const environmentsOf = (project) => {
		const known =
			project === '*' ? session.projects : session.projects.filter((p) => p.project === project);
		return [...new Set(known.flatMap((p) => p.environments))].sort();
	};
	const choices = (names, all, chosen) => [
		option('*', all, chosen),
		...[...new Set([...names, ...(chosen && chosen !== '*' ? [chosen] : [])])].map((name) =>
			option(name, name, chosen),
		),
	];
	const project = h(
		'select',
		{ 'aria-label': 'Project' },
		choices(
			session.projects.map((p) => p.project),
			'All projects',
			grant.project,
		),
	);
	const environment = h(
		'select',
		{ 'aria-label': 'Environment' },
		choices(environmentsOf(grant.project), 'All environments', grant.environment),
	);
	const level = h(
		'select',
		{ 'aria-label': 'Level' },
		levels.map((name) => option(name, name, grant.level)),
	);
	const error = h('p', { class: 'error', id: newId('row') });
	const row = h(
		'li',
		{ class: 'permission' },
		project,
		environment,
		level,
		h(
			'button',
			{
				type: 'button',
				class: 'quiet square',
				'aria-label': 'Remove permission',
				onclick: () => {
					const next = row.nextElementSibling || row.previousElementSibling;

					row.remove();
					changed();
					(next ? next.querySelector('select') : document.querySelector('.add-permission')).focus();
				},
			},
			icon('trash'),
		),
		error,
	);

	project.addEventListener('change', () => {
		const names = environmentsOf(project.value);
		const chosen = names.includes(environment.value) ? environment.value : '*';

		environment.replaceChildren(...choices(names, 'All environments', chosen));
	});
	for (const select of [project, environment, level]) {
		select.setAttribute('aria-describedby', error.id);
		select.addEventListener('change', changed);
	}
	return Object.assign(row, {
		grant: () => ({ project: project.value, environment: environment.value, level: level.value }),
		complain(text) {
			error.textContent = text;
			for (const select of [project, environment]) {
				if (text) select.setAttribute('aria-invalid', 'true');
				else select.removeAttribute('aria-invalid');
			}
		},
		focusFirst: () => project.focus(),
	});
}

function permissions(session, grants) {
	const rows = h('ul', { class: 'permissions' });
	const error = h('p', { class: 'error', id: newId('grants'), 'data-error': 'grants' });
	const pair = ({ project, environment }) => JSON.stringify([project, environment]);

	// true if no two rows are about the same
	function check() {
		const seen = new Set();
		let first = null;

		for (const row of rows.children) {
			const twice = seen.has(pair(row.grant()));

			seen.add(pair(row.grant()));
			row.complain(twice ? 'A row above is about the same project and environment.' : '');
			first = first || (twice ? row : null);
		}
		return first;
	}

	function add(grant) {
		const row = permission(session, grant, check);

		rows.append(row);
		return row;
	}

	// of what there is, the first pair that has no row yet
	function fresh() {
		const seen = new Set([...rows.children].map((row) => pair(row.grant())));
		const pairs = session.projects.flatMap(({ project, environments }) =>
			environments.map((environment) => ({ project, environment })),
		);

		return {
			...(pairs.find((p) => !seen.has(pair(p))) || pairs[0] || { project: '*', environment: '*' }),
			level: 'read',
		};
	}

	grants.forEach(add);
	return {
		element: h(
			'fieldset',
			{},
			h('legend', {}, 'Permissions'),
			h('p', { class: 'hint' }, 'Each level includes the ones before it: read, write, manage.'),
			rows,
			error,
			button(
				'Add permission',
				'plus',
				() => {
					const row = add(fresh());

					check();
					row.focusFirst();
				},
				{ class: 'add-permission', 'aria-describedby': error.id },
			),
		),
		grants: () => [...rows.children].map((row) => row.grant()),
		check,
	};
}

// Write includes read, and the boxes say so.
function organizationAccess(chosen) {
	const error = h('p', { class: 'error', id: newId('organization'), 'data-error': 'organization_level' });
	const read = h('input', {
		type: 'checkbox',
		checked: chosen === 'read' || chosen === 'write',
		'aria-describedby': error.id,
	});
	const write = h('input', { type: 'checkbox', checked: chosen === 'write' });
	const note = h('span', { class: 'hint', role: 'status' });
	const show = () => {
		read.disabled = write.checked;
		note.textContent = write.checked ? 'Write includes read.' : '';
	};

	write.addEventListener('change', () => {
		if (write.checked) read.checked = true;
		show();
	});
	show();
	return {
		element: h(
			'fieldset',
			{},
			h('legend', {}, 'Organization access'),
			h(
				'p',
				{ class: 'hint' },
				'For what belongs to no project. With write access the key can also make and change other keys.',
			),
			h('div', { class: 'checks' }, h('label', {}, read, 'Read'), h('label', {}, write, 'Write'), note),
			error,
		),
		level: () => (write.checked ? 'write' : read.checked ? 'read' : null),
	};
}

const localTime = (date) => new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);

function expiry(session, current) {
	const own = session.operator.expires_at;
	const never = own ? `when your key does, on ${dayOf(own)}` : 'never';
	const select = h(
		'select',
		{},
		current ? [option('keep', `${dayOf(current)}, as now`), option('', 'never')] : option('', never),
		[7, 30, 90, 365].map((days) => option(String(days), `in ${days} days`)),
		option('at', 'on a day …'),
	);
	const at = h('input', {
		type: 'datetime-local',
		'aria-label': 'Expires at',
		hidden: true,
		value: localTime(new Date(Date.now() + 30 * dayLength)),
	});

	select.addEventListener('change', () => {
		at.hidden = select.value !== 'at';
	});
	return {
		element: h('div', {}, field('expires_at', 'Expires', select), at),
		value() {
			if (select.value === 'at') return at.value ? new Date(at.value).toISOString() : '';
			return /^\d/.test(select.value)
				? new Date(Date.now() + select.value * dayLength).toISOString()
				: select.value;
		},
	};
}

const held = (grants) =>
	grants.length
		? `Your key can give: ${grants.map((grant) => `${place(grant)}: ${grant.level}`).join('; ')}.`
		: 'Your key has no permission on any project, so it can give none.';

function controls(session, key) {
	const label = h('input', { autocomplete: 'off', maxlength: 200, value: key ? key.label : '' });
	const grants = permissions(session, key ? key.grants : []);
	const organization = organizationAccess(key && key.organization_level);
	const expires = expiry(session, key && key.expires_at);
	const networks = h('textarea', {
		rows: 2,
		class: 'mono',
		spellcheck: 'false',
		value: key && key.allowed_networks ? key.allowed_networks.join('\n') : '',
	});
	const limit = h('input', {
		autocomplete: 'off',
		placeholder: '100 per minute burst 20',
		value: (key && key.rate_limit) || '',
	});
	const metadata = h('textarea', {
		rows: 3,
		class: 'mono',
		spellcheck: 'false',
		value: key && key.metadata !== '{}' ? key.metadata : '',
	});

	return {
		label,
		grants,
		organization,
		expires,
		networks,
		limit,
		metadata,
		content: [
			field('label', 'Label', label, 'Where it is used, and for what.'),
			grants.element,
			h('p', { class: 'hint' }, held(session.grants)),
			organization.element,
			expires.element,
			h(
				'details',
				{ open: Boolean(key && (key.allowed_networks || key.rate_limit || key.metadata !== '{}')) },
				h('summary', {}, 'Networks, rate limit, metadata'),
				field(
					'networks',
					'Networks',
					networks,
					'One a line, such as 203.0.113.0/24. Empty: from anywhere.',
				),
				field('rate_limit', 'Rate limit', limit, 'How often it can log in. Empty: as your own key.'),
				field('metadata', 'Metadata', metadata, 'JSON, which your programs can read.'),
			),
		],
		check() {
			const twice = grants.check();
			const errors = {};

			if (label.value.trim() === '') errors.label = 'A key needs a label.';
			// the row says itself what is wrong with it
			if (twice) errors.row = true;
			if (twice && !errors.label) twice.focusFirst();
			return errors;
		},
	};
}

// Returns a promise of the id of the new key, once its text was seen.
export function addKey(session) {
	return new Promise((resolve) => {
		const c = controls(session, null);

		form('Add API key', c.content, {
			label: 'Add API key',
			wide: true,
			check: c.check,
			async send() {
				const { key_id, key } = await call('create', {
					label: c.label.value,
					grants: c.grants.grants(),
					organization_level: c.organization.level(),
					expires_at: c.expires.value(),
					networks: c.networks.value,
					rate_limit: c.limit.value,
					metadata: c.metadata.value,
				});

				showKey('Your new API key', key, null).then(() => resolve(key_id));
			},
		});
		c.label.focus();
	});
}

// Sends what was changed here, and nothing else: somebody else may change the rest.
function difference(key, c) {
	const change = {};
	const pair = ({ project, environment }) => JSON.stringify([project, environment]);
	const before = new Map(key.grants.map((grant) => [pair(grant), grant]));
	const after = new Map(c.grants.grants().map((grant) => [pair(grant), grant]));
	const text = (name, control, old) => {
		if (control.value.trim() !== (old || '')) change[name] = control.value;
	};

	text('label', c.label, key.label);
	text('networks', c.networks, (key.allowed_networks || []).join('\n'));
	text('rate_limit', c.limit, key.rate_limit);
	text('metadata', c.metadata, key.metadata === '{}' ? '' : key.metadata);
	if (c.expires.value() !== 'keep' && (c.expires.value() || key.expires_at))
		change.expires_at = c.expires.value();
	if (c.organization.level() !== key.organization_level) change.organization_level = c.organization.level();
	change.ungrant = [...before.values()].filter((grant) => !after.has(pair(grant)));
	change.grant = [...after.values()].filter(
		(grant) => (before.get(pair(grant)) || {}).level !== grant.level,
	);
	return change;
}

export function editKey(session, key, changed) {
	const c = controls(session, key);

	form('Edit API key', c.content, {
		label: 'Save',
		wide: true,
		check: c.check,
		async send() {
			await call('update', { key_id: key.key_id, ...difference(key, c) });
			toast('The key was changed.');
			changed();
		},
	});
	c.label.focus();
}
