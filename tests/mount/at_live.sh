#!/bin/bash
# at/latest of a running server, in a mount of the user postgres: it moves on with what is received, and a copy has every
# row down to the segment that is still being received.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new at_live
pkg_install_postgres
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
MNT=$SCRATCH/mnt
WAL=$MNT/main/wal
LATEST=$MNT/main/at/latest
RECEIVER=
install -d -o postgres "$REPO" "$MNT" "$PGSTRATA_CACHE_DIR"
as_postgres "$PGSTRATA" init -r "$REPO" >/dev/null

receiver_end() {
	[ -z "$RECEIVER" ] || kill "$RECEIVER" || true
	[ -z "$RECEIVER" ] || wait "$RECEIVER" 2>/dev/null || true
	RECEIVER=
}

# within SECONDS WHAT COMMAND…: the command succeeds at last.
within() {
	local i seconds=$1 what=$2
	shift 2
	for ((i = 0; i < seconds * 20; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	fail "$what did not happen in $seconds s"
}

pg_init "$DATA"
pg_start "$DATA"
as_postgres env PGHOST="${PG_SOCKET[$DATA]}" PGPORT="${PG_PORT[$DATA]}" \
	"$PGSTRATA" backup -r "$REPO" -U postgres --checkpoint fast -q >/dev/null
HOME=$SCRATCH setpriv --reuid postgres --regid postgres --init-groups "$PGSTRATA" receive -r "$REPO" \
	-h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}" -U postgres -q &
RECEIVER=$!
cleanup_push receiver_end
# Packages and containers give it other modes; an ordinary user's mount needs this one.
device_mode=$(stat -c %a /dev/fuse)
cleanup_push chmod "$device_mode" /dev/fuse
chmod 666 /dev/fuse
# As root this would be another mount: fusermount3 makes it for an ordinary user.
as_postgres "$PGSTRATA" mount -r "$REPO" "$MNT"
cleanup_push mount_stop "$MNT"
pid=$(mount_pid "$MNT")
assert_eq "$(stat -c %U "/proc/$pid")" postgres 'who serves the mount'
in_mount() { as_postgres "$@"; }

pg_sql "$DATA" -c 'CREATE TABLE t (n int PRIMARY KEY)' -c 'INSERT INTO t SELECT generate_series(1, 1000)'
segment=$(pg_sql "$DATA" -c 'SELECT pg_walfile_name(pg_current_wal_lsn())')
within 60 "$segment.partial" in_mount test -e "$WAL/$segment.partial"
assert_eq "$(in_mount stat -c %s "$WAL/$segment.partial")" 16777216 'size of what grows'
assert_match "$(in_mount ls "$WAL")" "$segment.partial"

# What grows is never kept: two reads see two states.
was=$(in_mount sha256sum "$WAL/$segment.partial")
pg_sql "$DATA" -c 'INSERT INTO t VALUES (1001)'
changed() { [ "$(in_mount sha256sum "$WAL/$segment.partial")" != "$was" ]; }
within 60 'a new state of what grows' changed

# latest moves on, and what was entered before stays as it was.
number=$(in_mount stat -c %i "$LATEST/")
before=$(in_mount cat "$LATEST/data/postgresql.auto.conf")
pg_sql "$DATA" -c 'INSERT INTO t VALUES (1002)'
moved() { [ "$(in_mount stat -c %i "$LATEST/")" != "$number" ]; }
within 60 'another latest' moved
assert_match "$(in_mount cat "$LATEST/info.json")" '"partial": true'
assert_ok in_mount "$PG_BIN/pg_verifybackup" -q -n "$LATEST/data"
assert_eq "$(in_mount cat "$LATEST/data/postgresql.auto.conf")" "$before" 'settings'

# recovered ANSWER: a copy of latest has as many rows, by cp and by restore.
recovered() {
	local copy=$SCRATCH/copy i way
	for way in "cp -a $LATEST/data" "$PGSTRATA restore -q -r $REPO --target latest"; do
		# shellcheck disable=SC2086
		in_mount $way "$copy"
		pg_start "$copy"
		for ((i = 0; i < 600; i++)); do
			[ "$(pg_sql "$copy" -c 'SELECT pg_is_in_recovery()')" != f ] || break
			sleep 0.1
		done
		assert_eq "$(pg_sql "$copy" -c 'SELECT count(*), max(n) FROM t')" "$1|$1" "rows by $way"
		pg_stop "$copy"
		rm -rf "$copy"
	done
}
install -d -o postgres "$SCRATCH/out"
chown postgres "$SCRATCH"
caught_up() {
	[ "$(pg_sql "$DATA" -c 'SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication')" = t ]
}
within 60 'what was inserted received' caught_up
sleep 2.1 # for so long the mount, and the kernel, keep what latest is
recovered 1002

# Without the mount what grows is given to who asks for it.
assert_fails 1 'is not in the archive' "$PGSTRATA" archive-get -r "$REPO" "$segment" "$SCRATCH/got"
"$PGSTRATA" archive-get -r "$REPO" --partial --async "$segment" "$SCRATCH/got"
assert_eq "$(stat -c %s "$SCRATCH/got")" 16777216 'size of what archive-get gives of it'
assert_ok cmp -n 8192 "$SCRATCH/got" "$DATA/pg_wal/$segment"
assert_fails 1 'is not in the archive' "$PGSTRATA" archive-get -r "$REPO" --partial 0000000100000000000000FF "$SCRATCH/no"
assert_fails 1 'is not in the archive' "$PGSTRATA" archive-get -r "$REPO" --partial 00000002.history "$SCRATCH/no"
assert_fails 255 'No such file|no folder' "$PGSTRATA" archive-get -r "$REPO" --partial "$segment" "$SCRATCH/no/got"

# A segment that is complete takes the place of its partial.
pg_sql "$DATA" -c 'INSERT INTO t VALUES (1003)' -c 'SELECT pg_switch_wal()' >/dev/null
within 60 "$segment" in_mount test -e "$WAL/$segment"
assert_fails 2 'No such file' in_mount ls "$WAL/$segment.partial"
assert_eq "$(in_mount ls "$WAL" | grep -c "^$segment")" 1 'names of a segment'
assert_ok in_mount cmp "$DATA/pg_wal/$segment" "$WAL/$segment"
sleep 1.1
recovered 1003

# A mount that is gone stops a recovery instead of ending it.
in_mount cp -a "$LATEST/data" "$SCRATCH/copy"
receiver_end
mount_stop "$MNT"
status=0
as_postgres "$PG_BIN/postgres" -D "$SCRATCH/copy" -c listen_addresses= -c unix_socket_directories="$SCRATCH/out" \
	>"$SCRATCH/out/log" 2>&1 || status=$?
assert_eq "$status" 1 'the server without the mount'
assert_match "$(cat "$SCRATCH/out/log")" 'FATAL:  could not restore file'
