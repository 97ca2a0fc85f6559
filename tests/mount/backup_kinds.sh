#!/bin/bash
# Backups of clusters of other kinds: segments of 1 and of 64 MB, no checksums, group access, empty tablespaces, links in
# pg_wal's place, a standby, and a server on its second timeline.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new backup-kinds
# shellcheck source-path=SCRIPTDIR source=../backup_lib.sh
. "$LIB_ROOT/tests/backup_lib.sh"
repo_new
MNT=$SCRATCH/mnt
mount_start "$REPO" "$MNT"

# take_and_check NAME SECONDS: a backup under load as cluster NAME, copied, started, in balance.
take_and_check() {
	local name=$1 dir=$SCRATCH/$1
	load_start "${3:-$dir}" "$2"
	backup_take "$dir" -c "$name"
	load_stop "$LOAD"
	for ((i = 0; i < 600; i++)); do
		[ ! -d "$MNT/$name/backups/$ID" ] || break
		sleep 0.1
	done
	assert_ok "$PG_BIN/pg_verifybackup" -q "$MNT/$name/backups/$ID/data"
	copy_start "$MNT/$name/backups/$ID" "$name-copy"
	assert_balanced "$SCRATCH/$name-copy/data"
}

# Many small segments, the last one filled up; the group may read.
server_new small 2 '--wal-segsize=1 -g' 'checkpoint_timeout=1h'
install -d -m 700 -o postgres -g postgres "$SCRATCH/empty"
pg_sql "$SCRATCH/small" -c "CREATE TABLESPACE nothing LOCATION '$SCRATCH/empty'"
take_and_check small 20
assert_ok test "$(find "$MNT/small/backups/$ID/data/pg_wal" -maxdepth 1 -type f | wc -l)" -ge 1
for f in "$MNT/small/backups/$ID"/data/pg_wal/0*; do
	assert_eq "$(stat -c '%s %a %U' "$f")" '1048576 640 postgres' "$f"
done
assert_eq "$(field "$ID" data_checksums small)" False checksums
pg_stop "$SCRATCH/small-copy/data"
pg_stop "$SCRATCH/small"

server_new large 1 '--wal-segsize=64 --data-checksums' max_wal_size=1GB
# On a terminal a line tells bytes, rate and the time that is left.
connect "$SCRATCH/large"
line=$(script -qec "'$PGSTRATA' backup -r '$REPO' -c watched ${CONNECT[*]} --max-rate 16M" /dev/null | tr '\r' '\n')
assert_match "$line" 'backing up: [0-9.]+ .?B of [0-9.]+ MB \([0-9]+ %\), [0-9.]+ MB/s, [0-9]+:[0-9]{2} left' 'progress line'
assert_match "$line" 'Backed up watched/' 'the end'
take_and_check large 20
for f in "$MNT/large/backups/$ID"/data/pg_wal/0*; do
	assert_eq "$(stat -c '%s %a' "$f")" '67108864 600' "$f"
done
pg_stop "$SCRATCH/large-copy/data"
pg_stop "$SCRATCH/large"

# A standby: made of a backup, following its primary, backed up while the primary works.
server_new first 2 '--data-checksums' synchronous_standby_names=
backup_take "$SCRATCH/first"
cp -a "$MNT/main/backups/$ID/." "$SCRATCH/standby.files"
chown postgres: "$SCRATCH/standby.files"
mv "$SCRATCH/standby.files/data" "$SCRATCH/follows"
install -o postgres -g postgres /dev/null "$SCRATCH/follows/standby.signal"
pg_start "$SCRATCH/follows" \
	"primary_conninfo=host=${PG_SOCKET[$SCRATCH/first]} port=${PG_PORT[$SCRATCH/first]} user=postgres"
take_and_check follows 20 "$SCRATCH/first"
assert_eq "$(field "$ID" backup_from follows)" standby 'where the backup comes from'
pg_stop "$SCRATCH/follows-copy/data"

# Promoted, it is on timeline 2, and a backup of it brings the history file.
pg_stop "$SCRATCH/first"
pg_sql "$SCRATCH/follows" -c 'SELECT pg_promote()' >/dev/null
rm -rf "$SCRATCH/follows-copy"
take_and_check follows 20
assert_eq "$(field "$ID" timeline follows)" 2 timeline
assert_ok cmp "$SCRATCH/follows/pg_wal/00000002.history" "$MNT/follows/backups/$ID/data/pg_wal/00000002.history"
assert_ok test -e "$MNT/follows/backups/$ID/data/pg_wal/archive_status/00000002.history.done"
