#!/bin/bash
# What can end a backup: each is one clear error with status 1, publishes nothing, leaves no byte in the repository and
# no slot at the server, and the next run succeeds.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new backup-errors
# shellcheck source-path=SCRIPTDIR source=../backup_lib.sh
. "$LIB_ROOT/tests/backup_lib.sh"
pkg_install python3
repo_new

server_new src 1 --data-checksums
SRC=$SCRATCH/src
pg_sql "$SRC" -c "CREATE TABLE marked AS SELECT 'pristine-content ' || i AS t FROM generate_series(1, 500) i" \
	-c 'CREATE ROLE plain LOGIN' -c CHECKPOINT
connect "$SRC"

repo_state() {
	find "$REPO" -type f -printf '%P %s\n' | sort
}
BEFORE=$(repo_state)

# refused REGEX [OPTION…]: the backup fails with that text, and all is as it was.
refused() {
	local regex=$1
	shift
	assert_fails 1 "$regex" timeout 60 "$PGSTRATA" backup -r "$REPO" "$@"
	unchanged "$regex"
}

unchanged() {
	assert_eq "$(count_snapshots)" 0 "snapshots after: $1"
	assert_eq "$(repo_state)" "$BEFORE" "repository after: $1"
}

# slow_start [OPTION…]: a backup that takes a while, in the background as SLOW, when its first bytes have come.
slow_start() {
	local i
	# The one before may not be over for the server.
	for ((i = 0; i < 1200; i++)); do
		[ "$(pg_sql "$SRC" -c 'SELECT count(*) FROM pg_stat_replication')" != 0 ] || break
		sleep 0.05
	done
	"$PGSTRATA" backup -r "$REPO" "${CONNECT[@]}" --max-rate 2M "$@" >"$SCRATCH/slow.out" 2>"$SCRATCH/slow.err" &
	SLOW=$!
	cleanup_push load_stop "$SLOW"
	for ((i = 0; i < 1200; i++)); do
		[ "$(pg_sql "$SRC" -c "SELECT count(*) FROM pg_stat_progress_basebackup p, pg_stat_replication r
			WHERE backup_streamed > 500000 AND r.state = 'streaming'")" != 1 ] || return 0
		sleep 0.05
	done
	fail "the backup does not begin: $(cat "$SCRATCH/slow.err")"
}

# slow_fails REGEX: it ended with status 1 and that text.
slow_fails() {
	local got=0
	wait "$SLOW" || got=$?
	assert_eq "$got" 1 "status of a backup with: $(cat "$SCRATCH/slow.err")"
	assert_match "$(cat "$SCRATCH/slow.err")" "$1" 'its words'
	assert_eq "$(cat "$SCRATCH/slow.out")" '' 'its output'
	unchanged "$1"
}

sender() {
	pg_sql "$SRC" -c "SELECT pid FROM pg_stat_replication WHERE state = '$1'"
}

wait_server() {
	local i
	for ((i = 0; i < 600; i++)); do
		pg_sql "$SRC" -c 'SELECT 1' >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	fail "the server does not come back"
}

# Whom it cannot talk to, and why.
refused 'No such file|refused|not running' -h "$SCRATCH" -p 1
refused 'REPLICATION' -h "${PG_SOCKET[$SRC]}" -p "${PG_PORT[$SRC]}" -U plain
mkdir "$SCRATCH/proxy"
proxy_start() {
	local i
	rm -f "$SCRATCH/proxy/.s.PGSQL.5432" "$SCRATCH/proxy/out"
	python3 "$LIB_ROOT/tests/pg_proxy.py" "$SCRATCH/proxy/.s.PGSQL.5432" "$@" >"$SCRATCH/proxy/out" &
	PROXY=$!
	cleanup_push load_stop "$PROXY"
	for ((i = 0; i < 1200; i++)); do
		grep -q ready "$SCRATCH/proxy/out" 2>/dev/null && return 0
		sleep 0.05
	done
	fail "the proxy does not listen"
}
SERVER=${PG_SOCKET[$SRC]}/.s.PGSQL.${PG_PORT[$SRC]}
THROUGH=(-h "$SCRATCH/proxy" -p 5432 -U postgres)
proxy_start old
refused 'PostgreSQL 12|server is 12|13' "${THROUGH[@]}"
load_stop "$PROXY"

# Bytes that change on their way, in a file, in the manifest; a line that is cut; one on which nothing comes any more.
proxy_start "$SERVER" replace pristine-content tampered-content
refused 'not what its manifest says, 1 file differs: base/[0-9]+/[0-9]+ has another checksum' "${THROUGH[@]}"
load_stop "$PROXY"
proxy_start "$SERVER" replace '"Path": "PG_VERSION"' '"Path": "PG_VERSIOX"'
refused 'manifest does not have the checksum that its last line says' "${THROUGH[@]}"
load_stop "$PROXY"
proxy_start "$SERVER" cut 3000000
refused 'closed|lost|connection' "${THROUGH[@]}"
load_stop "$PROXY"
proxy_start "$SERVER" hold 3000000
refused '2 (s|seconds)' "${THROUGH[@]}" --timeout 2
load_stop "$PROXY"

# The server's processes: one is killed, which restarts all; one hangs; the server stops.
slow_start
kill -KILL "$(sender backup)"
slow_fails 'server|connection'
wait_server
slow_start
kill -KILL "$(sender streaming)"
slow_fails 'server|connection'
wait_server
slow_start --timeout 2
hung=$(sender backup)
kill -STOP "$hung"
slow_fails '2 (s|seconds)'
kill -CONT "$hung"
slow_start
as_postgres "$PG_BIN/pg_ctl" stop -w -s -m immediate -D "$SRC"
slow_fails 'server|connection'
pg_start "$SRC"
connect "$SRC"
slow_start
pg_stop "$SRC"
# In the middle of a message the server cannot say why (postgres.c, ProcessInterrupts; pqcomm.c).
slow_fails 'terminating connection due to administrator command|shutting down|server closed the connection'

# Signals.
pg_start "$SRC"
connect "$SRC"
for signal in INT TERM HUP; do
	slow_start
	kill -"$signal" "$SLOW"
	slow_fails 'interrupted: nothing was published'
done
for ((i = 0; i < 600; i++)); do
	left=$(pg_sql "$SRC" -c 'SELECT count(*) FROM pg_stat_replication' -c 'SELECT count(*) FROM pg_replication_slots')
	[ "$left" != $'0\n0' ] || break
	sleep 0.1
done
assert_eq "$left" $'0\n0' 'senders and slots that were left'
pg_stop "$SRC"

# Too few senders, too few slots.
pg_start "$SRC" max_wal_senders=1
connect "$SRC"
refused 'max_wal_senders' "${CONNECT[@]}"
pg_stop "$SRC"
pg_start "$SRC" max_replication_slots=0
connect "$SRC"
refused 'max_replication_slots' "${CONNECT[@]}"
pg_stop "$SRC"

# A page that is damaged where it lies: refused, unless asked not to look.
pg_start "$SRC"
connect "$SRC"
file=$SRC/$(pg_sql "$SRC" -c "SELECT pg_relation_filepath('marked')")
pg_stop "$SRC"
printf x | dd of="$file" bs=1 seek=4000 conv=notrunc status=none
pg_start "$SRC"
connect "$SRC"
refused 'checksum' "${CONNECT[@]}"

# A repository that is full.
mkdir "$SCRATCH/little"
mount -t tmpfs -o size=1M none "$SCRATCH/little"
cleanup_push umount "$SCRATCH/little"
"$PGSTRATA" init -r "$SCRATCH/little/repo" >/dev/null
assert_fails 1 'No space left' "$PGSTRATA" backup -r "$SCRATCH/little/repo" "${CONNECT[@]}" --no-verify-checksums
assert_eq "$("$PGSTRATA" list -r "$SCRATCH/little/repo" | grep -cw base || true)" 0 'snapshots in the full one'

# What nobody can mean.
for wrong in '--checkpoint slow' '--max-rate 1K' '--max-rate 2G' '--timeout 0' '-j 2000'; do
	# shellcheck disable=SC2086
	assert_fails 2 'must be' "$PGSTRATA" backup -r "$REPO" $wrong
done

# And then one succeeds; another system's backup is not taken under the same name.
backup_take "$SRC" --no-verify-checksums
assert_eq "$(count_snapshots)" 1 snapshots

# verify finds the page there; the manifest says what the server sent, damage and all.
assert_ok "$PGSTRATA" verify -r "$REPO" --manifest >"$SCRATCH/verify"
assert_match "$(cat "$SCRATCH/verify")" '1 of 1 base backups compared with their manifests, 0 files differ'
status=0
"$PGSTRATA" verify -r "$REPO" --pages >"$SCRATCH/verify" || status=$?
assert_eq "$status" 1 'verify --pages of a damaged page'
assert_match "$(cat "$SCRATCH/verify")" "damaged pages: main/base/$ID: data/${file#"$SRC/"}, blocks 0 to 0, bytes 0 to 8191: checksum"
assert_match "$(cat "$SCRATCH/verify")" ' pages read, 1 damaged'
status=0
"$PGSTRATA" verify -r "$REPO" --pages --manifest --json >"$SCRATCH/verify" || status=$?
assert_eq "$status" 1 'the same as JSON'
assert_eq "$(python3 -c 'import json,sys; r = json.load(sys.stdin); p = r["bad_pages"]; print(r["sound"], len(p), p[0]["id"],
	p[0]["path"], p[0]["from"], p[0]["to"], r["differing"], r["pages"] > 1000)' <"$SCRATCH/verify")" \
	"False 1 $ID data/${file#"$SRC/"} 0 8192 [] True" 'the report'
assert_fails 2 'quick reads no contents' "$PGSTRATA" verify -r "$REPO" --quick --pages

server_new other 1 ''
connect "$SCRATCH/other"
assert_fails 1 'choose another name for it with -c' "$PGSTRATA" backup -r "$REPO" "${CONNECT[@]}"
backup_take "$SCRATCH/other" -c other
assert_eq "$(count_snapshots)" 2 snapshots
