// Calls of the server.  The token against forged requests lives in this module, and the
// operator's key nowhere in the page once it was sent.

let token = '';
let onEnd = () => {};

// The server ends a session that is idle; the page does not stay behind it.
let idle = 0;
let ending;

export class CallError extends Error {
	constructor({ error, field, detail }, status) {
		super(error || 'The server does not answer.');
		Object.assign(this, { field, detail, status });
	}
}

// What is to happen when the session is over.
export function whenSessionEnds(f) {
	onEnd = f;
}

export async function call(name, body = {}) {
	let response, result;

	try {
		response = await fetch(`/api/${name}`, {
			method: 'POST',
			headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': token },
			body: JSON.stringify(body),
			cache: 'no-store',
			credentials: 'same-origin',
		});
		result = await response.json();
	} catch (error) {
		throw new CallError({}, 0);
	}
	if (response.ok) {
		if (result.csrf) [token, idle] = [result.csrf, result.idle];
		clearTimeout(ending);
		if (name !== 'logout' && token) ending = setTimeout(() => onEnd('You are not logged in.'), idle);
		return result;
	}

	const error = new CallError(result, response.status);
	if (response.status === 401 && name !== 'login' && name !== 'session') {
		clearTimeout(ending);
		onEnd(error.message);
	}
	throw error;
}
