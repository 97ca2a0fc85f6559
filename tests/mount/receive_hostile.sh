#!/bin/bash
# receive from a server that breaks the protocol: each time an error that says how, and nothing in the archive.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new hostile
pkg_install python3
REPO=$SCRATCH/repo
SENDER='' RECEIVER=''
"$PGSTRATA" init -r "$REPO" >/dev/null

sender_end() {
	[ -z "$SENDER" ] || kill "$SENDER" 2>/dev/null || true
	[ -z "$SENDER" ] || wait "$SENDER" 2>/dev/null || true
	SENDER=
}
receiver_end() {
	[ -z "$RECEIVER" ] || kill "$RECEIVER" 2>/dev/null || true
}
cleanup_push sender_end
cleanup_push receiver_end

# sender_start SCENARIO: a new one, on $SCRATCH/s.
sender_start() {
	sender_end
	rm -rf "$SCRATCH/s"
	mkdir "$SCRATCH/s"
	python3 "$LIB_ROOT/tests/pg_walsender.py" "$SCRATCH/s" "$1" &
	SENDER=$!
	for ((i = 0; i < 3000; i++)); do
		[ ! -S "$SCRATCH/s/.s.PGSQL.5432" ] || return 0
		sleep 0.02
	done
	fail 'the sender did not start'
}

# ends SCENARIO REGEX: receive ends with status 1 and says so.
ends() {
	sender_start "$1"
	assert_fails 1 "$2" timeout 20 "$PGSTRATA" receive -r "$REPO" -h "$SCRATCH/s" -U x
}

# goes_on SCENARIO REGEX: says so, and tries again until it is ended, which it obeys.
goes_on() {
	local status=0 text i
	sender_start "$1"
	# Here, for the process behind & may take its time, and what the last one said is still there.
	: >"$SCRATCH/said"
	"$PGSTRATA" receive -r "$REPO" -h "$SCRATCH/s" -U x --timeout 2 >"$SCRATCH/said" 2>&1 &
	RECEIVER=$!
	for ((i = 0; i < 600; i++)); do
		! grep -q 'trying again' "$SCRATCH/said" || break
		sleep 0.1
	done
	# As long again as the first back-offs take: what is said once is not said at each of them.
	sleep 1
	kill -TERM "$RECEIVER"
	wait "$RECEIVER" || status=$?
	RECEIVER=
	text=$(<"$SCRATCH/said")
	assert_eq "$status" 0 "$1: the status after SIGTERM; it said: $text"
	assert_match "$text" "$2" "$1"
	assert_eq "$(grep -c 'trying again' <<<"$text")" 1 "$1: times that it was said"
}

ends too-old 'is PostgreSQL 12\.22; pgstrata works with 13 to 18: upgrade'
ends too-new 'is PostgreSQL 19; .* a newer pgstrata'
ends no-system 'column 0 is "nobody"'
ends no-timeline 'column 1 is "-1x"'
ends no-position 'column 2 is "here"'
ends odd-size 'wal_segment_size: "3MB"'
ends huge-size 'wal_segment_size: "4096GB"'
ends no-size 'wal_segment_size: ""'
ends short-data 'a message of type 0x77 and 24 bytes'
ends short-keepalive 'a message of type 0x6b and 17 bytes'
ends unknown 'a message of type 0x78 and 41 bytes'
ends wrap 'a message of type 0x77'
ends end-of-words 'the timeline after this one is "two"'
ends end-of-one 'told in another form'
ends end-at-nothing '"nowhere"'
ends no-wal '0000000100000000000000(30|03)'
ends gap 'WAL at 0/3000065, where 0/3000064 follows'
ends removed 'is missing in the repository, and gone on the server'
goes_on starting 'does not take connections yet'
goes_on refused 'another receiver uses the slot'
goes_on silent 'has said nothing for 2 seconds'
[ ! -e "$REPO/wal" ] || assert_eq "$(find "$REPO/wal" -type f | wc -l)" 0 'archived files'
