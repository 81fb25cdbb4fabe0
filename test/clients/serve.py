"""The part of a program for drivers.py that is the same for all in Python."""

import json
import sys


def parameter(field):
    return {"s": str, "i": int, "j": json.loads, "n": lambda _: None}[field[0]](field[1:])


def serve(query, error, told, notices):
    """query(statement, parameters) returns rows or raises an error, of which told()
    makes a list.  What was noted meanwhile is in the list "notices"."""
    for line in sys.stdin:
        statement, *fields = line.rstrip("\n").split("\x1f")
        try:
            answer = {"rows": [list(row) for row in
                               query(statement, list(map(parameter, fields)))]}
        except error as e:
            answer = {"error": told(e)}
        print(json.dumps({**answer, "notices": notices}, default=str), flush=True)
        notices.clear()
