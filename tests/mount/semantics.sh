#!/bin/bash
# What a file system promises, held against the source of the backup: names, numbers, bytes at any offset, errors.
set -euo pipefail
. "$(dirname "$0")/lib.bash"

MANY=200000

scratch_new mount-semantics
client_build
server_start
# In memory: 200,000 files are made there in a second.
mkdir "$SCRATCH/memory"
mount -t tmpfs -o mode=755 none "$SCRATCH/memory"
cleanup_push umount "$SCRATCH/memory"
backup_take "$SCRATCH/memory/backup" --no-manifest
pg_stop "$DATA"
source=$SCRATCH/memory/backup

# A directory that no server makes: 200,000 entries, names of every byte, sizes around what is inlined and chunked,
# zeroes, odd modes, old times, empty directories, links to nowhere.
perl - "$source/extra" "$MANY" <<'PERL'
	my ($dir, $many) = @ARGV;
	mkdir $dir or die;
	mkdir "$dir/many" or die;
	for my $i (1 .. $many) {
		open my $f, '>', "$dir/many/f$i" or die;
		print $f $i if $i % 1000 == 0;
	}
	mkdir "$dir/names" or die;
	for my $c (1 .. 255) {
		next if chr($c) eq '/';
		open my $f, '>', "$dir/names/a" . chr($c) . "z" or die;
		print $f chr($c) x $c;
	}
	open my $long, '>', "$dir/names/" . ('n' x 255) or die;
	mkdir "$dir/names/" . ("\xff" x 255) or die;
	symlink "x" x 4000, "$dir/names/link" or die;
	symlink "../many/f1000", "$dir/names/to-f1000" or die;
	mkdir "$dir/sizes" or die;
	my $seed = 7;
	for my $size (0, 1, 511, 512, 513, 1023, 1024, 1025, 8191, 8192, 65535, 65536, 65537, 131072, 1000000, 5000001) {
		open my $f, '>', "$dir/sizes/$size" or die;
		my $left = $size;
		while ($left > 0) {
			my $block = '';
			for (1 .. 512) { $seed = ($seed * 1103515245 + 12345) % 2147483648; $block .= pack 'N', $seed; }
			print $f substr $block, 0, $left;
			$left -= length $block;
		}
		chmod $size % 2 ? 0400 : 04751, $f;
		close $f;
		utime 1 + $size, 1 + $size, "$dir/sizes/$size";
	}
	# Zeroes: all, at the beginning, in the middle, at the end; and a hole.
	for my $shape (qw(0000 0011 1001 1100 0110)) {
		open my $f, '>', "$dir/sizes/zero-$shape" or die;
		print $f ($_ ? 'data' : "\0\0\0\0") x 65536 for split //, $shape;
	}
	open my $hole, '>', "$dir/sizes/hole" or die;
	truncate $hole, 300 * 1024 * 1024 or die;
	mkdir "$dir/empty" or die;
	chmod 01777, "$dir/empty";
PERL
chown -h -R postgres: "$source/extra"
touch -h -d '1999-12-31 23:59:59.123456789' "$source/extra/names/link"

"$PGSTRATA" init -r "$SCRATCH/repo" >/dev/null
id=$("$PGSTRATA" import base -q -r "$SCRATCH/repo" "$source")
mount_start "$SCRATCH/repo" "$SCRATCH/mnt"
backup=$SCRATCH/mnt/main/backups/$id
data=$backup/data

# ---- names: lookup without readdir before it, and what is not there ----

assert_eq "$(cat "$data/extra/many/f777000" 2>&1 || true)" "cat: $data/extra/many/f777000: No such file or directory" \
	"a file that is not there"
assert_eq "$(cat "$data/extra/many/f12000")" 12000 "a file by its name"
assert_fails 1 "Not a directory" stat "$data/PG_VERSION/x"
assert_fails 1 "No such file" stat "$SCRATCH/mnt/other"
assert_fails 1 "No such file" stat "$SCRATCH/mnt/main/backups/2000-01-01T00-00-00Z"

# ---- directories ----

assert_eq "$("$CLIENT" dir "$data/extra/many")" "$MANY" "entries of the large directory"
assert_eq "$("$CLIENT" dir "$data/extra/many")" "$MANY" "entries of it when the kernel has it"
assert_eq "$("$CLIENT" dir "$data/extra/empty")" 0 "entries of the empty directory"
assert_eq "$("$CLIENT" dir "$data/extra/names")" "$(find "$source/extra/names" -mindepth 1 -printf x | wc -c)" "hostile names"
"$CLIENT" dir "$SCRATCH/mnt" >/dev/null
"$CLIENT" dir "$SCRATCH/mnt/main/backups" >/dev/null
"$CLIENT" dir "$backup" >/dev/null
"$CLIENT" dir "$data/base" >/dev/null

# ---- everything as it was, whatever the name ----

diff=$(rsync -aHAXnc --delete --itemize-changes --exclude=/extra/many "$source/" "$data/")
assert_eq "$diff" "" "rsync"
for where in "$source" "$data"; do
	(cd "$where/extra/many" && find . -type f -printf '%P %m %U %G %s %T@ %n\n' | sort
	find . -type f -size +0 | sort | xargs cat) >"$SCRATCH/many.${where##*/}"
done
assert_ok cmp "$SCRATCH/many.backup" "$SCRATCH/many.data"

# ---- inode numbers: one each, and the same after the kernel forgot them ----

# Without the names that have a newline in them.
inodes() {
	find "$SCRATCH/mnt" -not -path '*/names/*' -printf '%i %p\n' | LC_ALL=C sort -k 2
}
inodes >"$SCRATCH/inodes"
entries=$(wc -l <"$SCRATCH/inodes")
[ "$entries" -gt "$MANY" ] || fail "find saw $entries entries"
assert_eq "$(cut -d ' ' -f 1 "$SCRATCH/inodes" | sort -u | wc -l)" "$entries" "distinct inode numbers"
echo 2 >/proc/sys/vm/drop_caches
# Looked up one by one now, the last first, not listed.
tac "$SCRATCH/inodes" | awk 'NR % 50 == 1' >"$SCRATCH/some"
cut -d ' ' -f 2- "$SCRATCH/some" | xargs -d '\n' stat -c '%i %n' >"$SCRATCH/some.again"
assert_ok cmp "$SCRATCH/some" "$SCRATCH/some.again"
echo 2 >/proc/sys/vm/drop_caches
inodes >"$SCRATCH/inodes.again"
assert_ok cmp "$SCRATCH/inodes" "$SCRATCH/inodes.again"
assert_eq "$(find "$data/extra/sizes" -mindepth 1 -printf '%i\n' | sort)" \
	"$(stat -c %i "$data"/extra/sizes/* | sort)" "numbers from readdir and from stat"

# ---- bytes: any place, any size, mapped, by many at once ----

big=$(cd "$source" && find base -type f -size +2M | sed -n 1p)
for file in "$big" extra/sizes/5000001 extra/sizes/65537 extra/sizes/1024 extra/sizes/0 extra/sizes/zero-0110 \
	extra/sizes/zero-1001 extra/sizes/hole; do
	drop_caches
	"$CLIENT" random "$source/$file" "$data/$file" 400 "$RANDOM"
done
for file in "$big" extra/sizes/5000001 extra/sizes/513 extra/sizes/zero-0011; do
	drop_caches
	"$CLIENT" mmap "$source/$file" "$data/$file"
done
drop_caches
"$CLIENT" threads 16 "$source/$big" "$data/$big"
drop_caches
"$CLIENT" threads 16 "$source/extra/sizes/5000001" "$data/extra/sizes/5000001"
cp --sparse=always "$data/extra/sizes/hole" "$SCRATCH/hole"
assert_eq "$(stat -c %s "$SCRATCH/hole")" $((300 * 1024 * 1024)) "size of the copied hole"
assert_ok cmp "$source/extra/sizes/zero-0110" "$data/extra/sizes/zero-0110"

# ---- nothing can be written ----

"$CLIENT" writes "$data" "$data/PG_VERSION"
"$CLIENT" writes "$SCRATCH/mnt" "$SCRATCH/mnt/README.txt"
"$CLIENT" writes "$backup" "$backup/info.json"
# Also when root has made the mount writable: then it is the driver that refuses.
mount -i -o remount,rw "$SCRATCH/mnt"
assert_fails 1 "Read-only file system" touch "$data/fresh"
assert_fails 1 "Read-only file system" mkdir "$data/fresh"
assert_fails 1 "Read-only file system" rm "$data/PG_VERSION"
assert_fails 1 "Read-only file system" chmod 777 "$data/PG_VERSION"
assert_fails 1 "Read-only file system" truncate -s 0 "$data/PG_VERSION"
assert_fails 1 "Read-only file system" mv "$data/PG_VERSION" "$data/x"
mount -i -o remount,ro "$SCRATCH/mnt"

# ---- attributes ----

attr() {
	getfattr -h --only-values -n "user.pgstrata.$1" "$2" 2>/dev/null
}
assert_eq "$(attr snapshot "$data/PG_VERSION")" "$id" "the snapshot of a file"
assert_eq "$(attr snapshot "$backup")" "$id" "the snapshot of its directory"
assert_eq "$(attr digest "$data/PG_VERSION")" "0:$(sha256sum <"$source/PG_VERSION" | cut -d ' ' -f 1)" "digest of a small file"
assert_eq "$(attr digest "$data/extra/sizes/8192")" "0:$(sha256sum <"$source/extra/sizes/8192" | cut -d ' ' -f 1)" \
	"digest of a file of one chunk"
assert_match "$(attr digest "$data/extra/sizes/5000001")" '^1:[0-9a-f]{64}$' "digest of a file with a map"
assert_fails 1 "No such attribute" getfattr -n user.pgstrata.digest "$data/base"
assert_fails 1 "No such attribute" getfattr -n user.other "$data/PG_VERSION"
assert_eq "$(getfattr -d -m - "$data/PG_VERSION" 2>&1)" "" "what is listed of a file"
assert_match "$(getfattr -d -m - "$backup" 2>/dev/null)" 'user.pgstrata.snapshot' "what is listed of a snapshot"

# ---- df: what the repository takes, what is left ----

used=$(df -B 1 --output=used "$SCRATCH/mnt" | tail -n 1)
real=$(du -s --apparent-size --block-size=1 "$SCRATCH/repo" | cut -f 1)
assert_between "$used" $((real * 8 / 10)) $((real * 12 / 10 + 100000)) "df: bytes used"
left=$(df -B 1M --output=avail "$SCRATCH/mnt" | tail -n 1)
room=$(df -B 1M --output=avail "$SCRATCH/repo" | tail -n 1)
assert_between "$left" $((room - 2000)) $((room + 2000)) "df: MB left"

# ---- a backup that is imported now appears; who reads a directory meanwhile is not disturbed ----

rm -rf "$source/extra"
sed -i 's/^LABEL: .*/LABEL: the second/' "$source/backup_label"
second=$("$PGSTRATA" import base -q -r "$SCRATCH/repo" "$source")
[ "$second" != "$id" ] || fail "two backups have the id $id"
sleep 1.2
assert_eq "$(ls "$SCRATCH/mnt/main/backups")" "$(printf '%s\n' "$id" "$second" latest | sort)" "backups/ after the import"
assert_eq "$(readlink "$SCRATCH/mnt/main/backups/latest")" "$second" "latest after the import"
assert_same_tree "$source" "$SCRATCH/mnt/main/backups/latest/data"
third=$("$PGSTRATA" import base -q -c other -r "$SCRATCH/repo" "$source" 2>/dev/null || true)
if [ -n "$third" ]; then
	sleep 1.2
	assert_eq "$(ls "$SCRATCH/mnt")" "README.txt
main
other" "the root after another cluster came"
fi
assert_eq "$(stat -c %i "$data/PG_VERSION")" \
	"$(awk -v path="$data/PG_VERSION" '$2 == path { print $1 }' "$SCRATCH/inodes")" "an old inode number"

umount_ours "$SCRATCH/mnt"
