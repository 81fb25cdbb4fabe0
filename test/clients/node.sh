# The application in node.js, with node-postgres.
cd "$(dirname "$0")"
. ./node-path pg '^8.8.0'
/usr/bin/python3 -B application.py node node ../../examples/node/app.js
