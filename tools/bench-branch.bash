# shellcheck shell=bash disable=SC2154
# The bench's rows about PostgreSQL on branches; tools/bench sources it and owns run, work, round, rounds.
#
# Backup A on a branch (`pgstrata open`), against a copy of it in a plain directory, with the same settings. Figures are times
# for each transaction, so that less is better; 1 / 0.9 and 1 / 0.5 of the plain directory's are what is to be reached.

BRANCH_SECONDS=${BRANCH_SECONDS:-8}

branch_repository() {
	cleanup_push branch_left_open
	quiet "$PGSTRATA" init -r "$run/branch.pgstrata"
	# Servers start on these files.
	quiet cp -a "$work/A" "$run/branch.A"
	chown -R postgres: "$run/branch.A"
	quiet "$PGSTRATA" import base "$run/branch.A" -r "$run/branch.pgstrata"
}

# branch_directory CONTESTANT DURABLE: BRANCH_DIR is a data directory nobody has touched. close undoes it.
branch_directory() {
	local -a durable=()
	case $1 in
	pgstrata)
		[ "$2" = off ] || durable=(--durable)
		BRANCH_DIR=$("$PGSTRATA" open -q -r "$run/branch.pgstrata" --scratch "$run/branch.scratch" -n bench \
			--backup latest --no-start "${durable[@]}")/data
		;;
	plain)
		BRANCH_DIR=$run/branch.plain
		quiet cp -a "$run/branch.A" "$BRANCH_DIR"
		;;
	esac
}

branch_directory_close() {
	case $1 in
	pgstrata) quiet "$PGSTRATA" close -r "$run/branch.pgstrata" --scratch "$run/branch.scratch" bench ;;
	plain) rm -rf "${run:?}/branch.plain" ;;
	esac
}

# What a bench that was broken off left: nothing, if it came to its end.
branch_left_open() {
	"$PGSTRATA" close -q -r "$run/branch.pgstrata" --scratch "$run/branch.scratch" bench 2>/dev/null || true
}

# branch_pgbench FIGURE FSYNC PGBENCH-OPTION…: in turns. Hint bits that the backup lacks are set before, a first run is not
# counted, and all files are read right before the one that is: kernels may drop what nobody touched for half a minute.
branch_pgbench() {
	local figure=$1 fsync=$2 who
	shift 2
	for who in $(turns plain); do
		branch_directory "$who" "$fsync"
		pg_start "$BRANCH_DIR" "fsync=$fsync" shared_buffers=32MB archive_mode=off autovacuum=off
		until [ "$(pg_sql "$BRANCH_DIR" -d postgres -c 'SELECT pg_is_in_recovery()')" = f ]; do
			sleep 0.1
		done
		quiet pg_sql "$BRANCH_DIR" -d postgres -c 'SELECT count(*) FROM pgbench_accounts'
		quiet pg_run "$BRANCH_DIR" pgbench -n -c 4 -T $(((BRANCH_SECONDS + 1) / 2)) "$@" postgres
		warm "$BRANCH_DIR/base"
		pg_run "$BRANCH_DIR" pgbench -n -c 4 -T "$BRANCH_SECONDS" "$@" postgres >"$run/branch.pgbench" 2>>"$run/log"
		sample "$figure" "$who" "$(awk '/^latency average/ { print $4 * 1000 }' "$run/branch.pgbench")"
		pg_stop "$BRANCH_DIR"
		branch_directory_close "$who"
	done
}

branches() {
	! wanted branch-select || branch_pgbench branch-select off -S
	! wanted branch-tpcb || branch_pgbench branch-tpcb on
}
