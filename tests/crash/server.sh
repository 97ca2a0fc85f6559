#!/bin/bash
# backup and receive of a real server, killed at fault points: of files, of folders, and of the network. Afterwards the
# repository is sound, the backup that was there restores as it was, the WAL that the server believes received is there,
# and the next run succeeds.
#
# Needs a build with fault points (PGSTRATA, e.g. the debug preset's). POINTS: how many of each verb (default 8; 0: all).
# POINTS_SHARE: 2/3: the second third of them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new crash-server
pkg_install_postgres
POINTS=${POINTS:-8} POINTS_SHARE=${POINTS_SHARE:-1/1}
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
SEEN=$SCRATCH/seen
: >"$SEEN"
PGSTRATA_FAULT=count "$PGSTRATA" init -r "$REPO" >/dev/null 2>"$SCRATCH/errors"
grep -q '^fault-point ' "$SCRATCH/errors" || die "$PGSTRATA was built without fault points"

pg_init "$DATA" --wal-segsize=1
pg_start "$DATA" wal_level=replica max_wal_senders=20 max_replication_slots=10
pg_sql "$DATA" -c 'CREATE TABLE t AS SELECT i, md5(i::text) AS m FROM generate_series(1, 20000) i'
CONNECT=(-h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}" -U postgres)

# What a restored backup is, in one line.
digest_of() {
	rm -rf "$SCRATCH/out"
	"$PGSTRATA" restore -q -r "$REPO" "$1" "$SCRATCH/out"
	(cd "$SCRATCH/out" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
}

sound() {
	"$PGSTRATA" verify -q -r "$REPO" >"$SCRATCH/verify" || fail "$1: $(cat "$SCRATCH/verify")"
}

# passages COMMAND…: how many points it passes.
passages() {
	PGSTRATA_FAULT=count "$@" 2>&1 >/dev/null | grep -c '^fault-point '
}

# killed N COMMAND…: is it killed at its Nth point? KILLED says where.
killed() {
	local n=$1 status=0
	shift
	KILLED=
	PGSTRATA_FAULT="*:$n:kill" "$@" >"$SCRATCH/told" 2>"$SCRATCH/errors" || status=$?
	KILLED=$(sed -n 's/^fault-kill //p' "$SCRATCH/errors")
	[ "$status" = 137 ] || [ "$status" = 0 ] || fail "killed at $n: status $status, $(cat "$SCRATCH/errors")"
	[ -z "$KILLED" ] || printf '%s %s\n' "$2" "$KILLED" >>"$SEEN"
}

# chosen TOTAL: the numbers of the points at which this run kills, a line each.
chosen() {
	local i n=$POINTS
	[ "$n" != 0 ] || n=$1
	for ((i = ${POINTS_SHARE%/*} - 1; i < n; i += ${POINTS_SHARE#*/})); do
		echo $((1 + i * $1 / n))
	done
}

backup() {
	"$PGSTRATA" backup -q -r "$REPO" "${CONNECT[@]}" "$@"
}

# ---- backup ----

first=$(backup --tag first)
want=$(digest_of "$first")
total=$(passages backup)
points=$(chosen "$total" | wc -l)
for n in $(chosen "$total"); do
	pg_sql "$DATA" -c "UPDATE t SET m = md5(m) WHERE i % 50 = $((n % 50))"
	killed "$n" "$PGSTRATA" backup -q -r "$REPO" "${CONNECT[@]}"
	sound "backup killed at $KILLED"
	[ ! -s "$SCRATCH/told" ] || assert_ok "$PGSTRATA" show -r "$REPO" "$(cat "$SCRATCH/told")" >/dev/null
	id=$(backup) || fail "the backup after the one killed at $KILLED"
	sound "the backup after the one killed at $KILLED"
	# A thousand backups would take a thousand times as long to verify.
	"$PGSTRATA" prune -q -r "$REPO" --keep-tag first --keep-last 3 >/dev/null
done
assert_eq "$(digest_of "$first")" "$want" 'the first backup, after all of them'
assert_ok digest_of "$id" >/dev/null
assert_ok "$PG_BIN/pg_verifybackup" -q -n "$SCRATCH/out"
note "backup: $total points, killed at $(wc -l <"$SEEN") of them"

# ---- receive ----

# A repository of its own: between what backups archived and where receiving begins there would be a gap.
REPO=$SCRATCH/received
"$PGSTRATA" init -r "$REPO" >/dev/null

wal_write() {
	pg_sql "$DATA" -c 'INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 15000) i' -c 'SELECT pg_switch_wal()' >/dev/null
	pg_sql "$DATA" -c 'INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 3000) i'
	LSN=$(pg_sql "$DATA" -c 'SELECT pg_current_wal_flush_lsn()')
}

receive_to() {
	"$PGSTRATA" receive -q -r "$REPO" "${CONNECT[@]}" --flush-interval 0.01 --until-lsn "$1"
}

# The segments that are archived are those of the server, as far as it still has them.
compare_wal() {
	local file name n=0
	for file in "$DATA"/pg_wal/0*; do
		name=${file##*/}
		"$PGSTRATA" archive-get -q -r "$REPO" "$name" "$SCRATCH/segment" 2>/dev/null || continue
		cmp -s "$file" "$SCRATCH/segment" || fail "$1: $name has other bytes"
		n=$((n + 1))
	done
	[ "$n" -gt 0 ] || fail "$1: none of the server's segments is archived"
}

wal_write
receive_to "$LSN"
wal_write
total=$(passages receive_to "$LSN")
had=$(wc -l <"$SEEN")
for n in $(chosen "$total"); do
	wal_write
	killed "$n" "$PGSTRATA" receive -q -r "$REPO" "${CONNECT[@]}" --flush-interval 0.01 --until-lsn "$LSN"
	sound "receive killed at $KILLED"
	receive_to "$LSN" || fail "the receive after the one killed at $KILLED"
	sound "the receive after the one killed at $KILLED"
	compare_wal "killed at $KILLED"
done
note "receive: $total points, killed at $(($(wc -l <"$SEEN") - had)) of them"
note "distinct points: $(sort -u "$SEEN" | wc -l)"
[ "$(sort -u "$SEEN" | wc -l)" -ge "$points" ] || fail "only these points: $(sort -u "$SEEN")"
