"""A web API on the table of ../../orders.sql, with psycopg 3.

    apt install python3-psycopg python3-psycopg-pool
    PGDATABASE=orders PGUSER=app PORT=8080 python3 app.py

    curl -H "X-API-Key: $KEY" localhost:8080/orders

README.md beside the directory says what it answers to.
"""

import json
import math
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

pool = ConnectionPool("", min_size=1, max_size=4, timeout=5,
                      kwargs={"row_factory": dict_row, "autocommit": True})


def with_key(key, work, *args):
    """Do some work as the bearer of a key: in one transaction, on one connection."""
    with pool.connection() as connection, connection.transaction():
        connection.execute("SELECT label FROM apikey_login(%s)", [key])
        return work(connection, *args)


class BadRequest(Exception):
    pass


# What the errors of apikey and of its policies mean in HTTP.
STATUS = {"28000": 401, "42501": 403, "42704": 404, "53400": 429, "53B00": 429}


def refusal(error):
    """Status, body and headers for an error of the database that is the caller's; else
    None."""
    state = error.sqlstate or ("22000" if isinstance(error, psycopg.DataError) else "")
    status = STATUS.get(state, 400 if state[:2] in ("22", "23") else None)
    if status is None or error.diag.source_function == "aclcheck_error":
        return None  # a missing GRANT is not the caller's
    wait = re.search(r"retry_after=([\d.]+)", error.diag.message_detail or "")
    return (status, {"error": error.diag.message_primary or str(error), "code": state},
            {"Retry-After": math.ceil(float(wait[1]))} if status == 429 and wait else {})


def order_of(body):
    order = [body.get(name) for name in ("project", "environment", "item")] \
        if isinstance(body, dict) else [None]
    if not all(isinstance(value, str) for value in order):
        raise BadRequest("an order has a project, an environment and an item")
    return order


def page_of(query, last):
    """Where the page begins, and how long it is."""
    limit = query.get("limit", "50")
    if not re.fullmatch("[1-9][0-9]?|100", limit):
        raise BadRequest("the limit is 1 to 100")
    return query.get("after", last), int(limit)


def page(name, rows, limit, cursor):
    return 200, {name: rows[:limit], "next": cursor(rows[limit - 1]) if len(rows) > limit else None}


def health():
    """Without a log-in there are no rows."""
    with pool.connection() as connection:
        return 200, connection.execute("SELECT count(*) AS orders FROM orders").fetchone()


def me(connection, query, body):
    return 200, connection.execute(
        "SELECT organization, label, organization_level FROM apikey_whoami()").fetchone()


def read_orders(connection, query, body):
    after, limit = page_of(query, "infinity,0")
    rows = connection.execute("""
        SELECT id, project, environment, item, created_at::text FROM orders
        WHERE (created_at, id) < (%s::timestamptz, %s::int)
        ORDER BY orders.created_at DESC, id DESC LIMIT %s
        """, [*(after + ",").split(",")[:2], limit + 1]).fetchall()
    return page("orders", rows, limit, lambda row: f"{row['created_at']},{row['id']}")


ADD = "INSERT INTO orders (project, environment, item) VALUES (%s, %s, %s) RETURNING id"


def add_order(connection, query, body):
    """An order costs one of the key's budget, if it has any."""
    order = order_of(body)
    connection.execute("SELECT apikey_spend()")
    return 201, connection.execute(ADD, order).fetchone()


def import_orders(connection, query, body):
    """What is refused is left out: each order has a savepoint."""
    if not isinstance(body, list):
        raise BadRequest("a list of orders")
    results = []
    for order in map(order_of, body):
        try:
            with connection.transaction():
                results.append(connection.execute(ADD, order).fetchone())
        except psycopg.Error as error:
            refused = refusal(error)
            if not refused:
                raise
            results.append(refused[1])
    return 200, results


def change_order(connection, query, body, order_id):
    if not isinstance(body, dict) or not isinstance(body.get("item"), str):
        raise BadRequest("the item")
    row = connection.execute("UPDATE orders SET item = %s WHERE id = %s::int RETURNING id",
                             [body["item"], order_id]).fetchone()
    return (200, row) if row else (404, {"error": "not found"})


def read_keys(connection, query, body):
    after, limit = page_of(query, "ffffffff-ffff-ffff-ffff-ffffffffffff")
    rows = connection.execute("""
        SELECT key_id::text, label, key, status,
            (SELECT coalesce(json_agg(json_build_object('project', project,
                'environment', environment, 'level', level)), '[]')
             FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
        FROM apikey_keys AS k
        WHERE organization = (SELECT organization FROM apikey_whoami())
            AND key_id < %s::uuid
        ORDER BY k.key_id DESC LIMIT %s
        """, [after, limit + 1]).fetchall()
    return page("keys", rows, limit, lambda row: row["key_id"])


def create_key(connection, query, body):
    if not isinstance(body, dict):
        raise BadRequest("a label and grants")
    return 201, connection.execute("""
        SELECT made.key_id::text, made.key
        FROM apikey_whoami() AS me, apikey_create(me.organization, %s::text, %s) AS made
        """, [body.get("label"), Jsonb(body.get("grants", []))]).fetchone()


def rotate_key(connection, query, body, key_id):
    overlap = body.get("overlap", "0") if isinstance(body, dict) else "0"
    return 200, connection.execute(
        "SELECT key_id::text, key FROM apikey_rotate(%s::uuid, %s::text::interval)",
        [key_id, overlap]).fetchone()


def revoke_key(connection, query, body, key_id):
    connection.execute("SELECT apikey_revoke(%s::uuid)", [key_id])
    return 204, None


ROUTES = {
    "/health": {"GET": health},
    "/me": {"GET": me},
    "/orders": {"GET": read_orders, "POST": add_order},
    "/orders/import": {"POST": import_orders},
    "/orders/([^/]+)": {"PATCH": change_order},
    "/keys": {"GET": read_keys, "POST": create_key},
    "/keys/([^/]+)": {"DELETE": revoke_key},
    "/keys/([^/]+)/rotate": {"POST": rotate_key},
}


def respond(method, url, key, text):
    """Status and body of the answer, and headers if there are any."""
    methods, found = next(((methods, found) for pattern, methods in ROUTES.items()
                           if (found := re.fullmatch(pattern, url.path))), (None, None))
    if not found:
        return 404, {"error": "not found"}
    if method not in methods:
        return 405, {"error": "method not allowed"}
    try:
        args = dict(parse_qsl(url.query)), json.loads(text or "null"), *found.groups()
    except ValueError:
        return 400, {"error": "the body is not JSON"}
    for again in True, True, False:
        try:
            if methods[method] is health:
                return health()
            return with_key(key, methods[method], *args)
        except BadRequest as error:
            return 400, {"error": str(error)}
        except psycopg.Error as error:
            if again and error.sqlstate in ("40001", "40P01"):
                continue
            refused = refusal(error)
            if not refused:
                raise
            return refused


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {}
        try:
            status, body, *more = respond(self.command, urlsplit(self.path),
                                          self.headers.get("X-API-Key"), text)
            headers.update(*more)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status, body = 500, {"error": "internal error"}
        content = b"" if status == 204 else json.dumps(body).encode()
        headers.update({"Content-Type": "application/json", "Content-Length": len(content)})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *args):
        pass


signal.signal(signal.SIGTERM, lambda *args: sys.exit())
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
