"""A web API on the table of ../orders.sql; the caller's key is in X-API-Key.

    apt install python3-psycopg         (or: pip install "psycopg[binary]")
    PGDATABASE=orders PGUSER=app PORT=8080 python3 app.py

    curl -H "X-API-Key: $KEY" localhost:8080/orders
    curl -H "X-API-Key: $KEY" localhost:8080/orders \
        -d '{"project": "web", "environment": "production", "item": "poster"}'

It serves one request at a time, on one connection; take psycopg_pool for more.
"""

import json
import math
import os
import re
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg

connection = psycopg.connect("", autocommit=True)


def with_key(key, work, *args):
    """Do some work as the bearer of a key: in one transaction."""
    with connection.transaction():
        connection.execute("SELECT label FROM apikey_login(%s)", [key])
        return work(*args)


# What the errors of apikey and of its policies mean in HTTP.
STATUS = {"28000": 401, "42501": 403, "53400": 429, "53B00": 429}


def retry_after(error):
    """Seconds until it makes sense to try again, or None if it never does: the
    detail of the error has retry_after=0.250 then."""
    wait = re.search(r"retry_after=([\d.]+)", error.diag.message_detail or "")
    return wait and math.ceil(float(wait[1]))


def read_orders():
    return connection.execute("""
        SELECT json_agg(orders ORDER BY id) FROM orders
        """).fetchone()[0] or []


def add_order(order):
    """An order costs one of the key's budget, if it has any."""
    connection.execute("SELECT apikey_spend()")
    return connection.execute("""
        INSERT INTO orders (project, environment, item)
        VALUES (%(project)s, %(environment)s, %(item)s)
        RETURNING json_build_object('id', id)
        """, order).fetchone()[0]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, read_orders)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.answer(201, add_order, json.loads(self.rfile.read(length)))

    def answer(self, status, work, *args):
        if self.path != "/orders":
            return self.reply(404, {"error": "not found"})
        wait = None
        try:
            result = with_key(self.headers.get("X-API-Key"), work, *args)
        except psycopg.Error as error:
            status = STATUS.get(error.sqlstate, 500)
            result = {"error": error.diag.message_primary
                      if status != 500 else "internal error"}
            wait = retry_after(error) if status == 429 else None
        self.reply(status, result, wait)

    def reply(self, status, result, wait=None):
        self.send_response(status)
        if wait:
            self.send_header("Retry-After", str(wait))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(result).encode())

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
