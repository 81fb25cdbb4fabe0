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


def request(key, order=None):
    """Status and result of a GET, or of a POST of an order."""
    headers = {} if key is None else {"X-API-Key": key}
    body = None if order is None else json.dumps(order).encode()
    call = urllib.request.Request(url + "/orders", body, headers)
    try:
        with urllib.request.urlopen(call) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


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

sql(database, f"SELECT apikey_revoke('{ids['writer']}')")
equal(request(keys["writer"]), refused, "a revoked key")
equal(items(keys["reader"]), ["banner", "test banner", "poster"],
      "the others go on")

done()
