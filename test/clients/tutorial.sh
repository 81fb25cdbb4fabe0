# doc/tutorial.md, with Debian's psycopg and curl.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B tutorial.py
