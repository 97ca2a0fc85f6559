#!/bin/bash
# archive-push --async as the archive_command of a server that is behind, on a repository that fills up and that is
# read-only for a while; what it remembers is never believed against the facts; killed at random moments it loses nothing
# that it acknowledged.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new archive-async
pkg_install_postgres
DATA=$SCRATCH/data
WAL=$DATA/pg_wal
CACHE=$SCRATCH/pgcache
SMALL=$SCRATCH/small
REPO=$SMALL/repo

mkdir "$SMALL"
mount -t tmpfs -o size=6m pgstrata-test "$SMALL"
cleanup_push umount "$SMALL"
"$PGSTRATA" init -r "$REPO" >/dev/null
chown -R postgres: "$SMALL"
install -d -o postgres "$CACHE"

# The archiver's command, which can be switched off.
cat >"$SCRATCH/archive" <<END
#!/bin/sh
[ -e "$SCRATCH/on" ] || exit 1
exec "$PGSTRATA" archive-push -v --async -r "$REPO" --cache-dir "$CACHE" "\$1"
END
chmod 755 "$SCRATCH/archive"

pg_init "$DATA" --wal-segsize=1
pg_start "$DATA" archive_mode=on "archive_command=$SCRATCH/archive %p" wal_keep_size=1GB max_wal_size=1GB
log=${PG_SOCKET[$DATA]}/log

# more N: at least N segments of WAL that compresses to no less than half.
more() {
	pg_sql "$DATA" -c 'CREATE TABLE IF NOT EXISTS t (x text)' -c "ALTER TABLE t ALTER x SET STORAGE EXTERNAL" \
		-c "INSERT INTO t SELECT string_agg(md5(random()::text), '') FROM generate_series(1, $1 * 100) n,
			generate_series(1, 330) GROUP BY n" -c 'SELECT pg_switch_wal()' >/dev/null
}

waiting() {
	find "$WAL/archive_status" -name '*.ready' | wc -l
}

# caught_up: waits until the archiver has nothing to do.
caught_up() {
	local i
	for ((i = 0; i < 600; i++)); do
		[ "$(waiting)" != 0 ] || return 0
		sleep 0.1
	done
	tail -n 5 "$log" >&2
	fail "the archiver did not catch up: $(waiting) wait"
}

# says REGEX: waits until a line that was logged after $mark matches.
mark=0
says() {
	local i
	for ((i = 0; i < 600; i++)); do
		! tail -n "+$((mark + 1))" "$log" | grep -qE "$1" || return 0
		sleep 0.1
	done
	fail "the server's log does not say /$1/: $(tail -n 3 "$log")"
}

# A backlog that is larger than the repository's disk: the log says so in one line an attempt, and all is archived when
# there is room.
more 24
assert_ok test "$(waiting)" -ge 20
touch "$SCRATCH/on"
says '^pgstrata: error: .*No space left on device'
tail -n "+$((mark + 1))" "$log" | grep '^pgstrata: error' | grep -vE 'No space left on device$' &&
	fail 'another error than the full disk'
mount -o remount,size=200m "$SMALL"
caught_up
# Most calls found their segment archived already, by one before them.
assert_ok test "$(grep -c 'was archived before, with the same content' "$log")" -ge 10
assert_eq "$(find "$CACHE" -path '*/pushed/*' -type f | wc -l)" 0 'notes that are left'

# Read-only: the same.
mark=$(wc -l <"$log")
mount -o remount,ro "$SMALL"
more 2
says '^pgstrata: error: .*Read-only file system'
mount -o remount,rw "$SMALL"
caught_up

# all_back DIR: all segments in DIR that were archived come back as they are.
all_back() {
	local path
	for path in "$@"; do
		assert_ok "$PGSTRATA" archive-get -r "$REPO" "${path##*/}" "$SCRATCH/got"
		assert_ok cmp "$path" "$SCRATCH/got"
	done
}
mapfile -t done_ < <(find "$WAL/archive_status" -name '0*.done' -printf '%f\n' | sed 's/\.done$//' | sort)
assert_ok test "${#done_[@]}" -ge 22
all_back "${done_[@]/#/$WAL/}"

# ---- what it remembers -------------------------------------------------------------------------------------------

pg_stop "$DATA"
fake=$SCRATCH/fake
REPO=$SCRATCH/repo2
export PGSTRATA_CACHE_DIR=$SCRATCH/cache2
"$PGSTRATA" init -r "$REPO" >/dev/null
mkdir -p "$fake/archive_status"
mapfile -t names < <(printf '%s\n' "${done_[@]}" | grep -x '[0-9A-F]*' | head -n 12)
for name in "${names[@]}"; do
	cp "$WAL/$name" "$fake/"
	: >"$fake/archive_status/$name.ready"
done
push() {
	"$PGSTRATA" archive-push -v --async -r "$REPO" "$fake/$1"
}
archived() {
	find "$REPO/wal" -type f | wc -l
}
push "${names[0]}"
assert_eq "$(archived)" 8 'archived by one call'
assert_match "$(push "${names[1]}" 2>&1)" 'was archived before'
assert_eq "$(archived)" 8 'archived by two'
# Its own segment's note is gone; then the bytes are compared.
assert_match "$(push "${names[1]}" 2>&1)" 'was archived before'
# Another content than was archived.
printf 'x' | dd of="$fake/${names[2]}" bs=1 seek=500000 conv=notrunc status=none
assert_fails 1 'with other content' push "${names[2]}"
# The same, but the note is not that file's.
cp "$WAL/${names[3]}" "$fake/${names[3]}"
assert_match "$(push "${names[3]}" 2>&1)" 'was archived before'
# The archive lost it.
find "$REPO/wal" -name "${names[4]}" -delete
push "${names[4]}"
all_back "$fake/${names[4]}"
# A note that is damaged.
note=$(find "$PGSTRATA_CACHE_DIR" -path "*/pushed/main/${names[5]}")
assert_ok test -s "$note"
printf 'x' | dd of="$note" bs=1 seek=20 conv=notrunc status=none
assert_match "$(push "${names[5]}" 2>&1)" 'was archived before'
# One of those ahead is bad: the call for it says so, not the one before it.
head -c 1000 "$WAL/${names[10]}" >"$fake/${names[10]}"
push "${names[8]}"
assert_ok "$PGSTRATA" archive-get -r "$REPO" "${names[11]}" "$SCRATCH/got"
assert_fails 1 "${names[10]} is not archived" push "${names[10]}"
# Nowhere to remember anything: all the same.
rm -rf "$REPO"
"$PGSTRATA" init -r "$REPO" >/dev/null
cp "$WAL/${names[2]}" "$fake/"
for name in "${names[@]:0:9}"; do
	PGSTRATA_CACHE_DIR=/proc/none push "$name"
done
nine=("${names[@]:0:9}")
all_back "${nine[@]/#/$fake/}"
rm -rf "$fake" "$REPO"

# ---- killed at random moments, under load ------------------------------------------------------------------------

rm -rf "$DATA"
pg_init "$DATA" --wal-segsize=4
pg_start "$DATA" archive_mode=on archive_command=false wal_keep_size=4GB max_wal_size=4GB
pg_run "$DATA" pgbench -q -i -s 5 postgres 2>/dev/null
pg_run "$DATA" pgbench -n -c 2 -T 600 postgres >/dev/null 2>&1 &
load=$!
cleanup_push kill "$load"
"$PGSTRATA" init -r "$REPO" >/dev/null
: >"$SCRATCH/acknowledged"
kills=0 acknowledged=0
RANDOM=${SEED:-$$}
note "SEED=${SEED:-$$}"
# How long a push may live, in ms: it grows until some are done before they are killed, however slow the machine is.
long=400
while [ "$kills" -lt 50 ] || [ "$acknowledged" -lt 3 ]; do
	next=$(find "$WAL/archive_status" -name '0*.ready' -printf '%f\n' | sort | sed -n 1p)
	if [ -z "$next" ]; then
		pg_sql "$DATA" -c 'SELECT pg_switch_wal()' >/dev/null
		continue
	fi
	next=${next%.ready}
	"$PGSTRATA" archive-push --async -r "$REPO" "$WAL/$next" &
	pid=$!
	# Half of them early, half of them when some or all of what is ready is through.
	sleep "$(awk -v ms=$((RANDOM % (RANDOM % 3 ? 40 : long))) 'BEGIN { print ms / 1000 }')"
	kill -KILL "$pid" 2>/dev/null || true
	status=0
	wait "$pid" 2>/dev/null || status=$?
	[ "$status" != 137 ] || kills=$((kills + 1)) long=$((long + 20))
	if [ "$status" = 0 ]; then
		mv "$WAL/archive_status/$next.ready" "$WAL/archive_status/$next.done"
		printf '%s\n' "$WAL/$next" >>"$SCRATCH/acknowledged"
		acknowledged=$((acknowledged + 1))
	fi
done
kill "$load"
wait "$load" 2>/dev/null || true
# No file of WAL is there in half, acknowledged or not, and the next run takes what is missing.
mapfile -t there < "$SCRATCH/acknowledged"
all_back "${there[@]}"
assert_ok "$PGSTRATA" verify -q -r "$REPO"
for ready in "$WAL"/archive_status/0*.ready; do
	name=$(basename "$ready" .ready)
	assert_ok "$PGSTRATA" archive-push --async -r "$REPO" "$WAL/$name"
	all_back "$WAL/$name"
done
assert_ok "$PGSTRATA" verify -q -r "$REPO"
note "$acknowledged acknowledged, $kills killed"
