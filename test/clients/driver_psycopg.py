"""psycopg for drivers.py."""

import re

import psycopg

from serve import serve

connection = psycopg.connect("", autocommit=True)
notices = []
connection.add_notice_handler(lambda n: notices.append([n.sqlstate, n.message_primary]))


def query(statement, parameters):
    cursor = connection.execute(re.sub(r"\$\d", "%s", statement), parameters)
    return cursor.fetchall() if cursor.description else []


serve(query, psycopg.Error,
      lambda e: [e.sqlstate, e.diag.message_primary, e.diag.message_detail,
                 e.diag.source_function], notices)
