#!/bin/bash
# Backups of a server under load: two at once, beside archive-push and a live mount, while databases come and go. A copy
# by cp -a starts and is consistent, pg_verifybackup finds nothing, and the next backup costs what changed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new backup
# shellcheck source-path=SCRIPTDIR source=../backup_lib.sh
. "$LIB_ROOT/tests/backup_lib.sh"
repo_new
chown -R postgres: "$REPO"
install -d -m 777 "$PGSTRATA_CACHE_DIR"
MNT=$SCRATCH/mnt
mount_start "$REPO" "$MNT"

server_new src 5 --data-checksums autovacuum=off archive_mode=on \
	"archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
SRC=$SCRATCH/src
install -d -m 700 -o postgres -g postgres "$SCRATCH/space"
pg_sql "$SRC" -c "CREATE TABLESPACE fast LOCATION '$SCRATCH/space'" \
	-c "CREATE TABLE there TABLESPACE fast AS SELECT i, md5(i::text) AS t FROM generate_series(1, 20000) i" \
	-c "CREATE UNLOGGED TABLE fleeting AS SELECT i FROM generate_series(1, 50000) i" -c 'CREATE EXTENSION amcheck'

# Databases come and go until the file is gone.
touch "$SCRATCH/churn"
churn() {
	while [ -e "$SCRATCH/churn" ]; do
		pg_sql "$SRC" -c 'CREATE DATABASE brief' -c 'DROP DATABASE brief'
	done
}
churn &
CHURN=$!
cleanup_push rm -f "$SCRATCH/churn"
load_start "$SRC" 60

backup_take "$SRC" --label 'the first "one"'
FIRST=$ID
assert_eq "$(field "$FIRST" label)" 'the first "one"' label
assert_eq "$(field "$FIRST" manifest)" verified manifest

# Two at once, with another cluster name and the same: both are whole, and each other's chunks are no trouble.
connect "$SRC"
"$PGSTRATA" backup -q -r "$REPO" "${CONNECT[@]}" --checkpoint spread --max-rate 64M >"$SCRATCH/a" &
A=$!
"$PGSTRATA" backup -q -r "$REPO" -d "host=${PG_SOCKET[$SRC]} port=${PG_PORT[$SRC]} user=postgres" -j 1 >"$SCRATCH/b"
rm -f "$SCRATCH/churn"
wait "$CHURN"
# The checkpoint of a spread one would take its minutes.
pg_sql "$SRC" -c CHECKPOINT
wait "$A" || fail "a backup beside another"
assert_eq "$(count_snapshots)" 3 snapshots
load_stop "$LOAD"

# Backups of a quiet server, one after the other: the second has nothing new but a little WAL and its manifest.
backup_take "$SRC"
backup_take "$SRC"
assert_ok test "$(field "$ID" stored_bytes)" -lt $(($(field "$ID" logical_bytes) / 2000))

for id in "$FIRST" "$(cat "$SCRATCH/a")" "$(cat "$SCRATCH/b")" "$ID"; do
	dir=$MNT/main/backups/$id
	for ((i = 0; i < 600; i++)); do
		[ ! -d "$dir" ] || break
		sleep 0.1
	done
	# Also parses all WAL that the manifest asks for, out of the backup's own pg_wal.
	assert_ok "$PG_BIN/pg_verifybackup" -q "$dir/data"
	assert_ok test -d "$dir/data/pg_wal/archive_status"
done
for id in "$FIRST" "$(cat "$SCRATCH/b")"; do
	copy_start "$MNT/main/backups/$id" "$id"
	assert_balanced "$SCRATCH/$id/data"
	assert_eq "$(pg_sql "$SCRATCH/$id/data" -c 'SELECT count(*), max(t) FROM there' -c 'SELECT count(*) FROM fleeting')" \
		"$(pg_sql "$SRC" -c 'SELECT count(*), max(t) FROM there')"$'\n0' 'tables in a tablespace and unlogged'
	assert_eq "$(readlink "$SCRATCH/$id"/data/pg_tblspc/*)" "../../tablespaces/$(ls "$SCRATCH/$id/tablespaces")" link
	pg_stop "$SCRATCH/$id/data"
done
pg_start "$SCRATCH/$FIRST/data"
assert_ok pg_run "$SCRATCH/$FIRST/data" pg_amcheck --heapallindexed -d postgres
pg_stop "$SCRATCH/$FIRST/data"
assert_eq "$(pg_sql "$SRC" -c 'SELECT failed_count FROM pg_stat_archiver')" 0 'failed archive commands'
assert_eq "$(pg_sql "$SRC" -c 'SELECT count(*) FROM pg_replication_slots')" 0 'slots that were left'
