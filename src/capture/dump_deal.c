/* Dealing tables out. See dump_deal.h. */
#include "src/capture/dump_deal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

/* A table below that costs more to deal out than to copy. */
#define LEAST_BYTES "1048576"
/* pg_dump asks the server for each name that it is given, and arguments have room for so many. */
#define MOST_TABLES "2000"
#define LOCK_AT_ONCE 100

CLEANUP_DEFINE(struct dump_deal, dump_deal_free)

/* Of the settings that pg_dump turns off (setup_connection in pg_dump.c) those that the server knows. */
#define NO_TIMEOUTS                                                                             \
	"SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name" \
	" IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',"      \
	" 'transaction_timeout', 'idle_session_timeout')"

/* Sizes as the last vacuum or analyze saw them, else what the statistics know of rows (taken for 100 bytes): asking the disk
 * would wait for whoever has the table locked. Tables of extensions are theirs to dump, in part. */
#define TABLES                                                                                 \
	"WITH t AS (SELECT c.oid, n.nspname, c.relname, greatest("                             \
	"(greatest(c.relpages, 0) + greatest(coalesce(s.relpages, 0), 0))::pg_catalog.int8"    \
	" * pg_catalog.current_setting('block_size')::pg_catalog.int8,"                        \
	" pg_catalog.pg_stat_get_live_tuples(c.oid) * 100) AS bytes, c.relkind = 'r'"          \
	" AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS"        \
	" (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::"     \
	"pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') AS mine"                 \
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace" \
	" LEFT JOIN pg_catalog.pg_class s ON s.oid = c.reltoastrelid"                          \
	" WHERE c.relkind = 'r' AND (n.nspname !~ '^pg_' OR c.relname = 'pg_largeobject'))"    \
	" SELECT oid, nspname, relname, bytes, (SELECT sum(bytes) FROM t) FROM t"              \
	" WHERE mine AND bytes >= " LEAST_BYTES " ORDER BY bytes DESC, oid LIMIT " MOST_TABLES

void dump_deal_free(struct dump_deal *d)
{
	if (!d)
		return;
	dump_conn_free(d->conn);
	free(d->snapshot);
	for (size_t i = 0; i < d->n; i++) {
		free(d->tables[i].oid);
		free(d->tables[i].name);
		free(d->tables[i].pattern);
	}
	free(d->tables);
	free(d);
}

static int set(struct dump_conn *c, const char *what, const char *value, bool name, struct err *e)
{
	_cleanup_(freep) char *sql = NULL;
	struct buf b = {0};

	if (!value)
		return 0;
	buf_printf(&b, "SET %s ", what);
	name ? dump_conn_put_name(c, value, &b) : dump_conn_put_text(c, value, &b);
	sql = buf_steal_str(&b);
	return sql ? dump_conn_ask(c, what, sql, NULL, e) : err_sys(e, -ENOMEM, "dump");
}

/* The transaction, with pg_dump's own words (setup_connection), and its snapshot. */
static int begin(struct dump_deal *d, const struct dump_args *args, struct err *e)
{
	struct dump_rows rows = {0};
	int r = dump_conn_ask(d->conn, "turning timeouts off", NO_TIMEOUTS, NULL, e);

	if (!r)
		r = set(d->conn, "client_encoding TO", args->encoding, false, e);
	if (!r)
		r = set(d->conn, "ROLE", args->role, true, e);
	if (!r)
		r = dump_conn_ask(d->conn, "beginning the dump's transaction",
			args->deferrable
				? "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"
				: "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
			NULL, e);
	if (!r)
		r = dump_conn_ask(d->conn, "exporting the dump's snapshot",
			"SELECT pg_catalog.pg_export_snapshot()", &rows, e);
	if (r < 0)
		return r;
	d->snapshot = rows.rows == 1 && rows.columns == 1 ? strdup(dump_rows_at(&rows, 0, 0)) : NULL;
	dump_rows_release(&rows);
	return d->snapshot ? 0 : err_sys(e, -ENOMEM, "dump");
}

/* "schema"."table", in which a pattern takes every character for itself (processSQLNamePattern in
 * src/fe_utils/string_utils.c). */
static char *pattern_of(const char *schema, const char *table)
{
	const char *const parts[] = {schema, table};
	struct buf b = {0};

	for (size_t i = 0; i < 2; i++) {
		buf_printf(&b, "%s\"", i ? "." : "");
		for (const char *p = parts[i]; *p; p++) {
			if (*p == '"')
				buf_put_u8(&b, '"');
			buf_put_u8(&b, (uint8_t)*p);
		}
		buf_put_u8(&b, '"');
	}
	return buf_steal_str(&b);
}

static int cmp_tables(const void *a, const void *b)
{
	const struct dump_deal_table *x = a, *y = b;

	return strcmp(x->oid, y->oid);
}

/* The largest first, each to who has least. The first process begins with what is not dealt out. */
static int deal(struct dump_deal *d, const struct dump_rows *rows, unsigned jobs, struct err *e)
{
	_cleanup_(freep) uint64_t *load = calloc(jobs, sizeof(*load));

	d->tables = calloc(rows->rows + 1, sizeof(*d->tables));
	if (!load || !d->tables)
		return err_sys(e, -ENOMEM, "dump");
	if (rows->rows)
		load[0] = strtoull(dump_rows_at(rows, 0, 4), NULL, 10);
	for (size_t i = 0; i < rows->rows; i++)
		load[0] -= strtoull(dump_rows_at(rows, i, 3), NULL, 10);
	for (size_t i = 0; i < rows->rows; i++) {
		const char *schema = dump_rows_at(rows, i, 1), *table = dump_rows_at(rows, i, 2);
		struct dump_deal_table t = {0};
		struct buf b = {0};

		for (unsigned k = 1; k < jobs; k++)
			t.to = load[k] < load[t.to] ? k : t.to;
		load[t.to] += strtoull(dump_rows_at(rows, i, 3), NULL, 10);
		if (!t.to)
			continue;
		t.oid = strdup(dump_rows_at(rows, i, 0));
		t.pattern = pattern_of(schema, table);
		dump_conn_put_name(d->conn, schema, &b);
		buf_put_u8(&b, '.');
		dump_conn_put_name(d->conn, table, &b);
		t.name = buf_steal_str(&b);
		d->tables[d->n++] = t;
		if (!t.oid || !t.pattern || !t.name)
			return err_sys(e, -ENOMEM, "dump");
	}
	qsort(d->tables, d->n, sizeof(*d->tables), cmp_tables);
	return 0;
}

int dump_deal_new(const char *conninfo, const char *database, const struct dump_args *args, unsigned jobs,
	struct dump_deal **ret, struct err *e)
{
	_cleanup_(dump_deal_freep) struct dump_deal *d = calloc(1, sizeof(*d));
	struct dump_rows rows = {0};
	int r = d ? dump_conn_open(conninfo, database, &d->conn, e) : err_sys(e, -ENOMEM, "dump");

	if (!r)
		r = begin(d, args, e);
	if (!r)
		r = dump_conn_ask(d->conn, "listing the tables", TABLES, &rows, e);
	if (!r)
		r = deal(d, &rows, jobs, e);
	dump_rows_release(&rows);
	if (!r)
		*ret = MOVE(d);
	return r;
}

int dump_deal_lock(struct dump_deal *d, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < d->n && !r;) {
		_cleanup_(freep) char *sql = NULL;
		struct buf b = {0};
		unsigned n = 0;

		buf_printf(&b, "LOCK TABLE ");
		for (; i < d->n && n < LOCK_AT_ONCE; i++)
			if (d->tables[i].wanted)
				buf_printf(&b, "%sONLY %s", n++ ? ", " : "", d->tables[i].name);
		buf_printf(&b, " IN ACCESS SHARE MODE NOWAIT");
		sql = buf_steal_str(&b);
		if (!sql)
			return err_sys(e, -ENOMEM, "dump");
		if (n)
			r = dump_conn_ask(d->conn,
				"locking tables for all pg_dump processes (somebody wants one for "
				"themselves)",
				sql, NULL, e);
	}
	return r;
}

int dump_deal_end(struct dump_deal *d, struct err *e)
{
	return dump_conn_ask(d->conn, "ending the dump's transaction", "COMMIT", NULL, e);
}

struct dump_deal_table *dump_deal_find(const struct dump_deal *d, const char *oid)
{
	const struct dump_deal_table key = {.oid = (char *)oid};

	return d->n ? bsearch(&key, d->tables, d->n, sizeof(*d->tables), cmp_tables) : NULL;
}
