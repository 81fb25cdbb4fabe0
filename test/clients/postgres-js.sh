# postgres.js, which is npm's alone.
cd "$(dirname "$0")"
. ./node-path postgres '^3.4.0'
/usr/bin/python3 -B drivers.py postgres_js node driver_postgres_js.js
