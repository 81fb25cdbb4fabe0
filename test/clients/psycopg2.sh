# Debian's psycopg2.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B drivers.py psycopg2 /usr/bin/python3 driver_psycopg2.py
