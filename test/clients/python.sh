# The application in Python, with Debian's psycopg.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B application.py python \
	/usr/bin/python3 ../../examples/python/app.py
