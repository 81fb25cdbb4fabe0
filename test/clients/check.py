"""What the client tests share: TAP, and a database of their own.

They run on the server of test/run, which PGHOST, PGPORT and PGUSER name.
"""

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

_count = 0
_failed = 0


def ok(good, what):
    global _count, _failed
    _count += 1
    _failed += not good
    print("ok" if good else "not ok", _count, "-", what, flush=True)
    return good


def equal(got, wanted, what):
    if not ok(got == wanted, what):
        print(f"#      got: {got!r}\n# expected: {wanted!r}", file=sys.stderr)


def failed():
    return _failed


def done():
    print(f"1..{_count}", flush=True)
    sys.exit(_failed > 0)


def sql(database, text, *options):
    """What psql prints for some SQL, as superuser."""
    return subprocess.run(
        ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, *options],
        input=text, check=True, capture_output=True, text=True).stdout


def orders_database(name):
    """Make a database and a role NAME by examples/orders.sql, and drop them at
    the end.  Returns the ids and the texts of the three keys."""
    sql("postgres", f"CREATE DATABASE {name}")

    def drop():
        sql("postgres", f"DROP DATABASE {name} WITH (FORCE);"
            f"DROP ROLE IF EXISTS {name}")

    atexit.register(drop)
    printed = sql(name, "", "-v", f"role={name}", "-f",
                  os.path.join(TREE, "examples", "orders.sql"))
    rows = [line.split("|") for line in printed.splitlines()]
    return ({row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows})


def relay():
    """A port that leads to the server's socket, for who knows no sockets."""
    def pump(source, sink):
        with contextlib.suppress(OSError):  # the other end of either may be gone
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve():
        while True:
            client = listener.accept()[0]
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{os.environ['PGHOST']}/.s.PGSQL.{os.environ['PGPORT']}")
            for ends in (client, server), (server, client):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    return str(listener.getsockname()[1])


def client_environment(name, database):
    """Where a program in the stack NAME connects to, as the role of that database."""
    environment = dict(os.environ, PGDATABASE=database, PGUSER=database)
    if name == "jdbc":
        environment.update(PGHOST="127.0.0.1", PGPORT=relay())
    return environment
