#!/bin/bash
# Base backups in every form that pg_basebackup writes: what is imported is what lay there, the mount passes
# pg_verifybackup, and PostgreSQL starts on restored and on copied trees, each with its own tablespace.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new import-forms
# shellcheck source-path=SCRIPTDIR source=../import_lib.sh
. "$LIB_ROOT/tests/import_lib.sh"
pkg_install lz4 zstd
server_new
repo_new

# untar FILE DIR: GNU tar does not know lz4 by its content.
untar() {
	case $1 in
	*.gz) gzip -dc "$1" ;;
	*.lz4) lz4 -dcq "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*) cat "$1" ;;
	esac | tar -xp --same-owner -C "$2"
}

take_backup plain
take_backup fetch -X fetch
take_backup waldir "--waldir=$SCRATCH/waldir.wal"
take_backup tar -Ft
take_backup targz -Ft -z
take_backup tarlz4 -Ft --compress=client-lz4
take_backup tarzst -Ft --compress=client-zstd
take_backup srvgz -Ft --compress=server-gzip
take_backup srvzst -Ft --compress=server-zstd -X fetch
forms=(plain fetch waldir tar targz tarlz4 tarzst srvgz srvzst)

# An odd file or two that a data directory may hold, and that every form of import must keep.
for form in plain fetch waldir; do
	as_postgres ln -s /etc/hostname "$SCRATCH/$form/link"
	as_postgres install -d -m 711 "$SCRATCH/$form/pg_stat/empty"
	as_postgres rm "$SCRATCH/$form/backup_manifest"
done

for form in "${forms[@]}"; do
	take_in "$form"
	got=$("$PGSTRATA" show -r "$REPO" -c "$form" "$ID" --json)
	[[ $form = @(plain|fetch|waldir) ]] && manifest=absent || manifest=verified
	assert_match "$got" "\"manifest\": *\"$manifest\"" "$form"
	assert_match "$got" '"pg_version": *"15"' "$form"
	assert_match "$got" '"start_lsn": *"0/[0-9A-F]+"' "$form"
	assert_match "$got" '"timeline": *1' "$form"
	assert_match "$got" '"data_checksums": *true' "$form"
	assert_match "$got" '"wal_segment_size": *16777216' "$form"
	assert_match "$got" "\"tablespaces\": *\"[0-9]+=$SCRATCH/" "$form"
done

oid=$(pg_sql "$SRC" -c "SELECT oid FROM pg_tablespace WHERE spcname = 'fast'")
pg_stop "$SRC"
# From here on nothing may lean on the source: a copy whose link leads there would find nothing.
mv "$SPACE" "$SPACE.away"

mount_start "$REPO" "$SCRATCH/mnt" -o allow_other
for form in "${forms[@]}"; do
	top=$SCRATCH/mnt/$form/backups/latest
	assert_eq "$(readlink "$top/data/pg_tblspc/$oid")" "../../tablespaces/$oid" "link of $form"
	ref=$SCRATCH/$form space=$SCRATCH/$form.space skip=()
	if [[ $form = tar* || $form = srv* ]]; then
		# What tar(1) makes of it is the reference.
		ref=$SCRATCH/$form.ref space=$SCRATCH/$form.refspace
		mkdir "$ref" "$space"
		untar "$SCRATCH/$form"/base.tar* "$ref"
		untar "$SCRATCH/$form/$oid".tar* "$space"
		[ "$form" = srvzst ] || untar "$SCRATCH/$form"/pg_wal.tar* "$ref/pg_wal"
		cp -p "$SCRATCH/$form/backup_manifest" "$ref/"
		assert_ok cmp "$ref/tablespace_map" "$top/tablespace_map"
		# tar(1) has no top directories and makes them as it likes; their times change as files are put in.
		skip=(--exclude=/tablespace_map --omit-dir-times)
		chown postgres: "$ref" "$space"
		chmod 700 "$ref" "$space"
	fi
	# The WAL directory may be a link at the source and is a directory here.
	diff=$(rsync -aHAXnc --delete --itemize-changes --exclude=/pg_tblspc/* --exclude=/pg_wal "${skip[@]}" \
		"$ref/" "$top/data/")
	assert_eq "$diff" '' "data of $form"
	diff=$(rsync -aHAXnc --delete --itemize-changes "${skip[@]}" "$ref/pg_wal/" "$top/data/pg_wal/")
	assert_eq "$diff" '' "WAL of $form"
	diff=$(rsync -aHAXnc --delete --itemize-changes "${skip[@]}" "$space/" "$top/tablespaces/$oid/")
	assert_eq "$diff" '' "tablespace of $form"
	[[ $form = @(plain|fetch|waldir) ]] || as_postgres "$PG_BIN/pg_verifybackup" -q -i tablespace_map "$top/data"
done

for form in "${forms[@]}"; do
	"$PGSTRATA" restore -q -r "$REPO" -c "$form" latest "$SCRATCH/out"
	assert_eq "$(readlink "$SCRATCH/out/pg_tblspc/$oid")" "$SCRATCH/out.tablespaces/$oid" "restored link of $form"
	diff=$(rsync -aHAXnc --delete --itemize-changes --exclude=/pg_tblspc/* \
		"$SCRATCH/mnt/$form/backups/latest/data/" "$SCRATCH/out/")
	assert_eq "$diff" '' "restored data of $form"
	assert_same_tree "$SCRATCH/mnt/$form/backups/latest/tablespaces/$oid" "$SCRATCH/out.tablespaces/$oid"
	check_server "$SCRATCH/out"
	rm -rf "$SCRATCH/out" "$SCRATCH/out.tablespaces"
done

# cp -a of the whole snapshot, and a start on it: of one plain form and of two tar forms.
for form in waldir tar srvzst; do
	cp -a "$SCRATCH/mnt/$form/backups/latest/." "$SCRATCH/copy"
	check_server "$SCRATCH/copy/data"
	rm -rf "$SCRATCH/copy"
done
[ ! -e "$SPACE" ] || fail "the source's tablespace came back"
