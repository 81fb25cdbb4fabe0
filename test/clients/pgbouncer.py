"""Does a key leak from one client of a transaction pooler to the next?

    pgbouncer.py DIRECTORY-OF-THE-POOLER'S-SOCKET
"""

import sys

import psycopg

from check import done, equal, ok, orders_database

name = "clients_pgbouncer"
ids, keys = orders_database(name)


def client():
    # this pgbouncer knows no prepared statements
    return psycopg.connect(host=sys.argv[1], port=6432, dbname=name, user=name,
                           autocommit=True, prepare_threshold=None)


def one(connection, query, *parameters):
    return connection.execute(query, parameters).fetchone()[0]


def items(connection):
    return [row[0] for row in
            connection.execute("SELECT item FROM orders ORDER BY id")]


def login(connection, key):
    return one(connection, "SELECT label FROM apikey_login(%s)", key)


def nobody(connection, what):
    """No key, on the server connection that all clients share."""
    equal([items(connection),
           one(connection, "SELECT count(*) FROM apikey_whoami()"),
           one(connection, "SELECT current_setting('apikey.key', true)"),
           one(connection, "SELECT pg_backend_pid()")],
          [[], 0, "", server], what)


a = client()
b = client()
server = one(a, "SELECT pg_backend_pid()")
equal(one(b, "SELECT pg_backend_pid()"), server, "both clients share a server")
one(a, "SELECT count(*) FROM apikey_whoami()")  # loads the library
nobody(a, "no key at first")

with a.transaction():
    equal(login(a, keys["reader"]), "reader", "one client logs in")
    equal(items(a), ["banner", "test banner"], "and sees its rows")
nobody(b, "the other has no key after COMMIT")
nobody(a, "nor has the first one")

with a.transaction():
    login(a, keys["reader"])
    raise psycopg.Rollback
nobody(b, "nor after ROLLBACK")

try:
    with a.transaction():
        login(a, keys["reader"])
        a.execute("INSERT INTO orders (project, environment, item)"
                  " VALUES ('web', 'production', 'x')")
    ok(False, "the insert is refused")
except psycopg.errors.InsufficientPrivilege:
    nobody(b, "nor after an error")

with a.transaction():
    with a.transaction():
        login(a, keys["reader"])
    equal(items(a), ["banner", "test banner"], "a released savepoint keeps it")
nobody(b, "nor after a savepoint")

with b.transaction():
    login(b, keys["globex"])
    equal(items(b), ["rocket"], "the other logs in")
with a.transaction():
    equal(items(a), [], "a transaction without log-in sees nothing")
    login(a, keys["writer"])
    equal(items(a), ["banner", "shelf"], "and its own rows after it")

login(a, keys["reader"])
nobody(a, "log-in outside a transaction has no effect")

a.execute("BEGIN")
login(a, keys["reader"])
a.close()
# pgbouncer gives up that server connection
equal([items(b), one(b, "SELECT count(*) FROM apikey_whoami()")], [[], 0],
      "nor when the client goes away in its transaction")
server = one(b, "SELECT pg_backend_pid()")

# What not to do; it shows too that a leak would be noticed above.
c = client()
c.execute("SELECT set_config('apikey.key', %s, false)", [keys["reader"]])
equal(items(b), ["banner", "test banner"], "a session-level SET leaks")
ok(one(b, "SHOW apikey.key").startswith("apk_"), "as SHOW tells, masked")
ok(keys["reader"] not in one(b, "SHOW apikey.key"), "without the secret")
c.execute("RESET apikey.key")
nobody(b, "until it is reset")

b.close()
c.close()
done()
