"""asyncpg for drivers.py."""

import asyncio

import asyncpg

from serve import serve

run = asyncio.new_event_loop().run_until_complete
connection = run(asyncpg.connect())
notices = []
connection.add_log_listener(lambda _, n: notices.append([n.sqlstate, n.message]))
serve(lambda statement, parameters: run(connection.fetch(statement, *parameters)),
      (asyncpg.PostgresError, asyncpg.InterfaceError),
      lambda e: [e.sqlstate, e.args[0], e.detail, getattr(e, "server_source_function", None)],
      notices)
