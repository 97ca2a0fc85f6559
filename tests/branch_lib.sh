# shellcheck shell=bash
# Branches in the scratch directory, made without `pgstrata open`.
#
#   . tests/branch_lib.sh             after tests/lib.sh
#   branches_mount REPO MNT [OPTION…] a mount that serves branches, which lie below $SCRATCH/branches; BRANCHES is where
#   branch_make NAME [LIMIT [DURABLE]]  a branch of the newest backup of main: bytes that may be written, and true or false

branches_mount() {
	BRANCH_MNT=$2
	mount_start "$1" "$2" --scratch "$SCRATCH/branches" -o allow_other "${@:3}"
	BRANCHES=$(getfattr -n user.pgstrata.scratch --only-values --absolute-names "$2")/main
}

# What fs/branch_dir.h says.
branch_make() {
	install -d "$BRANCHES/$1/files"
	printf '{"version":1,"name":"%s","cluster":"main","backup":"%s","target":null,"max_bytes":%s,"durable":%s,"created":"%s"}\n' \
		"$1" "$(readlink "$BRANCH_MNT/main/backups/latest")" "${2:-0}" "${3:-true}" 2026-11-21T00:00:00Z >"$BRANCHES/$1/branch.json"
}

# mount_kill MNT: the daemon dies as it stands, and the mount with it.
mount_kill() {
	local pid i
	pid=$(mount_pid "$1")
	[ -n "$pid" ] || fail "no daemon serves $1"
	kill -KILL "$pid"
	for ((i = 0; i < 600; i++)); do
		mount_is_dead "$1" && [ ! -d "/proc/$pid" ] && break
		sleep 0.1
	done
	umount -l "$1"
}
