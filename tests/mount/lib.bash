# shellcheck shell=bash
# What the mount tests share besides tests/lib.sh: a server to back up, and a repository with its backup in it.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_root
pkg_install_postgres
pkg_install rsync attr gcc libc6-dev

# server_start: a server with some MB in it; DATA is its data directory. Two databases, so that there
# are files with the same bytes; a table with long values; an index; holes made by deletes; an unlogged table.
server_start() {
	DATA=$SCRATCH/server/data
	install -d -o postgres -g postgres "$SCRATCH/server"
	pg_init "$DATA" --data-checksums
	pg_start "$DATA"
	pg_sql "$DATA" -d postgres -c "
		CREATE TABLE t AS SELECT i, md5(i::text) AS m, repeat(chr(65 + i % 26), i % 3000) AS pad
			FROM generate_series(1, 4000) i;
		CREATE INDEX ON t (m);
		CREATE TABLE big AS SELECT i, random() AS r FROM generate_series(1, 120000) i;
		DELETE FROM big WHERE i % 7 = 0;
		CREATE UNLOGGED TABLE u AS SELECT 1 AS one;"
	pg_sql "$DATA" -d postgres -c "CREATE DATABASE twin TEMPLATE template0"
}

# What a restored copy must answer like the server.
server_rows() {
	pg_sql "$1" -d postgres -c "
		SELECT 't', count(*), sum(hashtext(t::text)) FROM t
		UNION ALL SELECT 'big', count(*), sum(hashtext(big::text)) FROM big"
}

# backup_take DIR [OPTION…]: a plain base backup, its files owned by postgres as on a server.
backup_take() {
	local dir=$1
	shift
	install -d -o postgres -g postgres "$(dirname "$dir")"
	as_postgres env PGHOST="${PG_SOCKET[$DATA]}" PGPORT="${PG_PORT[$DATA]}" PGUSER=postgres \
		"$PG_BIN/pg_basebackup" -D "$dir" -c fast --no-sync "$@"
}

# client_build: CLIENT is the helper program.
client_build() {
	CLIENT=$SCRATCH/client
	cc -O1 -g -pthread -Wall -Werror -o "$CLIENT" "$(dirname "${BASH_SOURCE[0]}")/client.c"
}

# umount_ours MNT: unmounts with our own verb, which must end the daemon.
umount_ours() {
	local pid
	pid=$(mount_pid "$1")
	[ -n "$pid" ] || fail "no daemon serves $1"
	assert_ok "$PGSTRATA" umount "$1"
	! mountpoint -q "$1" || fail "$1 is still mounted"
	! kill -0 "$pid" 2>/dev/null || grep -q '^State:.Z' "/proc/$pid/status" || fail "daemon $pid is still there"
}

# assert_between VALUE LOW HIGH [WHAT]: both ends count.
assert_between() {
	if [ "$1" -lt "$2" ] || [ "$1" -gt "$3" ]; then
		fail "${4:-value}: $1 is not between $2 and $3"
	fi
}
