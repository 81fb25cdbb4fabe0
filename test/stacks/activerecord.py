"""What ActiveRecord's query cache, logs and lazy queries make of keys: activerecord.rb, in
a database of its own."""

import json
import os
import subprocess
import sys

from check import orders_database, sql

name = "stack_activerecord"
ids, keys = orders_database(name)
keys["limited"] = sql(name, """SELECT key FROM apikey_create('acme', 'limited',
    '[{"project": "web", "environment": "*", "level": "read"}]',
    rate_limit => '1 per hour')""").strip()
sys.exit(subprocess.run(
    ["/usr/bin/ruby", os.path.join(os.path.dirname(__file__), "activerecord.rb")],
    env=dict(os.environ, PGDATABASE=name, PGUSER=name, KEYS=json.dumps(keys))).returncode)
