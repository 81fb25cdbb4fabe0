# What PostgREST does for each request.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B postgrest.py
