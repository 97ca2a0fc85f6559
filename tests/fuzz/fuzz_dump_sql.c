/* A plain dump from hostile bytes: every byte is told once and in order, as SQL or rows, and how the input is cut into pieces
 * changes nothing. The first byte says how. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/dump_sql.h"

struct told {
	struct buf bytes; /* as they came */
	struct buf kinds; /* of each: 's' or 'r' */
	struct buf marks; /* what was told between them, and where */
};

static int more(struct told *t, char kind, const void *p, size_t n)
{
	void *kinds = buf_reserve(&t->kinds, n + 1);

	buf_put(&t->bytes, p, n);
	if (kinds) {
		memset(kinds, kind, n);
		t->kinds.len += n;
	}
	return 0;
}

static int on_sql(void *arg, const void *p, size_t n, struct err *e)
{
	(void)e;
	return more(arg, 's', p, n);
}

static int on_rows(void *arg, const void *p, size_t n, struct err *e)
{
	struct told *t = arg;

	(void)e;
	/* Rows only after they were announced. */
	if (!t->marks.len)
		abort();
	return more(t, 'r', p, n);
}

static int on_table(struct told *t, const char *how, const char *schema, const char *table)
{
	if (!schema || !table || !*table)
		abort();
	buf_printf(&t->marks, "%s{%s|%s}%zu\n", how, schema, table, t->bytes.len);
	return 0;
}

static int on_copy(void *arg, const char *schema, const char *table, struct err *e)
{
	(void)e;
	return on_table(arg, "copy", schema, table);
}

static int on_insert(void *arg, const char *schema, const char *table, struct err *e)
{
	(void)e;
	return on_table(arg, "insert", schema, table);
}

static int on_end(void *arg, struct err *e)
{
	struct told *t = arg;

	(void)e;
	buf_printf(&t->marks, "end%zu\n", t->bytes.len);
	return 0;
}

static int on_connect(void *arg, const char *database, struct err *e)
{
	struct told *t = arg;

	(void)e;
	buf_printf(&t->marks, "@%s\n", database);
	return 0;
}

static int read_in_pieces(const uint8_t *p, size_t n, size_t piece, struct told *t, size_t *held)
{
	static const struct dump_sql_ops ops = {.sql = on_sql,
		.rows = on_rows,
		.copy = on_copy,
		.insert = on_insert,
		.rows_end = on_end,
		.connect = on_connect};
	struct dump_sql s;
	struct err e = {0};
	int r = 0;

	dump_sql_init(&s, &ops, t);
	for (size_t i = 0; i < n && !r; i += piece)
		r = dump_sql_push(&s, p + i, n - i < piece ? n - i : piece, &e);
	if (r < 0 && !e.text[0])
		abort();
	/* What could become something is told when it is known: the start of an INSERT, of the line that ends rows. */
	*held = s.insert == INSERT_MAYBE ? s.held.len : s.state == SQL_ROWS ? s.matched : 0;
	if (!r && *held && dump_sql_at_rest(&s))
		abort();
	dump_sql_release(&s);
	return r;
}

static bool same(const struct buf *b, const void *p, size_t n)
{
	return b->len == n && (!n || !memcmp(b->data, p, n));
}

static void release(struct told *t)
{
	buf_free(&t->bytes);
	buf_free(&t->kinds);
	buf_free(&t->marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told whole = {0}, cut = {0};
	size_t held, held2;
	int r;

	if (!size)
		return 0;
	r = read_in_pieces(data + 1, size - 1, size, &whole, &held);
	if (!r && (whole.bytes.len + held != size - 1 || !same(&whole.bytes, data + 1, size - 1 - held)))
		abort();
	if (read_in_pieces(data + 1, size - 1, 1 + (data[0] & 31), &cut, &held2) != r)
		abort();
	if (!r && (held != held2 || !same(&whole.kinds, cut.kinds.data, cut.kinds.len) ||
			  !same(&whole.marks, cut.marks.data, cut.marks.len)))
		abort();
	release(&whole);
	release(&cut);
	return 0;
}
