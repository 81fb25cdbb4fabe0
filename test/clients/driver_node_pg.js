// node-postgres for drivers.py
const { Client } = require('pg');
const serve = require('./serve.js');

const client = new Client();
const notices = [];

client.on('notice', (notice) => notices.push(notice));
client.connect().then(() => serve(
	async (text, values) => (await client.query({ text, values, rowMode: 'array' })).rows,
	notices)).finally(() => client.end());
