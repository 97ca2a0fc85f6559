# shellcheck shell=bash
# For the scripts tests/mount/backup*.sh: servers under load, backups of them by `pgstrata backup`, and what a copy out of
# the mount must show.
#
#   . tests/backup_lib.sh     after tests/lib.sh and scratch_new
#   repo_new                  REPO is a new repository
#   server_new NAME [-- INITDB OPTION…] [SETTING=VALUE…]   a running server on $SCRATCH/NAME with pgbench tables

need_root
pkg_install_postgres
REPO=

repo_new() {
	REPO=$SCRATCH/repo
	"$PGSTRATA" init -r "$REPO" >/dev/null
}

# server_new NAME SCALE INITDB_OPTIONS [SETTING=VALUE…]: INITDB_OPTIONS is one word, split at blanks.
server_new() {
	local dir=$SCRATCH/$1 scale=$2
	local -a init
	read -r -a init <<<"$3"
	shift 3
	pg_init "$dir" ${init[@]+"${init[@]}"}
	pg_start "$dir" "$@"
	pg_run "$dir" pgbench -i -q -s "$scale" postgres >/dev/null 2>&1
}

# load_start DIR SECONDS [CLIENTS]: pgbench in the background; LOAD is its process.
load_start() {
	# Not by pg_run: a function in the background is a shell, and killing that would leave its child.
	PGHOST=${PG_SOCKET[$1]} PGPORT=${PG_PORT[$1]} PGUSER=postgres \
		"$PG_BIN/pgbench" -n -c "${3:-2}" -T "$2" postgres >"$SCRATCH/load.log" 2>&1 &
	LOAD=$!
	cleanup_push load_stop "$LOAD"
}

load_stop() {
	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# connect DIR: CONNECT is the options that reach the server.
connect() {
	CONNECT=(-h "${PG_SOCKET[$1]}" -p "${PG_PORT[$1]}" -U postgres)
}

# backup_take DIR [OPTION…]: ID is the new snapshot.
backup_take() {
	local dir=$1
	shift
	connect "$dir"
	ID=$("$PGSTRATA" backup -q -r "$REPO" "${CONNECT[@]}" "$@") || fail "backup of $dir"
	assert_match "$ID" '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z(-[0-9]+)?$' "id of a backup of $dir"
}

# copy_start SNAPSHOT_DIR NAME [SETTING=VALUE…]: what lies in the mount, copied by cp -a, as a running server on
# $SCRATCH/NAME/data.
copy_start() {
	local from=$1 to=$SCRATCH/$2
	shift 2
	mkdir "$to"
	cp -a "$from/." "$to/"
	chmod u+w "$to"
	chown postgres: "$to"
	pg_start "$to/data" "$@"
}

# assert_balanced DIR: a consistent state of pgbench's tables: every transaction adds one number to all four sums.
assert_balanced() {
	local sums
	sums=$(pg_sql "$1" -c "SELECT count(DISTINCT s) FROM (SELECT sum(abalance) AS s FROM pgbench_accounts UNION ALL
		SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL
		SELECT coalesce(sum(delta), 0) FROM pgbench_history) x")
	assert_eq "$sums" 1 "different sums of pgbench's tables in $1"
}

# field ID KEY: one property of a snapshot.
field() {
	"$PGSTRATA" show -r "$REPO" --json "$1" ${3:+-c "$3"} | python3 -c "import json,sys; print(json.load(sys.stdin)['$2'])"
}

# count_snapshots: how many there are, of all clusters.
count_snapshots() {
	"$PGSTRATA" list -r "$REPO" --json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)["snapshots"]))'
}
