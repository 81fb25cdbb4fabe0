"""psycopg2 for drivers.py."""

import re

import psycopg2

from serve import serve


class Notices(list):
    """They come as text, in lines, without an SQLSTATE."""

    def append(self, text):
        super().append([None, text.split("\n")[0].split(":  ")[1]])


connection = psycopg2.connect("")
connection.autocommit = True
connection.notices = notices = Notices()


def query(statement, parameters):
    with connection.cursor() as cursor:
        cursor.execute(re.sub(r"\$\d", "%s", statement), parameters)
        return cursor.fetchall() if cursor.description else []


serve(query, psycopg2.Error,
      lambda e: [e.pgcode, e.diag.message_primary, e.diag.message_detail,
                 e.diag.source_function], notices)
