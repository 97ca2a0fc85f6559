# shellcheck shell=bash
# Small things to put into a repository without a server: a base backup and segments of WAL that belong together. The
# control file is a real PostgreSQL 13's.
#
#   . tests/small_lib.sh      after tests/lib.sh and scratch_new
#   small_backup NAME KB      $SCRATCH/NAME, with that much that does not compress
#   small_segment N           $SCRATCH/wal/0000000100000000000000NN, 1 MiB that does not compress; NN: hexadecimal

SMALL_CONTROL=$LIB_ROOT/tests/unit/data/control-13-production.bin

small_backup() {
	local dir=$SCRATCH/$1 kb=$2
	mkdir -p "$dir/global" "$dir/base/1"
	echo 13 >"$dir/PG_VERSION"
	cp "$SMALL_CONTROL" "$dir/global/pg_control"
	printf '%s\n' 'START WAL LOCATION: 0/2000028 (file 000000010000000000000002)' 'CHECKPOINT LOCATION: 0/2000060' \
		'BACKUP METHOD: streamed' 'BACKUP FROM: primary' 'START TIME: 2026-11-20 02:15:07 UTC' 'LABEL: x' \
		'START TIMELINE: 1' >"$dir/backup_label"
	head -c $((kb * 512)) /dev/urandom >"$dir/base/1/1000"
	head -c $((kb * 256)) /dev/urandom >"$dir/base/1/1001"
	head -c $((kb * 256)) /dev/urandom >"$dir/base/1/1002"
}

# Its first page's header is XLogLongPageHeaderData (src/include/access/xlog_internal.h): magic, flags, timeline,
# address, remaining length, padding, system identifier, segment size, page size.
small_segment() {
	local file
	printf -v file '%s/wal/00000001000000000000%04X' "$SCRATCH" "$1"
	mkdir -p "$SCRATCH/wal"
	{
		printf '\x06\xd1\x02\x00\x01\x00\x00\x00'
		printf '%b' "\\x00\\x00\\x$(printf %02x $(($1 * 16 % 256)))\\x$(printf %02x $(($1 / 16)))\\x00\\x00\\x00\\x00"
		printf '\x00\x00\x00\x00\x00\x00\x00\x00'
		head -c 8 "$SMALL_CONTROL"
		printf '\x00\x00\x10\x00\x00\x20\x00\x00'
		head -c $((1048576 - 40)) /dev/urandom
	} >"$file"
}
