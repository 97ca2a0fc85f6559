#!/bin/bash
# An id that prune freed becomes another dump's, while nobody looks: a mount that showed the first one shows the second.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new id-again
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
"$PGSTRATA" init -r "$REPO" >/dev/null
mkdir "$MNT"

# dump FILE ROWS…: a plain dump of one table, always of the same second.
dump() {
	local file=$1
	shift
	{
		printf '%s\n' -- '-- PostgreSQL database dump' -- '' 'CREATE TABLE public.t (a integer);' \
			'COPY public.t (a) FROM stdin;' "$@" '\.' '' -- '-- PostgreSQL database dump complete' -- ''
	} >"$file"
	touch -d '2026-11-01 00:00:00Z' "$file"
}
take() { "$PGSTRATA" import dump -r "$REPO" --database big "$1"; }
dump "$SCRATCH/first" 1 2
dump "$SCRATCH/second" 3 4 5
id=$(take "$SCRATCH/first")
mount_start "$REPO" "$MNT"
dumps=$MNT/main/dumps/big
assert_ok cmp "$SCRATCH/first" "$dumps/latest/dump.sql"
assert_ok cmp "$SCRATCH/first" "$dumps/$id/dump.sql"
"$PGSTRATA" prune -q -r "$REPO" --keep-tag nothing
assert_eq "$(take "$SCRATCH/second")" "$id" 'the id again'
sleep 2.1 # for so long the mount, and the kernel, keep a listing
assert_ok cmp "$SCRATCH/second" "$dumps/latest/dump.sql"
assert_ok cmp "$SCRATCH/second" "$dumps/$id/dump.sql"
assert_eq "$(cat "$dumps/$id/tables/public.t.copy")" "$(printf '3\n4\n5')" 'its table'
assert_eq "$(jq -r .id "$dumps/latest/info.json")" "$id" 'info.json'
assert_eq "$(ls "$dumps")" "$(printf '%s\n' "$id" latest)" 'names'

# ---- a dump of a cluster that ends after its first database ----

{
	printf '%s\n' -- '-- PostgreSQL database cluster dump' -- ''
	cat "$SCRATCH/first"
} >"$SCRATCH/cut"
assert_fails 1 'is cut off' "$PGSTRATA" import dump -r "$REPO" "$SCRATCH/cut"
printf '%s\n' -- '-- PostgreSQL database cluster dump complete' -- '' >>"$SCRATCH/cut"
assert_ok "$PGSTRATA" import dump -r "$REPO" "$SCRATCH/cut"

# ---- what is not there is not taken for sound ----

assert_fails 1 'there is no cluster "typo"' "$PGSTRATA" verify -r "$REPO" -c typo
assert_ok "$PGSTRATA" verify -q -r "$REPO" -c main
"$PGSTRATA" init -r "$SCRATCH/empty" >/dev/null
got=0
text=$("$PGSTRATA" status -r "$SCRATCH/empty") || got=$?
assert_eq "$got $text" '1 There is no cluster in the repository yet.' 'status of an empty repository'
assert_fails 2 'repository is empty' "$PGSTRATA" list -r ''
assert_fails 2 'an argument is empty' "$PGSTRATA" restore -r "$REPO" latest ''
