#!/bin/bash
# Manifests: every algorithm is checked, in both formats, and every kind of difference is named and imports nothing.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new import-manifests
# shellcheck source-path=SCRIPTDIR source=../import_lib.sh
. "$LIB_ROOT/tests/import_lib.sh"
server_new
repo_new

manifest_of() {
	"$PGSTRATA" show -r "$REPO" -c "$1" latest --json | sed -n 's/.*"manifest": *"\([a-z]*\)".*/\1/p'
}

for algorithm in NONE CRC32C SHA224 SHA256 SHA384 SHA512; do
	take_backup "plain$algorithm" "--manifest-checksums=$algorithm"
	take_backup "tar$algorithm" -Ft "--manifest-checksums=$algorithm"
	for name in "plain$algorithm" "tar$algorithm"; do
		take_in "$name"
		assert_eq "$(manifest_of "$name")" verified "$name"
	done
done
take_backup without --no-manifest
take_backup tarwithout -Ft --no-manifest
for name in without tarwithout; do
	text=$("$PGSTRATA" import base -r "$REPO" -c "$name" "$SCRATCH/$name" 2>&1 >/dev/null)
	assert_match "$text" 'warning: there is no backup_manifest' "$name"
	assert_eq "$(manifest_of "$name")" absent "$name"
	assert_eq "$("$PGSTRATA" import base -q -r "$REPO" -c "$name" "$SCRATCH/$name" 2>&1 >/dev/null)" '' 'with -q'
done

state=$(repo_state)

# refused NAME REGEX: the import fails, names what it must, and leaves the repository as it was.
refused() {
	assert_fails 1 "$2" "$PGSTRATA" import base -r "$REPO" -c other "$SCRATCH/$1"
	assert_eq "$(repo_state)" "$state" "repository after $1"
}

# bend FROM COMMAND…: a copy of a backup, changed by the command, which runs in it.
bend() {
	local from=$1
	shift
	rm -rf "$SCRATCH/bent"
	cp -a "$SCRATCH/$from" "$SCRATCH/bent"
	(cd "$SCRATCH/bent" && eval "$*")
}

file=$(cd "$SCRATCH/plainCRC32C" && find base -type f -size +64k | sort | sed -n 1p)
flip='printf X | dd of="$file" bs=1 seek=9000 conv=notrunc status=none'
for algorithm in CRC32C SHA224 SHA256 SHA384 SHA512; do
	bend "plain$algorithm" "$flip"
	refused bent "not what its manifest says, 1 file differs: $file has another checksum"
done
bend plainNONE "$flip"
id=$("$PGSTRATA" import base -r "$REPO" -c unseen "$SCRATCH/bent")
state=$(repo_state)
[ -n "$id" ] || fail 'a manifest without checksums sees no flipped bit'

for algorithm in NONE CRC32C SHA256; do
	bend "plain$algorithm" 'truncate -s -8192 "$file"'
	refused bent "1 file differs: $file has [0-9]+ bytes instead of [0-9]+"
	bend "plain$algorithm" 'rm "$file"'
	refused bent "1 file differs: $file is missing"
	bend "plain$algorithm" 'touch base/odd'
	refused bent '1 file differs: base/odd is not listed'
	bend "plain$algorithm" 'touch base/odd; rm "$file"; printf x >>PG_VERSION'
	refused bent '(3 files differ|PG_VERSION)'
	bend "plain$algorithm" 'for i in 1 2 3 4 5 6; do touch base/odd$i; done'
	refused bent '6 files differ: (base/odd[1-6] is not listed; ){4}…'
	# What pg_verifybackup passes over is passed over.
	bend "plain$algorithm" 'echo "# x" >>postgresql.auto.conf; touch standby.signal recovery.signal pg_wal/odd'
	"$PGSTRATA" import base -q -r "$REPO" -c "over$algorithm" "$SCRATCH/bent" >/dev/null
	state=$(repo_state)
done

# In a tablespace.
bend plainSHA256 'mkdir ../bent.space; cp -a "$SCRATCH/plainSHA256.space/." ../bent.space
	rm pg_tblspc/*; ln -s "$SCRATCH/bent.space" "pg_tblspc/$(ls "$SCRATCH/plainSHA256/pg_tblspc")"
	there=$(find ../bent.space -type f -size +64k | sed -n 1p); printf X | dd of="$there" bs=1 conv=notrunc status=none'
refused bent '1 file differs: pg_tblspc/[0-9]+/PG_15_[0-9]+/[0-9]+/[0-9]+ has another checksum'
rm -rf "$SCRATCH/bent.space"

# In tar files: a changed byte, a member taken away, one added.
mkdir "$SCRATCH/members"
tar -xpf "$SCRATCH/tarCRC32C/base.tar" -C "$SCRATCH/members"
bend tarCRC32C '(cd ../members && printf X | dd of="$file" bs=1 seek=9000 conv=notrunc status=none &&
	tar -cf ../bent/base.tar .)'
refused bent "1 file differs: $file has another checksum"
bend tarCRC32C '(cd ../members && tar -cf ../bent/base.tar --exclude="./$file" .)'
refused bent "1 file differs: $file is missing"

# The manifest itself.
bend plainCRC32C 'sed -i "s/\"Size\": 3,/\"Size\": 4,/" backup_manifest'
refused bent 'bent/backup_manifest does not have the checksum that its last line says'
bend plainCRC32C 'truncate -s 1000 backup_manifest'
refused bent 'bent/backup_manifest'
bend plainCRC32C ': >backup_manifest'
refused bent 'bent/backup_manifest is empty'
bend plainCRC32C 'echo hello >backup_manifest'
refused bent 'bent/backup_manifest'
bend plainCRC32C 'cp ../plainSHA256/backup_manifest .'
refused bent 'not what its manifest says'

# All in one file, the manifest inside, as the server's only tablespace allows it.
pg_sql "$SRC" -c 'DROP TABLE there' -c 'DROP TABLESPACE fast'
as_postgres env PGHOST="${PG_SOCKET[$SRC]}" PGPORT="${PG_PORT[$SRC]}" PGUSER=postgres \
	"$PG_BIN/pg_basebackup" -D - -Ft -X fetch -c fast >"$SCRATCH/whole.tar"
gzip -k "$SCRATCH/whole.tar"
for name in whole.tar whole.tar.gz; do
	take_in "c$name" "$SCRATCH/$name"
	assert_eq "$(manifest_of "c$name")" verified "$name"
	rm -rf "$SCRATCH/out"
	"$PGSTRATA" restore -r "$REPO" -c "c$name" "$ID" "$SCRATCH/out"
	# An empty tablespace_map stays, so here nothing is missing.
	assert_ok as_postgres "$PG_BIN/pg_verifybackup" -q "$SCRATCH/out"
done
state=$(repo_state)
mkdir "$SCRATCH/whole"
tar -xpf "$SCRATCH/whole.tar" -C "$SCRATCH/whole"
(cd "$SCRATCH/whole" && printf X | dd of="$file" bs=1 seek=9000 conv=notrunc status=none &&
	tar -cf ../bent.tar .)
refused bent.tar "1 file differs: $file has another checksum"
