// How things are written.

import { h } from './dom.js';

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const units = [
	['year', 31536000],
	['month', 2592000],
	['day', 86400],
	['hour', 3600],
	['minute', 60],
];

export function ago(date) {
	const seconds = (new Date(date) - Date.now()) / 1000;
	const [unit, length] = units.find(([, size]) => Math.abs(seconds) >= size) || ['second', 1];

	return Math.abs(seconds) < 45 ? 'just now' : relative.format(Math.round(seconds / length), unit);
}

export const exactly = (date) => full.format(new Date(date));

export function time(date, text) {
	return h('time', { datetime: date, title: exactly(date) }, text || ago(date));
}

// Numbers in charts and tables
export const number = (n) => new Intl.NumberFormat('en').format(n);

export const dayOf = (date) => day.format(new Date(date));

export function pill(status) {
	return h('span', { class: `pill ${status}` }, status);
}

const all = (name, what) => (name === '*' ? `all ${what}` : name);

export const place = (grant) =>
	`${all(grant.project, 'projects')} – ${all(grant.environment, 'environments')}`;

export function chip(grant) {
	return h('span', { class: `chip ${grant.level}` }, place(grant), h('b', {}, grant.level));
}

export const organizationAccess = { read: 'read', write: 'read and write' };
