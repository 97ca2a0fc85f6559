#!/bin/bash
# Branches in the mount: what a file system does, by block and not by file; other mounts, limits, kill -9, removal; and a
# server that runs on one. How names and bytes behave under random operations is tests/unit/test_fs_branch.c's.
set -euo pipefail
. "$(dirname "$0")/lib.bash"

scratch_new branch
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
LOG=$SCRATCH/mount.log
server_start
backup_take "$SCRATCH/source/data" --no-manifest
rows=$(server_rows "$DATA")
# A file that is worth not to be copied, and a link.
as_postgres dd if=/dev/urandom of="$SCRATCH/source/data/large" bs=1M count=8 status=none
as_postgres ln -s large "$SCRATCH/source/data/link"
pg_stop "$DATA"
"$PGSTRATA" init -r "$REPO" >/dev/null
"$PGSTRATA" import base "$SCRATCH/source/data" -r "$REPO" -q >/dev/null
repository() { find "$REPO" -type f -printf '%P %s %T@\n' | sort; }
before=$(repository)

# The mount with branches.
mounted() {
	mount_start "$REPO" "$MNT" --scratch "$SCRATCH/branches" -o allow_other --log "$LOG"
}

# branch_make NAME [LIMIT [DURABLE]]: what `pgstrata open` makes in the scratch directory (fs/branch_dir.h).
branch_make() {
	install -d "$BRANCHES/$1/files"
	printf '{"version":1,"name":"%s","cluster":"main","backup":"%s","target":null,"max_bytes":%s,"durable":%s,"created":"%s"}\n' \
		"$1" "$(readlink "$MNT/main/backups/latest")" "${2:-0}" "${3:-true}" 2026-11-21T00:00:00Z >"$BRANCHES/$1/branch.json"
}

# written BRANCH: bytes of files that lie in the branch.
written() { du -s --block-size=1 "$BRANCHES/$1/files" | cut -f 1; }

# ---- a mount without branches ----------------------------------------------------------------------------------------

mount_start "$REPO" "$MNT"
[ ! -e "$MNT/main/open" ] || fail "open/ without --scratch"
assert_fails 1 'Read-only file system' touch "$MNT/main/backups/latest/data/new"
mount_stop "$MNT"

# ---- the tree, and what copies nothing -------------------------------------------------------------------------------

mounted
BRANCHES=$(getfattr -n user.pgstrata.scratch --only-values --absolute-names "$MNT")/main
assert_eq "$(ls "$MNT/main/open")" "" "branches before there are any"
assert_fails 2 'No such file' ls "$MNT/main/open/b"
install -d "$BRANCHES"
branch_make b
B=$MNT/main/open/b
assert_same_tree "$MNT/main/backups/latest/data" "$B/data"
assert_eq "$(readlink "$B/data/link")" large
assert_eq "$(ls "$MNT/main/open" "$B")" "$(printf '%s\n' "$MNT/main/open:" b "" "$B:" data)"

empty=$(written b)
chmod 640 "$B/data/large"
chown root: "$B/data/large"
touch -d '2020-01-01 UTC' "$B/data/large"
python3 - "$B/data/large" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.fsync(fd)
os.close(fd)
PY
mv "$B/data/large" "$B/data/base/large"
mv "$B/data/base/large" "$B/data/large"
assert_eq "$(stat -c '%a %U %Y' "$B/data/large")" "640 root 1577836800"
assert_eq "$(written b)" "$empty" "bytes written for attributes and names"
# Three bytes over the edge of two blocks.
printf abc | dd of="$B/data/large" bs=1 seek=16383 conv=notrunc status=none
cp "$SCRATCH/source/data/large" "$SCRATCH/large"
printf abc | dd of="$SCRATCH/large" bs=1 seek=16383 conv=notrunc status=none
assert_ok cmp "$SCRATCH/large" "$B/data/large"
[ "$(($(written b) - empty))" -le 40960 ] || fail "$(($(written b) - empty)) bytes written for three"
assert_eq "$(stat -c '%b %B' "$B/data/large")" "32 512" "what a file of two written blocks takes"
assert_ok cmp "$SCRATCH/source/data/large" "$MNT/main/backups/latest/data/large"

# ---- system calls ----------------------------------------------------------------------------------------------------

mkdir "$B/data/calls"
chmod 1777 "$B/data/calls"
python3 - "$B/data/calls" "$MNT" <<'PY'
import ctypes, errno, fcntl, mmap, os, socket, stat, subprocess, sys

os.chdir(sys.argv[1])
mnt = sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)


def refused(no, fn, *args, **kwargs):
    try:
        fn(*args, **kwargs)
    except OSError as e:
        assert e.errno == no, (fn, args, e)
    else:
        raise AssertionError((fn, args, 'succeeded'))


def rename(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), a)


def text(name):
    with open(name) as f:
        return f.read()


def put(name, what):
    with open(name, 'w') as f:
        f.write(what)


# create, append, truncate, O_EXCL, O_TRUNC
put('a', 'one')
fd = os.open('a', os.O_WRONLY | os.O_APPEND)
os.pwrite(fd, b'', 0)
os.write(fd, b' two')
os.close(fd)
assert text('a') == 'one two'
refused(errno.EEXIST, os.open, 'a', os.O_CREAT | os.O_EXCL | os.O_RDWR)
os.truncate('a', 3)
os.truncate('a', 5)
assert text('a') == 'one\0\0'
put('a', 'new')
assert text('a') == 'new' and os.stat('a').st_size == 3
refused(errno.ENAMETOOLONG, put, 'n' * 256, '')

# names
put('b', 'b')
inode = os.stat('a').st_ino
os.rename('a', 'b')
assert text('b') == 'new' and os.stat('b').st_ino == inode and not os.path.exists('a')
put('a', 'a')
refused(errno.EEXIST, rename, 'a', 'b', 1)
rename('a', 'c', 1)
refused(errno.EINVAL, rename, 'b', 'c', 2)
os.mkdir('d')
os.mkdir('d/e')
assert os.stat('d/e').st_nlink == 2
refused(errno.ENOTEMPTY, os.rmdir, 'd')
refused(errno.EISDIR, os.rename, 'b', 'd')
refused(errno.ENOTDIR, os.rename, 'd', 'b')
refused(errno.EINVAL, os.rename, 'd', 'd/e/f')
os.rename('d/e', 'e')
assert os.listdir('d') == [] and os.stat('e/..').st_ino == os.stat('.').st_ino
os.rename('e', 'd')
os.link('b', 'b2')
assert os.stat('b').st_nlink == 2 and os.stat('b2').st_ino == inode
os.unlink('b')
assert os.stat('b2').st_nlink == 1 and text('b2') == 'new'
refused(errno.EPERM, os.link, 'd', 'd2')
os.symlink('b2', 's')
assert os.readlink('s') == 'b2' and text('s') == 'new' and os.lstat('s').st_size == 2
os.mkfifo('fifo')
assert stat.S_ISFIFO(os.stat('fifo').st_mode)
refused(errno.EPERM, os.mknod, 'null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
server = socket.socket(socket.AF_UNIX)
server.bind('socket')
server.listen()
socket.socket(socket.AF_UNIX).connect('socket')
refused(errno.EOPNOTSUPP, os.setxattr, 'b2', 'user.x', b'y')
assert sorted(os.listdir('.')) == ['b2', 'c', 'd', 'fifo', 's', 'socket']

# attributes
os.chmod('c', 0o4755)
os.utime('c', ns=(1000000001, 2000000002))
st = os.stat('c')
assert st.st_atime_ns == 1000000001 and st.st_mtime_ns == 2000000002 and st.st_mode & 0o7777 == 0o4755
subprocess.run(['chown', 'nobody', 'c'], check=True)
put_by_nobody = 'import os; f = os.open("c", os.O_WRONLY); os.write(f, b"x")'
subprocess.run(['setpriv', '--reuid', 'nobody', '--clear-groups', 'python3', '-c', put_by_nobody], check=True)
assert os.stat('c').st_mode & 0o7777 == 0o755 and os.stat('c').st_mtime > 1e9
denied = subprocess.run(['setpriv', '--reuid', 'postgres', '--clear-groups', 'rm', '-f', 'c'], capture_output=True)
assert denied.returncode == 1, 'the sticky bit held nobody off'

# unlinked but open; removed but inside
fd = os.open('u', os.O_CREAT | os.O_RDWR)
os.write(fd, b'x' * 20000)
os.unlink('u')
assert os.fstat(fd).st_nlink == 0 and os.fstat(fd).st_size == 20000
os.ftruncate(fd, 30000)
os.pwrite(fd, b'yy', 25000)
assert os.pread(fd, 20000, 19999) == b'x' + b'\0' * 5000 + b'yy' + b'\0' * 4998
os.close(fd)
put('d/x', '')
put('y', 'y')
fd = os.open('d/x', os.O_RDWR)
os.write(fd, b'old')
os.rename('y', 'd/x')
assert os.pread(fd, 9, 0) == b'old' and text('d/x') == 'y'
os.close(fd)

# allocation, holes, sparse files
fd = os.open('f', os.O_CREAT | os.O_RDWR)
os.posix_fallocate(fd, 0, 100000)
assert os.fstat(fd).st_size == 100000 and os.pread(fd, 100000, 0) == b'\0' * 100000
os.pwrite(fd, b'z' * 100000, 0)
FALLOC_KEEP, FALLOC_PUNCH, FALLOC_ZERO = 1, 2, 16


def fallocate(mode, off, length):
    if libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(length)) < 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


fallocate(FALLOC_KEEP | FALLOC_PUNCH, 5000, 20000)
fallocate(FALLOC_ZERO, 99000, 2000)
fallocate(FALLOC_KEEP, 100000, 1000000)
want = bytearray(b'z' * 99000 + b'\0' * 2000)
want[5000:25000] = b'\0' * 20000
assert os.pread(fd, 200000, 0) == want and os.fstat(fd).st_size == 101000
refused(errno.EOPNOTSUPP, fallocate, 8, 0, 8192)
os.pwrite(fd, b'end', 1 << 40)
assert os.fstat(fd).st_size == (1 << 40) + 3 and os.pread(fd, 5, (1 << 40) - 2) == b'\0\0end'
refused(errno.EFBIG, os.pwrite, fd, b'x', 1 << 62)
os.ftruncate(fd, 101000)
assert os.lseek(fd, 0, os.SEEK_HOLE) == 101000 and os.lseek(fd, 7, os.SEEK_DATA) == 7

# mmap, O_DIRECT, copy_file_range, locks
m = mmap.mmap(fd, 101000)
m[50000:50004] = b'mmap'
m.flush()
assert os.pread(fd, 4, 50000) == b'mmap'
os.pwrite(fd, b'pwrite', 60000)
assert m[60000:60006] == b'pwrite'
m.close()
direct = os.open('f', os.O_RDWR | os.O_DIRECT)
page = mmap.mmap(-1, 8192)
page[:] = b'D' * 8192
assert os.pwritev(direct, [page], 16384) == 8192 and os.pread(fd, 8194, 16383) == b'\0' + b'D' * 8192 + b'\0'
os.preadv(direct, [page], 49152)
assert page[50000 - 49152:50004 - 49152] == b'mmap'
out = os.open('g', os.O_CREAT | os.O_RDWR)
done = 0
while done < 101000:
    some = os.copy_file_range(fd, out, 101000 - done, done, done)
    assert some > 0
    done += some
assert os.pread(out, 200000, 0) == os.pread(fd, 200000, 0)
fcntl.flock(fd, fcntl.LOCK_EX)
refused(errno.EWOULDBLOCK, fcntl.flock, direct, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(out, fcntl.LOCK_EX)
probe = 'import fcntl, os; fcntl.lockf(os.open("g", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)'
assert subprocess.run(['python3', '-c', probe], stderr=subprocess.DEVNULL).returncode == 1, 'a lock that locks nobody out'
where = os.open('.', os.O_RDONLY)
os.fsync(where)

# a directory that changes while it is read: what stays comes once
os.mkdir('many')
for i in range(500):
    put('many/%d' % i, '')
seen = []
for entry in os.scandir('many'):
    seen.append(entry.name)
    if int(entry.name) % 2:
        os.unlink('many/' + entry.name)
        put('many/n' + entry.name if len(seen) < 50 else 'many/0', '')
    if len(seen) == 40:
        break
assert len(set(seen)) == len(seen)
assert len(set(os.listdir('many'))) == len(os.listdir('many'))

# everything else cannot be written
for name in ('', '/README.txt', '/main', '/main/open', '/main/backups/latest/data/PG_VERSION'):
    refused(errno.EROFS, os.chmod, mnt + name, 0o700)
refused(errno.EROFS, os.mkdir, mnt + '/main/open/x')
refused(errno.EROFS, os.open, mnt + '/main/backups/latest/data/PG_VERSION', os.O_WRONLY)
refused(errno.EROFS, os.rename, mnt + '/main/backups', mnt + '/main/x')
refused(errno.EROFS, os.rename, mnt + '/main/open/b', mnt + '/main/open/c')
refused(errno.EROFS, os.rmdir, mnt + '/main/open')
refused(errno.EROFS, os.link, mnt + '/README.txt', 'readme')
refused(errno.EROFS, os.unlink, mnt + '/README.txt')
PY

# ---- limits, other branches, other mounts ----------------------------------------------------------------------------

branch_make small 4000000
S=$MNT/main/open/small
assert_match "$(df --output=size,avail -B 1000000 "$S" | tail -n 1)" '^ *[45] +4$'
assert_fails 1 'No space left' dd if=/dev/urandom of="$S/data/filler" bs=8192 count=1000 status=none
assert_ok cmp "$SCRATCH/source/data/large" "$S/data/large"
[ "$(written small)" -le 4100000 ] || fail "$(written small) bytes written, more than the limit"
rm "$S/data/filler"
python3 -c 'import os, sys; f = os.open(sys.argv[1], os.O_RDWR); os.fsync(f)' "$S/data/large"
echo again >"$S/data/again"
assert_fails 1 'cross-device' ln "$B/data/large" "$S/data/other"
mkdir "$SCRATCH/mnt2"
mount_start "$REPO" "$SCRATCH/mnt2" --scratch "$SCRATCH/branches" -o allow_other
assert_eq "$(ls "$SCRATCH/mnt2/main/open")" "$(printf 'b\nsmall')"
assert_fails 2 'Device or resource busy' ls "$SCRATCH/mnt2/main/open/b"
mount_stop "$SCRATCH/mnt2"

exec 7<"$S/data/again"
assert_fails 1 'Device or resource busy' rmdir "$S"
exec 7<&-
# The kernel tells the mount of the last close when it has time.
for ((i = 0; i < 600; i++)); do
	rmdir "$S" 2>/dev/null && break
	sleep 0.1
done
[ ! -e "$S" ] || fail "the branch is still there"
[ ! -e "$BRANCHES/small" ] || fail "the removed branch's directory is still there"
branch_make small
assert_eq "$(stat -c %s "$S/data/large")" 8388608 "a new branch with the name of the old one"
[ ! -e "$S/data/again" ] || fail "a new branch has a file of the removed one"

# ---- kill -9 ---------------------------------------------------------------------------------------------------------

# Names outlive it at once, bytes and sizes with fsync.
rm -r "$B/data/calls"
cp "$SCRATCH/source/data/large" "$B/data/copy"
sync "$B/data/copy" "$B/data/large"
(cd "$B/data" && find . -printf '%p %m %u %g %n %s %T@ %l\n' | sort) >"$SCRATCH/tree"
pid=$(mount_pid "$MNT")
kill -KILL "$pid"
for ((i = 0; i < 600; i++)); do
	mount_is_dead "$MNT" && [ ! -d "/proc/$pid" ] && break
	sleep 0.1
done
mount_stop "$MNT"
mounted
(cd "$B/data" && find . -printf '%p %m %u %g %n %s %T@ %l\n' | sort) >"$SCRATCH/tree2"
assert_ok diff "$SCRATCH/tree" "$SCRATCH/tree2" >&2
assert_ok cmp "$SCRATCH/large" "$B/data/large"
assert_ok cmp "$SCRATCH/source/data/large" "$B/data/copy"

# ---- a server --------------------------------------------------------------------------------------------------------

rm "$B/data/copy"
pg_start "$B/data"
assert_eq "$(server_rows "$B/data")" "$rows" "rows of the backup"
pg_sql "$B/data" -d postgres -c "INSERT INTO big SELECT i, 0 FROM generate_series(1, 1000) i" -c 'VACUUM FULL t' \
	-c 'CREATE DATABASE third TEMPLATE twin'
rows=$(server_rows "$B/data")
pg_stop "$B/data"
mount_stop "$MNT"
mounted
pg_start "$B/data"
assert_eq "$(server_rows "$B/data")" "$rows" "rows after a new mount"
pg_stop "$B/data"
mount_stop "$MNT"
assert_eq "$(repository)" "$before" "the repository"
assert_eq "$(grep -c -E 'error|warning' "$LOG" || true)" 0 "lines in the log: $(cat "$LOG")"
