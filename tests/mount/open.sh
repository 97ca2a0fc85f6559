#!/bin/bash
# open, close, branches: a server on a branch of a moment, before and after a table was dropped; by name, time, transaction, and
# of the backup itself; writable, read-only, durable, without a server; the rescue of the table in one line; crashes, resuming,
# and errors. Nothing is left after any of it, and nothing outside of a branch is written.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new open
pkg_install_postgres
export PGSTRATA_CACHE_DIR=$SCRATCH/cache PGSTRATA_REPO=$SCRATCH/repo
BRANCHES=$SCRATCH/cache-branches
DATA=$SCRATCH/data
"$PGSTRATA" init >/dev/null
chown -R postgres: "$PGSTRATA_REPO"
install -d -o postgres "$PGSTRATA_CACHE_DIR"

# Whatever happens to this script: servers and mounts of branches go.
close_all() {
	local name
	for name in $(field name 2>/dev/null); do
		"$PGSTRATA" close "$name" || true
	done
	for name in "$BRANCHES"/*/.mount-*; do
		mount_is_dead "$name" && umount -l "$name"
	done
	return 0
}
cleanup_push close_all

# field KEY [NAME]: of each branch that is listed, or of that one.
field() {
	"$PGSTRATA" branches --json | python3 -c '
import json, sys
for b in json.load(sys.stdin)["branches"]:
    if len(sys.argv) < 3 or b["name"] == sys.argv[2]:
        print(b[sys.argv[1]])' "$@"
}

# sql CONNINFO COMMAND…
sql() {
	local conn=$1 command
	local -a args=()
	shift
	for command in "$@"; do
		args+=(-c "$command")
	done
	"$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$conn" "${args[@]}"
}

# No process, no mount, no branch.
nothing_left() {
	local left
	assert_eq "$(field name)" '' "branches after $1"
	! grep -F "$BRANCHES" /proc/self/mounts || fail "a mount is left after $1"
	for left in /proc/[0-9]*; do
		! tr '\0' ' ' 2>/dev/null <"$left/cmdline" | grep -qF "$BRANCHES" ||
			fail "process ${left#/proc/} is left after $1: $(tr '\0' ' ' <"$left/cmdline")"
	done
	assert_eq "$(find "$BRANCHES" -mindepth 3 2>/dev/null)" '' "files after $1"
}

# ---- a server, its backup, its WAL --------------------------------------------------------------------------------------

pg_init "$DATA"
mkdir "$SCRATCH/conf.d"
printf "include_if_exists '/etc/pgstrata-none.conf'\ninclude_dir '%s'\n" "$SCRATCH/conf.d" >>"$DATA/postgresql.conf"
pg_start "$DATA" archive_mode=on \
	"archive_command=$PGSTRATA archive-push -r $PGSTRATA_REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
pg_sql "$DATA" -c "ALTER SYSTEM SET session_preload_libraries = 'no_such_library'" \
	-c 'CREATE TABLE orders (n int PRIMARY KEY, what text)' \
	-c "INSERT INTO orders SELECT g, 'order ' || g FROM generate_series(1, 1000) g"
mkdir -m 777 "$SCRATCH/b"
pg_run "$DATA" pg_basebackup -D "$SCRATCH/b/base" -c fast -X fetch
backup=$("$PGSTRATA" import base "$SCRATCH/b/base")
xid=$(pg_sql "$DATA" -c "INSERT INTO orders VALUES (1001, 'the last') RETURNING pg_current_xact_id()")
pg_sql "$DATA" -c 'INSERT INTO orders VALUES (1002)' -c "SELECT pg_create_restore_point('before')" >/dev/null
# The target's time lies between two commits that differ in it.
moment=$(pg_sql "$DATA" -c 'SELECT clock_timestamp()')
# Another commit first: one that stops right before the DROP would find the table locked by it.
pg_sql "$DATA" -c 'CREATE TABLE other (n int)' -c 'DROP TABLE orders'
pg_archived "$DATA"

# ---- moments ------------------------------------------------------------------------------------------------------------

count='SELECT count(*), pg_is_in_recovery() FROM orders'
conn=$("$PGSTRATA" open --target name-before 2>"$SCRATCH/said")
assert_match "$(cat "$SCRATCH/said")" 'include_dir .* is left out' 'warnings'
assert_match "$(cat "$SCRATCH/said")" 'session_preload_libraries: without no_such_library' 'warnings'
assert_eq "$(sql "$conn" "$count")" '1002|f' 'rows at the restore point'
sql "$conn" 'DELETE FROM orders WHERE n > 10' 'CREATE TABLE mine AS SELECT 1' 'VACUUM'
assert_eq "$(sql "$conn" "$count")" '10|f' 'rows after a change'
assert_eq "$(field state)" running 'state'
assert_eq "$(sql "$conn" 'SHOW archive_mode' 'SHOW listen_addresses' 'SHOW fsync' | xargs)" 'off off' 'settings'

# A second one beside it, of another moment.
other=$("$PGSTRATA" open -q --target "xid-$xid" --name second --durable)
assert_eq "$(sql "$other" "$count" 'SHOW fsync' | xargs)" '1001|f on' 'rows at the transaction'
assert_fails 1 'there is a branch "second"' "$PGSTRATA" open --target latest --name second
assert_ok "$PGSTRATA" close second
assert_eq "$(sql "$conn" "$count")" '10|f' 'rows of the first one, when the second one is closed'

assert_fails 1 'its server runs' "$PGSTRATA" open -q --resume name-before

# Killed, and started again: what was committed is there. What the killed one left, and would go on writing, goes.
sql "$conn" 'DO $$BEGIN LOOP PERFORM 1; END LOOP; END$$' >/dev/null 2>&1 &
busy=$!
backend=
for ((i = 0; i < 1200; i++)); do
	backend=$(sql "$conn" "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO%'")
	[ -z "$backend" ] || break
	sleep 0.05
done
sql "$conn" 'DELETE FROM orders WHERE n > 9'
pid=$(sql "$conn" "SELECT pg_backend_pid()" >/dev/null && head -n 1 "$(field mount)/main/open/name-before/data/postmaster.pid")
kill -KILL "$pid"
for ((i = 0; i < 1200; i++)); do
	[ "$(field state)" != crashed ] || break
	sleep 0.05
done
assert_eq "$(field state)" crashed 'state of a server that was killed'
assert_ok test -e "/proc/$backend/cwd"
conn=$("$PGSTRATA" open -q --resume name-before)
[ ! -e "/proc/$backend/cwd" ] || fail "process $backend of the killed server is left"
! wait "$busy" || fail "what ran on the killed server succeeds"
assert_eq "$(sql "$conn" "$count")" '9|f' 'rows after a crash'
# Stopped, and started again.
assert_ok "$PGSTRATA" close --keep name-before
assert_eq "$(field state)" closed 'state of one that is kept'
conn=$("$PGSTRATA" open -q --resume name-before)
assert_eq "$(sql "$conn" "$count")" '9|f' 'rows after a stop'
assert_ok "$PGSTRATA" close name-before
nothing_left 'close'

assert_eq "$("$PGSTRATA" open -t "$moment" --read-only -q -e "psql -XAtc '$count'")" '1002|t' 'rows at the time'
# Its WAL is links, which go where the server may write, and is not written to the branch.
conn=$("$PGSTRATA" open --read-only -q -n linked)
wal=$(field mount)/main/open/linked/data/pg_wal
[ -n "$(find "$wal" -type l -name '0*')" ] || fail "no link in $wal: $(ls -l "$wal")"
assert_ok test "$(field bytes linked)" -lt 4000000
assert_fails 1 'Read-only file system' python3 -c '
import os, sys
os.write(os.open(sys.argv[1], os.O_RDWR), b"x")' "$(find "$wal" -type l -name '0*' | head -n 1)"
assert_ok "$PGSTRATA" close linked
# A backup that has its own WAL ends with it, on its own timeline, and gets no segment.
conn=$("$PGSTRATA" open -b "$backup" -q -n own)
assert_eq "$(sql "$conn" "$count" 'SELECT timeline_id FROM pg_control_checkpoint()' | xargs)" '1000|f 1' 'rows of the backup'
assert_ok test "$(field bytes own)" -lt 4000000
sql "$conn" 'DELETE FROM orders WHERE n > 10'
assert_ok "$PGSTRATA" close --keep own
conn=$("$PGSTRATA" open -q --resume own)
assert_eq "$(sql "$conn" "$count")" '10|f' 'rows of the backup after a change'
assert_ok "$PGSTRATA" close own
status=0
got=$("$PGSTRATA" open -b "$backup" -q -e "psql -XAtc '$count'; exit 7") || status=$?
assert_eq "$got $status" '1000|f 7' 'rows of the backup, and the status of the command'
assert_eq "$("$PGSTRATA" open --read-only -q -e "psql -XAtc 'SELECT * FROM other' -c 'SELECT pg_is_in_recovery()'")" t latest
nothing_left '--exec'

# ---- the table comes back -----------------------------------------------------------------------------------------------

"$PGSTRATA" open -t name-before -q -e 'pg_dump -t orders' | pg_sql "$DATA" >/dev/null
assert_eq "$(pg_sql "$DATA" -c "$count")" '1002|f' 'rows that came back'
nothing_left 'the rescue'

# ---- without a server ---------------------------------------------------------------------------------------------------

tree=$("$PGSTRATA" open -q --no-start -n files --max-size 64M)
assert_ok test -e "$tree/data/recovery.signal"
assert_match "$(tail -n 20 "$tree/data/postgresql.auto.conf")" "archive_mode = 'off'" 'what somebody else starts'
assert_eq "$(stat -c %U "$tree/data")" postgres 'owner of a branch of a copy that root made'
assert_eq "$(field state)" 'no server' 'state'
assert_ok "$PGSTRATA" close files
nothing_left '--no-start'

# ---- errors -------------------------------------------------------------------------------------------------------------

assert_fails 1 'after the end|is not archived|no commit' "$PGSTRATA" open --target 2099-01-01T00:00:00Z
assert_fails 1 'before' "$PGSTRATA" open --target 2001-01-01T00:00:00Z
assert_fails 2 'exclude each other' "$PGSTRATA" open --target latest --backup latest
assert_fails 1 'cannot be run' "$PGSTRATA" open --bindir "$SCRATCH"
assert_fails 1 'no branch "none"' "$PGSTRATA" close none
assert_fails 1 'no branch "none"' "$PGSTRATA" open --resume none
assert_fails 1 'role "nobody-here"' "$PGSTRATA" open -q -U nobody-here
nothing_left 'errors'

# Somebody has the port.
mkfifo "$SCRATCH/port"
python3 -c '
import socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1], flush=True)
sys.stdin.read()' <"$SCRATCH/port" >"$SCRATCH/number" &
holder=$!
exec 9>"$SCRATCH/port"
for ((i = 0; i < 1200; i++)); do
	[ ! -s "$SCRATCH/number" ] || break
	sleep 0.05
done
assert_fails 1 'is taken: choose another one' "$PGSTRATA" open -q --port "$(cat "$SCRATCH/number")"
exec 9>&-
wait "$holder"
# Free again; the server takes nobody there without a password.
conn=$("$PGSTRATA" open -q -n orphan --port "$(cat "$SCRATCH/number")")
assert_fails 2 'password|authentication' "$PG_BIN/psql" -w -h 127.0.0.1 -p "$(cat "$SCRATCH/number")" -U postgres -c ''

# The mount dies under a running server: what is left can be closed.
kill -KILL "$(mount_pid "$(field mount)")"
for ((i = 0; i < 1200; i++)); do
	[ "$(field state)" = running ] || break
	sleep 0.05
done
assert_match "$(field state)" 'mount died|crashed' 'state without a mount'
assert_ok "$PGSTRATA" close orphan
nothing_left 'a mount that died'

# A server of another version, and one that never gets ready and is waited for until a signal comes.
mkdir "$SCRATCH/bin"
printf '#!/bin/sh\n[ "$1" != --version ] || { echo "postgres (PostgreSQL) 14.1"; exit; }\n' >"$SCRATCH/bin/postgres"
chmod 755 "$SCRATCH/bin/postgres"
assert_fails 1 'is of version 14, and the backup of version 15' "$PGSTRATA" open --bindir "$SCRATCH/bin"
sed -i "s/14.1/15.1/; \$a echo here >&2; exec sleep 1000" "$SCRATCH/bin/postgres"
for signal in INT TERM; do
	# A background process of a script ignores SIGINT unless it is told not to.
	(trap - INT && exec "$PGSTRATA" open -q -n slow --bindir "$SCRATCH/bin") 2>"$SCRATCH/said" &
	opening=$!
	for ((i = 0; i < 1200; i++)); do
		! grep -qs here "$BRANCHES"/*/main/slow/server/log || break
		sleep 0.05
	done
	assert_match "$(field state)" 'running|opening' 'state while it opens'
	kill -s "$signal" "$opening"
	! wait "$opening" || fail "open that was ended with SIG$signal succeeds"
	nothing_left "SIG$signal"
done

# A signal while the command runs ends all that it started.
"$PGSTRATA" open -q -t name-before -n slow -e "touch $SCRATCH/runs; sleep 1000 | cat" </dev/null >/dev/null 2>&1 &
opening=$!
for ((i = 0; i < 1200; i++)); do
	[ ! -e "$SCRATCH/runs" ] || break
	sleep 0.05
done
kill -TERM "$opening"
status=0
wait "$opening" || status=$?
assert_eq "$status" 143 'status after SIGTERM'
nothing_left 'SIGTERM while a command runs'

# What the server says when it cannot recover.
mkdir "$SCRATCH/lies"
printf '#!/bin/sh\necho "2026-01-01 00:00:00.000 UTC [1] FATAL:  it is broken" >&2\n' >"$SCRATCH/lies/postgres"
sed -i '2i [ "$1" != --version ] || { echo "postgres (PostgreSQL) 15.1"; exit; }' "$SCRATCH/lies/postgres"
chmod 755 "$SCRATCH/lies/postgres"
assert_fails 1 "it is broken.*log is at the end of $BRANCHES" "$PGSTRATA" open -q --bindir "$SCRATCH/lies"
nothing_left 'a server that ends'

# ---- nothing outside is written -----------------------------------------------------------------------------------------

# Replay of CREATE TABLESPACE would empty the directory that it names, which is the running server's.
install -d -o postgres "$SCRATCH/space"
pg_sql "$DATA" -c "CREATE TABLESPACE space LOCATION '$SCRATCH/space'" -c 'CREATE TABLE kept TABLESPACE space AS SELECT 1 AS n' \
	-c "SELECT pg_create_restore_point('space')" -c 'CHECKPOINT' >/dev/null
pg_archived "$DATA"
find "$SCRATCH/space" | sort >"$SCRATCH/was"
"$PGSTRATA" open -q -t name-space -e 'psql -XAtc "SELECT n FROM kept"' >"$SCRATCH/got" 2>&1 || true
find "$SCRATCH/space" | sort >"$SCRATCH/is"
assert_ok cmp "$SCRATCH/was" "$SCRATCH/is"
assert_eq "$(pg_sql "$DATA" -c 'SELECT n FROM kept')" 1 'a row in the tablespace'
assert_match "$(cat "$SCRATCH/got")" 'cannot be replayed on a branch' 'why it cannot be replayed here'
nothing_left 'a tablespace'
