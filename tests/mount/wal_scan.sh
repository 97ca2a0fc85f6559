#!/bin/bash
# The WAL of a real server, read by src/pg and by the server's own pg_waldump: every record's header, links and block
# references, and every event, must come out the same, on a server that did everything that makes events: commits and
# aborts, prepared ones, subtransactions, dropped and truncated tables, databases made and dropped, restore points,
# switches, a base backup, changed parameters, records of 10 MB, crashes, and a change of timeline.
#
# WAL_DUMP is the program to test where there is one already; it is built with sanitizers otherwise.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
pkg_install_postgres
scratch_new wal-scan
chmod 777 "$SCRATCH"

SEGMENT_SIZE=1048576 # many segments, so that many records reach over the end of one
DATA=$SCRATCH/data
export TZ=UTC

build() {
	if [ -z "${WAL_DUMP:-}" ]; then
		pkg_install gcc libc6-dev
		WAL_DUMP=$SCRATCH/wal_dump
		cc -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -g -O1 -fsanitize=address,undefined \
			-fno-sanitize-recover=all -I"$LIB_ROOT" -pthread -o "$WAL_DUMP" "$LIB_ROOT/tests/wal_dump.c" \
			"$LIB_ROOT"/src/pg/wal_*.c "$LIB_ROOT/src/pg/lsn.c" "$LIB_ROOT"/src/base/*.c
	fi
}

start() {
	pg_start "$1" wal_level=logical max_prepared_transactions=10 wal_keep_size=2GB max_wal_size=4GB \
		checkpoint_timeout=1h autovacuum=off track_commit_timestamp=on "${@:2}"
}

# crash DIR: no checkpoint, and whatever WAL was on its way stays as it is.
crash() {
	as_postgres "$PG_BIN/pg_ctl" stop -s -m immediate -D "$1"
	pg_stop "$1"
}

# Or later.
major_is_15() {
	[ "$(pg_sql "$DATA" -d postgres -c 'SHOW server_version_num')" -ge 150000 ]
}

# ---- what the server does ---------------------------------------------------------------------------------------

transactions() {
	pg_sql "$DATA" -d postgres <<-'SQL'
		CREATE TABLE t (i int PRIMARY KEY, x text);
		INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 3000) i;
		SELECT pg_create_restore_point('first point');
		BEGIN; INSERT INTO t VALUES (-1, 'aborted'); ROLLBACK;
		BEGIN; CREATE TABLE vain (i int); INSERT INTO vain VALUES (1); ROLLBACK;
		BEGIN; SAVEPOINT a; INSERT INTO t VALUES (-2, 'sub'); SAVEPOINT b; INSERT INTO t VALUES (-3, 'sub'); COMMIT;
		DO $$ BEGIN FOR k IN 1 .. 200 LOOP
			BEGIN INSERT INTO t VALUES (-1000 - k, 'many'); EXCEPTION WHEN OTHERS THEN NULL; END;
		END LOOP; END $$;
		BEGIN; INSERT INTO t VALUES (-4, 'p'); SAVEPOINT s; CREATE TABLE p (i int); PREPARE TRANSACTION 'kept: one';
		BEGIN; CREATE TABLE q (i int); INSERT INTO t VALUES (-5, 'p'); PREPARE TRANSACTION 'given up';
		COMMIT PREPARED 'kept: one';
		ROLLBACK PREPARED 'given up';
		CREATE TABLE u (i serial, x text);
		CREATE TABLE v (i int);
		INSERT INTO u (x) SELECT repeat('u', 500) FROM generate_series(1, 500);
		BEGIN; UPDATE t SET x = 'lock' WHERE i < 10; SELECT * FROM t WHERE i < 5 FOR UPDATE; COMMIT;
	SQL
	pg_sql "$DATA" -d postgres -c "TRUNCATE u, v RESTART IDENTITY CASCADE" -c "DROP TABLE u, v, p" \
		-c "DELETE FROM t WHERE i > 200 OR i < 0" -c "VACUUM (FREEZE, ANALYZE) t" -c "CREATE INDEX ON t (x)" \
		-c "ALTER TABLE t ALTER i TYPE bigint" -c "CLUSTER t USING t_pkey" >/dev/null
}

large_records() {
	local f
	for f in true false; do
		pg_sql "$DATA" -d postgres -c "SELECT pg_logical_emit_message($f, 'large', repeat('0123456789', 1048576))"
	done
	# Page images: all of them, whole, without their hole, and compressed.
	pg_sql "$DATA" -d postgres -c "CREATE TABLE w AS SELECT i, repeat(md5(i::text), 20) AS x FROM
			generate_series(1, 3000) i" -c "CREATE INDEX ON w (i)" -c CHECKPOINT \
		-c "UPDATE w SET i = -i WHERE i % 7 = 0" -c CHECKPOINT -c "SET wal_compression = on" \
		-c "UPDATE w SET i = -i WHERE i % 5 = 0" -c "VACUUM w" -c "SET wal_compression = off" \
		-c "SET wal_consistency_checking = 'all'" -c "UPDATE w SET i = -i WHERE i % 50 = 0"
	major_is_15 || return 0
	for f in lz4 zstd; do
		pg_sql "$DATA" -d postgres -c "SET wal_compression = $f" -c CHECKPOINT \
			-c "UPDATE w SET i = -i WHERE i % 5 = 0"
	done
}

databases() {
	pg_sql "$DATA" -d postgres -c "CREATE TABLESPACE space LOCATION '$SCRATCH/space'" -c "CREATE DATABASE one"
	if major_is_15; then
		pg_sql "$DATA" -d postgres -c "CREATE DATABASE two STRATEGY file_copy TABLESPACE space"
	else
		pg_sql "$DATA" -d postgres -c "CREATE DATABASE two TABLESPACE space"
	fi
	pg_sql "$DATA" -d two -c "CREATE TABLE there AS SELECT 1 AS i"
	pg_sql "$DATA" -d two -c "DROP TABLE there" -c "CREATE TABLE base (i int) TABLESPACE pg_default"
	pg_sql "$DATA" -d postgres -c "DROP DATABASE two" -c "DROP DATABASE one"
}

switches() {
	local k
	for k in 1 2 3; do
		pg_sql "$DATA" -d postgres -c "INSERT INTO t VALUES (-20 - $k, 'switch')" -c "SELECT pg_switch_wal()" \
			-c "SELECT pg_create_restore_point('after switch $k')" >/dev/null
	done
	# A switch whose record reaches over the end of a page: it has 24 bytes, and a page is filled by eights.
	for k in $(seq 0 22); do
		pg_sql "$DATA" -d postgres -c "SELECT pg_logical_emit_message(false, 'x', repeat('y', 8000 + $k * 8))" \
			-c "SELECT pg_switch_wal()" >/dev/null
	done
	as_postgres env PGHOST="${PG_SOCKET[$DATA]}" PGPORT="${PG_PORT[$DATA]}" PGUSER=postgres \
		"$PG_BIN/pg_basebackup" -D "$SCRATCH/backup" -T "$SCRATCH/space=$SCRATCH/space2" -X none -c fast --no-sync
}

# Killed in the middle of a large record, whose end is lost then.
crashes() {
	local k pid
	for k in 1 2 3; do
		pg_sql "$DATA" -d postgres -c "SELECT pg_logical_emit_message(false, 'lost', repeat('z', 1000000))
			FROM generate_series(1, 40)" >/dev/null 2>&1 &
		pid=$!
		sleep "0.0$((k * 3))"
		crash "$DATA"
		wait "$pid" || true
		start "$DATA" max_connections=$((50 + k))
		pg_sql "$DATA" -d postgres -c "INSERT INTO t VALUES (-30 - $k, 'after a crash')"
	done
}

# ---- the comparison ---------------------------------------------------------------------------------------------

# What pg_waldump says, in wal_dump's words: of descriptions, events' only, and of those, what all releases print.
plain_words() {
	awk '
	!/^rmgr: / { next }
	{
		at = index($0, ", desc: ")
		head = substr($0, 1, at + 7)
		text = substr($0, at + 8)
		blocks = ""
		if (match(text, /, blkref #[0-9]+: rel /)) {
			blocks = substr(text, RSTART)
			text = substr(text, 1, RSTART - 1)
		}
		split(head, word, /[ :]+/)
		split(text, name, " ")
		event = word[2] "/" name[1]
		if (event ~ /^Transaction\/(COMMIT|ABORT)(_PREPARED)?$/) {
			subxacts = 0
			if (match(text, /; subxacts: [0-9 ]+/)) {
				subxacts = split(substr(text, RSTART + 12, RLENGTH - 12), ids, " ")
				text = substr(text, 1, RSTART - 1) substr(text, RSTART + RLENGTH)
			}
			sub(/; (dropped stats|inval msgs|relcache init|sync|origin|apply_feedback).*/, "", text)
			gsub(/\/PG_[0-9_]+\//, "/PG/", text)
			if (subxacts)
				text = text "; subxacts: " subxacts
		} else if (event == "Transaction/PREPARE") {
			sub(/ UTC.*/, " UTC", text)
		} else if (event ~ /^XLOG\/CHECKPOINT_(ONLINE|SHUTDOWN)$/) {
			sub(/; oid .*/, "", text)
			sub(/; wal_level [a-z]+/, "", text)
		} else if (event == "XLOG/END_OF_RECOVERY") {
			sub(/; wal_level.*/, "", text)
		} else if (event ~ /^Database\/(CREATE|DROP)/) {
			sub(/^CREATE_(FILE_COPY|WAL_LOG)/, "CREATE", text)
		} else if (event == "Heap/TRUNCATE") {
			gsub(/[][,:]/, "", text) # of which 13 to 16 have none
			sub(/flags /, "", text)
			text = "TRUNCATE" tolower(substr(text, 9))
		} else if (event !~ /^(XLOG\/(RESTORE_POINT|BACKUP_END|PARAMETER_CHANGE|SWITCH)|Storage\/TRUNCATE)$/) {
			text = "-"
		}
		sub(/ +$/, "", text)
		print head text blocks
	}'
}

# segment_lsn NAME: where it starts.
segment_lsn() {
	printf '%X/%X' "0x${1:8:8}" $((0x${1:16:8} * SEGMENT_SIZE))
}

segments() {
	find "$1/pg_wal" -maxdepth 1 -type f -name '????????????????????????' -printf '%f\n' | sort
}

# compare DIR TIMELINE [START]: both programs on DIR/pg_wal, from the first record on START or in the oldest segment.
compare() {
	local dir=$1/pg_wal tli=$2 start theirs=$SCRATCH/theirs ours=$SCRATCH/ours
	start=${3:-$(segment_lsn "$(segments "$1" | sed -n 1p)")}
	# It ends with an error where the WAL does.
	"$PG_BIN/pg_waldump" -p "$dir" -t "$tli" -s "$start" >"$SCRATCH/raw" 2>"$SCRATCH/raw.err" || true
	plain_words <"$SCRATCH/raw" >"$theirs"
	"$WAL_DUMP" "$dir" "$tli" "$SEGMENT_SIZE" "find:$start" >"$ours.all" || fail "wal_dump failed"
	grep '^rmgr: ' "$ours.all" | sed 's/ *$//' >"$ours"
	if ! cmp -s "$theirs" "$ours"; then
		diff "$theirs" "$ours" | head -n 20 >&2
		cat "$SCRATCH/raw.err" >&2
		fail "pg_waldump and wal_dump differ on $dir, timeline $tli"
	fi
	note "$dir, timeline $tli: $(wc -l <"$ours") records are the same; $(tail -n 1 "$ours.all")"
}

# The summaries of all segments of the last comparison count the same records and events, and end where it did.
compare_summaries() {
	local dir=$1/pg_wal tli=$2 start=${3:-$(segment_lsn "$(segments "$1" | sed -n 1p)")} sums kind n
	sums=$("$WAL_DUMP" "$dir" "$tli" "$SEGMENT_SIZE" "sum:$start") || fail "summaries of $dir"
	assert_match "$sums" "^records $(wc -l <"$SCRATCH/ours") " "records in summaries"
	for kind in COMMIT COMMIT_PREPARED ABORT ABORT_PREPARED PREPARE CHECKPOINT_ONLINE CHECKPOINT_SHUTDOWN \
		RESTORE_POINT BACKUP_END SWITCH DROP; do
		n=$(grep -c "desc: $kind\( \|\$\)" "$SCRATCH/ours") || true
		assert_match "$sums" " $kind $n " "$kind in summaries"
	done
	assert_eq "${sums##* }" "$(tail -n 1 "$SCRATCH/ours.all" | sed 's/.* at //; s/ .*//')" "end of the last summary"
}

# How many switches' records have their last 8 or 16 of 24 bytes on the page after.
switches_over_pages() {
	grep 'desc: SWITCH' "$SCRATCH/ours" | sed 's/.*lsn: [0-9A-F]*\/\([0-9A-F]*\),.*/\1/' | while read -r lsn; do
		[ $((0x$lsn % 8192)) -le 8168 ] || echo "$lsn"
	done | wc -l
}

# seen WORD…: so many kinds of events were in the last comparison.
seen() {
	local word
	for word in "$@"; do
		grep -q "desc: $word" "$SCRATCH/ours" || fail "no $word among the events"
	done
}

# From every segment's start on, the same records again: those that start in the segment or later. A server writes
# nothing by itself now, so that both see the same.
compare_from_segments() {
	local dir=$1/pg_wal name lsn got n=0
	for name in $(segments "$1"); do
		n=$((n + 1))
		[ $((n % 12)) = 0 ] || continue
		lsn=$(segment_lsn "$name")
		"$WAL_DUMP" "$dir" "$((0x${name:0:8}))" "$SEGMENT_SIZE" "find:$lsn" >"$SCRATCH/found" || fail "from $lsn"
		got=$(grep -c '^rmgr: ' "$SCRATCH/found") || true
		grep '^rmgr: ' "$SCRATCH/found" | sed 's/ *$//' >"$SCRATCH/found.records"
		tail -n "$got" "$SCRATCH/ours" | cmp -s - "$SCRATCH/found.records" || fail "from $lsn: other records"
	done
	note "$n segments"
}

build
install -d -m 700 -o postgres -g postgres "$SCRATCH/space"
pg_init "$DATA" --wal-segsize=1 --data-checksums
start "$DATA"
transactions >/dev/null
large_records >/dev/null
databases
switches
pg_stop "$DATA"
compare "$DATA" 1
seen COMMIT ABORT PREPARE COMMIT_PREPARED ABORT_PREPARED CHECKPOINT_SHUTDOWN CHECKPOINT_ONLINE RESTORE_POINT BACKUP_END \
	SWITCH PARAMETER_CHANGE 'CREATE copy' 'DROP dir' 'TRUNCATE base' 'TRUNCATE restart_seqs\|TRUNCATE cascade' \
	'-, blkref.* FPW for WAL verification'
[ "$(switches_over_pages)" -gt 0 ] || fail "no switch reaches over the end of a page"
compare_from_segments "$DATA"
compare_summaries "$DATA" 1

start "$DATA"
crashes
pg_stop "$DATA"
compare "$DATA" 1
compare_summaries "$DATA" 1
note "$(grep -c OVERWRITE_CONTRECORD "$SCRATCH/raw" || true) records lost in crashes"

# A second timeline.
cp -a "$DATA" "$SCRATCH/second"
rm -rf "$SCRATCH/second/pg_tblspc"/*
touch "$SCRATCH/second/standby.signal"
chown postgres: "$SCRATCH/second/standby.signal"
start "$SCRATCH/second" hot_standby=on
as_postgres "$PG_BIN/pg_ctl" promote -s -w -D "$SCRATCH/second"
pg_sql "$SCRATCH/second" -d postgres -c "INSERT INTO t VALUES (-100, 'second timeline')" \
	-c "SELECT pg_create_restore_point('on the second')" >/dev/null
pg_stop "$SCRATCH/second"
switched=$(awk '{ print $2 }' "$SCRATCH/second/pg_wal/00000002.history")
hi=${switched%/*} lo=${switched#*/}
switched=$(printf '%s/%X' "$hi" $((0x$lo / SEGMENT_SIZE * SEGMENT_SIZE)))
compare "$SCRATCH/second" 2 "$switched"
compare_summaries "$SCRATCH/second" 2 "$switched"
seen 'END_OF_RECOVERY tli 2; prev tli 1' 'CHECKPOINT_[A-Z]* redo [0-9A-F/]*; tli 2' RESTORE_POINT
