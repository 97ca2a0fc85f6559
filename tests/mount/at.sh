#!/bin/bash
# at/ in the mount: an accidental DROP TABLE is undone with cp -a, for each kind of target; the copy holds just what was
# committed up to it. The same without the mount, by restore --target.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new at
pkg_install_postgres
REPO=$SCRATCH/repo
DATA=$SCRATCH/data
# A path that a shell, the server and its settings each read in their own way.
MNT="$SCRATCH/it's 100% a \"mount\" \$HOME\\n"
AT=$MNT/main/at
LOG=$SCRATCH/mount.log
"$PGSTRATA" init -r "$REPO" >/dev/null
mkdir "$MNT" "$SCRATCH/ts"
chown postgres: "$REPO" "$SCRATCH/ts"
chown -R postgres: "$REPO"
install -d -o postgres "$PGSTRATA_CACHE_DIR"

# ---- the server's day ------------------------------------------------------------------------------------------------

pg_init "$DATA"
echo "recovery_target_name = 'of the old configuration'" >>"$DATA/postgresql.conf"
pg_start "$DATA" archive_mode=on wal_level=replica \
	"archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
pg_sql "$DATA" -c "CREATE TABLESPACE ts LOCATION '$SCRATCH/ts'" -c 'CREATE TABLE t (n int PRIMARY KEY, xid xid8)' \
	-c 'CREATE TABLE in_ts (n int) TABLESPACE ts' -c "ALTER SYSTEM SET work_mem = '5MB'"
# What stands in recovery's way: a line without an end, and the signal of a standby.
truncate -s -1 "$DATA/postgresql.auto.conf"
install -o postgres /dev/null "$DATA/standby.signal"
pg_run "$DATA" pg_basebackup -D "$SCRATCH/base" -c fast -X none -F tar
rm "$DATA/standby.signal"
"$PGSTRATA" import base "$SCRATCH/base" -r "$REPO" >/dev/null

# rows FROM TO: one row a transaction, with its number.
rows() {
	local n
	for ((n = $1; n <= $2; n++)); do
		echo "BEGIN; INSERT INTO t VALUES ($n, pg_current_xact_id()); INSERT INTO in_ts VALUES ($n); COMMIT;"
	done | pg_sql "$DATA" -f -
}
ask() { pg_sql "$DATA" -c "$1"; }

rows 1 100
sleep 0.02
time_100=$(ask "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24-MI-SS.USZ')")
sleep 0.02
rows 101 150
lsn_150=$(ask 'SELECT pg_current_wal_insert_lsn()')
rows 151 180
xid_170=$(ask 'SELECT xid FROM t WHERE n = 170')
ask "SELECT pg_create_restore_point('before 100% of it')" >/dev/null
ask 'SELECT pg_switch_wal()' >/dev/null
rows 181 200
sleep 0.02
before_drop=$(ask "SELECT to_char(clock_timestamp() AT TIME ZONE 'Asia/Kolkata', 'YYYY-MM-DD HH24:MI:SS.US+05:30')")
sleep 0.02
ask 'DROP TABLE t'
ask 'CREATE TABLE later (n int)'
pg_archived "$DATA"
pg_stop "$DATA"

# ---- what is shown -----------------------------------------------------------------------------------------------------

mount_start "$REPO" "$MNT" -o allow_other --log "$LOG"
assert_match "$(ls "$AT")" 'latest'
assert_match "$(ls "$AT")" 'name-before 100%25 of it'
assert_eq "$(find "$AT" -mindepth 1 -maxdepth 1 -printf '%f %y\n' | grep -v ' d$' || true)" '' 'all are directories'
while read -r name; do
	assert_ok test -e "$AT/$name/data/PG_VERSION"
done < <(ls "$AT")
assert_eq "$(ls "$AT/latest")" "$(ls "$MNT/main/backups/latest/")" 'a point'
assert_ok test -d "$AT/latest/tablespaces"
assert_eq "$(jq -r .target "$AT/xid-$xid_170/info.json")" "xid-$xid_170@1" 'info.json'
assert_eq "$(stat -c '%s %a %U' "$AT/latest/data/recovery.signal")" '0 600 postgres' 'recovery.signal'
conf=$AT/xid-$xid_170/data/postgresql.auto.conf
assert_eq "$(stat -c %s "$conf")" "$(wc -c <"$conf")" 'size of postgresql.auto.conf'
base=$MNT/main/backups/latest/data
assert_ok cmp -n "$(stat -c %s "$base/postgresql.auto.conf")" "$base/postgresql.auto.conf" "$conf"
assert_match "$(cat "$conf")" "recovery_target_xid = '$xid_170'"
# Nothing else differs from the backup.
assert_eq "$(cd "$MNT/main" && diff -rq backups/latest/data at/latest/data | sort)" \
	"$(printf '%s\n' "Files backups/latest/data/postgresql.auto.conf and at/latest/data/postgresql.auto.conf differ" \
		'Only in at/latest/data: recovery.signal' 'Only in backups/latest/data: standby.signal')" 'what differs'
assert_eq "$(find "$MNT/main" -printf '%i\n' | sort | uniq -d)" '' 'inode numbers'
# The same directory again is the same one.
assert_eq "$(stat -c %i "$AT/lsn-${lsn_150/\//-}")" "$(stat -c %i "$AT/lsn-${lsn_150/\//-}")" 'number'
sleep 1.1
assert_eq "$(stat -c %i "$AT/latest/data/PG_VERSION")" "$(sleep 1.1 && stat -c %i "$AT/latest/data/PG_VERSION")" 'latest'

# ---- what cannot be reached is not there, and the log says why ------------------------------------------------------------

for target in 2001-01-01T00-00-00Z 2199-01-01T00-00-00Z name-nobody xid-4000000000 lsn-FFFF-0 nonsense latest@77 xid-; do
	assert_fails 2 'No such file' ls -d "$AT/$target"
	grep -qF "main/at/$target: " "$LOG" || fail "the log says nothing about $target"
done

# ---- more points than are remembered -----------------------------------------------------------------------------------------

# Spellings of one moment: each is a directory of its own, and what nobody holds goes.
pid=$(mount_pid "$MNT")
exec {held}<"$AT/$time_100/data"
number=$(stat -L -c %i "/proc/$$/fd/$held")
for ((i = 0; i < 1500; i++)); do
	printf '%s/%s%03dZ/data/recovery.signal\0' "$AT" "${time_100%Z}" "$((i % 1000))"
	printf '%s/%s%03d+00/data/recovery.signal\0' "$AT" "${time_100%Z}" "$((i % 1000))"
done | xargs -0 stat -c %s | sort | uniq -c | tr -s ' ' >"$SCRATCH/count"
assert_eq "$(cat "$SCRATCH/count")" ' 3000 0' 'points'
assert_eq "$(stat -c %i "$AT/$time_100/data")" "$number" 'number of what was held'
assert_ok test -e "/proc/$$/fd/$held/recovery.signal"
exec {held}<&-
note "peak memory of the mount: $(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$pid/status") MiB"

# ---- recovery ----------------------------------------------------------------------------------------------------------------

# copied TARGET DIR: copies at/TARGET to DIR, with its tablespaces beside it.
copied() {
	local link
	cp -a "$AT/$1/data" "$2"
	cp -a "$AT/$1/tablespaces" "$2.ts"
	for link in "$2"/pg_tblspc/*; do
		ln -sfn "$2.ts/${link##*/}" "$link"
	done
}

# restored TARGET DIR: the same by restore --target.
restored() {
	"$PGSTRATA" restore -q -r "$REPO" --target "$1" "$2"
	[ ! -e "$2/standby.signal" ] || fail 'restore left standby.signal'
	assert_eq "$(stat -c '%s %a %U' "$2/recovery.signal")" '0 600 postgres' 'recovery.signal of restore'
}

# started DIR [SETTING=VALUE…]: starts it, and waits until it has recovered.
started() {
	local i
	pg_start "$@"
	for ((i = 0; i < 600; i++)); do
		[ "$(pg_sql "$1" -c 'SELECT pg_is_in_recovery()')" != f ] || return 0
		sleep 0.1
	done
	fail "$1 is still in recovery"
}

# recovered TARGET QUERY ANSWER: a copy of at/TARGET, started, answers so; so does one that restore made.
recovered() {
	local copy=$SCRATCH/copy way
	for way in copied restored; do
		"$way" "$1" "$copy"
		started "$copy" archive_mode=off
		assert_eq "$(pg_sql "$copy" -c "$2")" "$3" "$1, $way"
		assert_eq "$(pg_sql "$copy" -c 'SHOW work_mem')" 5MB 'the settings of the backup'
		pg_stop "$copy"
		rm -rf "$copy" "$copy.ts" "$copy.tablespaces"
	done
}
rows='SELECT count(*), max(n), (SELECT count(*) FROM in_ts) FROM t'
dropped="SELECT to_regclass('t') IS NULL, to_regclass('later') IS NOT NULL"
recovered "$before_drop" "$rows" '200|200|200'
recovered "$time_100" "$rows" '100|100|100'
recovered "lsn-${lsn_150/\//-}" "$rows" '150|150|150'
recovered "xid-$xid_170" "$rows" '170|170|170'
recovered latest "$dropped" 't|t'

# ---- the copy becomes the server: a second timeline -----------------------------------------------------------------------------

copied 'name-before 100%25 of it' "$SCRATCH/second"
DATA=$SCRATCH/second
started "$DATA" archive_mode=on \
	"archive_command=$PGSTRATA archive-push -r $REPO --cache-dir $PGSTRATA_CACHE_DIR %p"
assert_eq "$(ask "$rows")" '180|180|180' 'at the restore point'
rows 1001 1010
pg_archived "$DATA"
pg_stop "$DATA"
sleep 1.1
recovered latest "$rows" '190|1010|190'
recovered latest@1 "$dropped" 't|t'
recovered "xid-$xid_170@2" "$rows" '170|170|170'

# ---- restore --target: a repository with such a path, too, and what it refuses -------------------------------------------------

odd="$SCRATCH/it's 100% a \"repo\" \$HOME"
cp -a "$REPO" "$odd"
REPO=$odd
restored "xid-$xid_170@2" "$SCRATCH/copy"
started "$SCRATCH/copy" archive_mode=off
assert_eq "$(pg_sql "$SCRATCH/copy" -c "$rows")" '170|170|170' 'from a path of any name'
pg_stop "$SCRATCH/copy"
refused() {
	local status=$1 regex=$2
	shift 2
	assert_fails "$status" "$regex" "$PGSTRATA" restore -r "$REPO" "$@"
	[ ! -e "$SCRATCH/no" ] || fail "something was made by: $*"
}
refused 1 'before the end of the oldest base backup' --target 2001-01-01T00:00:00Z "$SCRATCH/no"
refused 1 'no such transaction' --target xid-4000000 "$SCRATCH/no"
refused 1 'is not empty' --target latest "$SCRATCH/copy"
refused 2 'is no target' --target yesterday "$SCRATCH/no"
refused 2 'leave "latest" out' --target latest latest "$SCRATCH/no"
refused 2 'for base backups' --target latest --database postgres "$SCRATCH/no"
refused 2 'for base backups' --target latest --kind dump "$SCRATCH/no"
refused 2 'something is missing' "$SCRATCH/no"
