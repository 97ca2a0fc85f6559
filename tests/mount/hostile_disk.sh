#!/bin/bash
# Repositories on a disk that is full, read-only, or somebody else's: each verb says what is wrong, nothing that was there
# suffers, and when there is room again the same verb works.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new hostile-disk
# shellcheck source-path=SCRIPTDIR source=../small_lib.sh
. "$LIB_ROOT/tests/small_lib.sh"
pkg_install rsync fuse3
chmod 755 "$SCRATCH"

DISK=$SCRATCH/disk
REPO=$DISK/repo
mkdir "$DISK"
mount -t tmpfs -o size=6m,mode=755 pgstrata-test "$DISK"
cleanup_push umount "$DISK"
small_backup first 1500
small_backup large 9000
for i in $(seq 2 12); do
	small_segment "$i"
done
segment() {
	printf '%s/wal/00000001000000000000%04X' "$SCRATCH" "$1"
}

# The repository is sound, and has what it acknowledged.
whole() {
	local i
	assert_ok "$PGSTRATA" verify -q -r "$REPO" >"$SCRATCH/verify"
	rm -rf "$SCRATCH/out"
	assert_ok "$PGSTRATA" restore -q -r "$REPO" "$FIRST" "$SCRATCH/out"
	assert_ok diff -r "$SCRATCH/first" "$SCRATCH/out"
	for ((i = 2; i <= PUSHED; i++)); do
		assert_ok "$PGSTRATA" archive-get -q -r "$REPO" "$(basename "$(segment $i)")" "$SCRATCH/got"
		assert_ok cmp "$SCRATCH/got" "$(segment $i)"
	done
}

"$PGSTRATA" init -r "$REPO" >/dev/null
FIRST=$("$PGSTRATA" import base -q -r "$REPO" "$SCRATCH/first")
PUSHED=1
whole

# ---- full ----

assert_fails 1 'No space left on device' "$PGSTRATA" import base -q -r "$REPO" "$SCRATCH/large"
whole
while [ "$PUSHED" -lt 12 ]; do
	"$PGSTRATA" archive-push -q -r "$REPO" "$(segment $((PUSHED + 1)))" 2>"$SCRATCH/error" || break
	PUSHED=$((PUSHED + 1))
done
assert_ok test "$PUSHED" -lt 12
assert_ok grep -q 'No space left on device' "$SCRATCH/error"
whole
# What is there already is known also on a full disk, and a mount does not need room on it.
assert_ok "$PGSTRATA" archive-push -q -r "$REPO" "$(segment 2)"
mount_start "$REPO" "$SCRATCH/mnt"
assert_ok diff -r "$SCRATCH/first" "$SCRATCH/mnt/main/backups/latest/data"
mount_stop "$SCRATCH/mnt"
# Room again.
mount -o remount,size=40m "$DISK"
assert_ok "$PGSTRATA" import base -q -r "$REPO" "$SCRATCH/large" >"$SCRATCH/large.id"
PUSHED=$((PUSHED + 1))
assert_ok "$PGSTRATA" archive-push -q -r "$REPO" "$(segment "$PUSHED")"
whole
# An index cache that has no room is no more than slow.
mkdir "$SCRATCH/no-room"
mount -t tmpfs -o size=4k,mode=755 pgstrata-test "$SCRATCH/no-room"
cleanup_push umount "$SCRATCH/no-room"
PGSTRATA_CACHE_DIR=$SCRATCH/no-room whole

# ---- read-only ----

mount -o remount,ro "$DISK"
assert_fails 1 'Read-only file system' "$PGSTRATA" import base -q -r "$REPO" "$SCRATCH/first"
assert_fails 1 'Read-only file system' "$PGSTRATA" archive-push -q -r "$REPO" "$(segment 12)"
whole
assert_ok "$PGSTRATA" list -r "$REPO" >"$SCRATCH/list"
mount_start "$REPO" "$SCRATCH/mnt"
assert_ok diff -r "$SCRATCH/first" "$SCRATCH/mnt/main/backups/$FIRST/data"
mount_stop "$SCRATCH/mnt"
mount -o remount,rw "$DISK"

# ---- somebody else's ----

install -d -o nobody "$SCRATCH/nobody"
cp "$(segment 12)" "$SCRATCH/nobody"
as_nobody() {
	runuser -u nobody -- env PGSTRATA_CACHE_DIR="$SCRATCH/nobody" "$PGSTRATA" "$@"
}
chmod -R go-rwx "$REPO"
for verb in 'verify -q' 'list' "archive-push -q $SCRATCH/nobody/$(basename "$(segment 12)")" "import base -q $SCRATCH/first"; do
	# shellcheck disable=SC2086
	assert_fails 1 'Permission denied' as_nobody ${verb} -r "$REPO"
done
chmod -R go+rX "$REPO"
assert_ok as_nobody verify -q -r "$REPO" >"$SCRATCH/verify"
assert_fails 1 'Permission denied' as_nobody archive-push -q -r "$REPO" "$SCRATCH/nobody/$(basename "$(segment 12)")"
assert_fails 1 'Permission denied' as_nobody import base -q -r "$REPO" "$SCRATCH/first"
whole
