#!/bin/bash
# The promises of a file system (tests/posix_tree.c) and the bytes of its files (tests/posix_bytes.c): first on a plain
# directory, which proves the tests, then on branches of both kinds, new files and the backup's, and again after a new mount.
set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../small_lib.sh"
. "$(dirname "$0")/../branch_lib.sh"

need_root
pkg_install fuse3 attr gcc libc6-dev
scratch_new branch_posix
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
for program in posix_tree posix_bytes; do
	cc -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O1 -g -Wall -Wextra -Werror -o "$SCRATCH/$program" \
		"$LIB_ROOT/tests/$program.c"
done
seed=${PGSTRATA_SEED:-1}
steps=${STEPS:-400}

mkdir "$SCRATCH/plain"
assert_ok "$SCRATCH/posix_tree" "$SCRATCH/plain"
assert_ok "$SCRATCH/posix_bytes" "$SCRATCH/plain/file" "$seed" "$steps"

small_backup base 800
"$PGSTRATA" init -r "$REPO" >/dev/null
"$PGSTRATA" import base "$SCRATCH/base" -r "$REPO" -q >/dev/null
branches_mount "$REPO" "$MNT" --log "$SCRATCH/mount.log"
for durable in false true; do
	branch_make "$durable" 0 "$durable"
	B=$MNT/main/open/$durable/data
	mkdir "$B/tests"
	chmod 755 "$B"
	assert_ok "$SCRATCH/posix_tree" --branch "$B/tests"
	assert_ok "$SCRATCH/posix_bytes" "$B/new" "$seed" "$steps"
	assert_ok "$SCRATCH/posix_bytes" "$B/base/1/1001" "$seed" "$steps"
	# Each begins with what the one before left.
	(cd "$B" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$SCRATCH/sums.$durable"
	(cd "$B" && find . -printf '%p %m %U %G %n %s %T@ %l\n' | sort) >"$SCRATCH/tree.$durable"
done
mount_stop "$MNT"
branches_mount "$REPO" "$MNT" --log "$SCRATCH/mount.log"
for durable in false true; do
	B=$MNT/main/open/$durable/data
	(cd "$B" && find . -printf '%p %m %U %G %n %s %T@ %l\n' | sort) >"$SCRATCH/tree2"
	assert_ok diff "$SCRATCH/tree.$durable" "$SCRATCH/tree2"
	(cd "$B" && find . -type f -print0 | sort -z | xargs -0 sha256sum) | assert_ok diff "$SCRATCH/sums.$durable" -
	assert_ok "$SCRATCH/posix_bytes" "$B/base/1/1001" "$((seed + 1))" "$steps"
	rm -r "${B:?}/tests"
	# What went gave its room back.
	assert_match "$(du -s --block-size=1M "$BRANCHES/$durable/files" | cut -f 1)" '^[0-4]$'
done
mount_stop "$MNT"
assert_eq "$(grep -c -E 'error|warning' "$SCRATCH/mount.log" || true)" 0 "lines in the log: $(cat "$SCRATCH/mount.log")"
