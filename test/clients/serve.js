// The part of a program for drivers.py that is the same for all in JavaScript.

const readline = require('readline');

const parameter = {
	s: (text) => text, i: Number, j: JSON.parse, n: () => null, u: () => undefined,
};

// query(statement, parameters) resolves to rows; what was noted meanwhile is in "notices"
module.exports = async function serve(query, notices) {
	for await (const line of readline.createInterface({ input: process.stdin })) {
		const [statement, ...fields] = line.split('\x1f');
		const answer = {};

		try {
			answer.rows = await query(statement,
				fields.map((field) => parameter[field[0]](field.slice(1))));
		} catch ({ code, message, detail, routine }) {
			answer.error = [/^[0-9A-Z]{5}$/.test(code) ? code : null, message, detail, routine];
		}
		answer.notices = notices.splice(0).map((n) => [n.code, n.message]);
		console.log(JSON.stringify(answer));
	}
};
