# Debian's asyncpg.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B drivers.py asyncpg /usr/bin/python3 driver_asyncpg.py
