# shellcheck shell=bash disable=SC2154
# The bench's rows about running servers and their WAL; tools/bench sources it and owns run, work, round, rounds.
#
# WAL comes from a cluster of its own ($work/wal.stamp): $work/walbase is its base backup, $work/walseg the files of WAL
# from there on, 100 segments and some. All contestants run as postgres, one process a segment, in the same loop.

# As many segments are pushed.
WAL_COUNT=100

build_wal_data() {
	local cluster=$work/walpg
	note "building the WAL in $work (about two minutes)"
	(cd "$work" && rm -rf wal.stamp walpg walbase walseg walstanza walstanza.lock)
	pg_init "$cluster"
	printf '%s\n' 'shared_buffers = 256MB' 'wal_keep_size = 8GB' 'max_wal_size = 1GB' >>"$cluster/postgresql.conf"
	pg_start "$cluster"
	quiet pg_run "$cluster" pgbench -q -i -s 20 postgres
	quiet pg_run "$cluster" pg_basebackup -D "$work/walbase" -Fp -X none -c fast
	local first
	first=$(sed -n 's/^START WAL LOCATION: .* (file \(.*\))/\1/p' "$work/walbase/backup_label")
	while [ "$(wal_from "$cluster" "$first" | wc -l)" -lt $((WAL_COUNT + 5)) ]; do
		quiet pg_run "$cluster" pgbench -n -c 4 -T 10 postgres
	done
	quiet pg_sql "$cluster" -d postgres -c 'SELECT pg_switch_wal()'
	# pgBackRest's stanza wants the running server once.
	install -d -o postgres "$work/walstanza" "$work/walstanza.lock"
	quiet as_postgres pgbackrest --stanza=wal --repo1-path="$work/walstanza" --lock-path="$work/walstanza.lock" \
		--log-level-file=off --pg1-path="$cluster" --pg1-socket-path="${PG_SOCKET[$cluster]}" \
		--pg1-port="${PG_PORT[$cluster]}" stanza-create
	pg_stop "$cluster"
	install -d -o postgres "$work/walseg"
	wal_from "$cluster" "$first" | sed -n "1,${WAL_COUNT}p" | while read -r name; do
		cp -p "$cluster/pg_wal/$name" "$work/walseg/"
	done
	# What pgBackRest reads of a data directory is all that is wanted of it now.
	rm -rf "$cluster/pg_wal" "$cluster/base"
	wal_stamp >"$work/wal.stamp"
}

wal_from() {
	find "$1/pg_wal" -maxdepth 1 -type f -name '0*' -printf '%f\n' | grep -x '[0-9A-F]*' | sort |
		awk -v first="$2" '$0 >= first'
}

wal_stamp() {
	{
		"$PG_BIN/postgres" --version
		declare -f build_wal_data
	} | sha256sum
}

# ---- archive-push ------------------------------------------------------------------------------------------------

# The command with the contestant's repository; the segment's path, relative to the data directory, comes behind it.
push_command() {
	case $1 in
	pgstrata | pgstrata-async)
		PUSH=("$PGSTRATA" archive-push -r "$run/wal.pgstrata" --cache-dir "$run/wal.cache")
		[ "$1" = pgstrata ] || PUSH+=(--async)
		;;
	pgbackrest | pgbackrest-async)
		PUSH=(pgbackrest "${WAL_PGBACKREST[@]}" --pg1-path="$run/wal.pg" --compress-type=zst --compress-level=3
			--no-archive-mode-check)
		[ "$1" = pgbackrest ] || PUSH+=(--archive-async --process-max=2 --spool-path="$run/wal.spool")
		PUSH+=(archive-push)
		;;
	cp-fsync)
		PUSH=("$run/cp-fsync")
		;;
	esac
}

WAL_PGBACKREST=()

wal_repositories() {
	WAL_PGBACKREST=(--stanza=wal --repo1-path="$run/wal.pgbackrest" --lock-path="$run/wal.lock" --log-level-console=warn
		--log-level-file=off)
	install -d -o postgres "$run/wal.lock" "$run/wal.spool"
	cat >"$run/cp-fsync" <<-END
		#!/bin/sh
		exec dd if="\$1" of="$run/wal.plain/\${1##*/}" bs=1M conv=fsync status=none
	END
	cat >"$run/push-all" <<-'END'
		#!/bin/bash
		# push-all DIR COMMAND…: as the archiver does it; the microseconds of each.
		cd "$1"
		shift
		for path in pg_wal/0*; do
			start=${EPOCHREALTIME/./}
			"$@" "$path" || exit
			end=${EPOCHREALTIME/./}
			echo $((end - start)) >>"$TIMES"
			mv "pg_wal/archive_status/${path#pg_wal/}.ready" "pg_wal/archive_status/${path#pg_wal/}.done"
		done
	END
	chmod 755 "$run/cp-fsync" "$run/push-all"
	chmod 711 "$run"
}

# wal_push CONTESTANT: all segments into a new repository; TOOK, and the times of each in $run/times.
wal_push() {
	local who=$1 path
	local base=${who%-async}
	rm -rf "${run:?}/wal.pg" "$run/wal.spool" "$run/wal.cache" "$run/wal.plain" "$run/times"
	install -d -m 700 -o postgres -g postgres "$run/wal.pg" "$run/wal.pg/pg_wal" "$run/wal.pg/pg_wal/archive_status" \
		"$run/wal.pg/global" "$run/wal.spool" "$run/wal.cache" "$run/wal.plain"
	cp -p "$work/walpg/PG_VERSION" "$run/wal.pg/"
	cp -p "$work/walpg/global/pg_control" "$run/wal.pg/global/"
	for path in "$work"/walseg/*; do
		ln "$path" "$run/wal.pg/pg_wal/"
		install -o postgres /dev/null "$run/wal.pg/pg_wal/archive_status/${path##*/}.ready"
	done
	case $base in
	pgstrata)
		rm -rf "$run/wal.pgstrata"
		quiet "$PGSTRATA" init -r "$run/wal.pgstrata"
		chown -R postgres "$run/wal.pgstrata"
		;;
	pgbackrest)
		rm -rf "$run/wal.pgbackrest"
		cp -a "$work/walstanza" "$run/wal.pgbackrest"
		;;
	esac
	install -o postgres /dev/null "$run/times"
	push_command "$who"
	warm "$work/walseg"
	sync
	timed as_postgres env TIMES="$run/times" "$run/push-all" "$run/wal.pg" "${PUSH[@]}"
}

# Milliseconds: the median of $run/times.
median_ms() {
	sort -n "$run/times" | awk '{ v[NR] = $1 } END { printf "%.1f\n", v[int((NR + 1) / 2)] / 1000 }'
}

wal_pushes() {
	local who one
	for who in $(turns pgbackrest cp-fsync); do
		wal_push "$who"
		sample wal-push "$who" "$TOOK"
		one=$(median_ms)
		case $who in
		pgstrata) sample wal-push-one pgstrata "$one" ;;
		cp-fsync)
			sample wal-push-one cp-fsync "$one"
			sample wal-push-one allowed "$(awk -v v="$one" 'BEGIN { print v + 30 }')"
			;;
		esac
		case $who in
		pgstrata) sample wal-size pgstrata "$(in_mb "$(size_of "$run/wal.pgstrata")")" ;;
		pgbackrest) sample wal-size pgbackrest "$(in_mb "$(size_of "$run/wal.pgbackrest/archive")")" ;;
		esac
	done
}

wal_backlogs() {
	local who async
	for who in $(turns pgbackrest); do
		async=$who-async
		wal_push "$async"
		sample wal-push-async "$who" "$TOOK"
	done
}

# ---- replay --------------------------------------------------------------------------------------------------------

# fetch_command CONTESTANT: FETCH is the restore_command.
fetch_command() {
	case $1 in
	pgstrata)
		# Without a base backup the mount does not know whose the WAL is.
		quiet "$PGSTRATA" mount -r "$run/wal.pgstrata" \
			-o "allow_other,uid=$(id -u postgres),gid=$(id -g postgres)" "$run/mnt"
		FETCH="cp $run/mnt/main/wal/%f %p"
		;;
	archive-get)
		FETCH="$PGSTRATA archive-get --async -r $run/wal.pgstrata --cache-dir $run/wal.cache %f %p"
		;;
	plain | memory)
		FETCH="cp $work/walseg/%f %p"
		;;
	pgbackrest)
		FETCH="pgbackrest ${WAL_PGBACKREST[*]} --pg1-path=$run/replay --archive-async --process-max=2"
		FETCH+=" --spool-path=$run/wal.spool archive-get %f %p"
		;;
	esac
}

# Starts the copy, and returns when recovery has ended. (pg_ctl is content with less.)
replay_start() {
	pg_start "$run/replay" "restore_command=$FETCH" hot_standby=off shared_buffers=256MB archive_mode=off
	until [ "$(pg_sql "$run/replay" -d postgres -c 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; do
		[ -s "$run/replay/postmaster.pid" ] || log_die "recovery with $FETCH"
		sleep 0.05
	done
}

# A copy of the base backup recovers through all the WAL there is, and is then ready (it is not before: hot_standby is
# off). What recovery itself takes is in the time of everybody. "memory" is a plain directory that is in memory already: as
# fast as cp can be.
wal_replays() {
	local who
	for who in pgstrata pgbackrest; do
		[ "$who" = pgbackrest ] || [ -n "$ours" ] || continue
		[ -e "$run/wal.$who/filled" ] || wal_push "$who"
		touch "$run/wal.$who/filled"
	done
	for who in $(turns plain memory pgbackrest ${ours:+archive-get}); do
		rm -rf "$run/replay" "$run/wal.spool"
		install -d -m 700 -o postgres -g postgres "$run/wal.spool"
		cp -a "$work/walbase" "$run/replay"
		install -o postgres /dev/null "$run/replay/recovery.signal"
		chown -R postgres "$run/replay"
		fetch_command "$who"
		cold
		warm "$run/replay"
		[ "$who" != memory ] || warm "$work/walseg"
		timed replay_start
		case $who in
		archive-get) sample wal-replay-get pgstrata "$TOOK" ;;
		*) sample wal-replay "$who" "$TOOK" ;;
		esac
		[ "$who" != pgbackrest ] || sample wal-replay-get pgbackrest "$TOOK"
		check_replay "$who"
		pg_stop "$run/replay"
		close_view
	done
	rm -rf "$run/replay"
}

# It went through all the segments, whoever gave them.
check_replay() {
	local last got
	last=$(find "$work/walseg" -type f -printf '%f\n' | sort | tail -n 1)
	got=$(pg_sql "$run/replay" -d postgres -c 'SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 9)')
	[[ ! $got < ${last:8} ]] || die "wal-replay of $1 ended before the last segment: at $got, not at ${last:8}"
}

# ---- backup of a running server --------------------------------------------------------------------------------------

live_backups() {
	local who cluster=$work/pgA
	for who in $(turns basebackup pgbackrest); do
		rm -rf "$run/live" "$run/pgbackrest"
		[ "$who" != pgbackrest ] || repo_init pgbackrest
		pg_start "$cluster"
		warm "$cluster/base" "$cluster/global"
		case $who in
		pgstrata)
			quiet "$PGSTRATA" init -r "$run/live"
			sync
			timed "$PGSTRATA" backup -r "$run/live" -h "${PG_SOCKET[$cluster]}" -p "${PG_PORT[$cluster]}" -U postgres
			;;
		basebackup)
			sync
			timed pg_run "$cluster" pg_basebackup -D "$run/live" -Ft -Z client-zstd:3 -X stream -c fast
			;;
		pgbackrest)
			sync
			timed pgbackrest_server "$cluster" backup --type=full
			;;
		esac
		pg_stop "$cluster"
		sample backup "$who" "$TOOK"
	done
	rm -rf "$run/live"
}
