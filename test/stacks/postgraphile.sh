cd "$(dirname "$0")"
PYTHONPATH=../clients exec /usr/bin/python3 -B postgraphile.py ../../examples/stacks/postgraphile/start
