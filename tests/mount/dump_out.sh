#!/bin/bash
# Dumps of every format and globals written out with restore: the same bytes as in the mount, whole or not at all, and
# never over something else. Dumps compared with diff: formats make no difference, every change is named.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new dump-out
pkg_install_postgres
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
DATA=$SCRATCH/data
IN=$SCRATCH/in
OUT=$SCRATCH/out
mkdir -m 777 "$IN" "$OUT"
"$PGSTRATA" init -r "$REPO" >/dev/null
pg_init "$DATA"
pg_start "$DATA"
pg_sql "$DATA" <<'SQL'
CREATE TABLE big AS SELECT i, md5(i::text) AS m, repeat('x', i % 50) AS pad FROM generate_series(1, 300000) i;
CREATE TABLE small AS SELECT 1 AS one;
CREATE TABLE part (k int) PARTITION BY RANGE (k);
CREATE TABLE part_a PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_b PARTITION OF part DEFAULT;
INSERT INTO part SELECT generate_series(0, 19);
CREATE SCHEMA "odd.name";
CREATE TABLE "odd.name"."a/b; Type: VIEW" (x text, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, UNIQUE (x));
INSERT INTO "odd.name"."a/b; Type: VIEW" VALUES ('row');
CREATE TABLE gone AS SELECT 1 AS x;
CREATE TABLE empty (x int DEFAULT 5);
COMMENT ON TABLE empty IS 'nothing';
CREATE VIEW v AS SELECT one FROM small;
CREATE SEQUENCE "q', 1";
CREATE SEQUENCE stays;
SELECT nextval('stays') \g /dev/null
CREATE INDEX big_i ON big (i);
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$
--
-- Name: no; Type: TABLE; Schema: public; Owner: postgres
--

SELECT a; $$;
GRANT SELECT ON small TO pg_monitor;
SQL
pg_run "$DATA" pg_dump -Fc -f "$IN/custom" postgres
pg_run "$DATA" pg_dump -Fd -f "$IN/directory" postgres
pg_run "$DATA" pg_dump -Ft -f "$IN/tar" postgres
pg_run "$DATA" pg_dump -f "$IN/plain" postgres
pg_run "$DATA" pg_dump --load-via-partition-root -f "$IN/root" postgres
pg_run "$DATA" pg_dump --inserts -t 'small|empty' -f "$IN/inserts" postgres
pg_run "$DATA" pg_dump --inserts -t 'small|empty' -Fc -f "$IN/inserts-custom" postgres
pg_run "$DATA" pg_dumpall --globals-only -f "$IN/globals"
pg_run "$DATA" pg_dumpall -f "$IN/all"
pg_sql "$DATA" <<'SQL'
UPDATE small SET one = 2;
ALTER TABLE "odd.name"."a/b; Type: VIEW" ADD COLUMN y int;
UPDATE big SET m = md5('other') WHERE i = 150000;
DROP TABLE gone;
CREATE TABLE new (x int);
CREATE OR REPLACE VIEW v AS SELECT one, 5 AS five FROM small;
DROP INDEX big_i;
CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$ SELECT a + 1; $$;
SELECT nextval('"q'', 1"') \g /dev/null
SQL
pg_run "$DATA" pg_dump -Fc -f "$IN/custom2" postgres
pg_run "$DATA" pg_dump -f "$IN/plain2" postgres
pg_run "$DATA" pg_dump --inserts -t 'small|empty' -f "$IN/inserts2" postgres
pg_run "$DATA" pg_dumpall -f "$IN/all2"
pg_stop "$DATA"
declare -A id
for name in custom directory tar plain root inserts inserts-custom custom2 plain2 inserts2; do
	id[$name]=$("$PGSTRATA" import dump -q -r "$REPO" --database "$name" "$IN/$name")
done
for name in all all2; do
	id[$name]=$("$PGSTRATA" import dump -q -r "$REPO" "$IN/$name")
done
globals=$("$PGSTRATA" import dump -q -r "$REPO" "$IN/globals")
mount_start "$REPO" "$MNT"

out() {
	"$PGSTRATA" restore -q -r "$REPO" "$@"
}
# As a file of that name, and into a directory.
for name in custom tar plain; do
	at=$(echo "$MNT/main/dumps/$name/latest"/dump.*)
	assert_ok out --database "$name" "${id[$name]}" "$OUT/$name"
	assert_ok cmp "$at" "$OUT/$name"
	assert_eq "$(stat -c '%a %Y' "$OUT/$name")" "600 $(stat -c %Y "$at")" "mode and time of $name"
	assert_ok out --database "$name" latest "$OUT"
	assert_ok cmp "$at" "$OUT/${at##*/}"
done
assert_ok cmp "$IN/plain" "$OUT/plain"
assert_ok out --database directory latest "$OUT/directory"
assert_ok diff -r "$MNT/main/dumps/directory/latest/dump.dir" "$OUT/directory"
assert_ok out --kind globals "$globals" "$OUT/globals"
assert_ok cmp "$IN/globals" "$OUT/globals"
assert_ok diff <(pg_restore -l "$IN/custom" | grep -v '^;') <(pg_restore -l "$OUT/custom" | grep -v '^;')
(cd "$OUT" && assert_ok out --database plain latest here && assert_ok cmp "$IN/plain" here)

# Rows of several partitions that come as the root's are one file, and are listed once.
assert_eq "$(grep -c part "$MNT/main/dumps/root/latest/toc.txt")" 1 'lines about part'
assert_eq "$(sort -n "$MNT/main/dumps/root/latest/tables/public.part.copy" | paste -sd ' ')" "$(seq -s ' ' 0 19)" 'rows of part'
assert_ok cmp "$IN/root" "$MNT/main/dumps/root/latest/dump.sql"

# One id for two kinds.
touch -r "$IN/plain" "$IN/globals"
twin=$("$PGSTRATA" import dump -q -r "$REPO" -c twins --database plain "$IN/plain")
assert_eq "$("$PGSTRATA" import dump -q -r "$REPO" -c twins "$IN/globals")" "$twin" 'ids of two kinds'
assert_fails 1 "has two snapshots $twin, one of kind .*: say which with --kind" out -c twins "$twin" "$OUT/twin"
assert_ok out -c twins --kind globals "$twin" "$OUT/twin"
assert_ok cmp "$IN/globals" "$OUT/twin"
assert_fails 1 'say which with --kind' "$PGSTRATA" show -r "$REPO" -c twins "$twin"
assert_eq "$("$PGSTRATA" show -r "$REPO" -c twins --kind dump --json "$twin" | jq -r .kind)" dump 'the one of two that was asked for'
assert_fails 2 'no kind' "$PGSTRATA" show -r "$REPO" --kind nix latest

# Refused, with nothing changed.
before=$(find "$OUT" -type f -exec sha256sum {} + | sort | sha256sum)
assert_fails 1 'exists already' out --database custom latest "$OUT/custom"
assert_fails 1 'exists already' out --database custom latest "$OUT"
assert_fails 1 'is not empty' out --database directory latest "$OUT/directory"
assert_fails 1 'no dump .* of database "nix"' out --database nix latest "$OUT/new"
assert_fails 1 'no snapshot 2001' out 2001-01-01T00-00-00Z "$OUT/new"
assert_fails 1 'No such file or directory' out --database custom latest "$OUT/none/new"
assert_fails 2 'no kind' out --kind nix latest "$OUT/new"
assert_fails 2 'for dumps' out --kind base --database custom latest "$OUT/new"
assert_fails 2 'for base backups' out --kind dump --map 1=/x latest "$OUT/new"
assert_eq "$(find "$OUT" -type f -exec sha256sum {} + | sort | sha256sum)" "$before" 'what was there'

# What is said of a dump: the same by show and in the mount, and true.
version=$("$PG_BIN/pg_dump" --version)
version=${version#*) }
for name in custom:gzip directory:gzip tar:none plain:null; do
	how=${name#*:}
	name=${name%:*}
	at=$MNT/main/dumps/$name/latest
	bytes=$(cat "$at"/tables/* | wc -c)
	assert_eq "$(jq -c '[.id, .kind, .database, .format, .compression // "null", .tables, .large_objects, .data_bytes, .pg_version,
		.dump_version]' "$at/info.json")" \
		"[\"${id[$name]}\",\"dump\",\"$name\",\"$name\",\"$how\",7,0,$bytes,\"$version\",\"$version\"]" "info.json of $name"
	assert_eq "$("$PGSTRATA" show -r "$REPO" --kind dump --json "${id[$name]}")" "$(cat "$at/info.json")" "show and info.json of $name"
	assert_match "$("$PGSTRATA" show -r "$REPO" --kind dump "${id[$name]}" | tr -s ' ' | paste -sd '|')" \
		"\|kind dump\|.*\|database $name\|.*\|format $name\|(compression $how\|)?tables 7\|large_objects 0\|data_bytes $bytes" "show of $name"
done
assert_eq "$(jq -c '[.database, .pg_dumpall]' "$MNT/main/dumps/pg_dumpall/${id[all]}/info.json")" '["pg_dumpall",true]' \
	'info.json of a cluster'

assert_match "$("$PGSTRATA" list -r "$REPO" | grep -F "${id[inserts]}")" ' inserts ' 'database in the list'

# Formats are no difference.
differ() {
	"$PGSTRATA" diff -q -r "$REPO" "${id[$1]}" "${id[$2]}" "${@:3}"
}
for name in directory tar plain; do
	assert_eq "$(differ custom "$name")" '' "custom and $name"
	assert_ok differ "$name" custom
done
assert_ok differ inserts inserts-custom

# Every change is named, and the same size is not taken for the same data.
cat >"$SCRATCH/changes" <<'TEXT'
~ table odd.name.a/b; Type: VIEW  data, definition
~ table public.big  data
- index public.big_i
~ function public.f(integer)  definition
- table public.gone
+ table public.new
~ sequence public.q', 1  data
~ table public.small  data
~ view public.v  definition
TEXT
for from in custom plain directory; do
	for to in custom2 plain2; do
		assert_fails 3 '' differ "$from" "$to"
		assert_ok diff "$SCRATCH/changes" <(differ "$from" "$to")
	done
done
assert_ok diff <(sed 's/^[-+]/x/; s/ \(gone\|new\)//' "$SCRATCH/changes" | sort) \
	<(differ custom2 plain | sed 's/^[-+]/x/; s/ \(gone\|new\)//' | sort)
assert_eq "$(differ inserts inserts2)" '~ table public.small  data' 'changes of INSERT commands'
assert_eq "$(differ inserts-custom inserts2)" '~ table public.small  data' 'the same, of an archive'
assert_ok diff <(grep -v index "$SCRATCH/changes" | sed -E 's/^(.) ([a-z]+) /\1 \2 postgres:/') \
	<(differ all all2 | grep -v index)
assert_eq "$(differ custom plain2 --json | jq -c '[.from, .to, (.changes | length), .changes[1]]')" \
	"[\"${id[custom]}\",\"${id[plain2]}\",9,{\"object\":\"public.big\",\"type\":\"table\",\"change\":\"changed\",\"data\":true,\"definition\":false}]" \
	'differences as JSON'
assert_eq "$("$PGSTRATA" diff -r "$REPO" --json --database plain latest "${id[plain]}" | jq -c .changes)" '[]' 'no differences as JSON'
assert_fails 1 'public.small: its rows are COPY text in one' differ custom inserts
# An id is one of its kind, so the globals are where no dump can have the same.
roles=$("$PGSTRATA" import dump -q -r "$REPO" -c roles "$IN/globals")
assert_fails 1 "$roles is a dump of globals" "$PGSTRATA" diff -r "$REPO" -c roles "$roles" "$roles"
assert_fails 1 'no dump .* of database "nix"' "$PGSTRATA" diff -r "$REPO" --database nix latest latest

# A full disk leaves no file behind.
mkdir "$SCRATCH/full"
mount -t tmpfs -o size=4M none "$SCRATCH/full"
cleanup_push umount "$SCRATCH/full"
assert_fails 1 'No space left on device' out --database custom latest "$SCRATCH/full/dump"
assert_eq "$(ls -A "$SCRATCH/full")" '' 'what a full disk has'
