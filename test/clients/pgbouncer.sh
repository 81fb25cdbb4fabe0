# pgbouncer in transaction mode, with one server connection for all clients.
set -eu
cd "$(dirname "$0")"

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
cat >"$dir/ini" <<END
[databases]
* = host=$PGHOST port=$PGPORT

[pgbouncer]
pool_mode = transaction
default_pool_size = 1
listen_addr =
listen_port = 6432
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
logfile = $dir/log
END
echo '"clients_pgbouncer" ""' >"$dir/users"

/usr/sbin/pgbouncer -q "$dir/ini" &
trap 'kill $!; wait $! || true; rm -r "$dir"' EXIT
until [ -S "$dir/.s.PGSQL.6432" ]; do
	kill -0 $!
	sleep 0.1
done
/usr/bin/python3 -B pgbouncer.py "$dir"
