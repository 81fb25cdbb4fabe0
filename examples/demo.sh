#!/bin/bash
#
# examples/demo.sh
#		Run demo.sql on a throw-away server.  With KEEP=1 the server stays.

. "$(dirname "$0")/../test/lib.sh"
enter "" "$@"

echo "Building apikey and starting a server for this demo ..."
build
start "shared_preload_libraries = 'apikey'"
createdb demo
psql -Xq -d demo 2>&1 <examples/demo.sql |
	sed -e '/^\\/d' -e 's, \\g /dev/null,;,' | cat -s

if [ -n "${KEEP:-}" ]; then
	trap - EXIT
	cat <<END
The server stays. Go on by yourself, as the application or as the administrator:

    psql -h $WORK -U app demo
    psql -h $WORK -U postgres demo

Stop it and remove everything:

    kill -QUIT $(head -1 "$WORK/data/postmaster.pid"); sleep 1; rm -r $WORK
END
else
	cat <<END
That was all, and the server goes away. What to type next:

    make demo KEEP=1            the same, and the server stays for you to try things
    make && sudo make install   for a PostgreSQL of yours, see "Install" in README.md

"Quick start" in README.md does this by hand, and doc/tutorial.md behind a web API.
END
fi
