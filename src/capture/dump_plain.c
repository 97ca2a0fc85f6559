/* Plain dumps: SQL in one part after the other, rows between them. See dump_plain.h. */
#include "src/capture/dump_plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/pg/dump_sql.h"
#include "src/pg/dump_text.h"

#define BLOCK (256u << 10)
#define HEAD_BYTES 4096 /* the title is within */
#define TAIL_BYTES 400	/* and so is the end */

/* The text behind `what`, up to the line's end. */
static void find_line(const char *text, const char *what, char *ret, size_t size)
{
	const char *p = strstr(text, what);
	size_t n = p ? strcspn(p + strlen(what), "\r\n") : 0;

	ret[0] = '\0';
	if (p && n < size) {
		memcpy(ret, p + strlen(what), n);
		ret[n] = '\0';
	}
}

bool dump_plain_looks(const uint8_t *p, size_t n, bool whole, struct dump_plain_facts *ret)
{
	struct dump_plain_facts f = {0};
	char *text = malloc(n + 1), cut;
	char *title;

	if (!text)
		return false;
	memcpy(text, p, n);
	text[n] = '\0';
	cut = n > HEAD_BYTES ? text[HEAD_BYTES] : '\0';
	if (n > HEAD_BYTES)
		text[HEAD_BYTES] = '\0';
	f.cluster = strstr(text, "--\n-- PostgreSQL database cluster dump\n--\n") != NULL;
	title = strstr(text, "--\n-- PostgreSQL database dump\n--\n");
	find_line(text, "\n-- Dumped from database version ", f.server_version, sizeof(f.server_version));
	find_line(text, "\n-- Dumped by pg_dump version ", f.dump_version, sizeof(f.dump_version));
	if (n > HEAD_BYTES)
		text[HEAD_BYTES] = cut;
	f.globals = f.cluster && whole && !strstr(text, "\n\\connect ");
	if (!f.cluster)
		find_line(text, "\n\\connect ", f.database, sizeof(f.database));
	if (strpbrk(f.database, " \"'="))
		f.database[0] = '\0';
	free(text);
	if (f.cluster || title)
		*ret = f;
	return f.cluster || title;
}

struct piece {
	struct dump_part part;
	bool rows;
};

struct plain {
	struct dump_archive *a;
	struct ingest_cut *cut; /* what is being written: SQL or rows */
	char *path;		/* of the rows' view */
	char *database;		/* of a cluster's dump, since \connect */
	struct piece *pieces;
	size_t n, cap;
	char tail[TAIL_BYTES + 1];
	size_t tail_len;
};

static void plain_release(struct plain *p)
{
	/* A stream that is open dies with the ingest's error. */
	if (p->cut)
		ingest_cut_close(p->cut, NULL, NULL);
	free(p->path);
	free(p->database);
	free(p->pieces);
}

/* Ends the present stream, which becomes a piece of the dump. */
static int end_piece(struct plain *p, bool rows, struct err *e)
{
	struct rope *rope;
	int r = ingest_cut_close(MOVE(p->cut), &rope, e);

	if (r < 0)
		return r;
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct piece *more = realloc(p->pieces, cap * sizeof(*more));

		if (!more)
			return err_sys(e, -ENOMEM, "%s", p->a->name);
		p->pieces = more;
		p->cap = cap;
	}
	p->pieces[p->n++] = (struct piece){{.rope = rope}, rows};
	if (!rows)
		return 0;
	p->a->data_bytes += rope_size(rope);
	return dump_archive_view(p->a, MOVE(p->path), &p->pieces[p->n - 1].part, e);
}

static int start_piece(struct plain *p, const char *path, struct err *e)
{
	return dump_tree_cut(p->a->tree, path, &p->cut, e);
}

static int on_sql(void *arg, const void *bytes, size_t n, struct err *e)
{
	struct plain *p = arg;
	size_t more = n < TAIL_BYTES ? n : TAIL_BYTES,
	       old = p->tail_len + more > TAIL_BYTES ? TAIL_BYTES - more : p->tail_len;

	memmove(p->tail, p->tail + p->tail_len - old, old);
	memcpy(p->tail + old, (const char *)bytes + n - more, more);
	p->tail_len = old + more;
	return ingest_cut_write(p->cut, bytes, n, e);
}

static int on_rows(void *arg, const void *bytes, size_t n, struct err *e)
{
	return ingest_cut_write(((struct plain *)arg)->cut, bytes, n, e);
}

/* In a cluster's dump each database has a directory of its own. */
static int start_rows(
	struct plain *p, const char *schema, const char *table, const char *ending, struct err *e)
{
	struct buf path = {0}, below = {0};
	int r = end_piece(p, false, e);

	if (r < 0)
		return r;
	dump_text_table_path(schema, table, ending, &path);
	if (p->database && !path.bad) {
		buf_printf(&below, "tables/");
		dump_text_escape(p->database, &below);
		buf_put(&below, path.data + strlen("tables"), path.len - strlen("tables"));
		buf_free(&path);
		path = below;
	}
	p->path = buf_steal_str(&path);
	if (!p->path)
		return err_sys(e, -ENOMEM, "%s", p->a->name);
	return start_piece(p, p->path, e);
}

static int on_copy(void *arg, const char *schema, const char *table, struct err *e)
{
	return start_rows(arg, schema, table, ".copy", e);
}

static int on_insert(void *arg, const char *schema, const char *table, struct err *e)
{
	return start_rows(arg, schema, table, ".sql", e);
}

static int on_rows_end(void *arg, struct err *e)
{
	int r = end_piece(arg, true, e);

	return r < 0 ? r : start_piece(arg, "schema.sql", e);
}

static int on_connect(void *arg, const char *database, struct err *e)
{
	struct plain *p = arg;

	/* The dump of one database made with --create has a \connect, too. */
	if (!p->a->cluster)
		return 0;
	free(p->database);
	p->database = strdup(database);
	return p->database ? 0 : err_sys(e, -ENOMEM, "%s", p->a->name);
}

static const struct dump_sql_ops ops = {.sql = on_sql,
	.rows = on_rows,
	.copy = on_copy,
	.insert = on_insert,
	.rows_end = on_rows_end,
	.connect = on_connect};

static int read_all(struct plain *p, struct dump_sql *sql, dump_read_fn *read, void *arg, struct err *e)
{
	_cleanup_(freep) uint8_t *block = malloc(BLOCK);
	ssize_t n;
	int r = 0;

	if (!block)
		return err_sys(e, -ENOMEM, "%s", p->a->name);
	while (!r && (n = read(arg, block, BLOCK, e)) != 0)
		r = n < 0 ? (int)n : dump_sql_push(sql, block, (size_t)n, e);
	return r;
}

static int cmp_views(const void *a, const void *b)
{
	const struct dump_view *x = *(const struct dump_view *const *)a,
			       *y = *(const struct dump_view *const *)b;
	int r = strcmp(x->path, y->path);

	return r ? r : (x > y) - (x < y);
}

static int cmp_places(const void *a, const void *b)
{
	const struct dump_view *x = *(const struct dump_view *const *)a,
			       *y = *(const struct dump_view *const *)b;

	return (x > y) - (x < y);
}

/* Each table once, where its first rows are: those of a partitioned one may come in several parts. */
static int list_tables(struct dump_archive *a, struct buf *toc, struct err *e)
{
	_cleanup_(freep) const struct dump_view **by = calloc(a->n_views + 1, sizeof(*by));
	size_t n = 0;

	if (!by)
		return err_sys(e, -ENOMEM, "%s", a->name);
	for (size_t i = 0; i < a->n_views; i++)
		by[i] = &a->views[i];
	qsort(by, a->n_views, sizeof(*by), cmp_views);
	for (size_t i = 0; i < a->n_views; i++)
		if (!n || strcmp(by[i]->path, by[n - 1]->path) != 0)
			by[n++] = by[i];
	qsort(by, n, sizeof(*by), cmp_places);
	for (size_t i = 0; i < n; i++)
		buf_printf(toc, "%s\n", by[i]->path);
	a->tables = n;
	return toc->bad ? err_sys(e, -ENOMEM, "%s", a->name) : 0;
}

/* The file as it was, its SQL without rows, the list of its tables. */
static int put_together(struct plain *p, const char *name, bool globals, struct err *e)
{
	_cleanup_(dump_file_release) struct dump_file all = {0}, schema = {0};
	_cleanup_(buf_free) struct buf list = {0};
	struct dump_part toc = {0};
	int r = list_tables(p->a, &list, e);

	if (!r)
		r = dump_tree_bytes(p->a->tree, "toc.txt", list.data, list.len, &toc, e);
	for (size_t i = 0; i < p->n; i++) {
		dump_file_part(&all, &p->pieces[i].part, false);
		if (!p->pieces[i].rows)
			dump_file_part(&schema, &p->pieces[i].part, false);
	}
	if (!r)
		r = dump_tree_settle(p->a->tree, e);
	if (!r)
		r = dump_tree_file(p->a->tree, name, &all, e);
	if (!r && !globals)
		r = dump_tree_file(p->a->tree, "schema.sql", &schema, e);
	if (!r && !globals)
		r = dump_tree_view(p->a->tree, "toc.txt", &toc, e);
	return r;
}

int dump_plain_take(struct dump_archive *a, bool globals, dump_read_fn *read, void *arg, struct err *e)
{
	_cleanup_(plain_release) struct plain p = {.a = a};
	_cleanup_(dump_sql_release) struct dump_sql sql;
	/* Each database in a cluster's dump ends as a dump of it alone does. */
	const char *end = a->cluster ? "-- PostgreSQL database cluster dump complete\n--\n"
				     : "-- PostgreSQL database dump complete\n--\n";
	int r;

	dump_sql_init(&sql, &ops, &p);
	r = start_piece(&p, globals ? "globals.sql" : "schema.sql", e);
	if (!r)
		r = read_all(&p, &sql, read, arg, e);
	if (r < 0)
		return r;
	p.tail[p.tail_len] = '\0';
	if (!dump_sql_at_rest(&sql) || !strstr(p.tail, end))
		return err_set(e, -EBADMSG, "%s is cut off: it does not end as a dump does (%s)", a->name,
			sql.state == SQL_ROWS || sql.inserts ? p.path : "in the SQL");
	r = end_piece(&p, false, e);
	return r < 0 ? r : put_together(&p, globals ? "globals.sql" : "dump.sql", globals, e);
}
