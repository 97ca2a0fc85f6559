#!/bin/bash
# Two processes of every pair of verbs at once, also of a verb with itself, on one repository: each verb ends well, what is
# kept stays readable and right all the time, and the repository is sound after each pair.
#
# PAIR_SECONDS: how long each pair runs (default 1; tools/soak gives it a minute).
# PAIR_SERVER: not empty: also repair, and the verbs that need a running server: backup, receive, dump (tools/soak).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new pairs
# shellcheck source-path=SCRIPTDIR source=../small_lib.sh
. "$LIB_ROOT/tests/small_lib.sh"
pkg_install fuse3
PAIR_SECONDS=${PAIR_SECONDS:-1}
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt

small_backup kept 600
for i in $(seq 2 15); do
	small_segment "$i"
done
"$PGSTRATA" init -r "$REPO" >/dev/null
KEPT=$("$PGSTRATA" import base -q -r "$REPO" --tag keep "$SCRATCH/kept")
"$PGSTRATA" archive-push -q -r "$REPO" "$SCRATCH/wal/000000010000000000000002"
mount_start "$REPO" "$MNT"
verbs=(import push verify prune read list restore)
if [ -n "${PAIR_SERVER:-}" ]; then
	verbs+=(repair backup receive dump)
	pkg_install_postgres
	DATA=$SCRATCH/data
	pg_init "$DATA" --wal-segsize=1
	pg_start "$DATA" max_wal_senders=20 max_replication_slots=20
	CONNECT=(-h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}" -U postgres)
	pg_sql "$DATA" -c 'CREATE TABLE t AS SELECT i, md5(i::text) AS m FROM generate_series(1, 20000) i'
fi

# Each does its verb once; SIDE tells two at once apart.
do_import() {
	local dir=$SCRATCH/import.$SIDE
	[ -d "$dir" ] || cp -a "$SCRATCH/kept" "$dir"
	# Deltas, and something that later dies.
	printf '%s' "$RANDOM$RANDOM" | dd of="$dir/base/1/1000" bs=1 seek=$((RANDOM * 8)) conv=notrunc status=none
	head -c 200000 /dev/urandom >"$dir/base/1/1002"
	"$PGSTRATA" import base -q -r "$REPO" "$dir" >/dev/null
}

do_push() {
	"$PGSTRATA" archive-push -q -r "$REPO" "$(printf '%s/wal/00000001000000000000%04X' "$SCRATCH" $((2 + RANDOM % 14)))"
}

# Nothing archives what the server writes between two backups, so WAL may have gaps.
do_verify() {
	"$PGSTRATA" verify -q -r "$REPO" >"$SCRATCH/verify.$SIDE" || grep '^Sound, but the WAL has' "$SCRATCH/verify.$SIDE" ||
		{ cat "$SCRATCH/verify.$SIDE"; return 1; }
}

# Of two at once, one may have to give way, and says so.
do_prune() {
	"$PGSTRATA" prune -q -r "$REPO" --keep-last 2 --keep-tag keep >/dev/null 2>"$SCRATCH/prune.$SIDE" ||
		grep -q 'another prune is at work' "$SCRATCH/prune.$SIDE" || { cat "$SCRATCH/prune.$SIDE"; return 1; }
}

do_read() {
	diff -r "$SCRATCH/kept" "$MNT/main/backups/$KEPT/data"
}

do_list() {
	"$PGSTRATA" list -r "$REPO" >"$SCRATCH/list.$SIDE" && grep -q "$KEPT" "$SCRATCH/list.$SIDE"
}

do_restore() {
	rm -rf "$SCRATCH/out.$SIDE"
	"$PGSTRATA" restore -q -r "$REPO" "$KEPT" "$SCRATCH/out.$SIDE" && diff -r "$SCRATCH/kept" "$SCRATCH/out.$SIDE"
}

# Nothing is damaged, so it must find nothing.
do_repair() {
	"$PGSTRATA" repair -q -r "$REPO" >"$SCRATCH/repair.$SIDE" 2>&1 || grep -q 'a prune is at work' "$SCRATCH/repair.$SIDE" ||
		{ cat "$SCRATCH/repair.$SIDE"; return 1; }
}

do_backup() {
	"$PGSTRATA" backup -q -r "$REPO" -c server "${CONNECT[@]}"
}

# One server, one cluster, two slots.
do_receive() {
	local to
	pg_sql "$DATA" -c "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 500) i" || return 1
	to=$(pg_sql "$DATA" -c 'SELECT pg_current_wal_flush_lsn()') || return 1
	"$PGSTRATA" receive -q -r "$REPO" -c received -S "pairs_$SIDE" "${CONNECT[@]}" --flush-interval 0.01 --until-lsn "$to"
}

do_dump() {
	"$PGSTRATA" dump -q -r "$REPO" -c server -d "host=${PG_SOCKET[$DATA]} port=${PG_PORT[$DATA]} user=postgres dbname=postgres"
}

# again VERB SIDE: until the time is over; how often goes to a file.
again() {
	local n=0
	SIDE=$2
	RANDOM=$((SEED + SIDE))
	while [ "$(date +%s%N)" -lt "$END" ]; do
		"do_$1" >"$SCRATCH/said.$SIDE" 2>&1 || return 1
		n=$((n + 1))
	done
	echo "$n" >"$SCRATCH/count.$SIDE"
}

SEED=${SEED:-$RANDOM}
note "SEED=$SEED"
pairs=0 runs=0
for ((a = 0; a < ${#verbs[@]}; a++)); do
	for ((b = a; b < ${#verbs[@]}; b++)); do
		END=$(($(date +%s%N) + PAIR_SECONDS * 1000000000))
		again "${verbs[a]}" 1 &
		one=$!
		again "${verbs[b]}" 2 &
		two=$!
		status=0
		wait "$one" || status=1
		wait "$two" || status=$((status + 2))
		[ "$status" = 0 ] || fail "${verbs[a]} and ${verbs[b]} at once ($status): $(cat "$SCRATCH/said.1" "$SCRATCH/said.2")"
		SIDE=0
		do_verify || fail "after ${verbs[a]} and ${verbs[b]} at once"
		[ ! -e "$REPO/quarantine" ] || fail "${verbs[a]} and ${verbs[b]} at once: repair found damage"
		pairs=$((pairs + 1))
		runs=$((runs + $(cat "$SCRATCH/count.1") + $(cat "$SCRATCH/count.2")))
	done
done
SIDE=1
assert_ok do_restore
note "$pairs pairs, $runs runs"
