#!/bin/bash
# An import that is killed at a random moment leaves the whole snapshot or none; what was there before stays, and the
# next import works.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new import-killed
# shellcheck source-path=SCRIPTDIR source=../import_lib.sh
. "$LIB_ROOT/tests/import_lib.sh"
server_new
repo_new

take_backup first
take_in first
pg_sql "$SRC" -c "UPDATE here SET t = md5(t)" -c CHECKPOINT
WANT=$(answers "$SRC")
take_backup second
pg_stop "$SRC"

start=$(date +%s%N)
"$PGSTRATA" import base -q -r "$REPO" -c timing "$SCRATCH/second" >/dev/null
took=$((($(date +%s%N) - start) / 1000000))

count() {
	"$PGSTRATA" list -r "$REPO" -c "$1" --json | grep -c '"id"' || true
}

killed=0
for round in $(seq 20); do
	RANDOM=$round
	had=$(count killed)
	"$PGSTRATA" import base -q -r "$REPO" -c killed "$SCRATCH/second" >"$SCRATCH/out.id" 2>/dev/null &
	pid=$!
	ms=$((RANDOM % (took + 20)))
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
	kill -KILL "$pid" 2>/dev/null || true
	if wait "$pid" 2>/dev/null; then
		[ -s "$SCRATCH/out.id" ] || fail "round $round: done without an id"
	else
		killed=$((killed + 1))
	fi
	now=$(count killed)
	[ "$now" = "$had" ] || [ "$now" = $((had + 1)) ] || fail "round $round: $had snapshots became $now"
	if [ -s "$SCRATCH/out.id" ] && [ "$now" != $((had + 1)) ]; then
		fail "round $round: an id was printed, but the snapshot is not there"
	fi
done
[ "$killed" -gt 0 ] || fail 'no import was killed'
note "$killed of 20 imports were killed"

take_in killed "$SCRATCH/second"
for which in first killed; do
	"$PGSTRATA" restore -q -r "$REPO" -c "$which" latest "$SCRATCH/out"
	[ "$which" = killed ] && source=second || source=first
	diff=$(rsync -aHAXnc --delete --itemize-changes --exclude=/pg_tblspc/* "$SCRATCH/$source/" "$SCRATCH/out/")
	assert_eq "$diff" '' "restored $which"
	rm -rf "$SCRATCH/keep"
	mv "$SCRATCH/out" "$SCRATCH/keep"
	[ "$which" = first ] && rm -rf "$SCRATCH/out.tablespaces"
done
# Its tablespace's link names where it was restored to.
mv "$SCRATCH/keep" "$SCRATCH/out"
check_server "$SCRATCH/out"
