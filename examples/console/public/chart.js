// Uses and refusals by hour: bars for the eye, a table for all others.

import { h, svg, newId } from './dom.js';
import { number } from './format.js';

const height = 150;
const top = 8;

const clock = new Intl.DateTimeFormat(undefined, { weekday: 'short', hour: '2-digit', minute: '2-digit' });

// a round number that is not below n
function ceiling(n) {
	const size = 10 ** Math.floor(Math.log10(Math.max(n, 4)));

	return [1, 2, 2.5, 5, 10].map((f) => f * size).find((c) => c >= n);
}

function bars(hours, title) {
	// on a phone the same letters take more of the picture
	const width = window.innerWidth < 600 ? 320 : 720;
	const labels = width / 120;
	const most = ceiling(Math.max(...hours.map((hour) => hour.uses + hour.refusals)));
	const step = width / hours.length;
	const tall = (n) => (n / most) * height;
	const picture = svg('svg', {
		viewBox: `0 0 ${width + 44} ${height + top + 22}`,
		class: 'chart',
		role: 'img',
		'aria-label': title,
	});

	for (const part of [0, 0.5, 1]) {
		const y = top + height - part * height;
		const text = svg('text', { x: width + 6, y: y + 4 });

		text.textContent = number(Math.round(part * most * 10) / 10);
		picture.append(svg('line', { x1: 0, x2: width, y1: y, y2: y, class: 'grid' }), text);
	}
	hours.forEach((hour, n) => {
		const what = svg('title', {});
		const group = svg('g', {}, what);
		const x = n * step + step * 0.12;
		const wide = step * 0.76;
		const uses = hour.uses && Math.max(tall(hour.uses), 1.5);
		const refusals = hour.refusals && Math.max(tall(hour.refusals), 1.5);

		what.textContent = `${clock.format(new Date(hour.hour))}: ${number(hour.uses)} uses, ${number(hour.refusals)} refusals`;
		group.append(
			svg('rect', { x: n * step, y: top, width: step, height, class: 'hit' }),
			svg('rect', {
				x,
				y: top + height - uses,
				width: wide,
				height: uses,
				class: 'uses',
				rx: Math.min(2, wide / 3),
			}),
			svg('rect', {
				x,
				y: top + height - uses - refusals,
				width: wide,
				height: refusals,
				class: 'refusals',
			}),
		);
		picture.append(group);
		if (n % Math.ceil(hours.length / labels) === 0) {
			const text = svg('text', { x: n * step, y: top + height + 17 });

			text.textContent = clock.format(new Date(hour.hour));
			picture.append(text);
		}
	});
	return picture;
}

function table(hours) {
	const used = hours.filter((hour) => hour.uses || hour.refusals);

	return h(
		'details',
		{},
		h('summary', {}, 'The same as a table'),
		used.length === 0
			? h('p', {}, 'No use and no refusal.')
			: h(
					'div',
					{ class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Use by hour' },
					h(
						'table',
						{ class: 'plain' },
						h(
							'thead',
							{},
							h(
								'tr',
								{},
								['Hour', 'Uses', 'Refusals'].map((text) => h('th', { scope: 'col' }, text)),
							),
						),
						h(
							'tbody',
							{},
							used
								.reverse()
								.map((hour) =>
									h(
										'tr',
										{},
										h('th', { scope: 'row' }, clock.format(new Date(hour.hour))),
										h('td', {}, number(hour.uses)),
										h('td', {}, number(hour.refusals)),
									),
								),
						),
					),
				),
	);
}

export function usageChart(all) {
	const place = h('div', {});
	const id = newId('span');
	const select = h(
		'select',
		{ id },
		h('option', { value: 24 }, 'last 24 hours'),
		h('option', { value: 168 }, 'last 7 days'),
	);

	function draw() {
		const hours = all.slice(-select.value);
		const sum = (what) => number(hours.reduce((total, hour) => total + hour[what], 0));
		const title = `${sum('uses')} uses and ${sum('refusals')} refusals`;

		place.replaceChildren(
			h(
				'p',
				{ class: 'legend' },
				h('span', { class: 'uses' }, `${sum('uses')} uses`),
				h('span', { class: 'refusals' }, `${sum('refusals')} refusals`),
			),
			bars(hours, title),
			table(hours),
		);
	}
	select.addEventListener('change', draw);
	draw();
	return h(
		'div',
		{},
		h('div', { class: 'span' }, h('label', { for: id, class: 'unseen' }, 'Time'), select),
		place,
	);
}
