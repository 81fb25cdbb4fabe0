"""Does examples/stacks/postgraphile answer to GraphQL as its page says?

    postgraphile.py COMMAND...
"""

import atexit
import http.client
import json
import os
import subprocess
import sys
import tempfile
from urllib.parse import urlsplit

from check import done, equal, ok, orders_database, sql

database = "stack_postgraphile"
ids, keys = orders_database(database)
for name, limit in ("limited", "'1 per hour'"), ("counted", "'100 per hour'"):
    keys[name] = sql(database, f"""SELECT key FROM apikey_create('acme', '{name}',
        '[{{"project": "web", "environment": "*", "level": "read"}}]', rate_limit => {limit})""").strip()
log = tempfile.TemporaryFile()
program = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=log, text=True,
                           env=dict(os.environ, PGDATABASE=database, PGUSER=database, PORT="0"))
atexit.register(program.terminate)
address = urlsplit(program.stdout.readline().partition("listening on ")[2].strip())
wait = None


def ask(key, query, **variables):
    """Status, data, and the SQLSTATEs and messages of errors."""
    global wait
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("POST", "/graphql", json.dumps({"query": query, "variables": variables}),
                       {"Content-Type": "application/json",
                        **({} if key is None else {"X-API-Key": keys.get(key, key)})})
    response = connection.getresponse()
    wait = response.headers["Retry-After"]
    body = json.loads(response.read())
    connection.close()
    return response.status, body.get("data"), [
        (error.get("extensions", {}).get("code"), error["message"])
        for error in body.get("errors", [])]


ITEMS = "{ allOrders(orderBy: ID_ASC) { nodes { item } } }"
ADD = """mutation ($project: String!, $item: String!) {
    createOrder(input: {order: {project: $project, environment: "production", item: $item}}) {
        order { item } } }"""


def items(*names):
    return 200, {"allOrders": {"nodes": [{"item": name} for name in names]}}, []


for i in range(5):
    equal(ask("reader", ITEMS), items("banner", "test banner"), "the reader reads")
    equal(ask("globex", ITEMS), items("rocket"), "another organization reads")
    for key in None, "", "apk_rubbish", keys["reader"][:-1]:
        equal(ask(key, ITEMS), (401, None, [("28000", "invalid API key")]), f"a bad key: {key}")
equal(ask("rubbish", "{ __schema { queryType { name } } }")[0], 401, "nor does it see the schema")
names = json.dumps(ask("reader", "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }"))
ok("createOrder" in names and "apikey" not in names.lower(), "the API has the table, not apikey's functions")

# mutations
equal(ask("writer", ADD, project="web", item="poster"),
      (200, {"createOrder": {"order": {"item": "poster"}}}, []), "the writer writes")
for key, project in ("reader", "web"), ("writer", "mars"):
    equal(ask(key, ADD, project=project, item="x"),
          (200, {"createOrder": None},
           [("42501", 'new row violates row-level security policy for table "orders"')]),
          f"{key} may not write in {project}")
equal(ask("reader", """mutation { updateOrderById(input: {id: 1, orderPatch: {item: "x"}}) { clientMutationId } }""")[2],
      [(None, "not found")], "nor change what it reads")
equal(sql(database, "SELECT count(*) FROM orders WHERE item <> 'x'"), "5\n", "and has not")
equal(ask("writer", ADD.replace("String!", "String")), (400, None, ask("writer", ADD.replace("String!", "String"))[2]),
      "a wrong query is the caller's fault")

# pages, with rows of one millisecond
sql(database, """INSERT INTO orders (project, environment, item, created_at)
    SELECT 'web', 'production', i::text, timestamptz '2020-01-01 00:00:00.123Z' + i % 4 * interval '1 us'
    FROM generate_series(1, 20) i""")
PAGE = """query ($after: Cursor) { allOrders(orderBy: [CREATED_AT_DESC, ID_DESC], first: 3, after: $after) {
    nodes { id } pageInfo { endCursor hasNextPage } } }"""
after, more, seen = None, True, []
while more and len(seen) < 100:
    page = ask("reader", PAGE, after=after)[1]["allOrders"]
    seen += [node["id"] for node in page["nodes"]]
    after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
equal(seen, [int(line) for line in sql(database, """SELECT id FROM orders WHERE project = 'web'
    ORDER BY created_at DESC, id DESC""").split()], "each row comes once, the newest first")

# limits
equal(ask("limited", ITEMS)[0], 200, "within the rate limit")
equal(ask("limited", ITEMS), (429, None, [("53400", "API key is over its rate limit")]), "over it")
ok(3400 < int(wait or 0) <= 3600, "how long to wait")
ask("counted", "{ a: allOrders { totalCount } b: allOrders { totalCount } }")
equal(sql(database, "SELECT remaining FROM apikey_rate_limit(:'key')", "-v", f"key={keys['counted']}"), "99\n",
      "a request is one log-in")

# what is the program's own fault
internal = [(None, "internal error")]
sql(database, f"REVOKE ALL ON orders FROM {database}")
equal(ask("reader", ITEMS)[2], internal, "a missing GRANT")
sql(database, f"GRANT ALL ON orders TO {database}; REVOKE EXECUTE ON FUNCTION apikey_login FROM PUBLIC")
equal(ask("reader", ITEMS), (500, None, internal), "a log-in that breaks")
sql(database, f"""GRANT EXECUTE ON FUNCTION apikey_login TO PUBLIC; ALTER ROLE {database} NOLOGIN;
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{database}'""")
for i in range(5):
    status = ask("reader", ITEMS)
equal(status, (500, None, internal), "a role that may not connect")
sql(database, f"ALTER ROLE {database} LOGIN")
equal(ask("reader", ITEMS)[0], 200, "and connects again")

program.terminate()
program.wait()
log.seek(0)
printed = log.read().decode() + program.stdout.read()
ok("permission denied for function apikey_login" in printed, "an internal error is logged")
ok(not any(key[26:40] in printed for key in keys.values()), "no key is")
done()
