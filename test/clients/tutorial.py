"""Does doc/tutorial.md work, word for word, from its database on?

Its blocks are run in order: SQL in one psql, shell in one bash, each of which must
print what the text block after it says.  Lines NAME=apk_… are copied from the one to
the other, as the page tells its readers to do.
"""

import atexit
import os
import re
import socket
import subprocess

from check import TREE, done, equal, ok, sql

DONE = "@@@ done"

with open(os.path.join(TREE, "doc", "tutorial.md"), encoding="utf-8") as file:
    page = file.read()
with open(os.path.join(TREE, "examples", "stacks", "psycopg", "app.py"), encoding="utf-8") as file:
    program = file.read()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
environment = dict(os.environ, PORT=port, PGOPTIONS="-c client_min_messages=warning")


def start(*command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, cwd=TREE, env=environment)

    def end():
        process.stdin.close()
        process.wait()

    atexit.register(end)
    return process


def run(process, text, echo, lines=0):
    """Have it run a text, and return what it prints: so many lines at least, for a
    program in the background prints when it likes."""
    process.stdin.write(f"{text}\n{echo} '{DONE}'\n")
    process.stdin.flush()
    printed = []
    ended = False
    while not ended or len(printed) < lines:
        line = process.stdout.readline()
        if line == DONE + "\n":
            ended = True
        elif line:
            printed.append(line)
        else:
            break
    return "".join(printed) if ended else None


def untimed(text):
    """Whenever a row was made"""
    return re.sub(r"\d{4}-\d\d-\d\d [\d:.]+\+00", "TIME", text)


shell = start("bash")
run(shell, "trap 'kill $(jobs -p) 2>/dev/null' EXIT", "echo")  # whatever the page leaves running
psql = None
after = re.split(r"^## 2\. .*\n", page, flags=re.M)[1]
blocks = re.findall(r"^```(\w+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", after, re.M | re.S)
ok(len(blocks) > 10, "the tutorial has blocks")

for language, text, wanted in blocks:
    what = text.strip().splitlines()[-1]
    if language == "sql":
        if psql is None:
            psql = start("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", "shop")
        printed = run(psql, text, "\\echo")
        ok(printed is not None, what)
        for line in re.findall(r"^\w+=apk_\w+$", printed or "", re.M):
            run(shell, line, "echo")
    elif language == "python":
        ok(text in program, "the program of the page is that of examples/stacks")
    elif language == "sh" and text != "psql shop\n":
        text = text.replace("PGHOST=localhost ", "PGTZ=UTC ").replace("8080", port)
        text = text.replace(" python3 ", " /usr/bin/python3 ")
        wanted = wanted.replace("8080", port)
        if "dropdb" in text:
            equal(sql("shop", "SELECT uses, refusals FROM apikey_usage"), "12|1\n",
                  "its use has been counted")
        equal(untimed(run(shell, text, "echo", wanted.count("\n"))), untimed(wanted), what)

equal(sql("postgres", "SELECT datname FROM pg_database WHERE datname = 'shop'"), "",
      "nothing is left")
done()
