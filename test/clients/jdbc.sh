# Debian's JDBC driver, with whatever Java there is.
cd "$(dirname "$0")"
exec /usr/bin/python3 -B drivers.py jdbc \
	java -XX:TieredStopAtLevel=1 -cp /usr/share/java/postgresql.jar Driver.java
