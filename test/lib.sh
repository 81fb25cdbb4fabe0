# What test/run, examples/demo.sh, examples/console/start and bench/run share.  Source it; then:
#
#	enter SUITES "$@"	go on in a private place, see below; what these suites
#				of tests need is installed too, if there are any
#	build			compile, install
#	start [SETTING...]	start a server, and point psql to it
#
# The private place is $WORK, a temporary directory: a copy of the source tree
# in $WORK/tree, where the script is started anew, as an unprivileged user if
# it was root (a PostgreSQL server refuses to run as root); a copy of
# PostgreSQL, which build installs the extension into; the servers and all
# that they and the tests write.  When the script ends, in whatever way, its
# servers are stopped and the directory is removed.

set -eu -o pipefail

unset MAKEFLAGS MFLAGS MAKELEVEL
given=${PG_CONFIG:-}
: "${PG_CONFIG:=pg_config}"
for name in ${!PG*}; do
	[ "$name" = PG_CONFIG ] || unset "$name"
done
# PostgreSQL::Test unsets LC_ALL
export PG_CONFIG LANG=C.UTF-8 LC_ALL=C.UTF-8

die()
{
	echo "$0: $*" >&2
	exit 1
}

# 15 for PostgreSQL 15.18
major_version()
{
	"$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'
}

# The package of pgTAP for PostgreSQL "$1"; where Debian has none, for the newest before,
# which will do: pgTAP is all SQL.
pgtap_package()
{
	local version

	version=$(apt-cache pkgnames postgresql- | sed -n 's/^postgresql-\([0-9]*\)-pgtap$/\1/p' |
		awk -v version="$1" '$1 <= version' | sort -n | tail -1)
	echo "postgresql-${version:-$1}-pgtap"
}

# Is there a PostgreSQL to build for?  Debian's client package has pgxs.mk, but not the
# headers.
has_headers()
{
	local headers

	headers=$("$PG_CONFIG" --includedir-server 2>/dev/null) && [ -e "$headers/postgres.h" ]
}

# If not, it is the newest of the Debian here, or inside a bare one.
newest()
{
	"$@" apt-cache pkgnames postgresql-server-dev- |
		sed -n 's/.*-\(1[5-9]\)$/\1/p' | sort -n | tail -1
}

# The package with the headers of Debian's PostgreSQL $1, and its version: that of the
# server, if one is there, or the newest.  It depends on clang and LLVM, 600 MB that only
# bitcode needs: so it is not installed, but downloaded and unpacked.
headers_package()
{
	local package=postgresql-server-dev-$1 version

	version=$(dpkg-query -W -f '${Version}' "postgresql-$1" 2>/dev/null) || version=
	# what apt does not know it shows without a word
	if [ -z "$version" ] || [ -z "$(apt-cache show "$package=$version" 2>/dev/null)" ]; then
		version=$(apt-cache --no-all-versions show "$package" 2>/dev/null |
			sed -n 's/^Version: //p')
	fi
	echo "$package=$version"
}

# The file into which apt downloads the package "$1", NAME=VERSION
archive()
{
	local dir= file=$1

	eval "$(apt-config shell dir Dir::Cache::archives/d)"
	file=${file/=/_}
	echo "$dir${file//:/%3a}_$(dpkg --print-architecture).deb"
}

# Programs in examples/stacks, and what else has a test in test/stacks
stacks()
{
	(cd examples/stacks && printf '%s\n' */ && cd ../../test/stacks && printf '%s\n' *.sh) |
		sed 's/\/$//; s/\.sh$//' | sort -u
}

# The packages that the program or test of the stack "$1" says it needs
stack_packages()
{
	find examples/stacks test/stacks \( -path "*/$1/*.*" -o -name "$1.*" \) \
		-exec sed -n 's/.*apt install \([^(]*\).*/\1/p' {} + | xargs -n 1
}

# Does it need npm, Go or a JDK?
large_stack()
{
	stack_packages "$1" | grep -xE 'npm|golang-go|default-jdk-headless' >/dev/null
}

# The packages to install for the suites "$1", one a line.  An installed PostgreSQL
# is used as it is, else it is Debian's.
missing()
{
	local version bin share headers package stack suites=" $1 "

	if has_headers; then
		version=$(major_version)
		bin=$("$PG_CONFIG" --bindir)
		share=$("$PG_CONFIG" --sharedir)
	else
		version=$(newest)
		bin=/usr/lib/postgresql/$version/bin
		share=/usr/share/postgresql/$version
		headers=$(headers_package "$version")
		[ -e "$(archive "$headers")" ] || echo "$headers"
	fi
	[ -x "$bin/postgres" ] || echo "postgresql-$version"
	[ -e /usr/include/stdio.h ] || echo libc6-dev
	command -v gcc >/dev/null || echo gcc
	# what speaks TAP
	if [[ $suites =~ \ (house|pgtap|tap|fuzz|clients|console)\  ]]; then
		/usr/bin/perl -MTAP::Harness -e 1 2>/dev/null || echo perl
	fi
	if [[ $suites =~ \ house\  ]]; then
		# where there is no such package it comes with the server's headers
		[ -x "$bin/pg_bsd_indent" ] || command -v pg_bsd_indent >/dev/null ||
			! apt-cache show pg-bsd-indent >/dev/null 2>&1 || echo pg-bsd-indent
		command -v nm >/dev/null || echo binutils
		command -v git >/dev/null || echo git
	fi
	if [[ $suites =~ \ pgtap\  ]]; then
		package=$(pgtap_package "$version")
		[ -e "$share/extension/pgtap.control" ] ||
			[ "$package" != "postgresql-$version-pgtap" ] || echo "$package"
	fi
	if [[ $suites =~ \ (tap|fuzz)\  ]]; then
		/usr/bin/perl -MIPC::Run -e 1 2>/dev/null || echo libipc-run-perl
	fi
	# poolers and a driver, for the files that try them
	if [[ $suites =~ \ tap\  && ${TAP:-gateway} == *gateway* ]]; then
		[ -x /usr/sbin/pgbouncer ] || echo pgbouncer
		[ -e /usr/lib/python3/dist-packages/psycopg ] || echo python3-psycopg
	fi
	if [[ $suites =~ \ tap\  && ${TAP:-poolers} == *poolers* ]]; then
		[ -x /usr/sbin/pgbouncer ] || echo pgbouncer
		[ -x /usr/sbin/pgpool ] || echo pgpool2
		[ -x /usr/bin/odyssey ] || ! apt-cache show odyssey >/dev/null 2>&1 || echo odyssey
	fi
	if [[ $suites =~ \ bench\  ]]; then
		[ -e "$("$PG_CONFIG" --includedir 2>/dev/null)/libpq-fe.h" ] || echo libpq-dev
	fi
	if [[ $suites =~ \ (clients|console)\  ]]; then
		command -v npm >/dev/null || node -e 'require("pg")' 2>/dev/null || echo node-pg
	fi
	if [[ $suites =~ \ browser\  ]]; then
		[ -x /usr/bin/chromium ] || echo chromium
		command -v npm >/dev/null || echo npm
	fi
	if [[ $suites =~ \ (all-)?stacks\  ]]; then
		for stack in ${STACK:-$(stacks)}; do
			[[ $suites == *" all-stacks "* ]] || ! large_stack "$stack" || continue
			for package in $(stack_packages "$stack"); do
				case $package in
					npm) command -v npm ;;
					node-pg) command -v npm || node -e 'require("pg")' ;;
					golang-go) command -v go ;;
					default-jdk-headless) command -v javac ;;
					*) dpkg-query -W -f '${Status}' "$package" | grep -x 'install ok installed' ;;
				esac >/dev/null 2>&1 || echo "$package"
			done
		done | sort -u
	fi
	[[ $suites =~ \ clients\  ]] || return 0
	for package in psycopg psycopg2 asyncpg; do
		[ -e "/usr/lib/python3/dist-packages/$package" ] || echo "python3-$package"
	done
	command -v curl >/dev/null || echo curl
	# Java itself would be 260 MB
	! command -v javac >/dev/null || [ -e /usr/share/java/postgresql.jar ] ||
		echo libpostgresql-jdbc-java
}

# Where the lists are being updated, apt fails at once.  What is wrong otherwise is
# seen when the packages are not found.
update_lists()
{
	local said

	for _ in $(seq 60); do
		said=$($sudo apt-get -qq update </dev/null 2>&1 >/dev/null) && return
		[[ $said == *lists/lock* ]] || break
		sleep 5
	done
	echo "$said" >&2
}

install_missing()
{
	local sudo= packages

	[ -z "$given" ] || has_headers || die "PG_CONFIG=$given has no headers of a server"
	has_headers || command -v apt-get >/dev/null ||
		die "no PostgreSQL with its headers here: set PG_CONFIG"
	packages=$(missing "$1")
	[ -n "$packages" ] || return 0
	command -v apt-get >/dev/null || die "missing:" $packages
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "no sudo here: as root, test/install" $packages
		sudo=sudo
	fi
	echo "Packages are missing: apt installs them${sudo:+, with sudo}."
	update_lists
	has_headers || [ -n "$(newest)" ] || die "apt knows no package postgresql-server-dev-N"
	$sudo test/install $(missing "$1")
}

# The files of this tree that git knows or would add; without git, all.
tree_files()
{
	git -c safe.directory="$PWD" ls-files -z -co --exclude-standard 2>/dev/null ||
		find . -name .git -prune -o -type f ! -name '*.o' ! -name '*.bc' \
			! -name '*.so' -print0
}

# A tar of them
tree()
{
	tree_files | while IFS= read -r -d '' file; do
		[ ! -e "$file" ] || printf '%s\0' "$file"
	done | tar -c --null -T -
}

# release_archive FILE [PATH...]: what is released, or these of it, into a zip or tar.gz
release_archive()
{
	local file=$1

	shift
	git -c safe.directory="$PWD" archive --prefix="apikey-$(release_version)/" -o "$file" HEAD "$@"
}

release_version()
{
	sed -n 's/^\t"version": "\(.*\)",/\1/p' META.json
}

enter()
{
	local script version headers become=

	if [ -n "${APIKEY_WORK:-}" ]; then
		WORK=$APIKEY_WORK
		unset APIKEY_WORK
		PG_CONFIG=$(command -v "$PG_CONFIG")
		trap finish EXIT
		trap 'exit 1' HUP INT TERM
		return
	fi

	script=$(realpath --relative-to="$(dirname "${BASH_SOURCE[0]}")/.." "$0")
	cd "$(dirname "${BASH_SOURCE[0]}")/.."
	install_missing "$1"
	shift
	WORK=$(mktemp -d /tmp/apikey.XXXXXX)
	trap 'rm -rf "$WORK"' EXIT
	mkdir "$WORK/tree" "$WORK/root"
	if ! has_headers; then
		version=$(newest)
		PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config
		headers=$(headers_package "$version")
		# a library that was built for a later minor version may not load
		[ "${headers#*=}" = "$(dpkg-query -W -f '${Version}' "postgresql-$version")" ] ||
			die "PostgreSQL here is older than its headers, $headers: upgrade it first"
		dpkg-deb -x "$(archive "$headers")" "$WORK/root"
	fi
	tree | tar -x -C "$WORK/tree" --no-same-owner
	if [ "$(id -u)" = 0 ]; then
		chown -R nobody "$WORK"
		become="setpriv --reuid=nobody --regid=$(id -g nobody) --clear-groups"
	fi
	cd "$WORK/tree"
	APIKEY_WORK=$WORK HOME=$WORK TMPDIR=$WORK exec $become bash "$script" "$@"
}

finish()
{
	local pid

	cd /
	# what a script has begun as a process group
	for pid in $(jobs -p); do
		kill -- "-$pid" 2>/dev/null || true
	done
	find "$WORK" -name postmaster.pid | while read -r pid; do
		pg_ctl -s -D "${pid%/*}" -m immediate stop || true
	done
	rm -rf "$WORK"
}

# PostgreSQL's programs find all their other files by their own place: a tree
# of the same shape is an installation.  Only the programs are true copies.
build()
{
	local dir bin root=$WORK/root

	bin=$("$PG_CONFIG" --bindir)
	for dir in pkglibdir sharedir includedir-server; do
		dir=$("$PG_CONFIG" --$dir)
		[ -d "$dir" ] || continue
		mkdir -p "$root$dir"
		cp -rs --remove-destination "$dir/." "$root$dir"
		find "$root$dir" -name 'apikey*' -prune -exec rm -r {} +
	done
	mkdir -p "$root$bin"
	cp -rL "$bin/." "$root$bin"
	PATH=$root$bin:$PATH
	PG_CONFIG=$root$bin/pg_config

	# no bitcode for the JIT: it takes as long as all else
	make -s -j"$(nproc)" COPT=-Werror with_llvm=no &&
		make -s install with_llvm=no
}

start()
{
	export PGHOST=$WORK PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

	initdb -D "$WORK/data" -U "$PGUSER" -A trust --no-sync \
		${INITDB:--E UTF8 --locale=C.UTF-8} >"$WORK/initdb.log"
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$WORK'" \
		"fsync = off" "max_prepared_transactions = 5" "wal_level = logical" \
		"$@" >>"$WORK/data/postgresql.conf"
	pg_ctl -s -w -t "${TEST_TIMEOUT:-600}" -D "$WORK/data" -l "$WORK/server.log" start ||
	{
		cat "$WORK/server.log" >&2
		exit 1
	}
}
