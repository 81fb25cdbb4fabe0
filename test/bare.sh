# A bare Debian, to install and try things in.  Source it, as root; then:
#
#	bare SUITE [OTHER...]	make one in $BARE, a temporary directory: it is of SUITE and
#				has nothing that is not in each Debian.  What it lacks may be
#				installed from the other suites, where PostgreSQL's libpq may
#				come from, too
#	inside COMMAND...	run a command there, as root.  What it has started ends with it
#	give DIR		copy this tree into DIR there, as test/run does
#	check WHAT COMMAND...	whether it succeeds; what it says is shown if it does not
#	conclude		end the script, and say last how many checks passed and failed
#
# Packages come from where this system gets its own.  $BARE is in $work, which is removed
# when the script ends; there is one bare Debian at a time.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(id -u)" = 0 ] || die "only root can make another system"
work=$(mktemp -d /var/tmp/bare.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM
BARE=$work/system
: >"$work/results"

# Where apt here has the packages from that bear the label "$1"
mirror()
{
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
		"Label: $1" | head -1
}

bare()
{
	local suite=$1 other is mirror security script

	mirror=$(mirror Debian)
	[ -n "$mirror" ] || die "apt knows no mirror of Debian here"
	command -v debootstrap >/dev/null || test/install debootstrap
	# suites that are younger than debootstrap are made as its youngest
	script=/usr/share/debootstrap/scripts/$suite
	[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid

	rm -rf --one-file-system "$BARE"
	mkdir "$BARE"
	debootstrap --variant=minbase "$suite" "$BARE" "$mirror" "$script" >"$work/debootstrap" 2>&1 ||
	{
		cat "$work/debootstrap" >&2
		exit 1
	}

	# the newest minor version of PostgreSQL may be there alone
	security=$(mirror Debian-Security)
	[ -z "$security" ] ||
		echo "deb $security $suite-security main" >>"$BARE/etc/apt/sources.list"

	shift
	for other; do
		echo "deb $mirror $other main" >>"$BARE/etc/apt/sources.list"
		# the name of a suite is the archive's or the version's
		for is in a n; do
			printf 'Package: %s\nPin: release %s\nPin-Priority: %d\n\n' \
				'*' "$is=$other" 100 'src:postgresql-*' "$is=$other" 500
		done >>"$BARE/etc/apt/preferences"
	done
	printf '#!/bin/sh\nexit 101\n' >"$BARE/usr/sbin/policy-rc.d"
	chmod +x "$BARE/usr/sbin/policy-rc.d"
	# of a mirror that stands still, the suites that move on have expired
	echo 'Acquire::Check-Valid-Until "false";' >"$BARE/etc/apt/apt.conf.d/bare"
	inside apt-get -qq update
}

inside()
{
	unshare --mount --pid --fork --kill-child sh -eu -c '
		cd "$1"
		shift
		home=~root
		mount -t proc proc proc
		mount --rbind /dev dev
		mount -t tmpfs tmpfs dev/shm
		exec chroot . /usr/bin/env -i HOME="$home" LANG=C.UTF-8 \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			DEBIAN_FRONTEND=noninteractive "$@"' sh "$BARE" "$@"
}

give()
{
	mkdir -p "$BARE$1"
	tree | tar -x -C "$BARE$1" --no-same-owner
}

check()
{
	local what=$1 result=ok

	shift
	"$@" >"$work/log" 2>&1 || result="not ok"
	echo "$result - $what" | tee -a "$work/results"
	[ "$result" = ok ] || tail -n 80 "$work/log"
	[ "$result" = ok ]
}

conclude()
{
	local failed

	failed=$(grep -c '^not ok' "$work/results") || true
	printf '\n%d passed, %d failed\n' "$(grep -c '^ok' "$work/results" || true)" "$failed"
	[ "$failed" = 0 ]
	exit
}
