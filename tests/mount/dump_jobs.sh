#!/bin/bash
# A dump taken by several pg_dump processes (dump -j): one archive like that of one process, of one moment; what any of them
# fails at is not published; locks that somebody waits for do not make it wait for ever; signals end all of them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new dump-jobs
pkg_install_postgres
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
OUT=$SCRATCH/out
mkdir -m 777 "$OUT"
"$PGSTRATA" init -r "$REPO" >/dev/null
pg_init "$DATA"
pg_start "$DATA" fsync=off
export PGHOST=${PG_SOCKET[$DATA]} PGPORT=${PG_PORT[$DATA]} PGUSER=postgres
pg_sql "$DATA" -c 'CREATE DATABASE copy TEMPLATE template0' -c 'CREATE ROLE reader'
pg_sql "$DATA" <<'SQL'
CREATE SCHEMA "odd s""c.h";
CREATE TABLE "odd s""c.h"."t ""a.$*[x]%" (i int PRIMARY KEY, m text);
INSERT INTO "odd s""c.h"."t ""a.$*[x]%" SELECT i, md5(i::text) FROM generate_series(1, 30000) i;
CREATE TABLE child (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, i int REFERENCES "odd s""c.h"."t ""a.$*[x]%", m text);
INSERT INTO child (i, m) SELECT i, md5(i::text) FROM generate_series(1, 25000) i;
CREATE TABLE part (k int, m text) PARTITION BY RANGE (k);
CREATE TABLE part_a PARTITION OF part FOR VALUES FROM (0) TO (20000);
CREATE TABLE part_b PARTITION OF part DEFAULT;
INSERT INTO part SELECT i, md5(i::text) FROM generate_series(1, 40000) i;
CREATE UNLOGGED TABLE passing AS SELECT i, md5(i::text) AS m FROM generate_series(1, 20000) i;
CREATE TABLE secret AS SELECT i, md5(i::text) AS m FROM generate_series(1, 20000) i;
CREATE TABLE small AS SELECT 1 AS one;
GRANT USAGE ON SCHEMA "odd s""c.h" TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public, "odd s""c.h" TO reader;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader;
REVOKE ALL ON secret FROM reader;
SELECT lo_from_bytea(70002, convert_to(repeat('blob text ', 5000), 'UTF8'));
GRANT SELECT ON LARGE OBJECT 70002 TO reader;
ANALYZE;
SQL

# A pg_dump that does as $SCRATCH/mode says. Those beside the first one are told --data-only.
cat >"$SCRATCH/pg_dump" <<SH
#!/bin/bash
[ "\$1" != --version ] || exec $PG_BIN/pg_dump --version
mode=\$(cat "$SCRATCH/mode")
case " \$* " in *" --data-only "*) who=other ;; *) who=first ;; esac
echo "\$\$ \$who" >>"$SCRATCH/started"
case \$mode-\$who in
insert-other) $PG_BIN/psql -X -q -d postgres -c "INSERT INTO child (i, m) VALUES (1, 'late')" ;;
lock-other)
	for arg; do
		case \$arg in --table=*) table=\${arg#--table=} ;; esac
	done
	$PG_BIN/psql -X -q -d postgres -c "BEGIN; LOCK TABLE \$table; COMMIT" >/dev/null &
	until $PG_BIN/psql -X -q -A -t -d postgres -c "SELECT 'waits' FROM pg_locks
		WHERE NOT granted AND relation = '\$table'::regclass" | grep -q waits; do
		sleep 0.05
	done
	;;
esac
case \$mode-\$who in
late_first-first | late_other-other) $PG_BIN/pg_dump "\$@"; exit 3 ;;
hold-other) exec sleep 1000 ;;
esac
exec $PG_BIN/pg_dump "\$@"
SH
chmod +x "$SCRATCH/pg_dump"
mode() {
	echo "$1" >"$SCRATCH/mode"
	: >"$SCRATCH/started"
}
dump() {
	"$PGSTRATA" dump -q -r "$REPO" -d postgres --pg-dump "$SCRATCH/pg_dump" "$@"
}
out() {
	"$PGSTRATA" restore -q -r "$REPO" "$1" "$OUT/$2"
}
contents() {
	"$PG_BIN/pg_restore" -l "$1" | grep -v '^;' | cut -d ' ' -f 2-
}
count() {
	"$PGSTRATA" list -r "$REPO" --json | jq '.snapshots | length'
}

# One archive, with entries and data in the order that one process gives them.
mode plain
one=$(dump)
assert_eq "$(wc -l <"$SCRATCH/started")" 1 'processes without -j'
mode insert
three=$(dump -j 3)
assert_eq "$(sort -k 2 "$SCRATCH/started" | cut -d ' ' -f 2 | paste -sd ' ')" 'first other other' 'processes with -j 3'
out "$one" one
out "$three" three
assert_ok diff <(contents "$OUT/one") <(contents "$OUT/three")
# What was inserted after the first process began is in no table, whoever read it; sequences belong to no transaction.
assert_eq "$("$PGSTRATA" diff -q -r "$REPO" "$one" "$three" | grep -v '^~ sequence public.child_id_seq  data$')" '' \
	'what three processes dumped'
pg_sql "$DATA" -c "DELETE FROM child WHERE m = 'late'"
"$PG_BIN/pg_dump" postgres | grep -vE '^\\(un)?restrict ' >"$SCRATCH/first.sql"
"$PG_BIN/pg_restore" -j 2 -d copy "$OUT/three"
assert_ok diff <("$PG_BIN/pg_dump" copy | grep -vE '^\\(un)?restrict |setval') <(grep -v setval "$SCRATCH/first.sql")
# Forward only, as out of a pipe.
pg_sql "$DATA" -c 'DROP DATABASE copy' -c 'CREATE DATABASE copy TEMPLATE template0'
"$PG_BIN/pg_restore" -d copy <"$OUT/three"
assert_ok diff <("$PG_BIN/pg_dump" copy | grep -vE '^\\(un)?restrict |setval') <(grep -v setval "$SCRATCH/first.sql")

# What the user selects stays selected, and how data is written holds for all processes.
same() {
	local alone shared
	mode plain
	alone=$(dump -- "$@")
	shared=$(dump -j 3 -- "$@")
	out "$alone" alone
	out "$shared" shared
	assert_ok diff <(contents "$OUT/alone") <(contents "$OUT/shared")
	assert_ok cmp <("$PG_BIN/pg_restore" -f - "$OUT/alone" | grep -vE '^\\(un)?restrict |^-- ') \
		<("$PG_BIN/pg_restore" -f - "$OUT/shared" | grep -vE '^\\(un)?restrict |^-- ')
	rm "$OUT/alone" "$OUT/shared"
}
same --exclude-table-data='public.ch*' --no-unlogged-table-data -T 'part*'
same -t part_a -t child --inserts --rows-per-insert 100 -b
same --role reader -T secret -E LATIN1 --load-via-partition-root -O
# Where the other processes could not know which tables, one does all.
same -at child
same --section=data
same --serializable-deferrable -n public

# A dump is whole or not there.
before=$(count)
mode late_other
assert_fails 1 'failed with status 3' dump -j 3
mode late_first
assert_fails 1 'failed with status 3' dump -j 3
mode plain
assert_fails 1 'permission denied for table secret' dump -j 3 -- --role=reader
for extra in -Fd -aj4 --for=p '-h localhost' -Uother --compress=0 '-f x'; do
	# shellcheck disable=SC2086
	assert_fails 1 'cannot be given here' dump -j 2 -- $extra
done
# Who waits for an exclusive lock is let through in the end, and the dump is given up rather than half a table taken.
mode lock
assert_fails 1 'LOCK TABLE.*failed with status 1' dump -j 3 -- --lock-wait-timeout=2s
assert_eq "$(count)" "$before" 'snapshots after what failed'

# A signal ends every process.
mode hold
"$PGSTRATA" dump -q -r "$REPO" -d postgres --pg-dump "$SCRATCH/pg_dump" -j 3 2>"$SCRATCH/held.err" &
held=$!
for ((i = 0; i < 600; i++)); do
	[ "$(wc -l <"$SCRATCH/started")" -lt 3 ] || break
	sleep 0.1
done
kill -TERM "$held"
status=0
wait "$held" || status=$?
assert_eq "$status" 1 'status after SIGTERM'
assert_match "$(cat "$SCRATCH/held.err")" 'stopped: the dump is not kept' 'what is said after SIGTERM'
while read -r pid _; do
	[ ! -d "/proc/$pid" ] || fail "pg_dump $pid is still there"
done <"$SCRATCH/started"
assert_eq "$(wc -l <"$SCRATCH/started")" 3 'processes that were ended'
assert_eq "$(count)" "$before" 'snapshots after SIGTERM'
assert_ok "$PGSTRATA" verify -q -r "$REPO"
