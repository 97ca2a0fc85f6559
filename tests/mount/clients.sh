#!/bin/bash
# Real clients on the mount of a real backup: what people will do with it works as on the backup itself.
set -euo pipefail
. "$(dirname "$0")/lib.bash"

scratch_new mount-clients
server_start

install -d -o postgres -g postgres "$SCRATCH/server/space"
pg_sql "$DATA" -d postgres -c "CREATE TABLESPACE space LOCATION '$SCRATCH/server/space'"
pg_sql "$DATA" -d postgres -c "CREATE TABLE far TABLESPACE space AS SELECT i FROM generate_series(1, 50000) i"
backup_take "$SCRATCH/backup/data" --tablespace-mapping="$SCRATCH/server/space=$SCRATCH/backup/space"
rows=$(server_rows "$DATA")
far=$(pg_sql "$DATA" -d postgres -c "SELECT sum(i) FROM far")
source=$SCRATCH/backup/data
oid=$(basename "$source"/pg_tblspc/*)

assert_ok "$PGSTRATA" init -r "$SCRATCH/repo" >/dev/null
id=$("$PGSTRATA" import base -r "$SCRATCH/repo" "$source")
mount_start "$SCRATCH/repo" "$SCRATCH/mnt" -o allow_other
backup=$SCRATCH/mnt/main/backups/$id
data=$backup/data

# ---- names and attributes are the source's; but for the tablespace's link, which leads into the mount ----

assert_eq "$(readlink "$SCRATCH/mnt/main/backups/latest")" "$id" "latest"
assert_eq "$(ls "$SCRATCH/mnt")" "README.txt
main" "the root"
assert_eq "$(readlink "$data/pg_tblspc/$oid")" "../../tablespaces/$oid" "the tablespace's link"
diff=$(rsync -aHAXnc --delete --itemize-changes --exclude='/pg_tblspc/*' "$source/" "$data/")
assert_eq "$diff" "" "rsync of the data directory"
assert_same_tree "$SCRATCH/backup/space" "$backup/tablespaces/$oid"
format='%P %y %m %U %G %s %T@ %l %n\n'
for where in "$source" "$data"; do
	find "$where" -mindepth 1 -not -type d -not -path '*/pg_tblspc/*' -printf "$format" | sort >"$SCRATCH/found"
	find "$where" -mindepth 1 -type d -printf '%P %y %m %U %G %T@\n' | sort >>"$SCRATCH/found"
	[ ! -f "$SCRATCH/found.first" ] || assert_ok diff "$SCRATCH/found.first" "$SCRATCH/found"
	mv "$SCRATCH/found" "$SCRATCH/found.first"
done
assert_ok diff -r "$source" "$data"
assert_eq "$(find "$data" -type d | wc -l)" "$(find "$data" -noleaf -type d | wc -l)" "find's leaf optimisation"
assert_eq "$(find "$data" -name PG_VERSION -exec cat {} + | sort | uniq -c | sed 's/ *//')" \
	"$(find "$source" -name PG_VERSION -exec cat {} + | sort | uniq -c | sed 's/ *//')" "find -exec cat"

# ---- PostgreSQL's own tools ----

assert_ok as_postgres "$PG_BIN/pg_verifybackup" -q "$data"
assert_eq "$(as_postgres "$PG_BIN/pg_controldata" "$data")" "$(as_postgres "$PG_BIN/pg_controldata" "$source")" \
	"pg_controldata"
# pg_checksums refuses a cluster that was running when it was copied, so it gets one that was not: see below.
assert_fails 1 "cluster must be shut down" as_postgres "$PG_BIN/pg_checksums" --check -D "$data"

# ---- other programs ----

tar -C "$data" -cf "$SCRATCH/data.tar" .
assert_ok tar -C "$source" --exclude='./pg_tblspc/*' -df "$SCRATCH/data.tar"
assert_eq "$(cd "$data" && grep -rlF 'max_connections' . | sort)" "$(cd "$source" && grep -rlF 'max_connections' . | sort)" \
	"grep -r"
# Sizes as they were, and much less of it stored.
apparent=$(du -s --apparent-size --block-size=1 "$data" | cut -f 1)
stored=$(du -s --block-size=1 "$data" | cut -f 1)
files=$(find "$source" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
[ "$apparent" -ge "$files" ] || fail "du --apparent-size says $apparent, the files have $files"
[ "$stored" -lt $((apparent / 2)) ] || fail "du says $stored of $apparent bytes are stored"
assert_match "$(cat "$backup/info.json")" "\"id\": *\"$id\"" "info.json"
assert_eq "$(stat -c %s "$backup/info.json")" "$(wc -c <"$backup/info.json")" "size of info.json"

# ---- a restore by cp: PostgreSQL starts on the copy and has all rows ----

install -d -o postgres -g postgres "$SCRATCH/restored"
cp -a "$data" "$backup/tablespaces" "$SCRATCH/restored/"
assert_ok diff -r "$source" "$SCRATCH/restored/data"
assert_eq "$(getfattr -R -d -m - "$SCRATCH/restored/data" 2>/dev/null)" "" "attributes that cp took along"
pg_stop "$DATA"
copy=$SCRATCH/restored/data
pg_start "$copy"
assert_eq "$(server_rows "$copy")" "$rows" "rows of the copy"
assert_eq "$(pg_sql "$copy" -d postgres -c "SELECT sum(i) FROM far")" "$far" "rows in the tablespace"
assert_eq "$(pg_sql "$copy" -d twin -c "SELECT count(*) FROM pg_class WHERE relname = 'pg_class'")" 1 "the other database"
pg_stop "$copy"

# ---- pg_checksums on a backup of a cluster that was shut down ----

mv "$copy/backup_label.old" "$copy/backup_label"
rm -f "$copy/backup_manifest"
cp -an "$source"/pg_wal/0* "$copy/pg_wal/" # recovery has recycled what the label refers to
shut=$("$PGSTRATA" import base -q -r "$SCRATCH/repo" "$copy")
sleep 1.1
data=$SCRATCH/mnt/main/backups/$shut/data
output=$(as_postgres "$PG_BIN/pg_checksums" --check -D "$data") || fail "pg_checksums: $output"
assert_match "$output" "Bad checksums:  0" "pg_checksums"
blocks=$(sed -n 's/^Blocks scanned: *//p' <<<"$output")
[ "$blocks" -gt 1000 ] || fail "pg_checksums scanned $blocks blocks"

umount_ours "$SCRATCH/mnt"
