"""A web API on the table of ../../orders.sql, with FastAPI and psycopg 3.

    apt install python3-fastapi python3-uvicorn python3-psycopg python3-psycopg-pool
    PGDATABASE=orders PGUSER=app PORT=8080 python3 app.py

    curl -H "X-API-Key: $KEY" localhost:8080/orders

README.md beside the directory says what it answers to.
"""

import asyncio
import math
import os
import re
import socket
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import psycopg
import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, StrictStr
from starlette.exceptions import HTTPException as AnyHTTPException

pool = AsyncConnectionPool("", min_size=1, max_size=4, timeout=5, open=False,
                           kwargs={"row_factory": dict_row, "autocommit": True})


@asynccontextmanager
async def as_bearer(key):
    """A connection in a transaction of the bearer of a key.  BEGIN, the log-in and the first
    query go out together; if the log-in fails, the server skips the rest."""
    async with pool.connection() as connection, connection.pipeline() as pipeline:
        await connection.execute("BEGIN")
        await connection.execute("SELECT label FROM apikey_login(%s)", [key])
        try:
            yield connection
            await connection.execute("COMMIT")
        except Exception:
            with suppress(psycopg.Error):
                await pipeline.sync()  # or psycopg warns of what was skipped
            raise


class Transaction(APIRoute):
    """Routes of which each request is a transaction.  Its end comes before the answer is sent,
    which that of a dependency with yield does not."""

    def get_route_handler(self):
        handler = super().get_route_handler()

        async def handle(request):
            for again in True, True, False:
                try:
                    async with as_bearer(request.headers.get("X-API-Key")) as connection:
                        request.state.connection = connection
                        return await handler(request)
                except psycopg.Error as error:
                    if not again or error.sqlstate not in ("40001", "40P01"):
                        raise

        return handle


async def connection_of(request: Request):
    return request.state.connection


connected = Depends(connection_of)
app = FastAPI()
api = APIRouter(route_class=Transaction)

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
            {"Retry-After": str(math.ceil(float(wait[1])))} if status == 429 and wait else {})


@app.exception_handler(psycopg.Error)
async def refuse(request, error):
    refused = refusal(error)
    if not refused:
        raise error
    status, body, headers = refused
    return JSONResponse(body, status, headers)


@app.exception_handler(RequestValidationError)
async def invalid(request, error):
    return JSONResponse({"error": "; ".join(e["msg"] for e in error.errors())}, 400)


@app.exception_handler(AnyHTTPException)
async def other(request, error):
    return JSONResponse({"error": error.detail.lower()}, error.status_code, error.headers)


@app.exception_handler(Exception)
async def internal(request, error):
    return JSONResponse({"error": "internal error"}, 500)


async def one(connection, *query):
    return await (await connection.execute(*query)).fetchone()


def page(name, rows, limit, cursor):
    return {name: rows[:limit], "next": cursor(rows[limit - 1]) if len(rows) > limit else None}


@app.get("/health")
async def health():
    """Without a log-in there are no rows."""
    async with pool.connection() as connection:
        return await one(connection, "SELECT count(*) AS orders FROM orders")


@api.get("/me")
async def me(connection=connected):
    return await one(connection,
                     "SELECT organization, label, organization_level FROM apikey_whoami()")


@api.get("/orders")
async def read_orders(connection=connected, limit: int = Query(50, ge=1, le=100),
                      after: str = "infinity,0"):
    cursor = await connection.execute("""
        SELECT id, project, environment, item, created_at::text FROM orders
        WHERE (created_at, id) < (%s::timestamptz, %s::int)
        ORDER BY orders.created_at DESC, id DESC LIMIT %s
        """, [*(after + ",").split(",")[:2], limit + 1])
    return page("orders", await cursor.fetchall(), limit,
                lambda row: f"{row['created_at']},{row['id']}")


class Order(BaseModel):
    project: StrictStr
    environment: StrictStr
    item: StrictStr


async def add(connection, order):
    return await one(connection, """
        INSERT INTO orders (project, environment, item) VALUES (%s, %s, %s) RETURNING id
        """, [order.project, order.environment, order.item])


@api.post("/orders", status_code=201)
async def add_order(order: Order, connection=connected):
    """An order costs one of the key's budget, if it has any."""
    await connection.execute("SELECT apikey_spend()")
    return await add(connection, order)


@api.post("/orders/import")
async def import_orders(orders: list[Order], connection=connected):
    """What is refused is left out: each order has a savepoint."""
    results = []
    for order in orders:
        try:
            async with connection.transaction():
                results.append(await add(connection, order))
        except psycopg.Error as error:
            refused = refusal(error)
            if not refused:
                raise
            results.append(refused[1])
    return results


@api.patch("/orders/{order_id}")
async def change_order(order_id: int, item: StrictStr = Body(embed=True), connection=connected):
    row = await one(connection, "UPDATE orders SET item = %s WHERE id = %s::int RETURNING id",
                    [item, order_id])
    if not row:
        raise HTTPException(404)
    return row


@api.get("/keys")
async def read_keys(connection=connected, limit: int = Query(50, ge=1, le=100),
                    after: UUID = UUID(int=2**128 - 1)):
    cursor = await connection.execute("""
        SELECT key_id, label, key, status,
            (SELECT coalesce(json_agg(json_build_object('project', project,
                'environment', environment, 'level', level)), '[]')
             FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
        FROM apikey_keys AS k
        WHERE organization = (SELECT organization FROM apikey_whoami()) AND key_id < %s
        ORDER BY k.key_id DESC LIMIT %s
        """, [after, limit + 1])
    return page("keys", await cursor.fetchall(), limit, lambda row: row["key_id"])


@api.post("/keys", status_code=201)
async def create_key(label: StrictStr = Body(), grants: list = Body([]), connection=connected):
    return await one(connection, """
        SELECT made.key_id, made.key
        FROM apikey_whoami() AS me, apikey_create(me.organization, %s, %s) AS made
        """, [label, Jsonb(grants)])


@api.post("/keys/{key_id}/rotate")
async def rotate_key(key_id: UUID, overlap: StrictStr = Body("0", embed=True),
                     connection=connected):
    return await one(connection, "SELECT key_id, key FROM apikey_rotate(%s, %s::text::interval)",
                     [key_id, overlap])


@api.delete("/keys/{key_id}")
async def revoke_key(key_id: UUID, connection=connected):
    await connection.execute("SELECT apikey_revoke(%s)", [key_id])
    return Response(status_code=204)


app.include_router(api)


async def main():
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 8080))))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    async with pool:
        await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve([listener])


asyncio.run(main())
