"""An HTTP gateway that remembers who holds which key, and forgets it in time.

    apt install python3-psycopg         (or: pip install "psycopg[binary]")
    PGHOST=primary PGDATABASE=orders PGUSER=gateway PORT=8080 python3 gateway.py

    curl -i -H "X-API-Key: $KEY" localhost:8080/

What it may forget and when, and whether you need such a cache at all: see
doc/how-to/outside-caches.md, which also makes the role.

PGHOST is the primary, without a pooler in between: nobody can LISTEN on a standby, and
behind a pooler that shares connections notifications go astray.
"""

import collections
import hashlib
import json
import os
import select
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg

LIFETIME = float(os.environ.get("LIFETIME", 60))    # seconds that a verdict is kept
HEARTBEAT = float(os.environ.get("HEARTBEAT", 2))   # seconds from one to the next
SILENCE = 3 * HEARTBEAT                             # without one: then none is used
SIZE = 10000                                        # verdicts

# A network that is gone shows as an error of the connection within SILENCE, too.
CONNECT = dict(autocommit=True, connect_timeout=5, keepalives_idle=5,
               keepalives_interval=2, keepalives_count=3,
               tcp_user_timeout=int(SILENCE * 1000))


def log(*what):
    print(*what, file=sys.stderr, flush=True)


class Verdicts:
    """Verdicts about keys, each by the digest of its key: no key is in here.

    They are used only while somebody listens: that is, from start() to stop(), and as
    long as alive() is called.  "generation" counts all that may have made a verdict
    wrong, so one that was on its way meanwhile is not kept.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.entries = collections.OrderedDict()    # digest -> verdict, until, key id
        self.generation = 0
        self.heard = None       # when the last heartbeat was; None: nobody listens

    def get(self, digest):
        """The verdict that is known, or None; and the generation for put()."""
        now = time.monotonic()
        with self.lock:
            listening = self.heard is not None and now - self.heard < SILENCE
            verdict, until, _ = self.entries.get(digest, (None, 0, None))
            return (verdict if listening and now < until else None), self.generation

    def put(self, digest, generation, verdict, lifetime):
        with self.lock:
            if self.heard is None or generation != self.generation:
                return
            self.entries[digest] = (verdict, time.monotonic() + lifetime,
                                    verdict["key_id"])
            self.entries.move_to_end(digest)
            while len(self.entries) > SIZE:
                self.entries.popitem(last=False)

    def forget(self, key_id=None):
        """What is known of a key, or everything."""
        with self.lock:
            self.generation += 1
            if key_id is None:
                self.entries.clear()
            for digest in [digest for digest, entry in self.entries.items()
                           if entry[2] == key_id]:
                del self.entries[digest]

    def start(self):
        self.forget()
        self.alive()

    def alive(self):
        with self.lock:
            self.heard = time.monotonic()

    def stop(self):
        with self.lock:
            self.heard = None
        self.forget()


class Listener:
    """Keeps the verdicts right, in a thread of its own, for ever."""

    def __init__(self, verdicts):
        self.verdicts = verdicts

    def run(self):
        wait = 0.1
        while True:
            try:
                with psycopg.connect("", **CONNECT) as connection:
                    self.begin(connection)
                    wait = 0.1
                    while True:
                        self.beat(connection)
            except psycopg.Error as error:
                log("not listening:", str(error).strip())
            # whatever is sent from here on is lost
            self.verdicts.stop()
            time.sleep(wait)
            wait = min(wait * 2, 10)

    def begin(self, connection):
        (pid, standby), = connection.execute(
            "SELECT pg_backend_pid(), pg_is_in_recovery()")
        if standby:
            raise psycopg.OperationalError("this is a standby: listen on the primary")
        if pid != connection.info.backend_pid:
            raise psycopg.OperationalError("there is a pooler in between: connect to the server")
        connection.add_notify_handler(self.notified)
        connection.execute("LISTEN apikey")
        # only now: what is read from here on, changes of it are heard
        self.verdicts.start()
        log("listening")

    def beat(self, connection):
        """Wait until something comes, or for a heartbeat. Any statement then hands
        what has come to notified(), and shows that the server is there."""
        select.select([connection], [], [], HEARTBEAT)
        (usage,), = connection.execute("SELECT pg_notification_queue_usage()")
        if usage >= 0.5:
            raise psycopg.OperationalError("the queue is half full, and apikey sends nothing")
        self.verdicts.alive()

    def notified(self, notify):
        try:
            self.verdicts.forget(json.loads(notify.payload).get("key_id"))
        except (ValueError, AttributeError):    # not of apikey: anybody can NOTIFY
            self.verdicts.forget()


class Gateway:
    """Asks the database, or remembers."""

    # Besides, whether the answer may be kept, and how many seconds at most, if any
    ASK = """
        SELECT v.key_id::text, v.organization, v.label,
            k.parent_id IS NULL AND k.rate_limit IS NULL AND k.allowed_networks IS NULL,
            extract(epoch FROM nullif(least(v.expires_at, k.overlap_until), 'infinity')
                - clock_timestamp())::float8
        FROM apikey_verify(%s) v JOIN apikey_keys k USING (key_id)"""

    def __init__(self, verdicts):
        self.verdicts = verdicts
        self.connection = None

    def verify(self, key):
        """Who holds this key, or None; and where that came from."""
        digest = hashlib.sha256(key.encode()).digest()
        verdict, generation = self.verdicts.get(digest)
        if verdict is not None:
            return verdict, "hit"
        row = self.ask(key)
        if row is None:         # a key that is new sends no message: never keep a no
            return None, "miss"
        key_id, organization, label, keep, ends = row
        verdict = {"key_id": key_id, "organization": organization, "label": label}
        if keep:
            lifetime = LIFETIME if ends is None else min(LIFETIME, ends)
            self.verdicts.put(digest, generation, verdict, lifetime)
        return verdict, "miss"

    def ask(self, key):
        """A connection that is found broken is tried anew, once."""
        for last in False, True:
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = psycopg.connect("", **CONNECT)
                return self.connection.execute(self.ASK, [key]).fetchone()
            except psycopg.DataError:           # such as a NUL: no key is like that
                return None
            except psycopg.OperationalError:
                if self.connection is not None:
                    self.connection.close()
                if last:
                    raise


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            verdict, source = gateway.verify(self.headers.get("X-API-Key", ""))
        except psycopg.Error as error:
            log("not asked:", str(error).strip())
            return self.reply(503, {"error": "no answer from the database"}, "miss")
        if verdict is None:
            return self.reply(401, {"error": "invalid API key"}, source)
        self.reply(200, verdict, source)

    def reply(self, status, result, source):
        self.send_response(status)
        self.send_header("X-Cache", source)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(result).encode())

    def log_message(self, *args):
        pass


verdicts = Verdicts()
gateway = Gateway(verdicts)
threading.Thread(target=Listener(verdicts).run, daemon=True).start()
server = HTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Handler)
print(f"gateway on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
