# node-postgres.
cd "$(dirname "$0")"
. ./node-path pg '^8.8.0'
/usr/bin/python3 -B drivers.py node_pg node driver_node_pg.js
