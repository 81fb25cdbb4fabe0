// Who is logged in, in the memory of this process alone.  The browser holds the random name
// of a session, in a cookie that no script can read; the text of the key stays here, and
// goes with the session.

const crypto = require('crypto');

const minute = 60 * 1000;
const limits = {
	idle: (process.env.IDLE_MINUTES || 15) * minute,
	life: 8 * 60 * minute,
	sessions: 10000,
	// failed log-ins in a minute: from one address, and from all
	failures: Number(process.env.FAILURES || 10),
	allFailures: Number(process.env.FAILURES || 10) * 20,
};

const random = () => crypto.randomBytes(32).toString('base64url');

function same(a, b) {
	const digest = (text) => crypto.createHash('sha256').update(String(text)).digest();
	return crypto.timingSafeEqual(digest(a), digest(b));
}

const sessions = new Map();

function open(key) {
	const now = Date.now();
	const session = { id: random(), csrf: random(), key, opened: now, used: now };

	// the one that was opened first makes room
	if (sessions.size >= limits.sessions) sessions.delete(sessions.keys().next().value);
	sessions.set(session.id, session);
	return session;
}

function close(session) {
	sessions.delete(session.id);
	session.key = null;
}

const ended = (session, now) => now - session.used > limits.idle || now - session.opened > limits.life;

// The session of this name, or undefined.
function find(id) {
	const session = sessions.get(id);

	if (!session) return undefined;
	if (ended(session, Date.now())) {
		close(session);
		return undefined;
	}
	session.used = Date.now();
	return session;
}

// An IPv6 address stands for its /64, which one customer of a provider has.
function network(address) {
	if (!address.includes(':')) return address;
	const [head, tail] = address.split('::');
	const groups = head ? head.split(':') : [];
	const rest = tail ? tail.split(':') : [];

	while (tail !== undefined && groups.length + rest.length < 8) groups.push('0');
	return groups.concat(rest).slice(0, 4).join(':');
}

let failures = new Map();
let allFailures = 0;

function count(address, n) {
	const from = network(address);

	failures.set(from, Math.max((failures.get(from) || 0) + n, 0));
	allFailures = Math.max(allFailures + n, 0);
}

// May somebody from this address try to log in?  It counts as failed until it has
// succeeded, so that many at once are no way round.
function mayTry(address) {
	if (allFailures >= limits.allFailures || (failures.get(network(address)) || 0) >= limits.failures)
		return false;
	count(address, 1);
	return true;
}

const succeeded = (address) => count(address, -1);

setInterval(() => {
	const now = Date.now();

	failures = new Map();
	allFailures = 0;
	for (const session of sessions.values()) if (ended(session, now)) close(session);
}, minute).unref();

module.exports = { limits, open, close, find, same, mayTry, succeeded, retryAfter: minute / 1000 };
