"""Do the applications in examples/ do what they are to do?

    application.py NAME COMMAND...

The command is to serve HTTP and say where: "listening on URL".
"""

import atexit
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

from check import done, equal, ok, orders_database, sql

database = "clients_" + sys.argv[1]
ids, keys = orders_database(database)

environment = dict(os.environ, PGDATABASE=database, PGUSER=database, PORT="0")
application = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, text=True,
                               env=environment)
atexit.register(application.wait)
atexit.register(application.terminate)
url = application.stdout.readline().replace("listening on ", "").strip()
ok(url.startswith("http://127.0.0.1:"), "the application listens")


waits = []  # the header Retry-After of each answer


def request(key, order=None):
    """Status and result of a GET, or of a POST of an order."""
    headers = {} if key is None else {"X-API-Key": key}
    body = None if order is None else json.dumps(order).encode()
    call = urllib.request.Request(url + "/orders", body, headers)
    try:
        response = urllib.request.urlopen(call)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        waits.append(response.headers["Retry-After"])
        return response.status, json.load(response)


def items(key):
    status, rows = request(key)
    return [row["item"] for row in rows] if status == 200 else status


def order(project, environment, item="poster"):
    return {"project": project, "environment": environment, "item": item}


refused = (401, {"error": "invalid API key"})
equal(request(None), refused, "no key")
equal(request(""), refused, "an empty key")
equal(request("apk_rubbish"), refused, "not a key")
equal(request(keys["reader"][:-1]), refused, "a key cut short")

for i in range(3):
    equal(items(keys["reader"]), ["banner", "test banner"], "the reader reads")
    equal(items(keys["writer"]), ["banner", "shelf"], "the writer reads")
    equal(items(keys["globex"]), ["rocket"], "another organization reads")
    equal(request(None), refused, "no key after another's")

equal(request(keys["reader"], order("web", "production"))[0], 403,
      "the reader may not write")
equal(request(keys["writer"], order("web", "development"))[0], 403,
      "the writer may not write in another environment")
equal(request(keys["writer"], order("mars", "production"))[0], 403,
      "the writer may not write for another organization")
equal(request(None, order("web", "production"))[0], 401,
      "nobody writes without a key")
equal(request(keys["writer"], order("web", "production"))[0], 201,
      "the writer writes")
equal(items(keys["reader"]), ["banner", "test banner", "poster"],
      "the reader sees it")
equal(sql(database, "SELECT count(*) FROM orders"), "5\n",
      "one row has been added")

equal(set(waits), {None}, "nobody was told to wait")

limited = sql(database, """
    SELECT key FROM apikey_create('acme', 'limited',
        '[{"project": "web", "environment": "*", "level": "read"}]',
        rate_limit => '1 per hour')""").strip()
equal(items(limited), ["banner", "test banner", "poster"], "within the rate limit")
equal(request(limited), (429, {"error": "API key is over its rate limit"}),
      "over the rate limit")
ok(3500 < int(waits[-1]) <= 3600, "how long to wait")

spent = (429, {"error": "API key has spent its budget"})
for refill in "NULL", "'1 day'":
    sql(database, f"SELECT apikey_set_budget('{ids['writer']}', 1, {refill})")
    equal(request(keys["writer"], order("web", "production", "paid for"))[0], 201,
          "within the budget")
    equal(request(keys["writer"], order("web", "production", "not paid for")), spent,
          "the budget is spent")
    if refill == "NULL":
        equal(waits[-1], None, "and no time will help")
    else:
        ok(86300 < int(waits[-1]) <= 86400, "until it is refilled")
equal(items(keys["reader"])[3:], ["paid for"] * 2, "only what was paid for was done")

sql(database, f"SELECT apikey_revoke('{ids['writer']}')")
equal(request(keys["writer"]), refused, "a revoked key")
equal(items(keys["reader"])[:3], ["banner", "test banner", "poster"],
      "the others go on")

# 28000 is also what a server says to a role that may not connect
sql(database, f"""ALTER ROLE {database} NOLOGIN;
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{database}'""")
equal(request(keys["reader"]), (500, {"error": "internal error"}),
      "what is wrong with a connection is not the caller's")

done()
