"""The statements by which PostgREST serves a request, with apikey_pre_request
as its db-pre-request: one transaction, READ ONLY for GET and HEAD, the role
and the headers in settings of the transaction, the pre-request, the query.
"""

import json
import re

import psycopg

from check import done, equal, ok, orders_database, sql

name = "clients_postgrest"
ids, keys = orders_database(name)
sql(name, f"""
    CREATE ROLE {name}_anon;
    GRANT {name}_anon TO {name};
    ALTER ROLE {name} NOINHERIT;
    GRANT SELECT, INSERT ON orders TO {name}_anon;
    """)
connection = psycopg.connect(dbname=name, user=name, autocommit=True)

READ = "SELECT coalesce(json_agg(item ORDER BY id), '[]') FROM orders"
WRITE = ("INSERT INTO orders (project, environment, item)"
         " VALUES ('web', 'production', 'poster') RETURNING item")


def request(method, headers, query):
    """The result, or the SQLSTATE of an error and its detail, if it has one."""
    mode = "READ ONLY" if method in ("GET", "HEAD") else "READ WRITE"
    try:
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED " + mode)
        connection.execute(
            "SELECT set_config('search_path', '\"public\", \"apikey\"', true),"
            " set_config('role', %s, true),"
            " set_config('request.method', %s, true),"
            " set_config('request.headers', %s, true)",
            [name + "_anon", method, json.dumps(headers)])
        connection.execute("SELECT apikey.apikey_pre_request()")
        result = connection.execute(query).fetchone()[0]
        connection.execute("COMMIT")
        return result
    except psycopg.Error as error:
        connection.execute("ROLLBACK")
        return " ".join(filter(None, [error.sqlstate, error.diag.message_detail]))


def get(**headers):
    return request("GET", {k.replace("_", "-"): v for k, v in headers.items()},
                   READ)


reader = ["banner", "test banner"]
rocket = ["rocket"]
jwt = "eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo"

equal(get(), [], "no headers: no key, no rows")
equal(get(x_api_key=keys["reader"]), reader, "X-API-Key")
equal(get(), [], "the next request has no key")
equal(get(authorization="Bearer " + keys["reader"]), reader, "a bearer token")
equal(get(authorization="bearer  " + keys["reader"]), reader,
      "in whatever spelling")
equal(get(x_api_key=keys["reader"], authorization="Bearer " + keys["globex"]),
      reader, "X-API-Key beats the bearer token")
equal(get(x_api_key=keys["globex"], authorization="Bearer " + jwt), rocket,
      "X-API-Key beside a JWT")
equal(get(x_api_key="", authorization="Bearer " + keys["globex"]), rocket,
      "an empty X-API-Key is none")
equal(get(authorization="Bearer " + jwt), [], "a JWT is not a key")
equal(get(authorization="Basic " + keys["reader"]), [], "nor is a password")
equal(get(x_api_key="rubbish"), "28000", "a bad key is refused")
equal(get(x_api_key=keys["reader"][:-1] + "!"), "28000", "a damaged one too")
equal(get(authorization="Bearer " + keys["reader"][:-1]
          + ("0" if keys["reader"][-1] != "0" else "1")), "28000",
      "as a bearer token too, if it has the form of a key")

equal(request("POST", {"x-api-key": keys["reader"]}, WRITE), "42501",
      "the reader may not write")
equal(request("POST", {"x-api-key": keys["writer"]}, WRITE), "poster",
      "the writer may")
equal(request("POST", {}, WRITE), "42501", "nobody may")

# PostgREST makes HTTP status 429 of PT429, and "details" of the detail
keys["limited"] = sql(name, """
    SELECT key FROM apikey_create('acme', 'limited',
        '[{"project": "web", "environment": "*", "level": "read"}]',
        rate_limit => '1 per hour')""").strip()
equal(get(x_api_key=keys["limited"])[:2], reader, "within the rate limit")
for header in {"x_api_key": keys["limited"]}, {"authorization": "Bearer " + keys["limited"]}:
    refusal = get(**header)
    ok(re.fullmatch(r"PT429 retry_after=3[0-9]{3}\.[0-9]{3}", refusal),
       "over the rate limit: how long to wait") or print("#", refusal)

sql(name, f"SELECT apikey_set_budget('{ids['writer']}', 1)")
SPEND = "SELECT apikey_spend()"
equal(request("POST", {"x-api-key": keys["writer"]}, SPEND), 0, "within the budget")
equal(request("POST", {"x-api-key": keys["writer"]}, SPEND),
      "53B00 remaining=0 budget=1", "the budget is spent")
equal(request("GET", {"x-api-key": keys["writer"]}, SPEND), "25006",
      "nothing is spent by a GET")
equal(request("POST", {}, SPEND), "28000", "nor without a key")

# the key of a log-in before does not survive a request without one
connection.execute("BEGIN")
connection.execute("SELECT apikey_login(%s)", [keys["reader"]])
connection.execute("SELECT set_config('request.headers', '{}', true)")
connection.execute("SELECT apikey_pre_request()")
equal(connection.execute(READ).fetchone()[0], [], "an earlier key is cleared")
connection.execute("ROLLBACK")

sql(name, f"SELECT apikey_revoke('{ids['reader']}')")
equal(get(x_api_key=keys["reader"]), "28000", "a revoked key is refused")

ok(connection.execute("SELECT current_user").fetchone()[0] == name,
   "nothing is left of the requests")
connection.close()
sql(name, f"DROP OWNED BY {name}_anon; DROP ROLE {name}_anon")
done()
