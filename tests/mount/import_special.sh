#!/bin/bash
# Backups of less usual kinds: without WAL, from a standby, with an in-place tablespace, with a time zone that has no number;
# and imports that meet each other.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new import-special
# shellcheck source-path=SCRIPTDIR source=../import_lib.sh
. "$LIB_ROOT/tests/import_lib.sh"
server_new
repo_new

shown() {
	"$PGSTRATA" show -r "$REPO" -c "$1" latest --json
}

# ---- without WAL ----

for form in -Fp -Ft; do
	take_backup "none$form" "$form" -X none
	text=$("$PGSTRATA" import base -r "$REPO" -c "none$form" "$SCRATCH/none$form" 2>&1 >/dev/null)
	assert_match "$text" 'warning: the backup holds no WAL .*needs the archive from [0-9A-F]{24} on' "$form"
	assert_match "$(shown "none$form")" '"wal_included": *false' "$form"
	assert_match "$(shown "none$form")" '"stop_lsn": *"0/[0-9A-F]+"' "$form"
done

# ---- a time zone whose abbreviation does not say how far it is from UTC ----

assert_match "$(shown none-Fp)" '"start_time": *"20' 'start in UTC'
pg_sql "$SRC" -c "ALTER SYSTEM SET log_timezone = 'Europe/Berlin'" -c 'SELECT pg_reload_conf()' >/dev/null
sleep 1
take_backup zone
take_in zone
assert_match "$(shown zone)" '"start_time": *null' 'start in a named zone'
assert_match "$(shown zone)" '"start_time_text": *"20[^"]* CES?T"' 'start in a named zone'

# ---- without a manifest nothing says where the WAL ends, unless the backup history file is there ----

# The server keeps the file for as long as it is not archived.
pg_stop "$SRC"
pg_start "$SRC" archive_mode=on archive_command=/bin/false
take_backup history --no-manifest
text=$("$PGSTRATA" import base -r "$REPO" -c ended "$SCRATCH/history" 2>&1 >/dev/null)
assert_match "$text" 'warning: nothing says where the backup.s WAL ends' 'no end'
[[ $(shown ended) != *stop_lsn\":\ \"* ]] || fail 'an end out of nothing'
cp -p "$SRC"/pg_wal/*.backup "$SCRATCH/history/pg_wal/"
take_in ended "$SCRATCH/history"
assert_match "$(shown ended)" '"stop_lsn": *"0/[0-9A-F]+"' 'the history file'

# ---- an in-place tablespace is a directory inside ----

pg_sql "$SRC" -c "ALTER SYSTEM SET allow_in_place_tablespaces = on" -c 'SELECT pg_reload_conf()' >/dev/null
sleep 1
pg_sql "$SRC" -c "CREATE TABLESPACE inside LOCATION ''" \
	-c 'CREATE TABLE within TABLESPACE inside AS SELECT generate_series(1, 1000) i' -c CHECKPOINT
take_backup inside
take_in inside
"$PGSTRATA" restore -q -r "$REPO" -c inside latest "$SCRATCH/out"
check_server "$SCRATCH/out"
pg_start "$SCRATCH/out"
assert_eq "$(pg_sql "$SCRATCH/out" -c 'SELECT count(*) FROM within')" 1000 'rows of the in-place tablespace'
pg_stop "$SCRATCH/out"
rm -rf "$SCRATCH/out" "$SCRATCH/out.tablespaces"
pg_sql "$SRC" -c 'DROP TABLE within' -c 'DROP TABLESPACE inside'

# ---- from a standby ----

take_backup standby
touch "$SCRATCH/standby/standby.signal"
cat >>"$SCRATCH/standby/postgresql.auto.conf" <<-END
	primary_conninfo = 'host=${PG_SOCKET[$SRC]} port=${PG_PORT[$SRC]} user=postgres'
END
pg_start "$SCRATCH/standby"
as_postgres env PGHOST="${PG_SOCKET[$SCRATCH/standby]}" PGPORT="${PG_PORT[$SCRATCH/standby]}" PGUSER=postgres \
	"$PG_BIN/pg_basebackup" -D "$SCRATCH/fromstandby" -c fast --no-sync -T "$SCRATCH/standby.space=$SCRATCH/fs.space"
pg_stop "$SCRATCH/standby"
take_in fromstandby
assert_match "$(shown fromstandby)" '"backup_from": *"standby"' standby

# ---- several at once, in one second ----

pids=()
for i in 1 2 3; do
	"$PGSTRATA" import base -q -r "$REPO" -c crowd "$SCRATCH/zone" >"$SCRATCH/id$i" &
	pids+=($!)
done
for pid in "${pids[@]}"; do
	wait "$pid" || fail 'an import among others failed'
done
id=$(cut -d- -f1-5 "$SCRATCH/id1" | sed 's/Z.*/Z/')
assert_eq "$(sort "$SCRATCH"/id[123] | tr '\n' ' ')" "$id $id-2 $id-3 " 'ids'
assert_eq "$("$PGSTRATA" list -r "$REPO" -c crowd --json | grep -o '"id": *"[^"]*"' | tr -d '" ' | tr '\n' ' ')" \
	"id:$id id:$id-2 id:$id-3 " 'order of the list'
assert_match "$("$PGSTRATA" show -r "$REPO" -c crowd latest)" "^id +$id-3" latest
"$PGSTRATA" restore -q -r "$REPO" -c crowd "$id-2" "$SCRATCH/out"
check_server "$SCRATCH/out"

# ---- a file that changes while it is read; the size is known when it is opened ----

cp -a "$SCRATCH/zone" "$SCRATCH/moving"
rm "$SCRATCH/moving/backup_manifest"
head -c 300M /dev/urandom >"$SCRATCH/moving/growing"
state=$(published)
touch "$SCRATCH/go"
(
	while [ -e "$SCRATCH/go" ]; do
		echo x >>"$SCRATCH/moving/growing"
	done
) &
writer=$!
got=0
text=$("$PGSTRATA" import base -q -r "$REPO" -c moving "$SCRATCH/moving" 2>&1 >/dev/null) || got=$?
rm "$SCRATCH/go"
wait "$writer" || true
assert_eq "$got" 1 'import of a file that grows'
assert_match "$text" 'growing became longer while it was read' growing
assert_eq "$(published)" "$state" 'list after the file that grew'
