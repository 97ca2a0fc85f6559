#!/bin/bash
# Dumps of databases in other encodings, of a schema per tenant, and of a whole cluster: in, restored from the mount, dumped
# again, equal; taken by several processes, too.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
scratch_new dump-databases
pkg_install_postgres
REPO=$SCRATCH/repo
MNT=$SCRATCH/mnt
DATA=$SCRATCH/data
OUT=$SCRATCH/out
TENANTS=${TENANTS:-200}
mkdir -m 777 "$OUT"
"$PGSTRATA" init -r "$REPO" >/dev/null
pg_init "$DATA"
pg_start "$DATA" fsync=off
export PGHOST=${PG_SOCKET[$DATA]} PGPORT=${PG_PORT[$DATA]} PGUSER=postgres
declare -A ENCODING=([latin]=LATIN1 [japanese]=EUC_JP [bytes]=SQL_ASCII [tenants]=UTF8)
for name in "${!ENCODING[@]}"; do
	pg_sql "$DATA" -c "CREATE DATABASE $name TEMPLATE template0 LOCALE 'C' ENCODING '${ENCODING[$name]}'"
done
PGCLIENTENCODING=UTF8 pg_sql "$DATA" -d latin <<'SQL'
CREATE SCHEMA "sché";
CREATE TYPE "é" AS ENUM ('ö', 'ÿ');
CREATE TABLE "sché"."caf é/%" AS SELECT i, 'naïve ÿ'::text AS "ä", 'ö'::"é" AS e FROM generate_series(1, 1000) i;
COMMENT ON TABLE "sché"."caf é/%" IS 'ß';
SQL
PGCLIENTENCODING=UTF8 pg_sql "$DATA" -d japanese <<'SQL'
CREATE SCHEMA "東京";
CREATE TABLE "東京"."日本" AS SELECT i, '日本語テキスト ｱ'::text AS "列" FROM generate_series(1, 1000) i;
CREATE FUNCTION "関数"() RETURNS text LANGUAGE sql AS $$SELECT '表'$$;
SQL
printf 'CREATE TABLE "raw \xe9\xff" AS SELECT i, E'"'"'\xc3\xa9 \xe9 \xff \\\\ \\t'"'"'::text AS c FROM generate_series(1, 1000) i;' |
	pg_sql "$DATA" -d bytes
pg_sql "$DATA" -d tenants -v n="$TENANTS" <<'SQL'
SELECT format('CREATE SCHEMA tenant_%1$s; CREATE TABLE tenant_%1$s.orders (id int PRIMARY KEY, what text);
	CREATE TABLE tenant_%1$s.lines (id int REFERENCES tenant_%1$s.orders, n int);
	INSERT INTO tenant_%1$s.orders SELECT i, md5((i + %1$s)::text) FROM generate_series(1, 50) i;
	INSERT INTO tenant_%1$s.lines SELECT i, %1$s FROM generate_series(1, 50) i', i) FROM generate_series(1, :n) i \gexec
INSERT INTO tenant_7.orders SELECT i, md5(i::text) FROM generate_series(51, 30000) i;
INSERT INTO tenant_8.orders SELECT i, md5(i::text) FROM generate_series(51, 30000) i;
ANALYZE;
SQL

# sql DATABASE: what two equal databases have in common; not all of it is text.
sql() {
	"$PG_BIN/pg_dump" "$1" | grep -avE '^\\(un)?restrict '
}
take() {
	"$PG_BIN/pg_dump" "${@:3}" -f "$OUT/$1-$2" "$1"
	"$PGSTRATA" import dump -q -r "$REPO" --database "$1-$2" "$OUT/$1-$2" >/dev/null || fail "import of $1-$2"
}
for name in "${!ENCODING[@]}"; do
	take "$name" custom -Fc
	take "$name" directory -Fd
	take "$name" plain
	"$PGSTRATA" dump -q -r "$REPO" -d "$name" -j 2 >/dev/null
done
take latin utf8 -Fc -E UTF8
# A cluster's dump is one under whatever name it is kept.
"$PG_BIN/pg_dumpall" --exclude-database='tenants' -f "$OUT/all"
all=$("$PGSTRATA" import dump -q -r "$REPO" "$OUT/all")
named=$("$PGSTRATA" import dump -q -r "$REPO" --database everything "$OUT/all")
mount_start "$REPO" "$MNT"
assert_eq "$(find "$MNT/main/dumps" -mindepth 1 -maxdepth 1 | wc -l)" 19 'databases, each once'

# restored NAME DIR [ENCODING]: what is made of it is the database that it was.
restored() {
	local at=$MNT/main/dumps/$2/latest
	pg_sql "$DATA" -c 'DROP DATABASE IF EXISTS copy' \
		-c "CREATE DATABASE copy TEMPLATE template0 LOCALE 'C' ENCODING '${3:-${ENCODING[$1]}}'"
	case $2 in
	*-plain) "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d copy -f "$at/dump.sql" >/dev/null ;;
	*) "$PG_BIN/pg_restore" -j 2 -d copy "$at"/dump.[dp]* ;;
	esac
}
for name in latin japanese bytes; do
	sql "$name" >"$SCRATCH/first.sql"
	for kind in -custom -plain ''; do
		restored "$name" "$name$kind"
		sql copy | cmp - "$SCRATCH/first.sql" || fail "the copy of $name$kind is another database"
	done
	# The same bytes in the same files, whichever way they came.
	for kind in -directory -plain ''; do
		assert_ok diff -r "$MNT/main/dumps/$name-custom/latest/tables" "$MNT/main/dumps/$name$kind/latest/tables"
	done
	table=$(find "$MNT/main/dumps/$name/latest/tables" -type f)
	pg_sql "$DATA" -d copy <<-'SQL'
		SELECT format('CREATE TABLE loaded (LIKE %s)', oid::regclass) FROM pg_class WHERE relkind = 'r' AND oid >= 16384 \gexec
	SQL
	"$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d copy -c "\\copy loaded from '$table'"
	assert_eq "$(pg_sql "$DATA" -d copy -c "SELECT count(*) FROM loaded")" 1000 "rows of $name loaded with \\copy"
	pg_run "$DATA" psql -X -q -d copy -c '\copy loaded to stdout' | cmp - "$table" || fail "rows of $name are others"
done
assert_ok test -e "$MNT/main/dumps/latin-utf8/latest/tables/sché.caf é%2F%25.copy"
restored latin latin-utf8
sql copy | cmp - <(sql latin) || fail 'the copy of latin-utf8 is another database'

# A schema per tenant: each one's tables, restored alone or all together.
for kind in -custom -directory -plain ''; do
	assert_eq "$(find "$MNT/main/dumps/tenants$kind/latest/tables" -name 'tenant_*.copy' | wc -l)" $((2 * TENANTS)) "tables of tenants$kind"
done
assert_ok diff -r "$MNT/main/dumps/tenants-plain/latest/tables" "$MNT/main/dumps/tenants/latest/tables"
sql tenants >"$SCRATCH/first.sql"
restored tenants tenants
sql copy | cmp - "$SCRATCH/first.sql" || fail 'the copy of tenants is another database'
pg_sql "$DATA" -c 'DROP DATABASE copy' -c 'CREATE DATABASE copy TEMPLATE template0' -c '\c copy' -c 'CREATE SCHEMA tenant_7'
"$PG_BIN/pg_restore" -n tenant_7 -d copy "$MNT/main/dumps/tenants/latest/dump.pgdump"
assert_ok cmp <("$PG_BIN/pg_dump" -n tenant_7 copy | grep -vE '^\\(un)?restrict ') \
	<("$PG_BIN/pg_dump" -n tenant_7 tenants | grep -vE '^\\(un)?restrict ')

# In a cluster's dump each database has its directory.
assert_ok diff -r "$MNT/main/dumps/pg_dumpall/$all" "$MNT/main/dumps/everything/$named" -x info.json
assert_eq "$(ls "$MNT/main/dumps/everything/$named/tables")" $'bytes\njapanese\nlatin' 'databases in one dump'
assert_ok diff -r "$MNT/main/dumps/bytes/latest/tables" "$MNT/main/dumps/everything/$named/tables/bytes"
assert_eq "$("$PGSTRATA" diff -q -r "$REPO" "$all" "$named")" '' 'differences of a dump and itself'
