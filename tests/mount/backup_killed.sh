#!/bin/bash
# backup killed with SIGKILL at 50 random moments under load: no snapshot of a killed one, none that is broken, nothing
# left at the server, and the next run succeeds.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new backup-killed
# shellcheck source-path=SCRIPTDIR source=../backup_lib.sh
. "$LIB_ROOT/tests/backup_lib.sh"
repo_new
MNT=$SCRATCH/mnt
SEED=${SEED:-$RANDOM}
note "SEED=$SEED"
RANDOM=$SEED
ROUNDS=${ROUNDS:-50}

server_new src 1 '' max_wal_senders=20
SRC=$SCRATCH/src
connect "$SRC"
load_start "$SRC" 120 1

# How long one takes decides among which moments is chosen.
start=$(date +%s%N)
backup_take "$SRC"
took=$((($(date +%s%N) - start) / 1000000))
done_ids=$ID
killed=0
for ((i = 0; i < ROUNDS; i++)); do
	"$PGSTRATA" backup -q -r "$REPO" "${CONNECT[@]}" >"$SCRATCH/out" 2>/dev/null &
	pid=$!
	sleep "$(printf '0.%03d' $((RANDOM % (took < 900 ? took : 900))))"
	kill -KILL "$pid" 2>/dev/null || true
	if wait "$pid" 2>/dev/null; then
		done_ids+=" $(cat "$SCRATCH/out")"
	else
		killed=$((killed + 1))
		# Killed between publishing and printing is published, too; nothing else is.
		[ ! -s "$SCRATCH/out" ] || done_ids+=" $(cat "$SCRATCH/out")"
	fi
done
assert_ok test "$killed" -ge $((ROUNDS / 3))
backup_take "$SRC"
done_ids+=" $ID"
load_stop "$LOAD"

# Each snapshot in the list can be read to its last byte and is what its manifest says.
mount_start "$REPO" "$MNT"
n=0
for dir in "$MNT"/main/backups/2*; do
	assert_ok "$PG_BIN/pg_verifybackup" -q "$dir/data"
	n=$((n + 1))
done
for id in $done_ids; do
	assert_ok test -d "$MNT/main/backups/$id"
done
# What was published and not told can only be what was killed in its very last moment.
assert_ok test "$n" -le $(($(wc -w <<<"$done_ids") + 2))
assert_eq "$(find "$REPO" -name '*.tmp*' | wc -l)" 0 'temporary files in the repository'
for ((i = 0; i < 600; i++)); do
	left=$(pg_sql "$SRC" -c 'SELECT count(*) FROM pg_replication_slots')
	[ "$left" != 0 ] || break
	sleep 0.1
done
assert_eq "$left" 0 'slots that were left'
copy_start "$MNT/main/backups/$ID" copy
assert_balanced "$SCRATCH/copy/data"
