#!/bin/bash
# restore: the same bytes and attributes as the mount shows, tablespaces where they are wanted, and every refusal.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
scratch_new restore-basic
# shellcheck source-path=SCRIPTDIR source=../import_lib.sh
. "$LIB_ROOT/tests/import_lib.sh"
server_new
repo_new

take_backup b
oid=$(ls "$SCRATCH/b/pg_tblspc")
# What a data directory may hold besides: modes, holes, many chunks, odd names, old times, links that dangle.
(
	cd "$SCRATCH/b"
	rm backup_manifest
	mkdir odd odd/deep odd/deep/er odd/empty
	chmod 2750 odd/deep
	printf 'x' >odd/one
	chmod 4711 odd/one
	: >odd/none
	touch -d '1965-03-04 05:06:07.123456789Z' odd/none
	truncate -s 100M odd/holes
	printf 'middle' | dd of=odd/holes bs=1 seek=50000000 conv=notrunc status=none
	head -c 33000001 /dev/urandom >odd/large
	cat odd/large odd/large >odd/larger
	printf '\0' >odd/zero
	head -c 65536 /dev/zero >odd/zeros
	printf 'y' >"odd/$(printf 'line\nbreak \377 end')"
	ln -s ../nowhere/at/all odd/dangling
	ln -s one odd/link
	chown -h postgres: odd/link
	chown nobody odd/one
	chmod 4711 odd/one
	chown 12345:54321 odd/deep/er
	touch -h -d '2001-02-03 04:05:06.5Z' odd/link
	touch -d '2001-02-03 04:05:06.000000001Z' odd/deep odd
)
take_in b

same() {
	local diff
	diff=$(rsync -aHAXnc --delete --itemize-changes --exclude=/pg_tblspc/* "$SCRATCH/b/" "$1/")
	assert_eq "$diff" '' "data in $1"
	# rsync does not look below the second.
	diff=$(diff <(cd "$SCRATCH/b" && find . ! -path './pg_tblspc/*' -printf '%P %y %m %U %G %T@ %l\n' | sort) \
		<(cd "$1" && find . ! -path './pg_tblspc/*' -printf '%P %y %m %U %G %T@ %l\n' | sort)) || true
	assert_eq "$diff" '' "attributes in $1"
	assert_same_tree "$SCRATCH/b.space" "$2"
	assert_eq "$(readlink "$1/pg_tblspc/$oid")" "$2" "link in $1"
}

# A new directory below new ones; an empty one; with a slash at the end; a tablespace that is mapped; one thread, and more
# threads than files are open.
"$PGSTRATA" restore -r "$REPO" -c b latest "$SCRATCH/new/er/one" >"$SCRATCH/said"
assert_eq "$(cat "$SCRATCH/said")" '' 'stdout of a restore into a pipe'
same "$SCRATCH/new/er/one" "$SCRATCH/new/er/one.tablespaces/$oid"
mkdir "$SCRATCH/two"
"$PGSTRATA" restore -r "$REPO" -c b --threads=1 "$ID" "$SCRATCH/two/" -m "$oid=$SCRATCH/two.ts"
same "$SCRATCH/two" "$SCRATCH/two.ts"
[ ! -e "$SCRATCH/two.tablespaces" ] || fail 'two.tablespaces is not needed'
(cd "$SCRATCH" && "$PGSTRATA" restore -r "$REPO" -c b -j 33 latest three "--map=$oid=ts/deep/three")
same "$SCRATCH/three" "$SCRATCH/ts/deep/three"
# Holes are holes again.
[ "$(stat -c %b "$SCRATCH/three/odd/holes")" -lt 2048 ] || fail 'a hole was filled'
check_server "$SCRATCH/three"
rm -rf "$SCRATCH"/{new,two,three,two.ts,ts}

# As an ordinary user everything is theirs, modes and times are kept.
chmod -R a+rX "$REPO"
install -d -m 755 -o nobody "$SCRATCH/theirs"
runuser -u nobody -- env PGSTRATA_CACHE_DIR="$SCRATCH/theirs/cache" "$PGSTRATA" restore -r "$REPO" -c b latest \
	"$SCRATCH/theirs/out"
assert_eq "$(find "$SCRATCH/theirs/out" ! -user nobody)" '' 'files that are not theirs'
diff=$(rsync -rlptHnc --delete --itemize-changes --exclude=/pg_tblspc/* "$SCRATCH/b/" "$SCRATCH/theirs/out/")
assert_eq "$diff" '' 'data as nobody'

# ---- refusals; none makes or touches anything ----

mkdir "$SCRATCH/full"
touch "$SCRATCH/full/x"
touch "$SCRATCH/afile"
refused() {
	local status=$1 regex=$2
	shift 2
	assert_fails "$status" "$regex" "$PGSTRATA" restore -r "$REPO" "$@"
	[ ! -e "$SCRATCH/no" ] && [ ! -e "$SCRATCH/no.tablespaces" ] || fail "something was made by: $*"
}
refused 1 "$SCRATCH/full is not empty" -c b latest "$SCRATCH/full"
refused 1 "$SCRATCH/full is not empty" -c b latest "$SCRATCH/no" -m "$oid=$SCRATCH/full"
refused 1 "$SCRATCH/afile" -c b latest "$SCRATCH/afile"
refused 1 'the backup has no tablespace 424242' -c b latest "$SCRATCH/no" -m "424242=$SCRATCH/x"
refused 2 '--map: "x" is not of the form OID=DIR' -c b latest "$SCRATCH/no" -m x
refused 2 '--map: "0=/x" is not of the form' -c b latest "$SCRATCH/no" -m 0=/x
refused 2 '--map: "7=" is not of the form' -c b latest "$SCRATCH/no" -m 7=
refused 2 "--map: tablespace $oid is mapped twice" -c b latest "$SCRATCH/no" -m "$oid=/x" -m "$oid=/y"
refused 1 "." -c b 2001-01-01T00-00-00Z "$SCRATCH/no"
refused 1 "." -c nobody-knows latest "$SCRATCH/no"
refused 2 'something is missing' -c b latest
assert_eq "$(find "$SCRATCH/full" | wc -l)" 2 'the full directory'

# ---- damage: a pack that lost its end, and one with a flipped bit, are named ----

rm -rf "$SCRATCH/cache"
pack=$(find "$REPO/packs" -type f -size +1M | sed -n 1p)
cp -p "$pack" "$SCRATCH/pack"
size=$(stat -c %s "$pack")
for at in $((size / 3)) $((size / 2)); do
	chmod u+w "$pack"
	head -c 64 /dev/urandom | dd of="$pack" bs=1 seek="$at" conv=notrunc status=none
	got=0
	text=$("$PGSTRATA" restore -q -r "$REPO" -c b latest "$SCRATCH/bad" 2>&1) || got=$?
	assert_eq "$got" 1 'restore from a damaged pack'
	assert_match "$text" "$(basename "$pack")" 'damage'
	assert_match "$text" 'incomplete' 'damage'
	rm -rf "$SCRATCH/bad" "$SCRATCH/bad.tablespaces" "$SCRATCH/cache"
	cp -p "$SCRATCH/pack" "$pack"
done
"$PGSTRATA" restore -q -r "$REPO" -c b latest "$SCRATCH/good"
same "$SCRATCH/good" "$SCRATCH/good.tablespaces/$oid"
