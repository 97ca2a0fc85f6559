#!/bin/bash
# Dumps taken of a running server: streamed, restored, taken again at the price of what changed; options for pg_dump, every
# database; what fails is not published, and nobody sees the password.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new dump-live
pkg_install_postgres
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
DATA=$SCRATCH/data
"$PGSTRATA" init -r "$REPO" >/dev/null
pg_init "$DATA"
pg_start "$DATA" fsync=off
pg_sql "$DATA" -c 'CREATE DATABASE bench' -c "CREATE DATABASE \"odd/ 'name\""
pg_run "$DATA" pgbench -i -q -s 5 bench 2>/dev/null
pg_sql "$DATA" -d "odd/ 'name" -c 'CREATE TABLE t AS SELECT 7 AS n'

dump() {
	PGHOST=${PG_SOCKET[$DATA]} PGPORT=${PG_PORT[$DATA]} PGUSER=postgres "$PGSTRATA" dump -q -r "$REPO" "$@"
}
count() {
	"$PGSTRATA" list -r "$REPO" --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["snapshots"]))'
}
field() {
	"$PGSTRATA" list -r "$REPO" --json | python3 -c 'import json, sys
print([x for x in json.load(sys.stdin)["snapshots"] if x["id"] == sys.argv[1]][0][sys.argv[2]])' "$1" "$2"
}

first=$(dump -d bench)
pg_run "$DATA" pgbench -n -t 500 bench >/dev/null 2>&1
sleep 1.1
second=$(dump -d "dbname=bench application_name='it\\'s'")
assert_eq "$(field "$second" parent)" "$first" 'the parent'
added=$(field "$second" stored_bytes)
[ $((added * 3)) -lt "$(field "$first" stored_bytes)" ] || fail "the second dump added $added bytes"
mount_start "$REPO" "$MNT"
assert_eq "$(wc -l <"$MNT/main/dumps/bench/latest/tables/public.pgbench_accounts.copy")" 500000 rows
pg_sql "$DATA" -c 'CREATE DATABASE copy'
pg_run "$DATA" pg_restore -j 2 -d copy "$MNT/main/dumps/bench/$second/dump.pgdump"
assert_ok cmp <(pg_run "$DATA" pg_dump bench | grep -vE '^\\(un)?restrict ') \
	<(pg_run "$DATA" pg_dump copy | grep -vE '^\\(un)?restrict ')

# What follows -- is pg_dump's.
some=$(dump -d bench -- -t pgbench_tellers --no-owner)
# The mount asks for what is new once a second.
sleep 1.1
assert_eq "$(ls "$MNT/main/dumps/bench/$some/tables")" public.pgbench_tellers.copy 'one table'
only=$(dump -d bench -- --schema-only)
sleep 1.1
assert_ok test -e "$MNT/main/dumps/bench/$only/schema.sql"
assert_ok test ! -e "$MNT/main/dumps/bench/$only/tables"

# Every database, and the globals.
dump --all -d postgres >/dev/null
sleep 1.1
assert_eq "$(ls "$MNT/main/dumps")" "bench
copy
odd%2F 'name
postgres
template1" databases
assert_eq "$(cat "$MNT/main/dumps/odd%2F 'name/latest/tables/public.t.copy")" 7 'a row'
assert_ok grep -q 'CREATE ROLE postgres' "$MNT"/main/globals/*.sql

# pg_dump's words reach the user, its status decides.
before=$(count)
assert_fails 1 'no matching tables.*failed with status 1' dump -d bench -- -t nothing_there
assert_fails 1 'does not exist' dump -d nothing_there
assert_fails 1 'cannot be given here' dump -d bench -- -Fp
cat >"$SCRATCH/late" <<'SH'
#!/bin/sh
[ "$1" != --version ] || exec pg_dump --version
pg_dump "$@" || exit
exit 3
SH
cat >"$SCRATCH/old" <<'SH'
#!/bin/sh
echo 'pg_dump (PostgreSQL) 9.6.24'
SH
cat >"$SCRATCH/spy" <<SH
#!/bin/sh
tr '\\0' ' ' <"/proc/\$\$/cmdline" >>"$SCRATCH/seen"
printenv PGPASSWORD >>"$SCRATCH/password" || true
exec pg_dump "\$@"
SH
chmod +x "$SCRATCH/late" "$SCRATCH/old" "$SCRATCH/spy"
# A whole archive, and a failure after it.
assert_fails 1 'late failed with status 3' dump -d bench --pg-dump "$SCRATCH/late"
assert_fails 1 'of version 9 and cannot dump the server' dump -d bench --pg-dump "$SCRATCH/old"
assert_fails 1 'cannot be run' dump -d bench --pg-dump "$SCRATCH/nowhere"
assert_eq "$(count)" "$before" 'snapshots after what failed'
# Held in the middle of its data: a signal, or the server's death, ends the dump; nothing is published, no pg_dump stays.
cat >"$SCRATCH/held" <<SH
#!/bin/bash
[ "\$1" != --version ] || exec pg_dump --version
set -o pipefail
trap 'exit 9' TERM
echo "\$\$" >"$SCRATCH/held.pid"
pg_dump "\$@" | { head -c 1000000; touch "$SCRATCH/midway"; while [ -e "$SCRATCH/hold" ]; do sleep 0.05; done; cat; }
SH
chmod +x "$SCRATCH/held"
hold() {
	rm -f "$SCRATCH/midway"
	touch "$SCRATCH/hold"
	PGHOST=${PG_SOCKET[$DATA]} PGPORT=${PG_PORT[$DATA]} PGUSER=postgres "$PGSTRATA" dump -q -r "$REPO" -d bench \
		--pg-dump "$SCRATCH/held" >/dev/null 2>"$SCRATCH/held.err" &
	HELD=$!
	for ((i = 0; i < 600; i++)); do
		[ ! -e "$SCRATCH/midway" ] || return 0
		sleep 0.1
	done
	fail "the held dump did not begin: $(cat "$SCRATCH/held.err")"
}
hold
kill -TERM "$HELD"
rm "$SCRATCH/hold"
status=0
wait "$HELD" || status=$?
assert_eq "$status" 1 'status after SIGTERM'
assert_match "$(cat "$SCRATCH/held.err")" 'stopped: the dump is not kept' 'what is said after SIGTERM'
[ ! -d "/proc/$(cat "$SCRATCH/held.pid")" ] || fail 'pg_dump was not waited for'
assert_eq "$(count)" "$before" 'snapshots after SIGTERM'
hold
as_postgres "$PG_BIN/pg_ctl" stop -w -s -m immediate -D "$DATA"
rm "$SCRATCH/hold"
status=0
wait "$HELD" || status=$?
assert_eq "$status" 1 'status after the death of the server'
assert_match "$(cat "$SCRATCH/held.err")" 'held failed with status 1' 'what is said after the death of the server'
assert_eq "$(count)" "$before" 'snapshots after the death of the server'
rm -rf "${PG_SOCKET[$DATA]}"
pg_start "$DATA" fsync=off
dump -d 'dbname=bench password=open-sesame' --pg-dump "$SCRATCH/spy" >/dev/null
assert_ok grep -q -- '-Fc' "$SCRATCH/seen"
! grep -q sesame "$SCRATCH/seen" || fail 'the password is in the arguments'
assert_ok grep -qx open-sesame "$SCRATCH/password"
assert_ok "$PGSTRATA" verify -q -r "$REPO"

# The cluster's name belongs to the first system that was dumped into it, as far as the server tells.
OTHER=$SCRATCH/other
pg_init "$OTHER"
pg_start "$OTHER" fsync=off
elsewhere() {
	PGHOST=${PG_SOCKET[$OTHER]} PGPORT=${PG_PORT[$OTHER]} PGUSER=$1 "$PGSTRATA" dump -q -r "$REPO" -d postgres "${@:2}"
}
before=$(count)
assert_fails 1 'choose another name for it with -c' elsewhere postgres
assert_eq "$(count)" "$before" 'snapshots after another system'
assert_ok elsewhere postgres -c other >/dev/null
pg_sql "$OTHER" -c 'CREATE ROLE simple LOGIN' -c 'REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC'
assert_ok elsewhere simple -c unbound >/dev/null
dump -d bench -c unbound >/dev/null
