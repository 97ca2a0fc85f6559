#!/bin/bash
# A damaged repository behind a mount: EIO for what is damaged, a log line that names it, and the rest goes on.
set -euo pipefail
. "$(dirname "$0")/lib.bash"

scratch_new mount-damage
client_build
server_start
backup_take "$SCRATCH/backup"
pg_stop "$DATA"
source=$SCRATCH/backup
"$PGSTRATA" init -r "$SCRATCH/good" >/dev/null
"$PGSTRATA" import base -q -r "$SCRATCH/good" "$source" >/dev/null
mnt=$SCRATCH/mnt
log=$SCRATCH/log

# damaged HOW: a fresh copy of the repository at $repo.
fresh() {
	rm -rf "$SCRATCH/repo"
	cp -a "$SCRATCH/good" "$SCRATCH/repo"
	repo=$SCRATCH/repo
	: >"$log"
}

# read_all [DIR]: tries to read every file (below DIR). Sets READ_OK and READ_BAD; what could be read must be right.
read_all() {
	read -r READ_OK READ_BAD < <("$CLIENT" tree "$source/${1:-}" "$mnt/main/backups/latest/data/${1:-}")
	[ -n "$READ_BAD" ] || fail "wrong bytes without an error"
}

# packs: the objects that hold chunks, the largest first.
packs() {
	find "$repo" -type f -path '*pack*' -printf '%s %p\n' | sort -rn | cut -d ' ' -f 2-
}

# flip FILE OFFSET: one byte becomes another.
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	chmod u+w "$1"
	printf '%b' "\\0$(printf %o $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

alive() {
	kill -0 "$pid" 2>/dev/null || fail "the daemon is gone: $(cat "$log")"
	assert_match "$(cat "$mnt/README.txt")" "pgstrata" "README.txt of a damaged repository"
}

# ---- flipped bytes in packs: some files fail, all others are right ----

fresh
pack=$(packs | sed -n 1p)
[ -n "$pack" ] || fail "no pack in $(find "$repo" -type f)"
size=$(stat -c %s "$pack")
for i in $(seq 1 20); do
	flip "$pack" $((size * i / 25))
done
mount_start "$repo" "$mnt" --log "$log"
pid=$(mount_pid "$mnt")
read_all
alive
[ "$READ_BAD" -gt 0 ] || fail "twenty flipped bytes in $pack went unnoticed"
[ "$READ_OK" -gt 100 ] || fail "only $READ_OK files could be read"
assert_match "$(cat "$log")" "main/backups/[^ ]*/data/" "the log names the files"
assert_match "$(cat "$log")" "pack|chunk|record" "the log names the object"
# The same errors again are not logged again, one by one.
lines=$(wc -l <"$log")
read_all
[ $(($(wc -l <"$log") - lines)) -le 5 ] || fail "the log grew from $lines to $(wc -l <"$log") lines by the same errors"
umount_ours "$mnt"

# ---- damage that comes while it is mounted ----

fresh
mount_start "$repo" "$mnt" --log "$log" -o cache=4M
pid=$(mount_pid "$mnt")
ls -lR "$mnt" >/dev/null
for pack in $(packs); do
	truncate -s $(($(stat -c %s "$pack") / 2)) "$pack"
done
drop_caches
read_all
alive
[ "$READ_BAD" -gt 0 ] || fail "halved packs went unnoticed"
umount_ours "$mnt"

# ---- packs that are gone ----

fresh
mount_start "$repo" "$mnt" --log "$log" -o cache=4M
pid=$(mount_pid "$mnt")
ls "$mnt/main/backups" >/dev/null
packs | xargs rm -f
drop_caches
# A missing object is looked for again each time, in case another process has just added it: a few files will do.
read_all pg_multixact
assert_eq "$READ_OK" 0 "files read without a pack"
alive
umount_ours "$mnt"

# ---- a snapshot that is gone is no longer listed; one that is damaged is an error of its own directory ----

fresh
mount_start "$repo" "$mnt" --log "$log"
pid=$(mount_pid "$mnt")
id=$(readlink "$mnt/main/backups/latest")
snapshot=$(find "$repo" -type f -name "*$id*")
[ -n "$snapshot" ] || fail "no object is named $id"
cat "$mnt/main/backups/$id/data/PG_VERSION" >/dev/null
mv "$snapshot" "$SCRATCH/away"
sleep 1.2
assert_eq "$(ls "$mnt/main/backups" 2>/dev/null)" "" "backups/ without a snapshot"
assert_fails 2 "No such file" ls "$mnt/main/backups/$id"
assert_fails 1 "No such file" readlink -v "$mnt/main/backups/latest"
alive
cp "$SCRATCH/away" "$snapshot"
sleep 1.2
assert_eq "$(cat "$mnt/main/backups/$id/data/PG_VERSION")" 15 "a snapshot that came back"
umount_ours "$mnt"
for i in 0 1 2 3 4 5 6 7 8 9; do
	cp --remove-destination "$SCRATCH/away" "$snapshot"
	flip "$snapshot" $(($(stat -c %s "$snapshot") * i / 10))
	mount_start "$repo" "$mnt" --log "$log"
	pid=$(mount_pid "$mnt")
	ls "$mnt/main/backups" >/dev/null
	assert_fails 2 "Input/output error" ls "$mnt/main/backups/$id/"
	alive
	umount_ours "$mnt"
done
assert_match "$(cat "$log")" "$id" "the log names the snapshot"
