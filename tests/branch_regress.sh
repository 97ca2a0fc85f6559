#!/bin/bash
# PostgreSQL's own regression tests (`make installcheck` of the Debian source package) against a server of the same version that
# runs on a branch. Long: `tools/soak regress`. PLAIN=1: on a plain directory, for comparison.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/branch_lib.sh"

need_root
pkg_install_postgres
pkg_install postgresql-server-dev-15 gcc libc6-dev dpkg-dev bzip2 attr
scratch_new branch_regress
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
DATA=$SCRATCH/server/data

# Tests and server of one version, which need not be the installed one: mirrors drop sources before they drop packages. The
# newest version that has all of them is unpacked below SCRATCH; nothing is installed. From lists of our own, since those of the
# machine may have no sources.
mkdir -p "$SCRATCH/source/lists/partial"
cd "$SCRATCH/source"
printf '%s http://deb.debian.org/%s main\n' deb 'debian bookworm' deb 'debian-security bookworm-security' \
	deb-src 'debian bookworm' deb-src 'debian-security bookworm-security' >list
apt=(-qq -o "Dir::Etc::sourcelist=$PWD/list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/lists")
apt-get "${apt[@]}" update
# get VERSION
get() {
	apt-get "${apt[@]}" source --download-only "postgresql-15=$1" &&
		apt-get "${apt[@]}" download "postgresql-15=$1" "postgresql-client-15=$1" "postgresql-server-dev-15=$1"
}
for version in $(apt-cache "${apt[@]}" showsrc postgresql-15 | sed -n 's/^Version: //p' | sort -rV); do
	rm -f postgresql-*
	get "$version" >/dev/null 2>get.log && break
	version=
done
[ -n "$version" ] || fail "no version of postgresql-15 with its source: $(cat get.log)"
for package in postgresql-*.deb; do
	dpkg-deb -x "$package" "$SCRATCH/root"
done
PG_BIN=$SCRATCH/root$PG_BIN
note "server and tests are $("$PG_BIN/postgres" --version)"
mkdir tree
tar -xf postgresql-15_*.orig.tar.* -C tree --strip-components=1 --wildcards '*/src/test/regress'
tests=$PWD/tree/src/test/regress
cc -O1 -fPIC -shared -w -I"$("$PG_BIN/pg_config" --includedir-server)" -o "$tests/regress.so" "$tests/regress.c"
cp "$("$PG_BIN/pg_config" --pkglibdir)"/{refint,autoinc}.so "$tests"
chown -R postgres: "$tests"
cd /

install -d -o postgres -g postgres "$SCRATCH/server"
pg_init "$DATA" --locale=C
if [ -z "${PLAIN:-}" ]; then
	pg_start "$DATA"
	as_postgres env PGHOST="${PG_SOCKET[$DATA]}" PGPORT="${PG_PORT[$DATA]}" PGUSER=postgres \
		"$PG_BIN/pg_basebackup" -D "$SCRATCH/server/base" -c fast --no-sync
	pg_stop "$DATA"
	"$PGSTRATA" init -r "$REPO" >/dev/null
	"$PGSTRATA" import base "$SCRATCH/server/base" -r "$REPO" -q >/dev/null
	branches_mount "$REPO" "$MNT" --log "$SCRATCH/mount.log"
	branch_make regress 0 "${DURABLE:-false}"
	DATA=$MNT/main/open/regress/data
fi
pg_start "$DATA"
status=0
(cd "$tests" && runuser -u postgres -- env -u PGOPTIONS "$("$PG_BIN/pg_config" --pkglibdir)/pgxs/src/test/regress/pg_regress" \
	--bindir="$PG_BIN" --inputdir="$tests" --outputdir="$tests" --dlpath="$tests" --max-concurrent-tests=20 \
	--schedule="$tests/parallel_schedule" --host="${PG_SOCKET[$DATA]}" --port="${PG_PORT[$DATA]}" --user=postgres \
	>"$SCRATCH/regress.log" 2>&1) || status=$?
grep -vE '(\.\.\.|:) +ok +[0-9]+ ms$|^(parallel group|test .* ok )' "$SCRATCH/regress.log" | tail -n 30
[ "$status" = 0 ] || head -n 200 "$tests/regression.diffs"
pg_stop "$DATA"
[ -n "${PLAIN:-}" ] || mount_stop "$MNT"
[ "$status" = 0 ] || fail "regression tests failed"
[ -n "${PLAIN:-}" ] || assert_eq "$(grep -c -E 'error|warning' "$SCRATCH/mount.log" || true)" 0 \
	"lines in the log: $(cat "$SCRATCH/mount.log")"
