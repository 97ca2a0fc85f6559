#!/bin/bash
# open for each kind of user: root, the files' owner, somebody else; what it prints as JSON; primaries whose settings were raised
# after the backup; a mount that dies while a server starts.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
# In a mount namespace of its own: a /dev/fuse that everybody may open, as on most machines, is for this script alone.
[ -n "${OPEN_WHO:-}" ] || OPEN_WHO=1 exec unshare -m bash "${BASH_SOURCE[0]}"
pkg_install_postgres
scratch_new open_who
mknod -m 666 "$SCRATCH/fuse" c 10 229
mount --bind "$SCRATCH/fuse" /dev/fuse
cleanup_push umount /dev/fuse
export PGSTRATA_CACHE_DIR=$SCRATCH/cache PGSTRATA_REPO=$SCRATCH/repo
DATA=$SCRATCH/data
"$PGSTRATA" init >/dev/null
chown -R postgres: "$PGSTRATA_REPO"
install -d -o postgres "$PGSTRATA_CACHE_DIR"

# by USER COMMAND…: with a cache of its own, and a repository of its own where there is one.
by() {
	local user=$1 repo=$PGSTRATA_REPO
	shift
	install -d -o "$user" "$SCRATCH/$user"
	[ ! -d "$SCRATCH/repo.$user" ] || repo=$SCRATCH/repo.$user
	(cd / && runuser -u "$user" -- env PGSTRATA_CACHE_DIR="$SCRATCH/$user/cache" PGSTRATA_REPO="$repo" "$@")
}

close_all() {
	local user name
	for user in root postgres nobody; do
		for name in $(by $user "$PGSTRATA" branches --json 2>/dev/null | sed -n 's/.*"name": "\(.*\)".*/\1/p'); do
			by $user "$PGSTRATA" close "$name" || true
		done
	done
	for name in "$SCRATCH"/*/cache-branches/*/.mount-*; do
		mount_is_dead "$name" && umount -l "$name"
	done
	return 0
}
cleanup_push close_all

nothing_left() {
	! grep -F "$SCRATCH" /proc/self/mounts || fail "a mount is left after $1"
	assert_eq "$(find "$SCRATCH" -path '*-branches/*/main/*' 2>/dev/null)" '' "files after $1"
}

archive=(archive_mode=on "archive_command=$PGSTRATA archive-push -r $PGSTRATA_REPO --cache-dir $PGSTRATA_CACHE_DIR %p")
pg_init "$DATA"
pg_start "$DATA" "${archive[@]}"
mkdir -m 777 "$SCRATCH/b"
pg_run "$DATA" pg_basebackup -D "$SCRATCH/b/base" -c fast -X fetch
backup=$("$PGSTRATA" import base "$SCRATCH/b/base")

# ---- settings that were raised after the backup -------------------------------------------------------------------------

pg_sql "$DATA" -c 'CREATE TABLE t AS SELECT 1 AS n'
pg_stop "$DATA"
pg_start "$DATA" "${archive[@]}" max_connections=150 max_worker_processes=12 max_wal_senders=13 max_prepared_transactions=4 \
	max_locks_per_transaction=80
pg_sql "$DATA" -c 'INSERT INTO t VALUES (2)' -c 'BEGIN; INSERT INTO t VALUES (3)' -c "PREPARE TRANSACTION 'open'" \
	-c "SELECT pg_create_restore_point('raised')" -c 'INSERT INTO t VALUES (4)' >/dev/null
pg_archived "$DATA"
pg_stop "$DATA"
query='SELECT sum(n), (SELECT count(*) FROM pg_prepared_xacts), pg_is_in_recovery() FROM t'
assert_eq "$(by root "$PGSTRATA" open -q -t name-raised -e "psql -XAtc '$query'")" '3|1|f' 'what is there with raised settings'
got=$(by root "$PGSTRATA" open -q -t name-raised --read-only -e "psql -XAtc '$query' -c 'SHOW max_connections'")
assert_eq "${got//$'\n'/ }" '3|0|t 150' 'the same, read-only'
nothing_left 'raised settings'

# ---- JSON ---------------------------------------------------------------------------------------------------------------

by root "$PGSTRATA" open --json -q -n json -t name-raised >"$SCRATCH/json"
conn=$(python3 - "$SCRATCH/json" "$backup" <<'END'
import json, os, sys
o = json.load(open(sys.argv[1]))
assert o['name'] == 'json' and o['cluster'] == 'main' and o['backup'] == sys.argv[2] and o['target'] == 'name-raised@1', o
assert os.path.exists(o['tree'] + '/data/PG_VERSION') and os.path.exists('%s/.s.PGSQL.%d' % (o['socket_dir'], o['port'])), o
assert (o['user'], o['database'], o['read_only']) == ('postgres', 'postgres', False), o
assert [int(p, 16) for p in o['lsn'].split('/')] > [0, 0] and o['last_commit'].startswith('20'), o
steps = o['seconds']
assert list(steps) == ['choose', 'mount', 'prepare', 'recover', 'answer', 'total'] and all(s >= 0 for s in steps.values()), o
assert abs(sum(steps.values()) - 2 * steps['total']) < 0.05 + steps['total'] / 10, o
print(o['conninfo'])
END
)
assert_eq "$("$PG_BIN/psql" -XAtd "$conn" -c 'SELECT sum(n) FROM t')" 3 'by the connection that JSON gives'
by root "$PGSTRATA" close json
by root "$PGSTRATA" open --json -q -n json --no-start -b "$backup" >"$SCRATCH/json"
assert_eq "$(python3 -c 'import json, sys; o = json.load(sys.stdin); print(o["target"], "conninfo" in o, len(o["seconds"]))' \
	<"$SCRATCH/json")" 'None False 4' 'JSON of a branch of a backup without a server'
by root "$PGSTRATA" close json
nothing_left JSON

# ---- users --------------------------------------------------------------------------------------------------------------

who='SELECT current_user, sum(n) FROM t'
assert_eq "$(by postgres "$PGSTRATA" open -q -t name-raised -e "psql -XAtc '$who'; id -un")" $'postgres|3\npostgres' 'as the owner'
assert_fails 1 'only root can run PostgreSQL as another user' by postgres "$PGSTRATA" open --run-as nobody
assert_fails 1 'there is no user "nobody-here"' by root "$PGSTRATA" open --run-as nobody-here
assert_fails 1 'does not run as root' by root "$PGSTRATA" open --run-as root
chmod -R go= "$PGSTRATA_REPO"
assert_fails 1 'Permission denied' by nobody "$PGSTRATA" open
# Whoever can read the repository can open it: the server is his.
cp -a "$PGSTRATA_REPO" "$SCRATCH/repo.nobody"
chown -R nobody: "$SCRATCH/repo.nobody"
conn=$(by nobody "$PGSTRATA" open -q -n mine -t name-raised)
assert_eq "$(by nobody "$PG_BIN/psql" -XAtd "$conn" -c "$who")" 'postgres|3' 'as somebody else'
# And nobody else's.
assert_fails 2 'Permission denied' by postgres "$PG_BIN/psql" -XAtd "$conn" -c "$who"
assert_eq "$(by root "$PGSTRATA" open -q -t name-raised --run-as nobody -e "stat -c %U \"\$PGHOST\"")" nobody 'as root for somebody else'
by nobody "$PGSTRATA" close mine

# ---- the mount dies while the server starts -----------------------------------------------------------------------------

mkdir "$SCRATCH/bin"
cat >"$SCRATCH/bin/postgres" <<'END'
#!/bin/sh
[ "$1" != --version ] || { echo 'postgres (PostgreSQL) 15.1'; exit; }
kill -KILL "$(getfattr --only-values -n user.pgstrata.pid "${2%/main/open/*}")"
END
chmod 755 "$SCRATCH/bin/postgres"
assert_fails 1 'the mount on .* died' by postgres "$PGSTRATA" open -q --bindir "$SCRATCH/bin"
nothing_left 'all'
