#!/bin/bash
# show-target and status against a real server: what they say of times, transactions, positions and restore points is what
# the server itself knows; recovery with the settings goes where they say; a gap and a second timeline are found.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new pit
pkg_install_postgres
export PGSTRATA_CACHE_DIR=$SCRATCH/cache
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
"$PGSTRATA" init -r "$REPO" >/dev/null
chown -R postgres: "$REPO"
install -d -o postgres "$PGSTRATA_CACHE_DIR"

# target T [FIELD]: show-target's JSON, or one field of it.
target() {
	"$PGSTRATA" show-target -r "$REPO" --json "$1" | python3 -c '
import json, sys
o = json.load(sys.stdin)
print(o if len(sys.argv) < 2 else o[sys.argv[1]])' "${@:2}"
}

unreachable() {
	assert_fails 1 "$2" "$PGSTRATA" show-target -r "$REPO" "$1"
}

status_of() {
	{ "$PGSTRATA" status -r "$REPO" --json "${@:2}" || true; } | python3 -c '
import json, sys
print(eval(sys.argv[1], {"c": json.load(sys.stdin)["clusters"][0]}))' "$1"
}

pg_init "$DATA"
pg_start "$DATA" archive_mode=on track_commit_timestamp=on max_prepared_transactions=5 \
	"archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
pg_sql "$DATA" -c 'CREATE TABLE t (n int PRIMARY KEY, xid xid8)'
pg_archived "$DATA"
assert_fails 1 '' "$PGSTRATA" status -r "$REPO"
assert_eq "$(status_of 'c["problems"]')" "['There is no base backup.']" 'problems without a backup'
unreachable latest 'has no base backup'
unreachable xid-700 'has no base backup'

mkdir -m 777 "$SCRATCH/b"
pg_run "$DATA" pg_basebackup -D "$SCRATCH/b/base" -c fast -X fetch
backup=$("$PGSTRATA" import base "$SCRATCH/b/base" -r "$REPO")
stop=$("$PGSTRATA" show -r "$REPO" --json latest | python3 -c 'import json, sys; print(json.load(sys.stdin)["stop_lsn"])')

# Commits over several segments; for each its number, transaction, time and the WAL position after it.
: >"$SCRATCH/commits"
for n in 1 2 3 4 5 6; do
	pg_sql "$DATA" -c "INSERT INTO t VALUES ($n, pg_current_xact_id())"
	pg_sql "$DATA" -F ' ' -c "SELECT n, xid, to_char(pg_xact_commit_timestamp(xid::xid) AT TIME ZONE 'UTC',
		'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), pg_current_wal_insert_lsn() FROM t WHERE n = $n" >>"$SCRATCH/commits"
	pg_sql "$DATA" -c "SELECT pg_create_restore_point('after $n')" >/dev/null
	[ $((n % 2)) = 1 ] || pg_archived "$DATA"
done
pg_sql "$DATA" -c "SELECT pg_create_restore_point('it''s \"q\" \\ %p')" >/dev/null
pg_sql "$DATA" -c 'BEGIN' -c 'INSERT INTO t VALUES (100, pg_current_xact_id())' \
	-c 'SELECT pg_current_xact_id()' -c 'ROLLBACK' >"$SCRATCH/aborted"
pg_sql "$DATA" -c 'BEGIN' -c 'INSERT INTO t VALUES (200, pg_current_xact_id())' \
	-c 'SELECT pg_current_xact_id()' -c "PREPARE TRANSACTION 'p'" >"$SCRATCH/prepared"
pg_sql "$DATA" -c 'INSERT INTO t VALUES (201, pg_current_xact_id())'
pg_sql "$DATA" -c "COMMIT PREPARED 'p'"
pg_sql "$DATA" -c 'INSERT INTO t VALUES (202, pg_current_xact_id())'
pg_archived "$DATA"
pg_archived "$DATA"

while read -r n xid when lsn; do
	# By transaction: the very record, at the server's time.
	assert_eq "$(target "xid-$xid" last_xid)" "$xid" "xid of xid-$xid"
	assert_eq "$(target "xid-$xid" last_time)" "$when" "time of xid-$xid"
	assert_eq "$(target "xid-$xid" backup)" "$backup" "backup of xid-$xid"
	# Recovery to exactly its time takes it in, and stops before the next.
	assert_eq "$(target "$when" last_xid)" "$xid" "xid at $when"
	assert_eq "$(target "$when" last_time)" "$when" "time at $when"
	# The restore point and the position behind it, likewise.
	assert_eq "$(target "name-after $n" last_xid)" "$xid" "xid at restore point $n"
	assert_eq "$(target "lsn-$lsn" last_xid)" "$xid" "xid at $lsn, in front of the restore point"
	assert_eq "$(target "lsn-$lsn" to_lsn)" "$(target "name-after $n" to_lsn)" "end of the record at $lsn"
done <"$SCRATCH/commits"
read -r xid <"$SCRATCH/aborted"
assert_eq "$(target "xid-$xid" last_xid)" "$(tail -n 1 "$SCRATCH/commits" | cut -d ' ' -f 2)" 'commit before an abort'
read -r prepared <"$SCRATCH/prepared"
assert_eq "$(target "xid-$prepared" last_xid)" "$prepared" 'a prepared transaction ends with COMMIT PREPARED'

# Recovery itself stops where show-target says (at.sh has the other kinds): SETTING=VALUE, TARGET, highest row, rows.
recovers() {
	local copy=$SCRATCH/recovered i
	"$PGSTRATA" restore latest "$copy" -r "$REPO" -q
	chown -R postgres: "$copy"
	install -o postgres /dev/null "$copy/recovery.signal"
	pg_start "$copy" "$1" recovery_target_action=pause archive_mode=off max_prepared_transactions=5 \
		"restore_command=$PGSTRATA archive-get -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %f %p"
	for ((i = 0; i < 600; i++)); do
		[ "$(pg_sql "$copy" -c 'SELECT pg_get_wal_replay_pause_state()')" != paused ] || break
		sleep 0.1
	done
	assert_eq "$(pg_sql "$copy" -c 'SELECT pg_last_wal_replay_lsn()')" "$(target "$2" to_lsn)" "end of replay, $1"
	assert_eq "$(pg_sql "$copy" -c 'SELECT max(n), count(*) FROM t')" "$3|$4" "rows, $1"
	pg_stop "$copy"
	rm -rf "$copy"
}
fourth=$(sed -n 4p "$SCRATCH/commits")
read -r _ _ when lsn <<<"$fourth"
# The zone in figures: its names are not known yet when the server reads this setting.
recovers "recovery_target_time=${when%Z}+00" "$when" 4 4
recovers "recovery_target_lsn=$lsn" "lsn-$lsn" 4 4
recovers "recovery_target_xid=$prepared" "xid-$prepared" 201 8
assert_ok "$PGSTRATA" show-target -r "$REPO" "name-it's \"q\" \\ %25p"
assert_match "$("$PGSTRATA" show-target -r "$REPO" latest)" "backup +$backup" 'text'
assert_eq "$(target "lsn-$stop" backup_end_lsn)" "$stop" 'the end of the backup'

unreachable 2001-01-01T00:00:00Z 'before the end of the oldest base backup'
unreachable lsn-0/1000000 'before the end of the oldest base backup'
unreachable 2099-01-01T00:00:00Z 'after the end of the archived WAL .* last commit'
unreachable lsn-FF/0 'after the end of the archived WAL'
unreachable xid-4000000 'no such transaction'
unreachable name-nothing 'no such restore point'
unreachable latest@7 'no timeline 7'
assert_fails 2 'is no target' "$PGSTRATA" show-target -r "$REPO" yesterday

# status: well, and what monitoring is told.
assert_ok "$PGSTRATA" status -r "$REPO" --max-backup-age 1h --max-wal-age 1h
assert_eq "$(status_of 'c["last_backup"]')" "$backup" 'last backup'
assert_eq "$(status_of 'c["window"]["from_lsn"]')" "$stop" 'where the window begins'
assert_eq "$(status_of 'c["ok"], c["gaps"], c["problems"]')" '(True, [], [])' 'no problems'
assert_eq "$(status_of 'c["last_wal"]')" "$(pg_sql "$DATA" -c 'SELECT last_archived_wal FROM pg_stat_archiver')" 'last WAL'
sleep 1.1
assert_match "$(status_of 'c["problems"][0]' --max-wal-age 1s)" 'The last WAL, .* ago; 1s is allowed' 'old WAL'
assert_match "$(status_of 'c["problems"][0]' --max-backup-age 1s)" 'The last base backup, .* old; 1s is allowed' 'old backup'
assert_fails 2 'is not a duration' "$PGSTRATA" status -r "$REPO" --max-wal-age soon

# A promoted copy makes timeline 2; both can be asked for.
third=$(sed -n 3p "$SCRATCH/commits")
read -r _ xid3 _ _ <<<"$third"
"$PGSTRATA" restore latest "$SCRATCH/copy" -r "$REPO" -q
chown -R postgres: "$SCRATCH/copy"
install -o postgres /dev/null "$SCRATCH/copy/recovery.signal"
pg_start "$SCRATCH/copy" "recovery_target_name=after 3" recovery_target_action=promote track_commit_timestamp=on \
	max_prepared_transactions=5 \
	archive_mode=on "archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p" \
	"restore_command=$PGSTRATA archive-get -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %f %p"
for ((i = 0; i < 600; i++)); do
	[ "$(pg_sql "$SCRATCH/copy" -c 'SELECT pg_is_in_recovery()')" != f ] || break
	sleep 0.1
done
assert_eq "$(pg_sql "$SCRATCH/copy" -c 'SELECT max(n) FROM t')" 3 'rows at the restore point'
pg_sql "$SCRATCH/copy" -c "INSERT INTO t VALUES (33, pg_current_xact_id())"
xid2=$(pg_sql "$SCRATCH/copy" -c 'SELECT xid FROM t WHERE n = 33')
pg_archived "$SCRATCH/copy"
assert_eq "$(target latest timeline)" 2 'timeline of latest'
assert_eq "$(target latest last_xid)" "$xid2" 'last commit of timeline 2'
assert_eq "$(target "xid-$xid3" timeline)" 2 'a commit before the switch is on the way to timeline 2'
last=$(tail -n 1 "$SCRATCH/commits")
read -r _ xid6 when6 _ <<<"$last"
assert_eq "$(target "$when6@1" last_xid)" "$xid6" 'the last commit of timeline 1'
assert_eq "$(target latest@1 timeline)" 1 'timeline 1 when asked for'
assert_eq "$(target latest@1 last_xid)" "$(pg_sql "$DATA" -c 'SELECT xid FROM t WHERE n = 202')" 'its last commit'
pg_stop "$SCRATCH/copy"

# A lost segment is named; what lies before it can still be reached.
lost=$(target "name-after 4@1" last_wal)
find "$REPO/wal" -name "$lost" -delete
unreachable latest@9 'no timeline 9'
assert_eq "$(target "name-after 1@1" backup)" "$backup" 'before the gap'
unreachable "$when6@1" "gap at segment $lost"
history=$(find "$REPO/wal" -name 00000002.history)
mv "$history" "$SCRATCH/"
unreachable latest '00000002.history is not in the archive'
find "$REPO/wal" -name '00000002*' -delete
assert_eq "$(target latest timeline)" 1 'timeline of latest when the second is gone'
assert_eq "$(target latest last_xid)" "$(sed -n 2p "$SCRATCH/commits" | cut -d ' ' -f 2)" 'last commit before the gap'
assert_eq "$(status_of 'c["gaps"][0]["first"]')" "$lost" 'the gap in status'
pg_stop "$DATA"
