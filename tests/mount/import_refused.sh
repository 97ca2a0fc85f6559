#!/bin/bash
# What is no base backup, or a broken one, is refused by name, with the right status, and leaves the repository as it was.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new import-refused
# shellcheck source-path=SCRIPTDIR source=../import_lib.sh
. "$LIB_ROOT/tests/import_lib.sh"
server_new
repo_new

take_backup plain
take_backup tar -Ft
take_backup targz -Ft -z
take_backup tarzst -Ft --compress=client-zstd
take_backup tarlz4 -Ft --compress=client-lz4
take_in plain
state=$(repo_state)
oid=$(ls "$SCRATCH/plain/pg_tblspc")

# refused REGEX PATH [OPTION…]
refused() {
	assert_fails 1 "pgstrata: error: .*$1" "$PGSTRATA" import base -q -r "$REPO" -c other "$2" "${@:3}"
	assert_eq "$(diff <(echo "$state") <(repo_state))" "" "repository after $2"
}

# bend FROM COMMAND: a copy of a backup in $bent, changed by the command, which runs in it.
bent=$SCRATCH/bent
bend() {
	rm -rf "$bent"
	cp -a "$SCRATCH/$1" "$bent"
	(cd "$bent" && eval "$2")
}

# ---- not a base backup ----

refused "$SCRATCH/nowhere: No such file" "$SCRATCH/nowhere"
mkdir "$SCRATCH/empty"
refused "$SCRATCH/empty is no base backup: it holds neither PG_VERSION, .*backup_label .*nor base.tar" "$SCRATCH/empty"
refused "$SRC is no base backup but a server's own data directory" "$SRC"
bend plain 'rm backup_label'
refused "$bent is no base backup: it has PG_VERSION but no backup_label" "$bent"
bend plain 'rm global/pg_control'
refused "$bent is no base backup: there is no global/pg_control" "$bent"
refused '/dev/null is neither a directory nor a file' /dev/null
echo hello >"$SCRATCH/file"
refused "$SCRATCH/file is damaged or cut off" "$SCRATCH/file"
: >"$SCRATCH/nothing"
refused "$SCRATCH/nothing is damaged or cut off" "$SCRATCH/nothing"

# ---- plain, damaged; without its manifest, which would see it first ----

bend plain 'rm backup_manifest; echo 99 >PG_VERSION'
refused 'PG_VERSION' "$bent"
bend plain 'rm backup_manifest; echo 14 >PG_VERSION'
refused 'PG_VERSION says 14, but global/pg_control is of PostgreSQL 15' "$bent"
bend plain 'rm backup_manifest; printf X | dd of=global/pg_control bs=1 seek=60 conv=notrunc status=none'
refused 'global/pg_control' "$bent"
# pg_control_version, the second field of the file.
bend plain 'rm backup_manifest; printf "\xff\xff" | dd of=global/pg_control bs=1 seek=8 conv=notrunc status=none'
refused 'global/pg_control: .*version' "$bent"
bend plain 'rm backup_manifest; echo hello >backup_label'
refused 'backup_label' "$bent"
bend plain 'rm backup_manifest; echo "INCREMENTAL FROM LSN: 0/2000028" >>backup_label'
refused 'backup_label: this is an incremental backup; .*pg_combinebackup' "$bent"
bend plain 'rm backup_manifest; touch base/1/INCREMENTAL.1259'
refused 'base/1/INCREMENTAL.1259 belongs to an incremental backup; .*pg_combinebackup' "$bent"
segment=$(basename "$(find "$SCRATCH/plain/pg_wal" -name '0*' | sort | sed -n 1p)")
bend plain "mv pg_wal/$segment pg_wal/0000000100000000000000F0"
refused "pg_wal/$segment is missing: without it the backup cannot become consistent" "$bent"
bend plain "truncate -s 1M pg_wal/$segment"
refused "pg_wal/$segment has 1048576 bytes" "$bent"
bend plain "rm pg_tblspc/$oid; ln -s $SCRATCH/gone pg_tblspc/$oid"
refused "bent/pg_tblspc/$oid leads to $SCRATCH/gone, where the tablespace's files should be" "$bent"
bend plain "rm pg_tblspc/$oid; ln -s $SCRATCH/file pg_tblspc/$oid"
refused "bent/pg_tblspc/$oid: Not a directory" "$bent"
bend plain 'rm -r pg_wal; ln -s /nowhere pg_wal'
refused 'bent/pg_wal: No such file' "$bent"
bend plain 'rm backup_manifest; d=x; for i in $(seq 70); do d=$d/x; done; mkdir -p $d'
refused 'x/x: more than 64 directories deep' "$bent"

# A file that its reader may not read; root may, so as an ordinary user.
bend plain 'rm backup_manifest; chmod 000 base/1/1259'
chown -R postgres: "$bent"
install -d -m 700 -o postgres -g postgres "$SCRATCH/theirs"
as_postgres env PGSTRATA_CACHE_DIR="$SCRATCH/theirs/cache" "$PGSTRATA" init -r "$SCRATCH/theirs/repo" >/dev/null
assert_fails 1 'bent/base/1/1259: Permission denied' as_postgres env PGSTRATA_CACHE_DIR="$SCRATCH/theirs/cache" \
	"$PGSTRATA" import base -q -r "$SCRATCH/theirs/repo" "$bent"

# Fifos and sockets are passed over, with a warning, as pg_basebackup does.
bend plain 'mkfifo pg_stat/pipe'
text=$("$PGSTRATA" import base -r "$REPO" -c fifo "$bent" 2>&1 >/dev/null)
assert_match "$text" 'warning: .*bent/pg_stat/pipe is neither file, directory nor symbolic link' fifo
state=$(repo_state)

# ---- tar, damaged ----

for form in tar targz tarzst tarlz4; do
	base=$(cd "$SCRATCH/$form" && ls base.tar*)
	size=$(stat -c %s "$SCRATCH/$form/$base")
	for keep in 0 1 100 $((size / 3)) $((size / 2)) $((size - 600)) $((size - 1)); do
		bend "$form" "rm backup_manifest; truncate -s $keep $base"
		refused "bent/$base (is|, member .* is) (damaged or )?cut off" "$bent"
	done
done
# Cut between two members, at the front of the last one and of its end mark.
bend tar 'rm backup_manifest; tar --list -R -f base.tar >../list'
blocks=$(sed -n 's/^block \([0-9]*\): \*\* Block of NULs.*/\1/p; s/^block \([0-9]*\): global.pg_control/\1/p' "$SCRATCH/list")
[ "$(wc -w <<<"$blocks")" -ge 1 ] || fail "no member found in $(tail -n 3 "$SCRATCH/list")"
for block in $blocks; do
	bend tar "rm backup_manifest; truncate -s $((block * 512)) base.tar"
	refused 'bent/base.tar is cut off: it does not end as a tar file does' "$bent"
done
bend tar "rm backup_manifest; truncate -s $(($(stat -c %s "$SCRATCH/tar/pg_wal.tar") - 1024)) pg_wal.tar"
refused 'bent/pg_wal.tar is cut off' "$bent"
bend tar 'echo x >>base.tar'
refused 'bent/base.tar has something after its end' "$bent"
bend tar 'gzip -k base.tar'
refused "$bent holds both base.tar(.gz)? and base.tar(.gz)?: which one" "$bent"
bend tar "rm $oid.tar"
refused "base.tar tells of tablespace $oid, but there is no $oid.tar" "$bent"
bend tar "cp $oid.tar 99999.tar"
refused 'bent/99999.tar: base.tar tells of no tablespace 99999' "$bent"
bend tar 'rm base.tar'
refused 'is no base backup' "$bent"
bend tar 'tar --delete -f base.tar backup_label'
refused 'backup_label is missing' "$bent"
bend tar 'rm backup_manifest; tar --delete -f base.tar backup_label'
refused 'there is no backup_label: this is not a base backup' "$bent"
bend tar 'rm backup_manifest; tar --delete -f base.tar global/pg_control'
refused 'there is no global/pg_control' "$bent"

# Hostile members.
hostile() {
	bend tar "rm backup_manifest; echo x >../evil; $1"
	refused "$2" "$bent"
}
add='tar --append -P -f base.tar'
hostile "$add --transform='s,.*,/etc/evil,' ../evil" 'bent/base.tar: member /etc/evil has an absolute path'
hostile "$add --transform='s,.*,base/../../evil,' ../evil" 'bent/base.tar: member base/../../evil climbs out'
hostile "$add --transform='s,.*,..,' ../evil" 'bent/base.tar: member .. climbs out'
hostile "ln ../evil ../evil2; tar -P -cf ../links.tar ../evil ../evil2; rm ../evil2; tar --concatenate -f base.tar ../links.tar" \
	'bent/base.tar: member ../evil climbs out'
# Found only when the tree is written.
hostile "$add --transform='s,.*,base/twice,' ../evil; $add --transform='s,.*,base/twice,' ../evil" 'base/twice'
hostile "mkdir -p d; echo 1 >d/a; ln d/a d/b; tar --append -f base.tar d/a d/b" 'base.tar: member d/[ab] is a hard link'
[ ! -e /etc/evil ] && [ ! -e "$SCRATCH/evil2" ] || fail 'a member climbed out'

# ---- names and clusters ----

for name in '' . .. a/b -x "$(printf '%064d' 0)"; do
	assert_fails 1 'cluster' "$PGSTRATA" import base -r "$REPO" "--cluster=$name" "$SCRATCH/plain"
done
assert_eq "$(repo_state)" "$state" 'repository after bad names'
pg_init "$SCRATCH/second"
pg_start "$SCRATCH/second"
pg_run "$SCRATCH/second" pg_basebackup -D "$SCRATCH/foreign" -c fast --no-sync
pg_run "$SCRATCH/second" pg_basebackup -D "$SCRATCH/foreigntar" -Ft -c fast --no-sync
for name in foreign foreigntar; do
	assert_fails 1 'cluster "plain" holds backups of the system [0-9]+, but this one is of system [0-9]+: choose another name' \
		"$PGSTRATA" import base -r "$REPO" -c plain "$SCRATCH/$name"
	assert_eq "$(repo_state)" "$state" "repository after $name"
done
take_in foreign

# ---- the command line ----

usage() {
	assert_fails 2 "$1" "$PGSTRATA" "${@:2}"
}
usage 'Usage: pgstrata VERB'
usage 'there is no verb "nonsense"' nonsense
usage 'the verb comes first' -r "$REPO" list
usage 'something is missing: pgstrata import wants base[a-z|]* PATH' import -r "$REPO"
usage 'cannot import "nothing"' import nothing "$SCRATCH/plain" -r "$REPO"
usage 'one argument too many: "c"' import base b c
usage 'there is no option --nonsense' list --nonsense
usage 'there is no option -Z' list -Z
usage '--repo needs a value' list --repo
usage '--json takes no value' list --json=yes
usage 'Try "pgstrata list --help"' list -Z
(
	unset PGSTRATA_REPO
	HOME=$SCRATCH/empty
	usage 'which repository\?' list
)
assert_fails 1 "$SCRATCH/empty" "$PGSTRATA" list -r "$SCRATCH/empty"
assert_fails 1 "$SCRATCH/nowhere" "$PGSTRATA" list -r "$SCRATCH/nowhere"
assert_fails 1 '.' "$PGSTRATA" show -r "$REPO" -c plain 2001-01-01T00-00-00Z
assert_fails 1 '.' "$PGSTRATA" show -r "$REPO" -c plain ../../x
assert_fails 1 '.' "$PGSTRATA" init -r "$REPO"
assert_fails 1 '.' "$PGSTRATA" init -r "$SCRATCH/plain"
usage '--chunk-size must be a power of two' init -r "$SCRATCH/new" --chunk-size 65537
usage '--level must be' init -r "$SCRATCH/new" --level 20
[ ! -e "$SCRATCH/new" ] || fail 'init with wrong options made something'
for verb in init import list show mount umount restore; do
	assert_match "$("$PGSTRATA" "$verb" --help)" "^Usage: pgstrata $verb" "help of $verb"
done
assert_match "$("$PGSTRATA" --version)" '^pgstrata [0-9]+\.[0-9]+' version
