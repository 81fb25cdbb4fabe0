"""Does what the documentation tells clients to send work with a driver?

    drivers.py NAME COMMAND...

The command is a program that uses the driver, one of those beside this file.  It
connects as libpq's environment says, and for each statement that it reads in a line,
with its parameters, writes a line: what the driver makes of the result.  The fields of a
line are separated by 0x1f: the statement with $1, $2, ..., in order, and of each
parameter "s" and a string, "i" and an integer, "j" and JSON, "u" for undefined or "n" for
null.  The answer is JSON: {"rows": [[...], ...]} or {"error": [SQLSTATE, message, detail,
routine]}, and "notices": [[SQLSTATE, message], ...].
"""

import atexit
import json
import re
import subprocess
import sys

from check import client_environment, done, equal, ok, orders_database, sql

name = sys.argv[1]
database = "clients_" + name
ids, keys = orders_database(database)
printed = sql(database, f"""
    GRANT EXECUTE ON FUNCTION apikey_create, apikey_import, apikey_update,
        apikey_rotate, apikey_grant, apikey_ungrant, apikey_disable TO {database};
    GRANT SELECT ON apikey_keys, apikey_grants TO {database};
    CREATE TABLE closed (id int);
    SELECT label, key_id, key FROM unnest('{{limited,poor,prepaid,member,other}}'::text[]) label,
        apikey_create('acme', label, '[{{"project": "web", "environment": "*", "level": "read"}}]',
            organization_level => CASE label WHEN 'member' THEN 'read'::apikey_level END,
            rate_limit => CASE label WHEN 'limited' THEN '1 per hour' END);
    SELECT FROM apikey_keys, apikey_set_budget(key_id, 100,
        CASE label WHEN 'poor' THEN interval '1 hour' END)
    WHERE label IN ('poor', 'prepaid')
    """)
for line in printed.splitlines():
    if line:
        label, ids[label], keys[label] = line.split("|")


environment = client_environment(name, database)
driver = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env=environment)
atexit.register(driver.communicate)

UNDEFINED = object()


def field(value):
    if value is None:
        return "n"
    if value is UNDEFINED:
        return "u"
    return {str: "s", int: "i"}.get(type(value), "j") + (
        value if isinstance(value, str) else json.dumps(value))


def ask(statement, *parameters):
    print(statement, *map(field, parameters), sep="\x1f", file=driver.stdin, flush=True)
    return json.loads(driver.stdout.readline())


def shown(value):
    """Whatever type a driver makes of it."""
    return value if value is None or isinstance(value, (bool, str)) else str(value)


def rows(wanted, statement, *parameters):
    answer = ask(statement, *parameters)
    equal([list(map(shown, row)) for row in answer["rows"]]
          if "rows" in answer else answer, wanted, statement)
    return answer["notices"]


def noted(got, state, message):
    equal([[got_state or state, got_message] for got_state, got_message in got],
          [[state, message]], message)


def works(statement, *parameters):
    answer = ask(statement, *parameters)
    ok("rows" in answer, statement) or print("#", answer, file=sys.stderr)
    return answer.get("rows")


def refused(wanted, statement, *parameters):
    """The SQLSTATE, message, detail and routine are these, as far as they are given; all
    but the first are patterns."""
    answer = ask(statement, *parameters).get("error") or [None, "no error", None]
    good = answer[0] == wanted[0] and all(
        re.fullmatch(pattern, said or "") for pattern, said in zip(wanted[1:], answer[1:]))
    ok(good, f"{statement}: {wanted[0]}") or print("#", answer, "\n#", wanted, file=sys.stderr)


# the session's key
LOGIN = "SELECT label FROM apikey_login($1)"
NOBODY = "no API key is logged in"
works("BEGIN")
equal(rows([["reader"]], LOGIN, keys["reader"]), [], "and nothing is noted")
rows([["banner"], ["test banner"]], "SELECT item FROM orders ORDER BY id")
rows([[ids["reader"]]], "SELECT apikey_key_id()")
rows([[True]], "SELECT apikey_authorize($1, $2, $3)", "web", "production", "read")
rows([[True]], "SELECT apikey_require($1, $2, $3)", "web", "production", "read")
rows([[False, "highest grant is read"]], "SELECT allowed, reason FROM apikey_explain($1, $2, $3)",
     "web", "production", "write")
rows([[True]], "SELECT 'web' = ANY (apikey_projects($1))", "read")
noted(rows([["member"]], LOGIN, keys["member"]),
      "00000", "another API key was logged in before")
rows([[ids["member"], "acme", "read", "member"]],
     "SELECT key_id, organization, organization_level, label FROM apikey_whoami()")
works("SELECT FROM apikey_logout()")
rows([], "SELECT * FROM apikey_whoami()")
works("COMMIT")
noted(rows([["reader"]], LOGIN, keys["reader"]),
      "25P01", "apikey_login can only be used in transaction blocks")
rows([], "SELECT item FROM orders")

# who is refused, and why
refused(["28000", "invalid API key", ""], LOGIN, "rubbish")
refused(["28000", "invalid API key", ""], LOGIN, None)
rows([], "SELECT label FROM apikey_verify($1)", "rubbish")
refused(["42501", NOBODY, ""], "SELECT apikey_require($1, $2, $3)", "web", "production", "read")
refused(["28000", NOBODY, ""], "SELECT apikey_spend($1::bigint)", 5)
rows([[False, NOBODY]], "SELECT allowed, reason FROM apikey_explain($1, $2, $3)",
     "web", "production", "read")
refused(["42501", "permission denied for table closed", "", "aclcheck_error"],
        "SELECT id FROM closed")
ADD = "INSERT INTO orders (project, environment, item) VALUES ($1, $2, $3)"
refused(["42501", "new row violates row-level security policy for table \"orders\"", "",
         "ExecWithCheckOptions"],
        ADD, "web", "production", "poster")
works("BEGIN")
works(LOGIN, keys["reader"])
refused(["42501", "permission denied by API key", ""],
        "SELECT apikey_require($1, $2, $3)", "web", "production", "write")
works("ROLLBACK")
rows([[True]], "SELECT has_table_privilege('orders', 'INSERT')")
rows([[False]], "SELECT has_table_privilege('closed', 'SELECT')")

# without a log-in
MAY = "SELECT apikey_authorize($1, $2, $3, $4)"
rows([[True]], MAY, keys["reader"], "web", "production", "GET")
rows([[False]], MAY, keys["reader"], "web", "production", "DELETE")
rows([[False]], MAY, None, "web", "production", "GET")
rows([["acme", "read", "member"]],
     "SELECT organization, organization_level, label FROM apikey_verify($1)", keys["member"])

# limits and budgets: how long to wait is in the detail
rows([["1 per 1 hour", "1", True]],
     "SELECT rate_limit, remaining, retry_after = 0 FROM apikey_rate_limit($1)", keys["limited"])
rows([["limited"]], "SELECT label FROM apikey_verify($1)", keys["limited"])
refused(["53400", "API key is over its rate limit", r"retry_after=3[0-9]{3}\.[0-9]{3}"],
        LOGIN, keys["limited"])
SPEND = "SELECT apikey_spend($1, $2)"
rows([["95"]], SPEND, keys["poor"], 5)
SPENT = "API key has spent its budget"
refused(["53B00", SPENT, r"retry_after=3[0-9]{3}\.[0-9]{3} remaining=95 budget=100"],
        SPEND, keys["poor"], 96)
refused(["53B00", SPENT, "remaining=95 budget=100"], SPEND, keys["poor"], 101)
refused(["53B00", SPENT, "remaining=100 budget=100"], SPEND, keys["prepaid"], 101)
works("BEGIN")
works(LOGIN, keys["poor"])
rows([["90"]], "SELECT apikey_spend($1::bigint)", 5)
works("ROLLBACK")

# what is text for every driver works in each
GRANTS = json.dumps([{"project": "web", "environment": "*", "level": "read"}])
[[key_id, key]] = works(
    "SELECT key_id, key FROM apikey_create($1, $2, $3::text::jsonb,"
    " organization_level => $4::text::apikey_level, expires_at => $5::text::timestamptz,"
    " allowed_networks => $6::text::cidr[], metadata => $7::text::jsonb)",
    "acme", "made", GRANTS, "write", "2100-01-01 00:00:00Z", "{10.0.0.0/8,::1/128}",
    '{"a": 1}')
rows([["made", "write", "{10.0.0.0/8,::1/128}", True, "object"]],
     "SELECT label, organization_level::text, allowed_networks::text,"
     " expires_at = '2100-01-01 00:00:00Z', jsonb_typeof(metadata)"
     " FROM apikey_keys WHERE key_id = $1::text::uuid", key_id)
rows([["web", "*", "read"]],
     "SELECT project, environment, level::text FROM apikey_grants WHERE key_id = $1::text::uuid",
     key_id)
works("SELECT FROM apikey_grant($1::text::uuid, $2, $3, $4::text::apikey_level)",
      key_id, "shop", "production", "write")
works("SELECT FROM apikey_ungrant($1::text::uuid, $2, $3)", key_id, "shop", "production")
works("SELECT FROM apikey_update($1::text::uuid, label => $2, expires_at => $3::text::timestamptz,"
      " metadata => $4::text::jsonb, remove => $5::text::text[])",
      key_id, "changed", None, '{"b": 2}', "{allowed_networks}")
rows([["changed", None, True, "{\"b\": 2}"]],
     "SELECT label, allowed_networks::text, expires_at IS NOT NULL, metadata::text"
     " FROM apikey_keys WHERE key_id = $1::text::uuid", key_id)
[[_, rotated]] = works("SELECT key_id, key FROM apikey_rotate($1::text::uuid, $2::text::interval)",
                       key_id, "1 hour")
rows([[True]], MAY, key, "web", "production", "read")
rows([[True]], MAY, rotated, "web", "production", "read")
works("SELECT apikey_import($1, $2, $3, $4, grants => $5::text::jsonb)",
      "acme", "imported", "sha256", "ab" * 32, GRANTS)
works("SELECT FROM apikey_disable($1::text::uuid)", key_id)
rows([[False]], MAY, rotated, "web", "production", "read")

# what each does in its own way
CREATE = "SELECT label FROM apikey_create($1, $2, $3), LATERAL (VALUES ('made')) AS t (label)"
LIST = json.loads(GRANTS)
MADE = [["made"]]
BAD_LIST = ["22023", "grants must be a JSON array of objects", ""]
RECORD = "SELECT apikey_login($1)"
if name in ("node_pg", "postgres_js", "psycopg", "psycopg2", "asyncpg"):
    rows(MADE, CREATE, "acme", "text", GRANTS)
    works("SELECT FROM apikey_rotate($1)", ids["other"])
if name in ("node_pg", "postgres_js"):
    rows([[True]], MAY, keys["reader"], "web", "production", "read")
    works("SELECT FROM apikey_create($1, $2, allowed_networks => $3)", "acme", "x", ["::1/128"])
    works("SELECT FROM apikey_create($1, $2, metadata => $3)", "acme", "object", {"a": 1})
    rows([["object"]], "SELECT jsonb_typeof(metadata) FROM apikey_keys WHERE label = $1", "object")
if name == "node_pg":
    refused(["28000", "invalid API key", ""], LOGIN, UNDEFINED)
    refused(["22P02", "invalid input syntax for type json", ".*"], CREATE, "acme", "array", LIST)
    refused(BAD_LIST, CREATE, "acme", "empty array", [])
if name == "postgres_js":
    refused([None, "UNDEFINED_VALUE: Undefined values are not allowed", ""], LOGIN, UNDEFINED)
    rows(MADE, CREATE, "acme", "array", LIST)
    works("SELECT FROM apikey_create($1, $2, metadata => $3)", "acme", "text", '{"a": 1}')
    rows([["object"]], "SELECT jsonb_typeof(metadata) FROM apikey_keys"
         " WHERE label = $1 AND metadata <> '{}'", "text")
if name == "psycopg":
    refused(BAD_LIST, CREATE, "acme", "empty list", [])
if name == "psycopg2":
    refused(["42883", "function apikey_create.* does not exist"],
            "SELECT FROM apikey_create($1, $2, allowed_networks => $3)", "acme", "x", ["::1/128"])
    works("SELECT FROM apikey_create($1, $2, allowed_networks => $3::cidr[])",
          "acme", "x", ["::1/128"])
if name == "asyncpg":
    refused(["22000", r"invalid input for query argument \$2: 42 \(expected str, got int\)", ""],
            MAY, keys["reader"], 42, "production", "read")
if name == "jdbc":
    refused(["42883", "function apikey_create.* does not exist"], CREATE, "acme", "text", GRANTS)
    rows([[True]], MAY, keys["reader"], "web", "production", "read")
else:
    works("BEGIN")
    works(RECORD, keys["reader"])
    works("ROLLBACK")

done()
