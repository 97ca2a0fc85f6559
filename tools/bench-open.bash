# shellcheck shell=bash disable=SC2154
# The bench's rows about a base backup that is opened instead of restored; tools/bench sources it and owns run, work and rounds.
#
# From the command to the first answer of a server on the first backup, cold, and what was written to the disk until then:
#   pgstrata   open: a branch in a mount
#   overlay    squashfuse_ll below, an overlay above: what a shell can do; the kernel copies whole files
#   pgbackrest its restore, of a backup of the same cluster with its WAL (archive-copy)
#   plain      cp -a of the backup
# The backup holds the WAL that it needs, so nothing is fetched from an archive.

OPEN_QUERY='SELECT count(*) FROM pgbench_branches'

opened_first() {
	local who
	[ -d "$run/open.pgbackrest" ] || open_pgbackrest_repository
	# squashfuse gives every file its owner of the archive, and the server must own its files: an archive for this row.
	[ -e "$run/open.squashfs" ] || quiet mksquashfs "$work/A" "$run/open.squashfs" -comp zstd -Xcompression-level 3 \
		-no-progress -force-uid "$(id -u postgres)" -force-gid "$(id -g postgres)"
	for who in $(turns "$PEERS_open_first"); do
		rm -rf "$run/out" "$run/upper" "$run/overlay.work" "$run/branches"
		mkdir "$run/upper" "$run/overlay.work" "$run/out"
		cold
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

OPEN_PGBACKREST=()

# pgBackRest's other backups of this bench have no WAL and do not start.
open_pgbackrest_repository() {
	local cluster=$work/pgA
	local -a server
	OPEN_PGBACKREST=(--stanza=open --repo1-path="$run/open.pgbackrest" --lock-path="$run/open.lock" --log-level-console=warn
		--log-level-file=off)
	install -d -o postgres "$run/open.pgbackrest" "$run/open.lock"
	pg_start "$cluster" archive_mode=on "archive_command=pgbackrest ${OPEN_PGBACKREST[*]} --pg1-path=$cluster archive-push %p"
	server=(--pg1-path="$cluster" --pg1-socket-path="${PG_SOCKET[$cluster]}" --pg1-port="${PG_PORT[$cluster]}")
	quiet as_postgres pgbackrest "${OPEN_PGBACKREST[@]}" "${server[@]}" stanza-create
	quiet as_postgres pgbackrest "${OPEN_PGBACKREST[@]}" "${server[@]}" --type=full --archive-copy --start-fast --compress-type=zst \
		--compress-level=3 --repo1-retention-full=9 --process-max=2 backup
	pg_stop "$cluster"
}

open_pgbackrest() {
	chown postgres: "$run/out"
	chmod 700 "$run/out"
	quiet as_postgres pgbackrest "${OPEN_PGBACKREST[@]}" --pg1-path="$run/out" --process-max=2 --type=none restore
	# Its WAL is there; pgBackRest asks for recovery from an archive all the same.
	rm -f "$run/out/recovery.signal"
	pg_start "$run/out" archive_mode=off
	pg_sql "$run/out" -d postgres -c "$OPEN_QUERY"
}

written_pgbackrest() {
	blocks_of "$run/out"
}

close_pgbackrest() {
	pg_stop "$run/out"
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
