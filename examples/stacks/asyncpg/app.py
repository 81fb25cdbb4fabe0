"""A web API on the table of ../../orders.sql, with aiohttp and asyncpg.

    apt install python3-aiohttp python3-asyncpg
    PGDATABASE=orders PGUSER=app PORT=8080 python3 app.py

    curl -H "X-API-Key: $KEY" localhost:8080/orders

README.md beside the directory says what it answers to.
"""

import json
import logging
import math
import os
import re
import socket
from contextlib import asynccontextmanager
from functools import wraps

import asyncpg
from aiohttp import web


async def configure(connection):
    """JSON is lists and dicts, not text."""
    for name in "json", "jsonb":
        await connection.set_type_codec(name, schema="pg_catalog",
                                        encoder=json.dumps, decoder=json.loads)


async def open_pool(app):
    async with asyncpg.create_pool(min_size=1, max_size=4, init=configure) as app["pool"]:
        yield


@asynccontextmanager
async def as_bearer(pool, key):
    """A connection in a transaction of the bearer of a key."""
    async with pool.acquire(timeout=5) as connection, connection.transaction():
        await connection.execute("SELECT label FROM apikey_login($1)", key)
        yield connection


def transaction(handler):
    """The handler, in a transaction of the bearer of the request's key."""
    @wraps(handler)
    async def run(request):
        for again in True, True, False:
            try:
                key = request.headers.get("X-API-Key")
                async with as_bearer(request.app["pool"], key) as connection:
                    return await handler(request, connection)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                if not again:
                    raise

    return run


# What the errors of apikey and of its policies mean in HTTP.
STATUS = {"28000": 401, "42501": 403, "42704": 404, "53400": 429, "53B00": 429}


def refusal(error):
    """Body, status and headers for an error of the database that is the caller's; else None."""
    state = error.sqlstate or ""
    status = STATUS.get(state, 400 if state[:2] in ("22", "23") else None)
    # a missing GRANT is not the caller's, nor is a connection that the server refuses
    if status is None or error.server_source_function == "aclcheck_error" \
            or error.severity_en == "FATAL":
        return None
    wait = re.search(r"retry_after=([\d.]+)", error.detail or "")
    return ({"error": error.args[0], "code": state}, status,
            {"Retry-After": str(math.ceil(float(wait[1])))} if status == 429 and wait else {})


def answer(body, status=200, headers=None):
    return web.json_response(body, status=status, headers=headers,
                             dumps=lambda value: json.dumps(value, default=str))  # uuid


@web.middleware
async def translate(request, handler):
    """Errors into answers."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return answer({"error": error.reason}, error.status)
    except Exception as error:
        refused = refusal(error) if isinstance(error, asyncpg.PostgresError) else None
        if refused:
            return answer(*refused)
        logging.exception("internal error")
        return answer({"error": "internal error"}, 500)


async def body_of(request, kind, nothing=None):
    try:
        body = json.loads(await request.read() or json.dumps(nothing))
    except ValueError:
        raise web.HTTPBadRequest(reason="the body is not JSON")
    if not isinstance(body, kind):
        raise web.HTTPBadRequest(reason=f"the body is to be a {kind.__name__}")
    return body


def text_of(body, name):
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise web.HTTPBadRequest(reason=f"{name} is missing, or no text")
    return value


def order_of(body):
    return [text_of(body, name) for name in ("project", "environment", "item")]


def limit_of(request):
    limit = request.query.get("limit", "50")
    if not re.fullmatch("[1-9][0-9]?|100", limit):
        raise web.HTTPBadRequest(reason="the limit is 1 to 100")
    return int(limit)


def page(name, records, limit, cursor):
    rows = [dict(record) for record in records]
    return answer({name: rows[:limit],
                   "next": cursor(rows[limit - 1]) if len(rows) > limit else None})


routes = web.RouteTableDef()


@routes.get("/health")
async def health(request):
    """Without a log-in there are no rows."""
    return answer({"orders": await request.app["pool"].fetchval("SELECT count(*) FROM orders")})


@routes.get("/me")
@transaction
async def me(request, connection):
    return answer(dict(await connection.fetchrow(
        "SELECT organization, label, organization_level FROM apikey_whoami()")))


@routes.get("/orders")
@transaction
async def read_orders(request, connection):
    """What is cast twice is sent as text: else asyncpg itself would make a time of it."""
    limit = limit_of(request)
    time, order_id = (request.query.get("after", "infinity,0") + ",").split(",")[:2]
    orders = await connection.fetch("""
        SELECT id, project, environment, item, created_at::text FROM orders
        WHERE (created_at, id) < ($1::text::timestamptz, $2::text::int)
        ORDER BY orders.created_at DESC, id DESC LIMIT $3
        """, time, order_id, limit + 1)
    return page("orders", orders, limit, lambda row: f"{row['created_at']},{row['id']}")


ADD = "INSERT INTO orders (project, environment, item) VALUES ($1, $2, $3) RETURNING id"


@routes.post("/orders")
@transaction
async def add_order(request, connection):
    """An order costs one of the key's budget, if it has any."""
    order = order_of(await body_of(request, dict))
    await connection.execute("SELECT apikey_spend()")
    return answer({"id": await connection.fetchval(ADD, *order)}, 201)


@routes.post("/orders/import")
@transaction
async def import_orders(request, connection):
    """What is refused is left out: each order has a savepoint."""
    results = []
    for order in map(order_of, await body_of(request, list)):
        try:
            async with connection.transaction():
                results.append({"id": await connection.fetchval(ADD, *order)})
        except asyncpg.PostgresError as error:
            refused = refusal(error)
            if not refused:
                raise
            results.append(refused[0])
    return answer(results)


@routes.patch("/orders/{id}")
@transaction
async def change_order(request, connection):
    changed = await connection.fetchval(
        "UPDATE orders SET item = $1 WHERE id = $2::text::int RETURNING id",
        text_of(await body_of(request, dict), "item"), request.match_info["id"])
    if changed is None:
        raise web.HTTPNotFound
    return answer({"id": changed})


@routes.get("/keys")
@transaction
async def read_keys(request, connection):
    limit = limit_of(request)
    keys = await connection.fetch("""
        SELECT key_id, label, key, status,
            (SELECT coalesce(json_agg(json_build_object('project', project,
                'environment', environment, 'level', level)), '[]')
             FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
        FROM apikey_keys AS k
        WHERE organization = (SELECT organization FROM apikey_whoami())
            AND key_id < $1::text::uuid
        ORDER BY k.key_id DESC LIMIT $2
        """, request.query.get("after", "ffffffff-ffff-ffff-ffff-ffffffffffff"), limit + 1)
    return page("keys", keys, limit, lambda row: row["key_id"])


@routes.post("/keys")
@transaction
async def create_key(request, connection):
    body = await body_of(request, dict)
    return answer(dict(await connection.fetchrow("""
        SELECT made.key_id, made.key
        FROM apikey_whoami() AS me, apikey_create(me.organization, $1, $2) AS made
        """, text_of(body, "label"), body.get("grants", []))), 201)


@routes.post("/keys/{id}/rotate")
@transaction
async def rotate_key(request, connection):
    overlap = text_of({"overlap": "0", **await body_of(request, dict, {})}, "overlap")
    return answer(dict(await connection.fetchrow(
        "SELECT key_id, key FROM apikey_rotate($1::text::uuid, $2::text::interval)",
        request.match_info["id"], overlap)))


@routes.delete("/keys/{id}")
@transaction
async def revoke_key(request, connection):
    await connection.execute("SELECT apikey_revoke($1::text::uuid)", request.match_info["id"])
    return web.Response(status=204)


app = web.Application(middlewares=[translate])
app.add_routes(routes)
app.cleanup_ctx.append(open_pool)
listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 8080))))
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
web.run_app(app, sock=listener, print=None, access_log=None)
