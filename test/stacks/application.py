"""Does a program of examples/stacks do what its README says?

    application.py NAME COMMAND...

The command is to serve HTTP and say where: "listening on URL".
"""

import atexit
import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from urllib.parse import quote, urlsplit

import check
from check import client_environment, done, equal, ok, orders_database, sql

name = sys.argv[1]
database = "stack_" + name.replace("-", "_")
ids, keys = orders_database(database)
texts = list(keys.values())  # of all keys that there were
# where there are times whose text is in another order
sql(database, f"ALTER DATABASE {database} SET timezone = 'Europe/Berlin'")

log = tempfile.TemporaryFile()
application = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=log, text=True,
                               env=dict(client_environment(name, database), PORT="0"))


def end():
    """What the program printed."""
    application.terminate()
    application.wait()
    log.seek(0)
    return log.read().decode() + "".join(said)


def comment(text):
    print("#", text.replace("\n", "\n# "), file=sys.stderr)


atexit.register(lambda: check.failed() and comment(end()))
said = []
for line in application.stdout:
    said.append(line)
    if line.startswith("listening on "):
        break
threading.Thread(target=lambda: said.extend(application.stdout), daemon=True).start()
address = urlsplit("".join(said).partition("listening on ")[2].strip())
if not ok(address.scheme == "http" and address.hostname == "127.0.0.1", "the program listens"):
    done()

wait = None  # the header Retry-After of the last answer


def ask(method, path, key=None, body=None, raw=None):
    """Status and result of a request."""
    global wait
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    content = raw if raw is not None else None if body is None else json.dumps(body)
    connection.request(method, path, content,
                       {} if key is None else {"X-API-Key": keys.get(key, key)})
    response = connection.getresponse()
    wait = response.headers["Retry-After"]
    text = response.read().decode()
    connection.close()
    return response.status, json.loads(text) if text else None


def status(wanted, what, *request):
    """The answer has this status; returns its body."""
    got, body = ask(*request)
    ok(got == wanted, what) or comment(f"{request}: {got} {body}, not {wanted}")
    return body


def refused(wanted, code, what, *request):
    """The answer has this status and SQLSTATE, and a message; returns that."""
    got, body = ask(*request)
    ok(got == wanted and body.get("code") == code and body.get("error"), what) \
        or comment(f"{request}: {got} {body}, not {wanted} {code}")
    return body.get("error")


def items(key, path="/orders"):
    got, body = ask("GET", path, key)
    return [row["item"] for row in body["orders"]] if got == 200 else (got, body)


def order(project, environment, item="poster"):
    return {"project": project, "environment": environment, "item": item}


# a bad key, and no key
for i in range(2):
    equal(items("reader"), ["test banner", "banner"], "the reader reads")
    equal(items("writer"), ["shelf", "banner"], "the writer reads")
    equal(items("globex"), ["rocket"], "another organization reads")
    for key, what in (None, "no key"), ("", "an empty key"), ("apk_rubbish", "not a key"), \
            (keys["reader"][:-1], "a key cut short"):
        equal(ask("GET", "/orders", key),
              (401, {"error": "invalid API key", "code": "28000"}), what)
    refused(401, "28000", "nobody writes without a key",
            "POST", "/orders", None, order("web", "production"))
    equal(ask("GET", "/health"), (200, {"orders": 0}), "no connection has kept a key")
equal(ask("GET", "/me", "reader"),
      (200, {"organization": "acme", "label": "reader", "organization_level": None}), "who is it?")
equal(ask("GET", "/me", "delegate")[1]["organization_level"], "write", "a level as text")

# what may be written
refused(403, "42501", "the reader may not write", "POST", "/orders", "reader",
        order("web", "production"))
refused(403, "42501", "not in another environment", "POST", "/orders", "writer",
        order("web", "development"))
refused(403, "42501", "not for another organization", "POST", "/orders", "writer",
        order("mars", "production"))
added = status(201, "the writer writes", "POST", "/orders", "writer", order("web", "production"))
ok(isinstance(added["id"], int), "the order has an id")
equal(items("reader"), ["poster", "test banner", "banner"], "the reader sees it")
equal(status(200, "the writer changes it", "PATCH", f"/orders/{added['id']}", "writer",
             {"item": "Größe \"1\" 'x' \\ 🚀"}), added, "that order")
equal(items("reader")[0], "Größe \"1\" 'x' \\ 🚀", "text is kept as it is")
status(404, "the reader may not change it", "PATCH", f"/orders/{added['id']}", "reader",
       {"item": "x"})
status(404, "nor another organization", "PATCH", f"/orders/{added['id']}", "globex", {"item": "x"})
status(404, "nor anybody what is not there", "PATCH", "/orders/999999", "writer", {"item": "x"})

# savepoints
got = status(200, "an import", "POST", "/orders/import", "writer",
             [order("web", "production", "one"), order("mars", "production", "two"),
              order("web", "development", "three"), order("shop", "production", "four")])
equal([entry.get("code", "kept") for entry in got], ["kept", "42501", "42501", "kept"],
      "what is refused is left out")
equal(sorted(items("writer")[:2]), ["four", "one"], "the rest is kept")
equal(ask("POST", "/orders/import", "writer", []), (200, []), "an import of nothing")

# what is wrong with a request is no error of the program
for what, *request in [
        ("no JSON", "POST", "/orders", "writer", None, "{"),
        ("not an order", "POST", "/orders", "writer", []),
        ("half an order", "POST", "/orders", "writer", {"project": "web"}),
        ("null", "POST", "/orders", "writer", None, "null"),
        ("an item that is no text", "POST", "/orders", "writer", order("web", "production", 1)),
        ("a text that PostgreSQL cannot have", "POST", "/orders", "writer",
         order("web", "production", "a\0b")),
        ("imports that are none", "POST", "/orders/import", "writer", {}),
        ("a number that is none", "PATCH", "/orders/x", "writer", {"item": "x"}),
        ("a number out of range", "PATCH", "/orders/99999999999", "writer", {"item": "x"}),
        ("no item", "PATCH", f"/orders/{added['id']}", "writer", {}),
        ("a limit of 0", "GET", "/orders?limit=0", "reader"),
        ("a limit of 101", "GET", "/orders?limit=101", "reader"),
        ("a limit that is none", "GET", "/orders?limit=x", "reader"),
        ("a cursor that is none", "GET", "/orders?after=x", "reader"),
        ("half a cursor", "GET", "/orders?after=2026-01-01", "reader"),
        ("an id that is none", "DELETE", "/keys/x", "delegate"),
        ("an overlap that is none", "POST", f"/keys/{ids['reader']}/rotate", "delegate",
         {"overlap": "x"}),
        ("grants that are none", "POST", "/keys", "delegate", {"label": "x", "grants": "x"}),
        ("a level that is none", "POST", "/keys", "delegate", {"label": "x", "grants": [
            {"project": "web", "environment": "*", "level": "x"}]}),
        ("no label", "POST", "/keys", "delegate", {"grants": []})]:
    got = status(400, what, *request)
    ok(isinstance(got, dict) and got.get("error"), what + ": a message")
status(404, "no such path", "GET", "/nothing", "reader")
status(405, "no such method", "DELETE", "/orders", "reader")
equal(sql(database, "SELECT count(*) FROM orders"), "7\n", "nothing of that has been done")

# pages: five rows in each of four microseconds of one millisecond, and one on either side
# of a change of the clock
sql(database, """INSERT INTO orders (project, environment, item, created_at)
    SELECT 'web', 'production', i::text, timestamptz '2020-01-01 00:00:00.123Z' + i % 4 * interval '1 us'
    FROM generate_series(1, 20) i
    UNION ALL VALUES ('web', 'production', 'before', timestamptz '2020-10-25 00:30Z'),
        ('web', 'production', 'after', '2020-10-25 01:10Z')""")
path, pages, seen = "/orders?limit=3", 0, []
while path and pages < 30:
    body = status(200, "a page", "GET", path, "reader")
    pages += 1
    seen += body["orders"]
    path = body["next"] and "/orders?limit=3&after=" + quote(body["next"])
equal([row["id"] for row in seen],
      [int(line) for line in sql(database, """SELECT id FROM orders
       WHERE project = 'web' ORDER BY created_at DESC, id DESC""").split()],
      "each row comes once, the newest first")
equal(set(seen[0]), {"id", "project", "environment", "item", "created_at"}, "with its columns")
equal(sql(database, "SELECT created_at = :'at' FROM orders WHERE id = :id",
          "-v", f"at={seen[-1]['created_at']}", "-v", f"id={seen[-1]['id']}"), "t\n",
      "the time of a row is kept")
sql(database, "DELETE FROM orders WHERE created_at < '2021-01-01'")

# limits and budgets
GRANTS = """'[{"project": "web", "environment": "*", "level": "write"}]'"""
keys["limited"] = sql(database, f"""
    SELECT key FROM apikey_create('acme', 'limited', {GRANTS}, rate_limit => '1 per hour')""").strip()
status(200, "within the rate limit", "GET", "/orders", "limited")
for request in ("GET", "/orders", "limited"), ("GET", "/me", "limited"):
    equal(refused(429, "53400", "over the rate limit", *request),
          "API key is over its rate limit", "so it says")
    ok(re.fullmatch("[0-9]+", wait or "") and 3400 < int(wait) <= 3600, "how long to wait")
for refill in "NULL", "'1 day'":
    sql(database, f"SELECT apikey_set_budget('{ids['writer']}', 1, {refill})")
    status(201, "within the budget", "POST", "/orders", "writer",
           order("web", "production", "paid for"))
    equal(refused(429, "53B00", "the budget is spent", "POST", "/orders", "writer",
                  order("web", "production", "not paid for")),
          "API key has spent its budget", "so it says")
    if refill == "NULL":
        equal(wait, None, "and no time will help")
    else:
        ok(86000 < int(wait) <= 86400, "until it is refilled")
equal(items("writer")[:2], ["paid for"] * 2, "only what was paid for was done")
sql(database, f"SELECT apikey_set_budget('{ids['writer']}', NULL)")

# the administrator's side
WEB = [{"project": "web", "environment": "production", "level": "read"}]
made = [status(201, "a key is made", "POST", "/keys", "delegate",
               {"label": f"made {i}", "grants": WEB}) for i in range(3)]
made += [status(201, "without grants", "POST", "/keys", "delegate", {"label": "made 3"})]
texts += [entry["key"] for entry in made]
ok(all(re.fullmatch(r"apk_\w{71}", entry["key"]) and uuid.UUID(entry["key_id"]) for entry in made),
   "each has an id and a text")
keys["made"] = made[0]["key"]
status(200, "it reads", "GET", "/orders", "made")
refused(403, "42501", "no delegate, no keys", "POST", "/keys", "writer", {"label": "x"})
refused(403, "42501", "no more than its own", "POST", "/keys", "delegate",
        {"label": "x", "grants": [{"project": "shop", "environment": "*", "level": "read"}]})
refused(401, "28000", "and not without a key", "POST", "/keys", None, {"label": "x"})
path, listed = "/keys?limit=3", []
while path and len(listed) < 30:
    body = status(200, "a page of keys", "GET", path, "delegate")
    listed += body["keys"]
    path = body["next"] and "/keys?limit=3&after=" + quote(body["next"])
equal([entry["label"] for entry in listed],
      ["made 3", "made 2", "made 1", "made 0", "limited", "delegate", "writer", "reader"],
      "all keys of the organization, the newest first")
equal({key: listed[3].get(key) for key in ("key_id", "status", "grants")},
      {"key_id": made[0]["key_id"], "status": "active", "grants": WEB}, "what is told of each")
equal(listed[0]["grants"], [], "no grants are a list of none")
ok(keys["made"].startswith(listed[3]["key"][:-1]) and len(listed[3]["key"]) < 32, "its masked form")

rotated = status(200, "a rotation", "POST", f"/keys/{made[0]['key_id']}/rotate", "delegate",
                 {"overlap": "1 hour"})
texts.append(rotated["key"])
keys["rotated"] = rotated["key"]
equal(rotated["key_id"], made[0]["key_id"], "of that key")
status(200, "the old text works", "GET", "/orders", "made")
status(200, "and the new one", "GET", "/orders", "rotated")
texts.append(status(200, "a rotation without overlap", "POST", f"/keys/{made[1]['key_id']}/rotate",
                    "delegate")["key"])
status(401, "the old text is refused", "GET", "/orders", made[1]["key"])
equal(ask("DELETE", f"/keys/{made[0]['key_id']}", "delegate"), (204, None), "a key is revoked")
for key in "made", "rotated":
    status(401, "and refused, each text of it", "GET", "/orders", key)
refused(404, "42704", "a key that is not there", "DELETE", f"/keys/{uuid.uuid4()}", "delegate")
refused(404, "42704", "nor is another organization's", "DELETE", f"/keys/{ids['globex']}", "delegate")
refused(403, "42501", "who may do more is out of reach", "DELETE", f"/keys/{ids['writer']}", "delegate")

# many at once, with different keys, on the same connections
wanted = {"reader": 200, "globex": 200, "made": 401}
counted = Counter()


def crowd(key):
    for _ in range(15):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
        connection.request("GET", "/orders?limit=100", None, {"X-API-Key": keys[key]})
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        projects = frozenset(row["project"] for row in body.get("orders", []))
        counted[key, response.status, projects] += 1


threads = [threading.Thread(target=crowd, args=(key,)) for key in list(wanted) * 4]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
equal(counted, {("reader", 200, frozenset({"web"})): 60, ("globex", 200, frozenset({"mars"})): 60,
                ("made", 401, frozenset()): 60}, "each sees its own, whoever is beside it")
equal(ask("GET", "/health"), (200, {"orders": 0}), "no connection has kept a key")
equal(int(sql(database, f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{database}'")) <= 8,
      True, "on a few connections")

# what is the program's own fault is not the caller's
internal = (500, {"error": "internal error"})
sql(database, f"REVOKE ALL ON orders FROM {database}")
equal(ask("GET", "/orders", "reader"), internal, "a missing GRANT")
sql(database, f"""GRANT ALL ON orders TO {database};
    REVOKE EXECUTE ON FUNCTION apikey_login FROM PUBLIC""")
equal(ask("GET", "/orders", "reader"), internal, "a log-in that breaks")
sql(database, "GRANT EXECUTE ON FUNCTION apikey_login TO PUBLIC")
status(200, "and the next works", "GET", "/orders", "reader")

# a connection that breaks, and a server that does not let it in: 28000 is what it says
END = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{database}'"
sql(database, END)
for _ in range(10):
    got = ask("GET", "/orders", "reader")
    if got[0] == 200:
        break
    equal(got, internal, "a broken connection")
equal(got[0], 200, "the program connects again")
sql(database, f"ALTER ROLE {database} NOLOGIN; {END}")
equal(ask("GET", "/orders", "reader"), internal, "a role that may not connect")
sql(database, f"ALTER ROLE {database} LOGIN")
for _ in range(30):
    got = ask("GET", "/orders", "reader")
    if got[0] == 200:
        break
equal(got[0], 200, "and connects again")

printed = end()
ok("permission denied for function apikey_login" in printed, "an internal error is logged")
# the form of a key has 71 characters after its prefix; 22 of them are the id, which is no secret
ok(not any(text[26:40] in printed for text in texts), "no key is")
done()
