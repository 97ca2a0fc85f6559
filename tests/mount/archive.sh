#!/bin/bash
# archive-push as archive_command and archive-get as restore_command of real servers: recovery to a named point, the same
# segment again, other content, other systems, and files that are no WAL.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new archive
pkg_install_postgres
export PGSTRATA_CACHE_DIR=$SCRATCH/cache
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
WAL=$DATA/pg_wal
"$PGSTRATA" init -r "$REPO" >/dev/null
chown -R postgres: "$REPO"
install -d -o postgres "$PGSTRATA_CACHE_DIR"

pg_init "$DATA"
pg_start "$DATA" archive_mode=on \
	"archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
pg_sql "$DATA" -c 'CREATE TABLE t (n int PRIMARY KEY)'
mkdir -m 777 "$SCRATCH/b"
pg_run "$DATA" pg_basebackup -D "$SCRATCH/b/base" -c fast -X none
for n in 1 2 3 4 5; do
	pg_sql "$DATA" -c "INSERT INTO t VALUES ($n)" -c 'SELECT pg_switch_wal()' >/dev/null
done
pg_sql "$DATA" -c "SELECT pg_create_restore_point('before')" -c 'DROP TABLE t' -c 'SELECT pg_switch_wal()' >/dev/null
pg_archived "$DATA"
assert_eq "$(pg_sql "$DATA" -c 'SELECT failed_count FROM pg_stat_archiver')" 0 'failed archive commands'
first=$(basename "$(find "$REPO/wal" -type f -name '000000010000000000000002' | sed -n 1p)")
assert_eq "$first" 000000010000000000000002 'a segment in the repository'

# Everything that the server has archived comes back as it was.
for ready in "$WAL"/archive_status/*.done; do
	name=$(basename "$ready" .done)
	[ -e "$WAL/$name" ] || continue
	assert_ok "$PGSTRATA" archive-get -r "$REPO" "$name" "$SCRATCH/got"
	assert_ok cmp "$WAL/$name" "$SCRATCH/got"
done

# A copy recovers to the point: the table is there, with all five rows.
"$PGSTRATA" import base "$SCRATCH/b/base" -r "$REPO" >/dev/null
"$PGSTRATA" restore latest "$SCRATCH/copy" -r "$REPO" -q
chown -R postgres: "$SCRATCH/copy"
touch "$SCRATCH/copy/recovery.signal"
chown postgres "$SCRATCH/copy/recovery.signal"
pg_start "$SCRATCH/copy" "recovery_target_name=before" recovery_target_action=promote archive_mode=off \
	"restore_command=$PGSTRATA archive-get --async -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %f %p"
for ((i = 0; i < 600; i++)); do
	[ "$(pg_sql "$SCRATCH/copy" -c 'SELECT pg_is_in_recovery()')" != f ] || break
	sleep 0.1
done
assert_eq "$(pg_sql "$SCRATCH/copy" -c 'SELECT count(*), max(n) FROM t')" '5|5' 'rows at the restore point'

# The new timeline's files are archived beside the old one's.
pg_sql "$SCRATCH/copy" -c 'SELECT pg_switch_wal()' >/dev/null
pg_stop "$SCRATCH/copy"
assert_ok "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/copy/pg_wal/00000002.history"
assert_ok "$PGSTRATA" archive-get -r "$REPO" 00000002.history "$SCRATCH/got"
assert_ok cmp "$SCRATCH/copy/pg_wal/00000002.history" "$SCRATCH/got"
pg_stop "$DATA"

# What recovery asks for in vain ends with 1, and leaves nothing.
rm -f "$SCRATCH/got"
assert_fails 1 'is not in the archive' "$PGSTRATA" archive-get -r "$REPO" 0000000100000000000000FF "$SCRATCH/got"
assert_ok test ! -e "$SCRATCH/got"
assert_fails 255 'no folder|No such file' "$PGSTRATA" archive-get -r "$REPO" "$first" "$SCRATCH/none/got"

# --async: the next segment is unpacked beside where it will be wanted; it is taken then, and for no other.
install -d "$SCRATCH/ahead"
ahead() {
	find "$SCRATCH/ahead" -name 'xlogtemp.pgstrata-*' -printf '%i\n'
}
# Whoever locks the folder waits for who is at work in it.
get_async() {
	"$PGSTRATA" archive-get --async -r "$REPO" "$1" "$SCRATCH/ahead/got" || return
	flock "$SCRATCH/ahead" true
	"$PGSTRATA" archive-get -r "$REPO" "$1" "$SCRATCH/got"
	cmp "$SCRATCH/got" "$SCRATCH/ahead/got"
}
second=000000010000000000000003
third=000000010000000000000004
find "$REPO/wal" -name "$third" -exec mv {} "$SCRATCH/kept" ';'
assert_ok get_async "$first"
next=$(ahead)
assert_match "$next" '^[0-9]+$' 'unpacked ahead'
assert_ok get_async "$second"
assert_eq "$(stat -c %i "$SCRATCH/ahead/got")" "$next" 'the file that was unpacked ahead'
assert_eq "$(ahead)" '' 'ahead of the last one'
assert_ok get_async "$first"
assert_ok get_async "$first"
assert_eq "$(ahead | wc -l)" 1 'after the same one twice'
mv "$SCRATCH/kept" "$REPO/wal/main/${third:0:16}/$third"
assert_ok get_async "$third"
assert_fails 1 'is not in the archive' get_async 0000000100000000000000FF
# What was unpacked is what the archive has, or it is not used.
rm -rf "$SCRATCH/ahead"
install -d "$SCRATCH/ahead"
assert_ok get_async "$first"
find "$REPO/wal" -name "$second" -exec mv {} "$SCRATCH/kept" ';'
cp "$REPO/wal/main/${third:0:16}/$third" "$REPO/wal/main/${third:0:16}/$second"
assert_ok get_async "$second"
mv "$SCRATCH/kept" "$REPO/wal/main/${third:0:16}/$second"
rm -rf "$SCRATCH/ahead"

# The same again is success, another content is not, and the first one stays.
"$PGSTRATA" archive-get -r "$REPO" "$first" "$SCRATCH/$first"
assert_ok "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/$first"
cp "$SCRATCH/$first" "$SCRATCH/was"
printf 'x' | dd of="$SCRATCH/$first" bs=1 seek=5000000 conv=notrunc status=none
assert_fails 1 "$first is in the archive .* with other content" "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/$first"
"$PGSTRATA" archive-get -r "$REPO" "$first" "$SCRATCH/got"
assert_ok cmp "$SCRATCH/was" "$SCRATCH/got"

# Not of this cluster, not of this name, not whole, no WAL at all.
pg_init "$SCRATCH/other"
assert_fails 1 'belongs to system' "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/other/pg_wal/000000010000000000000001"
cp "$SCRATCH/was" "$SCRATCH/0000000100000000000000AA"
assert_fails 1 'is not archived' "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/0000000100000000000000AA"
mkdir "$SCRATCH/short"
head -c 1000000 "$SCRATCH/was" >"$SCRATCH/short/$first"
assert_fails 1 'has 1000000 bytes' "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/short/$first"
head -c 16777216 /dev/zero >"$SCRATCH/short/0000000100000000000000AB"
assert_fails 1 'is not archived' "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/short/0000000100000000000000AB"
echo text >"$SCRATCH/short/notes"
assert_fails 1 'names neither' "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/short/notes"
assert_fails 1 'No such file' "$PGSTRATA" archive-push -r "$REPO" "$SCRATCH/short/0000000100000000000000AC"
assert_fails 2 'pgstrata archive-push --help' "$PGSTRATA" archive-push -r "$REPO"

# A damaged object is an error that names it, not other bytes.
object=$(find "$REPO/wal" -name "$first")
printf '\377\0\377' | dd of="$object" bs=1 seek=100 conv=notrunc status=none
rm -f "$SCRATCH/got"
assert_fails 255 "$first" "$PGSTRATA" archive-get -r "$REPO" "$first" "$SCRATCH/got"
assert_ok test ! -e "$SCRATCH/got"
