#!/bin/bash
# Dumps of every format and compression taken in, restored from the mount into a new database and dumped again: the second
# dump equals the first, with parts of it (-t, -n, -L) likewise; every table loaded from tables/*.copy. What is refused;
# deduplication between formats; signals. BIG_ROWS: rows of the largest table. Damage of every kind is tests/unit's.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new dump-import
pkg_install_postgres
pkg_install zstd gzip lz4
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
DATA=$SCRATCH/data
OUT=$SCRATCH/out
mkdir -m 777 "$OUT"
"$PGSTRATA" init -r "$REPO" >/dev/null
pg_init "$DATA"
pg_start "$DATA" fsync=off
pg_sql "$DATA" -c 'CREATE ROLE "odd role"' -c "CREATE DATABASE src TEMPLATE template0 ENCODING UTF8"

pg_sql "$DATA" -d src -v rows="${BIG_ROWS:-40000}" <<'SQL'
CREATE SCHEMA "odd/Schema. näme" AUTHORIZATION "odd role";
CREATE TYPE mood AS ENUM ('sad', 'it''s; ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE types (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8,
	n numeric, m money, t text, v varchar(20), c char(5), by bytea, d date, ts timestamp, tz timestamptz, ti time, iv interval,
	u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, mac macaddr, bi bit(3), vb varbit, p point, l line, s lseg, bx box,
	pa path, po polygon, ci2 circle, tv tsvector, tq tsquery, ir int4range, mr int4multirange, ar int[][], e mood, pr pair,
	dm positive, sp span, g int GENERATED ALWAYS AS (i2 * 2) STORED, lsn pg_lsn);
INSERT INTO types (b, i2, i8, f4, f8, n, m, t, v, c, by, d, ts, tz, ti, iv, u, j, jb, x, ip, ci, mac, bi, vb, p, l, s, bx, pa, po,
	ci2, tv, tq, ir, mr, ar, e, pr, dm, sp, lsn)
SELECT i % 2 = 0, i, i * 10000000000, i / 3.0, i / 7.0, i / 9.0, i, E'tab\t nl\n cr\r bs\\ \\. ü ' || i, 'v', 'c',
	decode(md5(i::text), 'hex'), '2026-01-01'::date + i, '2026-01-01', '2026-01-01Z', '12:34', '1 day 2 s',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"b": [1, 2]}', '<a/>', '10.0.0.1', '10.0.0.0/8',
	'08:00:2b:01:02:03', B'101', B'1', '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '((0,0),(1,1))',
	'((0,0),(1,1),(1,0))', '<(0,0),1>', 'a:1 b:2', 'a & b', '[1,10)', '{[1,2),[5,6)}', ARRAY[[1, 2], [3, NULL]],
	'it''s; ok', ROW(i, 'x,"y"')::pair, i, '[0.5,1]', '0/1' FROM generate_series(1, 50) i;
INSERT INTO types (t) VALUES (NULL), (''), ('\N'), ('\.');
CREATE TABLE big (id bigint PRIMARY KEY, txt text, filler text DEFAULT 'x');
INSERT INTO big SELECT i, md5(i::text), repeat(chr(97 + i % 26), i % 40) FROM generate_series(1, :rows) i;
CREATE TABLE empty (a int, b text);
CREATE TABLE "odd/Schema. näme"."ta/ble ""q"" %41." ("c ol" text, "COPY" bool);
INSERT INTO "odd/Schema. näme"."ta/ble ""q"" %41." VALUES ('ü', false), (NULL, NULL), ('', true);
ALTER TABLE "odd/Schema. näme"."ta/ble ""q"" %41." OWNER TO "odd role";
CREATE TABLE "n01234567890123456789012345678901234567890123456789012345678./" (a int);
INSERT INTO "n01234567890123456789012345678901234567890123456789012345678./" VALUES (1);
CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_a PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_b PARTITION OF part DEFAULT;
INSERT INTO part SELECT i, 'v' || i FROM generate_series(0, 19) i;
CREATE VIEW vw AS SELECT count(*) FROM big;
CREATE MATERIALIZED VIEW mv AS SELECT id FROM big WHERE id < 5;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
/* a trap: not a table
COPY public.trap (a) FROM stdin;
1
\.
*/
RETURN NEW;
END $fn$;
CREATE FUNCTION q() RETURNS text LANGUAGE sql AS 'SELECT ''
COPY public.trap (a) FROM stdin;
''::text';
CREATE TRIGGER tr BEFORE INSERT ON part_a FOR EACH ROW EXECUTE FUNCTION f();
ALTER TABLE big ENABLE ROW LEVEL SECURITY;
CREATE POLICY pol ON big USING (id > 5);
COMMENT ON TABLE big IS 'a comment; with '' quote
COPY public.trap2 (a) FROM stdin;';
GRANT SELECT ON big TO PUBLIC;
CREATE SEQUENCE sq START 77;
SELECT nextval('sq');
SELECT lo_from_bytea(70001, '\x00010203ff'::bytea);
SELECT lo_from_bytea(70002, convert_to(repeat('blob text ', 5000), 'UTF8'));
SELECT lo_from_bytea(70003, ''::bytea);
SELECT lo_from_bytea(3000000000, 'x'::bytea);
SQL
# plain DATABASE: what two equal databases have in common; newer releases add a random word.
plain() {
	pg_run "$DATA" pg_dump "$1" | grep -vE '^\\(un)?restrict '
}
plain src >"$SCRATCH/first.sql"

PG_MAJOR=$("$PG_BIN/pg_dump" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
newer=()
dump() {
	pg_run "$DATA" pg_dump -f "$OUT/$1" "${@:2}" src
}
dump custom0 -Fc -Z0
dump custom6 -Fc
dump custominserts -Fc --inserts
dump dir0 -Fd -Z0
dump dir6 -Fd -j 2
[ "$PG_MAJOR" -lt 16 ] || for way in lz4 zstd; do
	dump "custom$way" -Fc -Z "$way"
	dump "dir$way" -Fd -Z "$way"
	newer+=("custom$way" "dir$way")
done
dump tar -Ft
dump plain
dump inserts --inserts
dump columns --column-inserts --rows-per-insert=7
dump create --create
pg_run "$DATA" pg_dump -Fc src | cat >"$OUT/pipe"
gzip -c "$OUT/plain" >"$OUT/plaingz"
zstd -q -c "$OUT/plain" >"$OUT/plainzst"
zstd -q -c "$OUT/tar" >"$OUT/tarzst"
lz4 -q -c "$OUT/custom0" >"$OUT/lz4custom"
pg_run "$DATA" pg_dumpall --globals-only -f "$OUT/globals"
pg_run "$DATA" pg_dumpall -f "$OUT/all"

take() {
	"$PGSTRATA" import dump -q -r "$REPO" "${@:2}" "$OUT/$1" || fail "import of $1"
}
names=(custom0 custom6 custominserts dir0 dir6 tar plain inserts columns create pipe plaingz plainzst tarzst lz4custom "${newer[@]}")
for name in "${names[@]}"; do
	take "$name" --database "$name" >/dev/null
done
all_id=$(take all)
globals_id=$(take globals)
named_id=$(take custom6)
assert_ok "$PGSTRATA" verify -q -r "$REPO"
mount_start "$REPO" "$MNT"

# What pg_restore and psql make of each is the database that it was.
fresh() {
	pg_sql "$DATA" -c "DROP DATABASE IF EXISTS copy" -c "CREATE DATABASE copy TEMPLATE template0 ENCODING UTF8"
}
# as_one FILE…: SQL in one transaction, but for large objects, which have one of their own in a dump; the server warns of that.
as_one() {
	cat "$@" | sed 's/^\\connect .*//; s/^SET client_min_messages = .*/SET client_min_messages = error;/;
		s/^CREATE DATABASE .*//; s/^ALTER DATABASE .*//' |
		pg_run "$DATA" psql -X -q -v ON_ERROR_STOP=1 -1 -d copy >/dev/null
}
restore() {
	local at=$MNT/main/dumps/$1/latest
	fresh
	if [ -e "$at/dump.sql" ]; then
		as_one "$at/dump.sql"
	else
		pg_run "$DATA" pg_restore "${@:2}" -d copy "$at"/dump.[dpt]*
	fi
	plain copy | cmp - "$SCRATCH/first.sql" || fail "the copy of $1 is another database"
}
restore custom6 -j 4
restore pipe -L "$MNT/main/dumps/pipe/latest/toc.txt"
restore dir6 -j 4
# One transaction for each row is what takes longest when there are millions.
restore custominserts -1
for name in tar plain inserts; do
	restore "$name"
done
# The others are the same dumps in other clothes.
script() {
	"$PG_BIN/pg_restore" -f - "$1"/latest/dump.[dpt]* | grep -vE '^(\\(un)?restrict |-- )'
}
script "$MNT/main/dumps/custom6" >"$SCRATCH/script.sql"
for name in custom0 dir0 lz4custom tarzst "${newer[@]}"; do
	script "$MNT/main/dumps/$name" | cmp - "$SCRATCH/script.sql" || fail "$name is another dump"
done

# Parts of it.
part() {
	cmp <("$PG_BIN/pg_restore" -f - "$@" "$MNT"/main/dumps/custom6/latest/dump.pgdump | grep -vE '^\\(un)?restrict ') \
		<("$PG_BIN/pg_restore" -f - "$@" "$OUT/custom6" | grep -vE '^\\(un)?restrict ')
}
assert_ok part -t types -t big
assert_ok part -n 'odd/Schema. näme'
grep -E '^[0-9]+; .* (ENCODING|STDSTRINGS|SEARCHPATH|TYPE public mood|TABLE public empty|TABLE DATA public empty)' \
	"$MNT/main/dumps/custom6/latest/toc.txt" >"$SCRATCH/list"
assert_ok part -L "$SCRATCH/list"
fresh
pg_run "$DATA" pg_restore -t big -d copy "$MNT/main/dumps/dir6/latest/dump.dir"
assert_eq "$(pg_sql "$DATA" -d copy -c 'SELECT count(*) FROM big')" "${BIG_ROWS:-40000}" 'rows of one table'

# Files that need not change have not.
for name in plain inserts columns create; do
	assert_ok cmp "$OUT/$name" "$MNT/main/dumps/$name/latest/dump.sql"
done
assert_ok cmp "$OUT/plain" "$MNT/main/dumps/plaingz/latest/dump.sql"
assert_ok cmp "$OUT/plain" "$MNT/main/dumps/plainzst/latest/dump.sql"
assert_ok cmp "$OUT/tar" "$MNT/main/dumps/tar/latest/dump.tar"
assert_ok cmp "$OUT/tar" "$MNT/main/dumps/tarzst/latest/dump.tar"
assert_ok cmp "$OUT/all" "$MNT/main/dumps/pg_dumpall/$all_id/dump.sql"
assert_ok cmp "$OUT/globals" "$MNT/main/globals/$globals_id.sql"
assert_ok test -e "$MNT/main/dumps/src/$named_id/dump.pgdump"

# The same tables in all forms that have rows, with the server's own rows, and no table that is none.
pg_run "$DATA" psql -X -q -d src -c "\\copy big to '$SCRATCH/big.copy'"
for name in custom0 custom6 pipe dir0 dir6 tar plain create; do
	at=$MNT/main/dumps/$name/latest
	assert_eq "$(find "$at/tables" -type f | wc -l)" 7 "tables of $name"
	assert_ok cmp "$SCRATCH/big.copy" "$at/tables/public.big.copy"
	assert_ok test -s "$at/tables/odd%2FSchema%2E näme.ta%2Fble \"q\" %2541%2E.copy"
	assert_eq "$(stat -c %s "$at/tables/public.empty.copy")" 0 'size of an empty table'
	# Names are the same in all of them, and so are the bytes.
	assert_ok diff -r "$MNT/main/dumps/custom0/latest/tables" "$at/tables"
done
assert_ok cmp "$SCRATCH/big.copy" "$MNT/main/dumps/pg_dumpall/latest/tables/src/public.big.copy"
assert_eq "$(find "$MNT/main/dumps/custominserts/latest/tables" -name '*.sql' | wc -l)" 7 'tables with INSERT'
# Plain SQL has nothing for an empty table, and no empty lines behind the commands.
for name in inserts columns; do
	assert_eq "$(find "$MNT/main/dumps/$name/latest/tables" -type f | wc -l)" 6 "tables of $name"
	assert_fails 1 '' grep -q '^INSERT INTO' "$MNT/main/dumps/$name/latest/schema.sql"
done
for at in "$MNT"/main/dumps/inserts/latest/tables/*; do
	assert_ok cmp <(cat "$at" && printf '\n\n') "$MNT/main/dumps/custominserts/latest/tables/${at##*/}"
done
for name in custom0 dir6 tar; do
	at=$MNT/main/dumps/$name/latest
	assert_eq "$(cd "$at/blobs" && echo *)" '3000000000 70001 70002 70003' 'large objects'
	assert_eq "$(od -An -tx1 "$at/blobs/70001" | tr -d ' ')" 00010203ff 'a large object'
	assert_eq "$(stat -c %s "$at/blobs/70002"),$(stat -c %s "$at/blobs/70003")" 50000,0 'sizes of large objects'
	assert_ok diff <(pg_restore -l "$OUT/$name" | grep -v '^;') <(grep -v '^;' "$at/toc.txt")
done

# schema.sql makes what pg_dump -s shows; every table loaded with \copy compares equal. File names say the tables' names, and
# generated columns are in no dump.
pg_sql "$DATA" -d src -c "SELECT json_build_object('schema', nspname, 'table', relname, 'name', c.oid::regclass::text, 'columns',
	(SELECT string_agg(quote_ident(attname), ',' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = c.oid AND attnum > 0 AND attgenerated = ''))
	FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND relowner <> 0
	AND nspname !~ '^pg_' AND nspname <> 'information_schema'" >"$SCRATCH/tables.json"
only_rows() {
	pg_run "$DATA" pg_dump -aB "$1" | grep -vE '^\\(un)?restrict |setval|^-- '
}
only_rows src >"$SCRATCH/rows"
for name in custom6 plain; do
	at=$MNT/main/dumps/$name/latest
	fresh
	pg_run "$DATA" psql -X -q -v ON_ERROR_STOP=1 -d copy -f "$at/schema.sql" >/dev/null
	assert_ok diff <(pg_run "$DATA" pg_dump -s src | grep -vE '^\\(un)?restrict ') \
		<(pg_run "$DATA" pg_dump -s copy | grep -vE '^\\(un)?restrict ')
	python3 -c 'import json, os, sys, urllib.parse
tables = {(t["schema"], t["table"]): t for t in map(json.loads, sys.stdin)}
for dir, _, files in os.walk(sys.argv[1]):
    for f in files:
        whole = os.path.relpath(os.path.join(dir, f), sys.argv[1]).replace("./", ".")
        t = tables.pop(tuple(urllib.parse.unquote(p) for p in whole[:-len(".copy")].split(".", 1)))
        path = os.path.join(dir, f).replace("\x27", "\x27\x27")
        print("\\copy %s (%s) from \x27%s\x27" % (t["name"], t["columns"], path))
assert not tables, tables' "$at/tables" <"$SCRATCH/tables.json" >"$SCRATCH/load.sql"
	pg_run "$DATA" psql -X -q -v ON_ERROR_STOP=1 -d copy -f "$SCRATCH/load.sql"
	assert_ok cmp <(only_rows copy) "$SCRATCH/rows"
done

fresh
as_one "$MNT"/main/dumps/columns/latest/{schema.sql,tables/public.big.sql}
assert_ok cmp <(pg_run "$DATA" psql -X -d copy -c "COPY big TO stdout") "$SCRATCH/big.copy"

# The further forms together added less than the first one had: their data is the same chunks.
first=$("$PGSTRATA" list -r "$REPO" --json | python3 -c 'import json, sys
s = [x for x in json.load(sys.stdin)["snapshots"] if x["kind"] == "dump"]
s.sort(key=lambda x: x["created"] if "created" in x else x["id"])
by = {x["database"]: x["unique_bytes"] for x in s}
print(int(by["custom0"]), int(by["custom6"] + by["dir0"] + by["dir6"] + by["tar"] + by["pipe"] + by["plain"]))')
read -r one rest <<<"$first"
[ "$rest" -lt $((one / 10)) ] || fail "six more forms of the same data added $rest bytes to $one"

# Refused, and nothing is published.
count() {
	"$PGSTRATA" list -r "$REPO" --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["snapshots"]))'
}
before=$(count)
refused() {
	assert_fails 1 "$1" "$PGSTRATA" import dump -q -r "$REPO" "${@:2}"
}
for name in custom6 tar plain plaingz plainzst all; do
	head -c $(($(stat -c %s "$OUT/$name") / 2)) "$OUT/$name" >"$SCRATCH/cut"
	refused 'cut' --database x "$SCRATCH/cut"
done
cp -r "$OUT/dir6" "$SCRATCH/dirbad"
victim=$(find "$SCRATCH/dirbad" -name '*.dat.gz' | sort | tail -n 1)
rm "$victim"
refused "is not whole" "$SCRATCH/dirbad"
head -c 100 /dev/urandom >"$SCRATCH/noise"
refused 'is no dump' "$SCRATCH/noise"
refused 'say it with --database' "$OUT/plain"
refused 'give the directory' "$OUT/dir0/toc.dat"
refused 'holds no toc.dat' "$SCRATCH"

# A signal in the middle of a dump, whatever its format. Out of a pipe, so that it is in the middle for sure.
interrupted() {
	local pid status=0
	mkfifo "$SCRATCH/fifo"
	"$PGSTRATA" import dump -q -r "$REPO" --database x "$SCRATCH/fifo" 2>"$SCRATCH/stopped" &
	pid=$!
	exec {hold}>"$SCRATCH/fifo"
	head -c 1000000 "$OUT/$1" >&"$hold"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	exec {hold}>&-
	rm "$SCRATCH/fifo"
	assert_eq "$status" 1 "status after the signal in $1"
	assert_match "$(cat "$SCRATCH/stopped")" 'stopped: the dump is not kept' "what is said after the signal in $1"
}
for name in custom0 tar plain; do
	interrupted "$name"
done
assert_eq "$(count)" "$before" 'snapshots after what was refused'
assert_ok "$PGSTRATA" verify -q -r "$REPO"
