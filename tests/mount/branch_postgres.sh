#!/bin/bash
# PostgreSQL at work on branches: what its programs do, and a mount that is killed under load: after a new mount the server
# recovers and every committed row is there. ROUNDS=N kills it N times.
set -euo pipefail
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/../branch_lib.sh"

scratch_new branch_postgres
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
LOG=$SCRATCH/mount.log
server_start
install -d -m 700 -o postgres -g postgres "$SCRATCH/space"
pg_sql "$DATA" -d postgres -c "CREATE TABLESPACE space LOCATION '$SCRATCH/space'" \
	-c 'CREATE TABLE far TABLESPACE space AS SELECT i FROM generate_series(1, 1000) i' -c 'CREATE EXTENSION amcheck'
pg_run "$DATA" pgbench -i -q -s 1 postgres 2>/dev/null
backup_take "$SCRATCH/source/data" --tablespace-mapping="$SCRATCH/space=$SCRATCH/source/space"
pg_stop "$DATA"
"$PGSTRATA" init -r "$REPO" >/dev/null
"$PGSTRATA" import base "$SCRATCH/source/data" -r "$REPO" -q >/dev/null
branches_mount "$REPO" "$MNT" --log "$LOG"

# branch_open NAME SETTING=VALUE…: starts a server on the branch; B is its data directory.
branch_open() {
	B=$MNT/main/open/$1/data
	pg_start "$B" shared_buffers=16MB "${@:2}"
}

amcheck() {
	assert_ok pg_run "$1" pg_amcheck --heapallindexed postgres
}

# dump_of DATABASE: the digest of its dump, without the key that each dump has of its own.
dump_of() {
	pg_run "$B" pg_dump "$1" | sed -E '/^\\(un)?restrict /d' | sha256sum
}

# Each of pgbench's transactions adds the same to an account, a teller, a branch and the history.
assert_balanced() {
	assert_eq "$(pg_sql "$1" -d postgres -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta) AND (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta)
		AND count(*) >= $2 FROM pgbench_history")" t "pgbench's sums after $2 transactions"
}

# ---- what people do on a branch --------------------------------------------------------------------------------------

branch_make work 0 false
branch_open work
assert_ok pg_run "$B" pgbench -n -c 4 -t 250 postgres >"$SCRATCH/pgbench" 2>&1
assert_balanced "$B" 1000
pg_sql "$B" -d postgres -c 'VACUUM FULL' -c 'REINDEX DATABASE postgres'
assert_balanced "$B" 1000
pg_sql "$B" -d postgres -c 'CREATE DATABASE copied TEMPLATE postgres STRATEGY file_copy' \
	-c 'CREATE DATABASE logged TEMPLATE postgres STRATEGY wal_log'
dumped=$(dump_of postgres)
assert_eq "$(dump_of copied)" "$dumped" "a dump of the copy"
assert_eq "$(dump_of logged)" "$dumped" "a dump of the copy by WAL"
pg_sql "$B" -d postgres -c 'DROP DATABASE copied' -c 'DROP DATABASE logged' -c 'ALTER TABLE far SET TABLESPACE pg_default' \
	-c 'DROP TABLESPACE space'
assert_eq "$(pg_sql "$B" -d postgres -c 'SELECT sum(i) FROM far')" 500500
# A sort that spills, and its files that go.
pg_sql "$B" -d postgres -c "SET work_mem = '64kB'" -c 'SELECT count(*) FROM (SELECT * FROM pgbench_accounts ORDER BY filler, aid) s' \
	>/dev/null
amcheck "$B"
pg_stop "$B"
pg_init "$SCRATCH/server/new" --data-checksums
(cd "$SCRATCH/server" && install -d -o postgres upgrade && cd upgrade &&
	assert_ok runuser -u postgres -- "$PG_BIN/pg_upgrade" --check -b "$PG_BIN" -B "$PG_BIN" -d "$B" \
		-D "$SCRATCH/server/new" -U postgres -s "$SCRATCH/server/upgrade" >"$SCRATCH/upgrade.log" 2>&1) ||
	fail "pg_upgrade --check: $(cat "$SCRATCH/upgrade.log")"
assert_ok as_postgres "$PG_BIN/pg_checksums" --check -D "$B" >/dev/null

# ---- the mount is killed under load ----------------------------------------------------------------------------------

# writer N: commits one row after another, and writes down each that was committed.
writer() {
	local i
	for ((i = 0; i < 100000; i++)); do
		printf "INSERT INTO kept VALUES (%d, repeat('%d', 2000)) RETURNING id;\n" "$((i * 2 + $1))" "$1"
	done >"$SCRATCH/insert.$1"
	pg_sql "$B" -d postgres -f "$SCRATCH/insert.$1" >"$SCRATCH/kept.$1" 2>/dev/null || true
}

kept() {
	cat "$SCRATCH"/kept.[01] 2>/dev/null | wc -l
}

branch_make durable 0 true
for ((round = 1; round <= ${ROUNDS:-1}; round++)); do
	branch_open durable fsync=on checkpoint_timeout=30s max_wal_size=32MB
	[ "$round" != 1 ] || pg_sql "$B" -d postgres -c 'CREATE TABLE kept (id int PRIMARY KEY, filler text)'
	pg_sql "$B" -d postgres -c 'TRUNCATE kept'
	rm -f "$SCRATCH"/kept.*
	pg_run "$B" pgbench -n -c 2 -T 600 postgres >"$SCRATCH/pgbench" 2>&1 &
	load=($!)
	for n in 0 1; do
		writer $n &
		load+=($!)
	done
	for ((i = 0; i < 1200 && $(kept) < 100; i++)); do
		sleep 0.1
	done
	# Perhaps in the middle of a checkpoint.
	pg_sql "$B" -d postgres -c CHECKPOINT 2>/dev/null &
	load+=($!)
	postmaster=$(head -n 1 "$B/postmaster.pid")
	mount_kill "$MNT"
	# What it has in memory is not to help.
	kill -KILL "$postmaster" 2>/dev/null || true
	wait "${load[@]}" || true
	for ((i = 0; i < 600; i++)); do
		! pgrep -s "$postmaster" >/dev/null || { sleep 0.1 && continue; }
		break
	done
	committed=$(kept)
	[ "$committed" -ge 100 ] || fail "only $committed rows were committed"
	branches_mount "$REPO" "$MNT" --log "$LOG"
	rm -rf "${PG_SOCKET[$B]}"
	branch_open durable fsync=on
	pg_sql "$B" -d postgres -c 'SELECT id FROM kept ORDER BY id' >"$SCRATCH/found"
	lost=$(cat "$SCRATCH"/kept.[01] | sort | comm -23 - <(sort "$SCRATCH/found"))
	assert_eq "$lost" "" "committed rows that are lost"
	assert_balanced "$B" 1
	amcheck "$B"
	pg_stop "$B"
	assert_ok as_postgres "$PG_BIN/pg_checksums" --check -D "$B" >/dev/null
done
mount_stop "$MNT"
assert_eq "$(grep -c -E 'error|warning' "$LOG" || true)" 0 "lines in the log: $(cat "$LOG")"
