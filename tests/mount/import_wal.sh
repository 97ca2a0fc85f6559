#!/bin/bash
# import wal: an archive directory in every compression and in the layouts of other tools comes back byte for byte; what
# is damaged, cut off, too large, or another cluster's is refused by name, and the rest is taken.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new import-wal
pkg_install_postgres
pkg_install gzip lz4 zstd bzip2 xz-utils
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
PLAIN=$SCRATCH/plain

# A server with segments of 1 MB: two timelines' worth of files, made by archive_command = 'cp'.
install -d -o postgres "$PLAIN"
pg_init "$DATA" --wal-segsize=1
pg_start "$DATA" archive_mode=on "archive_command=cp %p $PLAIN/%f" max_wal_size=32MB
pg_sql "$DATA" -c 'CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 60000) n' -c 'SELECT pg_switch_wal()' \
	>/dev/null
mkdir -m 777 "$SCRATCH/b"
pg_run "$DATA" pg_basebackup -D "$SCRATCH/b/base" -c fast -X none 2>/dev/null
pg_sql "$DATA" -c 'INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 60000) n' -c 'SELECT pg_switch_wal()' >/dev/null
pg_stop "$DATA"
rm -rf "$DATA"

segment() {
	# The Nth segment (from 1) of the archive.
	find "$PLAIN" -type f -regex '.*/[0-9A-F]*' -printf '%f\n' | sort | sed -n "${1}p"
}
count=$(find "$PLAIN" -type f | wc -l)
assert_ok test "$count" -ge 12
one=$(segment 2)
# A history file, as a server would have written it.
printf '1\t0/%s00000\tno recovery target specified\n' "${one:22:2}" >"$PLAIN/00000002.history"
cp "$PLAIN/$(segment 3)" "$PLAIN/$(segment 3).partial"
count=$((count + 2))

fresh() {
	rm -rf "$REPO"
	"$PGSTRATA" init -r "$REPO" >/dev/null
}

# all_back DIR: every file of DIR is in the archive, as it is there.
all_back() {
	local path
	for path in "$1"/*; do
		assert_ok "$PGSTRATA" archive-get -r "$REPO" "${path##*/}" "$SCRATCH/got"
		assert_ok cmp "$path" "$SCRATCH/got"
	done
}

# Plain, twice: the second time all is known.
fresh
assert_eq "$("$PGSTRATA" import wal -r "$REPO" "$PLAIN" | sed 's/ ([^)]*)//')" \
	"$count files archived, 0 were there before, 0 refused, 0 passed over"
all_back "$PLAIN"
assert_match "$("$PGSTRATA" import wal -r "$REPO" "$PLAIN")" "^0 files archived .*, $count were there before"
# Each segment has its summary, whichever thread took it; but perhaps the first, into which a record reaches.
segments=$(find "$PLAIN" -regex '.*/[0-9A-F]*' -type f | wc -l)
notes=$(find "$REPO/walnote" -type f | wc -l)
assert_ok test "$notes" -ge $((segments - 1))

# Each in its own way, with endings and without; with what else lies in such a directory.
mixed=$SCRATCH/mixed
mkdir "$mixed"
n=0
for path in "$PLAIN"/*; do
	name=${path##*/}
	case $((n % 7)) in
	0) gzip -c "$path" >"$mixed/$name.gz" ;;
	1) lz4 -qc "$path" >"$mixed/$name.lz4" ;;
	2) zstd -qc "$path" >"$mixed/$name.zst" ;;
	3) bzip2 -c "$path" >"$mixed/$name.bz2" ;;
	4) xz -0 -c "$path" >"$mixed/$name.xz" ;;
	5) bzip2 -c "$path" >"$mixed/$name" ;;
	6) cp "$path" "$mixed" ;;
	esac
	n=$((n + 1))
done
mkdir "$mixed/archive_status" "$mixed/none"
echo text >"$mixed/README"
mkfifo "$mixed/00000003.history"
fresh
assert_eq "$("$PGSTRATA" import wal -r "$REPO" "$mixed" | sed 's/ ([^)]*)//')" \
	"$count files archived, 0 were there before, 0 refused, 4 passed over"
all_back "$PLAIN"

# As pgBackRest, WAL-G and Barman keep them: below directories named by 16 digits, checksums and endings behind names.
nested=$SCRATCH/nested
for path in "$PLAIN"/*; do
	name=${path##*/}
	case $name in
	*.history | *.backup)
		mkdir -p "$nested"
		cp "$path" "$nested"
		;;
	*)
		mkdir -p "$nested/${name:0:16}"
		zstd -qc "$path" >"$nested/${name:0:16}/$name-$(sha1sum <"$path" | cut -d ' ' -f 1).zst"
		;;
	esac
done
echo '[db]' >"$nested/archive.info"
fresh
assert_eq "$("$PGSTRATA" import wal -r "$REPO" "$nested" -j 3 | sed 's/ ([^)]*)//')" \
	"$count files archived, 0 were there before, 0 refused, 1 passed over"
all_back "$PLAIN"

# refused WHAT REGEX: the one bad file in $bad is named, and the good one beside it is taken.
bad=$SCRATCH/bad
good=$(segment 1)
refused() {
	cp "$PLAIN/$good" "$bad"
	fresh
	assert_fails 1 "$2" "$PGSTRATA" import wal -r "$REPO" "$bad"
	assert_ok "$PGSTRATA" archive-get -r "$REPO" "$good" "$SCRATCH/got"
	assert_fails 1 'not in the archive' "$PGSTRATA" archive-get -r "$REPO" "$one" "$SCRATCH/none"
	rm -rf "$bad"
	mkdir "$bad"
}
mkdir "$bad"
for how in 'gzip -c' 'lz4 -qc' 'zstd -qc' 'bzip2 -c' 'xz -c'; do
	# Cut off.
	$how "$PLAIN/$one" >"$SCRATCH/whole"
	head -c 9000 "$SCRATCH/whole" >"$bad/$one.gz"
	refused "cut off by $how" "1 of 2 files in .*$one.gz"
	# A segment that goes on for ever, and a history file that does.
	{ cat "$PLAIN/$one"; head -c 30000000 /dev/zero; } | $how >"$bad/$one.zst"
	refused "bomb by $how" "$one.zst is not archived: it unpacks to more than the 1048576 bytes"
	head -c 30000000 /dev/zero | $how >"$bad/00000002.history.xz"
	refused "history bomb by $how" "00000002.history.xz is not archived: it unpacks to more than"
done
head -c 1000000 "$PLAIN/$one" >"$bad/$one"
refused short 'has 1000000 bytes, but its header says 1048576'
head -c 1000000 "$PLAIN/$one" | zstd -qc >"$bad/$one"
refused 'short, compressed' 'has 1000000 bytes, but its header says 1048576'
cp "$PLAIN/$(segment 4)" "$bad/$one"
refused 'another segment' "$one is not archived"
head -c 1048576 /dev/urandom >"$bad/$one"
refused 'no WAL' "$one is not archived"
: >"$bad/$one"
refused empty "$one is not archived"
echo 'not a history' >"$bad/00000002.history"
refused 'a broken history' '00000002.history is not archived'
rm -rf "${bad:?}"

# Another cluster's, whether or not the archive has a segment of that name.
pg_init "$SCRATCH/other" --wal-segsize=1
fresh
"$PGSTRATA" import wal -r "$REPO" "$PLAIN" -q
assert_fails 1 'is not archived.*belongs to system' "$PGSTRATA" import wal -r "$REPO" "$SCRATCH/other/pg_wal"

mkdir "$SCRATCH/empty"
assert_fails 1 'no WAL in' "$PGSTRATA" import wal -r "$REPO" "$SCRATCH/empty"
assert_fails 1 'No such file' "$PGSTRATA" import wal -r "$REPO" "$SCRATCH/absent"
assert_fails 2 'cannot import "tar"' "$PGSTRATA" import tar -r "$REPO" "$SCRATCH/empty"

# A full repository is one error that says so, not one for each file.
mkdir "$SCRATCH/small"
mount -t tmpfs -o size=2m pgstrata-test "$SCRATCH/small"
cleanup_push umount "$SCRATCH/small"
"$PGSTRATA" init -r "$SCRATCH/small/repo" >/dev/null
assert_fails 1 '^pgstrata: error: [^'$'\n'']*No space left[^'$'\n'']*$' "$PGSTRATA" import wal -r "$SCRATCH/small/repo" "$PLAIN" -q
