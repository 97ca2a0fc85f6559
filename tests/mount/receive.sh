#!/bin/bash
# receive from real servers: killed at random moments under load, as a synchronous standby, beside archive_command, over
# restarts and timelines; and what it refuses. What the server was told to be flushed must be in the repository each time.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new receive
pkg_install_postgres
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
SIZE=$((1 << 20))
RECEIVER=
LOAD=
"$PGSTRATA" init -r "$REPO" >/dev/null
chown -R postgres: "$REPO"
install -d -o postgres "$PGSTRATA_CACHE_DIR"

# receiver_start DIR [OPTION…]: in the background, its messages to $SCRATCH/log.
receiver_start() {
	local dir=$1
	shift
	"$PGSTRATA" receive -r "$REPO" -h "${PG_SOCKET[$dir]}" -p "${PG_PORT[$dir]}" -U postgres -v "$@" \
		2>>"$SCRATCH/log" &
	RECEIVER=$!
}

# receiver_end SIGNAL: gives its exit status.
receiver_end() {
	local status=0
	kill -"$1" "$RECEIVER"
	wait "$RECEIVER" 2>/dev/null || status=$?
	RECEIVER=
	return "$status"
}

receiver_drop() {
	[ -z "$RECEIVER" ] || receiver_end KILL || true
}
cleanup_push receiver_drop

load_end() {
	[ -z "$LOAD" ] || kill "$LOAD" || true
	[ -z "$LOAD" ] || wait "$LOAD" 2>/dev/null || true
	LOAD=
}
cleanup_push load_end

# receive_all DIR [OPTION…]: until everything that is flushed on the server now is durable in the repository.
receive_all() {
	local dir=$1 to
	shift
	to=$(pg_sql "$dir" -c 'SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END')
	"$PGSTRATA" receive -r "$REPO" -h "${PG_SOCKET[$dir]}" -p "${PG_PORT[$dir]}" -U postgres -q \
		--until-lsn "$to" "$@"
}

# lsn_number LSN: as a plain number.
lsn_number() {
	printf '%d\n' $((16#${1%/*} << 32 | 16#${1#*/}))
}

# repo_end TIMELINE: the byte after the last that the repository has, by the names of its objects alone.
repo_end() {
	local name end=0 at
	while read -r name; do
		at=$(((16#${name:8:8} << 32) + (16#${name:16:8} + 1) * SIZE))
		[ "$at" -le "$end" ] || end=$at
	done < <(find "$REPO/wal/main" -type f -name "$1????????????????" -printf '%f\n')
	while read -r name; do
		at=$(((16#${name:8:8} << 32) + 16#${name:16:8} * SIZE + 16#${name:34:8}))
		[ "$at" -le "$end" ] || end=$at
	done < <(find "$REPO/walpart/main" -type f -name "$1????????????????.*" -printf '%f\n' 2>/dev/null)
	printf '%d\n' "$end"
}

# assert_archive TIMELINE DIR: no hole between the first and the last segment, and each is what the server has.
assert_archive() {
	local name before='' number
	while read -r name; do
		number=$((16#${name:8:8} * (1 << 32) / SIZE + 16#${name:16:8}))
		[ -z "$before" ] || assert_eq "$number" $((before + 1)) "segment after number $before"
		before=$number
		"$PGSTRATA" archive-get -r "$REPO" "$name" "$SCRATCH/got"
		assert_ok cmp "$SCRATCH/got" "$2/pg_wal/$name"
	done < <(find "$REPO/wal/main" -type f -name "$1????????????????" -printf '%f\n' | sort)
	[ -n "$before" ] || fail "no segment of timeline $1"
}

# wait_until COMMAND…: until it succeeds.
wait_until() {
	local i
	for ((i = 0; i < 1200; i++)); do
		"$@" && return 0
		sleep 0.05
	done
	fail "not within a minute: $*"
}

caught_up() {
	[ "$(pg_sql "$1" -c "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication
		WHERE application_name = 'pgstrata receive'")" = t ]
}

pg_init "$DATA" --wal-segsize=1
pg_start "$DATA" wal_keep_size=4000 max_wal_size=4GB min_wal_size=2GB checkpoint_timeout=1h
pg_run "$DATA" pgbench -i -q -s 2 >/dev/null 2>&1

# ---- killed under load --------------------------------------------------------------------------------------------

receive_all "$DATA"
pg_run "$DATA" pgbench -n -c 3 -R 500 -T 1000 >/dev/null 2>&1 &
LOAD=$!
advanced=0
# How long a receiver lives at least, in 1/100 s: longer where it comes to nothing.
least=10
before=$(repo_end 00000001)
for ((i = 0; i < 50; i++)); do
	receiver_start "$DATA" --flush-interval 0.05
	sleep "$(awk -v n=$((RANDOM % 25 + least)) 'BEGIN { print n / 100 }')"
	receiver_end KILL || true
	told=$(pg_sql "$DATA" -c "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'pgstrata_main'")
	end=$(repo_end 00000001)
	[ "$(lsn_number "$told")" -le "$end" ] || fail "round $i: $told was acknowledged, the repository ends at $end"
	[ "$end" -ge "$before" ] || fail "round $i: the repository went from $before back to $end"
	[ "$end" = "$before" ] && least=$((least + 5)) || advanced=$((advanced + 1))
	before=$end
done
[ "$advanced" -ge 25 ] || fail "only $advanced of 50 receivers came to receive something"
load_end
receive_all "$DATA"
assert_archive 00000001 "$DATA"
assert_eq "$(find "$REPO/walpart/main" -type f -printf '%f\n' | cut -c1-24 | sort -u | wc -l)" 1 'growing segments'

# ---- as a synchronous standby -------------------------------------------------------------------------------------

pg_sql "$DATA" -c 'CREATE TABLE t (n int)' -c "ALTER SYSTEM SET synchronous_standby_names = '\"pgstrata receive\"'" \
	-c 'SELECT pg_reload_conf()' >/dev/null
# A commit waits from when the checkpointer has read the setting, which nothing shows (SyncRepUpdateSyncStandbysDefined): the
# first ones may not.
commit_waits() {
	[ "$(pg_sql "$DATA" -c "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")" = t ]
}
for ((i = 0; i < 60; i++)); do
	pg_sql "$DATA" -c 'INSERT INTO t VALUES (0)' &
	waiting=$!
	while kill -0 "$waiting" 2>/dev/null && ! commit_waits; do
		sleep 0.05
	done
	! commit_waits || break
	wait "$waiting"
	sleep 1
done
assert_ok commit_waits
receiver_start "$DATA" --synchronous
assert_ok wait "$waiting"
for ((i = 1; i <= 10; i++)); do
	[ -n "$RECEIVER" ] || receiver_start "$DATA" --synchronous
	inserted=$(pg_sql "$DATA" -c "INSERT INTO t VALUES ($i) RETURNING pg_current_wal_insert_lsn()")
	receiver_end KILL || true
	end=$(repo_end 00000001)
	[ "$(lsn_number "$inserted")" -lt "$end" ] || fail "commit $i, after $inserted, is not in the repository ($end)"
done
# It finds out by itself that commits wait for it.
receiver_start "$DATA" --flush-interval 5
start=$(date +%s%N)
for ((i = 0; i < 100; i++)); do
	echo 'INSERT INTO t VALUES (100);'
done | pg_sql "$DATA"
took=$((($(date +%s%N) - start) / 1000000))
[ "$took" -lt 30000 ] || fail "100 synchronous commits took $took ms"
note "100 synchronous commits: $took ms"
pg_sql "$DATA" -c 'ALTER SYSTEM RESET synchronous_standby_names' -c 'SELECT pg_reload_conf()' >/dev/null

# ---- the server goes and comes; archive_command does the same work --------------------------------------------------

pg_sql "$DATA" -c 'ALTER SYSTEM SET archive_mode = on' -c "ALTER SYSTEM SET archive_command = \
	'$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p'"
as_postgres "$PG_BIN/pg_ctl" restart -w -s -m fast -D "$DATA" -l "${PG_SOCKET[$DATA]}/log"
wait_until caught_up "$DATA"
pg_run "$DATA" pgbench -n -c 3 -R 1000 -T 2 >/dev/null 2>&1
as_postgres "$PG_BIN/pg_ctl" restart -w -s -m immediate -D "$DATA" -l "${PG_SOCKET[$DATA]}/log"
pg_run "$DATA" pgbench -n -c 3 -R 1000 -T 1 >/dev/null 2>&1
wait_until caught_up "$DATA"
assert_ok receiver_end TERM
last=$(pg_sql "$DATA" -c 'SELECT pg_walfile_name(pg_switch_wal())')
receive_all "$DATA"
pg_archived "$DATA" "$last"
assert_eq "$(pg_sql "$DATA" -c 'SELECT failed_count FROM pg_stat_archiver')" 0 'failed archive commands'
assert_archive 00000001 "$DATA"
assert_match "$(cat "$SCRATCH/log")" 'trying again' 'what was said of the restart'

# ---- a standby is followed, and promoted ---------------------------------------------------------------------------

STANDBY=$SCRATCH/standby
pg_run "$DATA" pg_basebackup -D "$STANDBY" -c fast -R
chown -R postgres: "$STANDBY"
pg_start "$STANDBY" wal_keep_size=4000 archive_mode=off
caught_up_standby() {
	[ "$(pg_sql "$STANDBY" -c "SELECT pg_last_wal_replay_lsn() >= '$at'")" = t ]
}
pg_sql "$DATA" -c 'INSERT INTO t SELECT generate_series(1, 30000)'
at=$(pg_sql "$DATA" -c 'SELECT pg_current_wal_flush_lsn()')
wait_until caught_up_standby
receiver_start "$STANDBY" --flush-interval 0.1
sleep 0.5
pg_sql "$STANDBY" -c 'SELECT pg_promote()' >/dev/null
pg_sql "$STANDBY" -c 'INSERT INTO t SELECT generate_series(1, 30000)'
wait_until caught_up "$STANDBY"
assert_ok receiver_end TERM
pg_sql "$STANDBY" -c 'SELECT pg_switch_wal()' >/dev/null
receive_all "$STANDBY"
assert_archive 00000002 "$STANDBY"
"$PGSTRATA" archive-get -r "$REPO" 00000002.history "$SCRATCH/got"
assert_ok cmp "$SCRATCH/got" "$STANDBY/pg_wal/00000002.history"
# The old timeline's last segment is not complete: its pieces reach to where it was left, at least.
switch=$(cut -f 2 "$SCRATCH/got")
[ "$(repo_end 00000001)" -ge "$(lsn_number "$switch")" ] || fail "timeline 1 ends at $(repo_end 00000001), before $switch"
pg_stop "$STANDBY"

# ---- the old server again, and a repository that is full -------------------------------------------------------------

text=$("$PGSTRATA" receive -r "$REPO" -h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}" -U postgres \
	--until-lsn "$(pg_sql "$DATA" -c 'SELECT pg_current_wal_flush_lsn()')" 2>&1)
assert_match "$text" 'on timeline 1, the repository has WAL of timeline 2' 'what is said of an old server'

mkdir "$SCRATCH/small"
mount -t tmpfs -o size=1500k tmpfs "$SCRATCH/small"
cleanup_push umount "$SCRATCH/small"
"$PGSTRATA" init -r "$SCRATCH/small/repo" >/dev/null
small=("$PGSTRATA" receive -r "$SCRATCH/small/repo" -h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}" -U postgres -q
	--slot small --flush-interval 0.05)
pg_sql "$DATA" -c "SELECT pg_create_physical_replication_slot('small', true)" >/dev/null
pg_run "$DATA" pgbench -i -q -s 2 >/dev/null 2>&1
to=$(pg_sql "$DATA" -c 'SELECT pg_current_wal_flush_lsn()')
assert_fails 1 'No space left' "${small[@]}" --until-lsn "$to"
mount -o remount,size=100m "$SCRATCH/small"
assert_ok "${small[@]}" --until-lsn "$to"
first=$(find "$SCRATCH/small/repo/wal" -type f -printf '%f\n' | sort | sed -n 1p)
"$PGSTRATA" archive-get -r "$SCRATCH/small/repo" "$first" "$SCRATCH/got"
assert_ok cmp "$SCRATCH/got" "$DATA/pg_wal/$first"

# ---- what is refused ----------------------------------------------------------------------------------------------

server=(-h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}")
pg_sql "$DATA" -c 'CREATE ROLE plain LOGIN'
assert_fails 1 'ALTER ROLE' "$PGSTRATA" receive -r "$REPO" "${server[@]}" -U plain
assert_fails 1 'connection string' "$PGSTRATA" receive -r "$REPO" -d 'host=x sekret'
text=$("$PGSTRATA" receive -r "$REPO" "${server[@]}" -d 'user=nobody password=sekret' 2>&1) && fail 'nobody was let in'
assert_match "$text" 'role "nobody"' 'the refusal'
[[ $text != *sekret* ]] || fail "the password is in: $text"
assert_fails 2 'flush-interval' "$PGSTRATA" receive -r "$REPO" --flush-interval 0

# The server has removed what comes next: no silent gap.
pg_sql "$DATA" -c 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots' \
	-c 'ALTER SYSTEM RESET archive_mode' >/dev/null
pg_stop "$DATA"
pg_start "$DATA" wal_keep_size=0 min_wal_size=2MB max_wal_size=2MB
for ((i = 0; i < 5; i++)); do
	pg_sql "$DATA" -c 'INSERT INTO t SELECT generate_series(1, 30000)' -c 'SELECT pg_switch_wal()' -c CHECKPOINT >/dev/null
done
assert_fails 1 'is missing in the repository, and gone on the server' receive_all "$DATA" --no-slot
assert_ok receive_all "$DATA" --no-slot --skip-gap
assert_ok receive_all "$DATA"
pg_stop "$DATA"

# Another system's server, which has segments of 16 MiB, under a name of its own and under this one's.
OTHER=$SCRATCH/other
pg_init "$OTHER"
pg_start "$OTHER"
assert_fails 1 'is not cluster "main"' receive_all "$OTHER"
pg_sql "$OTHER" -c 'SELECT pg_switch_wal()' >/dev/null
assert_ok receive_all "$OTHER" -c other
name=$(find "$REPO/wal/other" -type f -printf '%f\n' | sed -n 1p)
"$PGSTRATA" archive-get -r "$REPO" -c other "$name" "$SCRATCH/got"
assert_ok cmp "$SCRATCH/got" "$OTHER/pg_wal/$name"
