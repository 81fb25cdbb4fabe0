# Debian's psycopg.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B drivers.py psycopg /usr/bin/python3 driver_psycopg.py
