# shellcheck shell=bash disable=SC2154
# The bench's rows about dumps; tools/bench sources it and owns run, work, round, rounds.
#
# The data ($work/dump.stamp) is kept in $work/dumps: DAYS dumps of a pgbench database, in two formats, with 20,000
# transactions and a VACUUM between two of them; one dump of about 1 GB with a table of 1 MB in it; and its rows in one
# file that zstd compressed.

DAYS=10
LIMIT_dump_table=50

build_dump_data() {
	local cluster=$work/dumppg day
	note "building the dumps in $work (about three minutes)"
	(cd "$work" && rm -rf dump.stamp dumppg dumps)
	mkdir "$work/dumps"
	pg_init "$cluster"
	printf '%s\n' 'autovacuum = off' 'shared_buffers = 256MB' 'max_wal_size = 4GB' >>"$cluster/postgresql.conf"
	pg_start "$cluster"
	pg_sql "$cluster" -c 'CREATE DATABASE bank' -c 'CREATE DATABASE large'
	quiet pg_run "$cluster" pgbench -q -i -s 20 bank
	for ((day = 1; day <= DAYS; day++)); do
		pg_run "$cluster" pg_dump -f "$work/dumps/$day.sql" bank
		pg_run "$cluster" pg_dump -Fc -Z0 -f "$work/dumps/$day.pgdump" bank
		quiet pg_run "$cluster" pgbench -n -c 4 -t 5000 --random-seed="$day" bank
		quiet pg_sql "$cluster" -d bank -c VACUUM
	done
	quiet pg_run "$cluster" pgbench -q -i -s 80 large
	quiet pg_sql "$cluster" -d large -f "$here/bench-data.sql"
	quiet pg_sql "$cluster" -d large -c 'CREATE TABLE one AS SELECT i, md5(i::text) FROM generate_series(1, 26000) i'
	pg_run "$cluster" pg_dump -Fc -f "$work/dumps/large.pgdump" large
	pg_stop "$cluster"
	rm -rf "$cluster"
	dump_stamp >"$work/dump.stamp"
}

dump_stamp() {
	{
		"$PG_BIN/postgres" --version
		declare -f build_dump_data
		cat "$here/bench-data.sql"
	} | sha256sum
}

# ---- what a day adds ---------------------------------------------------------------------------------------------

dump_init() {
	rm -rf "$run/days" "$run/days.cache"
	case $1 in
	pgstrata) PGSTRATA_CACHE_DIR=$run/days.cache quiet "$PGSTRATA" init -r "$run/days" ;;
	restic) RESTIC_CACHE_DIR=$run/days.cache quiet restic init -r "$run/days" ;;
	borg) BORG_BASE_DIR=$run/days.cache quiet borg init -e none "$run/days" ;;
	esac
}

# dump_take CONTESTANT DAY ENDING: the file has the same name every day.
dump_take() {
	mkdir -p "$run/in"
	ln -f "$work/dumps/$2.$3" "$run/in/bank.$3"
	case $1 in
	pgstrata)
		PGSTRATA_CACHE_DIR=$run/days.cache timed "$PGSTRATA" import dump -q -r "$run/days" --database bank "$run/in/bank.$3"
		;;
	restic) RESTIC_CACHE_DIR=$run/days.cache timed restic -r "$run/days" backup --compression auto "$run/in/bank.$3" ;;
	borg) BORG_BASE_DIR=$run/days.cache timed borg create --compression zstd,3 "$run/days::$2" "$run/in/bank.$3" ;;
	esac
}

# dump_days FIGURE ENDING: bytes that a day after the first adds on average, and the seconds that it takes. Sizes do not
# depend on the round, so that contestants are measured once.
dump_days() {
	local who day first took better=""
	[ "$round" = 1 ] || return 0
	for who in $(turns restic borg); do
		dump_init "$who"
		took=0
		for ((day = 1; day <= DAYS; day++)); do
			dump_take "$who" "$day" "$2"
			if [ "$day" = 1 ]; then
				first=$(size_of "$run/days")
			else
				took=$(awk -v a="$took" -v b="$TOOK" 'BEGIN { print a + b }')
			fi
		done
		took=$(awk -v t="$took" -v n=$((DAYS - 1)) 'BEGIN { printf "%.2f\n", t / n }')
		sample "$1" "$who" "$(awk -v b=$((($(size_of "$run/days") - first) / (DAYS - 1))) 'BEGIN { printf "%.3f\n", b / 1e6 }')"
		sample "${1/size/time}" "$who" "$took"
	done
	better=$(awk -F '\t' -v f="$1" '$1 == f && $2 != "pgstrata" { if (v == "" || $3 < v) v = $3 } END { print v }' \
		"$run/samples.tsv")
	[ -z "$better" ] || sample "$1" better "$better"
	rm -rf "$run/days" "$run/days.cache" "$run/in"
}

# ---- reading -----------------------------------------------------------------------------------------------------

# What pg_restore gives is what we give.
dump_check() {
	pg_restore -a -t one -f - "$work/dumps/large.pgdump" | awk '/^COPY /{ on = 1; next } /^\\\.$/{ on = 0 } on' | cmp - "$1"
}

# The large dump in a repository of its own, and all its rows in one file for zstd.
dump_large() {
	local at
	[ "$round" = 1 ] || return 0
	PGSTRATA_CACHE_DIR=$run/large.cache quiet "$PGSTRATA" init -r "$run/large"
	PGSTRATA_CACHE_DIR=$run/large.cache quiet "$PGSTRATA" import dump -q -r "$run/large" "$work/dumps/large.pgdump"
	large_open
	at=$run/mnt/main/dumps/large/latest
	quiet sh -c 'cat "$1"/tables/* | zstd -q -3 -f -o "$2"' sh "$at" "$run/rows.zst"
	quiet dump_check "$at/tables/public.one.copy"
	close_view
}

large_open() {
	PGSTRATA_CACHE_DIR=$run/large.cache quiet "$PGSTRATA" mount -r "$run/large" "$run/mnt"
	cold
}

in_ms() {
	awk -v t="$TOOK" 'BEGIN { printf "%.0f\n", t * 1000 }'
}

dump_tables() {
	local who
	for who in $(turns pg_restore); do
		case $who in
		pgstrata)
			large_open
			timed_cat "$run/mnt/main/dumps/large/latest/tables/public.one.copy"
			close_view
			;;
		pg_restore)
			cold
			timed sh -c 'pg_restore -a -t one -f - "$1" >/dev/null' sh "$work/dumps/large.pgdump"
			;;
		esac
		sample dump-table "$who" "$(in_ms)"
	done
	sample dump-table limit "$LIMIT_dump_table"
}

dump_greps() {
	local who
	for who in $(turns zstd); do
		case $who in
		pgstrata)
			large_open
			timed sh -c 'grep -c 123456 "$1"/*' sh "$run/mnt/main/dumps/large/latest/tables"
			close_view
			;;
		zstd)
			cold
			timed sh -c 'zstd -dc "$1" | grep -c 123456' sh "$run/rows.zst"
			;;
		esac
		sample dump-grep "$who" "$TOOK"
	done
}
