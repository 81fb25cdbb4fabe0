"""A web API on the table of ../../orders.sql, with Flask and SQLAlchemy, on psycopg2.

    apt install python3-flask python3-sqlalchemy python3-psycopg2
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
from contextlib import contextmanager
from functools import wraps

from flask import Flask, abort, request
from sqlalchemy import (TIMESTAMP, Column, FetchedValue, Integer, Text, cast, create_engine, func,
                        literal, select, text, tuple_, update)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import declarative_base, sessionmaker
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.serving import make_server

# The address is that of libpq's environment.  With hide_parameters neither errors nor logs have
# keys in them.
engine = create_engine("postgresql+psycopg2://", future=True, hide_parameters=True,
                       pool_size=4, max_overflow=0, pool_timeout=5)
Session = sessionmaker(engine, future=True, expire_on_commit=False)
Base = declarative_base()
app = Flask(__name__)


class Order(Base):
    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    project = Column(Text, nullable=False)
    environment = Column(Text, nullable=False)
    item = Column(Text, nullable=False)
    created_at = Column(TIMESTAMP(timezone=True), server_default=FetchedValue())


@contextmanager
def begin_as(key):
    """A session of the bearer of a key, for one transaction."""
    with Session.begin() as session:
        session.execute(text("SELECT label FROM apikey_login(:key)"), {"key": key})
        yield session


def transaction(view):
    """The view, in a transaction of the bearer of the request's key."""
    @wraps(view)
    def run(**arguments):
        for again in True, True, False:
            try:
                with begin_as(request.headers.get("X-API-Key")) as session:
                    return view(session, **arguments)
            except DBAPIError as error:
                if not again or error.orig.pgcode not in ("40001", "40P01"):
                    raise

    return run


# What the errors of apikey and of its policies mean in HTTP.
STATUS = {"28000": 401, "42501": 403, "42704": 404, "53400": 429, "53B00": 429}


def refusal(error):
    """Body, status and headers for an error of the database that is the caller's; else
    None."""
    state, diag = error.orig.pgcode or "", error.orig.diag
    status = STATUS.get(state, 400 if state[:2] in ("22", "23") else None)
    if status is None or diag.source_function == "aclcheck_error":
        return None  # a missing GRANT is not the caller's
    wait = re.search(r"retry_after=([\d.]+)", diag.message_detail or "")
    return ({"error": diag.message_primary, "code": state}, status,
            {"Retry-After": math.ceil(float(wait[1]))} if status == 429 and wait else {})


@app.errorhandler(DBAPIError)
def refuse(error):
    refused = refusal(error)
    if not refused:
        raise error
    return refused


@app.errorhandler(HTTPException)
def other(error):
    return {"error": error.description}, error.code


@app.errorhandler(InternalServerError)
def internal(error):
    return {"error": "internal error"}, 500


def body_of(kind, nothing=None):
    body = request.get_json(force=True) if request.data else nothing
    if not isinstance(body, kind):
        abort(400, f"the body is to be a {kind.__name__}")
    return body


def text_of(body, name):
    value = body.get(name) if isinstance(body, dict) else None
    # of a text with a NUL psycopg2 makes a ValueError
    if not isinstance(value, str) or "\0" in value:
        abort(400, f"{name} is missing, or no text")
    return value


def order_of(body):
    return Order(**{name: text_of(body, name) for name in ("project", "environment", "item")})


def limit_of():
    limit = request.args.get("limit", "50")
    if not re.fullmatch("[1-9][0-9]?|100", limit):
        abort(400, "the limit is 1 to 100")
    return int(limit)


def page(name, rows, limit, cursor):
    return {name: rows[:limit], "next": cursor(rows[limit - 1]) if len(rows) > limit else None}


@app.get("/health")
def health():
    """Without a log-in there are no rows."""
    with Session.begin() as session:
        return {"orders": session.scalar(select(func.count()).select_from(Order))}


@app.get("/me")
@transaction
def me(session):
    return dict(session.execute(text(
        "SELECT organization, label, organization_level FROM apikey_whoami()")).one()._mapping)


@app.get("/orders")
@transaction
def read_orders(session):
    limit = limit_of()
    time, order_id = (request.args.get("after", "infinity,0") + ",").split(",")[:2]
    orders = session.scalars(
        select(Order)
        .where(tuple_(Order.created_at, Order.id) < tuple_(
            cast(literal(time), TIMESTAMP(timezone=True)), cast(literal(order_id), Integer)))
        .order_by(Order.created_at.desc(), Order.id.desc()).limit(limit + 1))
    rows = [{"id": order.id, "project": order.project, "environment": order.environment,
             "item": order.item, "created_at": order.created_at.isoformat()} for order in orders]
    return page("orders", rows, limit, lambda row: f"{row['created_at']},{row['id']}")


@app.post("/orders")
@transaction
def add_order(session):
    """An order costs one of the key's budget, if it has any."""
    order = order_of(body_of(dict))
    session.execute(text("SELECT apikey_spend()"))
    session.add(order)
    session.flush()
    return {"id": order.id}, 201


@app.post("/orders/import")
@transaction
def import_orders(session):
    """What is refused is left out: each order has a savepoint."""
    results = []
    for order in map(order_of, body_of(list)):
        try:
            with session.begin_nested():
                session.add(order)
            results.append({"id": order.id})
        except DBAPIError as error:
            refused = refusal(error)
            if not refused:
                raise
            results.append(refused[0])
    return results


@app.patch("/orders/<order_id>")
@transaction
def change_order(session, order_id):
    changed = session.scalar(
        update(Order).where(Order.id == cast(literal(order_id), Integer))
        .values(item=text_of(body_of(dict), "item")).returning(Order.id)
        .execution_options(synchronize_session=False))
    if changed is None:
        abort(404, "not found")
    return {"id": changed}


@app.get("/keys")
@transaction
def read_keys(session):
    limit = limit_of()
    keys = session.execute(text("""
        SELECT key_id, label, key, status,
            (SELECT coalesce(json_agg(json_build_object('project', project,
                'environment', environment, 'level', level)), '[]')
             FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
        FROM apikey_keys AS k
        WHERE organization = (SELECT organization FROM apikey_whoami())
            AND key_id < CAST(:after AS uuid)
        ORDER BY k.key_id DESC LIMIT :limit
        """), {"limit": limit + 1,
               "after": request.args.get("after", "ffffffff-ffff-ffff-ffff-ffffffffffff")})
    return page("keys", [dict(row) for row in keys.mappings()], limit, lambda row: row["key_id"])


@app.post("/keys")
@transaction
def create_key(session):
    body = body_of(dict)
    made = session.execute(text("""
        SELECT made.key_id, made.key
        FROM apikey_whoami() AS me,
            apikey_create(me.organization, :label, CAST(:grants AS jsonb)) AS made
        """), {"label": text_of(body, "label"), "grants": json.dumps(body.get("grants", []))})
    return dict(made.mappings().one()), 201


@app.post("/keys/<key_id>/rotate")
@transaction
def rotate_key(session, key_id):
    rotated = session.execute(text("""
        SELECT key_id, key FROM apikey_rotate(CAST(:id AS uuid), CAST(:overlap AS interval))
        """), {"id": key_id, "overlap": text_of({"overlap": "0", **body_of(dict, {})}, "overlap")})
    return dict(rotated.mappings().one())


@app.delete("/keys/<key_id>")
@transaction
def revoke_key(session, key_id):
    session.execute(text("SELECT apikey_revoke(CAST(:id AS uuid))"), {"id": key_id})
    return "", 204


signal.signal(signal.SIGTERM, lambda *args: sys.exit())
server = make_server("127.0.0.1", int(os.environ.get("PORT", 8080)), app, threaded=True)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
