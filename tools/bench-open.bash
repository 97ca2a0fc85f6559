# shellcheck shell=bash disable=SC2154
# The bench's rows about a base backup that is opened instead of restored; tools/bench sources it and owns run, work and rounds.
#
# From the command to the first answer of a server on the first backup, cold, and what was written to the disk until then:
#   pgstrata   open: a branch in a mount
#   overlay    squashfuse_ll below, an overlay above: what a shell can do; the kernel copies whole files
#   plain      cp -a of the backup
# The backup holds the WAL that it needs, so nothing has to be archived. pgBackRest is not among them: its backup of this bench
# has no WAL and does not start; what its restore alone takes is in the row restore-first.

OPEN_QUERY='SELECT count(*) FROM pgbench_branches'

opened_first() {
	local who
	# squashfuse gives every file its owner of the archive, and the server must own its files: an archive for this row.
	[ -e "$run/open.squashfs" ] || quiet mksquashfs "$work/A" "$run/open.squashfs" -comp zstd -Xcompression-level 3 \
		-no-progress -force-uid "$(id -u postgres)" -force-gid "$(id -g postgres)"
	for who in $(turns "$PEERS_open_first"); do
		rm -rf "$run/out" "$run/upper" "$run/overlay.work" "$run/branches"
		mkdir "$run/upper" "$run/overlay.work" "$run/out"
		drop_caches
		timed "open_$who"
		sample open-first "$who" "$TOOK"
		"written_$who" >"$run/written"
		sample open-written "$who" "$(in_mb "$(cat "$run/written")")"
		"close_$who"
	done
	sample open-first limit "$LIMIT_open_first"
	sample open-written limit "$LIMIT_open_written"
	rm -rf "$run/out" "$run/upper" "$run/overlay.work" "$run/branches"
}

# Bytes of disk.
blocks_of() {
	find "$@" -printf '%b\n' | awk '{ s += $1 } END { printf "%.0f\n", s * 512 }'
}

open_pgstrata() {
	local conn
	conn=$("$PGSTRATA" open -q -r "$run/pgstrata" -b "$(snapshot_id A)" -n bench --scratch "$run/branches")
	cleanup_push "$PGSTRATA" close -r "$run/pgstrata" --scratch "$run/branches" bench
	"$PG_BIN/psql" -XAtq -d "$conn" -c "$OPEN_QUERY"
}

written_pgstrata() {
	blocks_of "$run/branches"/*/main/bench
}

close_pgstrata() {
	unset 'CLEANUP_STACK[-1]'
	quiet "$PGSTRATA" close -r "$run/pgstrata" --scratch "$run/branches" bench
}

open_overlay() {
	squashfuse_ll -o allow_other "$run/open.squashfs" "$run/mnt"
	chown postgres: "$run/upper"
	chmod 700 "$run/upper"
	mount -t overlay overlay -o "lowerdir=$run/mnt,upperdir=$run/upper,workdir=$run/overlay.work" "$run/out"
	cleanup_push umount "$run/out"
	pg_start "$run/out"
	pg_sql "$run/out" -d postgres -c "$OPEN_QUERY"
}

written_overlay() {
	blocks_of "$run/upper"
}

close_overlay() {
	pg_stop "$run/out"
	umount "$run/out"
	unset 'CLEANUP_STACK[-1]' 'CLEANUP_STACK[-1]' # umount, pg_stop
	mount_stop "$run/mnt"
}

open_plain() {
	cp -a "$work/A/." "$run/out"
	chown -R postgres: "$run/out"
	chmod 700 "$run/out"
	pg_start "$run/out"
	pg_sql "$run/out" -d postgres -c "$OPEN_QUERY"
}

written_plain() {
	blocks_of "$run/out"
}

close_plain() {
	pg_stop "$run/out"
}
