// postgres.js for drivers.py
const postgres = require('postgres');
const serve = require('./serve.js');

const notices = [];
const sql = postgres({ max: 1, onnotice: (notice) => notices.push(notice) });

serve((statement, parameters) => sql.unsafe(statement, parameters).values(), notices)
	.finally(() => sql.end());
