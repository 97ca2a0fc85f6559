#!/bin/bash
# Two processes of every pair of verbs at once, also of a verb with itself, on one repository: each verb ends well, what is
# kept stays readable and right all the time, and the repository is sound after each pair.
#
# SEED: of what is random; printed. PAIR_SECONDS: how long each pair runs (default 1; tools/soak gives it a minute).
# PAIR_COUNT: so many pairs, drawn by SEED (default 22; 0: all). PAIR_ONLY: those whose name, verb+verb, matches.
# PAIR_SHARE: 2/3: the second third of them.
# PAIR_SERVER: not empty: also the verbs that need a running server: backup, receive, dump, target, open (tools/soak).
#
# Left out, as they open no repository: umount (the verb mount has it), help. What is done by another one's name: list is also
# reading through a mount that lasts; open has branches and close.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new pairs
# shellcheck source-path=SCRIPTDIR source=../small_lib.sh
. "$LIB_ROOT/tests/small_lib.sh"
pkg_install fuse3
PAIR_SECONDS=${PAIR_SECONDS:-1}
SEED=${SEED:-$RANDOM}
note "SEED=$SEED"
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
DUMP_OUT=$SCRATCH/dump.sql

# small_dump ROW: a plain dump of two tables; one differs by ROW.
small_dump() {
	printf '%s\n' '--' '-- PostgreSQL database dump' '--' '' '-- Dumped from database version 15.20' \
		'-- Dumped by pg_dump version 15.20' '' 'SET client_encoding = '\''UTF8'\'';' ''
	printf '%s\n' '--' '-- Name: same; Type: TABLE; Schema: public; Owner: postgres' '--' '' \
		'CREATE TABLE public.same (' '    a integer' ');' ''
	printf '%s\n' '--' '-- Name: rows; Type: TABLE; Schema: public; Owner: postgres' '--' '' \
		'CREATE TABLE public.rows (' '    a integer,' '    b text' ');' ''
	printf '%s\n' '--' '-- Data for Name: same; Type: TABLE DATA; Schema: public; Owner: postgres' '--' '' \
		'COPY public.same (a) FROM stdin;' 1 2 '\.' '' ''
	printf '%s\n' '--' '-- Data for Name: rows; Type: TABLE DATA; Schema: public; Owner: postgres' '--' '' \
		'COPY public.rows (a, b) FROM stdin;'
	seq 20000 | sed "s/\$/\trow of the table/; $(($1 % 20000 + 1))s/\$/ $1/"
	printf '%s\n' '\.' '' '' '--' '-- PostgreSQL database dump complete' '--' ''
}

small_backup kept 600
for i in $(seq 2 15); do
	small_segment "$i"
done
"$PGSTRATA" init -r "$REPO" >/dev/null
KEPT=$("$PGSTRATA" import base -q -r "$REPO" --tag keep "$SCRATCH/kept")
"$PGSTRATA" archive-push -q -r "$REPO" "$SCRATCH/wal/000000010000000000000002"
small_dump 1 >"$DUMP_OUT"
KEPT_DUMP=$("$PGSTRATA" import dump -q -r "$REPO" --tag keep --database db "$DUMP_OUT")
small_dump 2 >"$SCRATCH/other.sql"
OTHER_DUMP=$("$PGSTRATA" import dump -q -r "$REPO" --tag keep --database db "$SCRATCH/other.sql")
mount_start "$REPO" "$MNT"
# Those that the pair under way has mounted itself, when it breaks off.
mounts_end() {
	mount_stop "$MNT.1" && mount_stop "$MNT.2"
}
cleanup_push mounts_end
mkdir "$MNT.1" "$MNT.2"
verbs=(init import import_dump import_wal push get verify prune repair read mount list show diff status branches restore)
if [ -n "${PAIR_SERVER:-}" ]; then
	verbs+=(backup receive dump target open)
	pkg_install_postgres
	DATA=$SCRATCH/data
	pg_init "$DATA" --wal-segsize=1
	pg_start "$DATA" max_wal_senders=20 max_replication_slots=20
	CONNECT=(-h "${PG_SOCKET[$DATA]}" -p "${PG_PORT[$DATA]}" -U postgres)
	pg_sql "$DATA" -c 'CREATE TABLE t AS SELECT i, md5(i::text) AS m FROM generate_series(1, 20000) i'
	ROWS="SELECT count(*), min(m), max(m) FROM t WHERE i <= 20000"
	WANT=$(pg_sql "$DATA" -c "$ROWS")
	OPENED=$("$PGSTRATA" backup -q -r "$REPO" -c opened "${CONNECT[@]}" --tag keep)
	branches_end() {
		local side
		for side in 1 2; do
			"$PGSTRATA" close -q -r "$REPO" -c opened "pair$side" 2>/dev/null || true
		done
	}
	cleanup_push branches_end
fi

# Each does its verb once; SIDE tells two at once apart.
do_init() {
	! "$PGSTRATA" init -r "$REPO" >/dev/null 2>"$SCRATCH/init.$SIDE" && grep -q 'is a repository already' "$SCRATCH/init.$SIDE"
}

do_import() {
	local dir=$SCRATCH/import.$SIDE
	[ -d "$dir" ] || cp -a "$SCRATCH/kept" "$dir"
	# Deltas, and something that later dies.
	printf '%s' "$RANDOM$RANDOM" | dd of="$dir/base/1/1000" bs=1 seek=$((RANDOM * 8)) conv=notrunc status=none
	head -c 200000 /dev/urandom >"$dir/base/1/1002"
	"$PGSTRATA" import base -q -r "$REPO" "$dir" >/dev/null
}

do_import_dump() {
	small_dump "$RANDOM" >"$SCRATCH/import.$SIDE.sql"
	"$PGSTRATA" import dump -q -r "$REPO" --database db "$SCRATCH/import.$SIDE.sql" >/dev/null
}

do_import_wal() {
	"$PGSTRATA" import wal -q -r "$REPO" "$SCRATCH/wal" >/dev/null
}

# segment VARIABLE: one's name. Not by substitution: a subshell's RANDOM knows no seed.
segment() {
	printf -v "$1" '00000001000000000000%04X' $((2 + RANDOM % 14))
}

do_push() {
	local name
	segment name
	"$PGSTRATA" archive-push -q -r "$REPO" "$SCRATCH/wal/$name"
}

# 1: nobody has pushed it yet, or prune had no reason to keep it.
do_get() {
	local name status=0
	segment name
	"$PGSTRATA" archive-get -q -r "$REPO" "$name" "$SCRATCH/got.$SIDE" || status=$?
	[ "$status" = 1 ] || { [ "$status" = 0 ] && cmp "$SCRATCH/got.$SIDE" "$SCRATCH/wal/$name"; }
}

# Nothing archives what the server writes between two backups, so WAL may have gaps.
do_verify() {
	"$PGSTRATA" verify -q -r "$REPO" >"$SCRATCH/verify.$SIDE" || grep '^Sound, but the WAL has' "$SCRATCH/verify.$SIDE" ||
		{ cat "$SCRATCH/verify.$SIDE"; return 1; }
}

# Of two at once, one may have to give way, and says so.
do_prune() {
	"$PGSTRATA" prune -q -r "$REPO" --keep-last 2 --keep-tag keep >/dev/null 2>"$SCRATCH/prune.$SIDE" ||
		grep -q 'another prune is at work' "$SCRATCH/prune.$SIDE" || { cat "$SCRATCH/prune.$SIDE"; return 1; }
}

# Nothing is damaged, so it must find nothing.
do_repair() {
	"$PGSTRATA" repair -q -r "$REPO" >"$SCRATCH/repair.$SIDE" 2>&1 || grep -q 'a prune is at work' "$SCRATCH/repair.$SIDE" ||
		{ cat "$SCRATCH/repair.$SIDE"; return 1; }
}

# right MNT: what is kept is there as it was.
right() {
	diff -r "$SCRATCH/kept" "$1/main/backups/$KEPT/data" && cmp "$DUMP_OUT" "$1/main/dumps/db/$KEPT_DUMP/dump.sql"
}

do_read() {
	right "$MNT"
}

do_mount() {
	"$PGSTRATA" mount -q -r "$REPO" "$MNT.$SIDE" && right "$MNT.$SIDE" && "$PGSTRATA" umount "$MNT.$SIDE"
}

do_list() {
	"$PGSTRATA" list -r "$REPO" >"$SCRATCH/list.$SIDE" && grep -q "$KEPT" "$SCRATCH/list.$SIDE"
}

do_show() {
	"$PGSTRATA" show -r "$REPO" --kind base "$KEPT" >"$SCRATCH/show.$SIDE" && grep -q 'keep' "$SCRATCH/show.$SIDE"
}

do_diff() {
	local status=0
	"$PGSTRATA" diff -r "$REPO" --database db "$KEPT_DUMP" "$OTHER_DUMP" >"$SCRATCH/diff.$SIDE" || status=$?
	[ "$status" = 3 ] && [ "$(wc -l <"$SCRATCH/diff.$SIDE")" = 1 ] && grep -q '^~.*public.rows' "$SCRATCH/diff.$SIDE"
}

# 1: problems, e.g. that the last WAL is old.
do_status() {
	local status=0
	"$PGSTRATA" status -r "$REPO" >"$SCRATCH/status.$SIDE" || status=$?
	[ "$status" -le 1 ] && grep -q main "$SCRATCH/status.$SIDE"
}

do_branches() {
	"$PGSTRATA" branches -r "$REPO" >"$SCRATCH/branches.$SIDE"
}

do_restore() {
	rm -rf "$SCRATCH/out.$SIDE"
	"$PGSTRATA" restore -q -r "$REPO" -k base "$KEPT" "$SCRATCH/out.$SIDE" && diff -r "$SCRATCH/kept" "$SCRATCH/out.$SIDE"
}

do_backup() {
	"$PGSTRATA" backup -q -r "$REPO" -c server "${CONNECT[@]}"
}

# One server, one cluster, two slots.
do_receive() {
	local to
	pg_sql "$DATA" -c "INSERT INTO t SELECT 20000 + i, md5(i::text) FROM generate_series(1, 500) i" || return 1
	to=$(pg_sql "$DATA" -c 'SELECT pg_current_wal_flush_lsn()') || return 1
	"$PGSTRATA" receive -q -r "$REPO" -c received -S "pairs_$SIDE" "${CONNECT[@]}" --flush-interval 0.01 --until-lsn "$to"
}

do_dump() {
	"$PGSTRATA" dump -q -r "$REPO" -c server -d "host=${PG_SOCKET[$DATA]} port=${PG_PORT[$DATA]} user=postgres dbname=postgres"
}

do_target() {
	"$PGSTRATA" show-target -r "$REPO" -c opened latest >"$SCRATCH/target.$SIDE" && grep -q "$OPENED" "$SCRATCH/target.$SIDE"
}

do_open() {
	local conn
	conn=$("$PGSTRATA" open -q -r "$REPO" -c opened -b "$OPENED" --name "pair$SIDE") || return 1
	[ "$("$PG_BIN/psql" -XAt -d "$conn" -c "$ROWS")" = "$WANT" ] || return 1
	"$PGSTRATA" branches -r "$REPO" >"$SCRATCH/branches.$SIDE" || return 1
	grep -q "pair$SIDE.*running" "$SCRATCH/branches.$SIDE" && "$PGSTRATA" close -q -r "$REPO" -c opened "pair$SIDE"
}

# again VERB SIDE: until the time is over; how often goes to a file.
again() {
	local n=0
	SIDE=$2
	RANDOM=$((SEED + SIDE))
	while [ "$(date +%s%N)" -lt "$END" ]; do
		"do_$1" >"$SCRATCH/said.$SIDE" 2>&1 || return 1
		n=$((n + 1))
	done
	echo "$n" >"$SCRATCH/count.$SIDE"
}

# chosen: the pairs that this run takes, "verb verb" a line.
chosen() {
	local a b share=${PAIR_SHARE:-1/1} n=0
	{
		RANDOM=$SEED
		for ((a = 0; a < ${#verbs[@]}; a++)); do
			for ((b = a; b < ${#verbs[@]}; b++)); do
				! [[ ${verbs[a]}+${verbs[b]} =~ ${PAIR_ONLY:-.} ]] ||
					printf '%05d %s %s\n' "$RANDOM" "${verbs[a]}" "${verbs[b]}"
			done
		done
	} | sort | cut -d ' ' -f 2- | if [ "${PAIR_COUNT:-22}" = 0 ]; then cat; else sed "${PAIR_COUNT:-22}q"; fi |
		while read -r a b; do
			n=$((n + 1))
			[ $((n % ${share#*/} + 1)) != "${share%/*}" ] || echo "$a $b"
		done
}

mapfile -t list < <(chosen)
[ ${#list[@]} -gt 0 ] || die "no pair matches ${PAIR_ONLY:-}"
runs=0
for pair in "${list[@]}"; do
	read -r a b <<<"$pair"
	END=$(($(date +%s%N) + PAIR_SECONDS * 1000000000))
	again "$a" 1 &
	one=$!
	again "$b" 2 &
	two=$!
	status=0
	wait "$one" || status=1
	wait "$two" || status=$((status + 2))
	[ "$status" = 0 ] || fail "$a and $b at once ($status): $(cat "$SCRATCH/said.1" "$SCRATCH/said.2")"
	SIDE=0
	do_verify || fail "after $a and $b at once"
	[ ! -e "$REPO/quarantine" ] || fail "$a and $b at once: repair found damage"
	one=$(cat "$SCRATCH/count.1") two=$(cat "$SCRATCH/count.2")
	note "$a+$b: $one and $two runs in $PAIR_SECONDS s"
	runs=$((runs + one + two))
done
SIDE=1
assert_ok do_restore
note "${#list[@]} pairs, $runs runs"
