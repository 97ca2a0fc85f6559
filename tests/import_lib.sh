# shellcheck shell=bash
# For the scripts tests/mount/import_*.sh and restore_*.sh: one scratch server with a tablespace, base backups of it
# in every form, and what a restored copy must answer.
#
#   . tests/import_lib.sh     after tests/lib.sh and scratch_new
#   server_new                SRC is a running server with data, WANT what it answers

REPO=
SRC=
SPACE=
WANT=

repo_new() {
	REPO=$SCRATCH/repo
	"$PGSTRATA" init -r "$REPO" >/dev/null
}

server_new() {
	need_root
	pkg_install_postgres
	pkg_install rsync
	# Backups and copies belong to postgres, who must be able to make them here.
	chmod 777 "$SCRATCH"
	SRC=$SCRATCH/src SPACE=$SCRATCH/space
	pg_init "$SRC" --data-checksums
	install -d -m 700 -o postgres -g postgres "$SPACE"
	pg_start "$SRC" full_page_writes=on
	pg_sql "$SRC" -c "CREATE TABLESPACE fast LOCATION '$SPACE'" \
		-c "CREATE TABLE here AS SELECT i, md5(i::text) AS t FROM generate_series(1, 50000) i" \
		-c "CREATE TABLE there TABLESPACE fast AS SELECT i, md5(i::text) AS t FROM generate_series(1, 20000) i" \
		-c "CREATE TABLE long AS SELECT i, repeat(md5(i::text), 500) AS t FROM generate_series(1, 200) i" \
		-c "CREATE TABLE none (i int)" \
		-c "SELECT lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex'))" \
		-c CHECKPOINT >/dev/null
	WANT=$(answers "$SRC")
}

# answers DIR: what the running server on DIR says of the data.
answers() {
	pg_sql "$1" -c "SELECT 'here', count(*), md5(string_agg(t, '' ORDER BY i)) FROM here" \
		-c "SELECT 'there', count(*), md5(string_agg(t, '' ORDER BY i)) FROM there" \
		-c "SELECT 'long', count(*), md5(string_agg(t, '' ORDER BY i)) FROM long" \
		-c "SELECT 'none', count(*) FROM none" \
		-c "SELECT md5(lo_get(4711))"
}

# take_backup NAME [PG_BASEBACKUP OPTION…]: a base backup of SRC in $SCRATCH/NAME. Plain ones put the tablespace into
# $SCRATCH/NAME.space.
take_backup() {
	local name=$1 format=p option
	shift
	for option in "$@"; do
		[[ $option != -Ft ]] || format=t
	done
	[ "$format" = t ] || set -- "$@" -T "$SPACE=$SCRATCH/$name.space"
	as_postgres env PGHOST="${PG_SOCKET[$SRC]}" PGPORT="${PG_PORT[$SRC]}" PGUSER=postgres \
		"$PG_BIN/pg_basebackup" -D "$SCRATCH/$name" -c fast --no-sync "$@"
}

# take_in NAME [PATH]: imports $SCRATCH/NAME as cluster NAME; ID is the new snapshot.
take_in() {
	ID=$("$PGSTRATA" import base -q -r "$REPO" -c "$1" "${2:-$SCRATCH/$1}") || fail "import of $1"
	assert_match "$ID" '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z(-[0-9]+)?$' "id of $1"
}

# check_server DIR: PostgreSQL starts on DIR, which belongs to postgres, and answers as the source did.
check_server() {
	local got
	pg_start "$1" "${@:2}"
	got=$(answers "$1")
	assert_eq "$got" "$WANT" "answers of $1"
	# The data is the copy's own, not the source's.
	pg_sql "$1" -c "INSERT INTO there VALUES (0, 'x')" -c CHECKPOINT
	pg_stop "$1"
}

# repo_state: every object of the repository and its size, to see that nothing changed.
repo_state() {
	find "$REPO" -type f -printf '%P %s\n' | sort
}

# published: what list says; garbage that a crash left is invisible here.
published() {
	"$PGSTRATA" list -r "$REPO" --json
}
