#!/bin/bash
# prune: what the rules keep stays to the byte, with the WAL that it needs, and the rest goes; a dry run changes nothing;
# beside a running backup packs wait; a mount that reads what is dropped never shows other bytes.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
pkg_install rsync
scratch_new prune
# shellcheck source-path=SCRIPTDIR source=../backup_lib.sh
. "$LIB_ROOT/tests/backup_lib.sh"
repo_new
chown -R postgres: "$REPO"
install -d -m 777 "$PGSTRATA_CACHE_DIR"
server_new src 1 --no-instructions autovacuum=off archive_mode=on \
	"archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
SRC=$SCRATCH/src

prune() {
	"$PGSTRATA" prune -r "$REPO" "$@"
}

# change: rows that no earlier backup has, and a few segments between this backup and the next.
change() {
	local i
	pg_sql "$SRC" -c 'DROP TABLE IF EXISTS noise' \
		-c "CREATE TABLE noise AS SELECT md5(random()::text) || md5(random()::text) AS t FROM generate_series(1, 60000)"
	for i in 1 2 3; do
		pg_sql "$SRC" -c "INSERT INTO noise VALUES ('$i')" -c 'SELECT pg_switch_wal()' >/dev/null
	done
}

# old_backup NAME DAYS: a backup without WAL of its own, imported as one that was taken so many days ago. Its label and
# the manifest say so, and the manifest's own checksums are right. ID is the snapshot.
old_backup() {
	local dir=$SCRATCH/old/$1
	mkdir -p "$SCRATCH/old"
	pg_run "$SRC" pg_basebackup -D "$dir" -c fast -X none --manifest-checksums=SHA256 2>/dev/null
	python3 - "$dir" "$2" <<-'END'
		import datetime, hashlib, os, re, sys
		dir, days = sys.argv[1], int(sys.argv[2])
		then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days)
		label = open(dir + "/backup_label").read()
		label, n = re.subn(r"START TIME: .*", then.strftime("START TIME: %Y-%m-%d %H:%M:%S UTC"), label)
		assert n == 1
		open(dir + "/backup_label", "w").write(label)
		text = open(dir + "/backup_manifest").read()
		line = re.search(r'\{ "Path": "backup_label".*?\}', text).group(0)
		new = re.sub(r'"Size": \d+', '"Size": %d' % len(label), line)
		new = re.sub(r'"Checksum": "\w+"', '"Checksum": "%s"' % hashlib.sha256(label.encode()).hexdigest(), new)
		text = text.replace(line, new)
		text = text[: text.index('"Manifest-Checksum"')]
		text += '"Manifest-Checksum": "%s"}\n' % hashlib.sha256(text.encode()).hexdigest()
		open(dir + "/backup_manifest", "w").write(text)
		os.utime(dir + "/backup_manifest", (then.timestamp() + 60,) * 2)
	END
	ID=$("$PGSTRATA" import base -q -r "$REPO" "$dir" 2>"$SCRATCH/import.log") || fail "import of $1: $(cat "$SCRATCH/import.log")"
	rm -rf "$dir"
}

# wal_of ID: FIRST and LAST are the numbers of its own segments (16 MiB; in decimal).
wal_of() {
	local start stop
	start=$(field "$1" start_lsn)
	stop=$(field "$1" stop_lsn)
	FIRST=$((0x${start#*/} >> 24))
	LAST=$(((0x${stop#*/} - 1) >> 24))
}

# segments: the numbers of all segments in the archive, in decimal, on one line.
segments() {
	local name
	find "$REPO/wal" -type f -regex '.*/[0-9A-F]+' -printf '%f\n' | sort |
		while read -r name; do printf '%d ' "0x${name:16}"; done
}

ids() {
	"$PGSTRATA" list -r "$REPO" --json | python3 -c \
		'import json,sys; print(" ".join(s["id"] for s in json.load(sys.stdin)["snapshots"]))'
}

state() {
	find "$REPO" -type f -printf '%P %s %T@\n' | sort
}

size() {
	du -s --apparent-size -k "$REPO" | cut -f 1
}

pg_sql "$SRC" -c 'SELECT pg_switch_wal()' >/dev/null
change
old_backup a 40
A=$ID
change
old_backup b 20
B=$ID
change
old_backup c 3
C=$ID
change
backup_take "$SRC" --tag close --tag x.1
D=$ID
change
backup_take "$SRC"
E=$ID
change
pg_archived "$SRC"
assert_match "$A" "^$(date -u -d '40 days ago' +%Y-%m-)" 'id of a backup of long ago'
assert_eq "$(field "$D" tags)" "['close', 'x.1']" tags
assert_match "$("$PGSTRATA" list -r "$REPO")" "$D .* close x\.1" 'tags in the list'
for id in "$A" "$C" "$D" "$E"; do
	"$PGSTRATA" restore -q -r "$REPO" "$id" "$SCRATCH/ref/$id"
done

# Nothing is dropped without a rule, by a rule that is none, or by a dry run.
before=$(state)
assert_fails 2 'what shall be kept' prune
assert_fails 2 'what shall be kept' prune --force
assert_fails 2 'keep-last: "0" is not a number' prune --keep-last 0
assert_fails 2 'there is no kind "all"' prune --keep-last 1 --kind all
assert_fails 2 'not with --kind dump' prune --keep-last 1 --wal-days 3 --kind dump
assert_fails 2 'keep-tag: "a b" cannot be a tag' prune --keep-tag 'a b'
assert_fails 1 'no cluster "other"' prune -c other --keep-last 1
wal_of "$C"
text=$(prune --keep-daily 9 --keep-last 2 --wal-days 2 --dry-run)
assert_match "$text" "keep +main/base/$E +newest, daily 1 of 9" 'dry run'
assert_match "$text" "keep +main/base/$D +last 2 of 2" 'dry run'
assert_match "$text" "keep +main/base/$A +daily [45] of 9" 'dry run'
assert_match "$text" "keep +main/wal/[0-9A-F]+ .*for base/$A's own consistency" 'dry run'
assert_match "$text" "keep +main/wal/[0-9A-F]+ .*2 days of WAL, from base/$C on" 'dry run'
assert_match "$text" "drop +main/wal/[0-9A-F]+ .*before base/$C, and no kept backup needs it" 'dry run'
assert_match "$text" 'Would remove 0 snapshots, [1-9][0-9]* files of WAL' 'dry run'
text=$(prune --keep-last 1 --keep-tag close --dry-run --json)
planned=$(python3 -c '
import json, sys
p = json.loads(sys.argv[1])
kept = {s["id"]: s["reason"] for s in p["snapshots"] if s["keep"]}
assert kept == {sys.argv[2]: "newest", sys.argv[3]: "tag close"}, kept
assert len(p["snapshots"]) == 5 and p["dry_run"] and p["snapshots_removed"] == 3
assert p["wal_bytes_removed"] == sum(w["bytes"] for w in p["wal"] if not w["keep"]) > 0
assert p["packs"]["removed_bytes"] > p["packs"]["rewritten_bytes"]
print(p["wal_bytes_removed"] + p["packs"]["removed_bytes"] - p["packs"]["rewritten_bytes"])' "$text" "$E" "$D")
assert_eq "$(state)" "$before" 'the repository after dry runs'

# The config file's rules, and the command line's in their place as a whole.
printf '[retention]\nkeep-last = 3\n[retention main]\nkeep-tag = close\nkeep-days = 30\n' >"$SCRATCH/conf"
assert_match "$(prune -C "$SCRATCH/conf" -n)" "drop +main/base/$A .*Would remove 1 snapshots" config
assert_match "$(prune -C "$SCRATCH/conf" -n --keep-last 4)" "drop +main/base/$A" 'the command line'
assert_eq "$(prune -C "$SCRATCH/conf" -n --keep-last 1 | grep -c '^drop  main/base/')" 4 'dropped by the command line'
printf '[retention other]\nkeep-last = 3\n' >"$SCRATCH/conf"
assert_fails 2 'what shall be kept' prune -C "$SCRATCH/conf" -c main
assert_eq "$(state)" "$before" 'the repository after dry runs'

# WAL as told: a window from the third backup on, and before that just what the old ones need.
want=
for id in "$A" "$B"; do
	wal_of "$id"
	want+=$(seq -s ' ' "$FIRST" "$LAST")' '
done
wal_of "$C"
want+=$(segments | tr ' ' '\n' | awk -v from="$FIRST" '$1 != "" && $1 >= from' | tr '\n' ' ')
# So that verify knows what was there: what goes now was pruned, not lost.
assert_ok "$PGSTRATA" verify -q -r "$REPO" >"$SCRATCH/out"
prune -q --keep-daily 9 --keep-last 2 --wal-days 2
assert_match "$(find "$REPO/pruned" -path '*/wal/*' -type f)" '/wal/0000000' 'marks of WAL that was removed'
assert_eq "$(segments)" "$want" 'segments that are kept'
assert_eq "$(ids)" "$A $B $C $D $E" 'snapshots that are kept'
assert_eq "$(find "$REPO/walnote" -type f -printf '%f\n' | sort)" "$(find "$REPO/walnote" -type f -printf '%f\n' |
	sort | while read -r name; do find "$REPO/wal" -name "$name" -printf '%f\n'; done)" 'notes without a file'
# What was dropped between them is no gap, neither to status nor to verify.
assert_ok "$PGSTRATA" status -r "$REPO" >/dev/null
assert_ok "$PGSTRATA" verify --quick -r "$REPO" >"$SCRATCH/out"
assert_match "$(cat "$SCRATCH/out")" '^Sound: ' verify
"$PGSTRATA" restore -q -r "$REPO" "$A" "$SCRATCH/copy"
assert_same_tree "$SCRATCH/ref/$A" "$SCRATCH/copy"
# The oldest has no WAL but the archive's.
touch "$SCRATCH/copy/recovery.signal"
chown -R postgres: "$SCRATCH/copy"
pg_start "$SCRATCH/copy" recovery_target=immediate recovery_target_action=promote archive_mode=off \
	"restore_command=$PGSTRATA archive-get -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %f %p"
assert_ok test "$(pg_sql "$SCRATCH/copy" -c 'SELECT count(*) FROM noise')" = 60003
pg_stop "$SCRATCH/copy"
rm -rf "$SCRATCH/copy"

# A live mount goes on reading what is dropped, while it is dropped and afterwards: the right bytes, or an error. The
# files are open before, and the kernel's copies are given up after each reading.
mount_start "$REPO" "$SCRATCH/mnt"
cat >"$SCRATCH/read.py" <<'END'
import os, sys
mnt, ref, reading = sys.argv[1:]
files = []
for dir, _, names in os.walk(ref):
    for name in names:
        path = os.path.join(dir, name)
        files.append((os.path.getsize(path), path))
files = [(path, os.open(os.path.join(mnt, os.path.relpath(path, ref)), os.O_RDONLY))
         for _, path in sorted(files, reverse=True)[:400]]
ok = bad = 0
last = False
while True:
    for path, fd in files:
        want = open(path, "rb").read()
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            if os.pread(fd, len(want) + 1, 0) != want:
                sys.exit("%s: other bytes" % path)
            ok += 1
        except OSError:
            bad += 1
    if last:
        break
    open(reading, "w").close()
    last = os.path.exists(reading + ".end")
print(ok, bad)
END
python3 "$SCRATCH/read.py" "$SCRATCH/mnt/main/backups/$C/data" "$SCRATCH/ref/$C" "$SCRATCH/reading" >"$SCRATCH/read.out" &
READER=$!
cleanup_push touch "$SCRATCH/reading.end"
for ((i = 0; i < 600; i++)); do
	[ ! -e "$SCRATCH/reading" ] || break
	sleep 0.1
done

# Beside a running backup: packs wait until it has ended, and what it relies on stays.
connect "$SRC"
"$PGSTRATA" backup -q -r "$REPO" "${CONNECT[@]}" --max-rate 6M >"$SCRATCH/f" &
BACKUP=$!
for ((i = 0; i < 1200; i++)); do
	[ -z "$(find "$REPO/leases" -type f 2>/dev/null)" ] || break
	sleep 0.05
done
large=$(size)
prune --keep-last 1 --keep-tag close >"$SCRATCH/out" 2>"$SCRATCH/err"
assert_match "$(cat "$SCRATCH/out")" "drop +main/base/$C +no rule keeps it" prune
assert_match "$(cat "$SCRATCH/err")" 'wait to be removed by a later run: .*backup' 'packs beside a backup'
assert_ok kill -0 "$BACKUP"
assert_eq "$(ids)" "$D $E" 'snapshots that are kept'
wait "$BACKUP" || fail 'the backup beside prune'
F=$(cat "$SCRATCH/f")
assert_ok "$PGSTRATA" verify -q -r "$REPO"

# The next run removes them.
text=$(prune --keep-last 2 --keep-tag close)
assert_match "$text" 'Removed 0 snapshots, .* and [1-9][0-9]* of [0-9]+ packs' prune
assert_match "$text" 'Freed: ' prune
assert_ok "$PGSTRATA" verify -q -r "$REPO"
small=$(size)
assert_ok test $(((large - small) * 1024)) -gt $((planned / 3))
touch "$SCRATCH/reading.end"
wait "$READER" || fail 'a mount showed other bytes'
assert_match "$(cat "$SCRATCH/read.out")" '^[1-9][0-9]* [0-9]+$' 'files that were read, and that were not'
assert_eq "$(ids)" "$D $E $F" 'snapshots that are kept'
for id in "$D" "$E"; do
	"$PGSTRATA" restore -q -r "$REPO" "$id" "$SCRATCH/copy"
	assert_same_tree "$SCRATCH/ref/$id" "$SCRATCH/copy"
	assert_same_tree "$SCRATCH/ref/$id" "$SCRATCH/mnt/main/backups/$id/data"
	rm -rf "$SCRATCH/copy"
done
copy_start "$SCRATCH/mnt/main/backups/$F" last
assert_balanced "$SCRATCH/last/data"
pg_stop "$SCRATCH/last/data"
assert_ok "$PG_BIN/pg_verifybackup" -q "$SCRATCH/mnt/main/backups/$F/data"
assert_eq "$(prune --keep-last 2 --keep-tag close | sed -n 1p)" \
	'Removed 0 snapshots, 0 files of WAL (0 B) and 0 of '"$(find "$REPO/packs" -type f | wc -l) packs (0 B)." 'once more'

# With a grace period packs stay; the last good backup is dropped by force alone, and then all WAL goes with it.
assert_match "$(prune --keep-last 1 --grace 1h 2>&1)" 'wait to be removed by a later run: the grace period' grace
assert_eq "$(ids)" "$F" 'the last one'
assert_match "$(prune --keep-tag none -n)" "keep +main/base/$F +the last good backup of main" 'the last good one'
prune --keep-tag none
assert_eq "$(ids)" "$F" 'the last good one'
assert_ok "$PGSTRATA" verify -q -r "$REPO"
pg_stop "$SRC"
prune -q --keep-tag none --force
assert_eq "$(ids)" '' 'snapshots after force'
assert_eq "$(segments)" '' 'segments after force'
assert_eq "$(find "$REPO/packs" "$REPO/snapshots" -type f | wc -l)" 0 'objects after force'
