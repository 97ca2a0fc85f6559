# shellcheck shell=bash
# Shell helpers for tools/ and tests/mount/: packages, scratch PostgreSQL servers, mounts, asserts.
#
#   set -euo pipefail
#   . tests/lib.sh            (from wherever: it finds the checkout by its own path)
#   scratch_new mytest        SCRATCH is now a directory that is gone at exit
#
# Invariant: whatever a script started or mounted through these functions is ended when the script ends, however
# it ends; what was running before is not touched. Each start pushes its own undo on a stack, and the stack runs
# backwards at exit. Undo therefore works only for calls made in the script's own shell: results come back in
# variables, never through $(...), which would lose the push.
#
# Not here: anything about one test or one tool.

LIB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PGSTRATA=${PGSTRATA:-$LIB_ROOT/build/release/src/cmd/pgstrata}

# ---- saying things ---------------------------------------------------------------------------------------------

note() {
	printf '%s\n' "$*" >&2
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# ---- the undo stack --------------------------------------------------------------------------------------------

declare -a CLEANUP_STACK=()

# cleanup_push COMMAND [ARG…]: run it at exit, last pushed first. Its failure is reported, not fatal.
cleanup_push() {
	local quoted
	printf -v quoted '%q ' "$@"
	CLEANUP_STACK+=("$quoted")
}

cleanup_run() {
	local status=$? i
	# A second Ctrl-C must not leave half of the mounts behind.
	trap '' INT TERM HUP
	trap - EXIT
	set +e
	cd / || status=1
	for ((i = ${#CLEANUP_STACK[@]} - 1; i >= 0; i--)); do
		eval "${CLEANUP_STACK[i]}" || note "cleanup failed: ${CLEANUP_STACK[i]}"
	done
	exit "$status"
}

trap cleanup_run EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# scratch_new NAME [PARENT]: sets SCRATCH to a new directory that other users may enter, removed at exit.
# On disk rather than in /tmp, which may be memory: these directories hold gigabytes.
scratch_new() {
	SCRATCH=$(mktemp -d "${2:-${TMPDIR:-/var/tmp}}/pgstrata-$1.XXXXXX")
	chmod 755 "$SCRATCH"
	cleanup_push scratch_remove "$SCRATCH"
	# Ours keeps its index cache outside the repository; a test must not leave it in somebody's home.
	export PGSTRATA_CACHE_DIR=$SCRATCH/cache
}

# --one-file-system: if an unmount failed, do not walk into the mount.
scratch_remove() {
	rm -rf --one-file-system -- "$1"
}

# ---- packages --------------------------------------------------------------------------------------------------

need_root() {
	[ "$(id -u)" = 0 ] || die "must run as root (it installs packages, mounts, and runs servers as user postgres)"
}

pkg_missing() {
	local p
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s\n' "$p"
	done
}

apt_quiet() {
	local log
	log=$(mktemp)
	if ! DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		die "apt-get $* failed"
	fi
	rm -f "$log"
}

# pkg_install PACKAGE…: installs what is missing, and does nothing at all (no network) when nothing is.
pkg_install() {
	local -a missing
	mapfile -t missing < <(pkg_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	need_root
	note "installing: ${missing[*]}"
	apt_quiet update
	if [[ " ${missing[*]} " == *" postgresql"* ]]; then
		# The package would otherwise create and start a cluster on port 5432 that nobody asked for.
		apt_quiet install --no-install-recommends postgresql-common
		sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' \
			/etc/postgresql-common/createcluster.conf
	fi
	apt_quiet install --no-install-recommends "${missing[@]}"
}

# What building needs, and what running a scratch server needs.
pkg_install_build() {
	pkg_install gcc libc6-dev cmake ninja-build pkg-config libzstd-dev libssl-dev libarchive-dev libfuse3-dev \
		libjansson-dev libinih-dev libpq-dev zlib1g-dev check
}

pkg_install_postgres() {
	pkg_install postgresql-15 postgresql-client-15 fuse3
}

# ---- scratch PostgreSQL ----------------------------------------------------------------------------------------

PG_BIN=${PG_BIN:-/usr/lib/postgresql/15/bin}
declare -A PG_SOCKET=() PG_PORT=()

# as_postgres COMMAND…: PostgreSQL refuses to run as root.
as_postgres() {
	(cd / && runuser -u postgres -- "$@")
}

# pg_init DIR [INITDB OPTION…]: e.g. --data-checksums. DIR must be absolute and not exist.
pg_init() {
	local dir=$1
	shift
	[ -x "$PG_BIN/initdb" ] || die "no PostgreSQL in $PG_BIN"
	install -d -m 700 -o postgres -g postgres "$dir"
	as_postgres "$PG_BIN/initdb" -D "$dir" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
		"$@" >/dev/null
}

# pg_start DIR [SETTING=VALUE…]: returns when the server answers. It listens on a private unix socket only, with
# fsync off unless told otherwise; PG_SOCKET[DIR] (which also holds the log) and PG_PORT[DIR] say where.
pg_start() {
	local dir=$1 socket port options setting
	shift
	# Not under SCRATCH: a socket's path is limited to 107 bytes.
	socket=$(mktemp -d /tmp/pgstrata-pg.XXXXXX)
	chown postgres: "$socket"
	port=$((20000 + RANDOM % 30000))
	options="-c listen_addresses= -c unix_socket_directories=$socket -c port=$port -c fsync=off"
	# A scan begins where the last one stood otherwise, and rows are compared in their order.
	options+=" -c synchronize_seqscans=off"
	for setting in "$@"; do
		options+=" -c ${setting%%=*}=$(printf '%q' "${setting#*=}")"
	done
	PG_SOCKET[$dir]=$socket
	PG_PORT[$dir]=$port
	cleanup_push pg_stop "$dir"
	if ! as_postgres "$PG_BIN/pg_ctl" start -w -t 120 -s -D "$dir" -l "$socket/log" -o "$options"; then
		tail -n 20 "$socket/log" >&2
		die "PostgreSQL did not start on $dir"
	fi
}

# pg_stop DIR: a clean shutdown; SIGQUIT to that one server if it does not obey. No error when it is down already.
pg_stop() {
	local dir=$1 pid
	if [ -s "$dir/postmaster.pid" ]; then
		pid=$(head -n 1 "$dir/postmaster.pid")
		if ! as_postgres "$PG_BIN/pg_ctl" stop -w -t 60 -s -m fast -D "$dir"; then
			kill -QUIT "$pid" 2>/dev/null || true
		fi
	fi
	if [ -n "${PG_SOCKET[$dir]:-}" ]; then
		rm -rf "${PG_SOCKET[$dir]}"
		unset "PG_SOCKET[$dir]" "PG_PORT[$dir]"
	fi
}

# pg_run DIR PROGRAM [ARG…]: a client program (psql, pgbench, pg_basebackup, …) connected to the server on DIR.
pg_run() {
	local dir=$1 program=$2
	shift 2
	PGHOST=${PG_SOCKET[$dir]} PGPORT=${PG_PORT[$dir]} PGUSER=postgres "$PG_BIN/$program" "$@"
}

# pg_sql DIR [PSQL OPTION…]: bare rows on stdout, stops at the first error. pg_sql "$dir" -d db -c 'SELECT 1'
pg_sql() {
	local dir=$1
	shift
	PGOPTIONS="-c client_min_messages=warning" pg_run "$dir" psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# pg_archived DIR [SEGMENT]: waits until the server has archived this segment; by default all WAL that there is so far.
pg_archived() {
	local i last=${2:-}
	[ -n "$last" ] || last=$(pg_sql "$1" -c 'SELECT pg_walfile_name(pg_switch_wal())')
	for ((i = 0; i < 600; i++)); do
		[ "$(pg_sql "$1" -c "SELECT last_archived_wal >= '$last' FROM pg_stat_archiver")" != t ] || return 0
		sleep 0.1
	done
	fail "$last was not archived"
}

# ---- mounts ----------------------------------------------------------------------------------------------------

# mount_start REPO MNT [OPTION…]: mounts with pgstrata; options as for its mount verb, e.g. -o cache=64M.
mount_start() {
	local repo=$1 mnt=$2
	shift 2
	mkdir -p "$mnt"
	cleanup_push mount_stop "$mnt"
	"$PGSTRATA" mount -r "$repo" "$@" "$mnt"
}

# mount_stop MNT: unmounts, ours or a peer's, and waits until its daemon is gone. Nothing mounted is fine. What is
# still in use after a minute is detached, so that the scratch directory can go, and that counts as a failure.
mount_stop() {
	local mnt=$1 pid i
	mountpoint -q "$mnt" 2>/dev/null || mount_is_dead "$mnt" || return 0
	pid=$(mount_pid "$mnt")
	for ((i = 0; i < 600; i++)); do
		umount "$mnt" 2>/dev/null && break
		sleep 0.1
	done
	if mountpoint -q "$mnt" 2>/dev/null || mount_is_dead "$mnt"; then
		note "$mnt: still in use, detached"
		umount -l "$mnt"
		return 1
	fi
	[ -n "$pid" ] || return 0
	for ((i = 0; i < 600; i++)); do
		# A zombie has ended; who reaps it is not our business.
		[ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 0
		sleep 0.1
	done
	note "$mnt: daemon $pid outlived its mount, killed"
	kill -KILL "$pid"
	return 1
}

# A mount whose daemon died answers ENOTCONN to everything, and mountpoint(1) takes it for no mount.
mount_is_dead() {
	grep -qF " $1 fuse" /proc/self/mounts
}

# mount_pid MNT: prints the process id of the daemon that serves MNT: the process with MNT among its arguments
# that has /dev/fuse open. Nothing when there is none.
mount_pid() {
	local mnt=$1 proc
	for proc in /proc/[0-9]*; do
		tr '\0' '\n' 2>/dev/null <"$proc/cmdline" | grep -qxF -- "$mnt" || continue
		if find "$proc/fd" -lname /dev/fuse 2>/dev/null | grep -q .; then
			printf '%s\n' "${proc#/proc/}"
			return 0
		fi
	done
}

# drop_caches: the next read of anything comes from the disk. Dirty pages are written first, or they would stay.
drop_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# ---- asserts: silent when true; when not, they say what was wanted, where, and end the script --------------------

fail() {
	local i
	printf 'FAIL: %s\n' "$*" >&2
	for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
		printf '  at %s:%s\n' "${BASH_SOURCE[i]}" "${BASH_LINENO[i - 1]}" >&2
	done
	exit 1
}

# assert_eq GOT WANTED [WHAT]
assert_eq() {
	[ "$1" = "$2" ] || fail "${3:-value}: got '$1', wanted '$2'"
}

# assert_match TEXT REGEX [WHAT]
assert_match() {
	[[ $1 =~ $2 ]] || fail "${3:-text}: got '$1', wanted a match of /$2/"
}

# assert_ok COMMAND…: succeeds.
assert_ok() {
	"$@" || fail "status $? from: $*"
}

# assert_fails STATUS REGEX COMMAND…: ends with just that status, and says REGEX on stderr.
assert_fails() {
	local want=$1 regex=$2 got=0 text
	shift 2
	text=$("$@" 2>&1 >/dev/null) || got=$?
	[ "$got" = "$want" ] || fail "status $got, wanted $want, from: $* ($text)"
	[[ $text =~ $regex ]] || fail "stderr '$text' does not match /$regex/, from: $*"
}

# assert_same_tree A B: bytes, modes, owners, times, links, directories: rsync finds nothing to do.
assert_same_tree() {
	local diff
	diff=$(rsync -aHAXnc --delete --itemize-changes "$1/" "$2/") || fail "rsync $1 $2"
	[ -z "$diff" ] || fail "$1 and $2 differ: $(head -n 5 <<<"$diff")"
}
