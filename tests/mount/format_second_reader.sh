#!/bin/bash
# store/README.md says enough: a second reader, written from it alone, gives back what was imported, byte for byte.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new format-second-reader
need_root
pkg_install_postgres
pkg_install python3 zstd rsync
# postgres puts its backups here.
chmod 777 "$SCRATCH"
REPO=$SCRATCH/repo
declare -A SOURCE=() DUMP=()

# backup NAME [OPTION…]: a base backup of the server in $SCRATCH/NAME.
backup() {
	local name=$1
	shift
	as_postgres env PGHOST="${PG_SOCKET[$DATA]}" PGPORT="${PG_PORT[$DATA]}" PGUSER=postgres \
		"$PG_BIN/pg_basebackup" -D "$SCRATCH/$name" -c fast --no-sync "$@"
}

# take NAME [OPTION…]: imports it; SOURCE[cluster/base/id] is where it lies.
take() {
	local id
	id=$("$PGSTRATA" import base -q -r "$REPO" -c main "$SCRATCH/$1") || fail "import of $1"
	SOURCE[main/base/$id]=$SCRATCH/$1
}

# dump NAME: a plain dump of the server in $SCRATCH/NAME.sql, imported; DUMP[cluster/dump/id] is the file.
dump() {
	local id
	pg_run "$DATA" pg_dump -f "$SCRATCH/$1.sql" postgres
	id=$("$PGSTRATA" import dump -q -r "$REPO" -c dumps --database rows "$SCRATCH/$1.sql") || fail "import of dump $1"
	DUMP[dumps/dump/$id]=$SCRATCH/$1.sql
}

# random BYTES SEED: the same bytes for the same seed.
random() {
	python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(int(sys.argv[2])).randbytes(int(sys.argv[1])))' "$1" "$2"
}

DATA=$SCRATCH/server
pg_init "$DATA" --data-checksums
pg_start "$DATA"
pg_run "$DATA" pgbench -i -q -s 2 postgres 2>/dev/null
pg_sql "$DATA" -d postgres -c "CREATE TABLE rows AS SELECT i, md5(i::text) AS m FROM generate_series(1, 40000) i" \
	-c "CHECKPOINT"
"$PGSTRATA" init -r "$REPO" --chunk-size 8K >/dev/null
backup first
take first
dump first
# Counters change in place, and vacuum moves rows within their pages. The third backup makes deltas of deltas.
for name in second third; do
	pg_run "$DATA" pgbench -n -t 400 postgres >/dev/null 2>&1
	pg_sql "$DATA" -d postgres -c "DELETE FROM rows WHERE i % 40 = 7" -c "UPDATE rows SET m = m || 'x' WHERE i % 60 = 9" \
		-c "VACUUM rows" -c "CHECKPOINT"
	backup "$name"
	take "$name"
done
dump third

# ---- what no server writes, in a backup without a manifest ----

backup odd --no-manifest -X none
odd=$SCRATCH/odd/base/odd
mkdir -p "$odd/empty/empty" "$odd/many"
for size in 1 1024 1025 8191 8192 8193; do
	random "$size" "$size" >"$odd/random$size"
	truncate -s "$size" "$odd/zero$size"
done
: >"$odd/nothing"
random 3000000 1 >"$odd/wide"
# Zeroes of every level: single chunks, whole map nodes, a whole file.
truncate -s 20000017 "$odd/zeroes" "$odd/holes"
random 100000 2 | dd of="$odd/holes" bs=1 seek=5000009 conv=notrunc status=none iflag=fullblock obs=64K
# Spans three levels of maps.
truncate -s 600000000 "$odd/high"
printf 'end' | dd of="$odd/high" bs=1 seek=599999000 conv=notrunc status=none
# Files of the very bytes of a map node, which the writer meets before and after the node itself.
mkdir "$odd/before"
for name in before/map map; do
	python3 -c 'import hashlib, sys
data = open(sys.argv[1], "rb").read()
for at in range(0, 256 * 8192, 8192):
    sys.stdout.buffer.write(hashlib.sha256(data[at:at + 8192]).digest())' "$odd/wide" >"$odd/$name"
done
ln -s "$(printf 'nowhere/\377')" "$odd/link"
printf 'odd' >"$odd/$(printf 'a\n\001 \377\\"name')"
printf 'long' >"$odd/$(printf '%0255d' 0)"
(cd "$odd/many" && seq -f 'a name in a directory of many, which needs more than a node: %.0f' 1 30000 | xargs -d '\n' touch)
chmod 4711 "$odd/random1"
chmod 0 "$odd/random1024"
chmod 1777 "$odd/empty"
chown 12345:54321 "$odd/random1025"
touch -d '1960-01-01 00:00:00.123456789 UTC' "$odd/random1"
touch -h -d '2001-02-03 04:05:06.000000007 UTC' "$odd/link" "$odd/empty"
take odd
pg_stop "$DATA"

# ---- read back ----

reader=$LIB_ROOT/tests/format/second_reader.py
python3 "$reader" "$REPO" "$SCRATCH/out" --check-runs "$PGSTRATA_CACHE_DIR" >"$SCRATCH/tally"
for snapshot in "${!SOURCE[@]}"; do
	assert_ok diff -r --no-dereference "${SOURCE[$snapshot]}" "$SCRATCH/out/$snapshot/data"
	assert_same_tree "${SOURCE[$snapshot]}" "$SCRATCH/out/$snapshot/data"
	# rsync looks at seconds only where its other side is old.
	for tree in "${SOURCE[$snapshot]}" "$SCRATCH/out/$snapshot/data"; do
		(cd "$tree" && find . -mindepth 1 ! -type d -printf '%p\0%y %m %U:%G %s %T@ %l\0' &&
			find . -mindepth 1 -type d -printf '%p\0%y %m %U:%G %T@\0') | sort -z >"$tree.found"
	done
	assert_ok cmp "${SOURCE[$snapshot]}.found" "$SCRATCH/out/$snapshot/data.found"
done
for snapshot in "${!DUMP[@]}"; do
	assert_ok cmp "${DUMP[$snapshot]}" "$SCRATCH/out/$snapshot/dump.sql"
	sed -n '/^COPY public.rows /,/^\\\.$/p' "${DUMP[$snapshot]}" | sed '1d;$d' >"$SCRATCH/rows"
	[ -s "$SCRATCH/rows" ] || fail "${DUMP[$snapshot]} has no rows"
	assert_ok cmp "$SCRATCH/rows" "$SCRATCH/out/$snapshot/tables/public.rows.copy"
done
one=$(printf '%s\n' "${!SOURCE[@]}" | sort | sed -n 1p)
python3 "$reader" "$REPO" "$SCRATCH/one" --snapshot "$one" >/dev/null
assert_same_tree "$SCRATCH/out/$one/data" "$SCRATCH/one/$one/data"
assert_eq "$(cd "$SCRATCH/one" && echo */*/*)" "$one" "what --snapshot copies"

# ---- and all of the format was in there ----

for what in "record chunk codec "{0,1,2,3,4} "record map codec "{0,1} "record tree codec "{0,1} "record depth "{0,1,2} \
	"file form "{0,1,2} "rope node level "{0,1} "rope literal" "file height "{0,1,2,3} "map node level "{1,2} "zero digest level "{0,1,2} \
	"tree node level "{0,1} directory symlink packs runs '(map|chunk) stored as another kind'; do
	grep -Eq "\"$what\": [1-9]" "$SCRATCH/tally" || fail "the repository has no $what: $(cat "$SCRATCH/tally")"
done

grep -q '"packs in no run": 0' "$SCRATCH/tally" || fail "some packs are in no run right after their import"

# ---- the second reader sees what is wrong: a byte turned over in one object of each sort ----

flip() {
	printf '%b' "\\x$(printf '%02x' $((0x$(xxd -p -s "$2" -l 1 "$1") ^ 255)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

pkg_install xxd
while IFS= read -r object; do
	at=$(($(stat -c %s "$object") / 2))
	flip "$object" "$at"
	assert_fails 1 '^second_reader: ' python3 "$reader" "$REPO" --check-runs "$PGSTRATA_CACHE_DIR"
	flip "$object" "$at"
done < <(find "$REPO" "$PGSTRATA_CACHE_DIR" -type f | sort | awk -F / '!seen[$(NF - 1)]++')
assert_ok python3 "$reader" "$REPO" --check-runs "$PGSTRATA_CACHE_DIR" >/dev/null
