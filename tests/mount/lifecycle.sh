#!/bin/bash
# How a mount begins and ends: the daemon, its log, its refusals, ordinary users, and what a killed daemon leaves.
set -euo pipefail
. "$(dirname "$0")/lib.bash"

scratch_new mount-lifecycle
server_start
backup_take "$SCRATCH/backup"
pg_stop "$DATA"
repo=$SCRATCH/repo
mnt=$SCRATCH/mnt
log=$SCRATCH/log
"$PGSTRATA" init -r "$repo" >/dev/null
id=$("$PGSTRATA" import base -q -r "$repo" "$SCRATCH/backup")
cleanup_push mount_stop "$mnt"
mkdir "$mnt"

# gone PID [WHAT]: the process ends within a minute.
gone() {
	local i
	for ((i = 0; i < 600; i++)); do
		[ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null || return 0
		sleep 0.1
	done
	fail "process $1 has not ended: ${2:-}"
}

# ---- mount returns when it answers, and leaves a daemon that holds nothing of the caller ----

for _ in 1 2 3; do
	"$PGSTRATA" mount -r "$repo" --log "$log" "$mnt"
	assert_eq "$(ls "$mnt/main/backups/$id")" "data
info.json" "the mount right after"
	pid=$(mount_pid "$mnt")
	umount_ours "$mnt"
	gone "$pid" "after umount"
done
assert_match "$(cat "$log")" "mounted" "the log"
assert_match "$(tail -n 1 "$log")" "unmounted" "the log's end"
# Relative paths, from a directory that the daemon does not stay in.
(cd "$SCRATCH" && "$PGSTRATA" mount -r repo --log log.relative mnt)
pid=$(mount_pid "$mnt" || true)
[ -n "$pid" ] || pid=$(getfattr --only-values -n user.pgstrata.pid "$mnt" 2>/dev/null)
assert_eq "$(readlink "/proc/$pid/cwd")" "/" "the daemon's directory"
assert_eq "$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | sort -u)" /dev/null "the daemon's standard files"
[ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ] || fail "the daemon has no session of its own"
[ -s "$SCRATCH/log.relative" ] || fail "nothing was logged"
grep -q " $mnt fuse.pgstrata ro,nosuid,nodev" /proc/self/mounts || fail "mounted as: $(grep " $mnt " /proc/self/mounts)"
assert_eq "$(findmnt -n -o SOURCE "$mnt")" "$repo" "the mount's source"

# ---- refusals, each with its reason ----

assert_fails 1 "already mounted" "$PGSTRATA" mount -r "$repo" "$mnt"
umount_ours_by_path() {
	"$PGSTRATA" umount "$1"
}
umount_ours_by_path "$mnt/"
gone "$pid" "after umount of a path with a slash"
mkdir "$SCRATCH/full"
touch "$SCRATCH/full/x" "$SCRATCH/file"
assert_fails 1 "not empty" "$PGSTRATA" mount -r "$repo" "$SCRATCH/full"
assert_fails 1 "not a directory" "$PGSTRATA" mount -r "$repo" "$SCRATCH/file"
assert_fails 1 "No such file" "$PGSTRATA" mount -r "$repo" "$SCRATCH/nowhere"
assert_fails 1 "No such file" "$PGSTRATA" mount -r "$SCRATCH/nowhere" "$mnt"
assert_fails 1 "." "$PGSTRATA" mount -r "$SCRATCH/full" "$mnt"
mkdir "$repo/inside"
assert_fails 1 "lies in the repository" "$PGSTRATA" mount -r "$repo" "$repo/inside"
rmdir "$repo/inside"
assert_fails 1 "would hide it" "$PGSTRATA" mount -r "$repo" "$SCRATCH"
ln -s "$repo" "$SCRATCH/link"
assert_fails 1 "lies in the repository" "$PGSTRATA" mount -r "$repo" "$SCRATCH/link"
assert_fails 2 "cache" "$PGSTRATA" mount -r "$repo" -o cache=lots "$mnt"
assert_fails 2 "at least 4M" "$PGSTRATA" mount -r "$repo" -o cache=1 "$mnt"
assert_fails 2 "unknown" "$PGSTRATA" mount -r "$repo" -o rw "$mnt"
assert_fails 2 "not a number" "$PGSTRATA" mount -r "$repo" -o uid=postgres "$mnt"
assert_fails 1 "log" "$PGSTRATA" mount -r "$repo" --log "$SCRATCH/nowhere/log" "$mnt"
assert_fails 1 "nothing is mounted" "$PGSTRATA" umount "$mnt"
assert_fails 1 "not a pgstrata mount" "$PGSTRATA" umount /proc
assert_eq "$(grep -c " $mnt " /proc/self/mounts || true)" 0 "mounts after all refusals"

# ---- SIGTERM and SIGINT end it cleanly, also while somebody reads; the foreground, too ----

for signal in TERM INT HUP; do
	mount_start "$repo" "$mnt" --log "$log"
	pid=$(mount_pid "$mnt")
	exec 9<"$mnt/main/backups/$id/data/PG_VERSION"
	kill "-$signal" "$pid"
	gone "$pid" "SIG$signal"
	exec 9<&-
	! mountpoint -q "$mnt" || fail "still mounted after SIG$signal"
	assert_eq "$(ls "$mnt")" "" "the mount point after SIG$signal"
	assert_match "$(tail -n 1 "$log")" "unmounted" "the log after SIG$signal"
done
"$PGSTRATA" mount -r "$repo" --foreground -v "$mnt" 2>"$SCRATCH/said" &
pid=$!
for _ in $(seq 100); do
	mountpoint -q "$mnt" && break
	sleep 0.1
done
assert_eq "$(cat "$mnt/main/backups/latest/data/PG_VERSION")" 15 "a file of the foreground mount"
kill -TERM "$pid"
wait "$pid" || fail "status $? of the foreground mount"
assert_match "$(cat "$SCRATCH/said")" "mounted" "what the foreground mount said"
# umount(8), too, ends the daemon.
mount_start "$repo" "$mnt"
pid=$(mount_pid "$mnt")
umount "$mnt"
gone "$pid" "umount(8)"

# ---- in use: an error that says what to do, and nothing has changed ----

mount_start "$repo" "$mnt"
exec 9<"$mnt/main/backups/$id/data/PG_VERSION"
assert_fails 1 "in use.*fuser" "$PGSTRATA" umount "$mnt"
assert_eq "$(cat <&9)" 15 "a file that was open during the refused umount"
exec 9<&-
umount_ours "$mnt"

# ---- a killed daemon: reads fail, it is said what it is, umount clears it ----

mount_start "$repo" "$mnt"
pid=$(mount_pid "$mnt")
kill -KILL "$pid"
gone "$pid" "SIGKILL"
assert_fails 2 "not connected|connection abort" ls "$mnt"
assert_fails 1 "daemon has died.*pgstrata umount" "$PGSTRATA" mount -r "$repo" "$mnt"
"$PGSTRATA" umount "$mnt"
assert_eq "$(ls "$mnt")" "" "the mount point after umount"
mount_start "$repo" "$mnt"
assert_eq "$(cat "$mnt/main/backups/latest/data/PG_VERSION")" 15 "mounted again"
umount_ours "$mnt"

# ---- an ordinary user: through fusermount3, private, all readable to him, closed to others ----

device_mode=$(stat -c %a /dev/fuse)
cleanup_push chmod "$device_mode" /dev/fuse
chmod 666 /dev/fuse
cp -a "$repo" "$SCRATCH/theirs"
chown -R postgres: "$SCRATCH/theirs"
install -d -o postgres -g postgres "$SCRATCH/user" "$SCRATCH/user/mnt" "$SCRATCH/user/cache"
cleanup_push mount_stop "$SCRATCH/user/mnt"
theirs=$SCRATCH/user/mnt
as_user() {
	as_postgres env PGSTRATA_CACHE_DIR="$SCRATCH/user/cache" HOME="$SCRATCH/user" "$@"
}
as_user "$PGSTRATA" mount -r "$SCRATCH/theirs" "$theirs"
assert_eq "$(as_user cat "$theirs/main/backups/latest/data/PG_VERSION")" 15 "a file for the user who mounted"
assert_fails 1 "Permission denied" cat "$theirs/main/backups/latest/data/PG_VERSION"
assert_fails 1 "already mounted" as_user "$PGSTRATA" mount -r "$SCRATCH/theirs" "$theirs"
pid=$(mount_pid "$theirs")
as_user "$PGSTRATA" umount "$theirs"
gone "$pid" "the user's umount"
# Files that belong to others by their modes: a private mount shows them to its owner all the same.
as_user "$PGSTRATA" mount -r "$SCRATCH/theirs" -o uid=12345,gid=54321 "$theirs"
assert_eq "$(as_user stat -c '%u %g %a' "$theirs/main/backups/latest/data/PG_VERSION")" "12345 54321 600" "the owner with uid="
assert_eq "$(as_user cat "$theirs/main/backups/latest/data/PG_VERSION")" 15 "a file of somebody else"
# Root may end it, although it may not look into it.
"$PGSTRATA" umount "$theirs"
# What the machine does not allow is explained.
if [ -f /etc/fuse.conf ]; then
	cp -a /etc/fuse.conf "$SCRATCH/fuse.conf"
	cleanup_push cp -a "$SCRATCH/fuse.conf" /etc/fuse.conf
else
	cleanup_push rm -f /etc/fuse.conf
fi
echo '# user_allow_other' >/etc/fuse.conf
assert_fails 1 "user_allow_other in /etc/fuse.conf" as_user "$PGSTRATA" mount -r "$SCRATCH/theirs" -o allow_other "$theirs"
echo 'user_allow_other' >/etc/fuse.conf
as_user "$PGSTRATA" mount -r "$SCRATCH/theirs" -o allow_other "$theirs"
assert_eq "$(cat "$theirs/main/backups/latest/data/PG_VERSION")" 15 "root reads a mount with allow_other"
# With allow_other modes count: 0600 postgres is not for nobody.
assert_fails 1 "Permission denied" runuser -u nobody -- cat "$theirs/main/backups/latest/data/PG_VERSION"
assert_ok runuser -u nobody -- cat "$theirs/README.txt" >/dev/null
as_user "$PGSTRATA" umount "$theirs"
assert_fails 1 "fusermount3 is not installed.*fuse3" as_user env PATH=/nowhere "$PGSTRATA" mount -r "$SCRATCH/theirs" "$theirs"
chmod 600 /dev/fuse
assert_fails 1 "/dev/fuse" as_user "$PGSTRATA" mount -r "$SCRATCH/theirs" "$theirs"
